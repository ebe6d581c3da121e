"""No process but the one that was meant is ever signalled (S6).

This file is also the program that runs in pid namespaces of its own, where the number that a process gets can be
chosen: there a session ends, and a decoy gets its very number, before, during and after we look. And every kind of
process that could be taken for a session stands beside a real orphan, which alone must be found and ended.

All decoys hold SIGTERM back, so that one which was hit can tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccremedy import processes, registry, sessions
from ccremedy.machine import Facts, Machine
from ccremedy.resources import Process

Figures = dict[str, tuple[int, int, list[str]]]  # by part: points, landed, bad
UID = 12345
ID = "5f0e6c1a-7d0b-4c53-9b1e-{:012}"
BATCH = 50


@pytest.fixture
def measure(needs: Callable[[str], None], tmp_path: Path) -> Callable[..., Figures]:
    """Run this file as a program in namespaces of its own."""
    for capability in ("root", "proc", "unshare"):
        needs(capability)
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("needs a processor that this test can write programs for (x86_64, aarch64)")
    own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*own, "test", "-w", "/proc/sys/kernel/ns_last_pid"], capture_output=True).returncode:
        pytest.skip("needs pid namespaces (unshare --pid) in which the next number can be chosen")

    def run(*words: str) -> Figures:
        root = Path(__file__).resolve().parent.parent
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [*own, sys.executable, __file__, *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=600, start_new_session=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found: Figures = json.loads(done.stdout)
        return found

    return run


def test_nothing_but_what_was_meant_is_hit(measure: Callable[..., Figures], capsys: pytest.CaptureFixture[str]) -> None:
    found = measure("1000", "20", "8")
    points = sum(figures[0] for figures in found.values())
    landed = sum(figures[1] for figures in found.values())
    bad = [each for figures in found.values() for each in figures[2]]
    with capsys.disabled():
        print(f"\nkill-safety points={points} landed={landed} bad={len(bad)}", end=" ")
    assert not bad, bad[:5]
    assert landed == points
    assert found["reuse"][0] >= 1000
    assert found["seams"][0] + found["decoys"][0] >= 200


def test_without_pidfds_a_number_that_was_given_away_is_not_hit(measure: Callable[..., Figures]) -> None:
    pytest.importorskip("psutil", reason="needs psutil, which stands in for pidfds")
    points, landed, bad = measure("200", "0", "0", "no-pidfd")["reuse"]
    assert not bad, bad[:5]
    assert landed == points == 200


@pytest.mark.parametrize(
    ("plant", "part"),
    [("number", "reuse"), ("look-first", "seams"), ("by-name", "decoys")],
    ids=["signals to whatever has the number", "looks, then signals the number", "takes a name for a session"],
)
def test_code_is_caught_that(plant: str, part: str, measure: Callable[..., Figures]) -> None:
    points, landed, bad = measure("50", "1", "1", plant)[part]
    assert landed == points
    assert bad


# ---- the program


def main(reuses: str, rounds: str, worlds: str, *plants: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for plant in plants:
        PLANTS[plant]()
    print(json.dumps({"reuse": reuse(int(reuses)), "seams": seams(int(rounds)), "decoys": decoys(int(worlds))}))


def stop(pid: int, start: str) -> None:
    with contextlib.suppress(Exception):  # a refusal is as good
        processes.stop(pid, start, kill=True, patience=0.1)


def reuse(points: int) -> tuple[int, int, list[str]]:
    """A session ends, and its number is given to a decoy before we are told to stop the session."""
    landed, bad = 0, []
    for _ in range(0, points, BATCH):
        victims = [sleeper() for _ in range(BATCH)]
        starts = {pid: start_of(pid) for pid in victims}
        for pid in victims:
            end(pid)
        time.sleep(0.02)  # the kernel's measure of a start is a hundredth of a second
        for pid, start in starts.items():
            landed += sleeper(pid) == pid and start_of(pid) != start
            stop(pid, start)
            bad += [f"reuse of {pid}"] * was_hit(pid)
            end(pid)
    return points, landed, bad


def seams(rounds: int) -> tuple[int, int, list[str]]:
    """The same while `stop` is at work: before and after each of its looks."""
    landed, bad = 0, []
    places = [(name, after) for name in ("_hold", "_facts", "_lineage") for after in (False, True)]
    for name, after in places * rounds:
        pid = sleeper()
        start, real = start_of(pid), getattr(processes, name)
        swapped: list[int] = []

        def swap(
            *given: Any, real: Any = real, after: bool = after, pid: int = pid, swapped: list[int] = swapped
        ) -> Any:
            answer = real(*given) if after else None
            if not swapped:
                end(pid)
                time.sleep(0.011)
                swapped.append(sleeper(pid))
            return answer if after else real(*given)

        setattr(processes, name, swap)
        stop(pid, start)
        setattr(processes, name, real)
        landed += swapped == [pid]
        bad += [f"{name}, {'after' if after else 'before'} it"] * was_hit(pid)
        end(pid)
    return len(places) * rounds, landed, bad


def decoys(worlds: int) -> tuple[int, int, list[str]]:
    """One orphan among everything that is none. What is proposed is done, unasked and for each number that is named."""
    points, landed, bad = 0, 0, []
    for _ in range(worlds):
        with World() as world:
            orphan = world.register(world.claude(can_end=True))
            never = {name: make(world) for name, make in NEVER.items()}
            unless_named = {name: make(world) for name, make in UNLESS_NAMED.items()}
            proposed = [
                *world.proposed({}),
                *(p for pid in never.values() for p in world.proposed({"session": str(pid)})),
            ]
            for process in proposed:
                stop(process.pid, process.start)
            targets = {each.pid for each in proposed}
            everyone = never | unless_named
            bad += [name for name, pid in everyone.items() if pid in targets or (was_hit(pid) and name != "a zombie")]
            points += len(everyone)
            landed += sum(os.path.exists(f"/proc/{pid}") for pid in everyone.values()) * (orphan in targets)
            bad += ["the orphan lives"] * (orphan not in targets or not ends(orphan))
    return points, landed, bad


class World:
    """A home whose register and processes are made up, on the real /proc of this namespace."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="ccremedy-decoys-")
        self.pids: list[int] = []
        self.npm = os.path.join(self.folder, "node_modules/@anthropic-ai/claude-code/bin/claude")
        os.makedirs(os.path.join(self.folder, ".claude", "sessions"))
        os.chmod(self.folder, 0o755)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *failure: object) -> None:
        for pid in self.pids:
            end(pid)
        shutil.rmtree(self.folder)

    def start(self, path: str, *arguments: str, user: int = 0, can_end: bool = False, **env: str) -> int:
        """A program of this path that does nothing, whatever its arguments say. It runs when this returns."""
        program = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(program), exist_ok=True)
        if not os.path.exists(program):
            Path(program).write_bytes(idle_program())
            os.chmod(program, 0o755)
        begun, begins = os.pipe()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                signal.pthread_sigmask(signal.SIG_UNBLOCK if can_end else signal.SIG_BLOCK, {signal.SIGTERM})
                os.execve(program, arguments, {"HOME": self.folder} | env)
            os._exit(1)
        os.close(begins)
        assert os.read(begun, 1) == b""
        os.close(begun)
        assert os.readlink(f"/proc/{pid}/exe") == program
        self.pids.append(pid)
        return pid

    def claude(self, *arguments: str, user: int = 0, can_end: bool = False, **env: str) -> int:
        return self.start(self.npm, "claude", *arguments, user=user, can_end=can_end, **env)

    def register(self, pid: int, /, **facts: object) -> int:
        entry = {"pid": pid, "procStart": start_of(pid), "sessionId": ID.format(pid), "cwd": "/", "status": "idle",
                 "kind": "interactive", "entrypoint": "cli", "version": "2.1.330"}  # fmt: skip
        Path(self.folder, ".claude", "sessions", f"{pid}.json").write_text(json.dumps(entry | facts))
        return pid

    def zombie(self) -> int:
        pid = self.register(self.claude())
        os.kill(pid, signal.SIGKILL)
        while state_of(pid) != "Z":
            time.sleep(0.001)
        return pid

    def child(self) -> int:
        """Of a program that waits for it, and of no terminal."""
        told, tell = os.pipe()
        parent = os.fork()
        if parent == 0:
            os.write(tell, b"%d" % self.claude())
            while True:
                signal.pause()
        pid = int(os.read(told, 20))
        self.pids += [parent, pid]
        return self.register(pid)

    def ancestor(self) -> int:
        """Of what stops: it begets one that is told to stop its parent, and ours."""
        told, tell = os.pipe()
        parent = os.fork()
        if parent == 0:
            if os.fork() == 0:
                for pid in (os.getppid(), 1, os.getpid()):
                    stop(pid, start_of(pid))
                os.write(tell, b".")
                os._exit(0)
            while True:
                signal.pause()
        os.close(tell)
        assert os.read(told, 1) == b"."
        os.close(told)
        self.pids.append(parent)
        return parent

    def contained(self) -> int:
        """A session in a pid namespace below ours, which shares the home."""
        outside = os.fork()
        if outside == 0:
            program = os.path.join(self.folder, self.npm)
            os.execve("/usr/bin/unshare", ["unshare", "--pid", "--fork", program], {"HOME": self.folder})
        pids: list[str] = []
        while not pids or os.path.basename(os.path.realpath(f"/proc/{pids[0]}/exe")) != "claude":
            pids = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        end(outside)  # so it is ours now
        self.pids.append(int(pids[0]))
        return int(pids[0])

    def proposed(self, options: dict[str, str | bool]) -> list[Process]:
        facts = Facts("linux", {"HOME": self.folder}, "/", self.folder)
        machine = Machine(self.folder, registry.adapter(facts), facts, {}, options)
        changes = [change for found in registry.remedy("duplicate-sessions").diagnose(machine)
                   for change in getattr(found, "changes", ()) if not change.refused]  # fmt: skip
        return [change.resource for change in changes]


NEVER: dict[str, Callable[[World], int]] = {
    "another user's": lambda w: w.register(w.claude(user=UID)),
    "another user's, without an entry": lambda w: w.claude(user=UID),
    "of the same name": lambda w: w.start("games/claude", "/usr/games/claude"),
    "of the same name and arguments, with an entry": lambda w: w.register(w.start("games/claude", "claude")),
    "of the same arguments": lambda w: w.start("bin/other", "claude"),
    "with an entry that lies": lambda w: w.register(w.start("bin/other", "other")),
    "with the entry of another": lambda w: w.register(w.start("bin/other", "other"), pid=1),
    "with the entry of a dead one": lambda w: w.register(w.start("bin/other", "claude"), procStart="1"),
    "with the entry of another machine": lambda w: w.register(w.start("bin/other", "claude"), pidDomain="linux:x:y"),
    "a zombie": World.zombie,
    "tail -f": lambda w: w.start("bin/tail", "tail", "-f", f"{w.folder}/.claude/debug.log"),
    "an editor": lambda w: w.start("bin/vim", "vim", "claude"),
    "an editor with an entry": lambda w: w.register(w.start("bin/code", "code", "claude")),
    "Claude Desktop": lambda w: w.start("opt/Claude/claude", "claude"),
    "Claude Desktop, with an entry": lambda w: w.register(w.start("opt/Claude/claude", "claude")),
    "an MCP server": lambda w: w.claude("mcp", "serve"),
    "a supervisor": lambda w: w.claude("daemon", "run"),
    "a pty host": lambda w: w.claude("bg-pty-host", "--bg-pty-host", "/x"),
    "a spare": lambda w: w.claude("bg-spare", "--bg-spare", "/x"),
    "a worker": lambda w: w.register(w.claude("--session-id", ID.format(1)), kind="bg"),
    "an update": lambda w: w.claude("update"),
    "of another configuration": lambda w: w.claude(CLAUDE_CONFIG_DIR="/elsewhere"),
    "in a container": World.contained,
    "an ancestor": World.ancestor,
}
UNLESS_NAMED: dict[str, Callable[[World], int]] = {
    "at work": lambda w: w.register(w.claude(), status="busy"),
    "with a parent": World.child,
    "a run with -p": lambda w: w.claude("-p", "hi"),
    "driven by a program": lambda w: w.register(w.claude(), entrypoint="sdk-ts"),
    "driven by an editor": lambda w: w.claude(CLAUDE_CODE_ENTRYPOINT="claude-vscode"),
}


# ---- processes


def idle_program() -> bytes:
    """The smallest ELF program: it waits for a signal, and again. No real one ignores its arguments."""
    machine, code = {
        "x86_64": (62, "b8220000000f05ebf7"),  # pause
        "aarch64": (183, "000080d2010080d2020080d2030080d2280980d2010000d4faffff17"),  # ppoll(0, 0, 0, 0)
    }[os.uname().machine]
    body = bytes.fromhex(code)
    size = 64 + 56 + len(body)
    header = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000 + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000) + body


def sleeper(number: int = 0) -> int:
    """A child that does nothing; with this number, which must be free."""
    if number:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def was_hit(pid: int) -> bool:
    """Whether SIGTERM waits for it, or it was killed, or is gone."""
    try:
        facts = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except FileNotFoundError:
        return True
    return bool(int(facts["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1) or (facts["State"].split()[0] in "ZX")


def ends(pid: int) -> bool:
    """Whether this child of ours does, for which it may have to wait on a busy machine."""
    handle = os.pidfd_open(pid)
    ended = bool(select.select([handle], [], [], 30)[0])
    os.close(handle)
    return ended


def end(pid: int) -> None:
    if pid != 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


# ---- bugs


def plant_number() -> None:
    def bug(pid: int, start: str, **how: object) -> None:
        os.kill(pid, signal.SIGTERM)

    processes.stop = bug


def plant_look_first() -> None:
    def bug(pid: int, start: str, **how: object) -> None:
        held = processes._hold(pid)
        if processes._facts(pid)[0] == start and pid not in processes._lineage():
            os.kill(pid, signal.SIGTERM)
        held.close()

    processes.stop = bug


def plant_by_name() -> None:
    sessions._kind = lambda *given: "interactive"
    sessions._obstacle = lambda *given: ""


def plant_no_pidfd() -> None:
    del os.pidfd_open


PLANTS = {"number": plant_number, "look-first": plant_look_first, "by-name": plant_by_name, "no-pidfd": plant_no_pidfd}

if __name__ == "__main__":
    main(*sys.argv[1:])
