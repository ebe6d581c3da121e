#!/bin/sh
# Make the user who runs this, in a WSL, meet what wsl-path mends: the npm, node or claude of Windows answers, although
# Linux has its own. Needs no root. It refuses where there are files of Claude Code's.
set -eu

mark='# made by break-wsl.sh'

if [ -e "$HOME/.claude.json" ] || [ -e "$HOME/.claude" ]; then
  echo "break-wsl.sh: there is a Claude Code of your own here ($HOME/.claude and its like), which I leave alone" >&2
  exit 1
fi
if ! command -v node >/dev/null; then
  echo "break-wsl.sh: Linux has no node here, so there is nothing that could win again: run packages.sh first" >&2
  exit 1
fi

# The folders of Windows that have one of the three, in the order of PATH.
windows=
IFS=:
for folder in $PATH; do
  case $folder in
    /mnt/*) ;;
    *) continue ;;
  esac
  for program in npm node.exe claude claude.exe; do
    if [ -e "$folder/$program" ]; then
      windows=$windows$folder:
      break
    fi
  done
done
unset IFS
if [ -z "$windows" ]; then
  echo "break-wsl.sh: Windows has no npm, node or claude on PATH here: install Node.js on Windows first" >&2
  exit 1
fi

# What somebody writes who wants Windows' npm "to work in WSL too", at the end, where it undoes what stands above.
for file in .profile .bashrc; do
  if ! grep -qF "$mark" "$HOME/$file" 2>/dev/null; then
    # shellcheck disable=SC2016 # the user's shell is to expand it
    printf '\nexport PATH="%s$PATH" %s\n' "$windows" "$mark" >>"$HOME/$file"
  fi
done

echo "This WSL is sick now: wsl-path has something to mend."
