"""Which platform this is, where the drives of Windows are, and what is said where ccremedy does not work yet.

Every machine here is a scratch root with the files by which the real ones were told apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ccremedy import errors, registry
from ccremedy.errors import Problem
from ccremedy.machine import Facts, Machine

registry.adapter(Facts("linux", {}, "/"))  # the adapters are importable by name once the registry has found them
wsl = import_module("ccremedy.platforms.wsl")

DEBIAN = {
    "proc/sys/kernel/osrelease": "6.1.0-25-amd64\n",
    "proc/version": "Linux version 6.1.0-25-amd64 (debian-kernel@lists)\n",
}
WSL2 = {
    "proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
    "proc/version": "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1)\n",
}
WSL1 = {
    "proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n",
    "proc/version": "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)\n",
}
OWN_KERNEL = {"proc/sys/kernel/osrelease": "6.6.36-mine+\n", "proc/version": "Linux version 6.6.36-mine+ (me@here)\n"}
INTEROP = {"run/WSL/1_interop": "", "proc/sys/fs/binfmt_misc/WSLInterop": "enabled\n"}
MOUNT_9P = (
    "82 77 0:44 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\;uid=1000;symlinkroot=/mnt/,mmap\n"
)
MOUNT_APP = MOUNT_9P.replace("/mnt/c", "/app")
MOUNT_DRVFS = "6 5 0:6 / /mnt/c rw,noatime - drvfs C: rw,uid=1000,gid=1000,case=off\n"
MOUNT_VIRTIOFS = "90 77 0:51 / /mnt/d rw,noatime - virtiofs drvfsD3 rw,drvfs\n"
MOUNT_EXT4 = "77 60 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard\n"
ENV = {"WSL_DISTRO_NAME": "Debian", "WSL_INTEROP": "/run/WSL/8_interop"}


def facts(root: Path, files: dict[str, str], env: dict[str, str] | None = None, system: str = "linux") -> Facts:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Facts(system, env or {}, str(root))


# ---- recognition


@pytest.mark.parametrize(
    ("files", "env", "name"),
    [
        (DEBIAN, {}, "linux"),
        ({}, {}, "linux"),
        (DEBIAN | {"proc/self/mountinfo": MOUNT_EXT4}, {}, "linux"),
        (WSL2 | INTEROP | {"proc/self/mountinfo": MOUNT_EXT4 + MOUNT_9P}, ENV, "wsl"),
        (WSL2 | INTEROP | {"proc/self/mountinfo": MOUNT_EXT4 + MOUNT_9P}, {}, "wsl"),
        (WSL2, ENV, "wsl"),
        (WSL2 | {"proc/self/mountinfo": MOUNT_9P}, {}, "wsl"),
        (WSL1 | {"proc/self/mountinfo": MOUNT_DRVFS}, ENV, "wsl"),
        (WSL1 | {"proc/self/mountinfo": MOUNT_DRVFS}, {}, "wsl"),
        (OWN_KERNEL | INTEROP, ENV, "wsl"),
        (OWN_KERNEL | INTEROP | {"proc/self/mountinfo": MOUNT_9P}, {}, "wsl"),
        (WSL2, {}, "linux"),
        (WSL2 | {".dockerenv": "", "proc/self/mountinfo": MOUNT_EXT4}, {}, "linux"),
        (WSL2 | {".dockerenv": "", "proc/self/mountinfo": MOUNT_EXT4 + MOUNT_APP}, {}, "linux"),
        (WSL2 | {"run/.containerenv": "", "proc/self/mountinfo": MOUNT_APP}, {}, "linux"),
        (DEBIAN, ENV, "linux"),
        (DEBIAN | {"proc/self/mountinfo": "9 1 0:9 / /mnt/host rw - 9p host rw,trans=virtio\n"}, {}, "linux"),
    ],
    ids=[
        "Debian", "no proc at all", "Debian with a disk", "WSL 2", "WSL 2 over ssh, without its variables",
        "WSL 2 with interop off", "WSL 2 with a drive and nothing else", "WSL 1", "WSL 1 over ssh",
        "a kernel of one's own",
        "a kernel of one's own over ssh", "a container on WSL's kernel", "Docker on WSL's kernel",
        "Docker on WSL's kernel, with a folder of Windows mounted",
        "Podman on WSL's kernel, with a folder of Windows mounted",
        "Debian with somebody's variables", "a guest with a folder of its host",
    ],
)  # fmt: skip
def test_a_linux_is_told_from_a_wsl(files: dict[str, str], env: dict[str, str], name: str, tmp_path: Path) -> None:
    assert registry.adapter(facts(tmp_path, files, env)).name == name


@pytest.mark.parametrize(("system", "name"), [("darwin", "macos"), ("win32", "windows"), ("linux", "linux")])
def test_a_system_is_told_by_its_name(system: str, name: str, tmp_path: Path) -> None:
    assert registry.adapter(facts(tmp_path, {}, system=system)).name == name


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_the_files_of_a_wsl_make_no_wsl_of_another_system(system: str, tmp_path: Path) -> None:
    assert registry.adapter(facts(tmp_path, WSL2 | INTEROP, ENV, system)).name != "wsl"


@pytest.mark.parametrize("system", ["freebsd14", "cygwin", "aix", ""])
def test_an_unknown_system_is_said_to_be_unknown(system: str, tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        registry.adapter(facts(tmp_path, {}, system=system))
    assert caught.value.code == errors.UNSUPPORTED


# ---- the drives of Windows


@pytest.mark.parametrize(
    ("conf", "root"),
    [
        (None, "/mnt/"),
        ("", "/mnt/"),
        ("[automount]\nroot = /\n", "/"),
        ("[automount]\nroot=/windir\n", "/windir"),
        ("[automount]\nroot = /windir/ # all of them\n", "/windir/"),
        ('[automount]\nroot = "/my drives/"\n', "/my drives/"),
        ("[automount]\r\nroot = /windir/\r\n", "/windir/"),
        ("  [AutoMount]\n\tROOT\t=\t/windir/\n", "/windir/"),
        ("[ automount ]\nroot = /windir/\n", "/windir/"),
        ("[network]\nroot = /wrong/\n", "/mnt/"),
        ("root = /wrong/\n", "/mnt/"),
        ("# [automount]\n# root = /wrong/\n", "/mnt/"),
        ("[automount]\n# root = /wrong/\n", "/mnt/"),
        ("[automount]\nroot = /one/\n[boot]\nsystemd=true\n[automount]\nroot = /two/\n", "/two/"),
        ("[automount]\nroot = relative\n", "/mnt/"),
        ("[automount]\nroot =\n", "/mnt/"),
        ("[automount]\nroot\n", "/mnt/"),
        ("[automount]\nenabled = false\n", "/mnt/"),
    ],
    ids=[
        "no file", "an empty file", "the root itself", "without blanks", "a comment behind it", "quotes", "CRLF",
        "letter case and tabs", "blanks in the brackets", "another section", "no section", "a section in a comment",
        "a comment", "the last one counts", "a relative one", "an empty one", "no value", "switched off",
    ],
)  # fmt: skip
def test_wsl_conf_says_where_the_drives_are(conf: str | None, root: str, tmp_path: Path) -> None:
    where = facts(tmp_path, WSL2 | ({} if conf is None else {"etc/wsl.conf": conf}), ENV)
    (tmp_path / root.strip("/") / "c" / "Windows").mkdir(parents=True)
    (tmp_path / root.strip("/") / "data").mkdir()
    drives = registry.adapter(where).windows_folders(where)
    assert [drive.rstrip("/") for drive in drives] == [str(tmp_path / root.strip("/") / "c")]


@pytest.mark.parametrize(
    ("mountinfo", "folders"),
    [
        (MOUNT_9P, ["mnt/c"]),
        (MOUNT_DRVFS, ["mnt/c"]),
        (MOUNT_VIRTIOFS, ["mnt/d"]),
        (MOUNT_EXT4 + MOUNT_9P + MOUNT_VIRTIOFS, ["mnt/c", "mnt/d"]),
        (MOUNT_9P.replace("/mnt/c", "/my\\040drive\\011c"), ["my drive\tc"]),
        (MOUNT_9P.replace("/mnt/c", "/back\\134slash"), ["back\\slash"]),
        (MOUNT_9P.replace("/mnt/c", "/line\\012end"), ["line\nend"]),
        (MOUNT_9P.replace("noatime - ", "noatime shared:1 master:2 - "), ["mnt/c"]),
        (MOUNT_9P.replace("/mnt/c", "/gr\u00fc\u00df"), ["gr\u00fc\u00df"]),
        ("9 1 0:9 / /mnt/host rw - 9p host rw,trans=virtio\n", []),
        (MOUNT_EXT4, []),
        ("9 1 0:9 / /usr/lib/wsl/drivers ro - 9p drivers ro,aname=drivers;fmask=222\n", []),
        ("", []),
        ("rubbish\n - \n1 2 3 - 9p\n- drvfs\n\n", []),
    ],
    ids=[
        "9p", "drvfs", "virtiofs", "several", "a blank and a tab", "a backslash", "a line end", "optional fields",
        "not ASCII",
        "a folder of another host", "a disk", "WSL's own drivers", "an empty table", "rubbish",
    ],
)  # fmt: skip
def test_the_kernel_says_where_the_drives_are(mountinfo: str, folders: list[str], tmp_path: Path) -> None:
    where = facts(tmp_path, WSL2 | {"proc/self/mountinfo": mountinfo}, ENV)
    assert registry.adapter(where).windows_folders(where) == tuple(str(tmp_path / each) for each in folders)


def test_a_program_on_a_drive_is_windows_own_also_behind_a_link(tmp_path: Path) -> None:
    where = facts(tmp_path, WSL2 | {"mnt/c/nodejs/npm": "", "home/me/bin/x": ""}, ENV)
    (tmp_path / "home/me/bin/npm").symlink_to(tmp_path / "mnt/c/nodejs/npm")
    machine = Machine(str(tmp_path / "home/me"), registry.adapter(where), where, {})
    assert machine.is_windows(str(tmp_path / "mnt/c/nodejs/npm"))
    assert machine.is_windows(str(tmp_path / "home/me/bin/npm"))
    assert not machine.is_windows(str(tmp_path / "home/me/bin/x"))
    assert not machine.is_windows(str(tmp_path / "mnt/cd/npm"))
    assert not machine.is_windows(str(tmp_path / "mnt/c"))


# ---- where state is kept, and processes


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HOME": "/h"}, "/h/.local/state/ccremedy"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/ccremedy"),
        ({"HOME": "/h", "XDG_STATE_HOME": ""}, "/h/.local/state/ccremedy"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/ccremedy"),
    ],
    ids=["by default", "configured", "configured as empty", "configured as relative"],
)
def test_where_the_journal_is_kept(env: dict[str, str], folder: str, tmp_path: Path) -> None:
    where = facts(tmp_path, DEBIAN, env)
    assert registry.adapter(where).state_folder(where) == folder


def test_processes_are_read_from_proc(tmp_path: Path) -> None:
    tail = "S 1 1 1 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 8 0 {} 1 1\n"
    files = {f"proc/{pid}/stat": f"{pid} ({name}) {tail.format(start)}"
             for pid, name, start in ((1, "init", 5), (20, "a b", 6), (300, "x) R 1 (y", 7))}  # fmt: skip
    where = facts(tmp_path, DEBIAN | files | {"proc/40/stat": "40 (cut short) S 1", "proc/self/stat": "1 (x) S"})
    (tmp_path / "proc/50").mkdir()
    found = sorted((each.pid, each.start) for each in registry.adapter(where).processes(where))
    assert found == [(1, "5"), (20, "6"), (300, "7")]


# ---- nowhere


@pytest.mark.parametrize("system", ["freebsd14", "aix"])
@pytest.mark.parametrize("words", [["diagnose"], ["apply", "--all", "--yes"], ["diagnose", "--json"], []], ids=" ".join)
def test_what_is_not_known_is_said_with_code_6(system: str, words: list[str], tmp_path: Path) -> None:
    """A process of its own that takes itself for another system."""
    script = f"import sys; sys.platform = {system!r}; from ccremedy.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == errors.UNSUPPORTED
    assert b"Traceback" not in done.stderr
    if "--json" in words:
        report = json.loads(done.stdout)
        assert report["exit"] == errors.UNSUPPORTED
        assert "does not know the platform" in json.dumps(report)
    else:
        assert b"does not know the platform" in done.stderr
    assert list(tmp_path.iterdir()) == []
