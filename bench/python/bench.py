# bench/python/bench.py - ./dev bench --python: regard in Python beside PyTorch's own attention, in turns.
import argparse
import fnmatch
import json
import pathlib
import platform
import sys

import attention_cases
import model_cases
import torch
import transformers

import regard


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench --python", description="regard in Python beside PyTorch's attention.")
    parser.add_argument("--python", action="store_true", help=argparse.SUPPRESS)  # how ./dev bench came here
    parser.add_argument("--case", metavar="GLOB", action="append", default=[], help='only these cases: "smollm2.bf16.*"')
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads for both (1)")
    parser.add_argument("--seconds", metavar="S", type=float, default=1, help="time for each attention case (1)")
    parser.add_argument("--turns", metavar="N", type=int, default=3, help="runs of each model case (3)")
    parser.add_argument("--json", metavar="FILE", help="write JSON too")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and measure nothing")
    options = parser.parse_args()
    if options.threads < 1 or options.turns < 1 or options.seconds <= 0:
        parser.error("--threads, --turns and --seconds are above 0")
    unknown = [glob for glob in options.case if not any(fnmatch.fnmatch(name, glob) for name in names())]
    if unknown:
        parser.error(f"--case {unknown[0]} is no case; --list prints all")
    return options


def names():
    return ["call.numpy.q1.n16", *(case.name for case in attention_cases.cases()), *model_cases.CASES]


def time_of(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def line(row):
    other = row.get("sdpa", row.get("empty_call"))
    text = f"{row['case']:30} {time_of(row['regard']):>9} {time_of(other):>9} {row['ratio']:6.2f}"
    if row["bar"] is not None:
        text += f"  {'met' if row['met'] else 'missed'}"
    if "peak" in row:
        text += f"  peak {row['peak'] / 2**20:.0f} and {row['sdpa_peak'] / 2**20:.0f} MiB"
    return text


def main():
    options = parse()
    if options.list:
        return print("\n".join(names()))
    print(f"regard {regard.__version__}, torch {torch.__version__}, transformers {transformers.__version__}, {options.threads} threads")
    print(f"{'case':30} {'regard':>9} {'sdpa':>9} {'ratio':>6}")
    rows = []
    try:
        if not options.case or any(fnmatch.fnmatch("call.numpy.q1.n16", glob) for glob in options.case):
            rows.append(attention_cases.overhead())
            print(line(rows[-1]))
        for source in (
            attention_cases.rows(options.case, options.threads, options.seconds),
            model_cases.rows(options.case, options.threads, options.turns),
        ):
            for row in source:
                rows.append(row)
                print(line(row), flush=True)
    except KeyboardInterrupt:
        print("stopped; these are the cases until then", file=sys.stderr)
    if options.json:
        report = {"schema": "regard.python-bench/1", "machine": platform.processor() or platform.machine(), "threads": options.threads,
                  "versions": {"regard": regard.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
                  "rows": rows}
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
