# tests/python/typing_test.py - the types: of the package itself, of its use, and that the stub says what the module has.
import ast
import pathlib
import re
import subprocess
import sys

import pytest

import regard
from regard import _engine

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python/regard"


def mypy(*arguments):
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / "build/mypy"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"MYPYPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"})


def test_uses_are_checked():
    result = mypy("tests/python/typing_snippets.py")
    assert result.returncode == 0, result.stdout


def test_the_package_itself():
    result = mypy("-p", "regard")
    assert result.returncode == 0, result.stdout


def parameters(function):
    return [a.arg for a in function.args.posonlyargs + function.args.args], [a.arg for a in function.args.kwonlyargs]


def module_parameters(function):
    text = re.sub(r"\\\d*", "None", function.__nb_signature__[0][0])
    return parameters(ast.parse(text + ": pass").body[0])


def test_the_stub_is_the_module():
    tree = ast.parse((PACKAGE / "_engine.pyi").read_text())
    functions = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            functions.setdefault(node.name, []).append(node)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    module = {name: item for name, item in vars(_engine).items() if hasattr(item, "__nb_signature__")}
    assert functions.keys() == module.keys()
    for name, overloads in functions.items():
        assert all(parameters(each) == module_parameters(module[name]) for each in overloads), name
    assert classes.keys() == {name for name, item in vars(_engine).items() if isinstance(item, type)}
    for name, node in classes.items():
        members = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
        assert members <= set(dir(getattr(_engine, name)))
        assert {each for each in vars(getattr(_engine, name)) if not each.startswith("__")} <= members, name


def test_all_that_is_public_says_what_it_is():
    for module in (regard, regard.masks):
        for name in module.__all__:
            if not name.startswith("_") and not isinstance(getattr(module, name), type(regard)):
                assert len(getattr(module, name).__doc__ or "") > 15, name
