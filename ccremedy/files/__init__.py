"""Every touch of the file system. No other module opens, writes, renames or syncs anything.

What it promises
- A file is replaced as a whole or not at all, and keeps its mode, owner, group, extended attributes, ACL and
  inode flags. A symbolic link stays a link; the file behind it is replaced.
- When a call returns, its effect survives a power cut: the file is synced before the rename, the directory after.
- A target that cannot keep these promises is refused by `obstacle`, before anything is planned.
- Nothing that a user or a running program wrote is ever lost: `move` never overwrites, and `replace` swaps the two
  files and looks at what came out; only what we had read is let go.

What differs from system to system is in `linux`, `macos` and `windows` (`posix` is what the first two share): how two
files are swapped, what beside its bytes belongs to a file, who may look into a folder. All system calls go through the
names `os` and, on Linux, `renameat2` of these modules, so that a sweep can stand in their place and kill the process,
fail the call or record it (tests/sweep.py).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time

from ccremedy.errors import LOCKED, UNSUPPORTED, Drift, Problem, Unreadable

if sys.platform == "win32":
    from ccremedy.files.windows import Windows, patient

    system = Windows()
    globals()["os"] = patient(os)  # a virus scanner holds files for moments, at which calls fail
elif sys.platform == "darwin":
    from ccremedy.files.macos import Macos

    system = Macos()
else:
    from ccremedy.files.linux import Linux

    system = Linux()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LIMIT = 16 * 2**20  # bytes; no start-up file or npmrc of a person comes near it
_JUNCTION = 0xA0000003  # winnt.h: IO_REPARSE_TAG_MOUNT_POINT
_LARGEST = 256 * 2**20  # what a resource may ask for instead: ~/.claude.json has been seen with 238 MB


# ---- reading


def read(path: str, limit: int = LIMIT) -> bytes | None:
    """The bytes of a regular file; None where there is nothing. Problem for anything else, or beyond `limit` bytes."""
    try:
        handle = system.open_to_read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise Problem("is a device, socket or pipe, not a file", where=path, code=UNSUPPORTED) from None
        raise _unreadable(error, path) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Problem(f"is {kind(found.st_mode)}, not a file", where=path, code=UNSUPPORTED)
        if found.st_size > limit:
            raise Problem(_too_large(found.st_size, limit), where=path, code=UNSUPPORTED)
        # Not to the size that stat told: files in /proc say 0, and who writes in place makes them grow. In one piece if
        # it goes, because two could be of two versions.
        parts: list[bytes] = []
        while len(part := os.read(handle, 1 << 20)) > 0:
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        raise _unreadable(error, path) from None
    finally:
        _close(handle)


def read_start(path: str, size: int) -> bytes:
    """At most the first `size` bytes; empty where there is no regular file, or one that is closed to us."""
    try:
        handle = system.open_to_read(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO):
            return b""
        raise _unreadable(error, path) from None
    try:
        return os.read(handle, size) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.EACCES):  # a process in /proc that has just ended
            return b""
        raise _unreadable(error, path) from None
    finally:
        _close(handle)


def names(path: str) -> list[str]:
    """The sorted names in a directory; empty where there is none."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(error, path) from None


def tree(folder: str, inside: str = "") -> list[str]:
    """What is not a directory below `folder`, as relative paths."""
    found: list[str] = []
    for name in names(os.path.join(folder, inside)):
        part = os.path.join(inside, name)
        found += tree(folder, part) if is_folder(os.path.join(folder, part)) else [part]
    return found


def status(path: str, follow: bool = True) -> os.stat_result | None:
    """`stat` (or `lstat`), None where there is nothing (a dangling link included, when following)."""
    try:
        return os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL byte, which no name can hold
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, system.NO_NAME):
            return None
        raise _unreadable(error, path) from None


def _unreadable(error: OSError, path: str) -> Unreadable:
    return Unreadable(error, where=path, todo=give_back(path) if error.errno == errno.EACCES else "")


def give_back(path: str) -> str:
    """What to do where the way to `path` leaves what is ours: installers that sudo ran take folders; '' otherwise."""
    return system.give_back(path)


def can_write(path: str) -> bool:
    """Whether the kernel would let us create entries in this directory: asked, not guessed from mode bits."""
    return system.can_write(path)


def reachable(path: str, follow: bool = True) -> os.stat_result | None:
    """`status`; None also where the way is closed to us, as to another user's home it is: a shell passes that over."""
    try:
        return status(path, follow)
    except Unreadable as problem:
        if problem.errno != errno.EACCES:  # a passing fault of the disk says nothing
            raise
        return None


def executable(path: str) -> bool:
    found = reachable(path)
    return found is not None and stat.S_ISREG(found.st_mode) and os.access(path, os.X_OK)


def resolve(path: str) -> str:
    """The path behind symbolic links in the last component. Not `realpath`: that swallows errors of lstat."""
    for _ in range(40):
        found = status(path, follow=False)
        if found is None or not stat.S_ISLNK(found.st_mode):
            return path
        try:
            path = os.path.join(os.path.dirname(path), system.without_prefix(os.readlink(path)))
        except OSError as error:
            raise _unreadable(error, path) from None
    raise Problem("is a link that leads back to itself", where=path, code=UNSUPPORTED)


def folder_behind(path: str) -> str:
    """The directory of the file behind the link, without links or detours in it."""
    return os.path.realpath(os.path.dirname(resolve(path)))


def same(one: str, other: str) -> bool:
    """Whether two paths lead to one entry, also by a link, or where the disk takes no notice of letter case."""
    found, there = status(one), status(other)
    if found is None or there is None:
        return one == other
    return (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)


def existing_parent(path: str) -> str:
    """The nearest directory above `path` that exists."""
    parent = os.path.dirname(path)
    while status(parent) is None and parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
    return parent


def missing_folders(path: str) -> tuple[str, ...]:
    """The directories above `path` that a write would have to make, outermost first. A drive cannot be made."""
    made: list[str] = []
    folder = os.path.dirname(path)
    while status(folder, follow=False) is None and folder != os.path.dirname(folder):
        made.append(folder)
        folder = os.path.dirname(folder)
    return tuple(reversed(made))


def is_folder(path: str) -> bool:
    """Whether it is a directory itself, not a link to one."""
    found = status(path, follow=False)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_mount(path: str) -> bool:
    """Whether a rename would not take along what is in this directory.

    It is where another file system begins, or a junction, as Windows has them, to a directory elsewhere.
    """
    here, above = status(path), status(os.path.dirname(os.path.abspath(path)))
    if getattr(status(path, follow=False), "st_reparse_tag", 0) == _JUNCTION:
        return True
    return here is not None and above is not None and (here.st_dev != above.st_dev or os.path.ismount(path))


def working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # deleted under us
        return ""


def kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a link" if stat.S_ISLNK(mode) else "a device, socket or pipe"


def free_name(path: str) -> str:
    """The first unused name to move `path` aside to, in the same directory (so a rename suffices)."""
    return next(free_names(f"{path}.ccremedy"))


def free_names(stem: str) -> Iterator[str]:
    number = 1
    while True:
        if status(f"{stem}-{number}", follow=False) is None:
            yield f"{stem}-{number}"
        number += 1


# ---- what stands in the way


def obstacle(path: str, limit: int = LIMIT) -> str:
    """Why we must not replace this file ('' if we may), as the end of a sentence that begins with its path."""
    try:
        target = resolve(path)
        found = status(target, follow=False)
        if found is None:
            return _creation_obstacle(path, target)
        if not stat.S_ISREG(found.st_mode):
            return f"is {kind(found.st_mode)}, not a file"
        if found.st_size > limit:
            return _too_large(found.st_size, limit)
        if found.st_nlink > 1:
            return f"has {found.st_nlink} hard links, and replacing it would part them"
        return system.write_obstacle(target, found) or _folder_obstacle(os.path.dirname(target))
    except Problem as problem:
        return problem.what


def move_obstacle(path: str) -> str:
    """Why we must not rename this entry ('' if we may)."""
    found = status(path, follow=False)
    if found is None:
        return ""
    if stat.S_ISDIR(found.st_mode) and is_mount(path):
        return "is a mount point, which cannot be renamed"
    return system.move_obstacle(path, found) or _folder_obstacle(os.path.dirname(path))


def _creation_obstacle(path: str, target: str) -> str:
    if target != path:
        return f"is a link to {target}, which does not exist"
    folder = existing_parent(target)
    found = status(folder)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return f"cannot be created, because {folder} is not a directory"
    return _folder_obstacle(folder)


def _folder_obstacle(folder: str) -> str:
    if not can_write(folder):
        return f"cannot be written, because {folder} does not let you create files"
    why = system.folder_obstacle(folder)
    return f"cannot be written, because {folder} {why}" if why else ""


def indiscretion(folder: str, follow: bool = True) -> tuple[str, str]:
    """Why this is no directory for its owner alone, and what to do about it; '' where it is, or is missing."""
    found = status(folder, follow)
    if found is None:
        return "", ""
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory itself", "Move it away"
    return system.indiscretion(folder, found)


def open_to_others(path: str) -> str:
    """Who beside us and the system may change what is at `path` ('' nobody), as the end of "can be changed by"."""
    return system.open_to_others(path, os.stat(path))


def belongs_to_us(path: str) -> bool:
    """Whether this user made what is there, as far as the system tells one user from another."""
    return system.belongs_to_us(path)


# ---- writing


def replace(path: str, before: bytes | None, after: bytes | None, scratch: str, mode: int = 0o644) -> None:
    """Make the file's bytes `after`, if they are `before` now (None: there is no file). Drift otherwise.

    `scratch` is a name in the same directory as the file behind `path`. A crash, or an error after the swap, leaves a
    file there: ours, or the one that was in its place, which `swap_back` brings back. A new file gets `mode`, less the
    umask. OSError where the file system refuses.
    """
    target = resolve(path)
    if after is None:
        if before is not None:
            _remove(path, target, before, scratch)
        return
    try:
        model = _write_scratch(target, after, scratch, mode)
        if read(target, _LARGEST) != before:
            raise Drift("changed while we were working", where=path)
        swapped = before is not None and system.exchange(scratch, target)
    except BaseException as error:
        discard(scratch)
        if isinstance(error, FileNotFoundError) and before is not None:
            raise Drift("was removed while we were working", where=path) from None
        raise
    if swapped:
        _look_at_what_came_out(path, before or b"", after, scratch, model)
        return
    try:
        if before is not None:  # a file system without the swap: between this look and the rename is a gap
            if (out := _at_rest(target, 1.0)) != before:
                held = out is None and status(target) is not None
                raise _taken(path, "changed while we were working", held)
            os.rename(scratch, target)
        else:
            _rename_to_free(scratch, target)
    except BaseException:
        discard(scratch)
        raise
    sync_folder(os.path.dirname(target))


def _look_at_what_came_out(path: str, before: bytes, after: bytes, scratch: str, model: os.stat_result | None) -> None:
    """Let go only of what we had read; what another program wrote at this moment goes back, as often as it does."""
    expected, put, held, patience = before, after, False, iter((1.0, 0.5, 0.25))
    while (out := _at_rest(scratch, next(patience, 0.0))) != expected or not _same_kind(scratch, model):
        expected, put, held, model = put, out or b"", held or out is None, None
        swap_back(path, scratch)  # until what comes out is what we have put there
    discard(scratch)
    if put != after:
        raise _taken(path, "was written by another program at this very moment, which keeps its version", held)


def _taken(path: str, what: str, held: bool) -> Drift:
    """Why another program's version stays; `held`: it had the file open for writing all the time."""
    if not held:
        return Drift(what, where=path)
    return Drift("is held open for writing by another program", where=path, todo="Close it there, then try again")


def _at_rest(path: str, patience: float) -> bytes | None:
    """What is in the file when nobody writes to it any more; None where somebody still might after `patience` seconds.

    Who writes in place may have opened it before we swapped, and half of an update would pass for an older one.
    """
    began, data = time.monotonic(), None
    while True:
        written, was, data = system.has_writer(path), data, read(path, _LARGEST)
        if not patience or written is False or (written is None and was == data):
            return data
        if time.monotonic() - began > patience:
            return None
        time.sleep(0.01)


def _same_kind(path: str, model: os.stat_result | None) -> bool:
    """Whether this still is the file that we took owner and mode from; a link may have taken its place."""
    found = status(path, follow=False)
    kept = ("st_mode", "st_uid", "st_gid")
    return model is None or (found is not None and all(getattr(found, key) == getattr(model, key) for key in kept))


def _remove(path: str, target: str, before: bytes, scratch: str) -> None:
    """Take away a file with nothing in it but what we wrote: aside first, and then a look at what that is."""
    _rename_to_free(target, scratch)
    out = _at_rest(scratch, 1.0)
    if out == before:
        discard(scratch)
        return
    try:
        move(scratch, target)
    except FileExistsError:  # by a newer one, already
        discard(scratch)
    raise _taken(path, "changed while we were working", out is None)


def swap_back(path: str, scratch: str) -> None:
    """Put back the file that a `replace` has swapped with `scratch`; what stood in its place is at `scratch` then.

    Durable when that has been discarded or moved.
    """
    system.exchange(scratch, resolve(path))


def finish_swap(path: str, scratch: str) -> None:
    """Bring what a crash in the middle of a swap has left to one of the two states that `swap_back` knows."""
    system.finish_exchange(scratch, resolve(path))


def untouched_since_swap(path: str, scratch: str) -> bool:
    """Whether nobody has written the file since it was swapped with `scratch`: that set the time of both."""
    mine, other = status(path), status(scratch, follow=False)
    return mine is not None and other is not None and mine.st_mtime_ns <= system.renamed_at(scratch, other)


def move(source: str, destination: str) -> None:
    """Rename within one file system, never over something that exists."""
    _rename_to_free(source, destination)
    sync_folder(os.path.dirname(destination))
    if os.path.dirname(source) != os.path.dirname(destination):
        sync_folder(os.path.dirname(source))


def set_mode(path: str, mode: int) -> None:
    """Give the file behind `path` these permission bits; durable when this returns."""
    system.set_mode(resolve(path), mode)


def make_folders(folders: tuple[str, ...], mode: int = 0o777) -> None:
    """Make each directory, outermost first, if it is not there; durable when this returns."""
    for folder in folders:
        try:
            system.make_folder(folder, mode)
        except FileExistsError:
            continue
        sync_folder(os.path.dirname(folder))


def remove_folders(folders: tuple[str, ...]) -> None:
    """Remove directories that we made, innermost first, as far as they are empty."""
    for folder in reversed(folders):
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                continue
            raise
        sync_folder(os.path.dirname(folder))


def remove_empty(folder: str) -> None:
    """Remove the empty directories in a tree, itself included."""
    for name in names(folder):
        if is_folder(os.path.join(folder, name)):
            remove_empty(os.path.join(folder, name))
    remove_folders((folder,))


def append(path: str, data: bytes, keep: int) -> None:
    """Cut the file (mode 0600) to its first `keep` bytes, add `data`, and sync it.

    `keep` drops what a crash left of an earlier append; a file that this call creates is not durable before its
    directory is synced too.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | system.AS_IT_IS, 0o600)
    try:
        os.ftruncate(handle, keep)
        os.lseek(handle, 0, os.SEEK_END)
        _write_all(handle, data)
        system.sync(handle)
    finally:
        os.close(handle)


def write_new(path: str, data: bytes) -> None:
    """A file of our own (a plan), mode 0600, replacing an earlier one as a whole."""
    scratch = f"{path}.ccremedy-new"
    discard(scratch)
    replace(path, read(path), data, scratch)
    os.chmod(resolve(path), 0o600)


def discard(path: str) -> None:
    """Remove a scratch file of ours, if there is one; it does not come back after a power cut."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    system.sync_folder(folder)


def _rename_to_free(source: str, destination: str) -> None:
    if system.rename_to_free(source, destination):
        return
    if os.path.lexists(destination):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), destination)
    os.rename(source, destination)


# ---- the lock that Claude Code takes before it writes its state file

_STALE = 10.0  # seconds after which Claude Code itself takes over such a lock (research: reliability-security B.5)


@contextlib.contextmanager
def folder_lock(path: str, patience: float = 15.0) -> Generator[None]:
    """Hold the lock that exists as the directory `path`. Problem (7) where somebody keeps it.

    One of ours that is there was left by a crash: whoever calls this holds the journal's lock. One of others is taken
    over when it is stale; one dated in the future never is.
    """
    import time

    deadline = time.monotonic() + patience
    while True:
        try:
            system.make_lock(path)
            break
        except FileExistsError:
            if _is_ours(path):
                break
            found = status(path, follow=False)
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > _STALE:
                with contextlib.suppress(OSError):  # gone by now, or no lock of theirs: something is in it
                    os.rmdir(path)
                    continue
        if time.monotonic() > deadline:
            raise Problem(
                "is held by a running Claude Code, or was left with a date in the future",
                where=path,
                todo="Close the Claude sessions; if none is running, remove that directory",
                code=LOCKED,
            )
        time.sleep(0.05)
    made = None
    try:
        made = status(path, follow=False)
        yield
    finally:
        drop_lock(path, made)


def drop_lock(path: str, made: os.stat_result | None = None) -> None:
    """Remove a lock of ours, if there is one; not one that somebody else has taken over from us.

    `made`: how it was when we had made it. A disk of Windows below WSL, for one, keeps no mode that would tell.
    """
    found, mine = status(path, follow=False), _is_ours(path)
    if made is not None and found is not None and not system.is_our_lock(made):
        mine = (found.st_ino, found.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    if mine:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(path)


def _is_ours(lock: str) -> bool:
    found = status(lock, follow=False)
    return found is not None and stat.S_ISDIR(found.st_mode) and system.is_our_lock(found)


# ---- a throw-away copy of a configuration directory, for a shell that writes into its own


def shadow(folder: str, name: str, rewritten: str = "") -> str:
    """A temporary directory that looks like `folder`, with `name` in it as a real directory. The caller removes it.

    Entries are links to the real ones, except the file `rewritten` in `name`, which is copied: whoever owns it writes
    through links. Nobody else can look into it.
    """
    import tempfile

    top = tempfile.mkdtemp(prefix="ccremedy-")
    for entry in names(folder):
        if entry != name:
            os.symlink(os.path.join(folder, entry), os.path.join(top, entry))
    os.mkdir(os.path.join(top, name))
    for entry in names(os.path.join(folder, name)):
        source, copy = os.path.join(folder, name, entry), os.path.join(top, name, entry)
        if entry != rewritten:
            os.symlink(source, copy)
            continue
        with open(copy, "wb") as out:
            out.write(read(source) or b"")
    return top


def remove_shadow(top: str) -> None:
    import shutil

    shutil.rmtree(top, ignore_errors=True)


# ---- details


def _write_scratch(target: str, data: bytes, scratch: str, mode: int) -> os.stat_result | None:
    """Our version of `target` at `scratch`, with all that is not bytes as it is at `target`, which is returned."""
    model = status(target, follow=False)
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.AS_IT_IS, 0o600)
    try:
        _write_all(handle, data)
        if model is None:
            system.set_new_mode(handle, mode)
        else:
            system.copy_metadata(target, model, handle)
        system.sync(handle)
    finally:
        os.close(handle)
    return model


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _close(handle: int) -> None:
    """Close what was only read: an error here says nothing about what we have."""
    with contextlib.suppress(OSError):
        os.close(handle)


def _too_large(size: int, limit: int) -> str:
    return f"is too large ({size / 2**20:.0f} MB; the limit is {limit / 2**20:.0f} MB)"


def walk_up(path: str) -> Iterator[str]:
    """`path` and each directory above it, innermost first."""
    while True:
        yield path
        parent = os.path.dirname(path)
        if parent == path:
            return
        path = parent
