"""`python3 -m tests`: makes an environment of its own in `.venv`, then checks style and types and runs the whole suite.

Needs nothing but Python 3.10 or newer with access to a package index; arguments go to pytest, and then it alone runs.
Nothing is installed into the system's Python. Tests of shells and tools that are not on the machine are skipped, each
with its reason. Types are checked twice for each platform, because mypy and pyright do not see the same mistakes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.environ.get("CCREMEDY_VENV", os.path.join(ROOT, ".venv"))
PYTHON = os.path.join(FOLDER, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
# To the last number, which is the only one that its releases count up. The extra is node.js as a wheel.
PYRIGHT = "pyright[nodejs]==1.1.414"
CHECKS = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    *(["pyright", "--pythonplatform", platform] for platform in ("Linux", "Windows", "Darwin")),
    *(["mypy", "--platform", platform, "--cache-dir", os.path.join(".mypy_cache", platform),
       "ccremedy", "remedies", "platforms"] for platform in ("win32", "darwin")),
]  # fmt: skip


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    prepare()
    lack = "" if arguments else pyright_is_missing()
    if not arguments and (code := check(lack)):
        return code
    # Two at a time, whole files: some of them make users, namespaces or 20,000 files.
    code = subprocess.call(
        [PYTHON, "-m", "pytest", "-q", "-ra", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *arguments]
    )
    print(lack, end="", file=sys.stderr)  # once more, where it is seen
    return code


def check(lack: str) -> int:
    """Style and types, two at a time, each told when it has ended: 0, or the code of the first that fails."""
    print(lack, end="", file=sys.stderr, flush=True)
    if lack and os.environ.get("CI"):
        return 1
    with contextlib.ExitStack() as beside:
        if os.name == "posix":
            beside.enter_context(windows_for_later())
        hands = beside.enter_context(ThreadPoolExecutor(2))
        codes = hands.map(told, [each for each in CHECKS if not (lack and each[0] == "pyright")])
        return next(filter(None, codes), 0)


def told(words: list[str]) -> int:
    done = subprocess.run([PYTHON, "-m", *words], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.buffer.write(f"+ {' '.join(words)}\n".encode() + done.stdout)
    sys.stdout.buffer.flush()
    return done.returncode


def environment() -> dict[str, str]:
    """In which pyright takes what was installed, asks no index for a newer one, and finds the packages of ours."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYRIGHT_PYTHON_")}
    path = os.path.dirname(PYTHON) + os.pathsep + os.environ.get("PATH", "")
    return ours | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PATH": path}


def pyright_is_missing() -> str:
    """'' once it is there and starts; else a note that nobody overlooks. It is for fewer machines than Python is."""
    quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    for words in ["pip", "install", *quiet, PYRIGHT], ["pyright", "--version"]:
        if subprocess.call([PYTHON, "-m", *words], stdout=subprocess.DEVNULL, env=environment()):
            line = "!" * 100
            return f"\n{line}\n{PYRIGHT} cannot be had here, so its half of the types is NOT CHECKED.\n{line}\n"
    return ""


@contextlib.contextmanager
def windows_for_later() -> Iterator[None]:
    """Fill the cache of `real.wine` on the core that the checks do not use. What hinders it, its tests will tell."""
    command = [PYTHON, "-m", "tests.real.wine"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as maker:
        yield
        maker.wait()


def prepare() -> None:
    """The environment, with ccremedy (editable) and what its tests need."""
    if subprocess.call([PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL) if os.path.exists(PYTHON) else 1:
        make_environment()
    quiet = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable"]
    subprocess.run([*quiet, f"{ROOT}[test]"], check=True)


def make_environment() -> None:
    """A venv with pip, also where Debian has taken `ensurepip` out of the system's Python."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401 - only whether it is there

        venv.create(FOLDER, with_pip=True)
    except (ImportError, subprocess.CalledProcessError):
        if subprocess.call([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL) == 0:
            venv.create(FOLDER, with_pip=False)  # the system's pip can fill another environment than its own
            command = [sys.executable, "-m", "pip", "--python", PYTHON, "install", "--quiet", "pip"]
            subprocess.run(command, check=True)
        elif shutil.which("apt-get") and os.geteuid() == 0 and "CCREMEDY_TESTS_AGAIN" not in os.environ:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"], check=True)
            again = os.environ | {"CCREMEDY_TESTS_AGAIN": "1"}
            os.execve(sys.executable, [sys.executable, "-m", "tests", *sys.argv[1:]], again)
        else:
            raise SystemExit("This Python can make no environment: install python3-venv (Debian) first.") from None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
