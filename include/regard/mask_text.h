// include/regard/mask_text.h - masks written as text: "causal & (prefix(4) | window(4096, 0))".
#pragma once

#include <string_view>

#include "regard/any_mask.h"

namespace regard {

/// The mask that an expression means, and what AnyMask::describe() says of it means the same again
/// (but where it shortens a document mask of more than 16 positions):
///   full, causal              FullMask, CausalMask
///   window(left, right)       WindowMask; a side may be * (unbounded) or negative
///   prefix(n), strided(n)     PrefixMask, StridedMask with n >= 1
///   document(id, id, ...)     DocumentMask: one whole number per position
///   !a, a & b, a | b, (a)     not, and, or; ! binds tightest, then &, then |
/// Spaces, tabs and line ends may stand between any two of these words, numbers and signs. Numbers
/// are whole and fit in 64 bits. Parentheses and ! nest at most 100 deep.
///
/// Throws std::invalid_argument for anything else, block, dense and custom masks among it: their
/// booleans or code are not in their text. Its message: a line with the column (from 1), what was
/// expected and what came; the text, a part of it when it is long; a caret below the column.
AnyMask parse_mask(std::string_view text);

}  // namespace regard
