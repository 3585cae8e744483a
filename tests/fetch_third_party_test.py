# tests/fetch_third_party_test.py - library sources come whole or not at all, from a mirror on this machine.
import functools
import hashlib
import http.server
import io
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def tarball(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return data.getvalue()


class Mirror(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)


@pytest.fixture
def mirror(tmp_path):
    """A mirror; its attribute `asked` lists the paths that were asked for."""
    (tmp_path / "mirror").mkdir()
    handler = functools.partial(Mirror, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked, server.folder = [], tmp_path / "mirror"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fetch(tmp_path, mirror):
    """Starts the program on a lock file that holds these name -> tarball."""
    tools = tmp_path / "tools"
    tools.mkdir()
    shutil.copy(ROOT / "tools/fetch_third_party.py", tools)
    environment = {**os.environ, "REGARD_DEBIAN_MIRROR": f"http://127.0.0.1:{mirror.server_address[1]}", "no_proxy": "*"}

    def start(balls, sums=None):
        lines = ["# name sha256 file"]
        for name, ball in balls.items():
            if ball is not None:  # None: a file that the mirror does not have
                (mirror.folder / f"{name}.tar.gz").write_bytes(ball)
            lines.append(f"{name} {(sums or {}).get(name, hashlib.sha256(ball or b'').hexdigest())} {name}.tar.gz")
        (tools / "third_party.lock").write_text("\n".join(lines) + "\n")
        return subprocess.Popen([sys.executable, tools / "fetch_third_party.py", tmp_path / "out"], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    return start


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_fetches_once(fetch, mirror, tmp_path):
    balls = {"one": tarball({"one-1.0/a.h": b"A"}), "two": tarball({"b.h": b"B", "c.h": b"C"})}
    code, out, _ = finish(fetch(balls))
    assert code == 0 and "1/2: one" in out and "2/2: two" in out
    assert (tmp_path / "out/one/a.h").read_bytes() == b"A" and (tmp_path / "out/two/c.h").read_bytes() == b"C"
    asked = len(mirror.asked)
    assert finish(fetch(balls)) == (0, "", "") and len(mirror.asked) == asked


def test_a_new_lock_replaces_the_tree(fetch, tmp_path):
    assert finish(fetch({"one": tarball({"old.h": b""})}))[0] == 0
    assert finish(fetch({"one": tarball({"new.h": b""})}))[0] == 0
    assert [p.name for p in (tmp_path / "out/one").glob("*.h")] == ["new.h"]


def test_a_wrong_sum_leaves_nothing(fetch, tmp_path):
    code, _, err = finish(fetch({"one": tarball({"a.h": b"A"})}, {"one": "0" * 64}))
    assert code == 1 and "one" in err and "expected " + "0" * 64 in err
    assert not (tmp_path / "out/one").exists()


def test_a_missing_file_names_the_address(fetch):
    code, _, err = finish(fetch({"one": None}))
    assert code == 1 and "/one.tar.gz: HTTP Error 404" in err


@pytest.mark.parametrize("name", ["../evil.h", "/tmp/regard-evil.h", "one/../../evil.h"])
def test_a_path_that_leads_out_is_refused(fetch, tmp_path, name):
    code, _, err = finish(fetch({"one": tarball({name: b"evil"})}))
    assert code == 1 and repr(name) in err
    assert not list(tmp_path.glob("**/*evil.h")) and not pathlib.Path("/tmp/regard-evil.h").exists()


def test_killed_at_any_moment(fetch, tmp_path):
    big = {f"lib{i}": tarball({f"lib{i}/{n}.h": bytes(2000) for n in range(300)}) for i in range(4)}
    for seconds in (0.05, 0.1, 0.15, 0.2, 0.25):
        process = fetch(big)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finish(fetch(big))[0] == 0
    assert [len(list((tmp_path / "out" / name).glob("*.h"))) for name in big] == [300] * 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".lock", *big]


def test_two_at_once(fetch, tmp_path):
    balls = {f"lib{i}": tarball({"a.h": bytes(100000)}) for i in range(3)}
    both = [fetch(balls) for _ in range(2)]
    assert [finish(process)[0] for process in both] == [0, 0]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".lock", *balls]
