#!/bin/sh
# Run the tests by the README's own command; its exit code is this one's.
# Usage: suite.sh [CHECKOUT]   (the current directory)
set -eu

cd "${1:-.}"
exec python3 -m tests
