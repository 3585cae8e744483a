#!/usr/bin/env python3
# tests/golden/make_tokenizer_golden.py - writes tokenizer/golden_*.json: what `tokenizers` makes of the test texts.
"""Usage: make_tokenizer_golden.py MINILM_TOKENIZER_JSON SHARED_DATA_FOLDER

Needs `pip install tokenizers==0.23.3`. A token is "id begin end word": bytes of the text; special tokens have word -1.
Texts with more than 150 tokens, corpora and variants have "count digest" instead. A variant is tiny.json after a JSON
merge patch.
"""
import json
import pathlib
import sys

import tokenizers
from golden_digest import Digest

VERSION = "0.23.3"
HERE = pathlib.Path(__file__).parent / "tokenizer"
LINES = 250  # of a corpus in one digest

PLAIN = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
VARIANTS = {
    "nothing normalised": {"normalizer": PLAIN},
    "only clean_text": {"normalizer": {**PLAIN, "clean_text": True}},
    "only handle_chinese_chars": {"normalizer": {**PLAIN, "handle_chinese_chars": True}},
    "only strip_accents": {"normalizer": {**PLAIN, "strip_accents": True}},
    "only lowercase": {"normalizer": {**PLAIN, "lowercase": True}},
    "cased, accents by default": {"normalizer": {"lowercase": False}},
    "lowercase, accents kept": {"normalizer": {"strip_accents": False}},
    "no prefix, no added tokens": {"model": {"continuing_subword_prefix": ""}, "added_tokens": []},
    "BertProcessing, long words": {
        "model": {"max_input_chars_per_word": 101},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
                                           "single": None, "pair": None, "special_tokens": None}},
}


def merge_patch(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


class Reference:
    def __init__(self, config):
        self.tokenizer = tokenizers.Tokenizer.from_str(json.dumps(config))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.unk = config["model"]["vocab"][config["model"]["unk_token"]]
        self.special = {i: t.content for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}

    def tokens(self, text):
        encoding = self.tokenizer.encode(text)
        bytes_before = [0]
        for char in text:
            bytes_before.append(bytes_before[-1] + len(char.encode()))
        result = []
        for i, (begin, end), word, added in zip(encoding.ids, encoding.offsets, encoding.word_ids,
                                                encoding.special_tokens_mask):
            # The library gives special tokens that the text spells out a word; an unknown word has [UNK]'s id as well.
            if added or (i in self.special and (i != self.unk or text[begin:end].strip() == self.special[i])):
                word = -1
            result.append((i, bytes_before[begin], bytes_before[end], word))
        return result


def digest(tokens_of_texts):
    found, count = Digest(), 0
    for tokens in tokens_of_texts:
        found.add(len(tokens))
        for token in tokens:
            found.add(*token)
        count += len(tokens)
    return f"{count} {found}"


def short(tokens):
    return digest([tokens]) if len(tokens) > 150 else ", ".join("%d %d %d %d" % token for token in tokens)


def hostile_texts():
    return {case["name"]: "".join(text * times for text, times in case["parts"])
            for case in json.loads((HERE / "hostile.json").read_text())}


def write(name, entries):
    head = '{"made_by": "tests/golden/make_tokenizer_golden.py", "tokenizers": "%s", "entries": {\n' % VERSION
    body = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entries)
    (HERE / name).write_text(head + body + "\n}}\n")


def corpora(data):
    for path in sorted((data / "ud").glob("*.conllu")):
        lines = path.read_text(encoding="utf-8").split("\n")
        yield f"ud/{path.name}", [line[len("# text = "):] for line in lines if line.startswith("# text = ")]
    for path in sorted((data / "texts").glob("*.txt")):
        yield f"texts/{path.name}", path.read_bytes().decode().split("\n")
    articles = json.loads((data / "qa/xquad.en.json").read_text())["data"]
    yield "qa/xquad.en.json", [text for article in articles for paragraph in article["paragraphs"]
                               for text in [paragraph["context"], *(qa["question"] for qa in paragraph["qas"])]]


def main():
    if tokenizers.__version__ != VERSION:
        raise SystemExit(f"tokenizers is {tokenizers.__version__}, expected {VERSION}")
    texts, variants, blocks = hostile_texts(), [], []
    tiny = json.loads((HERE / "tiny.json").read_text())
    write("golden_tiny.json", [(name, short(Reference(tiny).tokens(text))) for name, text in texts.items()])
    for variant, patch in VARIANTS.items():
        reference = Reference(merge_patch(tiny, patch))
        variants.append((variant, {"patch": patch, "texts": [digest([reference.tokens(t)]) for t in texts.values()]}))
    write("golden_variants.json", variants)
    minilm = Reference(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    write("golden_minilm.json", [(name, short(minilm.tokens(text))) for name, text in texts.items()])
    for name, lines in corpora(pathlib.Path(sys.argv[2])):
        tokens = [minilm.tokens(line) for line in lines]
        blocks.append((name, [digest(tokens[i:i + LINES]) for i in range(0, len(lines), LINES)]))
        if name.startswith("texts/"):
            blocks.append((name + ", whole", [digest([minilm.tokens("\n".join(lines))])]))
    write("golden_corpora.json", blocks)


if __name__ == "__main__":
    main()
