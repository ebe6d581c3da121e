"""What we may own on a machine, and the one table that apply, undo, verify and recover are read from.

A resource is the smallest such piece: it can be read, and written to one of the values that it has had. It is data
(`to_json`, `from_json`), so a run can be taken back when the remedy that made it is gone. The set is closed.

    | now equals | status  | apply       | undo                |
    |------------|---------|-------------|---------------------|
    | before     | pending | write after | nothing to do       |
    | after      | done    | nothing     | write before        |
    | neither    | drifted | stop        | leave it, report it |
"""

from __future__ import annotations

import os

from ccremedy import editors, files
from ccremedy.errors import Drift, Problem
from ccremedy.record import dataclass, field, fields, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PENDING, DONE, DRIFTED = "pending", "done", "drifted"


@dataclass(frozen=True)
class Resource:
    """A value of a resource is a string, or None where its file does not exist."""

    path: str
    FOLDER_MODE = 0o777  # of directories that a write has to make, before the umask
    REVERSIBLE = True

    def read(self) -> str | None:
        raise NotImplementedError

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        """Make it `value`. `now` is what `read` said; Drift if it is not so any more."""
        raise NotImplementedError

    def obstacle(self) -> str:
        """Why we must not write it ('' if we may)."""
        return files.obstacle(self.path)

    def preview(self, value: str | None) -> tuple[bytes, bytes] | None:
        """The bytes of the file today, and with `value`; None where a diff says nothing."""
        return None

    def fingerprint(self) -> str:
        """Something that differs when the target differs, by which a plan recognises it."""
        import hashlib

        return hashlib.blake2b(files.read(self.path) or b"", digest_size=16).hexdigest()

    def folders(self, value: str | None) -> tuple[str, ...]:
        """The directories that writing `value` has to make first."""
        return files.missing_folders(files.resolve(self.path)) if value is not None else ()

    def owns_folders(self, value: str | None) -> bool:
        """Whether directories that had to be made were made for this value, and go when it goes."""
        return value is not None

    def inverse(self, change: Change) -> Iterator[Change]:
        """The changes that take `change` back, on the machine as it is now."""
        yield Change(self, change.after, change.before, by_hand=change.by_hand)


@dataclass(frozen=True)
class _Text(Resource):
    """A piece of a text file. '' stands for a file without the piece, None for no file."""

    def extract(self, data: bytes) -> str:
        raise NotImplementedError

    def edit(self, data: bytes, value: str) -> bytes:
        raise NotImplementedError

    def read(self) -> str | None:
        data = files.read(self.path)
        return None if data is None else self.extract(data)

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        data = files.read(self.path)
        if (None if data is None else self.extract(data)) != now:
            raise Drift("changed while we were working", where=self.path)
        edited = self.edit(data or b"", value or "")
        # A file that we created goes when nothing else is in it; what a user has written since keeps it.
        files.replace(self.path, data, None if value is None and not edited else edited, scratch)

    def obstacle(self) -> str:
        why = super().obstacle()
        if not why and files.read_start(self.path, 2) in (b"\xff\xfe", b"\xfe\xff"):
            return "is UTF-16, which nothing that reads it expects"
        return why

    def preview(self, value: str | None) -> tuple[bytes, bytes]:
        data = files.read(self.path) or b""
        return data, self.edit(data, value or "")


@dataclass(frozen=True)
class Block(_Text):
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
            return editors.get_block(data, self.name) or ""
        except Problem as problem:
            raise Drift(problem.what, where=self.path, todo=problem.todo) from None

    def edit(self, data: bytes, value: str) -> bytes:
        return editors.put_block(data, self.name, value or None, self.at_end)


@dataclass(frozen=True)
class Line(_Text):
    """The line of an npmrc that decides `key`; the value is the line itself, so that undo gives its spelling back."""

    key: str

    def __str__(self) -> str:
        return f"“{self.key}” in {self.path}"

    def extract(self, data: bytes) -> str:
        return editors.get_line(data, self.key)

    def edit(self, data: bytes, value: str) -> bytes:
        return editors.put_line(data, self.key, value)


HERE, ASIDE, BOTH, GONE = "here", "aside", "both", "gone"


@dataclass(frozen=True)
class Location(Resource):
    """A file or directory that is at `path` ("here"), or moved to `aside`: a rename, whatever its size."""

    aside: str
    FOLDER_MODE = 0o700

    def __str__(self) -> str:
        return f"location of {self.path}"

    def read(self) -> str:
        here = files.status(self.path, follow=False) is not None
        aside = files.status(self.aside, follow=False) is not None
        return {(True, False): HERE, (False, True): ASIDE, (True, True): BOTH, (False, False): GONE}[here, aside]

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        source, destination = (self.path, self.aside) if value == ASIDE else (self.aside, self.path)
        try:
            files.move(source, destination)
        except FileExistsError:
            raise Drift("appeared while we were working", where=destination) from None

    def obstacle(self) -> str:
        return files.move_obstacle(self.path) or files.move_obstacle(self.aside)

    def fingerprint(self) -> str:
        found = files.status(self.path, follow=False)
        return "" if found is None else f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}:{found.st_size}"

    def folders(self, value: str | None) -> tuple[str, ...]:
        return files.missing_folders(self.aside if value == ASIDE else self.path)

    def owns_folders(self, value: str | None) -> bool:
        return value == ASIDE

    def inverse(self, change: Change) -> Iterator[Change]:
        """Back to where it was. Something that has appeared there since is moved aside first, then merged in."""
        if change.after != ASIDE or self.read() != BOTH:
            yield from super().inverse(change)
            return
        newer = next(name for name in _free_names(f"{self.aside}-since"))
        yield Change(Location(self.path, newer), HERE, ASIDE)
        yield Change(self, ASIDE, HERE)
        for part in _only_in(self.path, self.aside):
            yield Change(Location(os.path.join(newer, part), os.path.join(self.path, part)), HERE, ASIDE)


def same(one: str | None, other: str | None) -> bool:
    """Whether two values are the same to us: a file without our piece is as good as no file."""
    return (one or "") == (other or "")


def free_name(path: str) -> str:
    """The first unused name to move `path` aside to, in the same directory (so a rename suffices)."""
    return next(_free_names(f"{path}.ccremedy"))


def _free_names(stem: str) -> Iterator[str]:
    number = 1
    while True:
        if files.status(f"{stem}-{number}", follow=False) is None:
            yield f"{stem}-{number}"
        number += 1


def _only_in(newer: str, older: str, inside: str = "") -> Iterator[str]:
    """The entries of tree `newer` whose names `older` lacks, as relative paths; nothing below such an entry."""
    for name in files.names(os.path.join(newer, inside)) if files.is_folder(os.path.join(newer, inside)) else []:
        part = os.path.join(inside, name)
        if files.status(os.path.join(older, part), follow=False) is None:
            yield part
        elif files.is_folder(os.path.join(newer, part)) and files.is_folder(os.path.join(older, part)):
            yield from _only_in(newer, older, part)


@dataclass(frozen=True)
class Change:
    """A resource that is to go from one value to another.

    `by_hand` is what a person would do instead; `refused` says why we do not do it; `expects` says what a fresh
    shell must tell afterwards (see `shells.prove`).
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
        if self.summary:
            return self.summary
        if isinstance(self.resource, Location):
            source, destination = self.resource.path, self.resource.aside
            if self.after == HERE:
                source, destination = destination, source
            return f"move {source} to {destination}"
        verb = "add" if not self.before else "remove" if not self.after else "change"
        return f"{verb} {self.resource}"

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

    def at_the_end(self) -> Change | None:
        """The same block at the other end of its file, for when something below it undoes it."""
        if not isinstance(self.resource, Block) or self.resource.at_end or self.before or not self.after:
            return None
        return replace(self, resource=replace(self.resource, at_end=True))


def _is_text(value: object) -> bool:
    """Whether it is a string that a file could hold; JSON can spell some that none can."""
    try:
        return isinstance(value, str) and value.encode("utf-8", "surrogateescape") is not None
    except UnicodeEncodeError:
        return False


def is_path(value: object) -> bool:
    """Absolute, without detours, and such as can be in a file system."""
    text = str(value)
    return _is_text(value) and os.path.isabs(text) and os.path.normpath(text) == text and "\0" not in text


KINDS: dict[str, type[Resource]] = {"block": Block, "line": Line, "location": Location}


def change_from_json(record: object) -> Change:
    """The Change of a journal or plan record. Problem where the record is not one that `to_json` writes."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str) or record["kind"] not in KINDS:
        raise Problem("holds a change of an unknown kind")
    kind = KINDS[record["kind"]]
    values: dict[str, object] = {}
    for part in fields(kind):
        value = record.get(part.name)
        if type(value).__name__ != str(part.type):
            raise Problem(f"holds a {record['kind']} without a proper “{part.name}”")
        values[part.name] = value
    before, after = record.get("before"), record.get("after")
    lists = [record.get("expects"), record.get("folders")]
    if not all(isinstance(each, list) for each in lists) or not isinstance(record.get("summary"), str):
        raise Problem(f"holds a {record['kind']} without its parts")
    paths = [values["path"], values.get("aside", values["path"]), *record["folders"]]
    inside = tuple(f"{path}/" for path in record["folders"] if path)
    if not (
        all(value is None or _is_text(value) for value in (before, after))
        and all(_is_text(value) for value in record["expects"])
        and all(is_path(path) for path in paths)
        and all(any(str(path).startswith(folder) for path in paths[:2]) for folder in inside)
    ):
        raise Problem(f"holds a {record['kind']} with values that cannot be")
    return Change(
        kind(**values),  # type: ignore[arg-type]
        before,
        after,
        summary=record["summary"],
        expects=tuple(record["expects"]),
        folders=tuple(record["folders"]),
    )
