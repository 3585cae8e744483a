#!/usr/bin/env python3
# tests/golden/make_unicode_golden.py - writes unicode.json: digests of what `tokenizers` does with every code point.
"""Usage: make_unicode_golden.py > tests/golden/unicode.json
       make_unicode_golden.py --explain 1E9    the rows of the block that begins at U+1E900

Needs `pip install tokenizers==0.23.3`. A row of unicode.json is "first last flags classes decompositions lowercase":
all blocks of 256 code points from first to last have these four digests. unicode_test prints the same rows as --explain
for a block that differs.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
import unicode_reference as reference  # noqa: E402
from golden_digest import Digest  # noqa: E402

IDEOGRAPH = 32  # beside the flags of unicode_reference


def row(c):
    """flags, class, decomposition, lower case: identity is (), what is never asked is 0."""
    decomposed, lowercased = reference.decomposed(c), reference.lowercased(c)
    same = decomposed == (c,)
    return (reference.flags(c) | (IDEOGRAPH if reference.is_ideograph(c) else 0),
            reference.combining_class()(c) if same else 0,
            () if same else decomposed,
            () if lowercased == (c,) else lowercased)


def code_points(block):
    return [c for c in range(block * 256, block * 256 + 256) if not 0xD800 <= c < 0xE000]


def digests(block):
    columns = [Digest() for _ in range(4)]
    for c in code_points(block):
        flags, combining, decomposed, lowercased = row(c)
        columns[0].add(flags)
        columns[1].add(combining)
        columns[2].add(len(decomposed), *decomposed)
        columns[3].add(len(lowercased), *lowercased)
    return " ".join(map(str, columns))


def explain(block):
    for c in code_points(block):
        flags, combining, *mapped = row(c)
        print(f"U+{c:04X} flags {flags} class {combining}", *(".".join(f"{d:04X}" for d in m) or "-" for m in mapped))


def main():
    reference.check_version()
    if sys.argv[1:2] == ["--explain"]:
        return explain(int(sys.argv[2], 16))
    runs = []
    for block in range(0x1100):
        found = digests(block)
        if runs and runs[-1][2] == found:
            runs[-1][1] = block
        else:
            runs.append([block, block, found])
    print('{"made_by": "tests/golden/make_unicode_golden.py", "tokenizers": "%s", "blocks": [' % reference.VERSION)
    print(",\n".join('"%X %X %s"' % tuple(run) for run in runs))
    print("]}")


if __name__ == "__main__":
    main()
