// python/bindings/kv_cache.cc - regard.PagedKvCache.
#include "regard/kv_cache.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arguments.h"
#include "convert.h"
#include "docstrings.h"
#include "generate.h"
#include "masks.h"
#include "regard/attention.h"
#include "run.h"
#include "wrong_call.h"

namespace regard::python {
namespace {

using Sequence = PagedKvCache::Sequence;

/// Rows of keys or values as the caller has them: (layers, kv_heads, tokens, dim), the first axis
/// left out where it is 1.
struct RowsArray {
  RowsArray(const char* name, nb::handle object, std::size_t most_axes)
      : array(import_array(name, object)) {
    if (array.rank != 3 && array.rank != most_axes)
      refuse(name, "of shape " + array.describe_shape(),
             most_axes == 4 ? "(layers, kv_heads, tokens, dim)" : "(kv_heads, tokens, dim)");
    dtype = dtype_of(array);
  }
  std::int64_t layers() const { return array.rank == 4 ? array.shape[0] : 1; }
  std::int64_t tokens() const { return array.shape[array.rank - 2]; }
  InputView<3> layer(std::int64_t index) const {
    const std::size_t first = array.rank - 3;
    InputView<3> view;
    const std::int64_t offset = first == 0 ? 0 : index * array.strides[0];
    view.data =
        static_cast<const char*>(array.data) + offset * static_cast<std::int64_t>(size_of(dtype));
    view.dtype = dtype;
    for (std::size_t i = 0; i < 3; ++i) {
      view.shape[i] = array.shape[first + i];
      view.strides[i] = array.strides[first + i];
    }
    return view;
  }
  Array array;
  DType dtype;
};

std::vector<std::int32_t> to_ids(const char* name, nb::handle object) {
  std::vector<std::int32_t> ids;
  for (const std::int64_t id : to_int64s(name, object)) {
    if (id < 0 || id > INT32_MAX)
      refuse(std::string(name) + "[" + std::to_string(ids.size()) + "]", std::to_string(id),
             "a token's id, 0 to 2^31 - 1");
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

std::string to_path(const char* name, nb::handle object) {
  const nb::object path = nb::steal(PyOS_FSPath(object.ptr()));
  if (!path.is_valid()) {
    PyErr_Clear();
    refuse_type(name, "a " + class_name(object), "a file's name");
  }
  const nb::bytes bytes(nb::module_::import_("os").attr("fsencode")(path));
  std::string text(bytes.c_str(), bytes.size());
  if (text.find('\0') != std::string::npos)
    refuse(name, "a name with a zero byte in it", "a file's name");
  return text;
}

/// The cache, for one thread at a time. Its lock is taken without Python's, which the holder may
/// wait for.
class CacheObject {
 public:
  explicit CacheObject(const KvCacheShape& shape) : cache_(shape) {}

  template <class Work>
  auto use(const Work& work) {
    const nb::gil_scoped_release unlocked;
    const std::lock_guard guard(mutex_);
    return work(cache_);
  }
  template <class Work>
  auto use_unlocked(const Work& work) {  // where Python's lock is not held
    const std::lock_guard guard(mutex_);
    return work(cache_);
  }

 private:
  std::mutex mutex_;
  PagedKvCache cache_;
};

std::int64_t append(CacheObject& cache, Whole sequence, nb::handle key, nb::handle value) {
  const RowsArray keys("append: key", key, 4), values("append: value", value, 4);
  return cache.use([&](PagedKvCache& c) {
    for (const RowsArray* rows : {&keys, &values}) {
      if (rows->layers() == c.shape().num_layers) continue;
      refuse(rows->array.name, "of shape " + rows->array.describe_shape(),
             std::to_string(c.shape().num_layers) + " layers, as the cache has");
    }
    const std::int64_t position = c.extend(sequence, keys.tokens());
    try {
      for (std::int64_t layer = 0; layer < keys.layers(); ++layer)
        c.write(layer, sequence, position, keys.layer(layer), values.layer(layer));
    } catch (...) {
      c.truncate(sequence, position);
      throw;
    }
    return position;
  });
}

void write(CacheObject& cache, Whole layer, Whole sequence, Whole position, nb::handle key,
           nb::handle value) {
  const RowsArray keys("write: key", key, 3), values("write: value", value, 3);
  cache.use(
      [&](PagedKvCache& c) { c.write(layer, sequence, position, keys.layer(0), values.layer(0)); });
}

nb::tuple read(CacheObject& cache, Whole sequence, Whole layer) {
  const KvCacheShape shape = cache.use([](PagedKvCache& c) { return c.shape(); });
  const std::int64_t rows = cache.use([&](PagedKvCache& c) { return c.length(sequence); }),
                     heads = shape.num_kv_heads;
  const auto make = [&](std::int64_t dim) {
    return Numpy::get().empty(nb::make_tuple(heads, rows, dim), Numpy::get().float32);
  };
  nb::object key = make(shape.head_dim), value = make(shape.value_dim);
  const Array keys = import_array("read: key", key, true),
              values = import_array("read: value", value, true);
  cache.use([&](PagedKvCache& c) {
    if (c.length(sequence) != rows) refuse("read: sequence", "changed meanwhile", "one at rest");
    auto* const key_rows = static_cast<float*>(keys.data);
    auto* const value_rows = static_cast<float*>(values.data);
    std::fill_n(key_rows, heads * rows * shape.head_dim, 0.0F);  // evicted rows stay so
    std::fill_n(value_rows, heads * rows * shape.value_dim, 0.0F);
    c.read(layer, sequence, {key_rows, {heads, rows, shape.head_dim}},
           {value_rows, {heads, rows, shape.value_dim}});
  });
  return nb::make_tuple(key, value);
}

/// The options of attention over pages, without what needs the keys' array.
AttentionOptions options_of(nb::handle causal, nb::handle window, nb::handle mask, nb::handle scale,
                            nb::handle softcap) {
  AttentionOptions options;
  const auto add = [&](AnyMask more) {
    options.mask = options.mask.is_full() ? std::move(more) : AnyMask(options.mask & more);
  };
  if (to_bool("attention: causal", causal)) add(CausalMask{});
  if (!window.is_none()) add(to_window(window));
  if (!mask.is_none()) {
    const AnyMask* given = as_mask(mask);
    if (given == nullptr)
      refuse_type("attention: mask", "a " + class_name(mask), "a mask of regard.masks");
    add(*given);
  }
  options.scale = to_float("attention: scale", scale);
  if (const auto cap = to_float("attention: softcap", softcap))
    options.score_mods.emplace_back(SoftCap{*cap});
  return options;
}

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
nb::object attention(CacheObject& cache, nb::handle query, nb::handle sequences, Whole layer,
                     nb::handle causal, nb::handle window, nb::handle mask, nb::handle scale,
                     nb::handle softcap, nb::handle num_threads) {
  const Array queries = import_array("attention: query", query);
  const auto one = as_int64("attention: sequences", sequences);
  const std::vector<Sequence> all =
      one ? std::vector<Sequence>{*one} : to_int64s("attention: sequences", sequences);
  const std::size_t axes = one ? 3 : 4;
  if (queries.rank != axes)
    refuse(
        "attention: query", "of shape " + queries.describe_shape(),
        one ? "(heads, q_len, head_dim) for one sequence" : "(sequences, heads, q_len, head_dim)");
  InputView<4> view;
  view.data = queries.data;
  view.dtype = dtype_of(queries);
  set_axes(queries, false, view.shape, view.strides);
  if (view.shape[0] != std::ssize(all))
    refuse("attention: query", "of shape " + queries.describe_shape(),
           std::to_string(all.size()) + " sequences");
  AttentionOptions options = options_of(causal, window, mask, scale, softcap);
  const auto executor = executor_of("attention: num_threads", num_threads);
  options.executor = executor.get();
  const std::int64_t value_dim = cache.use([](PagedKvCache& c) { return c.shape().value_dim; });
  std::vector<std::int64_t> shape(queries.shape.begin(), queries.shape.begin() + axes);
  shape.back() = value_dim;
  nb::object result = new_array(queries, element_of(view.dtype), shape);
  const Array out = import_array("attention: out", result, true);
  OutputView<4> written(static_cast<float*>(out.data),
                        {view.shape[0], view.shape[1], view.shape[2], value_dim});
  written.data = out.data;
  written.dtype = view.dtype;
  std::vector<std::int64_t> offsets;
  double flops = 0;
  cache.use([&](PagedKvCache& c) {
    for (const Sequence sequence : all) {
      offsets.push_back(c.length(sequence) - view.shape[2]);
      flops += 4 * static_cast<double>(view.shape[1] * view.shape[2]) *
               static_cast<double>(c.length(sequence) * view.shape[3]);
    }
  });
  options.q_offsets = offsets;
  run_interruptibly(flops, [&](const std::atomic<bool>* cancel) {
    cache.use_unlocked([&](PagedKvCache& c) {
      for (std::size_t i = 0; i < all.size(); ++i)
        offsets[i] = c.length(all[i]) - view.shape[2];  // another thread may have come between
      RunOptions run;
      run.cancel = cancel;
      regard::attention(view, c.view(all).layer(layer), written, options, run);
    });
  });
  return finish_array(queries, result);
}

nb::dict stats(CacheObject& cache) {
  const KvCacheStats s = cache.use([](PagedKvCache& c) { return c.stats(); });
  nb::dict result;
  result["page_bytes"] = s.page_bytes;
  result["num_pages"] = s.num_pages;
  result["used_pages"] = s.used_pages;
  result["kept_pages"] = s.kept_pages;
  result["saved_pages"] = s.saved_pages;
  result["used_bytes"] = s.used_bytes();
  result["wasted_bytes"] = s.wasted_bytes;
  result["num_sequences"] = s.num_sequences;
  result["looked_up_tokens"] = s.looked_up_tokens;
  result["found_tokens"] = s.found_tokens;
  return result;
}

void bind_files(nb::class_<CacheObject>& type) {
  using Loaded = std::vector<std::tuple<Sequence, std::vector<std::int32_t>>>;
  type.def(
          "save",
          [](CacheObject& cache, Whole sequence, nb::handle file, nb::handle ids) {
            const std::string path = to_path("save: file", file);
            const auto kept = to_ids("save: ids", ids);
            cache.use([&](PagedKvCache& c) { c.save(sequence, path, kept); });
          },
          nb::arg("sequence"), nb::arg("file"), nb::arg("ids") = nb::none(), docstrings::kCacheSave,
          nb::sig(docstrings::kCacheSaveSignature))
      .def(
          "load",
          [](CacheObject& cache, nb::handle file, const std::string& owner,
             const std::string& share_with) {
            const std::string path = to_path("load: file", file);
            std::vector<std::int32_t> ids;
            const Sequence sequence = cache.use([&](PagedKvCache& c) {
              return c.load(path, {.owner = owner, .share_with = share_with}, &ids);
            });
            return std::tuple(sequence, ids);
          },
          nb::arg("file"), nb::kw_only(), nb::arg("owner") = "", nb::arg("share_with") = "",
          docstrings::kCacheLoad, nb::sig(docstrings::kCacheLoadSignature))
      .def(
          "save_all",
          [](CacheObject& cache, nb::handle file) {
            const std::string path = to_path("save_all: file", file);
            cache.use([&](PagedKvCache& c) { c.save_all(path); });
          },
          nb::arg("file"), docstrings::kCacheSaveAll, nb::sig(docstrings::kCacheSaveAllSignature))
      .def(
          "load_all",
          [](CacheObject& cache, nb::handle file) {
            const std::string path = to_path("load_all: file", file);
            const auto all = cache.use([&](PagedKvCache& c) { return c.load_all(path); });
            Loaded loaded;
            for (const SavedSequence& each : all) loaded.emplace_back(each.sequence, each.ids);
            return loaded;
          },
          nb::arg("file"), docstrings::kCacheLoadAll, nb::sig(docstrings::kCacheLoadAllSignature));
}

void bind_sequences(nb::class_<CacheObject>& type) {
  type.def(
          "create",
          [](CacheObject& cache, const std::string& owner, const std::string& share_with) {
            return cache.use([&](PagedKvCache& c) {
              return c.create({.owner = owner, .share_with = share_with});
            });
          },
          nb::kw_only(), nb::arg("owner") = "", nb::arg("share_with") = "",
          docstrings::kCacheCreate)
      .def(
          "fork",
          [](CacheObject& cache, Whole sequence) {
            return cache.use([&](PagedKvCache& c) { return c.fork(sequence); });
          },
          nb::arg("sequence"), docstrings::kCacheFork)
      .def(
          "release",
          [](CacheObject& cache, Whole sequence) {
            cache.use([&](PagedKvCache& c) { c.release(sequence); });
          },
          nb::arg("sequence"), docstrings::kCacheRelease)
      .def(
          "length",
          [](CacheObject& cache, Whole sequence) {
            return cache.use([&](PagedKvCache& c) { return c.length(sequence); });
          },
          nb::arg("sequence"), docstrings::kCacheLength)
      .def(
          "truncate",
          [](CacheObject& cache, Whole sequence, Whole length) {
            cache.use([&](PagedKvCache& c) { c.truncate(sequence, length); });
          },
          nb::arg("sequence"), nb::arg("length"), docstrings::kCacheTruncate)
      .def(
          "evict",
          [](CacheObject& cache, Whole sequence, Whole first, Whole last) {
            cache.use([&](PagedKvCache& c) { c.evict(sequence, first, last); });
          },
          nb::arg("sequence"), nb::arg("keep_first"), nb::arg("keep_last"), docstrings::kCacheEvict)
      .def(
          "publish",
          [](CacheObject& cache, Whole sequence, nb::handle ids) {
            const auto tokens = to_ids("publish: ids", ids);
            cache.use([&](PagedKvCache& c) { c.publish(sequence, tokens); });
          },
          nb::arg("sequence"), nb::arg("ids"), docstrings::kCachePublish,
          nb::sig(docstrings::kCachePublishSignature))
      .def(
          "adopt",
          [](CacheObject& cache, Whole sequence, nb::handle ids) {
            const auto tokens = to_ids("adopt: ids", ids);
            return cache.use([&](PagedKvCache& c) { return c.adopt(sequence, tokens); });
          },
          nb::arg("sequence"), nb::arg("ids"), docstrings::kCacheAdopt,
          nb::sig(docstrings::kCacheAdoptSignature));
}

}  // namespace

DType to_cache_dtype(const char* name, const std::string& text) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kI8}) {
    if (text == name_of(dtype)) return dtype;
  }
  refuse(name, "\"" + text + "\"", "\"f32\", \"bf16\", \"f16\" or \"int8\"");
}

void bind_kv_cache(nb::module_& module) {
  nb::exception<CacheFull>(module, "CacheFull", PyExc_MemoryError).doc() = docstrings::kCacheFull;
  nb::class_<CacheObject> type(module, "PagedKvCache", docstrings::kCache);
  type.def(
          "__init__",
          [](CacheObject* self, Whole num_kv_heads, Whole head_dim, std::optional<Whole> value_dim,
             Whole num_layers, const std::string& dtype, Whole page_size, Whole budget_bytes,
             const std::string& fingerprint) {
            new (self) CacheObject({.num_layers = num_layers,
                                    .num_kv_heads = num_kv_heads,
                                    .head_dim = head_dim,
                                    .value_dim = value_dim.value_or(head_dim),
                                    .dtype = to_cache_dtype("kv_cache: dtype", dtype),
                                    .page_size = page_size,
                                    .budget_bytes = budget_bytes,
                                    .fingerprint = fingerprint});
          },
          nb::kw_only(), nb::arg("num_kv_heads"), nb::arg("head_dim"),
          nb::arg("value_dim") = nb::none(), nb::arg("num_layers") = Whole{1},
          nb::arg("dtype") = "f32", nb::arg("page_size") = Whole{64},
          nb::arg("budget_bytes") = Whole{std::int64_t{1} << 30}, nb::arg("fingerprint") = "")
      .def("append", &append, nb::arg("sequence"), nb::arg("key"), nb::arg("value"),
           docstrings::kCacheAppend, nb::sig(docstrings::kCacheAppendSignature))
      .def(
          "extend",
          [](CacheObject& cache, Whole sequence, Whole count) {
            return cache.use([&](PagedKvCache& c) { return c.extend(sequence, count); });
          },
          nb::arg("sequence"), nb::arg("count"), docstrings::kCacheExtend)
      .def("write", &write, nb::arg("layer"), nb::arg("sequence"), nb::arg("position"),
           nb::arg("key"), nb::arg("value"), docstrings::kCacheWrite,
           nb::sig(docstrings::kCacheWriteSignature))
      .def("read", &read, nb::arg("sequence"), nb::arg("layer") = Whole{}, docstrings::kCacheRead,
           nb::sig(docstrings::kCacheReadSignature))
      .def("attention", &attention, nb::arg("query"), nb::arg("sequences"), nb::kw_only(),
           nb::arg("layer") = Whole{}, nb::arg("causal") = false, nb::arg("window") = nb::none(),
           nb::arg("mask") = nb::none(), nb::arg("scale") = nb::none(),
           nb::arg("softcap") = nb::none(), nb::arg("num_threads") = nb::none(),
           docstrings::kCacheAttention, nb::sig(docstrings::kCacheAttentionSignature))
      .def("stats", &stats, docstrings::kCacheStats, nb::sig(docstrings::kCacheStatsSignature));
  bind_sequences(type);
  bind_files(type);
  explain_wrong_calls(type);
}

}  // namespace regard::python
