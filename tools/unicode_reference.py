# tools/unicode_reference.py - what the `tokenizers` package (PyPI, 0.23.3) does with each single code point.
"""Asked through its public interface, because its tables are inside a compiled library."""
import functools

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

VERSION = "0.23.3"
CONTROL, WHITESPACE, PUNCTUATION, NONSPACING_MARK, WORD = 1, 2, 4, 8, 16  # as in src/model/unicode.h

_options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
_clean = normalizers.BertNormalizer(**{**_options, "clean_text": True})
_strip = normalizers.BertNormalizer(**{**_options, "strip_accents": True})
_space = normalizers.BertNormalizer(**{**_options, "handle_chinese_chars": True})
_nfd = normalizers.NFD()
_lower = normalizers.Lowercase()
_split = pre_tokenizers.BertPreTokenizer()
_word = Tokenizer(models.WordPiece({"?": 0, "xx": 1}, unk_token="?"))
_word.add_tokens([AddedToken("xx", single_word=True, normalized=False)])


def check_version():
    if tokenizers.__version__ != VERSION:
        raise SystemExit(f"tokenizers is {tokenizers.__version__}, expected {VERSION}")


def code_points():
    """Every code point that text can hold: all but the surrogates."""
    yield from range(0xD800)
    yield from range(0xE000, 0x110000)


def decomposed(c):
    return tuple(map(ord, _nfd.normalize_str(chr(c))))


def lowercased(c):
    return tuple(map(ord, _lower.normalize_str(chr(c))))


def is_ideograph(c):
    return len(_space.normalize_str(chr(c))) == 3


def flags(c):
    char = chr(c)
    pieces = [piece for piece, _ in _split.pre_tokenize_str(f"a{char}a")]
    found = 0
    if _clean.normalize_str(char) == "":
        found |= CONTROL
    if pieces == ["a", "a"]:
        found |= WHITESPACE
    if pieces == ["a", char, "a"]:
        found |= PUNCTUATION
    if decomposed(c) == (c,) and _strip.normalize_str(f"a{char}") == "a":
        found |= NONSPACING_MARK
    if _word.encode(f"xx{char}").tokens == ["?"]:  # "xx" is no single word here
        found |= WORD
    return found


def matching(pattern):
    """Ascending code points that a Split by the regular expression finds."""
    step = pre_tokenizers.Split(Regex(pattern), "isolated")
    return [c for c in code_points() if len(step.pre_tokenize_str("\0" + chr(c) + "\0")) == 3]


def digits():
    """Ascending code points that Digits finds: Rust's tables are newer than those of its regular expressions."""
    step = pre_tokenizers.Digits(individual_digits=True)
    return [c for c in code_points() if len(step.pre_tokenize_str("a" + chr(c) + "a")) == 3]


def _swaps(a, b):
    """Whether NFD puts b before a in "ab"."""
    return _nfd.normalize_str(chr(a) + chr(b)) == chr(b) + chr(a) != chr(a) + chr(b)


class CombiningClasses:
    """Canonical combining classes, found by which marks NFD swaps; `known` maps each class to a mark that has it."""

    def __init__(self, known):
        self.known = sorted(known.items())
        for (_, low), (_, high) in zip(self.known, self.known[1:]):
            assert _swaps(high, low) and not _swaps(low, high), (hex(low), hex(high))

    def __call__(self, c):
        lowest, highest = self.known[0][1], self.known[-1][1]
        if not _swaps(c, lowest) and not _swaps(highest, c):
            return 0
        equal = [value for value, mark in self.known if not _swaps(c, mark) and not _swaps(mark, c)]
        assert len(equal) == 1, (hex(c), equal)
        return equal[0]


# One mark of every combining class that Unicode 9 has.
KNOWN_CLASSES = {
    1: 0x334, 7: 0x93C, 8: 0x3099, 9: 0x94D, 10: 0x5B0, 11: 0x5B1, 12: 0x5B2, 13: 0x5B3, 14: 0x5B4, 15: 0x5B5,
    16: 0x5B6, 17: 0x5B7, 18: 0x5B8, 19: 0x5B9, 20: 0x5BB, 21: 0x5BC, 22: 0x5BD, 23: 0x5BF, 24: 0x5C1, 25: 0x5C2,
    26: 0xFB1E, 27: 0x64B, 28: 0x64C, 29: 0x64D, 30: 0x64E, 31: 0x64F, 32: 0x650, 33: 0x651, 34: 0x652, 35: 0x670,
    36: 0x711, 84: 0xC55, 91: 0xC56, 103: 0xE38, 107: 0xE48, 118: 0xEB8, 122: 0xEC8, 129: 0xF71, 130: 0xF72,
    132: 0xF74, 202: 0x321, 214: 0x1DCE, 216: 0x31B, 218: 0x302A, 220: 0x316, 222: 0x59A, 224: 0x302E, 226: 0x1D16D,
    228: 0x5AE, 230: 0x300, 232: 0x315, 233: 0x35C, 234: 0x35D, 240: 0x345,
}


@functools.cache
def combining_class():
    return CombiningClasses(KNOWN_CLASSES)
