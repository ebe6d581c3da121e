"""Looking changes nothing: what the kernel saw of `diagnose` and `apply --dry-run`, and what looking costs in counts.

The real command runs under strace, for each remedy on a machine where it has something to mend: no system call that
could change a file, at most one other program started. And `diagnose --json` imports little, all of it Python's own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import sweep

from ccremedy import registry, testing

ROOT = Path(__file__).resolve().parent.parent
CORE = 73  # modules beyond bare Python, without the one that each remedy and each adapter is
CHANGING = (
    "open,openat,openat2,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,"
    "symlinkat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,setxattr,lsetxattr,fsetxattr,removexattr,"
    "lremovexattr,fremovexattr,truncate,ftruncate,fallocate,utime,utimes,utimensat,futimesat,mknod,mknodat"
)
DEVICES = re.compile(r'"/dev/(null|tty|pts/\d+)"')


@dataclass
class Sick:
    """A machine on which one remedy has something to mend, and how to run a command on it."""

    remedy: str
    folder: Path
    env: dict[str, str]
    around: list[str]  # what enters the machine

    def traced(self, *words: str, program: tuple[str, ...] = ("-m", "ccremedy")) -> tuple[str, list[str]]:
        """Its standard output, and each system call that could change a file or that started a program."""
        trace = self.folder / "trace"
        strace = ["strace", "-f", "-qq", "-s", "4096", "-e", f"trace={CHANGING},execve", "-e", "signal=none"]
        command = [*self.around, *strace, "-o", str(trace), sys.executable, *program, *words]
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout, [line.split(None, 1)[1] for line in trace.read_text().splitlines()]


def changes(calls: list[str]) -> list[str]:
    """The calls that could change a file: an open only if it can write, and not to a device that keeps nothing."""
    return [
        call
        for call in calls
        if not call.startswith("execve")
        and (not call.startswith("open") or re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", call))
        and not DEVICES.search(call)
    ]


def started(calls: list[str]) -> list[str]:
    """The programs that were started, beside Python itself."""
    # strace parts a call in two where another thread's or process' comes in between.
    return [call for call in calls if re.match(r"execve|<\.\.\. execve resumed>", call) and call.endswith("= 0")][1:]


HERE = ("linux", "wsl")  # a case of another platform is none of a machine that the command could see

# Not of processes: those of a case are none either.
SEEN = [name for name, each in registry.remedies().items() if each.platforms & {*HERE} and name != "duplicate-sessions"]


def _case(remedy: str) -> testing.Case:
    found = (case for case in sweep.cases().values() if case.remedy.id == remedy and case.facts["platform"] in HERE)
    return next(found)


@pytest.fixture(params=SEEN)
def sick(request: pytest.FixtureRequest, tmp_path: Path) -> Sick:
    if shutil.which("strace") is None:
        pytest.skip("needs strace, to see what the kernel is asked for")
    probe = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("needs leave to trace processes (ptrace)")
    case = _case(request.param)
    machine = case.build(str(tmp_path / "root"))
    env = dict(machine.env) | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    env["XDG_STATE_HOME"] = str(tmp_path / "state")
    env["PATH"] += ":/usr/bin:/bin"
    around: list[str] = []
    if case.facts["platform"] == "wsl":
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            pytest.skip("needs mount namespaces (unshare -m), to have drives of Windows under /mnt")
        env = {name: value.replace(f"{tmp_path}/root/mnt", "/mnt") for name, value in env.items()}
        enter = f'mount --bind {tmp_path}/root/mnt /mnt && mount --bind {tmp_path}/root/run /run && exec "$@"'
        around = ["unshare", "-m", "/bin/sh", "-c", enter, "sh"]
    return Sick(request.param, tmp_path, env, around)


def test_diagnose_asks_the_kernel_for_no_change(sick: Sick) -> None:
    out, calls = sick.traced("diagnose", "--json")
    assert sick.remedy in {finding["remedy"] for finding in json.loads(out)["findings"]}
    assert not changes(calls)
    assert len(started(calls)) <= 1, started(calls)


def test_a_dry_run_asks_the_kernel_for_no_change(sick: Sick) -> None:
    options = [f"--{option.name}" for option in registry.remedy(sick.remedy).options if option.name in _options(sick)]
    out, calls = sick.traced("apply", sick.remedy, "--dry-run", *options)
    assert "dry run" in out
    assert not changes(calls)
    assert len(started(calls)) <= 1, started(calls)


def _options(sick: Sick) -> list[str]:
    return list(_case(sick.remedy).facts.get("options", []))


PLANT = """
import os, sys
from ccremedy import cli, diagnosis
real = diagnosis.diagnose
def diagnose(machine, remedies):
    open(os.path.join(machine.home, "cache"), "w").close()
    os.spawnl(os.P_WAIT, "/bin/true", "true"), os.spawnl(os.P_WAIT, "/bin/true", "true")
    return real(machine, remedies)
diagnosis.diagnose = diagnose
sys.exit(cli.main())
"""


def test_a_diagnosis_that_writes_and_starts_programs_is_caught(sick: Sick) -> None:
    _, calls = sick.traced("diagnose", "--json", program=("-c", PLANT))
    assert [call for call in changes(calls) if "/cache" in call]
    assert len(started(calls)) > 1


# ---- what looking costs


def _pythons() -> list[str]:
    """The interpreters in reach, each once: this one, the system's, and any other supported version."""
    found: dict[str, str] = {}
    ask = "import sys; print(sys.version_info >= (3, 10) and (sys.version, sys.base_prefix))"
    for name in (sys.executable, "/usr/bin/python3", *(f"python3.{minor}" for minor in range(10, 16))):
        if path := shutil.which(name):
            answer = subprocess.run([path, "-c", ask], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
            if answer.returncode == 0 and answer.stdout.strip() != "False":
                found.setdefault(answer.stdout, path)
    return list(found.values())


LISTED = "import sys\ntry:\n    {}\nfinally:\n    sys.stderr.write('\\nMODULES ' + ' '.join(sys.modules))"
DIAGNOSE = "import runpy; sys.argv[1:] = ['diagnose', '--json']; runpy.run_module('ccremedy', None, '__main__', True)"


def imported(python: str, home: Path, statement: str) -> set[str]:
    """The modules that are there at the end of this statement, `-m ccremedy` being a call of runpy too."""
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-c", LISTED.format(statement)]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr[-500:]
    return set(done.stderr.rpartition("MODULES ")[2].split())


@pytest.fixture
def sick_home(tmp_path: Path) -> Path:
    (tmp_path / ".claude.json").write_text("{")
    return tmp_path


@pytest.mark.parametrize("python", _pythons())
def test_diagnose_imports_little_and_only_what_comes_with_python(
    python: str, sick_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = imported(python, sick_home, DIAGNOSE) - imported(python, sick_home, "pass")
    adapters = [path for path in (ROOT / "platforms").glob("*.py") if not path.name.startswith("_")]
    limit = CORE + len(registry.remedies()) + len(adapters)
    with capsys.disabled():
        print(f"\nmodules {python} imported={len(more)} limit={limit}", end=" ")
    assert "ccremedy.diagnosis" in more
    assert len(more) <= limit, sorted(more)
    foreign = {name for name in more if name.split(".")[0] not in {*sys.stdlib_module_names, "ccremedy"}}
    assert not foreign
