"""The Vagrantfile is sound, and what it runs in its machines makes them sick: seen here, with a user made for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "vagrant").glob("*.sh"))


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
        timeout=120,
        stdin=subprocess.DEVNULL,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


# ---- the file


def test_it_is_ruby(needs: Callable[[str], None]) -> None:
    needs("ruby")
    assert run(["ruby", "-c", "Vagrantfile"], {}).stdout == "Syntax OK\n"


def test_vagrant_finds_no_fault_in_it(needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("vagrant")
    done = run(["vagrant", "validate", "--ignore-provider"], vagrant_environment(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


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
    named = re.findall(r'path: "([^"]+)"', (ROOT / "Vagrantfile").read_text())
    assert sorted(named) == [str(script.relative_to(ROOT)) for script in SCRIPTS]


def test_the_suite_is_run_by_the_command_of_the_readme() -> None:
    command = (ROOT / "vagrant" / "suite.sh").read_text().splitlines()[-1].removeprefix("exec ")
    assert f"    {command}\n" in (ROOT / "README.md").read_text()


# ---- the scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_passes_shellcheck(script: Path, needs: Callable[[str], None]) -> None:
    needs("shellcheck")
    done = run(["shellcheck", str(script)], {})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_belongs_to_no_machine(script: Path) -> None:
    assert not re.search(r"/vagrant\b|/home/\w|/root\b|/srv\b", script.read_text())
    assert os.access(script, os.X_OK)


@dataclass(frozen=True)
class Developer:
    """An ordinary user of this machine, with a copy of the tree and a home of its own."""

    uid: int
    top: Path

    @property
    def home(self) -> Path:
        return self.top / "home"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {"HOME": str(self.home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
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


def test_root_is_sent_away(needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("root")
    done = run(["sh", "vagrant/break.sh"], {"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "not as root" in done.stderr
    assert list(tmp_path.iterdir()) == []
