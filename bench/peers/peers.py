# bench/peers/peers.py - ./dev bench --peers: other libraries beside regard, on the same inputs, in turns, in one process.
import argparse
import fnmatch
import gc
import importlib
import json
import pathlib
import statistics
import sys
import time

import regard_peer
from clock import seconds_of
from problem import BARS, Unsupported, cases

PEERS = {"PyTorch": "torch_peer", "ONNX Runtime": "onnxruntime_peer", "OpenVINO": "openvino_peer", "llama.cpp": "llama_cpp_peer",
         "OpenBLAS": "openblas_peer"}
LEAST_TURNS = 3
TOLERANCE = {"fp32": 0.01, "fp16": 0.05, "bf16": 0.05}  # of the root mean square: did both compute the same?


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench --peers", description="Other libraries beside regard, measured in turns.")
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)  # how ./dev bench came here
    parser.add_argument("--case", metavar="GLOB", action="append", default=[], help='only these cases: "decode.bf16.*"')
    parser.add_argument("--peer", metavar="NAME", action="append", default=[], choices=PEERS, help=f"only this: {', '.join(PEERS)}")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads for each (1)")
    parser.add_argument("--seconds", metavar="S", type=float, default=2, help="time for each case and peer (2)")
    parser.add_argument("--json", metavar="FILE", help="write JSON too")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and measure nothing")
    options = parser.parse_args()
    if options.threads < 1 or options.seconds <= 0:
        parser.error("--threads and --seconds are above 0")
    return parser, options


def cpu():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((each.split(": ", 1)[1] for each in lines if each.startswith("model name")), "unknown CPU")


def difference(ours, theirs):
    """Root mean square of the difference over that of our result."""
    return float(((ours - theirs) ** 2).mean() ** 0.5 / (ours ** 2).mean() ** 0.5)


def compare(case, name, peer, ours, options):
    """One row: the turn whose ratio is the median. `ours` is what regard prepared for the case."""
    theirs = peer.prepare(case, ours.inputs, options.threads)
    peer.run(theirs)
    apart = difference(regard_peer.result(ours), peer.result(theirs))
    if not apart <= TOLERANCE[case.dtype]:  # NaN is not
        raise RuntimeError(f"its result differs by {apart:.3g} of the root mean square")
    turns, end = [], time.monotonic() + options.seconds
    while len(turns) < LEAST_TURNS or time.monotonic() < end:
        mine = seconds_of(lambda: regard_peer.run(ours), options.threads)
        turns.append((seconds_of(lambda: peer.run(theirs), options.threads) / mine, mine))
    ratio, mine = sorted(turns)[(len(turns) - 1) // 2]
    bar = next((bar for glob, bar in BARS.items() if fnmatch.fnmatch(case.name, glob)), None)
    value = case.work() / mine
    return {"case": case.name, "peer": name, "value": value, "unit": case.unit, "peer_value": value / ratio, "ratio": ratio,
            "bar": bar, "met": bar is None or ratio >= bar}


def measure(found, peers, options):
    rows, left_out = [], []
    for case in found:
        inputs = case.inputs()
        try:
            ours = regard_peer.prepare(case, inputs, options.threads)
            regard_peer.run(ours)
        except RuntimeError as error:
            left_out.append((case.name, "regard", str(error)))
            continue
        for name, peer in peers.items():
            try:
                rows.append(compare(case, name, peer, ours, options))
                print(line(rows[-1]), file=sys.stderr, flush=True)
            except Unsupported as reason:
                left_out.append((case.name, name, str(reason)))
            except KeyboardInterrupt:
                return rows, left_out
            except Exception as error:  # a peer that fails is no reason to lose the others
                left_out.append((case.name, name, f"{type(error).__name__}: {error}".splitlines()[0]))
            gc.collect()
    return rows, left_out


def line(row):
    mark = "" if row["bar"] is None else f"{row['bar']:6.2f}  {'met' if row['met'] else 'missed'}"
    return f"{row['case']:34} {row['peer']:13} {row['value']:8.1f} {row['peer_value']:8.1f} {row['unit']:8} {row['ratio']:6.2f} {mark}".rstrip()


def table(rows, left_out, versions):
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{'case':34} {'peer':13} {'regard':>8} {'peer':>8} {'':8} {'ratio':>6} {'bar':>5}")
    for row in rows:
        print(line(row))
    reasons = {}
    for case, name, reason in left_out:
        reasons.setdefault((name, reason), []).append(case)
    for (name, reason), cases in reasons.items():
        print(f"left out: {name}, {len(cases)} cases ({cases[0]}, ...): {reason}")
    judged = [row for row in rows if row["bar"] is not None]
    print(f"{sum(row['met'] for row in judged)} of {len(judged)} bars are met"
          + (f"; median ratio {statistics.median(row['ratio'] for row in rows):.2f}" if rows else ""))


def load(names):
    """The peers that are installed, with their versions."""
    peers, versions = {}, {}
    for name in names:
        try:
            peers[name] = importlib.import_module(PEERS[name])
            versions[name] = peers[name].version()
        except (ImportError, OSError, StopIteration) as error:
            peers.pop(name, None)
            print(f"peers: {name} is not there: {error}", file=sys.stderr)
    return peers, versions


def main():
    parser, options = parse()
    found = [each for each in cases() if not options.case or any(fnmatch.fnmatch(each.name, glob) for glob in options.case)]
    if not found:
        parser.error(f"--case {' '.join(options.case)} is no case; --list prints all")
    if options.list:
        print("\n".join(case.name for case in found))
        return
    out = open(options.json, "w") if options.json else None
    peers, versions = load(options.peer or PEERS)
    rows, left_out = measure(found, peers, options)
    table(rows, left_out, versions)
    if out:
        json.dump({"schema": "regard.peers/1", "cpu": cpu(), "threads": options.threads, "peers": versions, "rows": rows}, out, indent=1)


if __name__ == "__main__":
    main()
