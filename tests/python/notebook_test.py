# tests/python/notebook_test.py - the notebook in examples/ runs, and shows what it should.
import json
import os
import pathlib
import sys

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (tests/requirements-torch.txt)")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (tests/requirements-torch.txt)")
import nbformat  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")


@pytest.mark.skipif(not (CACHE / "regard/models/minilm/model.safetensors").is_file(), reason="the model minilm is not there")
def test_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "examples/python/look.ipynb", as_version=4)
    assert not [output for cell in notebook.cells for output in cell.get("outputs", ())]  # kept without
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    kernels = tmp_path / "kernels/python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = {kind for output in shown for kind in output.get("data", ())}
    assert {"text/html", "image/svg+xml"} <= kinds
    assert any("river" in output.get("data", {}).get("text/plain", "") for output in shown)
    assert any("tiles:" in output.get("text", "") for output in shown)
