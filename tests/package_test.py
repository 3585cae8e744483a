# tests/package_test.py - the installed package serves an outside project, static and shared, and hides what it carries.
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
MODEL_PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
find_package(regard 0.1 CONFIG REQUIRED COMPONENTS model)
add_executable(example main.cc)
target_link_libraries(example PRIVATE regard::model)
"""
MODEL_MAIN = """
#include <regard/model/bert.h>
#include <cstdio>
#include <exception>
int main() {
  try {
    regard::model::Bert::load("/no/such/folder");
  } catch (const std::exception& error) {
    std::puts(error.what());
  }
}
"""

pytestmark = pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake on PATH; ./dev test brings one")


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def install(build, prefix):
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def static_package(tmp_path_factory):
    if not (BUILD / "release/build.ninja").is_file():
        pytest.skip("build/release is not there; ./dev test makes it")
    return install(BUILD / "release", tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def shared_package(tmp_path_factory):
    build = BUILD / "package-shared"  # kept: the next run compiles what changed
    options = ("-DBUILD_SHARED_LIBS=ON", "-DREGARD_TESTS=OFF", "-DREGARD_CLI=OFF")
    run("cmake", "-G", "Ninja", "-S", ROOT, "-B", build, *options)
    run("cmake", "--build", build)
    return install(build, tmp_path_factory.mktemp("shared"))


@pytest.fixture(params=["static_package", "shared_package"], ids=["static", "shared"])
def package(request):
    return request.getfixturevalue(request.param)


def build_outside(project, package, tmp_path):
    """Builds and runs a project that knows nothing but where the package is; returns what its programs print."""
    build = tmp_path / "build"
    run("cmake", "-G", "Ninja", "-S", project, "-B", build, f"-DCMAKE_PREFIX_PATH={package}")
    run("cmake", "--build", build)
    return "".join(run(build / name) for name in ("example", "example_c") if (build / name).exists())


def symbols(*arguments):
    return re.findall(r"^(?:[0-9a-f]+| +) ([A-Za-z]) (\S+)$", run("nm", *arguments), re.M)


def test_example_is_short():
    assert sum(len((ROOT / "examples" / name).read_text().splitlines()) for name in ("CMakeLists.txt", "main.cc")) < 60


def test_example_runs(package, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    version = re.search(r'VERSION "(.+)"', (ROOT / "include/regard/version.h").read_text())[1]
    printed = build_outside(tmp_path / "examples", package, tmp_path)
    assert re.fullmatch(rf"regard {re.escape(version)} on \w+: token 0 is its value\n"
                        rf"regard {re.escape(version)} from C: token 0 is its value\n"
                        r"refused: attention: key.shape\[3\] is 65, expected 64 \(head_dim\)\n", printed)


def test_models_run(package, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(MODEL_PROJECT)
    (tmp_path / "main.cc").write_text(MODEL_MAIN)
    assert "/no/such/folder" in build_outside(tmp_path, package, tmp_path)


def test_package_can_be_moved(package, tmp_path):
    for file in package.rglob("*.cmake"):
        assert str(ROOT) not in file.read_text() and str(package) not in file.read_text(), file


def test_engine_needs_no_json_unicode_or_foreign_highway(static_package):
    names = [name for _, name in symbols(next(static_package.rglob("libregard.a")))]
    assert any(name.startswith("_ZN6regard9attention") for name in names)
    carried = [name for _, name in symbols(next(static_package.rglob("libregard_hwy.a")))]
    assert any("10regard_hwy" in name for name in carried)
    assert [name for name in names + carried if re.search(r"nlohmann|utf8proc|N3hwy", name)] == []


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the list of exports is for ELF")
def test_shared_libraries_show_regard_alone(shared_package):
    for library in ("libregard.so", "libregard_model.so"):
        shown = [name for _, name in symbols("-D", "--defined-only", next(shared_package.rglob(library)))]
        assert len(shown) > 5
        assert [name for name in shown if not re.match(r"_Z(N|NK|TIN|TSN|TVN|GVN)6regard|regard_", name)] == []


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the list of exports is for ELF")
def test_shared_library_has_every_function_of_the_c_header(shared_package):
    code = re.sub(r"//.*", "", (ROOT / "include/regard/c/regard.h").read_text())
    declared = set(re.findall(r"^(?!static|typedef)[a-z][\w *]*?\b(regard_\w+)\(", code, re.M))
    shown = {name for _, name in symbols("-D", "--defined-only", next(shared_package.rglob("libregard.so")))}
    assert len(declared) > 20
    assert {name for name in shown if name.startswith("regard_")} == declared
