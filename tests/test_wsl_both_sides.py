"""Both sides of a WSL: which claude, node and npm win in there and outside, with real programs of Windows under Wine.

From Linux: a look-alike whose kernel starts the programs on /mnt/c, as interop does, beside a real Node.js and Claude
Code for Linux. From Windows: distributions in the registry, and a wsl.exe that stands for the real one
(real/wsl_stand_in.c): what is behind it is simulated.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest
from real import fetch, managers
from real.wine import HOME, NPM, USER, Windows, windows
from real.world import SYSTEM_PATH, World, world

from ccremedy import registry

THEIRS = f"/mnt/c/users/{USER}"
NODEJS, SHIMS, NATIVE = "/mnt/c/Program Files/nodejs", f"{THEIRS}/AppData/Roaming/npm", f"{THEIRS}/.local/bin"
PACKAGE = "node_modules/@anthropic-ai/claude-code/bin/claude.exe"
PROFILE = 'if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi\n'
BASHRC = "case $- in *i*) ;; *) return;; esac\nalias ll='ls -l'\n"
PROFILE_OF_UBUNTU = "for i in /etc/profile.d/*.sh; do [ -r $i ] && . $i; done\nunset i\n"  # sets no PATH
WSLPATH = '#!/bin/sh\n/usr/bin/printf %s\\\\n "$1" | sed "s,\\\\\\\\,/,g; s,^C:,/mnt/c,"\n'
STARTS = ("bash -lc", "bash -ic", "bash -lic", "zsh -lc", "zsh -ic", "fish -lc", "fish -ic", "sh -lc")

registry.remedies()  # the helpers are importable by name once the registry has found the remedies
QUESTION: str = import_module("ccremedy.remedies._wsl").QUESTION
from_linux = pytest.mark.cell("wsl-path", "wsl", "real", where="in a look-alike, Windows under Wine")


@contextlib.contextmanager
def wsl(*programs: str, npm: bool = True) -> Iterator[World]:
    """A WSL in an Ubuntu, with these programs on Windows; with `npm`, what its npm has installed there is, too."""
    folders = [NODEJS] * ("node" in programs) + [SHIMS] * npm + [NATIVE, "/mnt/c/windows/system32"]
    env = {"PATH": ":".join([SYSTEM_PATH, *folders]), "WSL_DISTRO_NAME": "Ubuntu", "WSL_INTEROP": "/run/WSL/8_interop"}
    with world("wsl2", env=env, windows=programs) as made:
        for path, data in installed().items() if npm else ():
            made.write(f"{SHIMS}/{path}", data, 0o755)  # as all is on a drive
        if "claude" in programs and npm:  # the real one in the place of what stood for it
            made.real(f"{SHIMS}/{PACKAGE}").unlink()
            made.link(f"{SHIMS}/{PACKAGE}", f"{NATIVE}/claude.exe")
        made.write("/etc/profile", PROFILE_OF_UBUNTU)
        made.write("/usr/bin/wslpath", WSLPATH, 0o755)
        made.write("/home/dev/.profile", PROFILE)
        made.write("/home/dev/.bashrc", BASHRC)
        made.shell("fish -c", "true")  # makes its own folders
        yield made


@functools.cache
def installed() -> Mapping[str, str]:
    """What `npm install -g`, typed in a WSL, leaves on Windows, where the npm that answers is that of Windows."""
    script = "#!/usr/bin/env node\nconsole.log('hello', process.platform)\n"
    with wsl("node", npm=False) as made:
        for name, bin, files in (
            ("@anthropic-ai/claude-code", {"claude": "bin/claude.exe"}, {"bin/claude.exe": "MZ"}),
            ("hello", {"hello": "hello.js"}, {"hello.js": script}),
        ):
            about = json.dumps({"name": name, "version": "1.0.0", "bin": bin})
            place = made.real(f"{THEIRS}/{next(iter(bin))}.tgz")
            place.write_bytes(_packed({"package.json": about, **files}))
        words = ["install", "-g", "--offline", "--no-audit", "--no-fund", "./claude.tgz", "./hello.tgz"]
        done = made.run([f"{NODEJS}/npm", *words], env={"PWD": THEIRS}, timeout=120)
        assert done.code == 0, done.both
        top = made.real(SHIMS)
        return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def _packed(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def which(made: World, start: str, program: str) -> str:
    """What a fresh shell of this start finds on PATH."""
    return made.shell(start, f"/usr/bin/which {program}").out.strip()


def switch_interop_off(made: World) -> None:
    """As `[interop] enabled = false` in wsl.conf does."""
    done = made.run(["sh", "-c", "echo -1 >/proc/sys/fs/binfmt_misc/WSLInterop && rm -r /run/WSL"], root=True)
    assert done.code == 0, done.both


# ---- from Linux


@from_linux
def test_programs_of_windows_under_wine_run_from_the_look_alike_and_nowhere_else() -> None:
    with wsl("node", "claude") as made:
        assert made.run([f"{NODEJS}/node.exe", "-p", "process.platform"]).out == "win32\n"
        assert (
            made.shell("bash -c", "npm --version; npm prefix -g").out == f"{NPM}\nC:{HOME[2:]}\\AppData\\Roaming\\npm\n"
        )
        assert made.shell("bash -c", "claude --version").out == f"{fetch.CLAUDE} (Claude Code)\n"
        script = made.shell("bash -c", "hello")
        assert (script.code, "exec: node: not found" in script.err) == (127, True), script.both
    assert not Path("/proc/sys/fs/binfmt_misc/WSLInterop").exists()


@from_linux
def test_npm_of_windows_under_wine_without_interop_gives_its_well_known_error() -> None:
    with wsl("node", "claude") as made:
        switch_interop_off(made)
        assert "Exec format error" in made.shell("bash -c", "claude --version").err  # for it is a program for Windows
        done = made.shell("bash -c", "npm --version")
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            "WSL 1 is not supported. Please upgrade to WSL 2 or above.\nCould not determine Node.js install directory\n"
        )


@from_linux
def test_it_says_which_side_wins_for_each_program_and_why() -> None:
    with wsl("node", "claude") as made:
        programs = managers.add(made, "nvm")
        made.write("/home/dev/.local/bin/claude", "#!/bin/sh\n", 0o755)
        later = made.env["PATH"] + ":/home/dev/.local/bin"
        found = made.ccremedy("diagnose", "wsl-path", "--json", PATH=later)
        assert found.code == 1
        (finding,) = found.json["findings"]
        assert finding["title"] == "npm and claude come from Windows"
        assert finding["evidence"] == [
            f"node is nowhere (Windows has only node.exe); Linux' own {programs}/node is in no folder of PATH",
            f"npm is that of Windows, {NODEJS}/npm; Linux' own {programs}/npm is in no folder of PATH",
            f"claude is that of Windows, {SHIMS}/claude; Linux' own /home/dev/.local/bin/claude comes later on PATH",
        ]


@from_linux
def test_linux_own_win_in_every_new_shell_and_those_of_windows_stay_in_reach() -> None:
    with wsl("node", "claude") as made:
        programs = managers.add(made, "nvm")
        folder = made.real("/home/dev/.local/bin")
        folder.mkdir(parents=True)
        fetch.unpack_claude(folder)
        made.give_home()
        ours = {"node": f"{programs}/node", "npm": f"{programs}/npm", "claude": "/home/dev/.local/bin/claude"}
        theirs = f"{NODEJS}/npm\n{SHIMS}/claude"
        assert {start: which(made, start, "npm claude") for start in STARTS} == dict.fromkeys(STARTS, theirs)
        before = made.tree()

        done = made.ccremedy("apply", "wsl-path", "--yes")
        assert done.code == 0, done.both
        found = {start: which(made, start, " ".join(ours)).splitlines() for start in STARTS}
        assert found == {start: list(ours.values()) for start in STARTS}
        quiet = {"npm_config_cache": "/tmp/npm"}
        told = made.shell("bash -lic", "node -p process.platform; npm prefix -g; claude --version", env=quiet)
        assert told.out == f"linux\n{programs.removesuffix('/bin')}\n{fetch.CLAUDE} (Claude Code)\n", told.both

        for each, says in (
            (f"'{NODEJS}/node.exe' -p process.platform", "win32\n"),
            (f"'{NODEJS}/npm' --version", f"{NPM}\n"),
            (f"'{SHIMS}/claude' --version", f"{fetch.CLAUDE} (Claude Code)\n"),
        ):
            assert made.shell("bash -lic", each).out == says, each
        script = made.shell("bash -lic", "hello")  # it now finds a node, that of Linux, and has a path of Linux
        assert (script.code, script.out) == (0, "hello linux\n"), script.both

        assert made.ccremedy("undo", "--yes").code == 0
        assert made.tree() == before


@pytest.mark.cell("install-path", "wsl", "real", where="in a look-alike, Windows under Wine")
def test_install_path_sends_on_where_only_windows_has_claude() -> None:
    with wsl("node", "claude") as made:
        told = made.ccremedy("diagnose", "install-path")
        assert (told.code, f"{SHIMS}/claude answers first, and belongs to Windows: see wsl-path" in told.out) == (
            0,
            True,
        ), told.both
        assert "Claude Code is not installed here. To install it: https://" in told.out
        told = made.ccremedy("diagnose", "wsl-path")
        assert "Install Claude Code for Linux" in told.out


@pytest.mark.cell("install-path", "wsl", "real", where="in a look-alike, Windows under Wine")
def test_install_path_tells_that_the_program_of_windows_answers_to_its_whole_name_alone() -> None:
    with wsl("claude", npm=False) as made:
        assert made.shell("bash -c", "claude --version").code == 127
        assert made.shell("bash -c", "claude.exe --version").out == f"{fetch.CLAUDE} (Claude Code)\n"
        told = made.ccremedy("diagnose", "install-path")
        says = f"{NATIVE}/claude.exe belongs to Windows, and answers in here to claude.exe alone"
        assert (told.code, says in told.out) == (0, True), told.both
        assert "no node, npm or claude that answers belongs to Windows" in made.ccremedy("diagnose", "wsl-path").out


@from_linux
@pytest.mark.parametrize("what", ["interop is off", "the drive is not mounted"])
def test_diagnose_neither_hangs_nor_fails_where(what: str) -> None:
    with wsl("node", "claude") as made:
        if what == "interop is off":
            switch_interop_off(made)
        else:
            assert made.run(["mount", "-t", "tmpfs", "none", "/mnt/c"], root=True).code == 0
        found = made.ccremedy("diagnose", "--json")  # which has a time limit
        assert (found.json["platform"], found.json["failed"]) == ("wsl", [])
        seen = [each for each in found.json["findings"] if each["remedy"] == "wsl-path"]
        if what == "interop is off":  # what is on PATH wins, whether or not it can run
            assert "programs of Windows cannot start in here now: interop is off" in seen[0]["evidence"][-1]
        else:
            assert seen == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_wsl_exe_is_told_to_ask_finds_in_there_what_a_terminal_does(shell: str) -> None:
    with world("wsl2", env={"SHELL": f"/usr/bin/{shell}", "PATH": f"{SYSTEM_PATH}:{NODEJS}"}) as made:
        programs = managers.add(made, "nvm")
        made.write("/etc/profile", PROFILE_OF_UBUNTU)
        made.write("/home/dev/.profile", PROFILE)
        made.write("/home/dev/.bashrc", f"{BASHRC}. ~/.nvm/nvm.sh\n")
        made.write("/home/dev/.zshrc", ". ~/.nvm/nvm.sh\n")
        made.write("/home/dev/.config/fish/config.fish", f"set -gx PATH {programs} $PATH\n")
        made.write(f"{NODEJS}/claude", "#!/bin/sh\n", 0o755)
        asked = made.run(["/bin/sh", "-c", QUESTION])
        assert asked.out.splitlines() == [f"{NODEJS}/claude", f"{programs}/node", "ccremedy-asked"], asked.both
        assert f"{programs}/node" == which(made, f"{shell} -lic", "node")


# ---- from Windows

LXSS = r"Software\Microsoft\Windows\CurrentVersion\Lxss"
CLAUDE = rf"{HOME}\.local\bin\claude.exe"
HERE = f"{CLAUDE} (native) is what a new terminal starts"
WSL = r"C:\windows\system32\wsl.exe"
from_windows = pytest.mark.cell("install-path", "windows", "wine")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = tmp_path_factory.mktemp("wsl") / "wsl.exe"
    source = str(Path(__file__).with_name("real") / "wsl_stand_in.c")
    subprocess.run(["x86_64-w64-mingw32-gcc", "-Wall", "-Werror", "-O1", "-s", "-o", str(made), source], check=True)
    return made.read_bytes()


@pytest.fixture(scope="module")
def beside() -> Iterator[Windows]:
    """A Windows whose claude wins in its own terminals."""
    with windows("claude") as made:
        made.set_value("Path", rf"{HOME}\.local\bin")
        made.new_terminal()
        yield made


def asked(machine: Windows, *names: str, wsl_exe: bytes | None) -> str:
    """Why install-path finds nothing to mend where these distributions are registered, the first as the default."""
    machine.steps(_FORGET, top=LXSS)
    machine.set_value("DefaultDistribution", "{1f8b-0}", "REG_SZ", LXSS)
    machine.set_value("State", 1, "REG_DWORD", rf"{LXSS}\InstallStatus")  # has been seen there, and is none
    for number, name in enumerate(names):
        key = rf"{LXSS}\{{1f8b-{number}}}"
        machine.set_value("DistributionName", name, "REG_SZ", key)
        machine.set_value("Version", 2, "REG_DWORD", key)
    machine.real(WSL).unlink(missing_ok=True)
    if wsl_exe is not None:
        machine.put(WSL, wsl_exe)
    done = machine.ccremedy("diagnose", "install-path", "--wsl", "--json")
    assert (done.code, done.json["failed"]) == (0, []), done.both
    (healthy,) = done.json["healthy"]
    reason: str = healthy["reason"]
    assert reason.startswith(HERE)
    return reason.removeprefix(HERE).removeprefix("; ")


_FORGET = """
import winreg
def forget(key):
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, key) as opened:
        names = [winreg.EnumKey(opened, each) for each in range(winreg.QueryInfoKey(opened)[0])]
    for name in names:
        forget(f"{key}\\\\{name}")
    winreg.DeleteKey(winreg.HKEY_CURRENT_USER, key)
forget(top)
"""
_FIRST = "in {} (WSL 2, the default) "


@from_windows
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Debian", "claude is Linux' own /home/jo/.local/bin/claude and node is Linux' own /home/jo/vélo/bin/node"),
        (
            "Windows",
            f"claude is that of Windows, /mnt/c/Users/{USER}/AppData/Roaming/npm/claude (in there: ccremedy apply "
            "wsl-path) and node is not found",
        ),
        ("Nothing", "claude is not found and node is not found"),
        ("Proxy", "claude is not found and node is not found"),
        ("Gone", "nobody answered: There is no distribution with the supplied name."),
        ("Empty", "nobody answered: Windows Subsystem for Linux has no installed distributions."),
    ],
)
def test_under_wine_it_says_what_a_simulated_wsl_answers(
    name: str, says: str, beside: Windows, stand_in: bytes
) -> None:
    assert asked(beside, name, wsl_exe=stand_in) == _FIRST.format(name) + says


@from_windows
def test_under_wine_each_simulated_distribution_is_asked(beside: Windows, stand_in: bytes) -> None:
    first, second = asked(beside, "Nothing", "docker-desktop", "Gone", wsl_exe=stand_in).split("; ")
    assert first.startswith("in Nothing (WSL 2, the default) claude is not found")
    assert second.startswith("in Gone (WSL 2) nobody answered")


@from_windows
def test_under_wine_a_simulated_wsl_that_hangs_is_left_after_ten_seconds_and_ended(
    beside: Windows, stand_in: bytes
) -> None:
    before, begun = beside.running(), time.monotonic()
    told = asked(beside, "Asleep", "Debian", wsl_exe=stand_in)
    assert time.monotonic() - begun >= 10
    assert told == (
        "in Asleep (WSL 2, the default) nobody answered within 10 seconds; "
        "Debian (WSL 2) was not asked, because Asleep did not answer"
    )
    assert beside.is_left_with(before)


@from_windows
@pytest.mark.parametrize(
    ("program", "says"),
    [(None, "there is no wsl.exe"), (b"", "wsl.exe cannot be started"), (b"#!/bin/sh\n", "wsl.exe cannot be started")],
    ids=["absent", "empty", "no program"],
)
def test_under_wine_a_wsl_exe_that_is(program: bytes | None, says: str, beside: Windows) -> None:
    assert asked(beside, "Debian", wsl_exe=program).startswith(
        f"{_FIRST.format('Debian')}nobody could be asked: {says}"
    )


@from_windows
def test_under_wine_there_is_no_distribution(beside: Windows, stand_in: bytes) -> None:
    assert asked(beside, wsl_exe=stand_in) == "this account has no distribution of WSL to ask"
