"""A file with certificate authorities: may Claude Code be told to trust it?"""

from __future__ import annotations

import os
import stat
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
    copied: bool = False  # into a file of our own, which has to be written

    def describe(self) -> list[str]:
        return [certificates.describe(each) for each in self.bundle.certificates if each.is_ca][:5]

    def written(self) -> Iterator[Change]:
        if self.copied:
            yield from want(Whole(self.path), self.bundle.pem)


def read(machine: Machine, path: str, convert: bool) -> Authority:
    """The authority in this file; in a copy of ours where it has another form than PEM and `convert` is asked for."""
    try:
        data = files.read(path, certificates.LIMIT) if os.path.isabs(path) else b""
    except Problem as problem:
        return Authority(path, certificates.judge(b"", 0), (problem.what,))
    found = certificates.judge(data or b"", time.time())
    if not os.path.isabs(path):
        return Authority(path, found, ("is no absolute path, and Claude Code starts in other directories",))
    if data is None:
        return Authority(path, found, ("is not there",))
    if convert and found.pem and found.form != "pem":
        rest = certificates.judge(found.pem.encode(), time.time())
        return Authority(_own_file(machine, rest), rest, tuple(each.sentence for each in rest.fatal), copied=True)
    faults = [each.sentence for each in found.fatal]
    if found.pem and found.form != "pem":
        faults.append("say --convert to have a PEM copy made")
    return Authority(path, found, (*faults, *_open_to_others(machine, path)))


def presented(machine: Machine, chain: tuple[bytes, ...]) -> Authority:
    """What a network presents, as an authority of our own keeping."""
    bundle = certificates.chain_roots(chain, time.time())
    return Authority(_own_file(machine, bundle), bundle, tuple(each.sentence for each in bundle.fatal), copied=True)


def _own_file(machine: Machine, bundle: certificates.Bundle) -> str:
    """Named by what is in it, so that two authorities never share a file."""
    first = next((each.sha256[:12] for each in bundle.certificates), "none")
    return machine.path(".local", "share", "ccremedy", f"authority-{first}.pem")


def _open_to_others(machine: Machine, path: str) -> Iterator[str]:
    """Whoever can change this file can read everything that Claude Code says."""
    real = os.path.realpath(path)
    temporary = [os.path.realpath(machine.system(folder)) + "/" for folder in ("/tmp", "/var/tmp")]
    if real.startswith(tuple(temporary)):
        yield "lies in a directory for temporary files, which is emptied"
    for part in files.walk_up(real):
        found = files.status(part)
        if found is None or part == machine.facts.root.rstrip("/"):
            return
        if found.st_uid not in (0, os.geteuid()):
            yield f"can be changed by another user, to whom {part} belongs"
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & 0o022 and not sticky:
            yield f"can be changed by other users: {part} has mode {stat.S_IMODE(found.st_mode):04o}"
