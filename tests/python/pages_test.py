# tests/python/pages_test.py - the Python blocks of README.md and docs/ run, a page's one after the other.
import pathlib
import re

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
