#!/usr/bin/env python3
# tools/fetch_third_party.py - brings the pinned source tarballs of third_party.lock into a folder, checked by SHA-256.
"""Usage: fetch_third_party.py FOLDER

Each library ends in FOLDER/NAME, whole or not at all; what is there is not fetched again. Several of these programs may run
at once. The Debian mirror is the one this machine's apt is set to (/etc/apt), or REGARD_DEBIAN_MIRROR.
"""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile
import urllib.request

LOCK = pathlib.Path(__file__).with_name("third_party.lock")
TIMEOUT = 30  # seconds without a byte, after which the next mirror or try has its turn
TRIES = 2


def mirrors():
    """Debian mirrors of this machine, without asking apt (which may not be on PATH)."""
    if os.environ.get("REGARD_DEBIAN_MIRROR"):
        return [os.environ["REGARD_DEBIAN_MIRROR"].rstrip("/")]
    etc = pathlib.Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    text = "\n".join(f.read_text(errors="replace") for f in files if f.is_file())
    found = re.findall(r"^(?:URIs:|deb(?:-src)?\s+(?:\[[^]]*\]\s+)?)\s*(https?://\S+)", text, re.M)
    return list(dict.fromkeys(u.rstrip("/") for u in found if u.rstrip("/").endswith("/debian")))


def download(name, sha256, path):
    """The bytes of a mirror's file; ends the program with every mirror's answer when none has the right ones."""
    errors = []
    for url in [f"{mirror}/{path}" for mirror in mirrors()] * TRIES:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                data = response.read()
        except (OSError, ValueError) as error:  # ValueError: a mirror that is no URL
            errors.append(f"{url}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        errors.append(f"{url}: SHA-256 is {hashlib.sha256(data).hexdigest()}, expected {sha256}")
    where = "\n  ".join(dict.fromkeys(errors)) or "no Debian mirror in /etc/apt; set REGARD_DEBIAN_MIRROR to one"
    sys.exit(f"fetch_third_party: cannot get {name}:\n  {where}")


def safe_members(archive):
    """What of a tarball lies inside it: no absolute path, no way up, links only to what lies inside, no devices."""
    for member in archive:
        parts = pathlib.PurePosixPath(member.name).parts
        target = pathlib.PurePosixPath(member.linkname)
        if member.name.startswith("/") or ".." in parts or not (member.isreg() or member.isdir() or member.issym()):
            sys.exit(f"fetch_third_party: the tarball holds {member.name!r}, which does not belong in one")
        if member.issym() and (target.is_absolute() or ".." in target.parts):
            continue  # libraries need none of them
        yield member


def install(name, sha256, data, folder):
    """Unpacks beside its place and moves it there with one rename, stamp inside."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
        tarball, tree = pathlib.Path(scratch, "tarball"), pathlib.Path(scratch, "tree")
        tarball.write_bytes(data)
        with tarfile.open(tarball) as archive:
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(tree, members=safe_members(archive), **options)
        inner = list(tree.iterdir())
        whole = inner[0] if len(inner) == 1 and inner[0].is_dir() else tree
        (whole / ".sha256").write_text(sha256)
        if (folder / name).exists():
            os.rename(folder / name, pathlib.Path(scratch, "old"))
        os.rename(whole, folder / name)


def is_there(name, sha256, folder):
    stamp = folder / name / ".sha256"
    return stamp.is_file() and stamp.read_text() == sha256


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    lines = [line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    wanted = [line for line in lines if not is_there(line[0], line[1], folder)]
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(".*-*"):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        for number, (name, sha256, path) in enumerate(wanted, 1):
            if not is_there(name, sha256, folder):
                print(f"library sources {number}/{len(wanted)}: {name} ({path.rsplit('/', 1)[-1]})", flush=True)
                install(name, sha256, download(name, sha256, path), folder)


if __name__ == "__main__":
    main()
