"""What we may own on a machine, and the one table that apply, undo, verify and recover are read from.

A resource is the smallest such piece: it can be read, and written to one of the values that it has had. It is data
(`to_json`, `from_json`), so a run can be taken back when the remedy that made it is gone. The set is closed.

    | now equals | status  | apply       | undo                |
    |------------|---------|-------------|---------------------|
    | before     | pending | write after | nothing to do       |
    | after      | done    | nothing     | write before        |
    | neither    | drifted | stop        | leave it, report it |

The kinds: pieces of text files (`texts`), places and modes (`places`), values of Windows' registry (`values`), entries
of a secret store (`entry`), processes (`process`). A secret is never a value: `seals` puts a mark in its place.
"""

from __future__ import annotations

import os

from ccremedy import files
from ccremedy.errors import Problem
from ccremedy.record import dataclass, field, fields, is_list, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

    from ccremedy.resources.entry import Entry
    from ccremedy.resources.places import Location, Mode
    from ccremedy.resources.process import Process
    from ccremedy.resources.texts import Assignment, Block, Line, Setting, Whole
    from ccremedy.resources.values import Segment, Value

__all__ = [
    "DONE",
    "DRIFTED",
    "KINDS",
    "PENDING",
    "Assignment",
    "Block",
    "Change",
    "Entry",
    "Line",
    "Location",
    "Mode",
    "Process",
    "Resource",
    "Segment",
    "Setting",
    "Value",
    "Whole",
    "change_from_json",
    "is_path",
    "same",
]

PENDING, DONE, DRIFTED = "pending", "done", "drifted"


@dataclass(frozen=True)
class Resource:
    """A value of a resource is a string, or None where its file does not exist."""

    path: str
    FOLDER_MODE = 0o777  # of directories that a write has to make, before the umask
    REVERSIBLE = True
    SCRATCH = False  # whether a write needs a file beside it
    PAUSE = 0.0  # seconds after which a running program that ignores locks would have overwritten us

    def read(self) -> str | None:
        raise NotImplementedError

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        """Make it `value`. `now` is what `read` said; Drift if it is not so any more."""
        raise NotImplementedError

    def settle(self, value: str | None, scratch: str) -> None:
        """Clear away what a crash in `write(…, value, scratch)` has left, and nothing that is not ours."""

    def obstacle(self) -> str:
        """Why we must not write it ('' if we may)."""
        return files.obstacle(self.path)

    def preview(self, value: str | None) -> tuple[bytes, bytes] | None:
        """The bytes of the file today, and with `value`; None where a diff says nothing."""
        return None

    def sentence(self, before: str | None, after: str | None) -> str:
        verb = "add" if not before else "remove" if not after else "change"
        return f"{verb} {self}"

    def fingerprint(self) -> str:
        """Something that differs when the target differs, by which a plan recognises it."""
        import hashlib

        return hashlib.blake2b(files.read(self.path) or b"", digest_size=16).hexdigest()

    def folders(self, value: str | None) -> tuple[str, ...]:
        """The directories that writing `value` has to make first."""
        return files.missing_folders(files.resolve(self.path)) if value is not None else ()

    def make(self, folders: tuple[str, ...]) -> None:
        files.make_folders(folders, self.FOLDER_MODE)

    def unmake(self, folders: tuple[str, ...]) -> None:
        """Take such directories away again, as far as nothing is in them."""
        files.remove_folders(folders)

    @classmethod
    def is_place(cls, path: str) -> bool:
        """Whether `path`, or one of `folders`, can be of this kind: a journal might say anything."""
        return is_path(path)

    def owns_folders(self, value: str | None) -> bool:
        """Whether directories that had to be made were made for this value, and go when it goes."""
        return value is not None

    def inverse(self, change: Change) -> Iterator[Change]:
        """The changes that take `change` back, on the machine as it is now."""
        yield Change(self, change.after, change.before, by_hand=change.by_hand)

    def farewell(self) -> str:
        """What to do by hand where nothing can be taken back."""
        return ""


def same(one: str | None, other: str | None) -> bool:
    """Whether two values are the same to us: a file without our piece is as good as no file."""
    return (one or "") == (other or "")


@dataclass(frozen=True)
class Change:
    """A resource that is to go from one value to another.

    `by_hand` is what a person would do instead; `refused` says why we do not do it; `expects` says what a fresh
    shell (see `shells.prove`) or a program (see `effects.missed`) must tell afterwards.
    """

    resource: Resource
    before: str | None
    after: str | None
    summary: str = ""
    by_hand: str = ""
    refused: str = ""
    expects: tuple[str, ...] = ()
    folders: tuple[str, ...] = field(default=(), compare=False)

    def status(self) -> str:
        now = self.resource.read()
        return PENDING if same(now, self.before) else DONE if same(now, self.after) else DRIFTED

    def key(self) -> tuple[str, ...]:
        """What it is about, wherever in its file that stands."""
        return type(self.resource).__name__, self.resource.path, getattr(self.resource, "name", "")

    def sentence(self) -> str:
        return self.summary or self.resource.sentence(self.before, self.after)

    def to_json(self) -> dict[str, object]:
        """Everything that undo and recover need; no more."""
        record: dict[str, object] = {"kind": type(self.resource).__name__.lower()}
        record |= {part.name: getattr(self.resource, part.name) for part in fields(self.resource)}
        return record | {
            "before": self.before,
            "after": self.after,
            "summary": self.sentence(),
            "expects": list(self.expects),
            "folders": list(self.folders),
        }


def _is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string that a file could hold; JSON can spell some that none can."""
    try:
        return isinstance(value, str) and value.encode("utf-8", "surrogateescape") >= b""
    except UnicodeEncodeError:
        return False


def _are_texts(values: list[object]) -> TypeGuard[list[str]]:
    return all(_is_text(value) for value in values)


def is_path(value: object) -> bool:
    """Absolute, without detours, and such as can be in a file system."""
    text = str(value)
    return _is_text(value) and os.path.isabs(text) and os.path.normpath(text) == text and "\0" not in text


def _is_below(path: str, folder: str) -> bool:
    """Whether it is in this directory; of a value's own key, `path`, the registry may have to make that itself."""
    is_key = path == folder and not os.path.isabs(folder)
    return is_key or (path.startswith(folder) and path[len(folder) :][:1] in ("/", "\\"))


# By name, because most runs need only some of them, and the hot path counts its imports.
_MODULES = {
    **dict.fromkeys(("Block", "Line", "Assignment", "Setting", "Whole"), "texts"),
    **dict.fromkeys(("Location", "Mode"), "places"),
    **dict.fromkeys(("Value", "Segment"), "values"),
    "Entry": "entry",
    "Process": "process",
}
KINDS = {name.lower(): name for name in _MODULES}


def __getattr__(name: str) -> type[Resource]:
    if name not in _MODULES:
        raise AttributeError(f"module 'ccremedy.resources' has no attribute {name!r}")
    from importlib import import_module

    kind: type[Resource] = getattr(import_module(f"ccremedy.resources.{_MODULES[name]}"), name)
    return kind


def change_from_json(record: object) -> Change:
    """The Change of a journal or plan record. Problem where the record is not one that `to_json` writes."""
    if not is_object(record) or not isinstance(word := record.get("kind"), str) or word not in KINDS:
        raise Problem("holds a change of an unknown kind")
    kind = __getattr__(KINDS[word])
    values: dict[str, object] = {}
    for part in fields(kind):
        value = record.get(part.name)
        if type(value).__name__ != str(part.type):
            raise Problem(f"holds a {word} without a proper “{part.name}”")
        if isinstance(value, str) and not _is_text(value):
            raise Problem(f"holds a {word} with a “{part.name}” that cannot be")
        values[part.name] = value
    before, after, summary = record.get("before"), record.get("after"), record.get("summary")
    expects, folders = record.get("expects"), record.get("folders")
    if not is_list(expects) or not is_list(folders) or not isinstance(summary, str):
        raise Problem(f"holds a {word} without its parts")
    paths = [values["path"], values.get("aside", values["path"]), *folders]
    inside = tuple(str(path) for path in folders if path)
    if not (
        (before is None or _is_text(before))
        and (after is None or _is_text(after))
        and _are_texts(expects)
        and _are_texts(folders)
        and all(_is_text(path) and kind.is_place(path) for path in paths)
        and all(any(_is_below(str(path), folder) for path in paths[:2]) for folder in inside)
    ):
        raise Problem(f"holds a {word} with values that cannot be")
    return Change(
        kind(**values),  # type: ignore[arg-type]
        before,
        after,
        summary=summary,
        expects=tuple(expects),
        folders=tuple(folders),
    )
