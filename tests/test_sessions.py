"""Which sessions count as alive: Claude Code's own register, checked against the processes; in doubt, alive.

And what each process is, where every doubt is a reason not to stop it.

The made-up ones are files below a scratch root; the real ones are children of this test, seen through the real /proc.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ccremedy import registry, sessions
from ccremedy.machine import Facts, Machine

CLAUDE = "/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe"
START = "987654"


class World:
    """A scratch root with processes and a register."""

    def __init__(self, top: Path) -> None:
        self.root, self.home = top / "root", top / "root" / "home" / "me"
        self.home.mkdir(parents=True)

    def machine(self, **env: str) -> Machine:
        facts = Facts("linux", {"HOME": str(self.home)} | env, str(self.root), str(self.home))
        return Machine(str(self.home), registry.adapter(facts), facts, {})

    def live(self, **env: str) -> list[sessions.Session]:
        return sessions.live(self.machine(**env))

    def running(self, **env: str) -> dict[int, sessions.Session]:
        return {each.pid: each for each in sessions.running(self.machine(**env))}

    def process(
        self, pid: int, name: str = "bash", start: str = START, arguments: tuple[str, ...] = (),
        program: str = "/bin/bash", env: dict[str, str] | None = None, parent: int = 1, terminal: int = 0,
        state: str = "S", cpu: int = 1,
    ) -> None:  # fmt: skip
        folder = self.root / "proc" / str(pid)
        folder.mkdir(parents=True)
        before = f"{state} {parent} 1 1 {terminal} -1 4194304 1 0 0 0 {cpu // 2} {cpu - cpu // 2} 0 0 20 0 8 0"
        after = "1 1 184467 1 1 0 0 0 0"
        (folder / "stat").write_text(f"{pid} ({name}) {before} {start} {after}\n")
        (folder / "comm").write_text(f"{name}\n")
        (folder / "cmdline").write_text("".join(f"{word}\0" for word in arguments or (name,)))
        env = {"HOME": str(self.home)} if env is None else env
        (folder / "environ").write_text("".join(f"{key}={value}\0" for key, value in env.items()))
        (folder / "exe").symlink_to(program)
        (folder / "cwd").symlink_to("/there")

    def register(self, name: str, text: str, folder: str = ".claude") -> None:
        place = self.home / folder / "sessions" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def entry(**facts: object) -> str:
    return json.dumps({"pid": 42, "cwd": "/shop", "procStart": START, "status": "idle"} | facts)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---- the register


def test_a_registered_session_is_alive(world: World) -> None:
    world.process(42, "claude")
    world.register("42.json", entry())
    assert [str(each) for each in world.live()] == ["session 42 (idle, in /shop)"]


@pytest.mark.parametrize("start", ["987655", "1", "9876540"])
def test_a_process_that_was_started_at_another_time_is_another_one(start: str, world: World) -> None:
    world.process(42, "bash", start=start)
    world.register("42.json", entry())
    assert world.live() == []


def test_a_process_that_is_gone_is_no_session(world: World) -> None:
    world.process(43)
    world.register("42.json", entry())
    assert world.live() == []


def test_a_name_with_blanks_and_brackets_does_not_hide_the_start_time(world: World) -> None:
    world.process(42, ") S 1 (claude) 7 ")
    world.register("42.json", entry())
    assert [each.pid for each in world.live()] == [42]


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"x"', "7", "{}", "\0", '{"procStart": null}', '{"procStart": ""}', "[" * 100_000],
    ids=[
        "empty", "cut short", "null", "a list", "a text", "a number", "no facts", "NUL", "null start",
        "no start", "deep",
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_read_counts_as_alive(text: str, world: World) -> None:
    world.process(42, "claude", program=CLAUDE, env={"HOME": "/elsewhere"})
    assert world.live() == [], "the process alone does not make it one"
    world.register("42.json", text)
    assert [each.pid for each in world.live()] == [42]


def test_a_directory_in_place_of_an_entry_counts_as_alive(world: World) -> None:
    world.process(42)
    (world.home / ".claude" / "sessions" / "42.json").mkdir(parents=True)
    assert [each.pid for each in world.live()] == [42]


@pytest.mark.parametrize(
    "name", ["42.key", "42", "x.json", "-42.json", "42.json.bak", "²42.json", "42.5.json", ".json"]
)
def test_other_files_in_the_register_are_no_sessions(name: str, world: World) -> None:
    world.process(42)
    world.register(name, entry())
    assert world.live() == []


def test_the_start_time_may_be_a_number(world: World) -> None:
    world.process(42)
    world.register("42.json", entry(procStart=int(START)))
    assert [each.pid for each in world.live()] == [42]


def test_the_register_is_that_of_the_configured_folder(world: World) -> None:
    world.process(42)
    world.register("42.json", entry(), "cfg")
    assert world.live() == []
    assert [each.pid for each in world.live(CLAUDE_CONFIG_DIR=str(world.home / "cfg"))] == [42]


def test_sessions_come_in_the_order_of_their_numbers(world: World) -> None:
    for pid in (100, 9, 20):
        world.process(pid)
        world.register(f"{pid}.json", entry(status="busy"))
    assert [each.pid for each in world.live()] == [9, 20, 100]


def test_without_a_proc_there_are_none(world: World) -> None:
    world.register("42.json", entry())
    assert world.live() == []


# ---- processes outside of the register


@pytest.mark.parametrize(
    ("facts", "alive"),
    [
        ({"name": "claude", "program": CLAUDE}, True),
        ({"name": "claude.exe", "program": CLAUDE}, True),
        ({"name": "claude", "program": "{home}/.local/share/claude/versions/2.1.330"}, True),
        ({"name": "2.1.330", "program": "{home}/.local/share/claude/versions/2.1.330"}, True),
        ({"name": "node", "program": "/usr/bin/node", "arguments": ("claude",)}, True),
        ({"name": "claude", "program": "/usr/bin/node", "arguments": ("claude",)}, True),
        ({"name": "claude", "program": CLAUDE, "arguments": ("claude", "--resume")}, True),
        ({"name": "claude", "program": CLAUDE, "arguments": ("claude", "mcp", "serve")}, False),
        ({"name": "claude", "program": "/usr/games/claude-shannon", "arguments": ("/usr/games/claude",)}, False),
        ({"name": "node", "program": "/usr/bin/node", "arguments": ("node", "server.js")}, False),
        ({"name": "bash", "program": "/bin/bash", "arguments": ("claude",)}, False),
        ({"name": "vim", "program": "/usr/bin/vim", "arguments": ("vim", "claude")}, False),
    ],
    ids=[
        "npm's", "npm's, by its file's name", "the native one", "the native one, named after its version",
        "an old one, in node", "an old one, with a title", "with arguments", "a server for another session",
        "another program of that name", "some server", "a shell that calls itself so", "an editor",
    ],
)  # fmt: skip
def test_what_looks_like_claude_code_counts(facts: dict[str, Any], alive: bool, world: World) -> None:
    facts["program"] = facts["program"].replace("{home}", str(world.home))
    world.process(42, **facts)
    assert [each.pid for each in world.live()] == ([42] if alive else [])


@pytest.mark.parametrize(
    ("env", "alive"),
    [
        ({"HOME": "{home}"}, True),
        ({"HOME": "{home}/"}, True),
        ({"HOME": "/elsewhere"}, False),
        ({"HOME": "/elsewhere", "CLAUDE_CONFIG_DIR": "{home}/.claude"}, True),
        ({"HOME": "{home}", "CLAUDE_CONFIG_DIR": "/elsewhere"}, False),
        ({"HOME": "{home}", "CLAUDE_CONFIG_DIR": ""}, True),
        ({"PATH": "/usr/bin"}, True),
        ({}, True),
        ({"A": "x" * 70_000, "HOME": "{home}"}, True),
    ],
    ids=[
        "our home", "our home, with a slash", "another home", "our folder by its variable", "another folder",
        "an empty variable",
        "no home, so it cannot be told", "not readable, so it cannot be told", "a very large environment",
    ],
)  # fmt: skip
def test_only_what_uses_this_configuration_counts(env: dict[str, str], alive: bool, world: World) -> None:
    world.process(
        42, "claude", program=CLAUDE, env={key: value.replace("{home}", str(world.home)) for key, value in env.items()}
    )
    assert [each.pid for each in world.live()] == ([42] if alive else [])


def test_a_process_of_another_user_is_none_of_ours(world: World, needs: Callable[[str], None]) -> None:
    needs("root")
    world.process(42, "claude", program=CLAUDE)
    assert len(world.live()) == 1
    os.chown(world.root / "proc" / "42", 12345, 12345)
    assert world.live() == []


def test_an_entry_of_ours_counts_whoever_the_process_belongs_to(world: World, needs: Callable[[str], None]) -> None:
    """A session that was started with sudo -u, say, in our folder."""
    needs("root")
    world.process(42, "claude", program=CLAUDE)
    world.register("42.json", entry())
    os.chown(world.root / "proc" / "42", 12345, 12345)
    assert [each.pid for each in world.live()] == [42]


@pytest.mark.parametrize("name", ["stat", "comm", "cmdline", "environ", "exe"])
def test_a_process_that_ends_while_we_look_is_no_trouble(name: str, world: World) -> None:
    world.process(42, "claude", program=CLAUDE)
    (world.root / "proc" / "42" / name).unlink()
    assert [each.pid for each in world.live()] in ([], [42])


# ---- what each process is

NATIVE = "/home/me/.local/share/claude/versions/2.1.330"
EXTENSION = "/home/me/.vscode/extensions/anthropic.claude-code-2.1.330-linux-x64/resources/native-binary/claude"
UUID = "5f0e6c1a-7d0b-4c53-9b1e-0a4c5b7d9e01"


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        ("interactive", {"arguments": ("claude",)}, {}),
        ("interactive", {"arguments": ("claude", "update my notes")}, None),
        ("interactive", {"arguments": ("claude", "update")}, {}),
        ("command", {"arguments": ("claude", "update")}, None),
        ("command", {"arguments": ("rg", "--files")}, None),
        ("command", {"arguments": ("claude", "--chrome-native-host")}, None),
        ("print", {"arguments": ("claude", "-p", "hi")}, None),
        ("print", {"arguments": ("claude", "--model", "x", "--print")}, None),
        ("print", {"arguments": ("claude",)}, {"entrypoint": "sdk-cli"}),
        ("print", {"arguments": ("claude",), "env": {"CLAUDE_CODE_ENTRYPOINT": "claude-desktop"}}, None),
        ("ide", {"program": EXTENSION}, {"entrypoint": "claude-vscode"}),
        ("supervisor", {"arguments": ("claude", "daemon", "run", "--origin", "transient")}, None),
        ("supervisor", {"arguments": ("claude",)}, {"kind": "daemon"}),
        ("pty-host", {"arguments": ("claude", "bg-pty-host", "--bg-pty-host", "/x.sock")}, None),
        ("spare", {"arguments": ("claude", "bg-spare", "--bg-spare", "/x.sock")}, None),
        ("worker", {"arguments": ("claude", "bg-spare", "--bg-spare", "/x.sock")}, {"kind": "bg"}),
        ("worker", {"arguments": ("claude", "--session-id", UUID, "hi"), "parent": 7}, None),
        ("mcp", {"arguments": ("claude", "mcp", "serve")}, None),
        ("mcp", {"arguments": ("claude", "--debug", "mcp", "serve")}, None),
        ("interactive", {"name": "2.1.330", "program": NATIVE, "arguments": ("claude",)}, None),
        ("print", {"program": "/usr/bin/node", "arguments": ("claude", "", "")}, None),
        ("interactive", {"program": "/usr/bin/node", "arguments": ("claude", "", ""), "terminal": 34816}, None),
        ("unknown", {"program": "/opt/Claude/claude", "arguments": ("claude",)}, None),
        ("unknown", {"program": "/usr/bin/vim", "arguments": ("vim",)}, {}),
        ("unknown", {"program": "gone", "arguments": ()}, {}),
    ],
    ids=[
        "a session", "a session with a prompt", "a session whose prompt is a command's name", "an update",
        "the ripgrep inside of it", "a bridge to a browser", "-p", "--print, further on", "-p, by its entry",
        "what Claude Desktop drives", "what an editor drives", "the supervisor", "the supervisor, by its entry",
        "a pty host", "a spare", "a spare that has become a worker", "a worker without an entry",
        "an MCP server", "an MCP server, with an option", "the native one, named after its version",
        "an old one in node without a terminal, which may be anything", "an old one in node, on a terminal",
        "something of Claude Desktop's", "an editor with an entry", "one that has just ended",
    ],
)  # fmt: skip
def test_what_a_process_is(kind: str, facts: dict[str, Any], told: dict[str, Any] | None, world: World) -> None:
    world.process(7, "claude", program=CLAUDE, arguments=("claude", "bg-pty-host", "--bg-pty-host", "/x.sock"))
    world.process(42, **{"name": "claude", "program": CLAUDE, "env": {}} | facts)
    if told is not None:
        world.register("42.json", entry(**told))
    found = world.running()[42]
    assert found.kind == kind
    assert bool(found.obstacle) == (kind == "unknown")


def test_what_the_entry_and_the_process_tell_of_a_session(world: World) -> None:
    (world.root / "proc").mkdir()
    (world.root / "proc" / "uptime").write_text("19876.54 30000.00\n")
    world.process(1, "systemd")
    world.process(42, "claude", program=CLAUDE, terminal=34819, cpu=500_000)
    world.register(
        "42.json",
        entry(sessionId=UUID, version="2.1.330", startedAt=1795200000500, updatedAt=1795300000000, statusUpdatedAt=7),
    )
    found = world.running()[42]
    assert (found.start, found.id, found.version, found.folder) == (START, UUID, "2.1.330", "/shop")
    assert (found.since, found.active, found.status) == (1795200000.5, 1795300000.0, "idle")
    assert (found.terminal, found.parent, found.adopted, found.registered) == ("pts/3", 1, True, True)
    assert found.load == pytest.approx(0.5)


def test_without_an_entry_the_process_tells_what_it_can(world: World) -> None:
    world.process(9, "bash")
    arguments = ("claude", "--resume", UUID)
    world.process(42, "2.1.150", program=NATIVE.replace("330", "150"), parent=9, arguments=arguments)
    found = world.running()[42]
    assert (found.id, found.version, found.folder, found.status) == (UUID, "2.1.150", "/there", "unknown")
    assert (found.since, found.load, found.terminal, found.adopted, found.registered) == (0.0, 0.0, "", False, False)


@pytest.mark.parametrize("status", ["busy", "shell", "waiting", "something new"])
def test_what_is_not_idle_is_busy(status: str, world: World) -> None:
    world.process(42, "claude", program=CLAUDE)
    world.register("42.json", entry(status=status))
    assert world.running()[42].status == "busy"


@pytest.mark.parametrize(
    "text",
    [
        entry(pid=43), entry(pid="42"), entry(pid=None), entry(pid=42.5), entry(procStart=None),
        entry(pidDomain="linux:another:pid:[1]"), entry(pidDomain=7), "{", "", "[]", '{"pid": 42', "x" * 300_000,
        json.dumps({"pid": 42, "procStart": START, "x": "y" * 300_000}),
    ],
    ids=[
        "of another number", "whose number is a text", "without a number", "with half a number",
        "without a start time", "of another machine", "of no machine", "cut short", "empty", "a list", "not closed",
        "huge and no JSON", "huge",
    ],
)  # fmt: skip
def test_an_entry_with_a_claim_that_does_not_hold_is_not_believed(text: str, world: World) -> None:
    world.process(42, "vim", program="/usr/bin/vim")
    world.register("42.json", text)
    found = world.running()[42]
    assert (found.kind, found.registered, found.id, found.folder) == ("unknown", False, "", "/there")
    assert found.obstacle
    assert len(world.live()) == 1, "in doubt it is alive"


@pytest.mark.parametrize(
    "key", ["sessionId", "cwd", "startedAt", "version", "kind", "entrypoint", "status", "updatedAt"]
)
@pytest.mark.parametrize("value", [None, 7, -1, 1e300, True, "", "\0", "../..", "\ud800", [], {"a": 1}, "x" * 1000])
def test_odd_values_in_an_entry_are_no_trouble(key: str, value: object, world: World) -> None:
    world.process(42, "claude", program=CLAUDE)
    world.register("42.json", entry(**{key: value}))
    found = world.running()[42]
    assert found.registered
    assert found.folder in ("/shop", "/there")
    assert found.kind in ("interactive", "print")
    assert found.since >= 0
    assert all("\0" not in each and "\ud800" not in each for each in (found.id, found.version, found.folder))


def test_an_entry_that_is_a_link_is_not_believed(world: World) -> None:
    world.process(42, "claude", program=CLAUDE)
    world.register("elsewhere.json", entry())
    (world.home / ".claude" / "sessions" / "42.json").symlink_to("elsewhere.json")
    assert not world.running()[42].registered


def test_an_entry_that_another_user_has_written_is_not_believed(world: World, needs: Callable[[str], None]) -> None:
    needs("root")
    world.process(42, "claude", program=CLAUDE)
    world.register("42.json", entry())
    assert world.running()[42].registered
    os.chown(world.home / ".claude" / "sessions" / "42.json", 12345, 12345)
    assert not world.running()[42].registered


def test_an_entry_of_this_very_machine_is_believed(world: World) -> None:
    world.process(42, "claude", program=CLAUDE)
    (world.root / "proc" / "42" / "ns").mkdir()
    (world.root / "proc" / "42" / "ns" / "pid").symlink_to("pid:[4026531836]")
    (world.root / "etc").mkdir()
    (world.root / "etc" / "machine-id").write_text("0123\n")
    world.register("42.json", entry(pidDomain="linux:0123:pid:[4026531836]"))
    assert world.running()[42].registered


def test_what_belongs_to_another_user_must_not_be_stopped(world: World, needs: Callable[[str], None]) -> None:
    needs("root")
    world.process(42, "claude", program=CLAUDE)
    world.register("42.json", entry())
    os.chown(world.root / "proc" / "42", 12345, 12345)
    assert world.running()[42].obstacle == "belongs to another user"


def test_a_zombie_does_not_run(world: World) -> None:
    world.process(42, "claude", program=CLAUDE, state="Z")
    world.register("42.json", entry())
    assert world.running() == {}


def test_a_process_whose_numbers_go_in_a_circle_is_no_trouble(world: World) -> None:
    world.process(42, "claude", program=CLAUDE, parent=43)
    world.process(43, parent=42)
    (world.root / "proc" / "self").symlink_to("42")
    assert sessions.ancestors(world.machine()) == [42, 43]


# ---- what we run inside of


def test_our_ancestors_are_found(world: World) -> None:
    for pid, parent in ((1, 0), (20, 1), (30, 20), (40, 30), (50, 20)):
        world.process(pid, parent=parent)
    (world.root / "proc" / "self").symlink_to("40")
    assert sessions.ancestors(world.machine()) == [40, 30, 20, 1]


@pytest.mark.parametrize("env", [{"CLAUDECODE": "1"}, {"CLAUDE_PID": "42"}])
def test_a_variable_tells_that_a_session_has_started_us(env: dict[str, str], world: World) -> None:
    assert sessions.inside(world.machine()) == ""
    assert "CLAUDECODE" in sessions.inside(world.machine(**env))


@pytest.mark.parametrize("arguments", [("claude",), ("claude", "-p", "x"), ("claude", "mcp", "serve")])
def test_a_session_above_us_is_seen_without_the_variable(arguments: tuple[str, ...], world: World) -> None:
    world.process(20, "claude", program=CLAUDE, arguments=arguments)
    world.process(30, parent=20)
    world.process(31, parent=1)
    (world.root / "proc" / "self").symlink_to("30")
    assert "session 20" in sessions.inside(world.machine())
    (world.root / "proc" / "self").unlink()
    (world.root / "proc" / "self").symlink_to("31")
    assert sessions.inside(world.machine()) == ""


def test_our_real_ancestors_are_found(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("proc")
    facts = Facts("linux", {"HOME": str(tmp_path)}, "/", str(tmp_path))
    found = sessions.ancestors(Machine(str(tmp_path), registry.adapter(facts), facts, {}))
    assert found[:2] == [os.getpid(), os.getppid()]


# ---- real processes


@pytest.fixture
def child(tmp_path: Path, needs: Callable[[str], None]) -> Iterator[tuple[Machine, int]]:
    """A real process that looks like Claude Code, and the machine whose home it has."""
    needs("proc")
    needs("sleep")
    home, program = tmp_path / "home", tmp_path / "node_modules" / "@anthropic-ai" / "claude-code" / "bin" / "claude"
    home.mkdir()
    program.parent.mkdir(parents=True)
    shutil.copy(shutil.which("sleep") or "", program)
    facts = Facts("linux", {"HOME": str(home)}, "/", str(home))
    machine = Machine(str(home), registry.adapter(facts), facts, {})
    with subprocess.Popen([str(program), "60"], env={"HOME": str(home)}) as process:
        yield machine, process.pid
        process.kill()


def _start(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _register(machine: Machine, pid: int, start: str) -> None:
    folder = Path(machine.home, ".claude", "sessions")
    folder.mkdir(parents=True)
    (folder / f"{pid}.json").write_text(json.dumps({"pid": pid, "procStart": start, "cwd": "/x", "status": "busy"}))


def test_a_real_process_is_seen(child: tuple[Machine, int]) -> None:
    machine, pid = child
    (found,) = sessions.live(machine)
    assert str(found) == f"session {pid} (unknown, in {os.getcwd()})"
    assert (found.parent, found.registered, found.obstacle) == (os.getpid(), False, "")


def test_a_real_process_in_the_register_is_seen(child: tuple[Machine, int]) -> None:
    machine, pid = child
    _register(machine, pid, _start(pid))
    assert [str(each) for each in sessions.live(machine)] == [f"session {pid} (busy, in /x)"]


def test_a_real_process_with_a_reused_number_is_not_taken_for_another(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    """This very test has a process number that a dead session has left in the register."""
    needs("proc")
    facts = Facts("linux", {"HOME": str(tmp_path)}, "/", str(tmp_path))
    machine = Machine(str(tmp_path), registry.adapter(facts), facts, {})
    _register(machine, os.getpid(), "1")
    assert sessions.live(machine) == []
    _register_again = Path(tmp_path, ".claude", "sessions", f"{os.getpid()}.json")
    _register_again.write_text(json.dumps({"procStart": _start(os.getpid())}))
    assert [each.pid for each in sessions.live(machine)] == [os.getpid()]


def test_a_real_session_of_another_home_is_not_ours(child: tuple[Machine, int], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    facts = Facts("linux", {"HOME": str(tmp_path / "other")}, "/", "")
    assert sessions.live(Machine(str(tmp_path / "other"), registry.adapter(facts), facts, {})) == []


def test_a_session_that_was_killed_is_gone(child: tuple[Machine, int]) -> None:
    machine, pid = child
    _register(machine, pid, _start(pid))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert sessions.live(machine) == []
