# tests/python/pages_test.py - the Python blocks of README.md and docs/ run, a page's one after the other.
import doctest
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    """(line, code) of each block; ```python no-run needs what no test has, and is only compiled."""
    text = page.read_text()
    for found in re.finditer(r"^```python( no-run)?\n(.*?)^```", text, re.M | re.S):
        line = text.count("\n", 0, found.start(2))
        yield line, found[2], bool(found[1])


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page))], ids=lambda page: page.name)
def test_blocks_run(page):
    names = {}
    for line, code, only_compiled in blocks(page):
        program = compile("\n" * line + code, str(page), "exec")
        if only_compiled:
            continue
        for module in ("torch", "transformers"):
            if re.search(rf"\b(import|from) (regard\.)?{module}\b", code):
                pytest.importorskip(module, reason=f"{module} is not installed")
        exec(program, names)


def test_pages_have_blocks():
    assert {"python.md", "coming-from.md"} <= {page.name for page in PAGES if list(blocks(page))}


def test_the_reference_is_what_docstrings_say():
    made = subprocess.run([sys.executable, ROOT / "tools/python_reference.py"], capture_output=True, text=True,
                          env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert made.returncode == 0, made.stderr
    assert made.stdout == (ROOT / "docs/python-reference.md").read_text(), "run ./dev python tools/python_reference.py > docs/python-reference.md"


def test_the_reference_s_examples_run():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    text = (ROOT / "docs/python-reference.md").read_text().replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "python-reference.md", None, 0)
    results = doctest.DocTestRunner().run(test)
    assert results.attempted >= 8 and results.failed == 0
