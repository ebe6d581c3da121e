#!/bin/sh
# What a developer's Mac has: Homebrew's own node, npm and Python. Needs Homebrew, and no root.
set -eu

brew install --quiet node python@3.13 fish shellcheck
