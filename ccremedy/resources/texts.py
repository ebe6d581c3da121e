"""Pieces of text files. '' stands for a file without the piece, None for no file."""

from __future__ import annotations

import contextlib
import os
import time

from ccremedy import editors, files
from ccremedy.errors import Drift, Problem
from ccremedy.record import dataclass, replace
from ccremedy.resources import Change, Resource, same

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager


UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # what such a file begins with


@dataclass(frozen=True)
class Text(Resource):
    SCRATCH = True
    LIMIT = files.LIMIT  # bytes
    MODE = 0o644  # of a file that has to be made, less the umask

    def extract(self, data: bytes) -> str:
        raise NotImplementedError

    def edit(self, data: bytes, value: str) -> bytes:
        raise NotImplementedError

    def lock(self) -> AbstractContextManager[None]:
        """What other writers of the file agree on."""
        return contextlib.nullcontext()

    def load(self) -> bytes | None:
        return files.read(self.path, self.LIMIT)

    def read(self) -> str | None:
        data = self.load()
        return None if data is None else self.extract(data)

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        with self.lock():
            data = self.load()
            if (None if data is None else self.extract(data)) != now:
                raise Drift("changed while we were working", where=self.path)
            edited = self.edit(data or b"", value or "")
            # A file that we created goes when nothing else is in it; what a user has written since keeps it.
            gone = value is None and not edited
            files.replace(self.path, data, None if gone else edited, scratch, self.MODE)

    def settle(self, value: str | None, scratch: str) -> None:
        files.finish_swap(self.path, scratch)
        if files.status(scratch, follow=False) is None:
            return
        with self.lock():
            other, mine = files.read(scratch, self.LIMIT) or b"", self.load()
            if mine is None and value is None and self._with(other, value):
                files.move(scratch, files.resolve(self.path))  # aside for a look, and somebody had written into it
            elif mine is None or not same(self._value(mine), value) or self._with(other, value) == mine:
                files.discard(scratch)  # ours, as far as it was written; or the very file that ours was made from
            else:
                theirs = self._value(other)
                # Ours would hold the value, or not be whole: then another program wrote it at the moment of the swap.
                is_theirs = other and theirs is not None and not same(theirs, value)
                if is_theirs and files.untouched_since_swap(self.path, scratch):
                    files.swap_back(self.path, scratch)
                files.move(scratch, files.free_name(self.path))  # what cannot be told for sure is kept

    def _value(self, data: bytes) -> str | None:
        """What it holds; None where it cannot be read, because it was never finished."""
        try:
            return self.extract(data)
        except Problem:
            return None

    def _with(self, data: bytes, value: str | None) -> bytes | None:
        try:
            return self.edit(data, value or "")
        except Problem:
            return None

    def obstacle(self) -> str:
        why = files.obstacle(self.path, self.LIMIT)
        if not why and files.read_start(self.path, 2) in UTF_16:
            if not self.is_for_powershell():
                return "is UTF-16, which ccremedy does not edit"
            return editors.utf_16_obstacle(files.read(self.path, self.LIMIT) or b"")
        return why

    def is_for_powershell(self) -> bool:
        """Which reads UTF-16, and writes it."""
        return False

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        data = files.read(self.path, self.LIMIT) or b""
        return editors.as_utf8(data), editors.as_utf8(self.edit(data, value or ""))


@dataclass(frozen=True)
class Block(Text):
    """A marked block `name` in the start-up file of `shell`; the value is its body, whole lines.

    `role` says which shells read the file: "login", "interactive" or "all". A new block stands at the top, because
    everything below may return early, and at the end if a real shell then says that something below undid it.
    """

    name: str
    shell: str
    role: str
    at_end: bool = False

    def __str__(self) -> str:
        return f"block “{self.name}” in {self.path}"

    def extract(self, data: bytes) -> str:
        try:
            return editors.get_block(self._text(data), self.name) or ""
        except Problem as problem:
            raise Drift(problem.what, where=self.path, todo=problem.todo) from None

    def edit(self, data: bytes, value: str) -> bytes:
        edited = editors.put_block(self._text(data), self.name, value or None, self.at_end)
        return editors.encoded_like(data, edited) if self.is_for_powershell() else edited

    def _text(self, data: bytes) -> bytes:
        return editors.as_utf8(data) if self.is_for_powershell() else data

    def is_for_powershell(self) -> bool:
        return self.shell == "powershell"


def at_the_end(change: Change) -> Change | None:
    """The same block at the other end of its file, for when something below it undoes it."""
    if not isinstance(change.resource, Block) or change.resource.at_end or change.before or not change.after:
        return None
    return replace(change, resource=replace(change.resource, at_end=True))


@dataclass(frozen=True)
class Line(Text):
    """The line of an npmrc that decides `name`; the value is the line itself, so that undo gives its spelling back."""

    name: str

    def __str__(self) -> str:
        return f"“{self.name}” in {self.path}"

    def extract(self, data: bytes) -> str:
        return editors.get_line(data, self.name)

    def edit(self, data: bytes, value: str) -> bytes:
        return editors.put_line(data, self.name, value)


@dataclass(frozen=True)
class Whole(Text):
    """A file of our own making; the value is all that is in it."""

    MODE = 0o600

    def __str__(self) -> str:
        return f"file {self.path}"

    def extract(self, data: bytes) -> str:
        return data.decode("utf-8", "surrogateescape")

    def edit(self, data: bytes, value: str) -> bytes:
        return value.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Assignment(Text):
    """The lines that set `name` in a start-up file ("sh", "fish", "powershell"), a .env file ("env") or an npmrc.

    The value is those lines, with a mark for the secret in each where `vault` names the store that holds it. A line is
    put aside by a comment of ours that takes its place, so that undo gives it back just there.
    """

    name: str
    syntax: str
    vault: str = ""

    def __str__(self) -> str:
        return f"“{self.name}” in {self.path}"

    def sentence(self, before: str | None, after: str | None) -> str:
        return f"{'put back' if editors.is_aside(before or '') else 'take out'} {self}"

    def extract(self, data: bytes) -> str:
        found = editors.get_assignments(data, self.name, self.syntax)
        if not self.vault:
            return "\n".join(each.line for each in found)
        from ccremedy import seals  # only where there is something to hide

        return "\n".join(each.line if each.aside else seals.seal(each.line, each.raw, each.value) for each in found)

    def edit(self, data: bytes, value: str) -> bytes:
        return editors.put_assignments(data, self.name, self.syntax, _unsealed(value, self.vault))

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        data = files.read(self.path, self.LIMIT) or b""
        hidden = editors.put_assignments(data, self.name, self.syntax, self.extract(data))
        shown = editors.put_assignments(data, self.name, self.syntax, value or "")
        return editors.as_utf8(hidden), editors.as_utf8(shown)

    def is_for_powershell(self) -> bool:
        return self.syntax == "powershell"


@dataclass(frozen=True)
class Setting(Text):
    """A member of a JSON file; `name` is its JSON pointer (RFC 6901), the value its source text.

    `strict` files may hold no comments: whoever reads them ignores such a file as a whole. `place` says where the
    member stands or goes (see `jsonc.place`), so that undo gives the same bytes back; `vault` is as in `Assignment`.
    """

    name: str
    strict: bool = True
    vault: str = ""
    place: str = ""
    LIMIT = 256 * 2**20
    MODE = 0o600

    @classmethod
    def at(cls, path: str, name: str, strict: bool = True, vault: str = "") -> Setting:
        """The member where it stands, or would go, in the file as it is."""
        from ccremedy import jsonc

        setting = cls(path, name, strict, vault)
        try:
            place = jsonc.place(files.read(path, cls.LIMIT) or b"", setting.keys())
        except Problem:  # which reading it will say
            return setting
        return replace(setting, place=place)

    def __str__(self) -> str:
        return f"“{'.'.join(self.keys())}” in {self.path}"

    def keys(self) -> list[str]:
        return [part.replace("~1", "/").replace("~0", "~") for part in self.name.split("/")[1:]]

    @property
    def PAUSE(self) -> float:  # type: ignore[override]
        return 0.25 if self._is_shared() else 0.0

    def lock(self) -> AbstractContextManager[None]:
        return files.folder_lock(f"{self.path}.lock") if self._is_shared() else super().lock()

    def load(self) -> bytes | None:
        """Where a session writes in place, it is empty or cut short for a moment."""
        data = super().load()
        for _ in range(20 if self._is_shared() else 0):
            if data is None or (data and self._value(data) is not None):
                break
            time.sleep(0.05)
            data = super().load()
        return data

    def settle(self, value: str | None, scratch: str) -> None:
        super().settle(value, scratch)
        files.drop_lock(f"{self.path}.lock")

    def _is_shared(self) -> bool:
        """Whether running sessions write it too."""
        return os.path.basename(self.path) in (".claude.json", ".config.json")

    def extract(self, data: bytes) -> str:
        from ccremedy import jsonc

        if data[:2] in UTF_16:
            raise Drift("is UTF-16, which ccremedy does not edit", where=self.path)
        try:
            if self.strict:
                jsonc.parse(data, strict=True)
            raw = jsonc.get(data, self.keys()) or ""
        except Problem as problem:
            todo = "`ccremedy apply reset-config` moves it aside" if self.strict else "Mend it with an editor"
            raise Drift(problem.what, where=self.path, todo=todo) from None
        if not raw or not self.vault:
            return raw
        from ccremedy import seals

        value = jsonc.parse(raw.encode("utf-8", "surrogateescape"))
        return seals.seal(raw, raw, value if isinstance(value, str) else raw)

    def edit(self, data: bytes, value: str) -> bytes:
        return self._edited(data, _unsealed(value, self.vault))

    def _edited(self, data: bytes, raw: str) -> bytes:
        from ccremedy import jsonc

        return jsonc.put(data, self.keys(), raw, self.place) if raw else jsonc.cut(data, self.keys(), self.place)

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        data = files.read(self.path, self.LIMIT) or b""
        if not self.vault:
            return data, self._edited(data, value or "")
        import json

        def hidden(text: str) -> str:
            from ccremedy.seals import is_sealed

            return json.dumps("<redacted>") if is_sealed(text) else text

        return self._edited(data, hidden(self.extract(data))), self._edited(data, hidden(value or ""))


def _unsealed(value: str, vault: str) -> str:
    if not vault:
        return value
    from ccremedy import seals

    return seals.unseal(value, vault)
