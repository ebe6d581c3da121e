"""Real Claude Code sessions beside each other, one of them without its terminal: exactly that one is ended.

Two run in tmux, one with -p, one in the background with all that belongs to it, one serves MCP; and one has lost the
terminal that it was started in and the program that started it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real import fetch
from real.world import CACHE, Outcome, World, node_and_npm, world

pytestmark = pytest.mark.cell("duplicate-sessions", "linux", "real")

QUIET = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
KEY = "sk-ant-" + "x" * 40
CLAUDE = "/home/dev/.npm-global/bin/claude"
STATE = {
    "hasCompletedOnboarding": True,
    "theme": "dark",
    "customApiKeyResponses": {"approved": [KEY[-20:]]},
    "projects": {f"/home/dev/{name}": {"hasTrustDialogAccepted": True} for name in ("one", "two", "lost", "more")},
}
# It gives its child a terminal that controls nobody, and ends. Another child reads what is written there, for ever.
LOSE = """
import os, subprocess, sys
master, terminal = os.openpty()
if os.fork():
    os.setsid()
    subprocess.Popen(sys.argv[1:], stdin=terminal, stdout=terminal, stderr=terminal)
else:
    os.setsid()
    for name in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), name)
    while os.read(master, 65536):
        pass
"""
NODES = ("node_modules", "@anthropic-ai", "claude-code", "bin")


@pytest.fixture(scope="module")
def installed() -> Iterator[World]:
    tarballs = fetch.needed("claude")
    with world(env=QUIET | {"ANTHROPIC_API_KEY": KEY, "SHELL": "/bin/sh"}) as made:
        if made.run(["sh", "-c", "command -v tmux"]).code:
            pytest.skip("needs tmux, for the terminals of the sessions")
        node_and_npm(made, "22.23.3", "10.9.2")
        where = ["--prefix", "/home/dev/.npm-global", *(f"{CACHE}/{each.name}" for each in tarballs)]
        done = made.run(["npm", "install", "-g", "--offline", "--no-audit", "--no-fund", *where], timeout=240)
        assert done.code == 0, done.both
        made.write("/home/dev/.claude.json", json.dumps(STATE), 0o600)
        for name in ("one", "two", "lost", "more"):
            assert made.run(["mkdir", f"/home/dev/{name}"]).code == 0
        yield made


@pytest.fixture(scope="module")
def machine(installed: World) -> World:
    """With three sessions on terminals, one of which is lost, and what else Claude Code runs as."""
    made = installed
    for name in ("one", "two"):
        place = ["-s", name, "-c", f"/home/dev/{name}", "-x", "120", "-y", "40"]
        assert made.run(["tmux", "new-session", "-d", *place, CLAUDE]).code == 0
    started = made.run([made.python, "-c", LOSE, CLAUDE], env={"PWD": "/home/dev/lost"})
    assert started.code == 0, started.both
    for words in ("-p --input-format stream-json --output-format stream-json --verbose", "mcp serve"):
        made.run(["sh", "-c", f"cd more; (sleep 1000 | {CLAUDE} {words}) </dev/null >/dev/null 2>&1 &"])
    made.run(["sh", "-c", "tail -f ~/.claude.json >/dev/null 2>&1 & exec -a claude sleep 1000 >/dev/null 2>&1 &"])
    wait_for(lambda: {Path(each["cwd"]).name for each in entries(made)} >= {"one", "two", "lost", "more"}, made)
    background = made.run(["sh", "-c", f"cd more && timeout 240 {CLAUDE} --bg hello </dev/null"])
    assert background.code == 0, background.both
    wait_for(lambda: "bg" in {each["kind"] for each in entries(made)}, made)
    wait_for(lambda: {each.get("status", "idle") for each in entries(made)} == {"idle"}, made)
    return made


def entries(made: World) -> list[dict[str, Any]]:
    found = []
    for path in made.real("/home/dev/.claude/sessions").glob("*.json"):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):  # it is being written, or its session ends
            continue
    return found


def pid_in(made: World, folder: str) -> int:
    (pid,) = [each["pid"] for each in entries(made) if each["cwd"] == f"/home/dev/{folder}"]
    return int(pid)


def wait_for(true: Any, made: World, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{entries(made)}\n{processes(made)}"
        time.sleep(0.3)


def shows(made: World, text: str) -> bool:
    """Whether it is on the screen of the session “one”, wherever that has broken the line."""
    screen = made.run(["tmux", "capture-pane", "-p", "-t", "one"]).out
    return "".join(text.split()) in "".join(screen.split())


def processes(made: World) -> dict[int, str]:
    """The command lines of all that runs in this machine."""
    done = made.run(["ps", "-eo", "pid=,stat=,args=", "--no-headers"], root=True)
    rows = [line.split(None, 2) for line in done.out.splitlines()]
    return {int(pid): arguments for pid, state, arguments in rows if state[0] != "Z" and "ps -eo" not in arguments}


def apply(made: World, *words: str) -> Outcome:
    return made.ccremedy("apply", "duplicate-sessions", "--yes", "--max-risk", "high", *words)


def test_inside_of_a_session_it_refuses(machine: World) -> None:
    lost = pid_in(machine, "lost")
    command = f"PYTHONPATH=/opt/clone {machine.python} -m ccremedy apply duplicate-sessions --yes --max-risk high"
    line = f"{command} >/home/dev/said 2>&1; echo $? >/home/dev/code"
    wait_for(lambda: shows(machine, "❯"), machine)
    for keys, shown in (("!", "! for shell mode"), (line, line)):
        assert machine.run(["tmux", "send-keys", "-t", "one", keys]).code == 0
        wait_for(lambda shown=shown: shows(machine, shown), machine)
    assert machine.run(["tmux", "send-keys", "-t", "one", "Enter"]).code == 0
    code = machine.real("/home/dev/code")
    wait_for(lambda: code.exists() and code.read_text(), machine)
    said = machine.real("/home/dev/said").read_text()
    assert code.read_text() == "6\n", said
    assert f"ccremedy runs inside of session {pid_in(machine, 'one')}" in said
    assert lost in processes(machine)


def test_exactly_the_orphan_ends(machine: World) -> None:
    lost, before = pid_in(machine, "lost"), processes(machine)
    (conversation,) = [each["sessionId"] for each in entries(machine) if each["pid"] == lost]
    found = machine.ccremedy("diagnose", "duplicate-sessions", "--json")
    assert found.code == 1, found.both
    (finding,) = found.json["findings"]
    assert (finding["id"], finding["risk"]) == ("orphan", "high")
    assert finding["title"].startswith(f"session {lost} ")
    assert processes(machine).keys() >= before.keys()

    unsaid = machine.ccremedy("apply", "duplicate-sessions", "--yes")
    assert unsaid.code == 5, unsaid.both
    done = apply(machine)
    assert done.code == 0, done.both
    assert before.keys() - processes(machine).keys() == {lost}, done.both
    assert not machine.real(f"/home/dev/.claude/sessions/{lost}.json").exists(), "it has tidied up after itself"

    again = apply(machine)
    assert again.code == 0, again.both
    undone = machine.ccremedy("undo", "--yes")
    assert f"cd /home/dev/lost && claude --resume {conversation}" in undone.both
    assert before.keys() - processes(machine).keys() == {lost}


def test_a_session_that_is_named_ends(machine: World) -> None:
    named, before = pid_in(machine, "two"), processes(machine)
    done = apply(machine, "--session", str(named))
    assert done.code == 0, done.both
    gone = before.keys() - processes(machine).keys()
    assert {before[pid] for pid in gone if "claude" in before[pid]} <= {CLAUDE, f"sh -c {CLAUDE}"}
    assert named in gone


def test_a_background_session_that_is_named_is_left_to_its_supervisor(machine: World) -> None:
    (worker,) = [each["pid"] for each in entries(machine) if each["kind"] == "bg"]
    refused = apply(machine, "--session", str(worker))
    assert refused.code == 6, refused.both
    assert "claude stop" in refused.both
    assert worker in processes(machine)


def test_what_does_not_end_when_asked_is_killed_only_with_kill(machine: World) -> None:
    program = machine.run(
        ["sh", "-c", f"mkdir -p fake/{'/'.join(NODES)} && cp /bin/bash fake/{'/'.join(NODES)}/claude"]
    )
    assert program.code == 0, program.both
    deaf = "trap '' TERM; while :; do sleep 0.2; done"
    machine.run([machine.python, "-c", LOSE, f"/home/dev/fake/{'/'.join(NODES)}/claude", "-c", deaf])
    (pid,) = [pid for pid, arguments in processes(machine).items() if "trap" in arguments and "python" not in arguments]

    asked = apply(machine)
    assert asked.code == 1, asked.both
    assert "did not end within 10 seconds" in asked.both
    assert "--kill" in asked.both
    assert pid in processes(machine)
    killed = apply(machine, "--kill")
    assert killed.code == 0, killed.both
    assert pid not in processes(machine)
