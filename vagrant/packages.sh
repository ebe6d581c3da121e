#!/bin/sh
# What a developer's Debian or Ubuntu has: the distribution's own node and npm, and three shells. Needs root.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install nodejs npm zsh fish python3 python3-venv acl attr strace >/dev/null
