"""A key moves from a file and the registry into Credential Manager: killed at any call, it is here or there, and whole.

Runs on Windows, and under Wine (see test_windows_under_wine.py), with the real Credential Manager and a scratch key of
the registry. As in test_windows_registry.py a point makes the process as good as dead; what it knew is forgotten, so
that recovery has only what is on the disk and in the store.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows (or Wine: test_windows_under_wine.py)", allow_module_level=True)

from test_windows_registry import Around, Dead, Killer, die, difference, seam

from ccremedy import hive, registry, seals
from ccremedy.redact import Secret
from ccremedy.testing import Case, Rig, no_shells
from ccremedy.vault import Vault

KEY = f"sk-ant-api03-of-a-test-{os.getpid()}-{'k' * 60}"
NAME = "ANTHROPIC_API_KEY"
CASE = Case(
    "a-key-in-a-file-and-the-registry",
    registry.remedy("key-storage"),
    {
        "platform": "windows",
        "files": {
            "~/.bashrc": f"# mine\nexport {NAME}={KEY}\n",
            "~/.claude/settings.json": '{\r\n  "model": "opus"\r\n}\r\n',
        },
        "registry": {hive.ENVIRONMENT: {NAME: ["REG_SZ", KEY]}},
    },
)


class World:
    """The machine and what Credential Manager has of it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.vault = str(scratch), Vault(os.environ)
        self.name = seals.names(seals.mark(Secret(KEY)))[0]

    def make(self, applied: bool) -> Rig:
        self.forget()
        self.vault.drop(self.name)
        rig = Rig.make(CASE, self.scratch, no_shells)
        if applied:
            assert not rig.apply().problems
            self.forget()
        return rig

    def forget(self) -> None:
        """As a new process begins."""
        seals._seen.clear()
        seals._stores["os"] = self.vault

    def state(self, rig: Rig) -> dict[str, Any]:
        held = self.vault.get(self.name)
        return {**rig.tree(), "the store": None if held is None else held.reveal() == KEY}


@contextlib.contextmanager
def calls(world: World, act: Callable[..., Any]) -> Iterator[None]:
    """Every call that changes a file, the registry or the store goes through `act`."""
    seals._stores["os"] = Around(world.vault, {"put", "drop"}, act)
    try:
        with seam(act):
            yield
    finally:
        world.forget()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "scratch")
    yield made
    made.vault.drop(made.name)
    made.vault.close()
    seals._seen.clear()
    seals._stores.clear()


def do(rig: Rig, undo: bool) -> None:
    if undo:
        rig.undo()
    else:
        rig.apply()


@pytest.mark.parametrize("undo", [False, True], ids=["apply", "undo"])
def test_killed_at_any_call_the_key_is_here_or_there(
    undo: bool, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = world.make(undo)
    before, count = world.state(rig), Killer(0, False, die)
    with calls(world, count):
        do(rig, undo)
    after, bad, landed = world.state(rig), [], 0
    assert [each["the store"] for each in (before, after)] == ([True, None] if undo else [None, True])
    # Behind every call is before the next one; so only the others' last word needs a point of its own.
    points = [(at, False) for at in range(1, count.count + 1)] + [(count.count, True)]
    for at, late in points:
        rig, killer = world.make(undo), Killer(at, late, die)
        with calls(world, killer), contextlib.suppress(Dead):
            do(rig, undo)
        landed += killer.landed
        rig.recover()
        found = world.state(rig)
        if found not in (before, after):
            bad.append(f"call {at}{' and behind it' if late else ''}: {difference(found, before, after)}")
        world.forget()
    with capsys.disabled():
        print(f"\nkeys {'undo' if undo else 'apply'} points={len(points)} landed={landed} bad={len(bad)}", end=" ")
    assert not bad, "\n".join(bad)
    assert landed == len(points) > 20


def test_a_store_that_keeps_nothing_gets_no_key(world: World) -> None:
    """What is taken out of a file is looked for in the store first."""
    rig = world.make(False)
    before = world.state(rig)
    with calls(world, lambda name, real, *given, **named: None if name == "put" else real(*given, **named)):
        assert rig.apply().problems
    assert world.state(rig) == before


def test_credential_manager_holds_what_it_may_and_no_more(world: World) -> None:
    from ccremedy.errors import Problem

    world.vault.put(world.name, Secret("k" * 1280))
    assert world.vault.get(world.name) == Secret("k" * 1280)
    with pytest.raises(Problem, match=r"1281 characters; it takes 1280"):
        world.vault.put(world.name, Secret("k" * 1281))
    assert world.vault.get(world.name) == Secret("k" * 1280)
    assert world.vault.name() == "Windows Credential Manager"
