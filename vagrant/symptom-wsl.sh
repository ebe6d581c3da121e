#!/bin/sh
# Show what the user of a WSL that break-wsl.sh has been at gets to see; then what ccremedy says to it.
# Usage: symptom-wsl.sh [CHECKOUT]   (the current directory)
set -eu

cd "${1:-.}"

echo "\$ command -v npm"
npm=$(bash -lc 'command -v npm')
echo "$npm"
case $npm in
  /mnt/*) ;;
  *)
    echo "symptom-wsl.sh: Linux' own npm answers: this WSL is not sick" >&2
    exit 1
    ;;
esac

echo
echo "\$ python3 -m ccremedy diagnose wsl-path"
code=0
bash -lc 'python3 -m ccremedy diagnose wsl-path' || code=$?
[ "$code" = 1 ] # something was found
