# tests/python/wheel_test.py - the wheel of ./dev wheel in an environment with nothing else.
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WHEELS = sorted((ROOT / "build/wheel").glob(f"regard-*-cp{sys.version_info.major}{sys.version_info.minor}-*.whl"))
pytestmark = pytest.mark.skipif(not WHEELS, reason="there is no wheel: ./dev wheel makes it")

USE = """
import numpy as np, regard
from regard import masks
random = np.random.default_rng(0)
q, k, v = (random.standard_normal((2, 3, 40, 32)) for _ in range(3))
s = np.einsum("bhnd,bhmd->bhnm", q, k) / np.sqrt(32)
s[:, :, np.arange(40)[:, None] < np.arange(40)] = -np.inf
w = np.exp(s - s.max(-1, keepdims=True))
wanted = np.einsum("bhnm,bhme->bhne", w / w.sum(-1, keepdims=True), v)
came = regard.attention(*(x.astype(np.float32) for x in (q, k, v)), mask=masks.causal())
print(np.abs(came - wanted).max() < 4e-6, regard.__version__)
"""


def run(*command, **options):
    result = subprocess.run([str(each) for each in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A virtual environment with the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", place)
    run(place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", WHEELS[-1])
    return place


def test_computes(place, tmp_path):
    answer = run(place / "bin/python", "-I", "-c", USE, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    assert answer.split()[0] == "True"


def test_brings_the_command(place, tmp_path):
    assert run(place / "bin/regard", "--version", cwd=tmp_path, env={}).startswith("regard ")
    assert "####" in run(place / "bin/regard", "mask", "causal", "--n", "4", cwd=tmp_path, env={})


def test_asks_for_numpy_alone(place):
    lines = run(place / "bin/python", "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze").split()
    assert {line.split("==")[0] for line in lines} - {"pip", "setuptools"} == {"numpy", "regard"}


def test_holds_what_it_should():
    wheel = zipfile.ZipFile(WHEELS[-1])
    names = wheel.namelist()
    assert "manylinux_2_" in WHEELS[-1].name
    assert {"regard/py.typed", "regard/_engine.pyi", "regard/torch.py", "regard/hf.py"} <= set(names)
    licences = {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name}
    assert {"LICENSE", "highway-LICENSE-BSD3", "nlohmann-json-LICENSE.MIT", "utf8proc-LICENSE.md", "libmd-COPYING", "cli11-LICENSE"} <= licences
    assert not [name for name in names if name.endswith((".a", ".h", ".cc")) or "test" in name]
    binaries = [name for name in names if name.endswith(".so") or "/scripts/" in name]
    assert len([name for name in binaries if "_engine" in name]) == 1 and any(name.endswith("/scripts/regard") for name in binaries)
    for name in binaries:
        assert str(ROOT).encode() not in wheel.read(name), f"{name} holds a path of the machine that made it"
