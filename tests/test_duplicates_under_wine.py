"""Real sessions of Claude Code on a Windows: exactly the one that is left over ends, and only by being killed.

Two have the same conversation open. Beside them runs what has the name of Claude Code, or of its register, and is not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from real.wine import HOME, PYTHON, Running, Windows, windows

pytestmark = pytest.mark.cell("duplicate-sessions", "windows", "wine")

CLAUDE = rf"{HOME}\.local\bin\claude.exe"
REGISTER = rf"{HOME}\.claude\sessions"
PROJECT = rf"{HOME}\my shop"
ID, OTHER = "5f0e6c1a-7d0b-4c53-9b1e-0a4c5b7d9e01", "5f0e6c1a-7d0b-4c53-9b1e-0a4c5b7d9e02"
WORDS = ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--session-id"]
ENV = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_API_KEY": "sk-ant-" + "q" * 40,
    "DISABLE_AUTOUPDATER": "1",
}
STARTED = r"""
import sys
sys.path[:0] = ["C:\\clone"] * ("C:\\clone" not in sys.path)
from ccremedy import processes
result = processes.started(pid)
"""
KILL = ("--kill", "--yes", "--max-risk", "high")


@dataclass
class Scene:
    machine: Windows
    first: Running
    second: Running
    other: Running
    look_alikes: dict[str, Running]

    def alive(self) -> set[str]:
        parts = {"first": self.first, "second": self.second, "other": self.other, **self.look_alikes}
        return {name for name, each in parts.items() if each.look()[0] is None}

    def found(self, *words: str) -> list[Any]:
        found: list[Any] = self.machine.ccremedy("diagnose", "duplicate-sessions", "--json", *words).json["findings"]
        return found


def started(machine: Windows, conversation: str, cwd: str = PROJECT) -> Running:
    """Wine has no console in which it would come up; so what it says of that is put right in the register."""
    session = machine.start([CLAUDE, *WORDS, conversation], env=ENV, cwd=cwd, listens=True)
    told = machine.session(session.pid)
    assert (told["pid"], told["sessionId"], told["cwd"], told["kind"]) == (
        session.pid,
        conversation,
        cwd,
        "interactive",
    )
    machine.put(rf"{REGISTER}\{session.pid}.json", json.dumps(told | {"entrypoint": "cli"}))
    return session


def look_alike(machine: Windows, folder: str) -> Running:
    """Python, under the name of Claude Code."""
    place = machine.put(rf"{folder}\claude.exe", "")
    for name in ("python.exe", "python311.dll", "vcruntime140.dll", "python311.zip"):
        shutil.copy(machine.real(PYTHON).with_name(name), place if name == "python.exe" else place.with_name(name))
    code = "import time; print('up', flush=True); time.sleep(600)"
    found = machine.start([rf"{folder}\claude.exe", "-I", "-c", code])
    found.until("up")
    return found


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with windows("claude") as machine:
        machine.real(PROJECT).mkdir()
        first, second, other = started(machine, ID), started(machine, ID), started(machine, OTHER, HOME)
        folders = {
            "elsewhere": r"C:\tools",
            "the desktop application": rf"{HOME}\AppData\Local\AnthropicClaude\app-1.0.0",
            "of an earlier session's number": r"C:\more tools",
            "a lying entry": r"C:\lies",
        }
        look_alikes = {name: look_alike(machine, folder) for name, folder in folders.items()}
        told = machine.session(other.pid)
        for name, start in (("of an earlier session's number", told["procStart"]), ("a lying entry", "")):
            pid = look_alikes[name].pid
            start = start or machine.steps(STARTED, pid=pid)
            lie = told | {"pid": pid, "procStart": start, "sessionId": ID}
            machine.put(rf"{REGISTER}\{pid}.json", json.dumps(lie))
        yield Scene(machine, first, second, other, look_alikes)


def test_what_claude_code_writes_is_the_start_that_we_see(scene: Scene) -> None:
    for each in (scene.first, scene.second, scene.other):
        assert scene.machine.session(each.pid)["procStart"] == scene.machine.steps(STARTED, pid=each.pid)


def test_the_second_of_one_conversation_is_found_and_no_other(scene: Scene) -> None:
    (found,) = scene.found()
    assert found["id"] == "duplicate"
    assert found["title"] == (f"session {scene.first.pid} has the same conversation open as process {scene.second.pid}")
    assert "terminal: unknown" in found["evidence"][2]


def test_what_it_takes_to_end_it_is_said_before(scene: Scene) -> None:
    before = scene.alive()
    done = scene.machine.ccremedy("apply", "duplicate-sessions", "--yes", "--max-risk", "high")
    assert done.code == 6
    command = f"ccremedy apply duplicate-sessions --session {scene.first.pid} --kill"
    assert f"cannot be asked to end, because Windows knows no asking. To kill it: {command}" in done.both
    assert scene.alive() == before


@pytest.mark.parametrize("name", ["elsewhere", "the desktop application", "of an earlier session's number"])
def test_what_has_only_the_name_is_no_session(name: str, scene: Scene) -> None:
    pid = scene.look_alikes[name].pid
    done = scene.machine.ccremedy("apply", "duplicate-sessions", "--session", str(pid), *KILL)
    assert done.code == 0
    assert f"process {pid} is no session that runs here" in done.both
    assert name in scene.alive()


def test_what_only_the_register_calls_a_session_is_not_stopped(scene: Scene) -> None:
    pid = scene.look_alikes["a lying entry"].pid
    done = scene.machine.ccremedy("apply", "duplicate-sessions", "--session", str(pid), *KILL)
    assert done.code == 6
    assert "by the register alone, not by its program" in done.both
    assert "a lying entry" in scene.alive()


def test_exactly_that_one_is_killed_and_undo_says_how_to_go_on(scene: Scene) -> None:
    before, machine = scene.alive(), scene.machine
    asked = machine.ccremedy("apply", "duplicate-sessions", "--kill", "--yes")
    assert asked.code == 5, "it needs a yes of its own"
    done = machine.ccremedy("apply", "duplicate-sessions", *KILL)
    assert done.code == 0, done.both
    assert "It is killed: what it is doing at that moment is lost" in done.both
    assert scene.alive() == before - {"first"}
    assert machine.real(rf"{REGISTER}\{scene.first.pid}.json").exists()  # as after any other sudden end
    assert not scene.found()
    undone = machine.ccremedy("undo", "--yes")
    assert f'pushd "{PROJECT}", and then: claude --resume {ID}' in undone.both
    machine.put(r"C:\typed.cmd", f'@pushd "{PROJECT}"\r\n@cd\r\n')
    assert machine.run(["cmd", "/d", "/c", r"C:\typed.cmd"]).out.strip() == PROJECT


def test_without_psutil_everything_else_is_still_diagnosed(scene: Scene) -> None:
    """A clone brings no packages."""
    machine = scene.machine
    machine.put(r"C:\without\psutil.py", "raise ImportError('there is none')")
    path = {"PYTHONPATH": r"C:\without;C:\clone"}
    one = machine.ccremedy("diagnose", "duplicate-sessions", env=path)
    assert one.code == 3
    assert "pip install psutil" in one.both
    machine.put(rf"{HOME}\.claude\settings.json", "{")
    others = machine.ccremedy("diagnose", "reset-config", "key-storage", "--json", env=path)
    assert others.code == 1
    assert not others.json["failed"]
    refused = {each["refused"] for finding in others.json["findings"] for each in finding["changes"]}
    assert any("may be owned by a live Claude session: psutil is needed" in each for each in refused)
    machine.real(rf"{HOME}\.claude\settings.json").unlink()
    assert machine.ccremedy("diagnose", env=path).code in (1, 3)
