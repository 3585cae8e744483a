// python/bindings/masks.cc - regard.masks: the masks, their algebra, their pictures.
#include "masks.h"

#include <nanobind/stl/string.h>
#include <memory>
#include <vector>

#include "array.h"
#include "cli/mask_views.h"
#include "convert.h"
#include "regard/mask_text.h"

namespace regard::python {
namespace {

AnyMask window(nb::handle left, nb::handle right) {
  const auto side = [](const char* name, nb::handle n) {
    return n.is_none() ? WindowMask::kUnbounded : to_int64(name, n);
  };
  return WindowMask{.left = side("window: left", left), .right = side("window: right", right)};
}

/// The booleans of an array of rank 2 to 4, as (B or 1, H or 1, rows, columns).
TensorView<const bool, 4> booleans(const Array& array) {
  if (array.element != Element::kBool) refuse_type(array.name, "of another type", "booleans");
  if (array.rank < 2)
    refuse(array.name, "of shape " + array.describe_shape(),
           "2 to 4 axes: (batch, heads, rows, columns)");
  const std::int64_t rows = array.shape[array.rank - 2], columns = array.shape[array.rank - 1];
  const ScoreLayout layout = layout_of_scores(array, rows, columns);
  return {static_cast<const bool*>(array.data), layout.shape, layout.strides};
}

AnyMask block(nb::handle map, nb::handle q_block, nb::handle kv_block) {
  const Array array = import_array("block: map", map);
  return BlockMask(booleans(array), to_int64("block: q_block", q_block),
                   to_int64("block: kv_block", kv_block));
}

AnyMask dense(nb::handle allowed, nb::handle q_begin) {
  // The last copy of the mask may go on a thread without Python's lock.
  const std::shared_ptr<Array> array(new Array(import_array("dense: allowed", allowed)),
                                     [](Array* a) {
                                       const nb::gil_scoped_acquire lock;
                                       delete a;
                                     });
  return DenseMask(booleans(*array), to_int64("dense: q_begin", q_begin), array);
}

AnyMask per_sequence(nb::handle masks) {
  std::vector<AnyMask> each;
  if (!nb::isinstance<nb::sequence>(masks))
    refuse_type("per_sequence: masks", "a " + class_name(masks), "a list of masks");
  for (nb::handle item : nb::borrow<nb::sequence>(masks)) {
    const AnyMask* mask = as_mask(item);
    if (mask == nullptr)
      refuse_type("per_sequence: masks[" + std::to_string(each.size()) + "]",
                  "a " + class_name(item), "a mask of regard.masks");
    each.push_back(*mask);
  }
  return PerSequenceMask(std::move(each));
}

cli::MaskDrawing drawing(const AnyMask& mask, std::int64_t q_len, nb::handle kv_len,
                         std::int64_t q_offset) {
  const std::int64_t num_keys = kv_len.is_none() ? q_len : to_int64("draw: kv_len", kv_len);
  constexpr std::int64_t kMost = 1 << 24;
  if (q_len < 1 || q_len > kMost)
    refuse("draw: q_len", std::to_string(q_len), "1.." + std::to_string(kMost));
  if (num_keys < 1 || num_keys > kMost)
    refuse("draw: kv_len", std::to_string(num_keys), "1.." + std::to_string(kMost));
  const cli::MaskExtent extent{q_len, num_keys, q_offset};
  return cli::draw(mask, extent, cli::fitting_tile(extent, 64, 64));
}

std::string draw(const AnyMask& mask, std::int64_t q_len, nb::handle kv_len,
                 std::int64_t q_offset) {
  const cli::MaskDrawing picture = drawing(mask, q_len, kv_len, q_offset);
  return cli::mask_text(picture, {.width = 100, .colour = false, .unicode = true});
}

std::string svg(const AnyMask& mask) { return cli::mask_svg(drawing(mask, 64, nb::none(), 0)); }

template <class Operation>
auto combine(const Operation& operation) {
  return [operation](const AnyMask& a, const AnyMask& b) { return AnyMask(operation(a, b)); };
}

void bind_class(nb::module_& module) {
  nb::class_<AnyMask>(module, "Mask", R"(Which query may attend to which key, in absolute positions.

Masks combine: ``a & b`` allows what both allow, ``a | b`` what either does, ``~a`` what a forbids.
``str(mask)`` is the expression that :func:`parse` reads; a notebook draws it.)")
      .def("__and__", combine([](const AnyMask& a, const AnyMask& b) { return a & b; }),
           nb::is_operator())
      .def("__or__", combine([](const AnyMask& a, const AnyMask& b) { return a | b; }),
           nb::is_operator())
      .def("__invert__", [](const AnyMask& a) { return AnyMask(!a); })
      .def("__bool__",
           [](const AnyMask&) -> bool {
             throw nb::type_error(
                 "a mask has no truth value: combine masks with &, | and ~, not and, or and not");
           })
      .def("__str__", &AnyMask::describe)
      .def("__repr__", [](const AnyMask& a) { return "<regard mask " + a.describe() + ">"; })
      .def("allows", &AnyMask::allows, nb::arg("q"), nb::arg("kv"),
           "Whether the query at position q may attend to the key at position kv (of sequence 0 "
           "and head 0).")
      .def(
          "draw", &draw, nb::arg("q_len"), nb::arg("kv_len") = nb::none(), nb::arg("q_offset") = 0,
          R"(The mask as text, a row per query: ``#`` allowed, ``.`` not, ``+`` some pairs of a tile.

kv_len is q_len unless given; the first query is at position q_offset.)",
          nb::sig(
              "def draw(self, q_len: int, kv_len: int | None = None, q_offset: int = 0) -> str"))
      .def("_repr_svg_", &svg, "The mask for the first 64 positions, for a notebook.");
}

void bind_functions(nb::module_& module) {
  module.def("full", [] { return AnyMask(); }, "Every query sees every key.");
  module.def(
      "causal", [] { return AnyMask(CausalMask{}); },
      "A query sees its own position and those before it: kv <= q.");
  module.def("window", &window, nb::arg("left") = nb::none(), nb::arg("right") = nb::none(),
             "q - left <= kv <= q + right; None: unbounded on that side.",
             nb::sig("def window(left: int | None = None, right: int | None = None) -> Mask"));
  module.def(
      "prefix",
      [](nb::handle length) { return AnyMask(PrefixMask{to_int64("prefix: length", length)}); },
      nb::arg("length").none(), "Every query sees the keys before position length.",
      nb::sig("def prefix(length: int) -> Mask"));
  module.def(
      "strided",
      [](nb::handle stride) { return AnyMask(StridedMask(to_int64("strided: stride", stride))); },
      nb::arg("stride").none(), "A query sees every stride-th key, counted from its own position.",
      nb::sig("def strided(stride: int) -> Mask"));
  module.def(
      "document",
      [](nb::handle ids) { return AnyMask(DocumentMask(to_int64s("document: ids", ids))); },
      nb::arg("ids").none(),
      "A query sees the keys with its own id; ids has one per position, a list or an array.",
      nb::sig("def document(ids: Sequence[int] | ArrayLike) -> Mask"));
  module.def("block", &block, nb::arg("map").none(), nb::arg("q_block").none(),
             nb::arg("kv_block").none(),
             R"(Blocks of q_block queries see blocks of kv_block keys as a boolean map says.

map (batch or 1, heads or 1, query blocks, key blocks), or its last two axes; it is copied.)",
             nb::sig("def block(map: ArrayLike, q_block: int, kv_block: int) -> Mask"));
  module.def(
      "dense", &dense, nb::arg("allowed").none(), nb::arg("q_begin") = 0,
      R"(A boolean per pair, True = may attend: (batch or 1, heads or 1, q_len, kv_len), or its last axes.

Row 0 is the query at position q_begin, column 0 the key at 0; outside nothing is seen. Not copied.)",
      nb::sig("def dense(allowed: ArrayLike, q_begin: int = 0) -> Mask"));
  module.def("per_sequence", &per_sequence, nb::arg("masks").none(),
             "masks[b] for sequence b of the batch.",
             nb::sig("def per_sequence(masks: Sequence[Mask]) -> Mask"));
  module.def(
      "parse",
      [](nb::handle text) {
        if (!nb::isinstance<nb::str>(text))
          refuse_type("parse: text", "a " + class_name(text), "a str");
        return parse_mask(nb::cast<std::string>(text));
      },
      nb::arg("text").none(),
      "The mask that an expression means: \"causal & (prefix(4) | window(4096, 0))\".",
      nb::sig("def parse(text: str) -> Mask"));
}

}  // namespace

const AnyMask* as_mask(nb::handle object) {
  const AnyMask* mask = nullptr;
  return nb::try_cast(object, mask, false) ? mask : nullptr;
}

void bind_masks(nb::module_& module) {
  bind_class(module);
  bind_functions(module);
}

}  // namespace regard::python
