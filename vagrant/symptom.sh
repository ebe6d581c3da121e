#!/bin/sh
# Show what the user of a machine that break.sh has been at gets to see; then what ccremedy says to it.
# Usage: symptom.sh [CHECKOUT]   (the current directory)
set -eu

cd "${1:-.}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf '{"name": "anything", "version": "1.0.0"}\n' >"$scratch/package.json"

echo "\$ npm install -g anything"
if (cd "$scratch" && npm install --offline --no-audit --no-fund --no-update-notifier -g .) 2>&1; then
  echo "symptom.sh: npm has installed it: this machine is not sick" >&2
  exit 1
fi

echo
echo "\$ python3 -m json.tool ~/.claude.json"
if python3 -m json.tool "$HOME/.claude.json" 2>&1; then
  echo "symptom.sh: the state file parses: this machine is not sick" >&2
  exit 1
fi

echo
echo "\$ python3 -m ccremedy diagnose"
code=0
python3 -m ccremedy diagnose || code=$?
[ "$code" = 1 ] # something was found
