# tests/bench_test.py - regard bench as its user meets it: names, JSON, table, bad input, Ctrl-C. No time is asserted.
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGARD = os.environ.get("REGARD_CLI", str(ROOT / "build/release/bin/regard"))
PEERS_PYTHON = ROOT / "build/peers/venv/bin/python"
LIBRARY = ROOT / "build/release/bench/libregard.so"
SMALL = "prefill.fp32.d64.n128.*"
NAME = r"(prefill|decode|pages|rows|window|threads2|memory)(\.[a-z0-9_]+)+"

pytestmark = pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build")


def bench(*args):
    return subprocess.run([REGARD, "bench", *args], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, "COLUMNS": "80", "LC_ALL": "C.UTF-8"})


def assert_usage_error(result, *words):
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert re.fullmatch(r"regard: [^\n]+\n", result.stderr), result.stderr
    assert [word for word in words if word not in result.stderr] == []


def assert_is_a_report(document):
    schema = json.loads((ROOT / "docs/bench.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    for row in document["rows"]:
        assert re.fullmatch(NAME, row["case"])
        assert row["ratio"] == pytest.approx(row["value"] / row["limit"], rel=1e-12)
        assert ("predicted" in row) == (not row["case"].startswith("memory."))
        if "predicted" in row:
            assert row["predicted_ratio"] == pytest.approx(row["value"] / row["predicted"], rel=1e-12)
        assert row["met"] == (row["ratio"] <= row["bar"] if row["case"].startswith("memory.") else row["ratio"] >= row["bar"])


def test_list_names_all_cases():
    result = bench("--list")
    names = result.stdout.splitlines()
    assert result.returncode == 0 and result.stderr == "" and len(names) == len(set(names)) > 50
    assert [name for name in names if not re.fullmatch(NAME, name)] == []
    assert {"prefill.fp32.d128.n4096.full", "decode.bf16.ratio4.n65536", "decode.int8.ratio4.n65536", "pages.fp16.p16.n65536", "memory.fp32.n65536.h8"} <= set(names)


def test_list_of_some_cases():
    result = bench("--list", "--case", "rows.fp32.q16.*", "--case", "memory.*")
    assert result.stdout.split() == ["rows.fp32.q16.n4096", "rows.fp32.q16.n4096.per_row", "memory.fp32.n65536.h8"]


def test_json_is_what_the_schema_says():
    result = bench("--quick", "--case", SMALL, "--case", "memory.*", "--json", "-")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert_is_a_report(document)
    assert [(row["case"], row["unit"], row["bar"]) for row in document["rows"]] == [("prefill.fp32.d64.n128.full", "GFLOP/s", 0.80)]
    assert document["machine"]["isa"] in subprocess.run([REGARD, "--version"], capture_output=True, text=True).stdout
    assert "1/2 prefill.fp32.d64.n128.full: " in result.stderr
    assert "2/2 memory.fp32.n65536.h8: left out: it takes a minute\n" in result.stderr


def test_table_and_file_say_the_same(tmp_path):
    result = bench("--seconds", "0.05", "--case", SMALL, "--json", str(tmp_path / "bench.json"))
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "bench.json").read_text())
    assert_is_a_report(document)
    row = document["rows"][0]
    line = next(line for line in result.stdout.splitlines() if row["case"] in line)
    assert line.split()[3:] == [f"{row['ratio']:.2f}", "0.80", line.split()[-1]]
    assert (line.split()[-1] in ("met", "beyond")) == row["met"]
    assert "prefill fp32 full, N < 1024 (GFLOP/s)" in result.stdout
    well = 0.7 <= row["predicted_ratio"] <= 1.3
    assert f"regard plan predicts the time of {int(well)} of 1 cases within 30%\n" in result.stdout
    assert ("predicted " in result.stdout.split("within 30%")[1]) == (not well)
    assert result.stdout.endswith(f"{int(row['met'])} of 1 bars are met\n")
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80


@pytest.mark.parametrize("args, words", [
    (["--case", "prefill.fp32.d128.n4096.ful"], ["prefill.fp32.d128.n4096.ful", "did you mean \"prefill.fp32.d128.n4096.full\"?"]),
    (["--case", "dance"], ["dance", "regard bench --list"]),
    (["--case", ""], ["--case is empty"]),
    (["--seconds", "0"], ["--seconds", '"0"', "above 0"]),
    (["--seconds", "nan"], ["--seconds", "above 0"]),
    (["--seconds", "1h"], ["--seconds", '"1h"']),
    (["--seconds", "1e9"], ["3600"]),
    (["--fast"], ["--fast"]),
])
def test_bad_arguments(args, words):
    assert_usage_error(bench(*args), *words)


def test_a_file_that_cannot_be_written_is_known_before_anything_is_measured(tmp_path):
    result = bench("--json", str(tmp_path / "nowhere/bench.json"))
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"regard: cannot write .*nowhere/bench.json: No such file or directory\n", result.stderr)


def test_an_interrupt_ends_with_what_there_is(tmp_path):
    out = tmp_path / "bench.json"
    process = subprocess.Popen([REGARD, "bench", "--seconds", "0.05", "--case", SMALL, "--case", "prefill.fp32.d64.n4096.*", "--json", out],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert process.stderr.readline().startswith("1/3 ")
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and re.search(r"regard: interrupted after [12] of 3 cases\n$", stderr), stderr
    assert "bars are met" in stdout
    document = json.loads(out.read_text())
    assert_is_a_report(document)
    assert document["rows"][0]["case"] == "prefill.fp32.d64.n128.full"


@pytest.mark.parametrize("args, words", [(["--tokens", "1"], "--tokens at least 2"), (["--model", "nosuch.gguf"], "nosuch.gguf: no such file"),
                                         (["--threads", "0"], "at least 1")])
def test_bad_arguments_of_generate(args, words):
    result = subprocess.run([sys.executable, ROOT / "bench/peers/generate.py", *args], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and words in result.stderr


# ./dev bench --peers: only where it has been run before, since it installs a gigabyte.

needs_peers = pytest.mark.skipif(not (PEERS_PYTHON.exists() and LIBRARY.exists()), reason="no build/peers: ./dev bench --peers --list")


def peers(*args):
    return subprocess.run([PEERS_PYTHON, ROOT / "bench/peers/peers.py", *args], capture_output=True, text=True, timeout=300)


@needs_peers
def test_peers_compute_the_same(tmp_path):
    out = tmp_path / "peers.json"
    result = peers("--case", "prefill.fp32.d64.n128.*", "--case", "linear.fp32.r16.384x384", "--seconds", "0.01", "--json", str(out))
    assert result.returncode == 0, result.stderr
    document = json.loads(out.read_text())
    assert document["schema"] == "regard.peers/1"
    assert {"PyTorch", "ONNX Runtime", "OpenVINO", "OpenBLAS"} <= {row["peer"] for row in document["rows"]}
    assert "differs" not in result.stdout
    for row in document["rows"]:
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
        assert row["met"] == (row["bar"] is None or row["ratio"] >= row["bar"])


@needs_peers
@pytest.mark.parametrize("args, words", [(["--case", "dance"], "dance"), (["--threads", "0"], "above 0"), (["--peer", "me"], "me")])
def test_bad_arguments_of_peers(args, words):
    result = peers(*args)
    assert result.returncode == 2 and words in result.stderr
