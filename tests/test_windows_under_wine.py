"""Whole test modules once more, with the Python of Windows, under Wine: what passes here is code that runs there.

Each of INNER also runs as it is on a real Windows. What it skips is told with its reasons; to see all that one says:

    PYTHONPATH=.:tests python3 -m real.wine python -m pytest tests/test_editors.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from real.wine import CLONE, windows

# Those that give most for their seconds: two and a half minutes together on one core.
INNER = (
    "test_certificates.py",
    "test_contract.py",
    "test_editors.py",
    "test_hive.py",
    "test_network.py",
    "test_path_entries.py",
    "test_record.py",
    "test_windows_files.py",
    "test_windows_keys.py",
    "test_windows_registry.py",
    "test_windows_reset.py",
)
# The cases of Windows, which are not simulated there; the other clauses take as long again and run on Windows itself.
_ONLY = {"test_contract.py": "not simulated and (finds_what_it_must or applying_mends or undoing_gives)"}
_BUDGET = 900  # seconds for each, on a machine that is busy
_OPTIONS = ("-q", "-rs", "--tb=short", "-p", "no:cacheprovider", "--color=no")


@pytest.mark.parametrize("module", INNER)
def test_passes_under_wine(module: str, record_property: Callable[[str, object], None]) -> None:
    with windows() as machine:
        words = [*_OPTIONS, "-k", _ONLY.get(module, ""), f"tests/{module}"]
        done = machine.python("-X", "utf8", "-m", "pytest", *words, cwd=CLONE, timeout=_BUDGET)
    lines = done.out.splitlines()
    if done.code not in (0, 5):
        pytest.fail(f"under wine, {module} ends with {done.code}:\n{done.both}", pytrace=False)
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    record_property("told", "\n    ".join([f"under wine: {module}: {lines[-1]}", *skipped]))
    if " passed" not in lines[-1]:
        pytest.skip(f"nothing of it runs under wine: {'; '.join(skipped)}")
