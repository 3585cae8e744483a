// src/api/kv_cache.cc - PagedKvCache: arguments checked, then handed on.
#include "regard/kv_cache.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>
#include <utility>

#include "api/check.h"
#include "cache/row_writer.h"
#include "cache/snapshot.h"
#include "cache/store.h"
#include "exec/float_environment.h"

namespace regard {
namespace {

using cache::SequenceState;
using cache::Store;

constexpr std::int64_t kMostExtent = std::int64_t{1} << 40;

void check_shape(const KvCacheShape& s) {
  if (s.fingerprint.size() > 4096)
    api::refuse("kv_cache: fingerprint.size()", std::to_string(s.fingerprint.size()),
                "at most 4096");
  api::check_range("kv_cache: num_layers", s.num_layers, 1, kMostExtent);
  api::check_range("kv_cache: num_kv_heads", s.num_kv_heads, 1, kMostExtent);
  api::check_range("kv_cache: head_dim", s.head_dim, 1, cache::kMostDim);
  api::check_range("kv_cache: value_dim", s.value_dim, 1, cache::kMostDim);
  api::check_page_size("kv_cache: page_size", s.page_size);
  api::check_elements("kv_cache: num_layers * num_kv_heads * page_size * head_dim * 16",
                      {s.num_layers, s.num_kv_heads, s.page_size, std::max(s.head_dim, s.value_dim),
                       std::int64_t{16}});
  const std::int64_t page = cache::PageLayout(s).page_bytes;
  if (s.budget_bytes < page) {
    api::refuse("kv_cache: budget_bytes", std::to_string(s.budget_bytes),
                "at least " + std::to_string(page) + ", one page of " +
                    std::to_string(s.page_size) + " tokens");
  }
  if (s.budget_bytes / page > std::int64_t{1} << 30)
    api::refuse("kv_cache: budget_bytes", std::to_string(s.budget_bytes), "at most 2^30 pages");
}

void check_finite(const char* what, const InputView<3>& view) {
  for (std::int64_t head = 0; head < view.shape[0]; ++head) {
    for (std::int64_t token = 0; token < view.shape[1]; ++token) {
      if (cache::is_finite(view, head, token)) continue;
      api::refuse(
          std::string(what) + "[" + std::to_string(head) + ", " + std::to_string(token) + "]",
          "not finite", "finite numbers in an int8 cache");
    }
  }
}

}  // namespace

struct PagedKvCache::Impl {
  explicit Impl(const KvCacheShape& shape) : store(shape) {}

  const SequenceState& find(Sequence sequence) const {
    if (!store.has(sequence))
      throw std::invalid_argument("kv_cache: sequence " + std::to_string(sequence) +
                                  " is not there, expected one that create() or fork() gave and "
                                  "release() did not take");
    return store.at(sequence);
  }
  void write_part(Store::Part part, std::int64_t layer, Sequence sequence, std::int64_t position,
                  const InputView<3>& from);

  Store store;
};

void PagedKvCache::Impl::write_part(Store::Part part, std::int64_t layer, Sequence sequence,
                                    std::int64_t position, const InputView<3>& from) {
  const SequenceState& s = store.at(sequence);
  cache::RowWriter writer(store.shape().dtype);
  for (std::int64_t head = 0; head < from.shape[0]; ++head) {
    for (std::int64_t token = 0; token < from.shape[1]; ++token) {
      writer.write(from, head, token, store.row(part, s, {layer, head, position + token}));
    }
  }
}

PagedKvCache::PagedKvCache(const KvCacheShape& shape) {
  check_shape(shape);
  impl_ = std::make_unique<Impl>(shape);
}
PagedKvCache::~PagedKvCache() = default;
PagedKvCache::PagedKvCache(PagedKvCache&&) noexcept = default;
PagedKvCache& PagedKvCache::operator=(PagedKvCache&&) noexcept = default;

const KvCacheShape& PagedKvCache::shape() const { return impl_->store.shape(); }

PagedKvCache::Sequence PagedKvCache::create(SequenceOptions options) {
  return impl_->store.create(std::move(options));
}

void PagedKvCache::release(Sequence sequence) {
  impl_->find(sequence);
  impl_->store.release(sequence);
}

PagedKvCache::Sequence PagedKvCache::fork(Sequence sequence) {
  impl_->find(sequence);
  return impl_->store.fork(sequence);
}

std::int64_t PagedKvCache::length(Sequence sequence) const { return impl_->find(sequence).length; }

const SequenceOptions& PagedKvCache::options(Sequence sequence) const {
  return impl_->find(sequence).options;
}

std::int64_t PagedKvCache::extend(Sequence sequence, std::int64_t count) {
  const std::int64_t length = impl_->find(sequence).length;
  api::check_range("kv_cache: count", count, 0, kMostExtent - length);
  return impl_->store.extend(sequence, count);
}

void PagedKvCache::write(std::int64_t layer, Sequence sequence, std::int64_t position,
                         InputView<3> key, InputView<3> value) {
  const SequenceState& s = impl_->find(sequence);
  const KvCacheShape& shape = impl_->store.shape();
  api::check_range("kv_cache: layer", layer, 0, shape.num_layers - 1);
  const std::int64_t tokens = key.shape[1];
  api::check_range("kv_cache: key.shape[1]", tokens, 0, kMostExtent);
  for (const auto& [name, view, dim] : {std::tuple{"kv_cache: key", &key, shape.head_dim},
                                        std::tuple{"kv_cache: value", &value, shape.value_dim}}) {
    api::refuse_int8(std::string(name) + ".dtype", view->dtype);
    api::check_view(name, *view, {shape.num_kv_heads, tokens, dim},
                    {"num_kv_heads", "tokens of key", "dim"}, view->dtype);
  }
  api::check_range("kv_cache: position", position, 0, s.length);
  api::check_range("kv_cache: position + key.shape[1]", position + tokens, position, s.length);
  if (position < s.evicted_end && position + tokens > s.evicted_begin) {
    api::refuse("kv_cache: position", std::to_string(position),
                "outside of " + std::to_string(s.evicted_begin) + ".." +
                    std::to_string(s.evicted_end - 1) + ", which were evicted");
  }
  const exec::FloatEnvironment environment;
  if (shape.dtype == DType::kI8) {
    check_finite("kv_cache: key", key);
    check_finite("kv_cache: value", value);
  }
  impl_->store.own(sequence, position, position + tokens);
  impl_->write_part(Store::Part::kKey, layer, sequence, position, key);
  impl_->write_part(Store::Part::kValue, layer, sequence, position, value);
}

void PagedKvCache::truncate(Sequence sequence, std::int64_t length) {
  api::check_range("kv_cache: length", length, 0, impl_->find(sequence).length);
  impl_->store.truncate(sequence, length);
}

void PagedKvCache::evict(Sequence sequence, std::int64_t keep_first, std::int64_t keep_last) {
  const SequenceState& s = impl_->find(sequence);
  api::check_range("kv_cache: keep_first", keep_first, 0, kMostExtent);
  api::check_range("kv_cache: keep_last", keep_last, 0, kMostExtent);
  const std::int64_t end = s.length - keep_last;
  if (keep_first >= end) return;
  if (s.evicted_end > 0) {  // what is between would be lost too
    api::check_range("kv_cache: keep_first", keep_first, 0, s.evicted_end);
    api::check_range("kv_cache: length - keep_last", end, s.evicted_begin, s.length);
  }
  impl_->store.evict(sequence, keep_first, end);
}

void PagedKvCache::publish(Sequence sequence, std::span<const std::int32_t> ids) {
  api::check_equal("kv_cache: ids.size()", std::ssize(ids), impl_->find(sequence).length,
                   "the sequence's length");
  impl_->store.publish(sequence, ids);
}

std::int64_t PagedKvCache::adopt(Sequence sequence, std::span<const std::int32_t> ids) {
  api::check_equal("kv_cache: length", impl_->find(sequence).length, 0, "an empty sequence");
  return impl_->store.adopt(sequence, ids);
}

PagedView PagedKvCache::view(std::span<const Sequence> sequences) const {
  const KvCacheShape& shape = impl_->store.shape();
  const cache::PageLayout& layout = impl_->store.layout();
  PagedView view;
  view.dtype = shape.dtype;
  view.num_layers = shape.num_layers;
  view.num_kv_heads = shape.num_kv_heads;
  view.head_dim = shape.head_dim;
  view.value_dim = shape.value_dim;
  view.page_size = shape.page_size;
  view.layer_bytes = layout.layer_bytes;
  view.key_offset = layout.key;
  view.value_offset = layout.value;
  view.key_scale_offset = layout.key_scale;
  view.value_scale_offset = layout.value_scale;
  for (const Sequence sequence : sequences) {
    const SequenceState& s = impl_->find(sequence);
    view.tables.push_back(s.table.data());
    view.kv_lens.push_back(s.length);
    view.evicted_begin.push_back(s.evicted_begin);
    view.evicted_end.push_back(s.evicted_end);
  }
  return view;
}

void PagedKvCache::read(std::int64_t layer, Sequence sequence, TensorView<float, 3> key,
                        TensorView<float, 3> value) const {
  const SequenceState& s = impl_->find(sequence);
  const KvCacheShape& shape = impl_->store.shape();
  api::check_range("kv_cache: layer", layer, 0, shape.num_layers - 1);
  api::check_view("kv_cache: key", key, {shape.num_kv_heads, s.length, shape.head_dim},
                  {"num_kv_heads", "length", "head_dim"});
  api::check_view("kv_cache: value", value, {shape.num_kv_heads, s.length, shape.value_dim},
                  {"num_kv_heads", "length", "value_dim"});
  const exec::FloatEnvironment environment;
  const auto read_row = [&](Store::Part part, const TensorView<float, 3>& to, std::int64_t head,
                            std::int64_t position) {
    const Store::Row row = impl_->store.row(part, s, {layer, head, position});
    for (std::int64_t i = 0; i < to.shape[2]; ++i)
      to(head, position, i) = impl_->store.element(row, i);
  };
  for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
    for (std::int64_t position = 0; position < s.length; ++position) {
      if (position >= s.evicted_begin && position < s.evicted_end) continue;
      read_row(Store::Part::kKey, key, head, position);
      read_row(Store::Part::kValue, value, head, position);
    }
  }
}

KvCacheStats PagedKvCache::stats() const { return impl_->store.stats(); }

void PagedKvCache::save(Sequence sequence, const std::filesystem::path& file,
                        std::span<const std::int32_t> ids) const {
  impl_->find(sequence);
  const cache::ToSave one{sequence, ids};
  cache::save_snapshot(impl_->store, std::span(&one, 1), file);
}

PagedKvCache::Sequence PagedKvCache::load(const std::filesystem::path& file,
                                          SequenceOptions options, std::vector<std::int32_t>* ids) {
  SavedSequence loaded =
      std::move(cache::load_snapshot(impl_->store, file, std::move(options)).front());
  if (ids != nullptr) *ids = std::move(loaded.ids);
  return loaded.sequence;
}

void PagedKvCache::save_all(const std::filesystem::path& file,
                            std::span<const SavedSequence> ids) const {
  std::map<Sequence, std::span<const std::int32_t>> kept;
  for (const SavedSequence& each : ids) {
    impl_->find(each.sequence);
    kept[each.sequence] = each.ids;
  }
  std::vector<cache::ToSave> all;
  for (const auto& [id, state] : impl_->store.sequences()) all.push_back({id, kept[id]});
  cache::save_snapshot(impl_->store, all, file);
}

std::vector<SavedSequence> PagedKvCache::load_all(const std::filesystem::path& file) {
  return cache::load_snapshot(impl_->store, file, std::nullopt);
}

}  // namespace regard
