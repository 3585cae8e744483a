# tests/cli_mask_test.py - regard mask: what it draws is what the mask means, on the terminal, as JSON, as a picture.
import json
import os
import pathlib
import re
import shlex
import subprocess
import xml.etree.ElementTree

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGARD = os.environ.get("REGARD_CLI", str(ROOT / "build/release/bin/regard"))

pytestmark = pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build")


def mask(*args, columns=80):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": str(columns)}
    return subprocess.run([REGARD, "mask", *args], capture_output=True, env=environment, timeout=120,
                          stdin=subprocess.DEVNULL, text=True)


def drawn(*args, **kwargs):
    result = mask(*args, **kwargs)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def rows_of(text):
    """(position, characters) of each row of the drawing."""
    return [(int(m[1]), m[2]) for m in re.finditer(r"^ *(-?\d+)  ([#+.]+)$", text, re.M)]


def as_json(*args):
    document = json.loads(drawn("--json", "-", *args))
    jsonschema.validate(document, json.loads((ROOT / "docs/mask.schema.json").read_text()))
    return document


IDS = [0, 0, 3, 0, 1, 1, 1, 3, 2]
MEANINGS = {
    "full": lambda q, k: True,
    "causal": lambda q, k: k <= q,
    "window(3, 1)": lambda q, k: q - 3 <= k <= q + 1,
    "window(*, -2)": lambda q, k: k <= q - 2,
    "prefix(4)": lambda q, k: k < 4,
    "strided(3)": lambda q, k: (q - k) % 3 == 0,
    f"document({', '.join(map(str, IDS))})":
        lambda q, k: 0 <= q < len(IDS) and k < len(IDS) and IDS[q] == IDS[k],
    "causal & strided(2) | prefix(1)": lambda q, k: k <= q and (q - k) % 2 == 0 or k < 1,
    "causal & (strided(2) | prefix(1))": lambda q, k: k <= q and ((q - k) % 2 == 0 or k < 1),
    "!causal & !prefix(5)": lambda q, k: k > q and k >= 5,
}


# What comes out.

@pytest.mark.parametrize("text", MEANINGS)
@pytest.mark.parametrize("n, kv, offset", [(16, 16, 0), (5, 30, 25), (9, 4, -3), (1, 1, 0)])
def test_every_character_is_a_pair(text, n, kv, offset):
    expected = ["".join("#" if MEANINGS[text](q, k) else "." for k in range(kv)) for q in range(offset, offset + n)]
    output = drawn(text, "--n", str(n), "--kv", str(kv), f"--q-offset={offset}")
    assert rows_of(output) == list(zip(range(offset, offset + n), expected))
    allowed = "".join(expected).count("#")
    assert f"allowed: {allowed} of {n * kv} pairs" in output
    document = as_json(text, "--n", str(n), "--kv", str(kv), f"--q-offset={offset}")
    assert document["rows"] == expected and document["tile"] == 1
    assert (document["n"], document["kv"], document["q_offset"]) == (n, kv, offset)
    assert (document["allowed"], document["pairs"]) == (allowed, n * kv)


@pytest.mark.parametrize("text", MEANINGS)
@pytest.mark.parametrize("tile", [4, 7])
def test_a_character_of_a_tile_is_what_its_pairs_are(text, tile):
    n, kv = 20, 26
    expected = []
    for q in range(0, n, tile):
        row = ""
        for k in range(0, kv, tile):
            pairs = [MEANINGS[text](i, j) for i in range(q, min(q + tile, n)) for j in range(k, min(k + tile, kv))]
            row += "#" if all(pairs) else "+" if any(pairs) else "."
        expected.append((q, row))
    output = drawn(text, "--n", str(n), "--kv", str(kv), "--q-offset", "0", "--tile", str(tile))
    assert rows_of(output) == expected
    assert f"of {tile} queries (rows) x {tile} keys (columns)" in output


def test_a_large_mask_fits_the_terminal():
    output = drawn("causal & window(300, 0)", "--n", "1000", columns=50)
    assert max(map(len, output.split("\n")[:-5])) <= 50
    assert rows_of(output)[:2] == [(0, "+" + "." * 31), (32, "#+" + "." * 30)] and len(rows_of(output)) == 32
    assert len(rows_of(drawn("causal", "--n", "64"))) == 64  # 64 x 64 is drawn pair by pair
    assert len(rows_of(drawn("causal", "--n", "65"))) == 33


def test_numbers_above_the_columns():
    lines = drawn("causal", "--n", "20").split("\n")
    assert lines[0] == "causal" and lines[2] == "    0       8       16"
    assert drawn("causal", "--n", "512").split("\n")[2].startswith("     0       64      128 ")


def test_the_tiles_of_the_engine_are_counted():
    tiles = as_json("causal", "--n", "4096")["engine_tiles"]
    assert tiles["empty"] / sum(tiles.values()) == pytest.approx(0.5, abs=0.02)
    assert as_json("full", "--n", "100")["engine_tiles"]["partial"] == 0
    output = drawn("!full", "--n", "100")
    assert "0 full, 0 partial, " in output and "skipped (100%)" in output


def test_files_do_not_depend_on_the_terminal(tmp_path):
    for columns in (20, 200):
        drawn("causal", "--n", "100", "--json", str(tmp_path / f"{columns}.json"),
              "--svg", str(tmp_path / f"{columns}.svg"), columns=columns)
    assert (tmp_path / "20.json").read_bytes() == (tmp_path / "200.json").read_bytes()
    assert (tmp_path / "20.svg").read_bytes() == (tmp_path / "200.svg").read_bytes()


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / "docs/mask.schema.json").read_text()))


@pytest.mark.parametrize("args", [["causal & prefix(3)", "--n", "12"], ["causal", "--n", "900"],
                                  ["causal", "--n", "900", "--tile", "1"], ["full", "--n", "1"]])
def test_the_picture_shows_the_drawing(args):
    svg = drawn(*args, "--svg", "-")
    root = xml.etree.ElementTree.fromstring(svg)
    width, height = float(root.get("width")), float(root.get("height"))
    colours = {"#1d5a96": "#", "#8ab8e0": "+"}
    squares = []
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        squares.append((x, y, w, h, colours.get(rect.get("fill"))))
    _, (left, top, all_width, all_height, _), *cells = squares
    rows = as_json(*args)["rows"]
    cell = all_height / len(rows)
    assert all_width == cell * len(rows[0])
    shown = [["."] * len(rows[0]) for _ in rows]
    for x, y, w, h, character in cells:
        if character is None or y >= top + all_height:
            continue  # the legend
        for j in range(int((x - left) / cell), int((x + w - left) / cell)):
            shown[int((y - top) / cell)][j] = character
    assert ["".join(row) for row in shown] == rows
    assert "href" not in svg and "url(" not in svg and root.find("{http://www.w3.org/2000/svg}title").text


def test_standard_output_has_one_thing():
    assert drawn("causal", "--n", "4", "--json", "-").startswith("{")
    assert drawn("causal", "--n", "4", "--svg", "-").startswith("<svg ")


def test_a_file_and_the_drawing(tmp_path):
    output = drawn("causal", "--n", "4", "--json", str(tmp_path / "mask.json"), "--svg", str(tmp_path / "mask.svg"))
    assert len(rows_of(output)) == 4
    assert json.loads((tmp_path / "mask.json").read_text())["rows"] == ["#...", "##..", "###.", "####"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.json", "mask.svg"]


def test_help_has_examples_that_run(tmp_path):
    text = drawn("--help")
    assert max(map(len, text.split("\n"))) <= 80
    examples = re.findall(r"^  regard mask (.*)$", text, re.M)
    assert len(examples) >= 4
    for example in examples:
        result = subprocess.run([REGARD, "mask", *shlex.split(example)], capture_output=True, cwd=tmp_path)
        assert result.returncode == 0, (example, result.stderr)


def test_the_pages_show_what_the_command_draws():
    blocks = re.findall(r"^```text\n\$ regard mask (.*)\n((?:.*\n)*?)```", (ROOT / "docs/masks.md").read_text(), re.M)
    assert len(blocks) >= 6
    for command, shown in blocks:
        assert "\n" + shown in "\n" + drawn(*shlex.split(command)), command


def test_the_page_shows_the_error_that_comes():
    shown = re.search(r"^```text\n(regard: mask: (?:.*\n)*?)```", (ROOT / "docs/masks.md").read_text(), re.M)[1]
    assert mask(shown.split("\n")[1].strip()).stderr == shown


# Bad input.

@pytest.mark.parametrize("args, words", [
    ([], ["MASK", "regard mask --help"]),
    (["causal", "&", "full"], ['"&"', "quotes"]),
    (["causal", "--n", "0"], ["--n", '"0"', "1 to 65536"]),
    (["causal", "--n", "65537"], ["--n", '"65537"']),
    (["causal", "--kv", "x"], ["--kv", '"x"', "whole number"]),
    (["causal", "--kv", "70"], ["--n is 64 and --kv 70", "--q-offset: 0, or 6"]),
    (["causal", "--q-offset", "1e9"], ["--q-offset", '"1e9"']),
    (["causal", "--q-offset", "1099511627777"], ["--q-offset", "-1099511627776 to 1099511627776"]),
    (["causal", "--tile", "0"], ["--tile", '"0"']),
    (["causal", "--n", "65536", "--tile", "3"], ["--tile is 3", "at least 16"]),
    (["causal", "--json", "a", "--svg", "a"], ["--json", "--svg", "two files"]),
    (["causal", "--json", ""], ["--json", "empty"]),
    (["causal", "--sgv", "a"], ["--sgv", '"--svg"']),
])
def test_a_wrong_command_line(args, words):
    result = mask(*args)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"regard: [^\n]+\n", result.stderr), result.stderr
    for word in words:
        assert word in result.stderr


def test_full_needs_no_position():
    assert len(rows_of(drawn("full", "--n", "3", "--kv", "7"))) == 3


@pytest.mark.parametrize("text, column", [("", 1), ("causal &", 9), ("causal & foo", 10), ("dense(3, 4)", 1),
                                          ("window(1, 2", 12), ("causal\n& \x1b[31m", 10), ("causal é", 8)])
def test_a_wrong_mask_is_shown_with_a_caret(text, column):
    result = mask(text)
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.split("\n")
    assert lines[0].startswith(f"regard: mask: column {column}: expected ") and lines[3:] == [""]
    assert lines[2] == " " * (column + 1) + "^"
    assert all(" " <= c <= "~" for line in lines for c in line)


@pytest.mark.parametrize("option", ["--json", "--svg"])
def test_a_file_that_cannot_be_written(option):
    result = mask("causal", option, "/nonexistent/x")
    assert (result.returncode, result.stdout) == (1, "") and "/nonexistent/x: No such file" in result.stderr
