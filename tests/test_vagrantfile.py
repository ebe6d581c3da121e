"""The Vagrantfile is sound, and what it runs in its machines makes them sick: seen here, with a user made for it.

No machine is started. What is for Linux and for WSL is run for real here; what is for macOS only as far as any sh can;
what is for Windows is parsed, and run by a PowerShell where there is one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real import managers
from real.world import World, node_and_npm
from test_wsl_for_real import wsl

if TYPE_CHECKING:
    from tree_sitter import Node

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "vagrant").glob("*.sh"))
POWERSHELL = sorted((ROOT / "vagrant").glob("*.ps1"))
# What Vagrant's own code wants of Ruby's WinRM, which Debian's package of Vagrant leaves out; nothing connects here.
WINRM = """
class HTTPClient; class KeepAliveDisconnected < StandardError; end; end
module WinRM; def self.const_missing(name) = const_set(name, Class.new(StandardError)); end
"""


def run(
    words: list[str], env: dict[str, str], cwd: Path = ROOT, uid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it with this environment and no other; `uid` is another user's number (as root only)."""
    return subprocess.run(
        words,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"} | env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


# ---- the file


def test_it_is_ruby(needs: Callable[[str], None]) -> None:
    needs("ruby")
    assert run(["ruby", "-c", "Vagrantfile"], {}).stdout == "Syntax OK\n"


@pytest.mark.parametrize("gems", [{}, {"winrm": WINRM, "winrm-elevated": "", "winrm-fs": ""}], ids=["bare", "winrm"])
def test_vagrant_finds_no_fault_in_it(gems: dict[str, str], needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("vagrant")
    for name, text in gems.items():
        (tmp_path / f"{name}.rb").write_text(text)
    more = {"RUBYLIB": str(tmp_path)}
    done = run(["vagrant", "validate", "--ignore-provider"], vagrant_environment(tmp_path) | more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout
    assert re.findall("^==> ([a-z]+):", done.stdout, re.M) == ["debian", "ubuntu", "macos", "windows"]


def test_vagrant_would_find_a_fault_in_it(needs: Callable[[str], None], tmp_path: Path) -> None:
    """The twin of the test above: a misspelt setting, which Ruby has nothing against."""
    needs("vagrant")
    text = (ROOT / "Vagrantfile").read_text()
    assert 'path: "vagrant/break.sh"' in text
    (tmp_path / "Vagrantfile").write_text(text.replace('path: "vagrant/break.sh"', 'pathx: "vagrant/break.sh"'))
    shutil.copytree(ROOT / "vagrant", tmp_path / "vagrant")
    done = run(["vagrant", "validate", "--ignore-provider"], vagrant_environment(tmp_path), tmp_path)
    assert done.returncode != 0
    assert "pathx" in done.stdout + done.stderr


def vagrant_environment(scratch: Path) -> dict[str, str]:
    return {"HOME": str(scratch), "VAGRANT_HOME": str(scratch / "vagrant.d"), "VAGRANT_CHECKPOINT_DISABLE": "1"}


def test_every_script_is_run_and_every_run_script_is_there() -> None:
    """By Vagrant, or by another script: what is for WSL is run by what is for the Windows around it."""
    named = re.findall(r'path: "([^"]+)"', (ROOT / "Vagrantfile").read_text())
    called = [word for script in POWERSHELL for word in re.findall(r"\bsh (vagrant/[\w-]+\.sh)", script.read_text())]
    assert {*named, *called} == {f"vagrant/{script.name}" for script in [*SCRIPTS, *POWERSHELL]}


@pytest.mark.parametrize("script", ["suite.sh", "suite.ps1"])
def test_the_suite_is_run_by_the_command_of_the_readme(script: str) -> None:
    """Python is called `python3` on POSIX and `python` on Windows."""
    commands = re.findall(r"^(?:exec )?(python3? .*)", (ROOT / "vagrant" / script).read_text(), re.M)
    assert [command.replace("python ", "python3 ") for command in commands] == ["python3 -m tests"]
    assert "    python3 -m tests\n" in (ROOT / "README.md").read_text()


# ---- the scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_passes_shellcheck(script: Path, needs: Callable[[str], None]) -> None:
    needs("shellcheck")
    done = run(["shellcheck", str(script)], {})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_for_any_sh(script: Path, needs: Callable[[str], None]) -> None:
    """Debian's is dash, that of macOS an old bash."""
    needs("dash")
    assert script.read_text().startswith("#!/bin/sh\n")
    done = run(["dash", "-n", str(script)], {})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_belongs_to_no_machine(script: Path) -> None:
    assert not re.search(r"/vagrant\b|/home/\w|/root\b|/srv\b", script.read_text())
    assert os.access(script, os.X_OK)


# ---- PowerShell


def faults(text: bytes) -> list[str]:
    """Where PowerShell's grammar has to guess."""
    import tree_sitter
    import tree_sitter_pwsh

    def below(node: Node) -> Iterator[Node]:
        yield node
        for child in node.children:
            yield from below(child)

    root = tree_sitter.Parser(tree_sitter.Language(tree_sitter_pwsh.language())).parse(text).root_node
    return [f"line {each.start_point[0] + 1}: {each}" for each in below(root) if each.is_error or each.is_missing]


@pytest.mark.parametrize("script", POWERSHELL, ids=lambda script: script.name)
def test_a_powershell_script_parses(script: Path) -> None:
    text = script.read_bytes()
    assert text.isascii(), "Windows PowerShell 5.1 reads a file without a byte order mark as the local code page"
    assert faults(text) == []


@pytest.mark.parametrize("script", [each for each in POWERSHELL if b"}" in each.read_bytes()], ids=lambda s: s.name)
def test_a_powershell_script_without_its_last_brace_is_caught(script: Path) -> None:
    before, _, after = script.read_bytes().rpartition(b"}")
    assert faults(before + after) != []


@pytest.mark.parametrize("script", POWERSHELL, ids=lambda script: script.name)
def test_a_powershell_script_is_thin(script: Path) -> None:
    text = script.read_text()
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 22
    assert re.search(r"^exit |^if .*\bexit ", text, re.M) or script.name == "break.ps1", (
        "its exit code must be somebody's"
    )
    for newer in ("&&", "||", "??", "?.", " ? ", "-Parallel"):  # of PowerShell 7
        assert newer not in text, newer


@pytest.mark.parametrize("script", POWERSHELL, ids=lambda script: script.name)
def test_a_real_powershell_parses_it(script: Path, needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("pwsh")
    ask = f"$e = $null; [void][Management.Automation.Language.Parser]::ParseFile('{script}', [ref]$null, [ref]$e); $e"
    assert run(["pwsh", "-NoProfile", "-Command", ask], {"HOME": str(tmp_path)}).stdout.strip() == ""


@pytest.mark.parametrize("name", [".claude.json", ".claude/settings.json"])
def test_on_windows_too_a_real_claude_code_is_left_alone(
    name: str, needs: Callable[[str], None], tmp_path: Path
) -> None:
    needs("pwsh")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}\n")
    done = run(["pwsh", "-NoProfile", "-File", str(ROOT / "vagrant" / "break.ps1")], {"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "I leave alone" in done.stderr
    assert (tmp_path / name).read_text() == "{}\n"


# ---- what Linux' scripts do


@dataclass(frozen=True)
class Developer:
    """An ordinary user of this machine, with a copy of the tree and a home of its own."""

    uid: int
    top: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.top / "home"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {"HOME": str(self.home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"} | self.env
        return run(list(words), env, self.top / "tree", self.uid)

    def diagnose(self) -> tuple[int, list[tuple[str, str]]]:
        done = self.run("/usr/bin/python3", "-m", "ccremedy", "diagnose", "--json")
        report = json.loads(done.stdout)
        return done.returncode, [(found["remedy"], found["id"]) for found in report["findings"]]


@pytest.fixture
def developer(needs: Callable[[str], None]) -> Iterator[Developer]:
    for capability in ("root", "npm", "node", "python3"):
        needs(capability)
    if not os.access("/usr/sbin/useradd", os.X_OK):
        pytest.skip("needs useradd, to make an ordinary user")
    name = f"ccremedy-{os.getpid()}"
    top = Path(tempfile.mkdtemp(prefix="ccremedy-vagrant-", dir="/var/tmp"))  # tmp_path may be entered by root only
    try:
        top.chmod(0o755)
        done = run(["/usr/sbin/useradd", "--no-create-home", "--user-group", "--home-dir", str(top / "home"), name], {})
        assert done.returncode == 0, done.stderr
        uid = int(run(["id", "-u", name], {}).stdout)
        (top / "home").mkdir(mode=0o700)
        os.chown(top / "home", uid, uid)
        for part in ("ccremedy", "remedies", "platforms", "vagrant"):
            shutil.copytree(ROOT / part, top / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))
        run(["chmod", "-R", "a+rX", str(top / "tree")], {})
        yield Developer(uid, top)
    finally:
        run(["/usr/sbin/userdel", name], {})
        shutil.rmtree(top, ignore_errors=True)


def test_the_machine_is_sick_afterwards(developer: Developer) -> None:
    before = developer.diagnose()
    assert ("reset-config", "broken-files") not in before[1]
    done = developer.run("sh", "vagrant/break.sh")
    assert done.returncode == 0, done.stderr
    assert developer.diagnose() == (1, [("npm-prefix", "not-writable"), ("reset-config", "broken-files")])


def test_the_symptom_is_the_well_known_one(developer: Developer) -> None:
    assert developer.run("sh", "vagrant/break.sh").returncode == 0
    done = developer.run("sh", "vagrant/symptom.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("EACCES", "permission denied", "Unterminated string", "npm-prefix: npm cannot install"):
        assert words in done.stdout


def test_a_machine_that_is_not_sick_has_no_symptom(developer: Developer) -> None:
    (developer.home / ".npmrc").write_text(f"prefix={developer.home}/packages\n")
    done = developer.run("sh", "vagrant/symptom.sh")
    assert done.returncode == 1
    assert "this machine is not sick" in done.stderr


def test_what_was_mended_can_be_broken_again(developer: Developer) -> None:
    assert developer.run("sh", "vagrant/break.sh").returncode == 0
    (developer.home / ".npmrc").write_text("prefix=~/.npm-global\n")
    (developer.home / ".claude.json").unlink()
    os.chown(developer.home / ".npmrc", developer.uid, developer.uid)
    assert developer.run("sh", "vagrant/break.sh").returncode == 0
    assert developer.diagnose() == (1, [("npm-prefix", "not-writable"), ("reset-config", "broken-files")])


@pytest.mark.parametrize("name", [".claude.json", ".claude/settings.json"])
def test_a_real_claude_code_is_left_alone(name: str, developer: Developer) -> None:
    place = developer.home / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("{}\n")
    run(["chown", "-R", str(developer.uid), str(developer.home)], {})
    done = developer.run("sh", "vagrant/break.sh")
    assert done.returncode == 1
    assert "I leave alone" in done.stderr
    assert place.read_text() == "{}\n"
    assert sorted(each.name for each in developer.home.iterdir()) == [name.split("/")[0]]


def test_on_macos_too_npm_gets_a_folder_of_roots(developer: Developer) -> None:
    """Only the name of the system is made up. Homebrew's npm installs into a folder of the user's own."""
    (developer.top / "bin").mkdir(mode=0o755)
    (developer.top / "bin" / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (developer.top / "bin" / "uname").chmod(0o755)
    developer.env["PATH"] = f"{developer.top}/bin:/usr/local/bin:/usr/bin:/bin"
    (developer.home / ".npmrc").write_text("prefix=~/homebrew\n")
    os.chown(developer.home / ".npmrc", developer.uid, developer.uid)
    done = developer.run("sh", "vagrant/break.sh")
    assert done.returncode == 0, done.stderr
    assert (developer.home / ".npmrc").read_text() == "prefix=/Library\n"


def test_root_is_sent_away(needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("root")
    done = run(["sh", "vagrant/break.sh"], {"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "not as root" in done.stderr
    assert list(tmp_path.iterdir()) == []


# ---- what is done in WSL: in the look-alike


def broken(made: World) -> None:
    """break-wsl.sh has been there, and did not say that anything went wrong."""
    node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
    done = in_wsl(made, "break-wsl.sh")
    assert done == (0, "This WSL is sick now: wsl-path has something to mend.\n")


def in_wsl(made: World, script: str) -> tuple[int, str]:
    made.write(f"/opt/vagrant/{script}", (ROOT / "vagrant" / script).read_text(), 0o755)
    done = made.run(["sh", f"/opt/vagrant/{script}", "/opt/clone"])
    return done.code, done.both


def test_wsl_is_sick_afterwards_and_is_mended() -> None:
    with wsl() as made:
        broken(made)
        code, said = in_wsl(made, "symptom-wsl.sh")
        assert code == 0, said
        assert "\n/mnt/c/Program Files/nodejs/npm\n" in said
        assert "wsl-path" in said
        after = {name: made.real(f"/home/dev/{name}").read_text() for name in (".profile", ".bashrc")}
        assert in_wsl(made, "break-wsl.sh")[0] == 0
        assert {name: made.real(f"/home/dev/{name}").read_text() for name in after} == after, "twice is once"
        done = made.ccremedy("apply", "wsl-path", "--yes", PATH=made.shell("bash -lc", 'printf %s "$PATH"').out)
        assert done.code == 0, done.both
        assert in_wsl(made, "symptom-wsl.sh")[0] == 1, "mended, it is not sick"


def test_in_wsl_too_a_real_claude_code_is_left_alone() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
        made.write("/home/dev/.claude.json", "{}\n")
        before = made.tree()
        code, said = in_wsl(made, "break-wsl.sh")
        assert code == 1
        assert "I leave alone" in said
        assert made.tree() == before


def test_a_linux_without_windows_is_not_broken() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
        for program in ("npm", "node.exe"):
            made.real(f"/mnt/c/Program Files/nodejs/{program}").unlink()
        before = made.tree()
        code, said = in_wsl(made, "break-wsl.sh")
        assert code == 1
        assert "Windows has no npm" in said
        assert made.tree() == before
