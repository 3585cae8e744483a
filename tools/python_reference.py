#!/usr/bin/env python3
# tools/python_reference.py - prints docs/python-reference.md, made of the package's docstrings:
#   ./dev python tools/python_reference.py > docs/python-reference.md
import inspect
import pathlib

import regard
from regard import masks

HEAD = """# The Python package, function by function

Made of the docstrings (`help(regard.attention)` says the same) by `tools/python_reference.py`; a test holds this page to them. The types are in
`python/regard/_engine.pyi`. [python.md](python.md) shows how it is used.
"""


def docstring(item):
    """Of a nanobind function without the signatures that it puts before it and the overload that explains wrong calls."""
    text = inspect.cleandoc(item.__doc__ or "")
    if hasattr(item, "__nb_signature__"):
        text = inspect.cleandoc(item.__nb_signature__[0][1] or "")
    return text


def section(name, item):
    return f"## `{name}`\n\n```text\n{docstring(item)}\n```\n"


def members(owner, name):
    """Methods and properties that say what they do."""
    for member, item in sorted(vars(owner).items()):
        if not member.startswith("_") and docstring(item):
            yield f"**`{name}.{member}`**\n\n```text\n{docstring(item)}\n```\n"


def from_source(path, names):
    """Functions of modules that need PyTorch, read without importing them."""
    import ast

    tree = ast.parse(path.read_text())
    yield f"## `regard.{path.stem}`\n\n```text\n{ast.get_docstring(tree)}\n```\n"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            yield f"**`regard.{path.stem}.{node.name}`**\n\n```text\n{ast.get_docstring(node)}\n```\n"


def page():
    parts = [HEAD]
    for name in ("attention", "plan", "Plan", "weights", "look", "Look", "PagedKvCache", "CacheFull", "generate", "Generation", "partial_attention", "merge", "AttentionState", "rope"):
        item = getattr(regard, name)
        parts.append(section(f"regard.{name}", item))
        if isinstance(item, type):
            parts.extend(members(item, name))
    parts.append(f"## `regard.masks`\n\n```text\n{inspect.cleandoc(masks.__doc__)}\n```\n")
    for name in masks.__all__:
        item = getattr(masks, name)
        parts.append(f"**`masks.{name}`**\n\n```text\n{docstring(item)}\n```\n")
        if isinstance(item, type):
            parts.extend(members(item, name))
    package = pathlib.Path(regard.__file__).parent
    parts.extend(from_source(package / "torch.py", ("scaled_dot_product_attention", "patch")))
    parts.extend(from_source(package / "hf.py", ()))
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
