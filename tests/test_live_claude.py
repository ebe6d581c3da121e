"""Beside the real Claude Code, while it writes ~/.claude.json: none of its updates is lost, and none of ours.

tests/test_live_writer.py does so thousands of times with a writer of its own, in every manner; this one holds that
writer to the real thing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real import fetch

from ccremedy.engine import Engine
from ccremedy.finding import Finding
from ccremedy.journal import Journal, find
from ccremedy.machine import Facts, Machine
from ccremedy.registry import adapter
from ccremedy.resources import Change
from ccremedy.resources.texts import Setting

SERVERS = 16
QUIET = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}


@pytest.fixture
def claude(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    yield fetch.unpack_claude(tmp_path / "bin") / "claude"
    shutil.rmtree(tmp_path / "bin")  # 240 MB


def test_nothing_is_lost_beside_the_real_one(claude: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    state = home / ".claude.json"
    state.write_text('{"hasCompletedOnboarding": true, "numStartups": 3}')
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", **QUIET}

    def add_servers() -> list[int]:
        codes = []
        for number in range(SERVERS):
            command = [str(claude), "mcp", "add", "-s", "user", f"s{number}", "--", "/bin/true"]
            codes.append(subprocess.run(command, env=env, cwd=home, capture_output=True, timeout=60).returncode)
        return codes

    facts = Facts("linux", env, "/", str(home))
    machine = Machine(str(home), adapter(facts), facts, {})
    journal = Journal(str(tmp_path / "state"))
    engine = Engine(machine, journal, pause=lambda seconds: None)
    with ThreadPoolExecutor(1) as beside:
        adding = beside.submit(add_servers)
        rounds = _toggle(engine, journal, str(state), lambda: not adding.done())
        assert adding.result() == [0] * SERVERS
    held = json.loads(state.read_text())
    lost = {f"s{number}" for number in range(SERVERS)} - held["mcpServers"].keys()
    with capsys.disabled():
        print(f"\nlive-claude points={rounds} landed={rounds} bad={len(lost)}", end=" ")
    assert not lost
    assert rounds >= SERVERS, "we were not at work while it was"
    assert (held["numStartups"], "ours" in held) == (3, False)
    assert not (home / ".claude.json.lock").exists()


def _toggle(engine: Engine, journal: Journal, path: str, go_on: Callable[[], bool]) -> int:
    """Put a member in and take it out again, as long as there is somebody beside us; how often."""
    rounds = 0
    while go_on():
        with journal.lock(5):
            change = Change(Setting.at(path, "/ours"), "", '"here"')
            result = engine.apply(
                [Finding("live", "", changes=(change,))], journal.begin(2 * rounds + 1, "apply", ""), {}
            )
            assert set(result.outcomes.values()) == {"done"}, result.problems
            undone = engine.undo(find(journal.runs(), 2 * rounds + 1), journal.begin(2 * rounds + 2, "undo", ""), None)
            assert not undone.problems, undone.problems
        rounds += 1
    return rounds
