#!/usr/bin/env bash
# tools/wheel.sh - build/wheel/regard-*.whl, for any Linux with the glibc that it names; called by ./dev wheel, which has built
# build/release: the wheel takes what is there, so that the kernels are compiled once.
set -euo pipefail
raw=build/wheel/raw
rm -rf build/wheel && mkdir -p $raw
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' build/release/CMakeCache.txt)
python3 -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps -w $raw -C build-dir=build/release \
  -C cmake.define.REGARD_TESTS=ON .
# pip's installation prefix is a folder that is gone: not for a later cmake --install.
cmake --log-level=NOTICE -B build/release -DCMAKE_INSTALL_PREFIX="$prefix" -USKBUILD* >/dev/null
python3 -m auditwheel repair --strip -w build/wheel $raw/*.whl >$raw/auditwheel.log 2>&1 || { cat $raw/auditwheel.log >&2 && exit 1; }
ls build/wheel/*.whl
