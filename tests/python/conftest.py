# tests/python/conftest.py - the package regard that ./dev builds.
import pathlib
import sys

BUILT = pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "python"
if (BUILT / "regard").is_dir():
    sys.path.insert(0, str(BUILT))
