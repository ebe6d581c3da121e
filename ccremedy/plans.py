"""Plan files: what `plan` saw and proposed, so that `apply --plan` does exactly that or nothing.

A plan is an expectation, not a program: nothing in it is executed. `apply --plan` diagnoses again, and goes on only if
the machine proposes the very same changes to the very same targets. A forged plan can therefore do no more than fail.
"""

from __future__ import annotations

import json
import os
import time

from ccremedy import __version__, files
from ccremedy.errors import UNSUPPORTED, USAGE, Drift, Problem
from ccremedy.record import is_list, is_object
from ccremedy.resources import change_from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict, TypeGuard

    from ccremedy.finding import Finding
    from ccremedy.journal import Run
    from ccremedy.machine import Machine

    class Plan(TypedDict):
        schema: int
        plan: str
        created: str
        ccremedy: str
        platform: str
        home: str
        remedies: list[str]
        options: dict[str, bool | str]
        changes: list[dict[str, object]]


_LIMIT = 1 << 20
_SHAPE: dict[str, type] = {
    "schema": int, "plan": str, "created": str, "ccremedy": str, "platform": str, "home": str, "remedies": list,
    "options": dict, "changes": list,
}  # fmt: skip


def make(machine: Machine, remedies: list[str], findings: list[Finding]) -> Plan:
    return {
        "schema": 1,
        "plan": os.urandom(8).hex(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ccremedy": __version__,
        "platform": machine.adapter.name,
        "home": machine.home,
        "remedies": remedies,
        "options": {name: _harmless(name, value) for name, value in sorted(machine.options.items()) if value},
        "changes": proposal(findings),
    }


def _harmless(name: str, value: bool | str) -> bool | str:
    from ccremedy.redact import redact

    if isinstance(value, str) and redact(value) != value:
        todo = "Leave it out of the plan: `ccremedy apply` takes it at once"
        raise Problem("would stand in the plan with its password", where=f"--{name}", todo=todo, code=USAGE)
    return value


def proposal(findings: list[Finding]) -> list[dict[str, object]]:
    return [
        {
            "remedy": finding.remedy,
            "finding": finding.id,
            "target": change.resource.fingerprint(),
            **change.to_json(),
        }
        for finding in findings
        for change in finding.changes
        if not change.refused
    ]


def write(path: str, plan: Plan) -> None:
    """To a file (0600), or to standard output for "-". Problem where the file cannot be written."""
    text = json.dumps(plan, indent=2) + "\n"
    if path == "-":
        print(text, end="")
        return
    path = os.path.abspath(path)
    why = "is there already" if files.status(path, follow=False) else files.obstacle(path)
    if not files.is_folder(os.path.realpath(os.path.dirname(path))):
        why = "cannot be written, because its directory is not there"
    if why:
        raise Problem(why, where=path, todo="Choose another file", code=UNSUPPORTED)
    files.write_new(path, text.encode())


def load(path: str) -> Plan:
    """A plan that `make` made. Problem (2) where it is not one, (6) where others could have written it."""
    path = os.path.abspath(path)
    found = files.status(path)
    if found is None:
        raise Problem("there is no such plan", where=path, code=USAGE)
    if files.open_to_others(path):
        todo = f"Let nobody else write to it (chmod go-w {path}), or make a new one"
        raise Problem("could have been written by another user", where=path, todo=todo, code=UNSUPPORTED)
    try:
        plan = json.loads(files.read(path, _LIMIT) or b"")
    except (ValueError, RecursionError):
        raise Problem(
            "is not a plan: it does not parse as JSON", where=path, todo="Make a new one", code=USAGE
        ) from None
    if not is_object(plan) or plan.keys() != _SHAPE.keys():
        raise Problem("is not a plan: other keys than a plan has", where=path, todo="Make a new one", code=USAGE)
    if plan["schema"] != 1 or not all(type(plan[key]) is kind for key, kind in _SHAPE.items()):
        raise Problem("is not a plan of this version", where=path, todo="Make a new one", code=USAGE)
    if not _names_texts(plan):
        raise Problem("is not a plan: a remedy or option is no text", where=path, todo="Make a new one", code=USAGE)
    try:
        for change in plan["changes"]:
            change_from_json(change)
    except (Problem, TypeError, KeyError):
        raise Problem(
            "is not a plan: a change in it cannot be", where=path, todo="Make a new one", code=USAGE
        ) from None
    return plan


def _names_texts(plan: dict[str, object]) -> TypeGuard[Plan]:
    """Whether its remedies are texts, and its options texts or just set."""
    remedies, options = plan["remedies"], plan["options"]
    return (
        is_list(remedies) and all(isinstance(each, str) for each in remedies)
        and is_object(options) and all(each is True or (each and isinstance(each, str)) for each in options.values())
    )  # fmt: skip


def check_unused(plan: Plan, runs: list[Run]) -> None:
    """Drift (8) where a run has already carried this plan out."""
    for run in runs:
        if run.plan == plan["plan"]:
            raise Drift(f"was already carried out, as run {run.number}", where="the plan", todo="Make a new plan")


def check(plan: Plan, machine: Machine, findings: list[Finding], runs: list[Run]) -> None:
    """Drift (8) unless this plan was not used before and is what this machine proposes now."""
    again = "Make a new plan"
    check_unused(plan, runs)
    if (plan["home"], plan["platform"]) != (machine.home, machine.adapter.name):
        raise Drift("was made for another home directory or platform", where="the plan", todo=again)
    now = proposal(findings)
    for finding in findings:
        for change in finding.changes:
            if change.refused and any(change.key() == change_from_json(each).key() for each in plan["changes"]):
                what = f"can no longer be done: it {change.refused}"
                raise Problem(what, where=str(change.resource), code=UNSUPPORTED)
    for planned, current in zip(plan["changes"], now):
        if planned != current:
            raise Drift("has changed since the plan was made", where=str(planned.get("path")), todo=again)
    if len(plan["changes"]) != len(now):
        raise Drift("this machine needs other changes than when the plan was made", todo=again)
