# tests/golden/make_bpe_golden.py - small byte-level BPE tokenizers and what PyPI's tokenizers makes of texts.
# Run: pip install tokenizers==0.23.3; python tests/golden/make_bpe_golden.py tests/golden/bpe
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "I'll say it's 12345 times better than they've said; we'd go, you're right, DON'T you?",
    "Grüße aus Köln! Les élèves étudiaient à l'école. 漢字とひらがな。 Ελληνικά. Привет, мир 🙂",
    "for (int i = 0; i < 10; ++i) {\n\tsum += i;\n}\r\n\r\n   done   \n",
]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


KINDS = {
    "gpt2": (None, byte_level(True)),
    "prefix": (None, byte_level(True, True)),
    "digits": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])),
    "llama3": (None, pre_tokenizers.Sequence([split(LLAMA3), byte_level(False)])),
    "qwen2": (normalizers.NFC(), pre_tokenizers.Sequence([split(LLAMA3.replace("{1,3}", "")), byte_level(False)])),
}


def texts():
    rng = random.Random(7)
    pool = list("abcXYZ 0189''\n\t\r  .,!?-_éßñ漢ひ🙂\u00a0\u3000½²٣ſ\u0301") + ["'s", "'LL", " 12", "  ", "\n\n", "\r\n"]
    pool += ["<|end|>", "<|user|>", "<|plain|>", "1234", "\u0338", "e\u0301\u0323", "\uac00\u11a8", "\u0958"]
    yield from CORPUS
    for _ in range(400):
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 30)))


def ours(text, begin, end):
    """A range of characters in bytes, without the white space that it begins with, unless it is nothing else."""
    if text[begin:end].strip():
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
    return [len(text[:begin].encode()), len(text[:end].encode())]


folder = pathlib.Path(sys.argv[1])
for name, (normalizer, pre) in KINDS.items():
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False), AddedToken("<|plain|>", normalized=True)])
    if name == "gpt2":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|end|> $A <|end|>", special_tokens=[("<|end|>", tokenizer.token_to_id("<|end|>"))]
        )
    (folder / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True) + "\n")
    cases = []
    for text in texts():
        encoding = tokenizer.encode(text)
        cases.append([text, encoding.ids, tokenizer.decode(encoding.ids), [ours(text, *range) for range in encoding.offsets]])
    (folder / f"{name}.cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")) + "\n")
