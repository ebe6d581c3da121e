"""The only module that touches the registry of Windows.

What it promises
- A value is read and written as the bytes that it is, with its type: nothing is expanded, cut or converted.
- When a call returns, its effect is on the disk; programs that care have been told of a new environment.
- On other systems there is no registry: every key is missing.

A key is written as Regedit shows it: `HKEY_CURRENT_USER\\Environment`. All calls of the system go through the name
`api`, so that a test can stand in its place (ccremedy.testing has one that keeps its keys in a file).
"""

from __future__ import annotations

import json
import re
import sys

from ccremedy.errors import UNSUPPORTED, Problem, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class Api(Protocol):
        """What Windows offers; OSError where it refuses. A missing key or value is a FileNotFoundError."""

        def query(self, key: str, name: str) -> tuple[int, bytes]: ...
        def set(self, key: str, name: str, kind: int, data: bytes) -> None: ...
        def delete(self, key: str, name: str) -> None: ...
        def create(self, key: str) -> None: ...
        def remove(self, key: str) -> None: ...
        def names(self, key: str) -> tuple[list[str], list[str]]: ...
        def writable(self, key: str) -> bool: ...
        def announce(self) -> None: ...


api: Api | None = None

USER, SYSTEM = "HKEY_CURRENT_USER", "HKEY_LOCAL_MACHINE"
ENVIRONMENT = rf"{USER}\Environment"
SYSTEM_ENVIRONMENT = rf"{SYSTEM}\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
KINDS = ("REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD", "REG_DWORD_BIG_ENDIAN", "REG_LINK",
         "REG_MULTI_SZ", "REG_RESOURCE_LIST", "REG_FULL_RESOURCE_DESCRIPTOR", "REG_RESOURCE_REQUIREMENTS_LIST",
         "REG_QWORD")  # fmt: skip
_KEY = re.compile(r"(HKEY_CURRENT_USER|HKEY_LOCAL_MACHINE)(\\[^\\\0]{1,255})+")
LONGEST = 32767  # characters of one variable of an environment, its end included


def is_key(path: str) -> bool:
    return _KEY.fullmatch(path) is not None


# ---- values as text: `REG_EXPAND_SZ "%USERPROFILE%\\bin"`, `REG_DWORD 01000000`; what is no proper text is in hex too


def spelled(kind: int, data: bytes) -> str:
    text = as_text(kind, data)
    name = KINDS[kind] if kind < len(KINDS) else f"REG_{kind}"
    return f"{name} {data.hex() if text is None else json.dumps(text)}"


def unspelled(value: str) -> tuple[int, bytes]:
    """The other way. ValueError where it is no such text."""
    name, _, rest = value.partition(" ")
    kind = KINDS.index(name) if name in KINDS else int(name.removeprefix("REG_"))
    return kind, as_data(json.loads(rest)) if rest.startswith('"') else bytes.fromhex(rest)


def as_text(kind: int, data: bytes) -> str | None:
    """The text of a REG_SZ or REG_EXPAND_SZ; None for other types, and where writing it would give other bytes."""
    if kind not in (1, 2) or len(data) % 2:
        return None
    text = data.decode("utf-16-le", "surrogatepass").removesuffix("\0")
    return text if as_data(text) == data and "\0" not in text else None


def as_data(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le", "surrogatepass")


# ---- reading


def read(key: str, name: str) -> tuple[int, bytes] | None:
    """Type and bytes of a value; None where there is none."""
    if api is None:
        return None
    try:
        return api.query(key, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem(f"cannot be read: {explain(error)}", where=rf"{key}\{name}", code=UNSUPPORTED) from None


def text(key: str, name: str) -> str:
    """The text of a value, unexpanded; '' where there is none."""
    found = read(key, name)
    return (found and as_text(*found)) or ""


def exists(key: str) -> bool:
    return _names(key) is not None


def values(key: str) -> list[str]:
    """The names of the values of a key."""
    return (_names(key) or ([], []))[1]


def keys(key: str) -> list[str]:
    """The names of the keys in a key."""
    return (_names(key) or ([], []))[0]


def _names(key: str) -> tuple[list[str], list[str]] | None:
    try:
        return None if api is None else api.names(key)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem(f"cannot be read: {explain(error)}", where=key, code=UNSUPPORTED) from None


def missing_keys(key: str) -> tuple[str, ...]:
    """The keys that a write to `key` has to make, outermost first."""
    parts = key.split("\\")
    above = ["\\".join(parts[: count + 1]) for count in range(1, len(parts))]
    return tuple(each for each in above if not exists(each))


def obstacle(key: str) -> str:
    """Why this key cannot be written ('' if it can), as the end of a sentence that begins with it."""
    if api is None:
        return "is part of a registry, which only Windows has"
    nearest = next((each for each in above(key) if exists(each)), key.partition("\\")[0])
    try:
        return "" if api.writable(nearest) else "may not be written by you"
    except OSError as error:
        return f"may not be written by you: {explain(error)}"


def above(key: str) -> list[str]:
    """The key and those above it, innermost first."""
    parts = key.split("\\")
    return ["\\".join(parts[:count]) for count in range(len(parts), 1, -1)]


# ---- environments

_AT_LOG_ON = {
    "ALLUSERSPROFILE", "APPDATA", "COMMONPROGRAMFILES", "COMMONPROGRAMFILES(X86)", "COMMONPROGRAMW6432", "COMPUTERNAME",
    "HOMEDRIVE", "HOMEPATH", "HOMESHARE", "LOCALAPPDATA", "LOGONSERVER", "PROGRAMDATA", "PROGRAMFILES",
    "PROGRAMFILES(X86)", "PROGRAMW6432", "PUBLIC", "SESSIONNAME", "SYSTEMDRIVE", "SYSTEMROOT", "USERDOMAIN",
    "USERDOMAIN_ROAMINGPROFILE", "USERNAME", "USERPROFILE",
}  # fmt: skip


def expanded(value: str, env: Mapping[str, str]) -> str:
    """With %NAMES% filled in as Windows does it: in any letter case, and what is not set stays as it is."""
    known = {name.upper(): value for name, value in env.items()}
    return re.sub(r"%([^%]+)%", lambda found: known.get(found[1].upper(), found[0]), value)


def environment(env: Mapping[str, str], system: str = SYSTEM_ENVIRONMENT, user: str = ENVIRONMENT) -> dict[str, str]:
    """What a new program starts with, started from the desktop: the system's variables, the user's over them.

    What Windows sets anew at each log-on (USERPROFILE, SystemRoot) is as it is in `env`. Of the two PATHs the system's
    comes first.
    """
    found = {name.upper(): value for name, value in env.items() if name.upper() in _AT_LOG_ON}
    for key in (system, user):
        plain: list[tuple[str, str]] = []
        late: list[tuple[str, str]] = []
        for name in values(key):  # as Windows does it: plain ones first, because the others may name them
            raw = read(key, name)
            if raw is not None and (value := as_text(*raw)) is not None:
                (late if raw[0] == 2 else plain).append((name.upper(), value))
        for name, value in [*plain, *late]:
            value = expanded(value, found) if (name, value) in late else value
            joined = name == "PATH" and found.get("PATH")
            found[name] = f"{found['PATH'].rstrip(';')};{value}" if joined else value
    return found


# ---- writing


def write(key: str, name: str, value: tuple[int, bytes] | None) -> None:
    """Give a value these bytes, or take it away. OSError where Windows refuses."""
    if api is None:
        raise Problem("only Windows has a registry", where=key, code=UNSUPPORTED)
    if value is not None:
        api.set(key, name, *value)
    else:
        try:
            api.delete(key, name)
        except FileNotFoundError:
            return
    if key.rpartition("\\")[2] == "Environment":
        api.announce()


def make_keys(made: tuple[str, ...]) -> None:
    for key in made:
        if api is not None:
            api.create(key)


def remove_keys(made: tuple[str, ...]) -> None:
    """Remove keys that we made, innermost first, as far as nothing is in them."""
    for key in reversed(made):
        if api is not None and _names(key) == ([], []):
            api.remove(key)


# ---- Windows itself

if sys.platform == "win32":
    import ctypes
    import winreg
    from contextlib import contextmanager

    if TYPE_CHECKING:
        from collections.abc import Generator

    class _Windows:
        """`winreg` for keys; for values the calls below it, because it drops what stands behind a NUL."""

        def query(self, key: str, name: str) -> tuple[int, bytes]:
            with _opened(key, winreg.KEY_QUERY_VALUE) as handle:
                kind, size = ctypes.c_ulong(), ctypes.c_ulong()
                while True:
                    data = ctypes.create_string_buffer(size.value)
                    room = None if not size.value else data
                    code = _advapi.RegQueryValueExW(handle, name, None, ctypes.byref(kind), room, ctypes.byref(size))
                    if code == 0 and (room is not None or not size.value):
                        return kind.value, data.raw[: size.value]
                    if code not in (0, 234):  # ERROR_MORE_DATA: it has grown since
                        raise ctypes.WinError(code)

        def set(self, key: str, name: str, kind: int, data: bytes) -> None:
            # Where a text has no end but a NUL happens to lie behind it in memory, Windows takes that one along.
            behind = data + b"\xff\xff"
            with _opened(key, winreg.KEY_SET_VALUE) as handle:
                if code := _advapi.RegSetValueExW(handle, name, 0, kind, behind, len(data)):
                    raise ctypes.WinError(code)
                winreg.FlushKey(handle)

        def delete(self, key: str, name: str) -> None:
            with _opened(key, winreg.KEY_SET_VALUE) as handle:
                winreg.DeleteValue(handle, name)
                winreg.FlushKey(handle)

        def create(self, key: str) -> None:
            top, path = _split(key)
            winreg.CreateKeyEx(top, path, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY).Close()

        def remove(self, key: str) -> None:
            top, path = _split(key)
            winreg.DeleteKeyEx(top, path, winreg.KEY_WOW64_64KEY)

        def names(self, key: str) -> tuple[list[str], list[str]]:
            with _opened(key, winreg.KEY_READ) as handle:
                keys, values, _ = winreg.QueryInfoKey(handle)
                return (
                    [winreg.EnumKey(handle, index) for index in range(keys)],
                    [winreg.EnumValue(handle, index)[0] for index in range(values)],
                )

        def writable(self, key: str) -> bool:
            with _opened(key, winreg.KEY_SET_VALUE | winreg.KEY_CREATE_SUB_KEY):
                return True

        def announce(self) -> None:
            """Tell the desktop, which starts later programs with the new environment. One that hangs is passed over."""
            everybody, changed, abort_if_hung = 0xFFFF, 0x1A, 2  # winuser.h: HWND_BROADCAST, WM_SETTINGCHANGE
            result = ctypes.c_size_t()
            ctypes.WinDLL("user32").SendMessageTimeoutW(
                everybody, changed, 0, ctypes.c_wchar_p("Environment"), abort_if_hung, 1000, ctypes.byref(result)
            )

    _advapi = ctypes.WinDLL("advapi32")
    _advapi.RegQueryValueExW.argtypes = [ctypes.c_void_p, ctypes.c_wchar_p, *[ctypes.c_void_p] * 4]
    _advapi.RegSetValueExW.argtypes = [
        ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong
    ]  # fmt: skip

    def _split(key: str) -> tuple[int, str]:
        top, _, path = key.partition("\\")
        return {USER: winreg.HKEY_CURRENT_USER, SYSTEM: winreg.HKEY_LOCAL_MACHINE}[top], path

    @contextmanager
    def _opened(key: str, access: int) -> Generator[int]:
        top, path = _split(key)
        with winreg.OpenKey(top, path, 0, access | winreg.KEY_WOW64_64KEY) as handle:
            yield handle.handle

    api = _Windows()
