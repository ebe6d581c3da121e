"""Which Claude Code is installed: what is wrong with its file or its shell, its version; what WSL answers."""

from __future__ import annotations

import os
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ccremedy import Adapter, Facts, Machine, diagnosis, processes, registry, testing

registry.remedies()  # the helpers are importable by name once the registry has found the remedies
installs = import_module("ccremedy.remedies._installs")
wsl = import_module("ccremedy.remedies._wsl")

ELF, MACH_O, MZ = (bytes.fromhex(mark).ljust(5000, b"\0") for mark in ("7f454c46", "cffaedfe", "4d5a"))
ARM = "/lib/ld-linux-aarch64.so.1"
needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="needs permission bits")


def machine(root: Path, platform: str = "linux", **env: str) -> Machine:
    """One of this platform; macOS is Linux with its name, which is all that is asked for here."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    system = "win32" if platform == "windows" else "linux"
    facts = Facts(system, {"PATH": "", "HOME": str(home), "USERPROFILE": str(home)} | env, str(root))
    adapter = registry.adapter(facts)
    if platform == "macos":
        base: Any = type(adapter)
        named: Adapter = type("Mac", (base,), {"name": "macos"})()
        adapter = named
    return Machine(str(home), adapter, facts, {})


def put(root: Path, path: str, content: bytes | str | None, mode: int = 0o755) -> str:
    """A file; None a directory; a text beginning with "->" a link."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        place.mkdir()
    elif isinstance(content, str) and content.startswith("->"):
        place.symlink_to(content[2:])
    else:
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)
    return str(place)


def started_by(loader: str, bits: int) -> bytes:
    """A program for Linux, the second of whose parts names what starts it (`man 5 elf`)."""
    made = bytearray(ELF)
    made[4:6] = bits // 32, 1
    if bits == 64:
        struct.pack_into("<Q", made, 32, 64)
        struct.pack_into("<HH", made, 54, 56, 2)
        struct.pack_into("<I4xQ16xQ", made, 64 + 56, 3, 512, len(loader) + 1)
    else:
        struct.pack_into("<I", made, 28, 52)
        struct.pack_into("<HH", made, 42, 32, 2)
        struct.pack_into("<II8xI", made, 52 + 32, 3, 512, len(loader) + 1)
    made[512 : 512 + len(loader)] = loader.encode()
    return bytes(made)


VERSION = "home/.local/share/claude/versions/2.1.330"
NO_LOADER = f"is for another processor or C library: it is started by {ARM}, which is not here"
STUB = "echo claude native binary not installed\n"
PACKAGE = "home/.npm-global/lib/node_modules/@anthropic-ai/claude-code"


@needs_modes
@pytest.mark.parametrize(
    ("files", "platform", "fault"),
    [
        ({"bin/claude": ELF}, "linux", ""),
        ({"bin/claude": MACH_O}, "macos", ""),
        ({"bin/claude": "#!/bin/sh\n"}, "linux", ""),
        ({"bin/claude": "exec somewhere/claude\n"}, "linux", ""),
        ({"bin/claude": MACH_O}, "linux", "is a program for macOS"),
        ({"bin/claude": ELF}, "macos", "is a program for Linux"),
        ({"bin/claude": MZ}, "linux", "is a program for Windows"),
        ({"bin/claude": started_by(ARM, 64)}, "linux", NO_LOADER),
        ({"bin/claude": started_by(ARM, 32)}, "linux", NO_LOADER),
        ({"bin/claude": started_by(ARM, 64), ARM[1:]: b""}, "linux", ""),
        ({"bin/claude": ELF[:4095]}, "linux", "is cut short: 4095 bytes"),
        ({"bin/claude": ELF[:4096]}, "linux", ""),
        ({"bin/claude": b""}, "linux", "is empty (0 bytes)"),
        ({"bin/claude": None}, "linux", "is a directory"),
        ({"bin/claude": "->missing"}, "linux", "is a link to {root}/bin/missing, which is not there"),
        ({"bin/claude": "->claude"}, "linux", "is a link that leads back to itself"),
        ({"bin/claude": "->other", "bin/other": "->claude"}, "linux", "is a link that leads back to itself"),
        ({"bin/claude": "->other", "bin/other": b""}, "linux", "leads to {root}/bin/other, which is empty (0 bytes)"),
        (
            {"bin/claude": f"->../{VERSION}", VERSION: "rubbish"},
            "linux",
            f"leads to {{root}}/{VERSION}, which is no program",
        ),
        ({"bin/claude": f"->../{VERSION}", VERSION: ELF}, "linux", ""),
        (
            {"bin/claude": f"->../{PACKAGE}/bin/claude.exe", f"{PACKAGE}/bin/claude.exe": STUB},
            "linux",
            f"leads to {{root}}/{PACKAGE}/bin/claude.exe, which only says that npm did not fetch the program itself",
        ),
        ({"bin/claude": f"->../{PACKAGE}/cli.js", f"{PACKAGE}/cli.js": "#!/usr/bin/env node\n"}, "linux", ""),
    ],
    ids=[
        "Linux' own", "macOS' own", "a script", "a script without a first line", "macOS' on Linux", "Linux' on macOS",
        "Windows' on Linux", "another processor's", "another processor's of 32 bits", "another's whose loader is here",
        "cut short", "just long enough", "empty", "a directory", "a link to nothing",
        "a link to itself", "two links to each other", "a link to an empty file", "rubbish for a version",
        "a version", "npm's placeholder", "npm's script",
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(files: dict[str, Any], platform: str, fault: str, tmp_path: Path) -> None:
    for path, content in files.items():
        put(tmp_path, path, content)
    found = installs.look(machine(tmp_path, platform), str(tmp_path / "bin/claude"))
    assert found.fault == fault.format(root=tmp_path)


@needs_modes
def test_a_file_that_may_not_be_started_is_passed_over(tmp_path: Path) -> None:
    path = put(tmp_path, "bin/claude", ELF, 0o640)
    found = installs.look(machine(tmp_path), path)
    assert (found.fault, found.passed_over) == ("is not executable (mode 0640)", True)


@pytest.mark.parametrize(
    ("path", "platform", "method"),
    [
        ("Applications/Claude.app/Contents/MacOS/claude", "macos", "Claude Desktop"),
        ("home/Applications/Claude.app/Contents/MacOS/claude", "macos", "Claude Desktop"),
        ("home/.local/share/claude/versions/bundles/2.1.330/claude.app/Contents/MacOS/claude", "macos", "native"),
        ("home/AppData/Local/Microsoft/WindowsApps/Claude.exe", "windows", "Claude Desktop"),
        ("Program Files/WindowsApps/Claude_1.2_x64__pzs8/app/claude.exe", "windows", "Claude Desktop"),
        ("home/AppData/Local/AnthropicClaude/claude.exe", "windows", "Claude Desktop"),
        ("home/.local/bin/claude.exe", "windows", "native"),
        ("home/AppData/Local/Microsoft/WinGet/Links/claude.exe", "windows", "WinGet"),
        ("opt/homebrew/Caskroom/claude-code/2.1.330/claude", "macos", "Homebrew"),
        ("opt/homebrew/Caskroom/claude-code@latest/2.1.330/claude", "macos", "Homebrew"),
        ("home/.local/share/mise/installs/claude/2.1.330/bin/claude", "linux", "mise"),
        ("home/.asdf/installs/nodejs/22.1.0/node_modules/@anthropic-ai/claude-code/bin/claude.exe", "linux", "asdf"),
        ("home/.claude/local/node_modules/@anthropic-ai/claude-code/cli.js", "linux", "npm of old, in .claude/local"),
        ("usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe", "linux", "npm"),
        ("home/bin/claude", "linux", "by a way that ccremedy does not know"),
    ],
)  # fmt: skip
def test_how_it_came_here_is_told_by_its_path(path: str, platform: str, method: str, tmp_path: Path) -> None:
    launcher = put(tmp_path, path, {"linux": ELF, "macos": MACH_O, "windows": MZ}[platform])
    found = installs.look(machine(tmp_path, platform), launcher)
    assert (found.method, found.fault) == (method, "")


@needs_modes
@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("opt/homebrew/bin/claude", "->../Caskroom/claude-code/2.1.330/claude", "(Homebrew) is sound"),
        ("home/.local/bin/claude", MACH_O, "(native) is sound"),
        ("usr/local/bin/claude", MACH_O, "is sound"),
    ],
)
def test_where_a_mac_has_it(path: str, content: bytes | str, says: str, tmp_path: Path) -> None:
    """Simulated: a Linux that calls itself macOS."""
    put(tmp_path, "opt/homebrew/Caskroom/claude-code/2.1.330/claude", MACH_O)
    put(tmp_path, "Applications/Claude.app/Contents/MacOS/claude", MACH_O)
    put(tmp_path, path, content)
    here = machine(tmp_path, "macos", PATH=f"{tmp_path}/Applications/Claude.app/Contents/MacOS")
    here = Machine(here.home, here.adapter, here.facts, {"zsh": "/bin/zsh"})
    (finding,) = diagnosis.diagnose(here, [registry.remedy("install-path")]).findings
    assert finding.id == "not-on-path"
    assert says in finding.evidence[0]
    assert [os.path.basename(change.resource.path) for change in finding.changes] == [".zprofile", ".zshrc"]


@needs_modes
@pytest.mark.parametrize(("content", "changed"), [(b"", []), (ELF, [".profile", ".bashrc"])], ids=["broken", "sound"])
def test_in_wsl_a_claude_of_linux_is_put_first_only_if_it_is_sound(
    content: bytes, changed: list[str], tmp_path: Path
) -> None:
    """One of 0 bytes was put before that of Windows, and then claude did nothing at all."""
    put(tmp_path, "run/WSL/8_interop", "")
    put(tmp_path, "mnt/c/npm/claude", "#!/bin/sh\n")
    put(tmp_path, "home/.local/bin/claude", content)
    here = machine(tmp_path, PATH=f"{tmp_path}/mnt/c/npm", WSL_DISTRO_NAME="Debian", SHELL="/opt/bin/nu")
    here = Machine(here.home, here.adapter, here.facts, {"bash": "/bin/bash"})
    (finding,) = diagnosis.diagnose(here, [registry.remedy("wsl-path")]).findings
    assert any("Your shell is nu" in each for each in finding.advice) == bool(changed)
    assert [os.path.basename(change.resource.path) for change in finding.changes] == changed
    assert any("claude has no Linux twin" in each for each in finding.advice) == (not changed)


@needs_modes
@pytest.mark.parametrize("folder", [".local/share/mise/shims", ".nix-profile/bin"])
def test_where_linux_has_it(folder: str, tmp_path: Path) -> None:
    """mise may have no node at all, only claude."""
    put(tmp_path, f"home/{folder}/claude", ELF)
    here = machine(tmp_path)
    here = Machine(here.home, here.adapter, here.facts, {"bash": "/bin/bash"})
    (finding,) = diagnosis.diagnose(here, [registry.remedy("install-path")]).findings
    assert (finding.id, len(finding.changes)) == ("not-on-path", 2)


@needs_modes
@pytest.mark.parametrize(
    ("shell", "installed", "changed", "says"),
    [
        ("/bin/bash", {}, [], "is put on PATH by nvm, which"),
        ("/bin/zsh", {"zsh": "/bin/zsh"}, [".zprofile", ".zshrc"], "Then open a new terminal"),
        ("/opt/bin/nu", {"bash": "/bin/bash"}, [".profile", ".bashrc"], "Your shell is nu, whose start-up files"),
        ("/opt/bin/nu", {}, [], "Your shell is nu, whose start-up files"),
    ],
    ids=["bash", "zsh", "a shell beside bash", "a shell alone"],
)
def test_where_bash_loads_nvm_and_the_user_has(
    shell: str, installed: dict[str, str], changed: list[str], says: str, tmp_path: Path
) -> None:
    """.bashrc is nothing to zsh; and of a shell that we do not know it is said that it has been left alone."""
    put(tmp_path, "home/.nvm/versions/node/v22.1.0/bin/claude", "#!/bin/sh\n")
    put(tmp_path, "home/.bashrc", '. "$HOME/.nvm/nvm.sh"\n' if "nu" not in shell else "")
    here = machine(tmp_path, SHELL=shell)
    told = diagnosis.diagnose(
        Machine(here.home, here.adapter, here.facts, installed), [registry.remedy("install-path")]
    )
    changes = [os.path.basename(each.resource.path) for found in told.findings for each in found.changes]
    assert changes == changed
    assert says in told.findings[0].advice[0] if told.findings else says in told.healthy[0][1]


@pytest.mark.parametrize(
    ("files", "platform", "version"),
    [
        ({"home/.local/bin/claude": f"->{{root}}/{VERSION}", VERSION: ELF}, "linux", "2.1.330"),
        (
            {
                "home/.local/bin/claude": f"->{{root}}/{PACKAGE}/cli.js",
                f"{PACKAGE}/cli.js": "#!",
                f"{PACKAGE}/package.json": '{"version": "2.1.9"}',
            },
            "linux",
            "2.1.9",
        ),
        ({"home/.local/bin/claude": "#!/bin/sh\n"}, "linux", ""),
        ({"home/.local/bin/claude.exe": MZ}, "windows", ""),
        (
            {"home/.local/bin/claude.exe": MZ, VERSION: MZ, "home/.local/share/claude/versions/2.1.99": MZ},
            "windows",
            "2.1.330",
        ),
    ],
    ids=["native", "npm", "a script of one's own", "native on Windows, alone", "native on Windows"],
)  # fmt: skip
def test_the_version_is_told_by_what_lies_beside_it(
    files: dict[str, Any], platform: str, version: str, tmp_path: Path
) -> None:
    launcher = ""
    for path, content in files.items():
        filled = content.format(root=tmp_path) if isinstance(content, str) and "{root}" in content else content
        launcher = launcher or str(tmp_path / path)
        put(tmp_path, path, filled)
    here = machine(tmp_path, platform)
    assert installs.version(here, installs.look(here, launcher)) == version


# ---- WSL, beside a simulated Windows


LXSS = r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Lxss"
CASE = {
    "platform": "windows",
    "files": {"~/.local/bin/claude.exe": {"base64": "TVqQAAMAAAA=", "size": 5000}},
    "registry": {
        r"HKEY_CURRENT_USER\Environment": {"Path": ["REG_SZ", "{home}/.local/bin"]},
        LXSS: {"DefaultDistribution": ["REG_SZ", "{1F8B}"]},
        rf"{LXSS}\{{1f8b}}": {"DistributionName": ["REG_SZ", "Debian"], "Version": ["REG_DWORD", 2]},
    },
}


def reason(tmp_path: Path, program: str | None, *options: str) -> str:
    """Why all is well where this script is wsl.exe (None: there is none)."""
    files = CASE["files"] | ({"/Windows/System32/wsl.exe": program} if program is not None else {})  # type: ignore[operator]
    case = testing.Case("wsl", registry.remedy("install-path"), CASE | {"files": files, "options": list(options)})
    rig = testing.Rig.make(case, str(tmp_path / "scratch"))
    found = rig.diagnose()
    assert (found.findings, found.failed) == ([], [])
    return found.healthy[0][1]


def test_without_the_option_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(processes, "run", run)
    assert "in Debian (WSL 2, the default) another PATH decides" in reason(tmp_path, "#!/bin/sh\n")


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="needs scripts that stand for programs")


@needs_scripts
@pytest.mark.parametrize(
    ("program", "says"),
    [
        (
            "echo /home/me/.local/bin/claude; echo /usr/bin/node; echo ccremedy-asked",
            "claude is Linux' own /home/me/.local/bin/claude and node is Linux' own /usr/bin/node",
        ),
        (
            "echo /mnt/c/npm/claude; echo ccremedy-asked",
            "claude is that of Windows, /mnt/c/npm/claude (in there: ccremedy apply wsl-path) and node is not found",
        ),
        (
            "echo '/windir/c/Users/me/AppData/Roaming/npm/claude'; echo ccremedy-asked",
            "claude is that of Windows, /windir/c/Users/me/AppData/Roaming/npm/claude (in there: ",
        ),
        (
            "echo alias claude=/home/me/claude; echo node; echo ccremedy-asked",
            "claude is an alias or function of the shell and node is an alias or function of the shell",
        ),
        ("echo ccremedy-asked", "claude is not found and node is not found"),
        (r"printf 'N\0o\0n\0e\0.\0\r\0\n\0'; exit 255", "nobody answered: None."),
        ("exit 3", "nobody answered: wsl.exe ended with 0x3"),
    ],
    ids=[
        "its own",
        "that of Windows",
        "that of Windows elsewhere",
        "no file",
        "none",
        "a message in UTF-16",
        "nothing",
    ],
)
def test_what_wsl_answers(program: str, says: str, tmp_path: Path) -> None:
    assert f"in Debian (WSL 2, the default) {says}" in reason(tmp_path, f"#!/bin/sh\n{program}\n", "wsl")


@needs_scripts
@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("#!/bin/sh\n/bin/sleep 30\n", "nobody answered within 0.5 seconds"),
        ("#!/no/such/shell\n", "nobody could be asked: wsl.exe cannot be started"),
        (None, "nobody could be asked: there is no wsl.exe"),
    ],
    ids=["no answer", "no program", "no wsl.exe"],
)
def test_where_nobody_answers_that_is_said(
    program: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsl, "PATIENCE", 0.5)
    assert f"in Debian (WSL 2, the default) {says}" in reason(tmp_path, program, "wsl")


@needs_scripts
def test_wsl_is_asked_for_one_distribution_and_without_a_shell_of_its_own(tmp_path: Path) -> None:
    script = f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/words\n"
    reason(tmp_path, script, "wsl")
    words = (tmp_path / "words").read_text().splitlines()
    assert words == ["-d", "Debian", "-e", "/bin/sh", "-c", wsl.QUESTION]


def test_a_percent_sign_in_the_name_of_the_home_is_no_variable(tmp_path: Path) -> None:
    root = tmp_path / "100%"
    root.mkdir()
    launcher = put(root, "home/.local/bin/claude.exe", MZ)
    assert [each.path for each in installs.elsewhere(machine(root, "windows"), [])] == [launcher]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"C:\\Git\\bin\\bash.exe"', "and no file has quotation marks in its name"),
        ("C:\\Git\\cmd\\git.exe", "and only bash.exe and sh.exe are taken"),
        ("Z:\\Git\\bin\\bash.exe", "which is not there"),
        (f"{os.path.dirname(__file__)}{os.sep}", "which is a folder"),
    ],
    ids=["in quotes", "git", "gone", "a folder"],
)
def test_why_a_shell_is_not_taken(value: str, why: str) -> None:
    wrong = import_module("ccremedy.remedies._git").wrong
    assert wrong(value) == f"is {value}, {why}"
