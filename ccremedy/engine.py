"""The one loop behind a confirmed diagnosis: look again, journal, write, prove, keep or take back.

What it promises
- Nothing is written before `apply`, `undo` or `recover` hold the lock and the journal says what is about to happen.
- A change is written only while its resource has the value that was shown; otherwise the step is taken back (exit 8).
- A step is kept only when a fresh look finds its changes on the disk and in fresh shells; otherwise it is taken back.
- What cannot be taken back (a process that has ended) is a step of its own, and is kept as soon as it has happened.
- Whatever interrupts it (an error, Ctrl-C, kill -9, a power cut), the next command brings each step to before or after.
"""

from __future__ import annotations

import contextlib
import os
import time

from ccremedy import effects, errors, files, shells
from ccremedy.diagnosis import diagnose
from ccremedy.errors import Drift, Problem, explain
from ccremedy.finding import Finding
from ccremedy.journal import Journal, Run, Step
from ccremedy.record import dataclass, field, replace
from ccremedy.resources import DONE, DRIFTED, PENDING, Change
from ccremedy.resources.entry import Entry
from ccremedy.resources.places import Location
from ccremedy.resources.texts import Block, at_the_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ccremedy.finding import Remedy
    from ccremedy.machine import Machine
    from ccremedy.shells import Answers

    Ask = Callable[[Machine, Iterable[str], float], Answers]


@dataclass
class Result:
    """What became of each change: "done", "failed", "refused", "drifted" or "undone"."""

    run: Run
    # by remedy, finding and change
    outcomes: dict[tuple[str, str, Change], str] = field(default_factory=dict["tuple[str, str, Change]", str])
    notes: list[str] = field(default_factory=list[str])
    problems: list[Problem] = field(default_factory=list[Problem])

    def say(self, finding: Finding, change: Change, outcome: str) -> None:
        self.outcomes[finding.remedy, finding.id, change] = outcome


@dataclass
class Engine:
    """Applies, takes back and recovers, on one machine with one journal."""

    machine: Machine
    journal: Journal
    ask: Ask = shells.ask
    timeout: float = 10.0
    missed: Callable[[Machine, Change], str] = effects.missed
    pause: Callable[[float], None] = time.sleep

    def apply(self, findings: Sequence[Finding], run: Run, remedies: dict[str, Remedy]) -> Result:
        """Make the changes of each finding, finding by finding. The caller holds the lock."""
        result = Result(run)
        for finding in findings:
            for change in finding.changes:
                if change.refused:
                    result.say(finding, change, "refused")
            changes = [change for change in finding.changes if not change.refused]
            try:
                if changes:
                    self._mend(finding, changes, result, remedies.get(finding.remedy))
            except (Problem, OSError) as error:
                problem = _as_problem(error, changes[0].resource.path)
                for change in changes:
                    result.say(finding, change, "drifted" if isinstance(problem, Drift) else "failed")
                result.problems.append(problem)
        return result

    def _mend(self, finding: Finding, changes: list[Change], result: Result, remedy: Remedy | None) -> None:
        """One finding. A block that a fresh shell does not see is tried at the end of its file, then left out."""
        before = self._ask(changes)
        origin = {change: change for change in changes}
        while changes:
            unseen = self._try(result.run, finding.remedy, finding.id, changes, before, remedy)
            if not unseen:
                for change in changes:
                    result.say(finding, origin[change], "done")
                result.notes += shells.unanswered(changes, before)
                return
            retry: list[Change] = []
            for change in changes:
                moved = at_the_end(change) if change in unseen else change
                if moved is None:
                    result.say(finding, origin[change], "failed")
                    result.problems.append(
                        Problem(
                            f"the change did not take effect and was taken back ({unseen[change]})",
                            where=change.resource.path,
                        )
                    )
                    continue
                origin[moved] = origin[change]
                retry.append(moved)
            changes = retry

    def _try(
        self,
        run: Run,
        remedy_id: str,
        finding_id: str,
        changes: list[Change],
        before: Answers,
        remedy: Remedy | None = None,
    ) -> dict[Change, str]:
        """Write the changes and prove them. Where that fails, or anything interrupts, all are taken back.

        Returns the changes that a fresh shell does not see, each with the reason; empty where the step stands.
        """
        try:
            step = self.journal.open_step(run, remedy_id, finding_id, changes)
        except OSError as error:
            raise Problem(f"the journal cannot be written: {explain(error)}", where=run.path) from None
        try:
            for index, change in enumerate(changes):
                self._write(run, step, index, change)
            unseen = self._prove(finding_id, changes, before, remedy)
            if not unseen:
                self.journal.keep(run, step)
                return {}
        except BaseException as error:
            self._take_back(run, step, _why(error))
            raise
        self._take_back(run, step, "; ".join(dict.fromkeys(unseen.values())))
        return unseen

    def _write(self, run: Run, step: Step, index: int, change: Change) -> None:
        now, status = change.resource.read(), change.status()
        if status == DRIFTED:
            raise Drift("is not as it was when this was planned", where=change.resource.path, todo="Look again")
        self.journal.doing(run, step, index)
        if status == PENDING:
            try:
                _set(change, now, change.after, step.scratch[index])
            except Drift:
                step.begun = index  # whoever was faster: it was not touched
                raise

    def _prove(
        self, finding_id: str, changes: list[Change], before: Answers, remedy: Remedy | None
    ) -> dict[Change, str]:
        """The changes that a fresh shell does not see. Problem where one is not on the disk, or is found again."""
        if pause := max((change.resource.PAUSE for change in changes), default=0.0):
            self.pause(pause)
        # What comes back where a newcomer was moved aside fills its place: only the last one at a place can be seen.
        last = {each.resource.path if isinstance(each.resource, Location) else each: each for each in changes}
        for change in last.values():
            if change.status() != DONE:
                raise Problem("is not on the disk as it was written", where=change.resource.path)
        if before:
            after = self._ask(changes)
            unseen = shells.prove(self.machine, changes, before, after)
            if unseen:  # something may change from one start to the next by itself
                unseen = shells.prove(self.machine, changes, before, after, self._ask(changes))
            if unseen:
                return unseen
        for change in changes:
            if missed := self.missed(self.machine, change):
                raise Problem(missed, where=change.resource.path)
        if remedy is not None:
            again = diagnose(self.machine, [remedy])
            for _, problem in again.failed:
                raise problem
            proposed = {each.key() for found in again.findings if found.id == finding_id for each in found.changes}
            for change in changes:
                if change.key() in proposed:
                    raise Problem("is found wrong again by a fresh diagnosis", where=change.resource.path)
        return {}

    def _ask(self, changes: Iterable[Change]) -> Answers:
        names = {change.resource.shell for change in changes if isinstance(change.resource, Block)}
        return self.ask(self.machine, names, self.timeout) if names else {}

    # ---- taking back

    def _take_back(self, run: Run, step: Step, why: str) -> None:
        """Set what the step has begun to `before`, last first. Problem (4) where something stands in the way."""
        try:
            self.journal.cut(run)
        except OSError as error:
            raise Problem(
                f"the journal cannot be written ({explain(error)}), so what was begun was left as it is",
                where=run.path,
                todo="Make room, then run: ccremedy recover",
                code=errors.INCOMPLETE,
            ) from None
        stuck: list[str] = []
        for change in step.changes[: step.begun]:
            with contextlib.suppress(Problem, OSError):
                change.resource.read()  # so that a secret that stands in a file is known when the store wants it back
        for index in reversed(range(step.begun)):
            change = step.changes[index]
            try:
                _settle(change, step.scratch[index])
                now, status = change.resource.read(), change.status()
                if not change.resource.REVERSIBLE:
                    if status == DONE:  # then it stands, whatever happened afterwards
                        self.journal.keep(run, step)
                        return
                    continue
                if status == DRIFTED:
                    raise Drift("has been edited since", where=change.resource.path)
                if status == DONE:
                    _set(change, now, change.before, step.scratch[index] and step.scratch[index] + _BACK)
                elif not change.resource.owns_folders(change.before):
                    change.resource.unmake(change.folders)
            except Problem as problem:
                stuck.append(f"{problem.where or change.resource.path} {problem.what}")
            except OSError as error:
                stuck.append(f"{change.resource.path}: {explain(error)}")
        if stuck:
            raise Problem(
                f"what was begun could not be taken back whole: {'; '.join(stuck)}",
                where=run.path,
                todo="Look at these places, then run: ccremedy recover",
                code=errors.INCOMPLETE,
            )
        try:
            self.journal.back(run, step, why)
        except OSError as error:
            raise Problem(
                f"all is as it was before, but that could not be written down ({explain(error)})",
                where=run.path,
                todo="Make room, then run: ccremedy recover",
            ) from None

    def recover(self) -> list[Step]:
        """Take back every step that was interrupted. The caller holds the lock. Problem (4) as above."""
        mended: list[Step] = []
        for run in self.journal.sound_runs():
            for step in reversed(run.steps):
                if step.state == "open":
                    self._take_back(run, step, "interrupted")
                    mended.append(step)
        return mended

    def undo(self, target: Run, run: Run, only: int | None) -> Result:
        """Take back a run, or change number `only` of it, as a run of its own. The lock is held.

        The changes of one finding are taken back together, last first; those that were edited since, or that
        something stands in the way of, are left and reported.
        """
        result = Result(run)
        kept = target.kept()
        chosen = kept if only is None else [kept[only - 1]]
        for step in reversed(target.steps):
            indexes = [index for of, index in reversed(chosen) if of is step]
            paths = {step.changes[index].resource.path for index in indexes}
            # Where changes build on each other (a place left and filled again), each can be seen only in its turn.
            together = len(paths) == len(indexes) or not any(isinstance(c.resource, Location) for c in step.changes)
            for group in [indexes] if together else [[index] for index in indexes]:
                if group:
                    self._undo_together(target, run, step, group, result)
        return result

    def _undo_together(self, target: Run, run: Run, step: Step, indexes: list[int], result: Result) -> None:
        finding = Finding(step.finding, "", remedy=step.remedy)
        undoing: dict[int, list[Change]] = {}
        for index in indexes:
            change = step.changes[index]
            try:
                if needs := self._needed(change, step, undoing):
                    raise Problem(f"is still needed by run {needs}", where=str(change.resource), todo="Undo that first")
                undoing[index] = _inverse(change)
            except (Problem, OSError) as error:
                problem = _as_problem(error, change.resource.path)
                result.say(finding, change, "drifted" if isinstance(problem, Drift) else "failed")
                result.problems.append(problem)
        try:
            changes = [each for inverse in undoing.values() for each in inverse]
            if changes:
                self._try(run, step.remedy, step.finding, changes, {})
            for index, inverse in undoing.items():
                result.notes += _newcomers(step.changes[index], inverse)
                result.say(finding, step.changes[index], "undone")
                self.journal.undone(target, step, index, run.number)
        except (Problem, OSError) as error:
            for index in undoing:
                result.outcomes.setdefault((step.remedy, step.finding, step.changes[index]), "failed")
            result.problems.append(_as_problem(error, target.path))

    def _needed(self, change: Change, step: Step, going: dict[int, list[Change]]) -> int:
        """The run that could not be undone without this secret in the store; 0 where there is none."""
        if not isinstance(change.resource, Entry) or change.before:
            return 0
        for run in self.journal.sound_runs():
            for other, index in run.kept():
                if any(each.resource == change.resource and each.before for each in other.changes):
                    continue  # it has dropped the entry, and puts it back itself when it is undone
                same_step = (other.number, other.changes) == (step.number, step.changes)
                before = other.changes[index].before or ""
                vault = change.resource.vault
                here = getattr(other.changes[index].resource, "vault", "") == vault or f'"{vault}"' in before
                held = here and change.resource.name in before
                stands = index not in other.undone and not (same_step and index in going)
                if held and stands and not isinstance(other.changes[index].resource, Entry):
                    return run.number
        return 0


def _inverse(change: Change) -> list[Change]:
    """What takes it back on the machine as it is; nothing where that is so already. Problem where it must be left."""
    if not change.resource.REVERSIBLE:
        what, todo = "has ended, and cannot be brought back as it was", change.resource.farewell()
        raise Problem(what, where=str(change.resource), todo=f"To go on with it: {todo}", code=errors.UNSUPPORTED)
    if change.status() == PENDING:
        return []
    inverse = [replace(each, folders=change.folders) for each in change.resource.inverse(change)]
    if len(inverse) == 1 and inverse[0].status() == DRIFTED:
        raise Drift("has been edited since, and was left as it is", where=str(change.resource))
    for each in inverse:
        if why := each.resource.obstacle():
            raise Problem(why, where=change.resource.path, todo=f"By hand: {change.sentence()}, the other way")
    return inverse


def _set(change: Change, now: str | None, value: str | None, scratch: str) -> None:
    """Write the value, with the directories that it needs; the ones made for the other value go with it."""
    resource = change.resource
    resource.make(resource.folders(value))
    resource.write(now, value, scratch)
    if not resource.owns_folders(value):
        resource.unmake(change.folders)


_BACK = "-back"  # ends the name of the scratch file of a write that takes another one back


def _settle(change: Change, scratch: str) -> None:
    """Only beside the file that it was for: a journal might have been made to say something else."""
    if not scratch:
        change.resource.settle(change.after, "")
    elif os.path.dirname(scratch) == files.folder_behind(change.resource.path):
        change.resource.settle(change.after, scratch)
        change.resource.settle(change.before, scratch + _BACK)


def _newcomers(change: Change, inverse: list[Change]) -> list[str]:
    """What had appeared where something came back: merged into it, or, where the names are taken, kept aside."""
    if len(inverse) < 2:
        return []
    location, aside = change.resource, inverse[0].resource
    assert isinstance(location, Location)
    assert isinstance(aside, Location)
    if not files.is_folder(aside.aside):
        return [f"a newer {location.path} is kept as {aside.aside}"]
    files.remove_empty(aside.aside)
    merged = [f"kept {each.resource.aside}" for each in inverse[2:] if isinstance(each.resource, Location)]
    left = [
        f"a newer {os.path.join(location.path, name)} is kept as {os.path.join(aside.aside, name)}"
        for name in files.tree(aside.aside)
    ]
    return merged + left


def _as_problem(error: Problem | OSError, where: str) -> Problem:
    return error if isinstance(error, Problem) else Problem(explain(error), where=str(error.filename or where))


def _why(error: BaseException) -> str:
    """For the journal: what kind of thing happened. Not its text, which may quote a file."""
    return type(error).__name__
