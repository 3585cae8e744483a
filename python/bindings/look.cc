// python/bindings/look.cc - what regard.look is made of: a run of a model, and the page.
#include "look.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <numeric>
#include <span>
#include <sstream>
#include <tuple>
#include <vector>

#include "cli/html_file.h"
#include "cli/look_html.h"
#include "cli/look_run.h"
#include "regard/isa.h"
#include "regard/version.h"

namespace regard::python {
namespace {

namespace nb = nanobind;

/// text, begin and end in bytes, special
using TokenTuple = std::tuple<std::string, std::int64_t, std::int64_t, bool>;
using Weights =
    nb::ndarray<nb::numpy, float, nb::ndim<4>, nb::c_contig>;  // (layers, heads, tokens, tokens)
using ReadWeights = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

/// Keeps what a run says.
class Collector final : public cli::LookSink {
 public:
  Collector(cli::LookHeader& header, std::vector<float>& weights)
      : header_(header), weights_(weights) {}
  void begin(const cli::LookHeader& header) override { header_ = header; }
  void layer(std::int64_t, std::span<const float> weights) override {
    weights_.insert(weights_.end(), weights.begin(), weights.end());
  }
  void end() override {}

 private:
  cli::LookHeader& header_;
  std::vector<float>& weights_;
};

nb::tuple run_look(const std::string& text, const std::string& model, bool truncate) {
  cli::LookHeader header;
  auto weights = std::make_unique<std::vector<float>>();
  {
    const nb::gil_scoped_release unlocked;
    cli::look_at({.text = text,
                  .model = model,
                  .layers = {},
                  .heads = {},
                  .truncate = truncate,
                  .to_truncate = "truncate=True",
                  .with_sha256 = false},
                 default_executor(), [&](const cli::LookHeader&) {
                   std::vector<std::unique_ptr<cli::LookSink>> sinks;
                   sinks.push_back(std::make_unique<Collector>(header, *weights));
                   return sinks;
                 });
  }
  std::vector<TokenTuple> tokens;
  for (const model::Token& token : header.tokens)
    tokens.emplace_back(token.text, token.begin, token.end, token.special);
  const std::size_t length = header.tokens.size();
  std::vector<float>* data = weights.release();
  const nb::capsule owner(data,
                          [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return nb::make_tuple(
      header.model.name, tokens,
      Weights(data->data(), {header.layers.size(), header.heads.size(), length, length}, owner));
}

/// The page into a file that is there whole or not at all, or, without a path, returned.
std::string write_page(const std::string& model, const std::string& text,
                       const std::vector<TokenTuple>& tokens, const ReadWeights& weights,
                       const std::string& path) {
  cli::LookHeader header;
  header.model.name = model;
  header.model.family = "transformers";
  header.model.num_layers = static_cast<std::int64_t>(weights.shape(0));
  header.model.num_heads = header.model.num_kv_heads = static_cast<std::int64_t>(weights.shape(1));
  header.engine = {.version = REGARD_VERSION,
                   .isa = active_isa(),
                   .dtype = "float32",
                   .threads = default_num_threads()};
  header.text = text;
  for (const auto& [piece, begin, end, special] : tokens)
    header.tokens.push_back(
        {.id = 0, .text = piece, .begin = begin, .end = end, .special = special, .word = -1});
  header.layers.resize(weights.shape(0));
  header.heads.resize(weights.shape(1));
  std::iota(header.layers.begin(), header.layers.end(), 0);
  std::iota(header.heads.begin(), header.heads.end(), 0);
  if (weights.shape(2) != tokens.size() || weights.shape(3) != tokens.size())
    throw std::invalid_argument("look: attention is of another number of tokens than there are");

  const nb::gil_scoped_release unlocked;
  std::ostringstream page;
  std::unique_ptr<cli::LookSink> sink;
  if (path.empty()) {
    sink = std::make_unique<cli::HtmlSink>(page);
  } else {
    sink = std::make_unique<cli::HtmlFile>(path, cli::PageStart{});
  }
  sink->begin(header);
  const std::size_t size = weights.shape(1) * weights.shape(2) * weights.shape(3);
  for (std::size_t layer = 0; layer < weights.shape(0); ++layer)
    sink->layer(static_cast<std::int64_t>(layer), std::span(weights.data() + layer * size, size));
  sink->end();
  return std::move(page).str();
}

}  // namespace

void bind_look(nb::module_& module) {
  module.def("_run_look", &run_look, nb::arg("text"), nb::arg("model"), nb::arg("truncate"));
  module.def("_look_page", &write_page, nb::arg("model"), nb::arg("text"), nb::arg("tokens"),
             nb::arg("weights"), nb::arg("path"),
             nb::sig("def _look_page(model: str, text: str, tokens: object, weights: object, path: "
                     "str) -> str"));
}

}  // namespace regard::python
