"""Where files are, and who may read them."""

from __future__ import annotations

import os
import stat

from ccremedy import files
from ccremedy.errors import Drift, Problem, explain
from ccremedy.record import dataclass
from ccremedy.resources import Change, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HERE, ASIDE, BOTH, GONE = "here", "aside", "both", "gone"


@dataclass(frozen=True)
class Location(Resource):
    """A file or directory that is at `path` ("here"), or moved to `aside`: a rename, whatever its size."""

    aside: str
    FOLDER_MODE = 0o700

    def __str__(self) -> str:
        return f"location of {self.path}"

    def sentence(self, before: str | None, after: str | None) -> str:
        here, there = (self.aside, self.path) if after == HERE else (self.path, self.aside)
        return f"move {here} to {there}"

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
        except PermissionError as error:
            if getattr(error, "winerror", None) is None or not files.is_folder(source):
                raise
            what = f"cannot be moved ({explain(error)}): Windows moves no folder while a program has a file in it open"
            raise Problem(what, where=source, todo="Close what uses it, then try again") from None

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
        newer = next(name for name in files.free_names(f"{self.aside}-since"))
        yield Change(Location(self.path, newer), HERE, ASIDE)
        yield Change(self, ASIDE, HERE)
        for part in _only_in(self.path, self.aside):
            yield Change(Location(os.path.join(newer, part), os.path.join(self.path, part)), HERE, ASIDE)


def _only_in(newer: str, older: str, inside: str = "") -> Iterator[str]:
    """The entries of tree `newer` whose names `older` lacks, as relative paths; nothing below such an entry."""
    for name in files.names(os.path.join(newer, inside)) if files.is_folder(os.path.join(newer, inside)) else []:
        part = os.path.join(inside, name)
        if files.status(os.path.join(older, part), follow=False) is None:
            yield part
        elif files.is_folder(os.path.join(newer, part)) and files.is_folder(os.path.join(older, part)):
            yield from _only_in(newer, older, part)


@dataclass(frozen=True)
class Mode(Resource):
    """The permission bits of the file behind `path`, in octal ("0600")."""

    def __str__(self) -> str:
        return f"mode of {self.path}"

    def sentence(self, before: str | None, after: str | None) -> str:
        return f"change the mode of {self.path} from {before} to {after}"

    def read(self) -> str | None:
        found = files.status(self.path)
        return None if found is None else f"{stat.S_IMODE(found.st_mode):04o}"

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        if self.read() != now or value is None:
            raise Drift("changed while we were working", where=self.path)
        files.set_mode(self.path, int(value, 8))

    def obstacle(self) -> str:
        return files.move_obstacle(files.resolve(self.path))

    def fingerprint(self) -> str:
        return str(self.read())
