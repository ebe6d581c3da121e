"""Every remedy keeps every clause of the contract on every case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccremedy import testing

CASES = testing.cases(os.path.join(os.path.dirname(__file__), "cases"))


@pytest.mark.parametrize("clause", testing.CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.remedy.id}/{case.name}{' (simulated)' * case.simulated}"
)
def test_contract(case: testing.Case, clause: object, tmp_path: Path) -> None:
    assert callable(clause)
    if missing := case.missing_shells():
        pytest.skip(f"needs {' and '.join(missing)}, not installed here")
    clause(case, str(tmp_path / "scratch"))
