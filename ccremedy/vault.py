"""The only module that touches the secret store of the operating system.

What it promises
- A secret goes to one of the stores listed below, or nowhere. keyring's own search is never used: not its configuration
  file, not its environment variables, not what other packages register. Each class is taken from its own module.
- Every call is made in a child process with a time limit: a locked store can wait for ever for a prompt that nobody
  sees. The child is an isolated Python (no PYTHON* variables, nothing from the current directory or the user's own
  packages), its environment is an allow-list, and it leaves no core. Secrets pass through its pipes only.
- What was stored is read back and compared in constant time. A collection that lives in memory only is refused.
- No message or exception holds a secret, or the words of a foreign exception.

(research: reliability-security B.10, T6 to T9)
"""

from __future__ import annotations

import _thread
import os
import sys
from contextlib import contextmanager

from ccremedy import files
from ccremedy.errors import FAILED, UNSUPPORTED, Problem, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any, TextIO

    from ccremedy.processes import Conversation
    from ccremedy.redact import Secret

SERVICE = "ccremedy"
HOW_TO_GET_ONE = (
    "Log in to a desktop that has GNOME Keyring, KDE Wallet or KeePassXC; on a machine without one, install"
    " gnome-keyring and dbus, run `dbus-run-session -- bash`, and in it `gnome-keyring-daemon --unlock`"
    " (a password, then Ctrl-D)"
)
_UNLOCK = {  # sys.platform: how
    "darwin": "Unlock it (`security unlock-keychain`, which asks for your password), then try again",
    "linux": "Unlock it (log in to the desktop, or `gnome-keyring-daemon --unlock`), then try again",
}
_SECRET_SERVICE = "Secret Service (GNOME Keyring, KeePassXC)"
_STORES = {  # sys.platform: (module, class, what a person calls it), the first that is there counts
    "darwin": (("keyring.backends.macOS", "Keyring", "macOS Keychain"),),
    "win32": (("keyring.backends.Windows", "WinVaultKeyring", "Windows Credential Manager"),),
    "linux": (
        ("keyring.backends.SecretService", "Keyring", _SECRET_SERVICE),
        ("keyring.backends.libsecret", "Keyring", _SECRET_SERVICE),
        ("keyring.backends.kwallet", "DBusKeyring", "KDE Wallet"),
        ("keyring.backends.kwallet", "DBusKeyringKWallet4", "KDE Wallet"),
    ),
}
_PASSED_ON = {
    "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "USER", "WAYLAND_DISPLAY",
    "XAUTHORITY", "XDG_CURRENT_DESKTOP", "XDG_RUNTIME_DIR",
    "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE",
}  # fmt: skip
_LOCKED = {"InitError", "KeyringLocked", "LockedException", "PromptDismissedException"}
_LOCKED_CODES = {-25308, -25293, -128}  # SecBase.h: errSecInteractionNotAllowed, errSecAuthFailed, errSecUserCanceled
_LIMIT = 65536  # bytes of UTF-8; gnome-keyring keeps them in locked memory
_WINDOWS_LIMIT = 2560  # bytes of UTF-16: CRED_MAX_CREDENTIAL_BLOB_SIZE in wincred.h
_ROUNDS = 40_000  # of SHA-256: about 10 ms
_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from ccremedy.vault import serve; serve()"


class Vault:
    """The operating system's secret store or, with `owner_only`, a folder that is open to nobody else.

    `env` is the environment of the person whose store it is; `timeout`, in seconds, is for each call. Any call raises
    Problem: 6 where there is no store or none that answers, 1 where it fails. The child starts at the first call.
    """

    def __init__(self, env: Mapping[str, str], timeout: float = 10.0, owner_only: str = "") -> None:
        self._env, self._timeout, self._folder = env, timeout, owner_only
        self._child: Conversation | None = None

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def name(self) -> str:
        """What a person calls this store."""
        return "an owner-only file" if self._folder else str(self._ask("name"))

    def get(self, id: str) -> Secret | None:
        from ccremedy.redact import Secret

        found = _read_file(self._folder, id) if self._folder else self._ask("get", id)
        return None if found is None else Secret(found)

    def put(self, id: str, secret: Secret) -> None:
        """Store it, read it back, compare."""
        if why := unfit(secret, sys.platform, owner_only=bool(self._folder)):
            raise Problem(why, where="the secret", todo="Nothing was changed", code=UNSUPPORTED)
        if self._folder:
            _write_file(self._folder, id, secret)
        else:
            self._ask("put", id, secret)
        if self.get(id) != secret:
            raise Problem("did not give back what was stored in it", where=self.name(), todo="Use another store")

    def drop(self, id: str) -> None:
        """Remove it; no error where it is not there."""
        if self._folder:
            _remove_file(self._folder, id)
        else:
            self._ask("drop", id)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ask(self, what: str, id: str = "", secret: Secret | None = None) -> str | None:
        """The child's answer. What goes wrong is raised from here, where no variable holds a secret in clear."""
        import json

        from ccremedy.processes import Conversation

        command = [sys.executable, "-I", "-B", "-c", _CHILD, _PARENT]
        child, self._child = self._child or Conversation(command, _passed_on(self._env)), None
        try:
            reply = json.loads(child.ask(_request(self._timeout, what, id, secret), self._timeout))
        except TimeoutError:
            problem = _silent(self._timeout)
        except (EOFError, ValueError):
            child.close()
            problem = _of_store("could not be asked: the process that asks it has ended", "Try again", FAILED)
        else:
            self._child = child
            if "problem" not in reply:
                answer: str | None = reply["answer"]
                return answer
            sentence, where, todo, code = reply["problem"]
            problem = Problem(sentence, where=where, todo=todo, code=code)
        raise problem


def probe(env: Mapping[str, str], timeout: float = 10.0) -> str:
    """Why there is no store to use ('' if there is one) and how to get one, as the end of a sentence."""
    try:
        with Vault(env, timeout) as vault:
            vault.name()
    except Problem as problem:
        return str(problem).removesuffix(".")
    return ""


def fingerprint(secret: Secret | str, salt: str) -> str:
    """20 hex digits that a journal may hold: slow to make, so that a short secret is not soon guessed from them."""
    import hashlib

    text = secret if isinstance(secret, str) else secret.reveal()
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac("sha256", data, salt.encode("utf-8", "surrogatepass"), _ROUNDS, 10).hex()


def print_secret(id: str, env: Mapping[str, str], out: TextIO, owner_only: str = "", timeout: float = 10.0) -> int:
    """Write the secret and a line end, in this process, for whoever cannot wait for a child; the exit code.

    It takes the process over: environment and module path become what the child's would be, and when `timeout` seconds
    are over, it ends.
    """
    with _time_limit(timeout):
        try:
            found = _read_file(owner_only, id) if owner_only else _answer(*_open_here(env), "get", id)
            if found is None:
                where = owner_only or "the secret store"
                raise Problem(f"holds nothing of the name “{id}”", where=where, todo="Store it with `ccremedy key set`")
            out.write(f"{found}\n")
            out.flush()
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - see _as_problem
            problem = _as_problem(error)
            print(f"ccremedy: {problem}", file=sys.stderr)
            return problem.code
    return 0


@contextmanager
def _time_limit(timeout: float) -> Generator[None]:
    """End this process when the block takes longer. A thread: a signal's handler would wait for C code that hangs."""
    over = _thread.allocate_lock()
    over.acquire()

    def watch() -> None:
        if not over.acquire(timeout=timeout):
            print(f"ccremedy: {_silent(timeout)}", file=sys.stderr, flush=True)
            os._exit(UNSUPPORTED)

    _thread.start_new_thread(watch, ())
    try:
        yield
    finally:
        over.release()


def _open_here(env: Mapping[str, str]) -> tuple[Any, str]:
    """The store, with nothing taken from where the child would not look either."""
    prefixes = {os.path.normcase(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    sys.path[:] = [_PARENT, *(each for each in sys.path if prefixes & set(files.walk_up(os.path.normcase(each))))]
    passed_on = _passed_on(env)  # before the clearing: `env` may well be os.environ
    os.environ.clear()
    os.environ.update(passed_on)
    return _open()


def _passed_on(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name in _PASSED_ON}


# ---- requests


def _request(timeout: float, what: str, id: str, secret: Secret | None) -> bytes:
    import json

    return json.dumps([timeout, what, id, *([secret.reveal()] if secret else [])]).encode()


def unfit(secret: Secret, platform: str, owner_only: bool = False) -> str:
    """Why the store of this platform, or a folder, takes no such secret ('' if it does), before it is tried."""
    text = secret.reveal()
    try:
        size, limit = len(text.encode()), _LIMIT
    except UnicodeEncodeError:
        return "is not text: it holds bytes that are not UTF-8"
    if platform == "win32" and not owner_only and (size := len(text.encode("utf-16-le"))) > _WINDOWS_LIMIT:
        most = _WINDOWS_LIMIT // 2
        return f"is too long for Windows Credential Manager ({size // 2} characters; it takes {most})"
    return f"is too long to be stored ({size} bytes; the limit is {limit})" if size > limit else ""


# ---- in the child


def serve() -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    import json
    import signal

    def alarm(seconds: float) -> None:
        """Should the parent be killed while a call hangs; on Windows the job ends us with it."""
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, seconds)

    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    store: tuple[Any, str] | None = None
    for line in sys.stdin.buffer:
        timeout, *request = json.loads(line)
        alarm(timeout + 1)
        try:
            store = store or _open()
            reply: dict[str, object] = {"answer": _answer(*store, *request)}
        except Exception as error:  # noqa: BLE001 - see _as_problem
            problem = _as_problem(error)
            reply = {"problem": (problem.what, problem.where, problem.todo, problem.code)}
        alarm(0)
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(backend: Any, name: str, what: str, id: str, secret: str = "") -> str | None:
    """Do what was asked. keyring's classes are untyped here: they are not needed to import this module."""
    if what == "name":
        return name
    if what == "put":
        backend.set_password(SERVICE, id, secret)
    elif what == "drop":
        while backend.get_password(SERVICE, id) is not None:  # a Secret Service may hold it twice
            backend.delete_password(SERVICE, id)
    else:
        found: str | None = backend.get_password(SERVICE, id)
        return found
    return None


def _open() -> tuple[Any, str]:
    """The first store of this platform that is there, and its name."""
    from importlib import import_module

    _leave_no_core()
    sys.argv[:1] = [SERVICE]  # KDE Wallet shows it to the person whom it asks
    for module, kind, name in _STORES.get(sys.platform, _STORES["linux"]):
        try:
            backend = getattr(import_module(module), kind)
            _ = backend.priority  # raises where this one is not there
        except ModuleNotFoundError as error:
            package = (error.name or module).partition(".")[0]
            raise Problem(
                f"the package “{package}” is not installed, and without it no secret is stored",
                todo="Install ccremedy with its packages, as its README says under “Mend it”",
                code=UNSUPPORTED,
            ) from None
        except Exception:  # noqa: BLE001 - a RuntimeError, or whatever a bus that is gone leads to
            continue
        if name == _SECRET_SERVICE:
            _check_collection(module)
        return backend(), name
    raise _of_store("is not there: no D-Bus session (DBUS_SESSION_BUS_ADDRESS) offers one")


def _check_collection(module: str) -> None:
    """Problem where what is stored would be lost at log-out, or where nobody could unlock it."""
    path, locked = _by_libsecret() if module.endswith(".libsecret") else _by_secretstorage()
    if not path:
        raise _of_store("has no default keyring")
    if path.endswith("/collection/session"):
        what = "keeps what it is given in memory only, so it would be lost at log-out"
        raise _of_store(what, "Choose another default keyring, one that is kept")
    if locked and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise _of_store("is locked, and there is no display on which it could ask for its password", _how_to_unlock())


def _by_secretstorage() -> tuple[str, bool]:
    """The D-Bus path of the collection that is written to ('' where there is none), and whether it is locked."""
    from importlib import import_module

    secretstorage = import_module("secretstorage")
    bus = secretstorage.dbus_init()
    try:
        found = secretstorage.get_collection_by_alias(bus, "default")
        return found.collection_path, found.is_locked()
    except secretstorage.ItemNotFoundException:
        return "", False
    finally:
        bus.close()


def _by_libsecret() -> tuple[str, bool]:
    from importlib import import_module

    libsecret = import_module("gi.repository.Secret")
    service = libsecret.Service.get_sync(libsecret.ServiceFlags.NONE, None)
    found = libsecret.Collection.for_alias_sync(service, "default", libsecret.CollectionFlags.NONE, None)
    return (found.get_object_path(), found.get_locked()) if found else ("", False)


def _as_problem(error: Exception) -> Problem:
    """Only the kind of a foreign exception: its words, and what led to it, might hold the secret."""
    if isinstance(error, Problem):
        return error
    # keyring knows one of the ways in which macOS says so; of the others only the number is left, in what led to it.
    numbers = {each for each in getattr(error.__cause__, "args", ()) if isinstance(each, int)}
    if type(error).__name__ in _LOCKED or numbers & _LOCKED_CODES:
        return _of_store("is locked", _how_to_unlock())
    return _of_store(f"failed ({type(error).__name__})", "Try again, or use another store", FAILED)


def _of_store(what: str, todo: str = HOW_TO_GET_ONE, code: int = UNSUPPORTED) -> Problem:
    return Problem(what, where="the secret store", todo=todo, code=code)


def _silent(timeout: float) -> Problem:
    what = f"did not answer within {timeout:g} seconds: it is probably locked, and waits for a prompt that nobody sees"
    return _of_store(what, _how_to_unlock())


def _how_to_unlock() -> str:
    return _UNLOCK.get(sys.platform, _UNLOCK["linux"])


def _leave_no_core() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# ---- the owner-only folder


def _read_file(folder: str, id: str) -> str | None:
    path = _file(folder, id)
    data = files.read(path, _LIMIT)
    if data is None:
        return None
    text = data.decode("utf-8", "replace")
    if text.encode() != data:
        raise Problem("is damaged: it is not UTF-8", where=path, todo="Move it away, and store the key again")
    return text


def _write_file(folder: str, id: str, secret: Secret) -> None:
    path = _file(folder, id)
    with _explained(folder):
        files.make_folders(files.missing_folders(path), 0o700)
        _file(folder, id)  # somebody else may have made it just now
        files.discard(f"{path}.new")
        files.replace(path, files.read(path, _LIMIT), secret.reveal().encode(), f"{path}.new", 0o600)


def _remove_file(folder: str, id: str) -> None:
    path = _file(folder, id)
    with _explained(folder):
        files.discard(path)
        files.discard(f"{path}.new")


def _file(folder: str, id: str) -> str:
    """Where this secret is kept, whatever its name holds. Problem (6) where the folder is not ours alone."""
    import hashlib

    what, todo = files.indiscretion(folder, follow=False)
    if what:
        raise Problem(what, where=folder, todo=todo, code=UNSUPPORTED)
    return os.path.join(folder, hashlib.sha256(id.encode()).hexdigest()[:32])


@contextmanager
def _explained(folder: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(f"cannot be written: {explain(error)}", where=folder, todo="Nothing was stored") from None
