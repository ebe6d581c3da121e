#!/bin/sh
# Make the user who runs this meet what ccremedy mends: npm cannot install global packages, and Claude Code's state file
# is cut short. Needs npm, and no root. It refuses where there are files of Claude Code's that it has not made itself.
set -eu

state=$HOME/.claude.json
folder=$HOME/.claude
cut_short='{"hasCompletedOnboarding": true, "projects": {"'$HOME'/work": {"hasTrustDialogAcc'

if [ "$(id -u)" = 0 ]; then
  echo "break.sh: run this as the user who is to meet it, not as root: root may write everywhere" >&2
  exit 1
fi
if [ -e "$state" ] && [ "$(cat "$state")" != "$cut_short" ] || { [ -e "$folder" ] && [ ! -e "$folder/made-by-break-sh" ]; }; then
  echo "break.sh: there is a Claude Code of your own here ($folder, $state), which I leave alone" >&2
  exit 1
fi

# npm: Debian's and Ubuntu's packages install into a folder of root's, so there is nothing to break; unless it was
# mended. Homebrew's folder is the user's own, and macOS keeps /usr to itself; /Library is root's on every Mac.
locked=/usr
if [ "$(uname)" = Darwin ]; then locked=/Library; fi
prefix=$(npm config get prefix --location=user)
modules=$prefix/lib/node_modules
while [ ! -e "$modules" ]; do modules=$(dirname "$modules"); done
if [ -w "$modules" ]; then
  npm config set prefix "$locked" --location=user
fi

# Claude Code: what a crash in the middle of a write leaves behind, beside things that must not get lost.
umask 077
mkdir -p "$folder/projects/-work"
: >"$folder/made-by-break-sh"
printf '%s' "$cut_short" >"$state"
printf '{}\n' >"$folder/settings.json"
printf '{"type":"user","message":"do not lose me"}\n' >"$folder/projects/-work/1.jsonl"
printf '# What I have told Claude Code about my work\n' >"$folder/CLAUDE.md"

echo "This machine is sick now: npm-prefix and reset-config have something to mend."
echo "wsl-path has not: that needs a WSL, whose Windows this machine has not got."
