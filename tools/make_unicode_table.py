#!/usr/bin/env python3
# tools/make_unicode_table.py - writes src/model/unicode_table.h: where `tokenizers` and utf8proc differ.
"""Usage: make_unicode_table.py UTF8PROC_FOLDER > src/model/unicode_table.h

Needs `pip install tokenizers==0.23.3` and a C compiler; UTF8PROC_FOLDER is build/third_party/utf8proc. The rules of
class Base are those of src/model/unicode.cc; tests/model/unicode_test.cc finds every code point where they part.
"""
import ctypes
import pathlib
import subprocess
import sys
import tempfile

import unicode_reference as reference

# utf8proc_category_t
(CN, LU, LL, LT, LM, LO, MN, MC, ME, ND, NL, NO, PC, PD, PS, PE, PI, PF, PO, SM, SC, SK, SO, ZS, ZL, ZP, CC, CF, CS,
 CO) = range(30)

HEAD = """// src/model/unicode_table.h - where `tokenizers` and utf8proc differ; generated, do not edit.
// Made by tools/make_unicode_table.py from tokenizers {tokenizers} and utf8proc {utf8proc} (Unicode {unicode}).
#pragma once

#include <array>
#include <cstdint>

namespace regard::model::unicode_table {{

/// Code points first..last have these CodePointFlags and this combining class instead.
struct Properties {{
  char32_t first, last;
  std::uint8_t flags, combining_class;
}};

/// code_point maps to these instead, up to the first 0.
struct Mapping {{
  char32_t code_point;
  std::array<char32_t, 4> to;
}};

/// Code points first..last are of a class as well that utf8proc does not know them to be of.
struct Run {{
  char32_t first, last;
}};

// clang-format off
"""


def load_utf8proc(folder):
    with tempfile.TemporaryDirectory() as scratch:
        library = pathlib.Path(scratch, "libutf8proc.so")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, pathlib.Path(folder, "utf8proc.c")], check=True)
        found = ctypes.CDLL(str(library))
    found.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_int16 * 2)  # category, combining_class
    found.utf8proc_decompose_char.restype = ctypes.c_ssize_t
    found.utf8proc_version.restype = found.utf8proc_unicode_version.restype = ctypes.c_char_p
    return found


class Base:
    """utf8proc's view of a code point, by the rules of src/model/unicode.cc."""

    def __init__(self, utf8proc):
        self.utf8proc = utf8proc
        self.buffer = (ctypes.c_int32 * 4)()
        self.boundary = ctypes.c_int(0)

    def property(self, c):
        return self.utf8proc.utf8proc_get_property(c).contents

    def decomposed(self, c):
        size = self.utf8proc.utf8proc_decompose_char(c, self.buffer, 4, 1 << 4, ctypes.byref(self.boundary))
        return tuple(self.buffer[:size])

    def lowercased(self, c):
        return (self.utf8proc.utf8proc_tolower(c),)

    def flags(self, c):
        category = self.property(c)[0]
        found = 0
        if c in (0, 0xFFFD) or (category in (CC, CF, CS, CO) and c not in (9, 10, 13)):
            found |= reference.CONTROL
        if category in (ZS, ZL, ZP) or 9 <= c <= 13 or c == 0x85:
            found |= reference.WHITESPACE
        if PC <= category <= PO or (c < 128 and category in (SM, SC, SK)):
            found |= reference.PUNCTUATION
        if category == MN:
            found |= reference.NONSPACING_MARK
        if LU <= category <= ND or category in (NL, PC) or c in (0x200C, 0x200D):
            found |= reference.WORD
        return found


def property_differences(base):
    """[first, last, flags, class] of every run of code points that differ in what is asked of them."""
    runs = []
    for c in reference.code_points():
        wanted = [reference.flags(c), 0]
        have = [base.flags(c), 0]
        if reference.decomposed(c) == (c,):
            wanted[1], have[1] = reference.combining_class()(c), base.property(c)[1]
        else:  # is decomposed before anyone asks whether it is a mark
            have[0] &= ~reference.NONSPACING_MARK
        if wanted == have:
            continue
        if runs and runs[-1][1] == c - 1 and runs[-1][2:] == wanted:
            runs[-1][1] = c
        else:
            runs.append([c, c, *wanted])
    return runs


def mapping_differences(wanted, have):
    return [(c, wanted(c)) for c in reference.code_points() if wanted(c) != have(c)]


def class_differences(wanted, base, first, last):
    """[first, last] of every run of code points of the class that utf8proc gives no category from first to last."""
    runs = []
    for c in wanted:
        if first <= base.property(c)[0] <= last:
            continue
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return runs


def write_table(kind, name, rows):
    print(f"inline constexpr std::array<{kind}, {len(rows)}> {name} = {{{{")
    line = "   "
    for row in rows:
        if len(line) + len(row) > 98:
            print(line)
            line = "   "
        line += " " + row + ","
    print(line + "\n}};\n")


def main():
    reference.check_version()
    utf8proc = load_utf8proc(sys.argv[1])
    base = Base(utf8proc)
    print(HEAD.format(tokenizers=reference.VERSION, utf8proc=utf8proc.utf8proc_version().decode(),
                      unicode=utf8proc.utf8proc_unicode_version().decode()), end="")
    write_table("Properties", "kProperties",
                ["{0x%X, 0x%X, %d, %d}" % tuple(run) for run in property_differences(base)])
    for name, wanted, have in (("kDecompositions", reference.decomposed, base.decomposed),
                               ("kLowercase", reference.lowercased, base.lowercased)):
        write_table("Mapping", name, ["{0x%X, {%s}}" % (c, ", ".join("0x%X" % d for d in to))
                                      for c, to in mapping_differences(wanted, have)])
    for name, wanted, first, last in (("kLetters", reference.matching(r"\p{L}"), LU, LO),
                                      ("kNumbers", reference.matching(r"\p{N}"), ND, NO),
                                      ("kDigits", reference.digits(), ND, NO)):
        write_table("Run", name, ["{0x%X, 0x%X}" % tuple(run) for run in class_differences(wanted, base, first, last)])
    print("// clang-format on\n\n}  // namespace regard::model::unicode_table")


if __name__ == "__main__":
    main()
