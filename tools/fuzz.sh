#!/usr/bin/env bash
# tools/fuzz.sh - runs each target of build/fuzz for some seconds; called by ./dev fuzz.
set -euo pipefail
seconds=$1
failed=
for target in build/fuzz/bin/fuzz_*; do
  [[ -x $target ]] || { echo "fuzz: there is no target in tests/fuzz" >&2 && exit 1; }
  name=${target##*/fuzz_}
  corpora=("build/fuzz/corpus/$name") # what is found goes into the first; tests/fuzz/corpus holds the seeds
  mkdir -p "${corpora[0]}"
  [[ ! -d tests/fuzz/corpus/$name ]] || corpora+=("tests/fuzz/corpus/$name")
  echo "fuzz: $name for $seconds s" >&2
  "$target" "${corpora[@]}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$name-" || failed+=" $name"
done
[[ -z $failed ]] || { echo "fuzz: failed:$failed; the inputs lie in build/fuzz" >&2 && exit 1; }
