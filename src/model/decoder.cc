// src/model/decoder.cc - the forward pass of models that decode, on the engine's attention, linear
// layers and paged cache.
#include "regard/model/decoder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "model/decoder_weights.h"
#include "model/json_field.h"
#include "regard/plan.h"

namespace regard::model {
namespace {

using Rows = TensorView<float, 2>;
using Sequence = PagedKvCache::Sequence;

/// Rows that are run together: enough for the products' speed, few enough for memory. Cannot change
/// bits.
constexpr std::int64_t kPassRows = 512;

/// New tokens of one sequence that a pass runs: positions [begin, begin + ids.size()).
struct Piece {
  Sequence sequence;
  std::int64_t begin;
  std::span<const std::int32_t> ids;
  std::int64_t input;  ///< of which input they are
};

/// What one pass writes to; n rows.
struct Buffers {
  void resize(std::int64_t n, const DecoderConfig& c, bool gated) {
    const std::int64_t heads = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim,
                       attended_size = c.num_heads * c.head_dim,
                       wide = c.intermediate_size * (gated ? 2 : 1);
    const std::int64_t floats = n * (2 * c.hidden_size + heads + attended_size + wide);
    if (static_cast<std::int64_t>(storage.size()) < floats)
      storage.resize(static_cast<std::size_t>(floats));
    float* next = storage.data();
    const auto take = [&](std::int64_t features) {
      return Rows(std::exchange(next, next + n * features), {n, features});
    };
    hidden = take(c.hidden_size);
    normed = take(c.hidden_size);
    query_key_value = take(heads);
    attended = take(attended_size);
    intermediate = take(wide);
  }

  std::vector<float> storage;
  Rows hidden, normed, query_key_value, attended, intermediate;
};

/// Columns [first, first + heads * head_dim) of rows as (1, heads, rows, head_dim), without a copy.
TensorView<float, 4> heads_of(Rows rows, std::int64_t first, std::int64_t heads, std::int64_t dim) {
  const std::int64_t n = rows.shape[0], stride = rows.strides[0];
  return {rows.data + first, {1, heads, n, dim}, {n * stride, dim, stride, 1}};
}

/// Rows [begin, end) of one batch entry as (heads, rows, head_dim).
TensorView<const float, 3> some_rows(TensorView<float, 4> view, std::int64_t begin,
                                     std::int64_t end) {
  return {view.data + begin * view.strides[2],
          {view.shape[1], end - begin, view.shape[3]},
          {view.strides[1], view.strides[2], view.strides[3]}};
}

void add(Rows to, Rows what) {
  for (std::int64_t i = 0; i < to.size(); ++i) to.data[i] += what.data[i];
}

AnyMask mask_of(const DecoderConfig& config, const DecoderOptions& options) {
  AnyMask mask = CausalMask{};
  if (config.window > 0) mask = mask & AnyMask(WindowMask{config.window - 1, 0});
  if (options.window > 0)
    mask = mask & (AnyMask(PrefixMask{options.sinks}) | AnyMask(WindowMask{options.window - 1, 0}));
  return mask;
}

LoadedDecoder load_decoder(const std::filesystem::path& path, const LoadProgress& progress) {
  if (!std::filesystem::is_directory(path)) return load_llama_gguf(path, progress);
  const std::string file = (path / "config.json").string();
  const Json root = parse_json(read_file(file, 16 << 20), file);
  const bool gpt2 = JsonField(file, root).at("model_type").text() == "gpt2";
  return gpt2 ? load_gpt2_folder(path, progress) : load_llama_folder(path, progress);
}

/// One pass on its way through the layers.
struct Pass {
  PagedKvCache& cache;
  std::span<const Piece> pieces;
  const Plan& plan;
  PagedView& view;
  Buffers& buffers;
  Executor& executor;
  const DecoderOptions& options;
};

}  // namespace

struct Decoder::Impl {
  explicit Impl(LoadedDecoder loaded)
      : config(std::move(loaded.config)),
        weights(std::move(loaded.weights)),
        fingerprint(std::move(loaded.fingerprint)),
        rope(config.head_dim, config.rope),
        // NOLINTNEXTLINE(bugprone-unchecked-optional-access): a file that says another is refused
        activation(Activation::find(config.activation).value()) {}

  void check(const PagedKvCache& cache, std::span<const DecoderInput> inputs,
             TensorView<float, 2> logits, const DecoderOptions& options) const;
  /// One pass over the pieces, whose keys and values go to the cache.
  void run_pass(PagedKvCache& cache, std::span<const Piece> pieces, const DecoderOptions& options,
                Buffers& buffers) const;
  void embed(std::span<const Piece> pieces, Rows hidden) const;
  void attend(std::int64_t layer, Pass& pass) const;
  void feed_forward(std::int64_t layer, Buffers& buffers, Executor& executor) const;
  void write_logits(std::span<const Piece> pieces, const DecoderOptions& options,
                    TensorView<float, 2> logits, std::int64_t first_row, Buffers& buffers) const;

  /// Memory of earlier runs, for the next one.
  std::unique_ptr<Buffers> take_buffers() const {
    const std::scoped_lock lock(mutex);
    if (unused.empty()) return std::make_unique<Buffers>();
    std::unique_ptr<Buffers> buffers = std::move(unused.back());
    unused.pop_back();
    return buffers;
  }
  void give_buffers(std::unique_ptr<Buffers> buffers) const {
    const std::scoped_lock lock(mutex);
    unused.push_back(std::move(buffers));
  }

  DecoderConfig config;
  DecoderWeights weights;
  std::string fingerprint;
  Rope rope;
  Activation activation;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Buffers>> unused;
};

void Decoder::Impl::check(const PagedKvCache& cache, std::span<const DecoderInput> inputs,
                          TensorView<float, 2> logits, const DecoderOptions& options) const {
  const auto refuse = [](const std::string& what, const std::string& came,
                         const std::string& wanted) {
    throw std::invalid_argument("decoder: " + what + " is " + came + ", expected " + wanted);
  };
  const KvCacheShape& shape = cache.shape();
  if (shape.num_layers != config.num_layers || shape.num_kv_heads != config.num_kv_heads ||
      shape.head_dim != config.head_dim || shape.value_dim != config.head_dim)
    refuse("the cache's shape", "another model's", "that of cache_shape()");
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = "inputs[" + std::to_string(i) + "]";
    const auto count = std::ssize(inputs[i].ids);
    rows += options.all_logits ? count : 1;
    if (count == 0) refuse(name + ".ids", "empty", "at least one");
    const std::int64_t length = cache.length(inputs[i].sequence);
    if (length + count > config.context_length) {
      refuse(name, std::to_string(length) + " + " + std::to_string(count) + " tokens",
             "at most " + std::to_string(config.context_length) + " (the model's context)");
    }
    for (const std::int32_t id : inputs[i].ids) {
      if (id < 0 || id >= config.vocab_size)
        refuse(name + ".ids", "with " + std::to_string(id),
               "0 to " + std::to_string(config.vocab_size - 1));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (inputs[j].sequence == inputs[i].sequence)
        refuse(name + ".sequence", "that of inputs[" + std::to_string(j) + "] too", "another");
    }
  }
  if (logits.shape[0] != rows || logits.shape[1] != config.vocab_size) {
    refuse("logits.shape",
           "(" + std::to_string(logits.shape[0]) + ", " + std::to_string(logits.shape[1]) + ")",
           "(" + std::to_string(rows) + ", " + std::to_string(config.vocab_size) + ")");
  }
  if (options.window < 0 || options.sinks < 0) refuse("window or sinks", "negative", "0 or more");
}

void Decoder::Impl::embed(std::span<const Piece> pieces, Rows hidden) const {
  const auto features = static_cast<std::size_t>(config.hidden_size);
  float* row = hidden.data;
  for (const Piece& piece : pieces) {
    std::int64_t position = piece.begin;
    for (const std::int32_t id : piece.ids) {
      weights.embedding().weight_row(id, {row, features});
      for (std::size_t k = 0; k < features && !weights.positions.empty(); ++k)
        row[k] += weights.positions[static_cast<std::size_t>(position) * features + k];
      row += features;
      ++position;
    }
  }
}

void Decoder::Impl::attend(std::int64_t layer, Pass& pass) const {
  Buffers& b = pass.buffers;
  const DecoderOptions& options = pass.options;
  const DecoderLayer& part = weights.layers[static_cast<std::size_t>(layer)];
  const std::int64_t dim = config.head_dim, heads = config.num_heads, groups = config.num_kv_heads;
  part.attention_norm.run(b.hidden, b.normed, pass.executor);
  part.query_key_value.run(b.normed, b.query_key_value, pass.executor);
  if (weights.positions.empty()) {
    std::vector<std::int64_t> positions;
    for (const Piece& piece : pass.pieces) {
      for (std::int64_t i = 0; i < std::ssize(piece.ids); ++i) positions.push_back(piece.begin + i);
    }
    const auto turned = heads_of(b.query_key_value, 0, heads + groups, dim);
    rope.apply(turned, turned, positions, &pass.executor);
  }
  const auto key = heads_of(b.query_key_value, heads * dim, groups, dim);
  const auto value = heads_of(b.query_key_value, (heads + groups) * dim, groups, dim);
  std::int64_t row = 0;
  for (const Piece& piece : pass.pieces) {
    const std::int64_t end = row + std::ssize(piece.ids);
    pass.cache.write(layer, piece.sequence, piece.begin, some_rows(key, row, end),
                     some_rows(value, row, end));
    row = end;
  }
  const auto begin = std::chrono::steady_clock::now();
  pass.plan.run(
      heads_of(b.query_key_value, 0, heads, dim), pass.view.layer(layer),
      heads_of(b.attended, 0, heads, dim),
      {.probe = options.probe ? options.probe(layer) : nullptr, .cancel = options.cancel});
  if (options.attended) options.attended(layer);
  if (options.attention_seconds != nullptr) {
    *options.attention_seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  part.attention_out.run(b.attended, b.normed, &pass.executor);
  add(b.hidden, b.normed);
}

void Decoder::Impl::feed_forward(std::int64_t layer, Buffers& b, Executor& executor) const {
  const DecoderLayer& part = weights.layers[static_cast<std::size_t>(layer)];
  const std::int64_t n = b.hidden.shape[0], wide = config.intermediate_size;
  part.feed_forward_norm.run(b.hidden, b.normed, executor);
  part.intermediate.run(b.normed, b.intermediate, executor);
  Rows gate = b.intermediate;
  gate.shape[1] = wide;
  if (weights.gated) {
    const Rows up(gate.data + wide, {n, wide}, gate.strides);
    activation.run_gated(gate, up, executor);
  } else {
    activation.run(gate, executor);
  }
  part.out.run(gate, b.normed, &executor);
  add(b.hidden, b.normed);
}

void Decoder::Impl::run_pass(PagedKvCache& cache, std::span<const Piece> pieces,
                             const DecoderOptions& options, Buffers& buffers) const {
  Executor& executor = options.executor != nullptr ? *options.executor : default_executor();
  std::vector<Sequence> sequences;
  std::vector<std::int64_t> offsets, boundaries{0};
  for (const Piece& piece : pieces) {
    sequences.push_back(piece.sequence);
    offsets.push_back(piece.begin);
    boundaries.push_back(boundaries.back() + std::ssize(piece.ids));
  }
  buffers.resize(boundaries.back(), config, weights.gated);
  PagedView view = cache.view(sequences);
  for (std::size_t i = 0; i < pieces.size(); ++i)
    view.kv_lens[i] = pieces[i].begin + std::ssize(pieces[i].ids);
  AttentionOptions attention;
  attention.mask = mask_of(config, options);
  attention.q_offsets = offsets;
  attention.cu_seqlens_q = boundaries;
  attention.executor = &executor;
  const Plan plan({.num_heads = config.num_heads,
                   .num_kv_heads = config.num_kv_heads,
                   .q_len = boundaries.back(),
                   .kv_len = std::ranges::max(view.kv_lens),
                   .head_dim = config.head_dim,
                   .value_dim = config.head_dim,
                   .key_dtype = view.dtype,
                   .value_dtype = view.dtype,
                   .page_size = view.page_size},
                  attention);
  Pass pass{cache, pieces, plan, view, buffers, executor, options};
  embed(pieces, buffers.hidden);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    if (options.cancel != nullptr && options.cancel->load()) throw Cancelled();
    attend(layer, pass);
    feed_forward(layer, buffers, executor);
  }
  if (!all_finite({buffers.hidden.data, static_cast<std::size_t>(buffers.hidden.size())})) {
    throw std::runtime_error(
        "decoder: computed a number that is not finite, expected weights of a trained model");
  }
}

/// The logits of the pass's rows that are asked for, into rows of `logits` from first_row on, or of
/// each input whose last token is in the pass.
void Decoder::Impl::write_logits(std::span<const Piece> pieces, const DecoderOptions& options,
                                 TensorView<float, 2> logits, std::int64_t first_row,
                                 Buffers& b) const {
  Executor& executor = options.executor != nullptr ? *options.executor : default_executor();
  const auto run = [&](std::int64_t row, std::int64_t rows, std::int64_t to) {
    const Rows hidden(&b.hidden(row, 0), {rows, config.hidden_size});
    const Rows normed(&b.normed(row, 0), hidden.shape);
    weights.norm.run(hidden, normed, executor);
    TensorView<float, 2> out = logits;
    out.data += to * logits.strides[0];
    out.shape[0] = rows;
    weights.logits.run(normed, out, &executor);
  };
  if (options.all_logits) return run(0, b.hidden.shape[0], first_row);
  std::int64_t end = 0;
  for (const Piece& piece : pieces) {
    end += std::ssize(piece.ids);
    if (piece.input >= 0) run(end - 1, 1, piece.input);
  }
}

Decoder::Decoder(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Decoder Decoder::load(const std::filesystem::path& path, const LoadProgress& progress) {
  try {
    return Decoder(std::make_unique<Impl>(load_decoder(path, progress)));
  } catch (const std::invalid_argument& error) {  // the engine's: a number that it cannot run
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

const DecoderConfig& Decoder::config() const { return impl_->config; }
const std::string& Decoder::fingerprint() const { return impl_->fingerprint; }

std::int64_t Decoder::weight_bytes() const {
  const DecoderWeights& w = impl_->weights;
  std::int64_t bytes = w.logits.weight_bytes() + (w.words ? w.words->weight_bytes() : 0);
  for (const DecoderLayer& layer : w.layers) {
    bytes += layer.query_key_value.weight_bytes() + layer.attention_out.weight_bytes() +
             layer.intermediate.weight_bytes() + layer.out.weight_bytes();
  }
  return bytes;
}

KvCacheShape Decoder::cache_shape(DType dtype) const {
  const DecoderConfig& c = impl_->config;
  KvCacheShape shape;
  shape.num_layers = c.num_layers;
  shape.num_kv_heads = c.num_kv_heads;
  shape.head_dim = shape.value_dim = c.head_dim;
  shape.dtype = dtype;
  shape.fingerprint = impl_->fingerprint;
  return shape;
}

void Decoder::run(PagedKvCache& cache, std::span<const DecoderInput> inputs,
                  TensorView<float, 2> logits, const DecoderOptions& options) const {
  impl_->check(cache, inputs, logits, options);
  std::vector<std::int64_t> lengths;
  for (const DecoderInput& input : inputs) lengths.push_back(cache.length(input.sequence));
  const auto restore = [&] {
    for (std::size_t i = 0; i < inputs.size(); ++i) cache.truncate(inputs[i].sequence, lengths[i]);
  };
  std::unique_ptr<Buffers> buffers = impl_->take_buffers();
  try {
    for (const DecoderInput& input : inputs) cache.extend(input.sequence, std::ssize(input.ids));
    std::vector<Piece> pass;
    std::int64_t rows = 0, done = 0;
    const auto flush = [&] {
      if (pass.empty()) return;
      impl_->run_pass(cache, pass, options, *buffers);
      impl_->write_logits(pass, options, logits, done, *buffers);
      done += rows;
      rows = 0;
      pass.clear();
      if (options.progress) options.progress(done);
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const auto count = std::ssize(inputs[i].ids);
      for (std::int64_t at = 0, next = 0; at < count; at = next) {
        next = std::min(count, at + kPassRows - rows);
        pass.push_back({.sequence = inputs[i].sequence,
                        .begin = lengths[i] + at,
                        .ids = inputs[i].ids.subspan(static_cast<std::size_t>(at),
                                                     static_cast<std::size_t>(next - at)),
                        .input = next == count ? static_cast<std::int64_t>(i) : -1});
        rows += next - at;
        if (rows == kPassRows) flush();
      }
    }
    flush();
  } catch (...) {
    restore();
    throw;
  }
  impl_->give_buffers(std::move(buffers));
}

}  // namespace regard::model
