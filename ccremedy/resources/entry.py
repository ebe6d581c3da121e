"""An entry of a secret store."""

from __future__ import annotations

from ccremedy import files, seals
from ccremedy.errors import Problem
from ccremedy.record import dataclass
from ccremedy.resources import Resource


@dataclass(frozen=True)
class Entry(Resource):
    """The secret of fingerprint `name` in the store `vault`; the value is the mark that stands for it, or ''.

    `path` is where it would lie in a folder for its owner alone; only there it has a meaning.
    """

    name: str
    vault: str
    FOLDER_MODE = 0o700

    def __str__(self) -> str:
        return f"the secret with fingerprint {self.name[:8]}"

    def sentence(self, before: str | None, after: str | None) -> str:
        store = "the secret store" if self.vault == seals.OS_STORE else "a file that only you can read"
        return f"keep {self} in {store}" if after else f"remove {self} from {store}"

    def read(self) -> str:
        found = seals.store(self.vault).get(self.name)
        return "" if found is None else seals.mark(found)

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        store = seals.store(self.vault)
        if value:
            store.put(self.name, seals.reveal(self.name, self.vault))
        else:
            store.drop(self.name)

    def settle(self, value: str | None, scratch: str) -> None:
        if self.vault != seals.OS_STORE and not self.read():
            seals.store(self.vault).drop(self.name)  # with what was half written

    def obstacle(self) -> str:
        try:
            self.read()
        except Problem as problem:
            return f"cannot be done: {problem.where} {problem.what}. {problem.todo}".replace("  ", " ").rstrip(". ")
        return ""

    def fingerprint(self) -> str:
        return self.name

    def folders(self, value: str | None) -> tuple[str, ...]:
        return files.missing_folders(self.path) if value and self.vault != seals.OS_STORE else ()

    def owns_folders(self, value: str | None) -> bool:
        return bool(value)
