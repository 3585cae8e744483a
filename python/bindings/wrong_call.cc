// python/bindings/wrong_call.cc - what is said of a call whose arguments do not fit by number or
// name.
#include "wrong_call.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/suggest.h"
#include "docstrings.h"

namespace regard::python {
namespace {

namespace nb = nanobind;

struct Parameters {
  std::vector<std::string> positional, keywords;
};

/// From the signature that nanobind keeps, "def name(query: Array, *, scale: float | None = \0) ->
/// Array".
Parameters parameters_of(nb::handle function) {
  std::string text = nb::cast<std::string>(function.attr("__nb_signature__")[0][0]);
  for (std::size_t at = 0; (at = text.find('\\', at)) != std::string::npos;) {  // a default's place
    std::size_t end = at + 1;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    text.replace(at, end - at, "None");
  }
  const nb::object body = nb::module_::import_("ast").attr("parse")(text + ": pass").attr("body");
  const nb::object arguments = nb::object(body[0]).attr("args");
  Parameters parameters;
  for (nb::handle each : arguments.attr("args"))
    parameters.positional.push_back(nb::cast<std::string>(each.attr("arg")));
  for (nb::handle each : arguments.attr("kwonlyargs"))
    parameters.keywords.push_back(nb::cast<std::string>(each.attr("arg")));
  return parameters;
}

std::string what_is_wrong(const Parameters& known, const nb::args& args, const nb::kwargs& kwargs) {
  if (args.size() > known.positional.size())
    return std::to_string(args.size()) + " arguments came by position, expected at most " +
           std::to_string(known.positional.size()) +
           (known.keywords.empty() ? "" : ", the others by name");
  std::vector<std::string> names = known.positional;
  names.insert(names.end(), known.keywords.begin(), known.keywords.end());
  for (auto [key, value] : kwargs) {
    const auto name = nb::cast<std::string>(key);
    if (std::ranges::find(names, name) == names.end())
      return "there is no argument '" + name + "'" + cli::did_you_mean(name, names);
  }
  for (std::size_t i = 0; i < known.positional.size(); ++i) {
    const std::string& name = known.positional[i];
    const bool by_name = kwargs.contains(name.c_str());
    if (i < args.size() && by_name) return name + " came twice, by position and by name";
    if (i >= args.size() && !by_name) return name + " is missing";
  }
  return "an argument is of another type than expected";
}

}  // namespace

const char* const kAnyMethodSignature = "(self, *args: Any, **kwargs: Any) -> NoReturn";

std::vector<std::string> names_of_calls(nb::handle scope) {
  std::vector<std::string> names;
  const nb::object items = nb::module_::import_("builtins").attr("dict")(scope.attr("__dict__"));
  for (auto [name, item] : nb::borrow<nb::dict>(items)) {
    const auto text = nb::cast<std::string>(name);
    const bool is_public = text.front() != '_' || text == "__init__";
    if (is_public && nb::hasattr(item, "__nb_signature__")) names.push_back(text);
  }
  return names;
}

void refuse_call(nb::handle function, const std::string& name, const nb::args& args,
                 const nb::kwargs& kwargs, bool is_method) {
  Parameters known = parameters_of(function);
  if (is_method) known.positional.erase(known.positional.begin());
  const std::string wrong = what_is_wrong(known, args, kwargs);
  throw nb::type_error((name + ": " + wrong).c_str());
}

void explain_wrong_calls(nb::module_& module) {
  for (const std::string& name : names_of_calls(module)) {
    module.def(
        name.c_str(),
        [module = nb::handle(module), name](const nb::args& args, const nb::kwargs& kwargs) {
          refuse_call(module.attr(name.c_str()), name, args, kwargs, false);
        },
        docstrings::kOtherCalls,
        nb::sig(("def " + name + "(*args: Any, **kwargs: Any) -> NoReturn").c_str()));
  }
}

}  // namespace regard::python
