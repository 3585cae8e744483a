# bench/peers/generate.py - ./dev bench --generate: regard generate beside llama.cpp on the same model file, in turns.
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "build/peers/generate"
PACKAGES = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"]
SCRIPT = "llama_generate.mjs"
# What is asked for, of llama.cpp's: decode by context, prefill; memory at most.
DECODE_BARS, PREFILL_BAR, PREFILL_TOKENS, MEMORY_BAR = {256: 1.0, 2048: 1.0, 7800: 2.0}, 1.5, 2048, 1.25
TEXT = (ROOT / "docs/generate.md").read_text()


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench --generate", description="regard generate beside llama.cpp, in turns.")
    parser.add_argument("--generate", action="store_true", help=argparse.SUPPRESS)  # how ./dev bench came here
    parser.add_argument("--model", metavar="FILE", help="a GGUF file (SmolLM2-135M-Instruct)")
    parser.add_argument("--context", metavar="N", type=int, nargs="+", default=list(DECODE_BARS), help="tokens of the prompts (256 2048 7800)")
    parser.add_argument("--threads", metavar="N", type=int, nargs="+", default=[1, 2], help="threads of both (1 2)")
    parser.add_argument("--tokens", metavar="N", type=int, default=48, help="tokens of the answers (48)")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="turns of each; the median ratio counts (3)")
    parser.add_argument("--json", metavar="FILE", help="write JSON too")
    options = parser.parse_args()
    if min(options.context + options.threads + [options.rounds]) < 1 or options.tokens < 2:
        parser.error("--context, --threads and --rounds are at least 1, --tokens at least 2")
    options.model = pathlib.Path(options.model) if options.model else default_model()
    if not options.model.is_file():
        parser.error(f"--model {options.model}: no such file")
    return options


def default_model():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return next((cache / "regard/models/smollm2").glob("*.gguf"), cache / "regard/models/smollm2")


def install():
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise SystemExit(f"peers: there is no {program}, which llama.cpp's package needs: install Node.js (Debian: nodejs npm)")
    wanted = " ".join(PACKAGES)
    if not (PLACE / ".made").exists() or (PLACE / ".made").read_text() != wanted:
        print(f"peers: installing {wanted} into {PLACE}", file=sys.stderr)
        PLACE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", PLACE, *PACKAGES], check=True)
        (PLACE / ".made").write_text(wanted)
    # Node looks for packages beside the script.
    (PLACE / SCRIPT).write_text((pathlib.Path(__file__).parent / SCRIPT).read_text())


def run(command):
    """Its standard output, and the most memory it had, MiB."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}")
    return out, usage.ru_maxrss / 1024


def regard(options, prompt, threads):
    out, memory = run([str(ROOT / "build/release/bin/regard"), "generate", "--model", str(options.model), "--raw", "--temperature", "0",
                       "--file", str(prompt), "--max-tokens", str(options.tokens), "--threads", str(threads), "--json", "-"])
    stats = json.loads(out)["stats"]
    return {"prompt_tokens": stats["prompt_tokens"], "tokens": stats["tokens"], "prefill": stats["prefill_tokens_per_second"],
            "decode": stats["decode_tokens_per_second"], "memory": memory, "attention": stats["attention_share"]}


def llama(options, prompt, threads):
    out, memory = run(["node", str(PLACE / SCRIPT), str(options.model), str(prompt), str(threads), str(options.tokens)])
    return {**json.loads(out), "memory": memory}


def prompt_of(context, folder, per_token):
    """The text again and again, about `context` tokens of it."""
    path = folder / f"{context}.txt"
    length = int(context * per_token)
    path.write_text((TEXT * (length // len(TEXT) + 1))[:length])
    return path


def characters_per_token(options, folder):
    path = folder / "text"
    path.write_text(TEXT)
    return len(TEXT) / regard(options, path, options.threads[0])["prompt_tokens"]


def row(name, ours, theirs, bar, at_most=False):
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    met = None if bar is None else ratio <= bar if at_most else ratio >= bar
    return {"case": name, "value": statistics.median(ours), "peer_value": statistics.median(theirs), "ratio": ratio, "bar": bar, "met": met}


def compare(options, prompt, context, threads):
    turns = [(regard(options, prompt, threads), llama(options, prompt, threads)) for _ in range(options.rounds)]
    ours, theirs = zip(*turns)
    counts = {each["prompt_tokens"] for each in ours + theirs}
    if len(counts) > 1:
        raise SystemExit(f"the prompt has {sorted(counts)} tokens: not the same work")
    if min(each["tokens"] for each in ours + theirs) < 2:
        raise SystemExit("an answer ended at once: there is no decoding to time; take other --context")
    of = lambda side, key: [each[key] for each in side]
    name = f"{{}}.n{context}.threads{threads}"
    rows = [row(name.format("decode"), of(ours, "decode"), of(theirs, "decode"), DECODE_BARS.get(context)),
            row(name.format("prefill"), of(ours, "prefill"), of(theirs, "prefill"), PREFILL_BAR if context == PREFILL_TOKENS else None),
            row(name.format("memory"), of(ours, "memory"), of(theirs, "memory"), MEMORY_BAR, at_most=True)]
    for each in rows:
        print(line(each), flush=True)
    print(f"  {counts.pop()} tokens of prompt; regard: {100 * statistics.median(of(ours, 'attention')):.0f} % of the time in attention")
    return rows


def line(each):
    mark = "" if each["bar"] is None else f"{each['bar']:6.2f}  {'met' if each['met'] else 'missed'}"
    return f"{each['case']:26} {each['value']:8.1f} {each['peer_value']:8.1f} {each['ratio']:6.2f} {mark}".rstrip()


def main():
    options = parse()
    install()
    print(f"{options.model.name}; {PACKAGES[0]}; tokens/s, memory in MiB (llama.cpp's with Node's)")
    print(f"{'case':26} {'regard':>8} {'llama':>8} {'ratio':>6} {'bar':>5}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        try:
            per_token = characters_per_token(options, folder)
            for threads in options.threads:
                for context in options.context:
                    rows += compare(options, prompt_of(context, folder, per_token), context, threads)
        except KeyboardInterrupt:
            print("interrupted: this is what there is", file=sys.stderr)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"schema": "regard.generate_bench/1", "model": options.model.name, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
