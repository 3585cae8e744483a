# tests/golden/make_bpe_golden.py - small byte-level BPE tokenizers and what PyPI's tokenizers makes of texts.
# Run: pip install tokenizers==0.23.3; python tests/golden/make_bpe_golden.py tests/golden/bpe
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_texts import CORPUS, byte_offsets

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


KINDS = {
    "gpt2": (None, byte_level(True)),
    "prefix": (None, byte_level(True, True)),
    "digits": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])),
    "llama3": (None, pre_tokenizers.Sequence([split(LLAMA3), byte_level(False)])),
    "nfc": (normalizers.NFC(), byte_level(True, True)),
    "qwen2": (normalizers.NFC(), pre_tokenizers.Sequence([split(LLAMA3.replace("{1,3}", "")), byte_level(False)])),
}


def texts():
    rng = random.Random(7)
    pool = list("abcXYZ 0189''\n\t\r  .,!?-_éßñ漢ひ🙂\u00a0\u3000½²٣ſ\u0301") + ["'s", "'LL", " 12", "  ", "\n\n", "\r\n"]
    pool += ["<|end|>", "<|user|>", "1234"]
    yield from CORPUS
    for _ in range(400):
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 30)))


def marked_texts():
    """Texts that NFC changes, special tokens among them."""
    rng = random.Random(8)
    pool = list("eaAN  \n1\u0338\u0301\u0323\u0308\u0344\u0f71\u0f72\u0f73\u0f81\u09c7\u09be\u09cb\u0958\u212b\u1ebf漢")
    pool += ["\u1100", "\u1161", "\u11a7", "\u11a8", "\uac00", "\U0001d15e", "<|end|>", "<|user|>", "=", "  <é>", " <N> "]
    for _ in range(200):
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 14)))


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
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False)])
    if name == "gpt2":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|end|> $A <|end|>", special_tokens=[("<|end|>", tokenizer.token_to_id("<|end|>"))]
        )
    if name == "nfc":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
        tokenizer.add_tokens([AddedToken("<é>", normalized=True, lstrip=True), AddedToken("<N>", normalized=False, rstrip=True)])
    (folder / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True) + "\n")
    cases = [[text, tokenizer.encode(text).ids, tokenizer.decode(tokenizer.encode(text).ids)] for text in texts()]
    if name == "nfc":
        encodings = [(text, tokenizer.encode(text)) for text in marked_texts()]
        cases = [[text, e.ids, tokenizer.decode(e.ids), byte_offsets(text, e.offsets)] for text, e in encodings]
    (folder / f"{name}.cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")) + "\n")
