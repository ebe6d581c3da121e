"""A file with certificate authorities: may Claude Code be told to trust it?"""

from __future__ import annotations

import os
import time

from ccremedy import Change, Machine, Problem, Whole, certificates, files, want
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Authority:
    """Certificates that could be trusted, the file that they are in or go to, and what speaks against it."""

    path: str
    bundle: certificates.Bundle
    faults: tuple[str, ...] = ()
    todo: str = ""
    copied: bool = False  # into a file of our own, which has to be written

    def describe(self) -> list[str]:
        return [certificates.describe(each) for each in self.bundle.certificates if each.is_ca][:5]

    def written(self) -> Iterator[Change]:
        if self.copied:
            yield from want(Whole(self.path), self.bundle.pem)


ASK, HOME = "Ask whoever runs your network for it, as a PEM file", "Keep a copy of it in your home directory"


def read(machine: Machine, path: str, convert: bool) -> Authority:
    """The authority in this file; in a copy of ours where it has another form than PEM and `convert` is asked for."""
    nothing = certificates.judge(b"", 0)
    if not os.path.isabs(path):
        elsewhere = "is no absolute path, and Claude Code starts in other directories"
        return Authority(path, nothing, (elsewhere,), "Give the whole path")
    try:
        data = files.read(path, certificates.LIMIT)
    except Problem as problem:
        return Authority(path, nothing, (problem.what,), ASK)
    if data is None:
        return Authority(path, nothing, ("is not there",), "Give the path of a file that is")
    found = certificates.judge(data, time.time())
    faults, todo = _clauses(found), ASK
    if found.pem and found.form != "pem":
        if convert:
            pem = certificates.judge(found.pem.encode(), time.time())
            return Authority(_own_file(machine, pem), pem, _clauses(pem), ASK, copied=True)
        faults, todo = (
            faults or (f"is of another form than PEM ({found.form})",),
            "Say --convert to have a PEM copy made",
        )
    if not faults and (others := tuple(_open_to_others(machine, path))):
        faults, todo = others, HOME
    return Authority(path, found, faults, todo)


def _clauses(bundle: certificates.Bundle) -> tuple[str, ...]:
    """Its faults as ends of a sentence that begins with the path."""
    return tuple(each.sentence.removeprefix("It ").rstrip(".") for each in bundle.fatal)


def presented(machine: Machine, chain: tuple[bytes, ...]) -> Authority:
    """What a network presents, as an authority of our own keeping."""
    bundle = certificates.chain_roots(chain, time.time())
    return Authority(_own_file(machine, bundle), bundle, _clauses(bundle), ASK, copied=True)


def _own_file(machine: Machine, bundle: certificates.Bundle) -> str:
    """Named by what is in it, so that two authorities never share a file."""
    first = next((each.sha256[:12] for each in bundle.certificates), "none")
    return machine.path(".local", "share", "ccremedy", f"authority-{first}.pem")


def _open_to_others(machine: Machine, path: str) -> Iterator[str]:
    """Whoever can change this file can read everything that Claude Code says."""
    real = os.path.realpath(path)
    variables = (machine.env[name] for name in ("TEMP", "TMP", "TMPDIR") if machine.env.get(name))
    temporary = [machine.system(folder) for folder in ("/tmp", "/var/tmp")] + list(variables)
    if {os.path.realpath(folder) for folder in temporary} & set(files.walk_up(os.path.dirname(real))):
        yield "lies in a directory for temporary files, which is emptied"
    for part in files.walk_up(real):
        if files.status(part) is None or part == os.path.realpath(machine.facts.root):
            return
        if others := files.open_to_others(part):
            yield f"can be changed by {others}"
