"""`ccremedy key`: the API key in the secret store, from the command line. It is never an argument, and never shown.

`key print` is what Claude Code runs each time it needs the key, so it loads next to nothing (see `vault.print_secret`).
"""

from __future__ import annotations

import os
import sys

from ccremedy import credentials, errors, seals
from ccremedy.cli import commands
from ccremedy.cli.report import Report, Screen
from ccremedy.diagnosis import Diagnosis
from ccremedy.errors import Problem
from ccremedy.finding import Finding
from ccremedy.record import replace
from ccremedy.redact import Secret
from ccremedy.resources import Change
from ccremedy.resources.entry import Entry
from ccremedy.resources.texts import Setting, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ccremedy.machine import Machine

WORDS = ("set", "status", "print", "rotate", "remove")


def act(options: argparse.Namespace, screen: Screen) -> Report:
    machine = commands.this_machine(options)
    if options.what == "status":
        return _status(machine, options)
    report = Report("key", machine.adapter.name, notes=commands.recover_first(machine, options))
    finding = _removal(machine) if options.what == "remove" else _new_key(machine, options)
    found = Diagnosis([replace(finding, remedy="key")], [], [])
    if not finding.changes:
        report.notes.append("nothing to do: ccremedy keeps this key already, and Claude Code asks for it")
        return report
    report.findings = found.findings
    if any(change.refused for change in finding.changes):
        report.exit = errors.UNSUPPORTED
        return report
    report = commands.carry_out(report, machine, found, {}, f"key {options.what}", options, screen)
    if options.what == "rotate" and report.exit == errors.OK:
        report.notes.append("revoke the old key in the Console; until then `ccremedy undo` goes back to it")
    return report


def print_key() -> int:
    """Print it for Claude Code; on standard error why not, with the exit code of that."""
    from ccremedy.registry import this_machine
    from ccremedy.vault import print_secret

    try:
        found = credentials.kept_key(this_machine({}))
        if not found:
            raise Problem("there is no key to print", todo="Store one with: ccremedy key set", code=errors.UNSUPPORTED)
    except Problem as problem:
        Screen().problem(problem)
        return problem.code
    vault = "" if found["vault"] == seals.OS_STORE else found["vault"]
    return print_secret(found["fingerprint"], os.environ, sys.stdout, vault)


def _status(machine: Machine, options: argparse.Namespace) -> Report:
    """Which credential wins, where each comes from, and what we keep."""
    from time import time

    report = Report("key", machine.adapter.name)
    held, unseen = credentials.logins(machine, thorough=True)
    used, kept = [*credentials.credentials(machine), *held], credentials.kept_key(machine)
    report.more["credentials"] = [
        {"level": each.level, "name": each.name, "where": each.where, "note": each.note, "wins": each is used[0]}
        for each in used
    ]
    report.notes += [f"{each.where} {each.note}. {each.todo}".rstrip(". ") for each in unseen]
    days = credentials.key_age(machine, time())
    report.more["key"] = {"fingerprint": kept["fingerprint"][:8], "days": days} if kept else None
    options.text += ["Claude Code uses the first of these:" if used else "Claude Code has no credential here."]
    options.text += [f"  {number}. {each}" for number, each in enumerate(used, 1)]
    if kept:
        options.text.append(f"ccremedy keeps the key with fingerprint {kept['fingerprint'][:8]}, since {days} days.")
    return report


def _new_key(machine: Machine, options: argparse.Namespace) -> Finding:
    from time import gmtime, strftime

    if options.what == "rotate" and not credentials.kept_key(machine):
        todo = "Store one with: ccremedy key set"
        raise Problem("there is no key to rotate", todo=todo, code=errors.UNSUPPORTED)
    vault = credentials.kept_key(machine).get("vault", seals.OS_STORE)
    vault = credentials.key_folder(machine) if options.owner_only_file else vault
    secret = Secret(commands.asked(options, "The key:"))
    if why := credentials.unfit(secret) or credentials.unstorable(machine, secret, vault):
        raise Problem(f"what was given {why}", todo="Nothing was changed", code=errors.USAGE)
    changes = tuple(credentials.keep(machine, secret, vault, strftime("%Y-%m-%d", gmtime())))
    return Finding("key", "store the key, and let Claude Code ask for it", changes=_all_or_none(changes), together=True)


def _removal(machine: Machine) -> Finding:
    """Forget the key, and every entry that undo of an earlier run would have needed."""
    kept = credentials.kept_key(machine)
    if not kept:
        raise Problem("there is no key to remove", code=errors.UNSUPPORTED)
    record = Whole(credentials.key_record(machine))
    ours = not any(credentials.helper(machine, kept["fingerprint"]))  # another program's stays
    changes = [_helper_gone(machine)] if ours else []
    changes.append(Change(record, record.read(), None, summary=f"remove {record.path}"))
    steps = (step for run in commands.journal_of(machine).sound_runs() for step in run.steps)
    entries = [each.resource for step in steps for each in step.changes if isinstance(each.resource, Entry)]
    changes += [Change(each, each.read(), "") for each in entries]
    distinct = {change.key(): change for change in changes if change.before}
    title = "remove the key for good; what moved it here cannot be undone then either"
    return Finding("key", title, changes=_all_or_none(tuple(distinct.values())), risk="medium", together=True)


def _helper_gone(machine: Machine) -> Change:
    from ccremedy import settings

    setting = Setting.at(settings.user_file(machine), "/apiKeyHelper")
    return Change(setting, setting.read(), "", refused=setting.obstacle())


def _all_or_none(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    why = next((change.refused for change in changes if change.refused), "")
    return tuple(replace(change, refused=why) for change in changes)
