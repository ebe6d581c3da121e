r"""Values in the registry of Windows, and the entries of those that are lists (PATH).

`path` is the key, `HKEY_CURRENT_USER\Environment`. Between our look and the write another program may write the value
too: the registry has no swap, so that gap of microseconds remains.
"""

from __future__ import annotations

from ccremedy import editors, hive
from ccremedy.errors import Drift, Problem
from ccremedy.record import dataclass
from ccremedy.resources import Resource, same


class Registered(Resource):
    """What values and their entries have in common. None: there is no such key (Value), no such value (Segment)."""

    name: str

    def raw(self) -> tuple[int, bytes] | None:
        return hive.read(self.path, self.name)

    def obstacle(self) -> str:
        return hive.obstacle(self.path)

    def fingerprint(self) -> str:
        from hashlib import blake2b  # only for a plan

        raw = self.raw()
        return blake2b(hive.spelled(*raw).encode() if raw else b"", digest_size=16).hexdigest()

    def folders(self, value: str | None) -> tuple[str, ...]:
        return hive.missing_keys(self.path) if value is not None else ()

    def make(self, folders: tuple[str, ...]) -> None:
        hive.make_keys(folders)

    def unmake(self, folders: tuple[str, ...]) -> None:
        hive.remove_keys(folders)

    @classmethod
    def is_place(cls, path: str) -> bool:
        return hive.is_key(path)


@dataclass(frozen=True)
class Value(Registered):
    """A value; as text: its type and what it holds (see `hive.spelled`), with a mark for a secret if `vault` is set."""

    name: str
    vault: str = ""

    def __str__(self) -> str:
        return f"“{self.name}” in {self.path}"

    def read(self) -> str | None:
        raw = self.raw()
        if raw is None:
            return "" if hive.exists(self.path) else None
        text = hive.as_text(*raw)
        if not self.vault or not text:
            return hive.spelled(*raw)
        from ccremedy import seals  # only where there is something to hide
        from ccremedy.redact import Secret

        return f"{hive.KINDS[raw[0]]} {seals.mark(Secret(text))}"

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        if not same(self.read(), now):  # by now its key may have been made, so that it is '' and was None
            raise Drift("changed while we were working", where=str(self))
        hive.write(self.path, self.name, self._unsealed(value) if value else None)

    def _unsealed(self, value: str) -> tuple[int, bytes]:
        kind, _, rest = value.partition(" ")
        if not self.vault or not rest.startswith("‹"):
            return hive.unspelled(value)
        from ccremedy import seals

        return hive.KINDS.index(kind), hive.as_data(seals.unseal(rest, self.vault))

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        return _line(self.name, self.read()), _line(self.name, value)


@dataclass(frozen=True)
class Segment(Registered):
    """The entry `entry` of a value that is a list with semicolons; the value is the entry as it stands there, or ''.

    It is put before the others: what stands behind it could only be taken back by a guess. What others change in the
    list, before and afterwards, stays theirs, and so does the type of the value.
    """

    name: str
    entry: str

    def __str__(self) -> str:
        return f"“{self.entry}” in {self.name} of {self.path}"

    def sentence(self, before: str | None, after: str | None) -> str:
        where = f"of the variable {self.name} ({self.path})"
        return f"put {self.entry} in front {where}" if after else f"take {self.entry} out {where}"

    def text(self) -> str | None:
        """The whole list. Drift where the value is none."""
        raw = self.raw()
        if raw is None:
            return None
        text = hive.as_text(*raw)
        if text is None:
            kind = hive.spelled(*raw).partition(" ")[0]
            what = f"has the type {kind}" if raw[0] not in (1, 2) else f"is a {kind} that holds no proper text"
            todo = "Look at it with regedit: no program could make a PATH of it"
            raise Drift(f"{what}, so it is left alone", where=rf"{self.path}\{self.name}", todo=todo)
        return text

    def read(self) -> str | None:
        text = self.text()
        return None if text is None else editors.get_entry(text, self.entry)

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        raw, text = self.raw(), self.text()
        if (None if text is None else editors.get_entry(text, self.entry)) != now:
            raise Drift("changed while we were working", where=str(self))
        edited = editors.put_entry(text or "", self.entry, bool(value))
        gone = value is None and not edited  # a value that we made goes when nothing else is in it
        hive.write(self.path, self.name, None if gone else (raw[0] if raw else 2, hive.as_data(edited)))

    def obstacle(self) -> str:
        try:
            edited = editors.put_entry(self.text() or "", self.entry, True)
        except Problem as problem:
            return problem.what
        if len(edited) >= hive.LONGEST:
            return f"would make {self.name} longer ({len(edited)} characters) than an environment can hold"
        return super().obstacle()

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        text = self.text() or ""
        return _lines(text), _lines(editors.put_entry(text, self.entry, bool(value)))


def _line(name: str, value: str | None) -> bytes:
    from ccremedy.redact import MASK
    from ccremedy.seals import is_sealed

    shown = MASK if value and is_sealed(value) else value
    return f"{name} = {shown}\n".encode("utf-8", "surrogatepass") if shown else b""


def _lines(text: str) -> bytes:
    """An entry a line, so that a diff shows which."""
    return "".join(f"{entry}\n" for entry in text.split(";")).encode("utf-8", "surrogatepass") if text else b""
