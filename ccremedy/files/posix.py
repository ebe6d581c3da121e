"""What Linux and macOS have in common: owners, permission bits, and directories that are synced like files."""

from __future__ import annotations

import os
import stat
import sys

assert sys.platform != "win32"


class Posix:
    NO_NAME = -1  # the errno of a name that no file can have: any name will do here
    AS_IT_IS = os.O_NOFOLLOW | os.O_CLOEXEC  # not what a link points to; and no child of ours inherits it

    def open_to_read(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not make us wait

    def without_prefix(self, path: str) -> str:
        """What a link says, as we write paths."""
        return path

    def can_write(self, folder: str) -> bool:
        """Whether the kernel would let us create entries in this directory: asked, not guessed from mode bits."""
        return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)

    def write_obstacle(self, path: str, found: os.stat_result) -> str:
        """Why this regular file must not be replaced ('' if it may), as the end of a sentence; so all of these."""
        if found.st_uid != os.geteuid():
            return f"belongs to {_owner(found.st_uid)}, not to you"
        if not found.st_mode & stat.S_IWUSR:
            return f"is read-only (mode {stat.S_IMODE(found.st_mode):04o})"
        return "" if os.access(path, os.R_OK) else "cannot be read"

    def move_obstacle(self, path: str, found: os.stat_result) -> str:
        return "" if found.st_uid == os.geteuid() else f"belongs to {_owner(found.st_uid)}, not to you"

    def belongs_to_us(self, path: str) -> bool:
        return os.stat(path).st_uid == os.geteuid()

    def give_back(self, path: str) -> str:
        """The command that gives us back what another user owns below a directory of ours, on the way to `path`."""
        within, ours = "/", False
        for name in path.split("/") if os.geteuid() else ():  # root must not be told to take what is a user's
            within = os.path.join(within, name)
            try:
                owner = os.lstat(within).st_uid
            except OSError:
                return ""
            if ours and owner != os.geteuid():
                from shlex import quote

                us = _owner(os.geteuid()).removeprefix("user ")  # a number is as good
                return f"{within} belongs to {_owner(owner)}. Run: sudo chown -R {us} {quote(within)}"
            ours = ours or owner == os.geteuid()
        return ""

    def indiscretion(self, folder: str, found: os.stat_result) -> tuple[str, str]:
        """Why this directory is not its owner's alone, and what to do about it; '' where it is."""
        if found.st_uid != os.geteuid():
            return "belongs to another user", "Give it back to yourself, or choose another place (XDG_STATE_HOME)"
        if stat.S_IMODE(found.st_mode) & 0o077:
            from shlex import quote  # ~/Library/Application Support has a blank in its name

            return "is open to other users, so what is in it cannot be trusted", f"Run: chmod 700 {quote(folder)}"
        return "", ""

    def open_to_others(self, path: str, found: os.stat_result) -> str:
        if found.st_uid not in (0, os.geteuid()):
            return f"another user, to whom {path} belongs"
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        mode = stat.S_IMODE(found.st_mode)
        return f"other users: {path} has mode {mode:04o}" if mode & 0o022 and not sticky else ""

    def make_folder(self, folder: str, mode: int) -> None:
        os.mkdir(folder, mode)

    def sync(self, handle: int) -> None:
        """What is written through this handle survives a power cut."""
        os.fsync(handle)

    def sync_folder(self, folder: str) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(handle)
        finally:
            os.close(handle)

    def set_mode(self, path: str, mode: int) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | self.AS_IT_IS)
        try:
            os.fchmod(handle, mode)
            self.sync(handle)
        finally:
            os.close(handle)

    def set_new_mode(self, handle: int, mode: int) -> None:
        """The mode of a file that was not there before, less the umask."""
        mask = os.umask(0o077)
        os.umask(mask)
        os.fchmod(handle, mode & ~mask)

    def copy_owner_and_mode(self, model: os.stat_result, handle: int) -> None:
        new = os.fstat(handle)
        if (new.st_uid, new.st_gid) != (model.st_uid, model.st_gid):
            os.fchown(handle, model.st_uid, model.st_gid)
        os.fchmod(handle, stat.S_IMODE(model.st_mode))

    def has_writer(self, path: str) -> bool | None:
        """Whether somebody has the file open for writing; None where the system does not tell."""
        return None

    def renamed_at(self, path: str, found: os.stat_result) -> int:
        """When it was last given another name, or written; nanoseconds."""
        return found.st_ctime_ns

    def finish_exchange(self, scratch: str, target: str) -> None:
        """A swap is one call here: it has happened or it has not."""

    # The sticky bit means nothing on a directory of one user, and says who made it even after a crash.
    _LOCK = 0o1700

    def make_lock(self, path: str) -> None:
        os.mkdir(path, self._LOCK)

    def is_our_lock(self, found: os.stat_result) -> bool:
        return stat.S_IMODE(found.st_mode) == self._LOCK


def _owner(uid: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"
