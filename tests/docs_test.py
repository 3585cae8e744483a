# tests/docs_test.py - what README.md and docs/ show: C and C++ blocks compile, ./dev verbs and linked files exist.
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.is_file()]
CXX = os.environ.get("CXX", "g++")
CC = os.environ.get("CC", "gcc")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def snippets(language):
    return [pytest.param(code, id=f"{page.name}-{i}") for page in PAGES for i, code in enumerate(blocks(page, language))]


def compiles(code, tmp_path):
    source = tmp_path / "snippet.cc"
    source.write_text(code)
    return subprocess.run([CXX, "-std=c++20", "-Wall", "-fsyntax-only", f"-I{ROOT / 'include'}", source],
                          capture_output=True, text=True)


def as_program(code):
    """A block that does not include anything itself is the inside of a function."""
    if "#include" not in code:
        return f"#include <regard/regard.h>\n#include <vector>\nvoid snippet() {{\n{code}\n}}\n"
    return code


@pytest.mark.skipif(not shutil.which(CXX), reason=f"no compiler {CXX}")
@pytest.mark.parametrize("code", snippets("cpp"))
def test_snippet_compiles(code, tmp_path):
    result = compiles(as_program(code), tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not shutil.which(CXX), reason=f"no compiler {CXX}")
def test_a_wrong_snippet_does_not_compile(tmp_path):
    assert compiles(as_program("regard::Plan plan{}; plan.walk();"), tmp_path).returncode != 0


@pytest.mark.skipif(not shutil.which(CC), reason=f"no compiler {CC}")
@pytest.mark.parametrize("code", snippets("c"))
def test_c_snippet_compiles(code, tmp_path):
    source = tmp_path / "snippet.c"
    source.write_text(code)
    result = subprocess.run([CC, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'include'}", source],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_and_links_exist(page):
    text = page.read_text()
    verbs = set(re.findall(r"\./dev ([a-z0-9]+)", text))
    known = set(re.findall(r"^  ([a-z0-9]+)\)", (ROOT / "dev").read_text(), re.M))
    assert verbs <= known
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)]
    assert [link for link in links if not (page.parent / link).exists()] == []
