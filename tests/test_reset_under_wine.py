"""Resetting Claude Code's configuration on a Windows, where a file that a program holds open cannot be moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real.wine import HOME, PYTHON, Windows, windows

pytestmark = pytest.mark.cell("reset-config", "windows", "wine")

CLAUDE = rf"{HOME}\.local\bin\claude.exe"
STATE, FOLDER = rf"{HOME}\.claude.json", rf"{HOME}\.claude"
HOLD = "import sys, time; held = open(sys.argv[1], 'r+b'); print('held', flush=True); time.sleep(600)"


@pytest.fixture
def machine() -> Iterator[Windows]:
    with windows() as made:
        made.put(STATE, '{"projects": {')
        made.put(rf"{FOLDER}\settings.json", '{"model": "opus"}\r\n')
        made.put(rf"{FOLDER}\projects\shop\1.jsonl", "{}\n")
        yield made


def test_a_broken_state_file_goes_aside_and_comes_back(machine: Windows) -> None:
    before = machine.tree()
    done = machine.ccremedy("apply", "reset-config", "--yes")
    assert done.code == 0, done.both
    assert not machine.real(STATE).exists()
    assert machine.real(f"{STATE}.ccremedy-1").read_bytes() == b'{"projects": {'
    assert machine.ccremedy("diagnose", "reset-config").code == 0
    assert machine.ccremedy("undo", "--yes").code == 0
    after = machine.tree()
    assert {name: after[name] for name in before} == before


def test_everything_goes_by_one_rename_and_what_came_since_is_merged(machine: Windows) -> None:
    done = machine.ccremedy("apply", "reset-config", "--full", "--yes")
    assert done.code == 0, done.both
    assert not machine.real(FOLDER).exists()
    machine.put(rf"{FOLDER}\history.jsonl", "later\n")
    assert machine.ccremedy("undo", "--yes").code == 0
    assert machine.real(rf"{FOLDER}\projects\shop\1.jsonl").read_text() == "{}\n"
    assert machine.real(rf"{FOLDER}\history.jsonl").read_text() == "later\n"


def test_what_another_program_holds_open_stays_and_nothing_is_half_done(machine: Windows) -> None:
    """Of a folder with an open file in it Wine lets go, which Windows does not: see test_windows_reset.py."""
    holder = machine.start([PYTHON, "-c", HOLD, STATE])
    holder.until("held")
    before = {name: entry for name, entry in machine.tree().items() if ".claude" in name}
    done = machine.ccremedy("apply", "reset-config", "--full", "--yes")
    assert done.code == 6, done.both
    assert f"because it goes together with {STATE}, which is held open by another program" in done.both
    assert f'move "{STATE}" "{STATE}.ccremedy-1"' in done.both
    assert {name: entry for name, entry in machine.tree().items() if ".claude" in name} == before
    holder.end()
    assert machine.ccremedy("apply", "reset-config", "--full", "--yes").code == 0


def test_what_is_done_by_hand_is_what_cmd_does(machine: Windows) -> None:
    machine.put(r"C:\typed.cmd", f'@move "{STATE}" "{STATE}.ccremedy-1"\r\n@move "{FOLDER}" "{FOLDER}.ccremedy-1"\r\n')
    assert machine.run(["cmd", "/d", "/c", r"C:\typed.cmd"]).code == 0
    assert machine.real(f"{STATE}.ccremedy-1").exists()
    assert machine.real(rf"{FOLDER}.ccremedy-1\projects").exists()


def test_a_live_session_keeps_its_files() -> None:
    with windows("claude") as machine:
        words = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        env = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "sk-ant-x", "DISABLE_AUTOUPDATER": "1"}
        session = machine.start([CLAUDE, *words], env=env, listens=True)
        assert machine.session(session.pid)["pid"] == session.pid
        machine.put(rf"{FOLDER}\settings.json", "{")
        done = machine.ccremedy("apply", "reset-config", "--yes")
        assert done.code == 6
        assert f"because it is owned by a live Claude session: session {session.pid}" in done.both
        assert machine.real(rf"{FOLDER}\settings.json").exists()
        session.end()
        assert machine.ccremedy("apply", "reset-config", "--yes").code == 0
        assert not machine.real(rf"{FOLDER}\settings.json").exists()
