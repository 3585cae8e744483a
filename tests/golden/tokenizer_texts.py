# tests/golden/tokenizer_texts.py - what the makers of golden tokenizers share.
CORPUS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "I'll say it's 12345 times better than they've said; we'd go, you're right, DON'T you?",
    "Grüße aus Köln! Les élèves étudiaient à l'école. 漢字とひらがな。 Ελληνικά. Привет, мир 🙂",
    "for (int i = 0; i < 10; ++i) {\n\tsum += i;\n}\r\n\r\n   done   \n",
]


def byte_offsets(text, offsets):
    """Pairs of code points' places as places of bytes, one after the other."""
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [at[place] for pair in offsets for place in pair]
