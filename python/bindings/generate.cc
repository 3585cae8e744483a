// python/bindings/generate.cc - what regard.generate is made of: a model, and a text that it goes
// on with.
#include "generate.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "convert.h"
#include "regard/attention.h"
#include "regard/model/chat.h"
#include "regard/model/generate.h"
#include "regard/model/models.h"
#include "run.h"

namespace regard::python {
namespace {

/// A loaded model, for any number of texts.
struct ModelObject {
  explicit ModelObject(const model::FoundModel& found_model)
      : found(found_model),
        tokenizer(model::Tokenizer::load(found.tokenizer())),
        decoder(model::Decoder::load(found.source())) {}

  model::FoundModel found;
  model::Tokenizer tokenizer;
  model::Decoder decoder;
};

model::FoundModel find_decoder(const std::string& name) {
  model::FoundModel found = model::find_model(name);
  if (!found.decodes())
    refuse("generate: model", found.name + ", of the family " + found.family,
           "one that generates, such as smollm2");
  return found;
}

/// What the caller asked for, as it came.
struct Request {
  std::vector<std::pair<std::string, std::string>> messages;  ///< role, content
  bool raw = false;                                           ///< one message, its content as it is
  model::GenerateOptions options;
  std::string cache_dtype;
};

/// One text on its way, for one thread at a time.
class GenerationObject {
  /// Between the steps of another thread, which may need Python's lock to end.
  template <class Look>
  auto look(const Look& take) {
    const nb::gil_scoped_release unlocked;
    const std::lock_guard guard(mutex_);
    return take();
  }

 public:
  GenerationObject(std::shared_ptr<const ModelObject> model, Request request,
                   std::shared_ptr<Executor> executor)
      : model_(std::move(model)),
        executor_(std::move(executor)),
        cache_(model::context_cache_shape(
            model_->decoder, to_cache_dtype("generate: cache_dtype", request.cache_dtype))) {
    read_prompt(request);
    request.options.executor = executor_.get();
    generation_ = std::make_unique<model::Generation>(model_->decoder, model_->tokenizer, cache_,
                                                      cache_.create(), std::move(request.options));
  }

  void prompt() {
    work([&] { generation_->prompt(prompt_ids_); }, prompt_ids_.size());
  }
  /// The next token's id and what text is certain with it; None at the end.
  std::optional<std::pair<std::int32_t, std::string>> next() {
    std::optional<std::pair<std::int32_t, std::string>> made;
    work(
        [&] {
          if (auto piece = generation_->next()) made.emplace(piece->id, std::move(piece->text));
        },
        1);
    return made;
  }
  const std::vector<std::int32_t>& prompt_ids() const { return prompt_ids_; }
  std::vector<std::int32_t> ids() {
    return look([&] { return generation_->ids(); });
  }
  std::string rest() {
    return look([&] { return generation_->rest(); });
  }
  std::string stop() {
    return look([&] { return std::string(name_of(generation_->stop())); });
  }
  nb::dict stats() {
    const model::GenerateStats s = look([&] { return generation_->stats(); });
    nb::dict result;
    result["prompt_tokens"] = s.prompt_tokens;
    result["tokens"] = s.tokens;
    result["prefill_tokens_per_second"] = s.prefill_rate();
    result["decode_tokens_per_second"] = s.decode_rate();
    result["attention_share"] = s.attention_share();
    result["cache_bytes"] = look([&] { return cache_.stats().used_bytes(); });
    return result;
  }

 private:
  void read_prompt(Request& request) {
    const model::Tokenizer& tokenizer = model_->tokenizer;
    model::Prompt prompt;
    if (request.raw) {
      prompt = model::raw_prompt(request.messages.at(0).second, tokenizer);
    } else {
      std::vector<model::Message> messages;
      for (const auto& [role, content] : request.messages) messages.push_back({role, content});
      prompt = model::chat_prompt(messages, tokenizer,
                                  model::ChatTemplate::load(model_->found.source()));
    }
    prompt_ids_ = std::move(prompt.ids);
    request.options.end_ids = std::move(prompt.end_ids);
    request.options.is_answer = prompt.is_answer;
    if (prompt_ids_.empty()) refuse("generate: prompt", "empty", "at least one token");
  }

  /// Without Python's lock; Ctrl-C ends it.
  template <class Work>
  void work(const Work& step, std::size_t tokens) {
    const double flops =
        4 * static_cast<double>(model_->decoder.weight_bytes()) * static_cast<double>(tokens);
    run_interruptibly(flops, [&](const std::atomic<bool>* cancel) {
      const std::lock_guard guard(mutex_);
      generation_->cancel_by(cancel);
      step();
      generation_->cancel_by(nullptr);
    });
  }

  std::shared_ptr<const ModelObject> model_;
  std::shared_ptr<Executor> executor_;
  PagedKvCache cache_;
  std::vector<std::int32_t> prompt_ids_;
  std::unique_ptr<model::Generation> generation_;
  std::mutex mutex_;
};

}  // namespace

void bind_generate(nb::module_& module) {
  nb::class_<ModelObject>(module, "_Model");
  module.def(
      "_model_file", [](const std::string& name) { return find_decoder(name).source().string(); },
      nb::arg("name"));
  module.def(
      "_load_model",
      [](const std::string& name) {
        const nb::gil_scoped_release unlocked;
        return std::make_shared<ModelObject>(find_decoder(name));
      },
      nb::arg("name"));
  nb::class_<GenerationObject>(module, "_Generation")
      .def(
          "__init__",
          [](GenerationObject* self, std::shared_ptr<ModelObject> model,
             std::vector<std::pair<std::string, std::string>> messages, bool raw,
             std::vector<std::string> stop, nb::handle options, nb::handle num_threads) {
            Request request{.messages = std::move(messages),
                            .raw = raw,
                            .options = {},
                            .cache_dtype = nb::cast<std::string>(options["cache_dtype"])};
            model::GenerateOptions& o = request.options;
            o.stop = std::move(stop);
            o.sampling.temperature = to_double("generate: temperature", options["temperature"]);
            o.sampling.top_p = to_double("generate: top_p", options["top_p"]);
            o.sampling.min_p = to_double("generate: min_p", options["min_p"]);
            o.sampling.top_k = to_int64("generate: top_k", options["top_k"]);
            const std::int64_t seed = to_int64("generate: seed", options["seed"]);
            if (seed < 0) refuse("generate: seed", std::to_string(seed), "0 to 2^63 - 1");
            o.sampling.seed = static_cast<std::uint64_t>(seed);
            o.max_tokens = to_int64("generate: max_tokens", options["max_tokens"]);
            o.window = to_int64("generate: window", options["window"]);
            o.sinks = to_int64("generate: sinks", options["sinks"]);
            new (self) GenerationObject(std::move(model), std::move(request),
                                        executor_of("generate: num_threads", num_threads));
          },
          nb::arg("model"), nb::arg("messages"), nb::arg("raw"), nb::arg("stop"),
          nb::arg("options"), nb::arg("num_threads").none())
      .def("prompt", &GenerationObject::prompt)
      .def("next", &GenerationObject::next)
      .def_prop_ro("prompt_ids", &GenerationObject::prompt_ids)
      .def_prop_ro("ids", &GenerationObject::ids)
      .def_prop_ro("rest", &GenerationObject::rest)
      .def_prop_ro("stop", &GenerationObject::stop)
      .def_prop_ro("stats", &GenerationObject::stats);
}

}  // namespace regard::python
