"""Whatever interrupts apply, undo or recover, at whatever moment: the machine is as before, or as after.

Killed at any call (R1), by a kill that the kernel delivers (R2), cut off from power with any unsynced part lost (R4),
with each sync proven to be needed (R5), with any call failing in any way (R6). Each sweep prints what it did, and has
a twin with a planted mistake that it must catch. `CCREMEDY_SWEEP=1` leaves no point out (minutes, not seconds).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import cast

import pytest
import sweep
from sweep import APPLY, EARLIER, FRESH, UNDO, Tally

from ccremedy import engine, files, registry
from ccremedy.journal import Journal, Run, Step
from ccremedy.resources import Change

EVERYTHING = os.environ.get("CCREMEDY_SWEEP") == "1"


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Print the figures of a sweep, and fail unless every point landed, there were enough, and nothing went wrong."""

    def check(name: str, tally: Tally, at_least: int) -> None:
        with capsys.disabled():
            print(f"\n{tally.line(name)}", end=" ")
        assert not tally.bad, "\n".join([f"{len(tally.bad)} points went wrong:", *tally.bad[:15]])
        assert tally.landed == tally.points, f"{tally.points - tally.landed} faults never arrived"
        assert tally.points >= at_least, f"only {tally.points} points: the sweep has lost its sharpness"

    return check


def scenes(every: int, sample: int, sparse: int) -> list[tuple[str, str, str, int]]:
    """(case, starting state, act, step): `every` for one case of each remedy on a fresh machine, `sample` for these
    after an earlier run and for the run with several findings, `sparse` for all the other cases, of each of which every
    sweep takes another half of what can be done with it."""

    def step(name: str, start: str) -> int:
        if name not in sweep.thorough():
            return sparse
        return sample if start == EARLIER or name == sweep.SEVERAL else every

    return [
        (name, start, act, 1 if EVERYTHING else step(name, start))
        for name in sweep.cases()
        for start in sweep.STARTS
        for act in (APPLY, UNDO)
        if EVERYTHING or name in sweep.thorough() or zlib.crc32(f"{name} {start} {act} {every}".encode()) % 2
    ]


def nothing() -> None:
    """Plants no mistake."""


@pytest.mark.parametrize("name", registry.remedies())
def test_every_remedy_has_a_case_in_which_it_changes_something(name: str) -> None:
    if name == "duplicate-sessions":
        pytest.skip("a process cannot be brought back: tests/test_kill_safety.py has what stands for this")
    assert any(case.remedy.id == name for case in sweep.cases().values()), f"tests/cases/{name} needs such a case"


def calls() -> ModuleType:
    """The `os` of the product, in whose place the seam stands: a planted mistake makes its calls there too."""
    return cast(ModuleType, vars(files)["os"])


# ---- R1


def test_killed_at_any_call_it_recovers(tell: Callable[..., None]) -> None:
    jobs = [partial(sweep.kill_sweep, *scene, nothing) for scene in scenes(1, 31, 307)]
    tell("kill", sweep.sweep(jobs), at_least=1500)


def test_killed_while_it_recovers_it_recovers(tell: Callable[..., None]) -> None:
    jobs = [partial(sweep.double_kill_sweep, name, FRESH, act, 1 if EVERYTHING else 151)
            for name in sweep.thorough() for act in (APPLY, UNDO)]  # fmt: skip
    tell("kill-twice", sweep.sweep(jobs), at_least=300)


def test_killed_by_the_kernel_it_recovers(tell: Callable[..., None]) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace, to have the kernel kill at a given system call")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("needs leave to trace processes (ptrace)")
    jobs = [partial(sweep.kernel_kill_sweep, name, FRESH, act, 1 if EVERYTHING else 7)
            for name in sweep.thorough() for act in (APPLY, UNDO)]  # fmt: skip
    tell("kill-by-kernel", sweep.sweep(jobs), at_least=150)


def _forget_what_is_being_done() -> None:
    def doing(journal: Journal, run: Run, step: Step, index: int) -> None:
        step.begun = index + 1

    Journal.doing = doing  # type: ignore[method-assign,assignment]


def _write_before_the_journal() -> None:
    def open_step(journal: Journal, run: Run, remedy: str, finding: str, changes: list[Change]) -> Step:
        for change in changes:
            change.resource.write(change.resource.read(), change.after, f"{change.resource.path}.new")
        return real(journal, run, remedy, finding, changes)

    real, Journal.open_step = Journal.open_step, open_step  # type: ignore[method-assign,assignment]


def _write_in_place() -> None:
    def replace(path: str, before: bytes | None, after: bytes | None, scratch: str, mode: int = 0o644) -> None:
        handle = calls().open(files.resolve(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for piece in (after or b"")[:50], (after or b"")[50:]:
            calls().write(handle, piece)
        calls().close(handle)

    files.replace = replace


def _close_the_journal_late() -> None:
    def append(path: str, data: bytes, keep: int) -> None:
        if not os.path.exists(path):
            calls().close(calls().open(path, os.O_WRONLY | os.O_CREAT, 0o644))
        real(path, data, keep)
        calls().chmod(path, 0o600)

    real, files.append = files.append, append


@pytest.mark.parametrize(
    "mistake", [_forget_what_is_being_done, _write_before_the_journal, _write_in_place, _close_the_journal_late]
)
def test_the_kill_sweep_catches(mistake: Callable[[], None]) -> None:
    case = next(name for name in sweep.thorough() if name.startswith("npm-prefix/"))
    tally = sweep.sweep([partial(sweep.kill_sweep, case, FRESH, APPLY, 2, mistake)])
    assert tally.bad


# ---- R4 and R5

HISTORIES = ("apply undo apply", "apply! recover apply undo", "apply? apply undo", "apply undo! recover undo")


def histories(names: list[str], sample: int, site: tuple[str, int] | None = None) -> list[sweep.Job]:
    """Runs one after another; with a kill or an error in the middle of one; each `sample`-th moment for that."""
    jobs: list[sweep.Job] = []
    for name in names:
        moments = sweep.moments(name)
        for acts in HISTORIES:
            numbers = moments[:: 1 if EVERYTHING else sample] if "!" in acts or "?" in acts else [0]
            jobs += [partial(sweep.power_sweep, name, acts, [number], site, site is not None) for number in numbers]
    return jobs


# A file of ours that is alone in its folder: its going has no other sync to lean on. And a mode, which has none either.
MORE = ["npm-prefix/fish-has-a-folder-but-no-config", "key-storage/the-login-is-open-to-others"]
CASES = [*sweep.thorough(), *MORE]


def test_after_a_power_cut_it_recovers(tell: Callable[..., None]) -> None:
    tell("power-loss", sweep.sweep(histories(CASES, sample=6)), at_least=5000)


def _site_name(site: tuple[str, int]) -> str:
    path, line = site
    with open(path, encoding="utf-8") as source:
        return f"{os.path.basename(path)}:{line} {source.read().splitlines()[line - 1].strip()}"


@pytest.mark.parametrize("site", sweep.sync_sites(), ids=_site_name)
def test_every_sync_is_needed(site: tuple[str, int]) -> None:
    """Left out, it must show in the power-loss model. If it does not, it is superfluous, or a history is missing."""
    tally = sweep.until_bad(histories(CASES, 1, site))
    assert tally.bad, f"{tally.points} states, and nobody missed it"


# ---- R6


def test_any_call_may_fail_once(tell: Callable[..., None]) -> None:
    jobs = [partial(sweep.failure_sweep, *scene, False, nothing) for scene in scenes(13, 61, 601)]
    tell("io-errors", sweep.sweep(jobs), at_least=2200)


def test_from_any_call_on_all_may_fail(tell: Callable[..., None]) -> None:
    jobs = [partial(sweep.failure_sweep, *scene, True, nothing) for scene in scenes(23, 71, 701)]
    tell("io-errors-that-last", sweep.sweep(jobs), at_least=800)


def test_what_cannot_be_read_for_a_moment_is_not_moved_away(tell: Callable[..., None]) -> None:
    jobs = [partial(sweep.diagnosis_sweep, name, 1 if EVERYTHING else 5) for name in sweep.cases()]
    tell("io-errors-diagnose", sweep.sweep(jobs), at_least=500)


@pytest.mark.parametrize("words", ["apply npm-prefix reset-config --yes", "undo --yes"])
def test_the_command_says_a_sentence_whatever_fails(words: str, tell: Callable[..., None]) -> None:
    tell(f"io-errors-{words.split()[0]}", sweep.sweep([partial(sweep.command_sweep, words.split(), 41)]), at_least=50)


def _overlook_short_writes() -> None:
    vars(files).update(_write_all=lambda handle, data: calls().write(handle, data))


def _overlook_errors() -> None:
    def replace(path: str, before: bytes | None, after: bytes | None, scratch: str) -> None:
        with contextlib.suppress(OSError):
            real(path, before, after, scratch)

    real = files.replace
    vars(files).update(replace=replace)
    engine.Engine._prove = lambda *_: {}  # type: ignore[method-assign]


def _let_errors_through() -> None:
    def explain(error: OSError) -> str:
        raise error

    vars(engine).update(explain=explain)


@pytest.mark.parametrize("mistake", [_write_in_place, _overlook_short_writes, _overlook_errors, _let_errors_through])
def test_the_error_sweep_catches(mistake: Callable[[], None]) -> None:
    case = next(name for name in sweep.thorough() if name.startswith("npm-prefix/"))
    tally = sweep.sweep([partial(sweep.failure_sweep, case, FRESH, APPLY, 7, False, mistake)])
    assert tally.bad
