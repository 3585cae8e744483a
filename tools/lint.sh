#!/usr/bin/env bash
# tools/lint.sh - clang-format on regard's sources, clang-tidy on those of build/release; called by ./dev lint.
set -euo pipefail
mapfile -t sources < <(find include src cli python tests bench examples tools -name '*.h' -o -name '*.cc' -o -name '*.c' 2>/dev/null | sort)
echo "lint: clang-format on ${#sources[@]} files" >&2
[[ ${1:-} != --fix ]] || exec clang-format -i "${sources[@]}"
clang-format --dry-run -Werror "${sources[@]}" || { echo "lint: ./dev lint --fix mends this" >&2 && exit 1; }
mapfile -t units < <(python3 - <<'END'
import json, os
units = (unit["file"] for unit in json.load(open("build/release/compile_commands.json")))
paths = sorted({os.path.relpath(unit) for unit in units})
print("\n".join(path for path in paths if path.startswith(("src/", "cli/", "bench/", "python/"))))
END
)
echo "lint: clang-tidy on ${#units[@]} files" >&2
printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build/release --quiet --warnings-as-errors='*' ||
  { echo "lint: clang-tidy found what is printed above" >&2 && exit 1; }
echo "lint: clean" >&2
