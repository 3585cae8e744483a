# tests/cli_test.py - the regard command as its user meets it: output, pipes, terminals, bad input, full disks.
import ctypes
import fcntl
import json
import os
import pathlib
import pty
import re
import resource
import signal
import struct
import subprocess
import termios
import time
import unicodedata

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGARD = os.environ.get("REGARD_CLI", str(ROOT / "build/release/bin/regard"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
MODEL = CACHE / "regard/models/minilm"
SENTENCE = "I sat on the bank of the river and watched the water."
LONG = "word " * 500  # 502 tokens: about 260 MB of JSON

pytestmark = pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build")
needs_model = pytest.mark.skipif(not (MODEL / "model.safetensors").is_file(),
                                 reason="no model minilm: regard models get minilm")


def regard(*args, env=None, **kwargs):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "80", **(env or {})}
    kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
    return subprocess.run([REGARD, *args], capture_output=True, env=environment, timeout=120, **kwargs)


def look_json(*args):
    result = regard("look", "--json", "-", *args)
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    return json.loads(result.stdout)


def assert_one_line(result, status, *words):
    """An error as every error must be: the status, one line that holds the words, nothing on standard output."""
    message = result.stderr.decode()
    assert (result.returncode, result.stdout) == (status, b""), message
    assert re.fullmatch(r"regard: [^\n]+\n", message), message
    for word in words:
        assert word in message


# What comes out.

@needs_model
@pytest.mark.parametrize("args", [[SENTENCE], [SENTENCE, "--layer", "1,4", "--head", "11"],
                                  ["naïve 日本 🎉 \"q\"\t\\ [SEP] x"], ["--truncate", LONG, "--layer", "5", "--head", "0"]])
def test_json_is_what_the_schema_says(args):
    document = look_json(*args)
    schema = json.loads((ROOT / "docs/look.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    tokens = len(document["tokens"])
    assert len(document["attention"]) == len(document["layers"])
    for layer in document["attention"]:
        assert len(layer) == len(document["heads"])
        for head in layer:
            assert len(head) == tokens
            for row in head:
                assert len(row) == tokens and sum(row) == pytest.approx(1, abs=1e-5)


@needs_model
def test_json_says_what_was_looked_at():
    document = look_json("--layer", "4,1", "--layer", "4", "--head", "3", SENTENCE)
    assert (document["layers"], document["heads"]) == ([1, 4], [3])
    assert document["text"] == SENTENCE and document["truncated"] is False
    for token in document["tokens"][1:-1]:
        assert SENTENCE.encode()[token["begin"]:token["end"]].decode().lower() == token["text"]
    ends = [document["tokens"][i] for i in (0, -1)]
    assert [(t["text"], t["begin"], t["end"], t["special"]) for t in ends] == [("[CLS]", 0, 0, True), ("[SEP]", 0, 0, True)]
    everything = look_json(SENTENCE)
    assert document["attention"] == [[everything["attention"][layer][3]] for layer in (1, 4)]


@needs_model
def test_json_has_the_same_bytes_for_any_number_of_threads():
    one, two = (regard("look", "--json", "-", "--threads", n, SENTENCE * 4).stdout for n in ("1", "2"))
    assert b'"threads":1}' in one
    assert one.replace(b'"threads":1}', b'"threads":2}') == two


@needs_model
def test_the_forced_instruction_set_is_the_one_that_runs():
    names = re.search(r"instruction sets: (.*)", regard("--version").stdout.decode())[1].replace(" (in use)", "")
    for name in names.split(", "):
        assert look_json("--isa", name, "--layer", "0", "--head", "0", "bank")["engine"]["isa"] == name


def word_shares(document):
    """Words as lists of token indices, and [layer][head][from][to] between words: TO the sum, FROM the mean."""
    words = []
    for i, token in enumerate(document["tokens"]):
        if token["text"].startswith("##"):
            words[-1].append(i)
        else:
            words.append([i])
    return words, [[[[sum(head[q][k] for q in a for k in b) / len(a) for b in words] for a in words] for head in layer]
                   for layer in document["attention"]]


def shown(share):
    percent = 100 * share
    return f"{percent:.1f}%" if percent < 9.95 else f"{percent:.0f}%"


@needs_model
def test_the_text_shows_the_numbers_of_the_json():
    text = "The croissants embellished our breakfast."  # words of several pieces
    document = look_json(text)
    words, shares = word_shares(document)
    assert max(map(len, words)) > 1
    heads = [head for layer in shares for head in layer]
    mean = [sum(head[2][to] for head in heads) / len(heads) for to in range(len(words))]
    lines = regard("look", "--focus", "croissants", text).stdout.decode().splitlines()
    for to, name in ((1, "The"), (3, "embellished"), (4, "our"), (5, "breakfast")):
        assert any(re.fullmatch(rf"{name} +\S* +{re.escape(shown(mean[to]))}", line) for line in lines), (name, lines)
    assert f"itself {shown(mean[2])}" in lines
    assert any(line.startswith(f"sinks get {shown(mean[0] + mean[6] + mean[7])}:") for line in lines)

    best = max((head[2][5], -layer, -i) for layer, row in enumerate(shares) for i, head in enumerate(row))
    line = f"croissants → breakfast {shown(best[0])} in layer {-best[1]}, head {-best[2]}; mean {shown(mean[5])}"
    pair = regard("look", "--from", "croissants", "--to", "breakfast", text).stdout.decode()
    assert f"strongest head: {line}\n" in pair


@needs_model
def test_every_word_has_a_row_and_sinks_stand_apart():
    lines = regard("look", SENTENCE).stdout.decode().splitlines()
    assert lines[0] == SENTENCE
    rows = [line.split() for line in lines[lines.index("") + 2:]]
    rows = rows[:rows.index([])]
    assert [row[0] for row in rows] == "I sat on the#1 bank of the#2 river and watched the#3 water".split()
    for row in rows:
        assert not {"[CLS]", "[SEP]", "."} & set(row)
    assert next(row for row in rows if row[0] == "bank")[1] == "river"
    assert sum(line.startswith("sinks get ") and "[CLS]" in line and '"." ' in line for line in lines) == 1


@needs_model
def test_focus_takes_the_second_of_two():
    text = "The bank by the river is no bank."
    assert b"\nbank#2 attends to\n" in regard("look", "--focus", "bank#2", text).stdout
    for name in ("bank", "bank#3", "bank#0"):
        result = regard("look", "--focus", name, text)
        assert_one_line(result, 2, "bank#1 (The bank by)", "bank#2 (no bank .)")
    assert b"\nno attends to\n" in regard("look", "--focus", "NO", text).stdout


@needs_model
def test_a_mask_token_in_the_text_is_a_word():
    assert b"\n[MASK] attends to\n" in regard("look", "--focus", "[MASK]", "The bank of the [MASK].").stdout


@needs_model
def test_truncate_keeps_both_ends():
    document = look_json("--truncate", "--layer", "0", "--head", "0", "one two three " * 300)
    pieces = [token["text"] for token in document["tokens"]]
    assert document["truncated"] and len(pieces) == 512 and (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    assert pieces[1:4] == ["one", "two", "three"]
    assert not look_json("--truncate", "--layer", "0", "bank")["truncated"]


@needs_model
def test_html_and_json_beside_the_text(tmp_path):
    result = regard("look", "--json", tmp_path / "a.json", "--html", tmp_path / "a.html", SENTENCE)
    assert result.returncode == 0 and result.stdout == regard("look", SENTENCE).stdout
    assert json.loads((tmp_path / "a.json").read_text()) == look_json(SENTENCE)
    page = (tmp_path / "a.html").read_text()
    assert page.lower().startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert regard("look", "--html", "-", SENTENCE).stdout.decode() == page


# Pipes and terminals.

@needs_model
def test_a_dash_reads_the_pipe():
    piped = regard("look", "--json", "-", "-", input=SENTENCE.encode() + b"\n")
    assert piped.stdout == regard("look", "--json", "-", SENTENCE).stdout


@needs_model
@pytest.mark.parametrize("options", ["", "--json -"])
def test_a_closed_pipe_ends_quietly(options):
    command = f'"$0" look {options} "$1" | head -n 1; echo "${{PIPESTATUS[0]}}"'
    result = subprocess.run(["bash", "-c", command, REGARD, LONG], capture_output=True, timeout=120)
    assert result.stderr == b"" and result.stdout.endswith(b"\n0\n")


def on_terminal(*args, width=80, **env):
    """What the command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "LC_ALL")}
    process = subprocess.Popen([REGARD, *args], stdin=subprocess.DEVNULL, stdout=theirs,
                               env={**environment, "TERM": "xterm", "LC_ALL": "C.UTF-8", **env})
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # EIO: the other end has closed
            break
        if not chunk:
            break
        output += chunk
    os.close(ours)
    assert process.wait(120) == 0
    return output.decode().replace("\r\n", "\n")


def width_of(line):
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return sum(0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in line)


@needs_model
@pytest.mark.parametrize("width", [1, 12, 20, 33, 40, 80, 81, 200])
@pytest.mark.parametrize("text", [SENTENCE, "日本語の銀行は川のそばにある。 🎉 e\u0301tude שלום", "Donaudampfschifffahrt" * 9 + " a", LONG[:1500]])
def test_no_line_is_wider_than_the_terminal(width, text):
    for args in ([], ["--focus", text.split()[0] + ("#2" if text == LONG[:1500] else "")]):
        if args and text.startswith("日"):
            args = ["--focus", "川"]
        output = on_terminal("look", *args, text, width=width)
        assert max(map(width_of, output.split("\n"))) <= width
        if width >= 33:
            assert "%" in output


@needs_model
def test_columns_wins_over_the_terminal():
    widest = max(map(width_of, on_terminal("look", SENTENCE, width=200, COLUMNS="50").split("\n")))
    assert 40 <= widest <= 50


@needs_model
def test_colour_only_on_a_terminal_that_wants_it():
    coloured = on_terminal("look", SENTENCE)
    assert "\x1b[" in coloured
    plain = regard("look", SENTENCE).stdout.decode()
    assert "\x1b" not in plain and re.sub(r"\x1b\[[0-9]*m", "", coloured) == plain
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert on_terminal("look", SENTENCE, **env) == plain


@needs_model
def test_ascii_where_the_locale_is_not_utf8():
    output = regard("look", "--focus", "bank", SENTENCE, env={"LC_ALL": "C"}).stdout
    assert output.isascii() and b"####" in output and b"bank -> river" in output


@needs_model
def test_text_cannot_write_to_the_terminal_as_it_likes():
    output = on_terminal("look", "bank\x1b[2J\x07 of \u202ethe\u2066 river\x9b5n\r\nwater", NO_COLOR="1")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", output)


# Without a model.

def test_version_says_what_a_bug_report_needs():
    result = regard("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"regard \d+\.\d+\.\d+\ninstruction sets: .*\(in use\).*\nthreads: \d+\n"
                        r"libraries: highway [0-9.]+, nlohmann-json [0-9.]+, utf8proc [0-9.]+, libmd [0-9.]+, cli11 [0-9.]+\n"
                        r"built by: .+\n", result.stdout.decode())


@pytest.mark.parametrize("args", [["--help"], ["look", "--help"], ["models", "--help"]])
def test_help_has_examples_and_fits_80_columns(args):
    result = regard(*args)
    text = result.stdout.decode()
    assert (result.returncode, result.stderr) == (0, b"") and "Examples:\n  regard " in text
    assert max(map(len, text.split("\n"))) <= 80


def test_models_lists_what_is_not_here_with_the_line_that_gets_it(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_CACHE": ""}
    header, row, other = regard("models", env=env).stdout.decode().splitlines()
    assert header.split() == ["NAME", "FAMILY", "SIZE", "LICENCE", "PLACE"]
    assert row.split()[:5] == ["minilm", "bert", "92", "MB", "Apache-2.0"]
    assert row.endswith("regard models get minilm")
    assert other.split()[:5] == ["smollm2", "llama", "98", "MB", "Apache-2.0"]
    assert_one_line(regard("look", "bank", env=env), 1, "minilm", "regard models get minilm")


@needs_model
def test_models_lists_what_is_here():
    assert any(line.split()[0] == "minilm" and line.endswith(str(MODEL))
               for line in regard("models").stdout.decode().splitlines())


# Bad input.

@pytest.mark.parametrize("args, words", [
    ([], ["verb", "--help"]),
    (["lok", "x"], ['"lok"', '"look"']),
    (["look"], ["TEXT", "regard look --help"]),
    (["look", ""], ["empty"]),
    (["look", " \n\t "], ["white space"]),
    (["look", "I", "sat"], ['"sat"', "quotes"]),
    (["look", "--fokus", "bank", "x"], ["--fokus", '"--focus"']),
    (["look", "--zzz", "x"], ["--zzz", "regard look --help"]),
    (["look", "--layer", "first", "x"], ["--layer", '"first"', "whole number"]),
    (["look", "--layer", "-1", "x"], ["--layer", '"-1"']),
    (["look", "--head", "99999999999999999999", "x"], ["--head", "99999999999999999999"]),
    (["look", "--threads", "0", "x"], ["--threads", '"0"', "1 to 1024"]),
    (["look", "--isa", "AVX9", "x"], ["--isa", '"AVX9"', "SSE4"]),
    (["look", "--from", "bank", "x"], ["--from", "--to"]),
    (["look", "--json"], ["--json", "FILE"]),
    (["look", "--json", "", "x"], ["--json", "empty"]),
    (["look", "--json", "a", "--html", "a", "x"], ["--json", "--html"]),
    (["look", "--json", "-", "--focus", "x", "x"], ["--focus", "standard output"]),
    (["models", "got"], ['"got"', "get"]),
    (["models", "get"], ["regard models get minilm"]),
])
def test_a_wrong_command_line(args, words):
    assert_one_line(regard(*args), 2, *words)


@pytest.mark.parametrize("args, words", [
    (["look", "--model", "minlm", "x"], ['"minlm"', '"minilm"', "regard models get minilm"]),
    (["look", "--model", "nobody/nothing", "x"], ["nobody/nothing", "Hugging Face cache"]),
    (["look", "--model", "a\nb", "x"], ["regard models get minilm"]),
    (["models", "get", "minlm"], ['"minlm"', '"minilm"']),
])
def test_an_unknown_model(args, words):
    assert_one_line(regard(*args), 1, *words)


@needs_model
@pytest.mark.parametrize("args, status, words", [
    (["--layer", "6", "x"], 2, ["--layer is 6", "0 to 5"]),
    (["--head", "0,12", "x"], 2, ["--head is 12", "0 to 11"]),
    (["--focus", "bnak", SENTENCE], 2, ['"bnak"', '"bank"']),
    (["--focus", "zzzzzz", SENTENCE], 2, ['"zzzzzz"', "I sat on"]),
    (["--from", "the", "--to", "river", SENTENCE], 2, ["3 times", "the#1 (on the bank)", "the#3 (watched the water)"]),
    ([b"a\xffb"], 1, ["byte 1", "UTF-8"]),
    (["word " * 511], 1, ["513 tokens", "512", "--truncate"]),
    (["--json", "/nonexistent/x.json", "x"], 1, ["/nonexistent/x.json", "No such file"]),
    (["--html", "/", "x"], 1, ["/", "directory"]),
    (["--json", "/dev/full", "x"], 1, ["/dev/full", "No space left"]),
    (["--html", "/dev/full", "x"], 1, ["/dev/full", "No space left"]),
])
def test_a_bad_value(args, status, words):
    assert_one_line(regard("look", *args), status, *words)


@needs_model
def test_bad_standard_input():
    assert_one_line(regard("look", "-", input=b""), 2, "empty")
    assert_one_line(regard("look", "-", input=b"a\xc3(\n"), 1, "byte 1", "UTF-8")
    assert_one_line(regard("look", "-", input=b"a" * (9 << 20)), 1, "8 MiB")


@needs_model
@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_a_file(tmp_path, missing):
    for name in {"config.json", "model.safetensors", "tokenizer.json"} - {missing}:
        (tmp_path / name).symlink_to(MODEL / name)
    assert_one_line(regard("look", "--model", tmp_path, "x"), 1, str(tmp_path), missing)


@needs_model
@pytest.mark.parametrize("name, content", [
    ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}"),
    ("model.safetensors", b""),
    ("model.safetensors", struct.pack("<Q", 2) + b"{}"),
    ("config.json", b"{"),
    ("config.json", b"[" * 100_000),
    ("config.json", b"[]"),
    ("config.json", b'{"model_type": "bert", "hidden_size": 9223372036854775808}'),
    ("tokenizer.json", b"null"),
    ("tokenizer.json", b'{"a":' * 100_000),
], ids=lambda value: repr(value[:24]))
def test_a_hostile_file(tmp_path, name, content):
    for other in {"config.json", "model.safetensors", "tokenizer.json"} - {name}:
        (tmp_path / other).symlink_to(MODEL / other)
    (tmp_path / name).write_bytes(content)
    assert_one_line(regard("look", "--model", tmp_path, "x"), 1, name)


# Output that cannot be written.

def test_a_full_standard_output():
    for args in (["--version"], ["--help"], ["look", "--help"], ["models"]):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([REGARD, *args], stdout=full, stderr=subprocess.PIPE)
        assert result.returncode == 1 and b"standard output: No space left" in result.stderr


@needs_model
@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_disk_that_fills_leaves_nothing(tmp_path, option):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # noqa: E731
    result = regard("look", option, tmp_path / "out", SENTENCE, preexec_fn=limit)
    assert_one_line(result, 1, str(tmp_path / "out"), "File too large")
    assert list(tmp_path.iterdir()) == []


@needs_model
def test_an_error_leaves_the_old_file(tmp_path):
    (tmp_path / "out").write_text("old")
    for args in (["--focus", "bnak", SENTENCE], ["--html", "/nonexistent/x", SENTENCE]):
        assert regard("look", "--json", tmp_path / "out", *args).returncode != 0
    assert (tmp_path / "out").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@needs_model
def test_a_link_stays_a_link_and_a_mode_a_mode(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    assert regard("look", "--json", tmp_path / "link", "bank").returncode == 0
    assert (tmp_path / "link").is_symlink() and json.loads((tmp_path / "real").read_text())["text"] == "bank"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def without_the_right_to_write_anywhere():
    """A root that file modes bind too: PR_CAPBSET_DROP of CAP_DAC_OVERRIDE. For other users it changes nothing."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@needs_model
def test_a_file_or_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "out").write_text("old")
    (tmp_path / "out").chmod(0o400)
    tmp_path.chmod(0o500)
    for name in ("out", "new"):
        result = regard("look", "--json", tmp_path / name, "x", preexec_fn=without_the_right_to_write_anywhere)
        assert_one_line(result, 1, str(tmp_path / name), "Permission denied")
    assert (tmp_path / "out").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@needs_model
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_nothing(tmp_path, number):
    # Under nohup or in a shell's background the tests themselves ignore some of these, and a child would too.
    process = subprocess.Popen([REGARD, "look", "--json", tmp_path / "out", LONG], stdout=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 1 << 16 for file in tmp_path.iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == -number
    assert list(tmp_path.iterdir()) == []


@needs_model
def test_a_closed_standard_output_is_not_mistaken_for_a_file(tmp_path):
    command = '"$0" look --json "$1" bank >&-'
    result = subprocess.run(["bash", "-c", command, REGARD, tmp_path / "out"], capture_output=True, timeout=60)
    assert result.returncode == 1 and b"standard output" in result.stderr
    assert json.loads((tmp_path / "out").read_text())["text"] == "bank"
