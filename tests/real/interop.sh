#!/bin/sh
# Starts a program for Windows from a Linux that looks like WSL: the kernel gives its path, then its words.
# As on WSL it gets the environment of Windows, and nothing of Linux'. What it says goes by way of files: from outside
# Wine, Node.js for Windows cannot write to a pipe.
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
env -i HOME=/opt/windows/home USER='Jo Doe' LOGNAME='Jo Doe' PATH=/usr/bin:/bin LANG=C.UTF-8 WINEPREFIX=/opt/windows/windows \
    WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' wine "$@" </dev/null >"$said/out" 2>"$said/err"
code=$?
cat "$said/out"
cat "$said/err" >&2
exit "$code"
