"""The real Claude Code: installed by npm once npm-prefix has been there, and broken and mended by reset-config.

It is installed from tarballs, without a network, by an ordinary user into their own home directory.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real import fetch
from real.world import CACHE, UID, Outcome, World, node_and_npm, world

from ccremedy.testing import snapshot

pytestmark = [pytest.mark.cell("npm-prefix", "linux", "real"), pytest.mark.cell("reset-config", "linux", "real")]

QUIET = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
CUT_SHORT = '{"numStartups": 7, "projects": {"/home/dev/shop": {"has'
MESSAGE = "is corrupted"


@pytest.fixture(scope="module")
def installed() -> Iterator[World]:
    """A machine on which npm answered EACCES, was mended, and has installed Claude Code."""
    tarballs = fetch.needed("claude")
    with world(env=QUIET) as made:
        made.write("/home/dev/.profile", 'if [ -n "$BASH_VERSION" ]; then . "$HOME/.bashrc"; fi\n')
        made.write("/home/dev/.bashrc", "case $- in *i*) ;; *) return;; esac\n")
        node_and_npm(made, "22.23.3", "10.9.2")
        wrapper, program = (f"{CACHE}/{each.name}" for each in tarballs)
        install = "npm install -g --offline --no-audit --no-fund"
        refused = made.shell("bash -lc", f"{install} {wrapper}")
        assert "EACCES" in refused.both
        mended = made.ccremedy("apply", "npm-prefix", "--yes")
        assert mended.code == 0, mended.both
        done = made.shell("bash -lc", f"{install} {wrapper} {program}", timeout=240)
        assert done.code == 0, done.both
        yield made


@pytest.fixture
def machine(installed: World) -> Iterator[World]:
    """The same, as if Claude Code had never been started."""
    yield installed
    home = installed.real(installed.home)
    for path in [*home.glob(".claude*"), home / ".local"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def claude(made: World, words: str, start: str = "bash -lc", **more: str) -> Outcome:
    return made.shell(start, f"timeout 240 claude {words}", env=more)


def configuration(made: World) -> dict[str, tuple[Any, ...]]:
    """What is Claude Code's own in the home directory, by name."""
    home = made.real(made.home)
    found = {path.name: path.read_bytes() for path in home.glob(".claude*") if path.is_file()}
    folders = {f"{path.name}/{name}": entry for path in home.glob(".claude*") if path.is_dir()
               for name, entry in snapshot(str(path)).items()}  # fmt: skip
    return {name: (data,) for name, data in found.items()} | folders


STARTS = ("bash -lc", "bash -ic", "bash -lic", "zsh -lc", "zsh -ic", "zsh -lic", "fish -lc", "fish -ic", "sh -lc")


@pytest.mark.parametrize("start", STARTS)
def test_claude_answers_from_a_new(start: str, machine: World) -> None:
    done = claude(machine, "--version", start)
    assert done.out == f"{fetch.CLAUDE} (Claude Code)\n", done.both


def test_npm_prefix_finds_nothing_more(machine: World) -> None:
    path = machine.shell("bash -lc", 'printf %s "$PATH"').out
    done = machine.ccremedy("diagnose", "npm-prefix", PATH=path)
    assert done.code == 0, done.both


# ---- reset-config


@pytest.mark.parametrize("words", ["doctor", "-p hi"])
def test_a_state_file_that_was_cut_short(machine: World, words: str) -> None:
    state = machine.real("/home/dev/.claude.json")
    machine.write("/home/dev/.claude.json", CUT_SHORT, 0o600)
    sick = claude(machine, words, ANTHROPIC_API_KEY="dummy")
    assert sick.code == 1
    assert MESSAGE in sick.both
    before = configuration(machine)

    found = machine.ccremedy("diagnose", "reset-config", "--json")
    assert found.code == 1
    (finding,) = found.json["findings"]
    assert finding["id"] == "broken-files"
    assert [Path(each["resource"]).name for each in finding["changes"]] == [".claude.json"]
    assert machine.ccremedy("apply", "reset-config", "--dry-run").code == 0
    assert configuration(machine) == before

    done = machine.ccremedy("apply", "reset-config", "--yes")
    assert done.code == 0, done.both
    assert not state.exists()
    again = machine.ccremedy("apply", "reset-config", "--yes")
    assert again.code == 0, again.both
    assert machine.ccremedy("undo", "--yes").code == 0
    assert configuration(machine) == before

    assert machine.ccremedy("apply", "reset-config", "--yes").code == 0
    well = claude(machine, "doctor", ANTHROPIC_API_KEY="dummy")
    assert well.code == 0, well.both
    assert MESSAGE not in well.both
    assert json.loads(state.read_text())  # it has made a new one
    newer = state.read_bytes()

    undone = machine.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    assert state.read_text() == CUT_SHORT
    assert state.stat().st_mode & 0o777 == 0o600
    kept = [path for path in machine.real("/home/dev").glob(".claude.json.*") if path.read_bytes() == newer]
    assert len(kept) == 1
    assert kept[0].name in undone.both, undone.both
    assert MESSAGE in claude(machine, words, ANTHROPIC_API_KEY="dummy").both


def test_only_the_broken_file_goes_and_the_transcripts_stay(machine: World) -> None:
    machine.write("/home/dev/.claude.json", "", 0o600)
    machine.write("/home/dev/.claude/projects/-x/1.jsonl", '{"type":"user"}\n')
    machine.write("/home/dev/.claude/CLAUDE.md", "# mine\n")
    machine.write("/home/dev/.claude/settings.json", '{"permissions": {', 0o600)
    before = configuration(machine)
    done = machine.ccremedy("apply", "reset-config", "--yes")
    assert done.code == 0, done.both
    after = configuration(machine)
    for name in (".claude/projects/-x/1.jsonl", ".claude/CLAUDE.md"):
        assert after[name] == before[name]
    assert {".claude.json", ".claude/settings.json"} & after.keys() == set()
    well = claude(machine, "doctor")
    assert "did not load" not in well.both
    assert "nvalid settings" not in well.both, well.both
    assert machine.ccremedy("undo", "--yes").code == 0
    assert all(configuration(machine)[name] == entry for name, entry in before.items())


def test_what_claude_has_made_itself_is_sound(machine: World) -> None:
    assert claude(machine, "doctor").code == 0
    assert machine.real("/home/dev/.claude.json").exists()
    before = configuration(machine)
    done = machine.ccremedy("apply", "reset-config", "--yes", "--verbose")
    assert done.code == 0, done.both
    assert "--full" in done.both
    assert configuration(machine) == before


def test_a_full_reset_and_its_undo(machine: World) -> None:
    assert claude(machine, "doctor").code == 0
    machine.write("/home/dev/.claude/projects/-x/1.jsonl", '{"type":"user"}\n')
    before = configuration(machine)
    done = machine.ccremedy("apply", "reset-config", "--full", "--yes")
    assert done.code == 0, done.both
    home = machine.real("/home/dev")
    assert not (home / ".claude").exists()
    assert not (home / ".claude.json").exists()
    assert claude(machine, "doctor").code == 0
    undone = machine.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    after = configuration(machine)
    assert {name: after.get(name) for name in before} == before


# ---- a live session


def register(made: World, pid: int, started: str) -> None:
    """What a session writes about itself when its prompt is up."""
    record = {"pid": pid, "sessionId": "0b3c", "cwd": "/home/dev/shop", "procStart": started, "version": fetch.CLAUDE,
              "kind": "interactive", "status": "busy"}  # fmt: skip
    made.write(f"/home/dev/.claude/sessions/{pid}.json", json.dumps(record), 0o600)


def start_of(made: World, pid: int) -> str:
    return made.real(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


@pytest.fixture
def process(machine: World) -> Iterator[int]:
    """Some process of the user's."""
    pid = int(machine.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).out)
    yield pid
    machine.run(["sh", "-c", f"kill {pid}"])


def test_a_registered_session_keeps_its_files(machine: World, process: int) -> None:
    machine.write("/home/dev/.claude.json", CUT_SHORT)
    register(machine, process, start_of(machine, process))
    before = configuration(machine)
    done = machine.ccremedy("apply", "reset-config", "--yes")
    assert done.code == 6, done.both
    assert str(process) in done.both
    assert "busy" in done.both
    assert configuration(machine) == before


@pytest.mark.parametrize("stale", ["another process has its pid now", "its process is dead"])
def test_the_entry_of_a_killed_session_stops_nothing(machine: World, process: int, stale: str) -> None:
    machine.write("/home/dev/.claude.json", CUT_SHORT)
    if stale == "its process is dead":
        register(machine, 4_000_000, "1")
    else:
        register(machine, process, str(int(start_of(machine, process)) - 1))
    done = machine.ccremedy("apply", "reset-config", "--yes")
    assert done.code == 0, done.both
    assert not machine.real("/home/dev/.claude.json").exists()


@pytest.mark.parametrize("register_is_lost", [False, True], ids=["with its entry", "without an entry"])
def test_a_real_session_keeps_its_files(machine: World, register_is_lost: bool) -> None:
    key = "sk-ant-" + "x" * 40
    state = {"hasCompletedOnboarding": True, "theme": "dark", "customApiKeyResponses": {"approved": [key[-20:]]},
             "projects": {"/home/dev": {"hasTrustDialogAccepted": True}}}  # fmt: skip
    machine.write("/home/dev/.claude.json", json.dumps(state), 0o600)
    if machine.run(["sh", "-c", "command -v tmux"]).code:
        pytest.skip("needs tmux, for the session's terminal")
    more = {"ANTHROPIC_API_KEY": key, "SHELL": "/bin/sh"}
    tmux = machine.run(["tmux", "-L", "real", "new-session", "-d", "-x", "120", "-y", "40",
                        "/home/dev/.npm-global/bin/claude"], env=more)  # fmt: skip
    assert tmux.code == 0, tmux.both
    try:
        record = _wait_for_entry(machine)
        if register_is_lost:  # as for versions that keep no register
            record.unlink()
        machine.write("/home/dev/.claude/settings.json", "{", 0o600)
        done = machine.ccremedy("apply", "reset-config", "--yes")
        assert done.code == 6, done.both
        assert record.stem in done.both
        assert machine.real("/home/dev/.claude/settings.json").read_text() == "{"
    finally:
        machine.run(["tmux", "-L", "real", "kill-server"])
    deadline = time.monotonic() + 120
    while (done := machine.ccremedy("apply", "reset-config", "--yes")).code == 6 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert done.code == 0, done.both
    assert not machine.real("/home/dev/.claude/settings.json").exists()


def _wait_for_entry(made: World) -> Path:
    """Its prompt is up after some 20 seconds without a network."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for record in made.real("/home/dev/.claude/sessions").glob("*.json"):
            with contextlib.suppress(FileNotFoundError, ValueError):  # or it is just being written
                if json.loads(record.read_text()).get("procStart"):
                    assert record.stat().st_uid == UID
                    return record
        time.sleep(0.3)
    screen = made.run(["tmux", "-L", "real", "capture-pane", "-p", "-t", "0"])
    raise AssertionError(f"no session after 240 seconds:\n{screen.both}")
