# tests/python/python_bench_test.py - ./dev bench --python: its arguments, its table, its file. No time is asserted.
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def bench(*arguments):
    command = [sys.executable, ROOT / "bench/python/bench.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))


def test_measures_both_and_writes_what_it_prints(tmp_path):
    result = bench("--case", "tiny.fp32.q1.n16", "--case", "call.*", "--seconds", 0.01, "--json", tmp_path / "b.json")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["schema"] == "regard.python-bench/1" and report["versions"]["torch"]
    assert [row["case"] for row in report["rows"]] == ["call.numpy.q1.n16", "tiny.fp32.q1.n16"]
    for row in report["rows"]:
        assert row["regard"] > 0 and row["ratio"] > 0 and f"{row['ratio']:.2f}" in result.stdout


def test_lists_its_cases():
    names = bench("--list").stdout.split()
    assert {"prefill.bf16.d128.n4096.causal", "decode.fp16.ratio16.n65536", "smollm2.bf16.decode8192"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("arguments, words", [(("--case", "dance"), "dance is no case"), (("--turns", 0), "above 0"), (("--threads", "x"), "invalid int")])
def test_bad_arguments(arguments, words):
    result = bench(*arguments)
    assert result.returncode == 2 and words in result.stderr
