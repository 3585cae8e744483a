#!/usr/bin/env bash
# bench/peers/run.sh - the peers into build/peers, then peers.py from FOLDER; called by ./dev bench --peers.
set -euo pipefail
root=$PWD place=build/peers requirements=bench/peers/requirements.txt llama=@node-llama-cpp/linux-x64@3.22.1
say() { printf 'peers: %s\n' "$*" >&2; }
if ! cmp -s $requirements $place/.requirements; then
  say "installing the packages of $requirements into $place (1 GB)"
  python3 -m venv $place/venv && $place/venv/bin/python -m pip install -q --disable-pip-version-check -r $requirements >&2
  cp $requirements $place/.requirements
fi
if [[ $(cat $place/.llama 2>/dev/null) != "$llama" ]]; then
  say "installing the npm package $llama into $place"
  if npm install --silent --ignore-scripts --no-audit --no-fund --prefix $place "$llama" >&2; then
    printf %s "$llama" >$place/.llama
  else
    say "without llama.cpp: npm could not install $llama"
  fi
fi
cd "$1"
exec "$root/$place/venv/bin/python" "$root/bench/peers/peers.py" "${@:2}"
