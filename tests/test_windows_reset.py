"""What Windows has in the way of a reset: open files in a folder, junctions, files that are in the cloud only.

Runs on Windows, and under Wine (see test_windows_under_wine.py). Wine has none of the three, so the calls that would
tell are made to: these tests say "simulated".
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows (or Wine: test_windows_under_wine.py)", allow_module_level=True)

from test_windows_files import fails, instead

from ccremedy import files, registry
from ccremedy.files import windows
from ccremedy.testing import Case, Rig, no_shells

FULL = Case(
    "everything",
    registry.remedy("reset-config"),
    {
        "platform": "windows",
        "files": {"~/.claude/settings.json": "{}", "~/.claude/projects/1.jsonl": "{}", "~/.claude.json": "{}"},
        "options": ["full"],
    },
)


@pytest.mark.parametrize("code", [5, 32])
@pytest.mark.parametrize("name", [".claude", ".claude.json"])
def test_simulated_a_folder_in_use_stays_and_what_was_moved_comes_back(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_WAITS", (0.001,))
    rig = Rig.make(FULL, str(tmp_path / "scratch"), no_shells)
    before = rig.tree()

    def moved(real: Any, source: str, *rest: Any) -> int:
        return fails(code) if os.path.basename(source) == name else int(real(source, *rest))

    with instead("MoveFileExW", moved):
        result = rig.apply()
    said = " ".join(map(str, result.problems))
    assert ("while a program has a file in it open" in said) == (name == ".claude"), said
    assert rig.tree() == before


def test_simulated_behind_a_junction_the_entries_move_and_the_junction_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig.make(FULL, str(tmp_path / "scratch"), no_shells)
    folder, real = rig.machine.path(".claude"), os.lstat

    def lstat(path: Any) -> Any:
        found = real(path)
        if os.path.normcase(path) != os.path.normcase(folder):
            return found
        kept = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**kept | {"st_reparse_tag": 0xA0000003})

    monkeypatch.setattr(os, "lstat", lstat)
    result = rig.apply()
    assert not result.problems, [str(each) for each in result.problems]
    assert files.names(folder) == [".ccremedy-1"]
    assert files.names(os.path.join(folder, ".ccremedy-1")) == ["projects", "settings.json"]
    rig.undo()
    assert files.names(folder) == ["projects", "settings.json"]


@pytest.mark.parametrize("attribute", [0x1000, 0x400000], ids=["offline", "recall on data access"])
def test_simulated_what_lies_in_the_cloud_only_is_not_edited_and_can_be_moved(attribute: int, tmp_path: Path) -> None:
    path = tmp_path / "profile.ps1"
    path.write_text("")
    found: Any = SimpleNamespace(st_file_attributes=attribute)
    assert "lies in the cloud only (OneDrive)" in files.system.write_obstacle(str(path), found)
    assert files.system.move_obstacle(str(path), found) == ""
