// cli/look_run.h - one text through one model, its attention to whoever asked for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/look_sink.h"
#include "regard/executor.h"

namespace regard::cli {

struct LookRequest {
  std::string text, model;
  std::vector<std::string> layers, heads;  ///< whole numbers; all when empty
  bool truncate = false;                   ///< leave off what is longer than the model takes
  std::string to_truncate = "--truncate";  ///< how the caller asks for that, for the error
  /// The text is a prompt; the answer's tokens, the likeliest ones, at most so many, are looked at
  /// with it. Only for a model that decodes.
  std::optional<std::int64_t> generated = {};
  bool raw = false;          ///< no chat template around the prompt
  bool with_sha256 = false;  ///< of the weights; reads the whole file
};

/// Errors are those of finding, loading and running the model, UsageError for a layer or head that
/// it does not have, and what the sinks throw.
void look_at(
    LookRequest request, Executor& executor,
    const std::function<std::vector<std::unique_ptr<LookSink>>(const LookHeader&)>& make_sinks);

}  // namespace regard::cli
