# tests/golden/make_sentencepiece_golden.py - small tokenizers as of SentencePiece, and what PyPI's tokenizers makes of texts.
# Run: pip install tokenizers==0.23.3; python tests/golden/make_sentencepiece_golden.py tests/golden/sentencepiece
# Another run learns other pieces (characters that are equally frequent): a tokenizer and its cases belong together.
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_texts import CORPUS, byte_offsets

BLANK = "\u2581"
PREPEND = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
STRIPS = [
    AddedToken("<é>", normalized=True, lstrip=True),
    AddedToken("<N>", normalized=False, rstrip=True),
    AddedToken("[INST]", normalized=True, single_word=True),
]
BLANKS = [AddedToken("\n\n", normalized=False), AddedToken(" of ", normalized=True), AddedToken(BLANK * 3, normalized=False)]


def metaspace(scheme):
    return pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme=scheme, split=False)


# Name: normaliser, pre-tokeniser, whether Strip decodes, the tokens that are added, byte_fallback.
KINDS = {
    "prepend": (PREPEND, None, True, STRIPS, True),
    "first": (None, metaspace("first"), True, BLANKS, True),
    "always": (None, metaspace("always"), True, STRIPS, True),
    "never": (None, metaspace("never"), False, BLANKS, True),
    "gemma": (normalizers.Replace(" ", BLANK), pre_tokenizers.Split(" ", "merged_with_previous"), False, BLANKS, True),
    "unk": (PREPEND, None, True, [], False),
}


def texts():
    rng = random.Random(9)
    pool = list("abcXYZ 0189''\n\t\r  .,!?-_éßñ漢ひ🙂\u00a0\u3000½٣\u0301\u0000") + ["  ", "   ", "\n\n", BLANK, BLANK * 2]
    pool += ["<s>", "</s>", "<|user|>", "<é>", "<N>", "[INST]", " of ", "<0x41>", " the", "ing", "<unk>"]
    yield from ["", " ", BLANK, *CORPUS]
    for _ in range(150):
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 14)))


def make(normalizer, pre_tokenizer, strip, added, byte_fallback):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    tokenizer.normalizer = normalizers.Replace(" ", BLANK)
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256 if byte_fallback else 0)]
    size = len(special) + 190
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, limit_alphabet=60, show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    # The bytes are tokens of the vocabulary alone.
    tokenizer = Tokenizer(models.BPE(**json_model(tokenizer), unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False), *added])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def json_model(tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


folder = pathlib.Path(sys.argv[1])
for name, kind in KINDS.items():
    tokenizer = make(*kind)
    (folder / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), separators=(",", ":")) + "\n")
    encodings = [(text, tokenizer.encode(text)) for text in texts()]
    cases = [[text, e.ids, tokenizer.decode(e.ids), byte_offsets(text, e.offsets)] for text, e in encodings]
    (folder / f"{name}.cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
