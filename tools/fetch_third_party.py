#!/usr/bin/env python3
# tools/fetch_third_party.py - brings the pinned source tarballs of third_party.lock into a folder, checked by SHA-256.
"""Usage: fetch_third_party.py FOLDER

Each library ends in FOLDER/NAME, unpacked whole or not at all. What is already there is not fetched again.
The Debian mirror is the one this machine's apt is set to (/etc/apt), or REGARD_DEBIAN_MIRROR.
"""
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


def mirrors():
    """Debian mirrors of this machine, without asking apt (which may not be on PATH)."""
    if os.environ.get("REGARD_DEBIAN_MIRROR"):
        return [os.environ["REGARD_DEBIAN_MIRROR"].rstrip("/")]
    etc = pathlib.Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    text = "\n".join(f.read_text(errors="replace") for f in files if f.is_file())
    found = re.findall(r"^(?:URIs:|deb(?:-src)?\s+(?:\[[^]]*\]\s+)?)\s*(https?://\S+)", text, re.M)
    return list(dict.fromkeys(u.rstrip("/") for u in found if u.rstrip("/").endswith("/debian")))


def fetch(name, sha256, file, folder):
    errors = []
    for mirror in mirrors():
        try:
            with urllib.request.urlopen(f"{mirror}/{file}", timeout=60) as response:
                data = response.read()
        except OSError as error:
            errors.append(f"{mirror}/{file}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        errors.append(f"{mirror}/{file}: SHA-256 is {hashlib.sha256(data).hexdigest()}, expected {sha256}")
    where = "\n  ".join(errors) or "no Debian mirror in /etc/apt; set REGARD_DEBIAN_MIRROR to one"
    sys.exit(f"fetch_third_party: cannot get {name}:\n  {where}")


def unpack(name, data, folder):
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
        tarball = pathlib.Path(scratch, "tarball")
        tarball.write_bytes(data)
        tree = pathlib.Path(scratch, "tree")
        with tarfile.open(tarball) as archive:
            archive.extractall(tree)
        inner = list(tree.iterdir())
        os.rename(inner[0] if len(inner) == 1 else tree, folder / name)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for line in LOCK.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, sha256, file = line.split()
        stamp = folder / name / ".sha256"
        if stamp.is_file() and stamp.read_text() == sha256:
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        print(f"  {name}: {file.rsplit('/', 1)[1]}", flush=True)
        unpack(name, fetch(name, sha256, file, folder), folder)
        stamp.write_text(sha256)


main()
