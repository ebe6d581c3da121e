"""`python3 -m tests`: makes an environment of its own in `.venv`, then checks style and types and runs the whole suite.

Needs nothing but Python 3.10 or newer with access to a package index; arguments go to pytest. Nothing is installed
into the system's Python. Tests of shells and tools that are not on the machine are skipped, each with its reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.environ.get("CCREMEDY_VENV", os.path.join(ROOT, ".venv"))
PYTHON = os.path.join(FOLDER, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    prepare()
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
    with contextlib.ExitStack() as beside:
        if not arguments and os.name == "posix":
            beside.enter_context(windows_for_later())
        for check in [] if arguments else checks:
            print("+", *check, flush=True)
            if code := subprocess.call([PYTHON, "-m", *check]):
                return code
    # Two at a time, whole files: some of them make users, namespaces or 20,000 files.
    return subprocess.call([PYTHON, "-m", "pytest", "-q", "-ra", "-n", "2", "--dist", "loadfile", *arguments])


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
