# tests/dev_test.py - ./dev on machines that lack something, interrupted, twice at once, offline; no registry is asked.
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEM = pathlib.Path("/usr/bin")
NOBODY = 65534
COMPILERS = r"(g|clang|c)\+\+.*|.*-linux-gnu-g\+\+.*"
TOY_CMAKE = """# A project that ./dev can build without a compiler's work.
cmake_minimum_required(VERSION 3.25)
project(toy LANGUAGES NONE)
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/bin/regard
  COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_SOURCE_DIR}/regard.sh ${CMAKE_BINARY_DIR}/bin/regard
  DEPENDS ${CMAKE_SOURCE_DIR}/regard.sh)
add_custom_target(regard_cli ALL DEPENDS ${CMAKE_BINARY_DIR}/bin/regard)
"""
TOY_REGARD = """#!/bin/sh
case "$1" in models) model="$XDG_CACHE_HOME/regard/models/minilm"; mkdir -p "$model"; : >"$model/model.safetensors" ;; esac
echo "$@"
"""


def path_without(folder, hidden):
    """A PATH of one folder that links to what the system has, save names that match."""
    folder.mkdir(mode=0o755)
    for tool in SYSTEM.iterdir():
        if not re.fullmatch(hidden, tool.name):
            (folder / tool.name).symlink_to(tool)
    return folder


@pytest.fixture
def place():
    """A folder that any user may enter and write."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield pathlib.Path(folder)


@pytest.fixture
def toy(place):
    """A copy of ./dev before a project that needs no library and no Python package."""
    home = place / "toy"
    (home / "tools").mkdir(parents=True)
    (home / "tests").mkdir()
    shutil.copy(ROOT / "dev", home)
    for name in ("compiler_probe.cc", "fetch_third_party.py", "build-requirements.txt"):
        shutil.copy(ROOT / "tools" / name, home / "tools")
    (home / "tools/third_party.lock").write_text("# nothing\n")
    (home / "tests/requirements.txt").write_text("# nothing\n")
    (home / "CMakeLists.txt").write_text(TOY_CMAKE)
    (home / "regard.sh").write_text(TOY_REGARD)
    (home / "regard.sh").chmod(0o755)
    for path in [home, *home.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o777 if path.is_dir() else path.stat().st_mode | 0o444)
    return home


def clean(path=SYSTEM, **environment):
    """The environment without the compiler and the Python environment that the calling ./dev chose."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CXX", "CC", "VIRTUAL_ENV")}
    return {**kept, "PATH": str(path), **environment}


def dev(home, *arguments, path=SYSTEM, unprivileged=False, **environment):
    """Runs ./dev; with what it printed, its exit code and its seconds."""
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if unprivileged and os.geteuid() == 0 else {}
    began = time.monotonic()
    result = subprocess.run([home / "dev", *arguments], capture_output=True, text=True, env=clean(path, **environment), **user)
    result.seconds = time.monotonic() - began
    return result


def need_toy_tools():
    """Skips where a set-up would ask a registry for what the system does not have."""
    for tool in ("python3", "cmake", "ninja"):
        if not (SYSTEM / tool).exists():
            pytest.skip(f"there is no {SYSTEM / tool}")


def stand_in_venv(toy):
    """Saves the seconds that a Python environment takes, where a test needs none of its packages."""
    (toy / "build/venv/bin").mkdir(parents=True)
    (toy / "build/venv/bin/python").symlink_to("/bin/true")
    (toy / "build/venv/.made").write_text(str(toy))


def test_help_makes_nothing(toy):
    result = dev(toy)
    assert result.returncode == 0 and "./dev run look" in result.stdout and result.stderr == ""
    assert not (toy / "build").exists()


def test_unknown_verb(toy):
    result = dev(toy, "biuld")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "'biuld'" in result.stderr


def missing(toy, path, *words):
    """The one line that says what is missing, printed at once, with nothing made."""
    result = dev(toy, "run", "look", "Hello.", path=path, unprivileged=True)
    assert result.returncode == 1 and result.stdout == "" and result.stderr.count("\n") == 1, result.stderr
    assert [word for word in words if word not in result.stderr] == []
    assert result.seconds < 1 and not (toy / "build").exists()
    return result.stderr


def stub(path, name, text="exit 1"):
    (path / name).unlink(missing_ok=True)
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)


def test_missing_compiler_with_apt(toy, place):
    path = path_without(place / "bin", COMPILERS)
    stub(path, "apt-get")
    line = missing(toy, path, "g++ >= 12")
    assert line.endswith("run: sudo apt-get install g++\n")


def test_missing_python_with_apt(toy, place):
    path = path_without(place / "bin", r"python3.*")
    stub(path, "apt-get")
    line = missing(toy, path, "3.9")
    assert line.endswith("run: sudo apt-get install python3-venv\n")


def test_missing_without_apt(toy, place):
    path = path_without(place / "bin", f"{COMPILERS}|python3.*|apt.*")
    line = missing(toy, path, "g++ >= 12", "clang >= 16", "python3 (>= 3.9, with venv and pip)")
    assert "apt" not in line and "sudo" not in line


def test_an_old_compiler_is_no_compiler(toy, place):
    path = path_without(place / "bin", f"{COMPILERS}|apt.*")
    stub(path, "g++", 'for a; do case "$a" in -std=c++20) echo "unrecognized option" >&2; exit 1 ;; esac; done')
    missing(toy, path, "g++ >= 12")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs with apt-get")
def test_root_installs_only_what_is_missing(toy, place):
    path = path_without(place / "bin", COMPILERS)
    stub(path, "apt-get", f'echo "$@" >>{place}/asked')
    stub(path, "dpkg", "exit 0")
    result = dev(toy, "setup", path=path)
    assert result.returncode == 1 and "installing with apt-get: g++\n" in result.stderr
    installed = (place / "asked").read_text().splitlines()[-1]
    assert installed.split()[-1] == "g++" and "python" not in installed
    assert "still missing" in result.stderr  # the stub installs nothing


def test_run_keeps_stdout_and_place(toy, place):
    need_toy_tools()
    stand_in_venv(toy)
    cache = {"XDG_CACHE_HOME": str(place / "cache")}
    first = dev(toy, "run", "look", "--json", "-", "A  text", **cache)
    assert first.returncode == 0 and first.stdout == "look --json - A  text\n"
    assert "fetching the model minilm" in first.stderr and "models get minilm" in first.stderr
    again = dev(toy, "run", "look", "A text", **cache)
    assert (again.stdout, again.stderr) == ("look A text\n", "") and again.seconds < 2


def test_bench_is_a_verb_of_the_command(toy):
    need_toy_tools()
    stand_in_venv(toy)
    result = dev(toy, "bench", "--list", "--case", "rows.*")
    assert (result.returncode, result.stdout) == (0, "bench --list --case rows.*\n"), result.stderr


@pytest.mark.parametrize("arguments, fetches", [
    (["look", "--model", "minilm", "x"], True), (["look", "--model=minilm", "x"], True), (["look", "--model", "y", "x"], False),
    (["look", "--help"], False), (["models"], False), ([], False),
])
def test_the_model_is_fetched_when_it_is_needed(toy, place, arguments, fetches):
    need_toy_tools()
    stand_in_venv(toy)
    result = dev(toy, "run", *arguments, XDG_CACHE_HOME=str(place / "cache"))
    assert result.returncode == 0, result.stderr
    assert ("fetching the model" in result.stderr) == fetches


def test_killed_at_any_moment(toy):
    """A set-up that was killed, its children too, leaves nothing that the next one trips over."""
    need_toy_tools()
    for seconds in (0.05, 0.2, 0.5, 1, 2, 3, 4):
        with subprocess.Popen([toy / "dev", "build"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=clean(), start_new_session=True) as process:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)
    result = dev(toy, "run", "--version")
    assert (result.returncode, result.stdout) == (0, "--version\n"), result.stderr
    pip = subprocess.run([toy / "build/venv/bin/python", "-m", "pip", "--version"], capture_output=True, text=True)
    assert pip.returncode == 0, pip.stderr


def test_two_at_once(toy):
    need_toy_tools()
    stand_in_venv(toy)
    both = [subprocess.Popen([toy / "dev", "run", "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=clean()) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert [out for out, _ in printed] == ["x\n", "x\n"]
    assert sum("waiting for another ./dev" in err for _, err in printed) == 1


def test_packages_go_into_the_venv_alone(toy, place):
    """A python3 that refuses to install anything stands in for the system's."""
    need_toy_tools()
    path = path_without(place / "bin", r"python3.*|pip.*")
    stub(path, "python3", 'case "$*" in *"-m pip"*) echo pip >>%s/asked ;; esac; exec %s/python3 "$@"' % (place, SYSTEM))
    (toy / "tests/requirements.txt").write_text("# one more line\n")
    result = dev(toy, "setup", path=path)
    assert result.returncode == 0, result.stderr
    assert "installing the Python packages of tests/requirements.txt" in result.stderr
    assert (toy / "build/venv/.tests-requirements.txt").is_file() and not (place / "asked").exists()


def test_a_moved_tree_is_made_anew(toy, place):
    need_toy_tools()
    stand_in_venv(toy)
    assert dev(toy, "build").returncode == 0
    moved = toy.rename(place / "moved")
    result = dev(moved, "run", "x")
    assert (result.returncode, result.stdout) == (0, "x\n"), result.stderr
    assert "making a Python environment" in result.stderr and "configuring build/release" in result.stderr


def test_second_call_is_quick_and_offline():
    """The tree under test itself, without a network."""
    if not (ROOT / "build/release/.configured").is_file():
        pytest.skip("build/release was not made by ./dev")
    offline = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*offline, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a process have a network of its own")
    began = time.monotonic()
    result = subprocess.run([*offline, ROOT / "dev", "build", "regard_cli"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert time.monotonic() - began < 2
