// python/bindings/rope.cc - rotary positions.
#include "rope.h"

#include <optional>
#include <set>
#include <string>

#include "array.h"
#include "convert.h"
#include "docstrings.h"
#include "regard/rope.h"
#include "run.h"

namespace regard::python {
namespace {

/// What transformers calls rope_scaling: numbers by name. Remembers which were asked for.
class ScalingDict {
 public:
  explicit ScalingDict(nb::dict values) : values_(std::move(values)) {}

  std::string type() {
    for (const char* key : {"rope_type", "type"}) {
      if (values_.contains(key)) {
        asked_.insert(key);
        return nb::str(values_[key]).c_str();
      }
    }
    return "";
  }
  std::optional<double> number(const std::string& key) {
    asked_.insert(key);
    if (!values_.contains(key.c_str()) || nb::object(values_[key.c_str()]).is_none()) return {};
    return to_double(("rope: scaling['" + key + "']").c_str(), values_[key.c_str()]);
  }
  double needed(const std::string& key) {
    const auto value = number(key);
    if (!value) refuse("rope: scaling['" + key + "']", "missing", "a number");
    return *value;
  }
  std::int64_t length(const std::string& key) { return static_cast<std::int64_t>(needed(key)); }
  bool flag(const std::string& key, bool otherwise) {
    asked_.insert(key);
    if (!values_.contains(key.c_str())) return otherwise;
    return to_bool(("rope: scaling['" + key + "']").c_str(), values_[key.c_str()]);
  }
  void refuse_others() const {
    for (auto [key, value] : values_) {
      const std::string name = nb::str(key).c_str();
      if (!asked_.contains(name) && name != "rope_theta" && name != "partial_rotary_factor")
        refuse("rope: scaling['" + name + "']", "unknown", "what its type takes");
    }
  }

 private:
  nb::dict values_;
  std::set<std::string> asked_{"rope_theta", "partial_rotary_factor"};
};

RopeScaling to_scaling(nb::handle object) {
  if (object.is_none()) return {};
  if (!nb::isinstance<nb::dict>(object))
    refuse_type("rope: scaling", "a " + class_name(object),
                "a dict, as transformers' rope_scaling");
  ScalingDict s(nb::borrow<nb::dict>(object));
  const std::string type = s.type();
  RopeScaling scaling;
  if (type == "default") {
  } else if (type == "linear") {
    scaling = RopeLinear{.factor = s.needed("factor")};
  } else if (type == "ntk") {
    scaling = RopeNtk{.factor = s.needed("factor")};
  } else if (type == "dynamic") {
    scaling = RopeDynamicNtk{.factor = s.needed("factor"),
                             .original_max_len = s.length("original_max_position_embeddings"),
                             .seq_len = s.length("seq_len")};
  } else if (type == "yarn") {
    scaling = RopeYarn{.factor = s.needed("factor"),
                       .original_max_len = s.length("original_max_position_embeddings"),
                       .beta_fast = s.number("beta_fast").value_or(32),
                       .beta_slow = s.number("beta_slow").value_or(1),
                       .attention_factor = s.number("attention_factor"),
                       .mscale = s.number("mscale").value_or(0),
                       .mscale_all_dim = s.number("mscale_all_dim").value_or(0),
                       .truncate = s.flag("truncate", true)};
  } else if (type == "llama3") {
    scaling = RopeLlama3{.factor = s.needed("factor"),
                         .low_freq_factor = s.needed("low_freq_factor"),
                         .high_freq_factor = s.needed("high_freq_factor"),
                         .original_max_len = s.length("original_max_position_embeddings")};
  } else {
    refuse("rope: scaling['rope_type']", "'" + type + "'",
           "one of default, linear, ntk, dynamic, yarn, llama3");
  }
  s.refuse_others();
  return scaling;
}

RopeStyle to_style(nb::handle object) {
  const std::string style = nb::isinstance<nb::str>(object) ? nb::str(object).c_str() : "";
  if (style == "half_split") return RopeStyle::kHalfSplit;
  if (style == "interleaved") return RopeStyle::kInterleaved;
  refuse("rope: style", nb::repr(object).c_str(), "'half_split' or 'interleaved'");
}

template <class View>
View rank4(const Array& array, View view) {
  view.dtype = dtype_of(array);
  view.data = array.data;
  set_axes(array, false, view.shape, view.strides);
  return view;
}

/// One per token, or per sequence and token.
std::vector<std::int64_t> to_positions(nb::handle object, std::int64_t batch, std::int64_t q_len) {
  const nb::object flat =
      nb::hasattr(object, "reshape") ? nb::object(object.attr("reshape")(-1)) : nb::borrow(object);
  std::vector<std::int64_t> positions = to_int64s("rope: positions", flat);
  const auto count = static_cast<std::int64_t>(positions.size());
  if (count != q_len && count != batch * q_len)
    refuse("rope: positions", std::to_string(count) + " numbers",
           std::to_string(q_len) + " (q_len), or as many per sequence");
  return positions;
}

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
nb::object rope(nb::handle x, nb::handle positions, nb::handle base, nb::handle style,
                nb::handle rotary_dim, nb::handle scaling, nb::handle out) {
  const Array from = import_array("rope: x", x);
  if (from.rank < 2 || from.rank > 4)
    refuse("rope: x", "of shape " + from.describe_shape(),
           "(batch, heads, q_len, head_dim), or the last three or two of these");
  const auto in = rank4(from, InputView<4>());
  const Rope turn(
      in.shape[3],
      {.base = to_double("rope: base", base),
       .style = to_style(style),
       .rotary_dim = rotary_dim.is_none() ? 0 : to_int64("rope: rotary_dim", rotary_dim),
       .scaling = to_scaling(scaling)});
  nb::object result =
      !out.is_none() ? nb::borrow(out)
                     : new_array(from, from.element,
                                 {from.shape.begin(),
                                  from.shape.begin() + static_cast<std::ptrdiff_t>(from.rank)});
  const Array to = import_array("rope: out", result, true);
  if (to.rank != from.rank)
    refuse("rope: out", "of shape " + to.describe_shape(), from.describe_shape());
  const auto view = rank4(to, OutputView<4>());
  if (const auto first = as_int64("rope: positions", positions)) {
    const nb::gil_scoped_release unlocked;
    turn.apply(in, view, *first);
  } else {
    const auto each = to_positions(positions, in.shape[0], in.shape[2]);
    const nb::gil_scoped_release unlocked;
    turn.apply(in, view, each);
  }
  return out.is_none() ? finish_array(from, result) : result;
}

}  // namespace

void bind_rope(nb::module_& module) {
  module.def("rope", &rope, nb::arg("x").none(), nb::arg("positions").none(), nb::kw_only(),
             nb::arg("base").none() = 10000.0, nb::arg("style").none() = "half_split",
             nb::arg("rotary_dim") = nb::none(), nb::arg("scaling") = nb::none(),
             nb::arg("out") = nb::none(), docstrings::kRope, nb::sig(docstrings::kRopeSignature));
}

}  // namespace regard::python
