#!/usr/bin/env bash
# tools/fuzz.sh - runs each target of build/fuzz for some seconds, one on each CPU; called by ./dev fuzz.
set -euo pipefail
seconds=$1
fuzz() { # fuzz TARGET NAME
  local corpora=("build/fuzz/corpus/$2") # what is found goes into the first; tests/fuzz/corpus holds the seeds
  mkdir -p "${corpora[0]}"
  [[ ! -d tests/fuzz/corpus/$2 ]] || corpora+=("tests/fuzz/corpus/$2")
  "$1" "${corpora[@]}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$2-" >"build/fuzz/$2.log" 2>&1
}
targets=(build/fuzz/bin/fuzz_*)
[[ -x ${targets[0]} ]] || { echo "fuzz: there is no target in tests/fuzz" >&2 && exit 1; }
failed= at_once=$(nproc)
for ((begin = 0; begin < ${#targets[@]}; begin += at_once)); do
  names=() pids=()
  for target in "${targets[@]:begin:at_once}"; do
    names+=("${target##*/fuzz_}")
    echo "fuzz: ${names[-1]} for $seconds s" >&2
    fuzz "$target" "${names[-1]}" &
    pids+=($!)
  done
  for i in "${!pids[@]}"; do
    wait "${pids[i]}" && tail -n 12 "build/fuzz/${names[i]}.log" >&2 && continue
    cat "build/fuzz/${names[i]}.log" >&2
    failed+=" ${names[i]}"
  done
done
[[ -z $failed ]] || { echo "fuzz: failed:$failed; the inputs lie in build/fuzz" >&2 && exit 1; }
