"""The journal says what happened, says where it is damaged, and is nobody else's to read or to forge.

Every record that a run can write is torn at every byte and read back; damaged and forged ones are told by their line.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccremedy import errors
from ccremedy.errors import Problem
from ccremedy.journal import Journal, Run, find
from ccremedy.resources import Block, Change, Line, Location

BLOCK = Change(
    Block("/home/me/.bashrc", "n", "bash", "login"), None, "line\n", expects=("path /x",), folders=("/home/me",)
)
LINE = Change(Line("/home/me/.npmrc", "prefix"), "prefix=/a", "prefix=/b")
MOVE = Change(Location("/home/me/.claude", "/home/me/.claude.ccremedy-1"), "here", "aside")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(str(tmp_path / "state"))
    with made.lock(1):
        return made


def a_run(journal: Journal, number: int = 1, kept: bool = True) -> Run:
    """Two findings of one run: two changes that stand, and one that was taken back."""
    run = journal.begin(number, "apply x", "2026-01-01T00:00:00Z", "plan-1")
    step = journal.open_step(run, "r", "f", [BLOCK, LINE])
    journal.doing(run, step, 0)
    journal.doing(run, step, 1)
    if kept:
        journal.keep(run, step)
    step = journal.open_step(run, "r", "g", [MOVE])
    journal.doing(run, step, 0)
    journal.back(run, step, "OSError")
    return run


def read(journal: Journal, number: int = 1) -> Run:
    return next(run for run in journal.runs() if run.number == number)


# ---- replay


def test_what_was_written_is_read_back(journal: Journal) -> None:
    a_run(journal)
    run = read(journal)
    assert (run.number, run.command, run.time, run.plan) == (1, "apply x", "2026-01-01T00:00:00Z", "plan-1")
    assert not run.damage
    assert not run.open
    assert [(step.remedy, step.finding, step.begun, step.state) for step in run.steps] == [
        ("r", "f", 2, "kept"),
        ("r", "g", 1, "back"),
    ]
    assert [step.changes[index].to_json() for step, index in run.kept()] == [BLOCK.to_json(), LINE.to_json()]
    assert run.size == os.path.getsize(run.path)


def test_a_step_that_was_neither_kept_nor_taken_back_is_open(journal: Journal) -> None:
    run = journal.begin(1, "apply x", "now")
    step = journal.open_step(run, "r", "f", [BLOCK, LINE])
    journal.doing(run, step, 0)
    again = read(journal)
    assert again.open
    assert again.steps[0].begun == 1
    assert again.kept() == []


def test_nothing_is_written_before_the_first_step(journal: Journal) -> None:
    journal.begin(1, "apply x", "now")
    assert journal.runs() == []
    assert os.listdir(journal.runs_folder) == []


def test_runs_come_in_their_order(journal: Journal) -> None:
    for number in (1, 2, 10, 9, 123456):
        a_run(journal, number)
    assert [run.number for run in journal.runs()] == [1, 2, 9, 10, 123456]


def test_foreign_files_beside_the_runs_are_passed_over(journal: Journal) -> None:
    a_run(journal)
    for name in ("000001 (copy).jsonl", "000001.jsonl.bak", "notes.jsonl", ".jsonl", "00001²3.jsonl", "000002.jsonl~"):
        Path(journal.runs_folder, name).write_text("x\n")
    assert [run.number for run in journal.runs()] == [1]


def test_there_is_no_journal_before_the_first_run(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "state")).runs() == []
    assert os.listdir(tmp_path) == []


def test_a_scratch_file_lies_beside_the_file_behind_the_link(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / ".npmrc").symlink_to("dotfiles/npmrc")
    step = journal.open_step(
        journal.begin(7, "apply", "now"), "r", "f", [Change(Line(str(tmp_path / ".npmrc"), "k"), "", "k=1"), MOVE]
    )
    assert os.path.dirname(step.scratch[0]) == str(tmp_path / "dotfiles")
    assert os.path.basename(step.scratch[0]).startswith(".ccremedy-7-")
    assert step.scratch[1] == ""


# ---- torn and damaged


def test_a_journal_that_was_torn_at_any_byte_is_a_shorter_journal(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(journal)
    whole = Path(run.path).read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    landed, bad = 0, []
    for size in range(len(whole)):
        Path(run.path).write_bytes(whole[:size])
        again = read(journal)
        landed += again.size <= size
        if again.damage or again.size != max([end for end in ends if end <= size], default=0):
            bad.append(size)
    with capsys.disabled():
        print(f"torn-journal points={len(whole)} landed={landed} bad={len(bad)}")
    assert landed == len(whole) > 1000
    assert not bad


def test_what_follows_a_torn_line_takes_its_place(journal: Journal) -> None:
    run = a_run(journal, kept=False)
    with open(run.path, "ab") as out:
        out.write(b'0123abcd {"type":"kep')
    again = read(journal)
    assert again.steps[0].state == "open"
    journal.back(again, again.steps[0], "interrupted")
    final = read(journal)
    assert not final.damage
    assert final.steps[0].state == "back"
    assert b"kep" not in Path(run.path).read_bytes()


def test_every_flipped_bit_is_told_with_its_line(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(journal)
    whole = Path(run.path).read_bytes()
    points = [index for index in range(0, len(whole), 3) if whole[index] != 10]
    landed, bad = 0, []
    for index in points:
        flipped = whole[:index] + bytes([whole[index] ^ 0x04]) + whole[index + 1 :]
        Path(run.path).write_bytes(flipped)
        damage = read(journal).damage
        landed += flipped != whole
        line = whole[:index].count(b"\n") + 1
        if f"(line {line}:" not in damage and 10 not in (whole[index], whole[index] ^ 0x04):
            bad.append((index, damage))
    with capsys.disabled():
        print(f"flipped-journal points={len(points)} landed={landed} bad={len(bad)}")
    assert landed == len(points) > 300
    assert not bad, bad[:3]


def test_damage_stops_what_writes_but_not_what_reads(journal: Journal) -> None:
    a_run(journal)
    run = a_run(journal, 2)
    Path(run.path).write_bytes(b"rubbish\n")
    assert [bool(each.damage) for each in journal.runs()] == [False, True]
    with pytest.raises(Problem, match="journal of run 2 is damaged") as caught:
        journal.sound_runs()
    assert caught.value.code == errors.INCOMPLETE
    assert caught.value.where == run.path
    assert caught.value.todo


def line(record: object) -> bytes:
    body = json.dumps(record).encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


HEAD: dict[str, Any] = {"type": "run", "v": 1, "run": 1, "command": "apply", "time": "now", "plan": ""}
STEP: dict[str, Any] = {
    "type": "step", "step": 1, "remedy": "r", "finding": "f", "changes": [BLOCK.to_json()],
    "scratch": ["/home/me/.ccremedy-1-1-0"],
}  # fmt: skip
FORGED: list[tuple[str, object]] = [
    ("a number", 5),
    ("a list", [HEAD]),
    ("no type", {"v": 1}),
    ("an unknown type", {"type": "exec", "step": 1}),
    ("another version", HEAD | {"v": 2}),
    ("a step out of its order", STEP | {"step": 5}),
    ("a step without changes", {key: value for key, value in STEP.items() if key != "changes"}),
    ("changes that are no list", STEP | {"step": 2, "changes": 5}),
    ("a change that cannot be", STEP | {"step": 2, "changes": [BLOCK.to_json() | {"path": "relative"}]}),
    ("more scratch files than changes", STEP | {"step": 2, "scratch": ["/a/.ccremedy-1-2-0", "/b/.ccremedy-1-2-1"]}),
    ("a scratch file that is somebody's", STEP | {"step": 2, "scratch": ["/home/me/.bashrc"]}),
    ("a scratch file of another run", STEP | {"step": 2, "scratch": ["/home/me/.ccremedy-12-1-0"]}),
    ("a scratch file with a relative path", STEP | {"step": 2, "scratch": [".ccremedy-1-2-0"]}),
    ("a scratch file with NUL", STEP | {"step": 2, "scratch": ["/home/me/.ccremedy-1-2-0\0"]}),
    ("a step that is not there", {"type": "doing", "step": 2, "change": 0}),
    ("step zero", {"type": "kept", "step": 0}),
    ("a step that is true", {"type": "kept", "step": True}),
    ("a step that is a text", {"type": "kept", "step": "1"}),
    ("a change that is not there", {"type": "doing", "step": 1, "change": 1}),
    ("a change before the first", {"type": "doing", "step": 1, "change": -1}),
    ("a change that is a text", {"type": "doing", "step": 1, "change": "0"}),
    ("an undone change that is not there", {"type": "undone", "step": 1, "change": 9, "by": 2}),
    ("a change undone by nobody", {"type": "undone", "step": 1, "change": 0}),
    ("a change undone by a text", {"type": "undone", "step": 1, "change": 0, "by": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record"), FORGED, ids=[name for name, _ in FORGED])
def test_a_forged_record_is_told_with_its_line(name: str, record: object, journal: Journal) -> None:
    path = Path(journal.runs_folder, "000001.jsonl")
    path.write_bytes(line(HEAD) + line(STEP))
    assert not read(journal).damage
    path.write_bytes(line(HEAD) + line(STEP) + line(record) + line({"type": "kept", "step": 1}))
    run = read(journal)
    assert run.damage.startswith("is damaged (line 3: ")
    assert run.steps[0].state == "open", "nothing below the damage counts"


RUBBISH = {
    "an empty line": b"",
    "NULs": b"\0\0\0\0",
    "no checksum": b"zzzzzzzz {}",
    "nothing but a checksum": b"00000000",
    "a long line": b"x" * 100_000,
    "a deep one": b"00000000 " + b"[" * 100_000,
    "no UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("data", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_told_with_its_line(data: bytes, journal: Journal) -> None:
    Path(journal.runs_folder, "000001.jsonl").write_bytes(line(HEAD) + data + b"\n")
    assert read(journal).damage.startswith("is damaged (line 2: ")


def test_deep_nesting_with_a_right_checksum_is_damage(journal: Journal) -> None:
    body = b"[" * 200_000
    Path(journal.runs_folder, "000001.jsonl").write_bytes(f"{zlib.crc32(body):08x} ".encode() + body + b"\n")
    assert read(journal).damage.startswith("is damaged (line 1: ")


@pytest.mark.parametrize(
    "make",
    [os.mkdir, lambda path: os.mkfifo(path), lambda path: os.symlink("x", path)],
    ids=["a directory", "a pipe", "a link to nothing"],
)
def test_what_is_no_file_is_never_waited_for(make: Callable[[str], None], journal: Journal) -> None:
    make(os.path.join(journal.runs_folder, "000001.jsonl"))
    run = read(journal)
    assert run.damage or not run.steps


record_values = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.lists(st.integers(0, 2), max_size=2)
)
records = st.one_of(
    st.sampled_from([HEAD, STEP, {"type": "kept", "step": 1}, {"type": "back", "step": 1, "why": ""}]),
    st.dictionaries(st.sampled_from(["type", "step", "change", "by", "changes", "scratch", "v"]), record_values),
    st.sampled_from(["run", "step", "doing", "kept", "back", "undone"]).flatmap(
        lambda kind: st.dictionaries(
            st.sampled_from(["step", "change", "by", "changes", "scratch"]), record_values
        ).map(lambda record: {"type": kind} | record)
    ),
)


@given(st.lists(records, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_sequence_of_records_is_read(sequence: list[dict[str, object]]) -> None:
    """Damage or not: reading, listing and finding never end in anything but an answer or a Problem."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(os.path.join(folder, "state"))
        with journal.lock(1):
            Path(journal.runs_folder, "000001.jsonl").write_bytes(b"".join(map(line, sequence)))
        run = read(journal)
        for step in run.steps:
            assert 0 <= step.begun <= len(step.changes)
            assert step.undone.keys() <= set(range(len(step.changes)))
        if not run.damage and any(step.state == "kept" for step in run.steps):
            assert find([run], 1) is run


# ---- undone


def test_the_last_run_with_something_left_is_found(journal: Journal) -> None:
    a_run(journal, 1)
    second = a_run(journal, 2)
    assert find(journal.runs(), None).number == 2
    for index in (0, 1):
        journal.undone(second, second.steps[0], index, 3)
    undo = journal.begin(3, "undo 2", "now")
    journal.keep(undo, journal.open_step(undo, "r", "f", [LINE]))
    assert read(journal, 2).steps[0].undone == {0: 3, 1: 3}
    assert find(journal.runs(), None).number == 3
    assert find(journal.runs(), 2).number == 2


def test_an_undo_can_be_undone(journal: Journal) -> None:
    """Run 1 applies, run 2 takes it back, run 3 takes that back: run 1 stands again."""
    first = a_run(journal, 1)
    for index in (0, 1):
        journal.undone(first, first.steps[0], index, 2)
    second = journal.begin(2, "undo 1", "now")
    step = journal.open_step(second, "r", "f", [BLOCK, LINE])
    journal.keep(second, step)
    runs = journal.runs()
    assert [run.stands(runs) for run in runs] == [False, True]
    for index in (0, 1):
        journal.undone(second, step, index, 3)
    third = journal.begin(3, "undo 2", "now")
    journal.keep(third, journal.open_step(third, "r", "f", [BLOCK, LINE]))
    runs = journal.runs()
    assert [run.stands(runs) for run in runs] == [True, False, True]


def test_a_run_of_which_a_part_was_taken_back_still_stands(journal: Journal) -> None:
    run = a_run(journal)
    journal.undone(run, run.steps[0], 1, 2)
    undo = journal.begin(2, "undo 1 --change 2", "now")
    journal.keep(undo, journal.open_step(undo, "r", "f", [LINE]))
    runs = journal.runs()
    assert runs[0].stands(runs)


def test_runs_that_undo_each_other_in_a_circle_are_no_trap(journal: Journal) -> None:
    """Nobody but a forger writes that."""
    for number, other in ((1, 2), (2, 1)):
        run = a_run(journal, number)
        for index in (0, 1):
            journal.undone(run, run.steps[0], index, other)
    runs = journal.runs()
    if any(run.damage for run in runs):
        return
    with pytest.raises(Problem):
        find(runs, None)


@pytest.mark.parametrize("number", [None, 7], ids=["the last", "number 7"])
def test_a_run_that_is_not_there_is_a_wrong_word(number: int | None) -> None:
    with pytest.raises(Problem) as caught:
        find([], number)
    assert caught.value.code == errors.USAGE
    assert "history" in caught.value.todo


# ---- the lock and the folder


def test_the_lock_is_for_one(journal: Journal) -> None:
    script = (
        "import sys; from ccremedy.journal import Journal\n"
        "with Journal(sys.argv[1]).lock(1): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, journal.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Problem, match="another ccremedy") as caught, journal.lock(0.05):
            pytest.fail("two hold the lock")
        assert caught.value.code == errors.LOCKED
        other.stdin.close()
        other.wait(60)
    with journal.lock(0.05):
        pass


def test_the_lock_goes_with_its_holder(journal: Journal) -> None:
    script = (
        "import sys, os; from ccremedy.journal import Journal\n"
        "with Journal(sys.argv[1]).lock(1): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, journal.folder]).returncode == -9
    with journal.lock(0.05):
        pass


def test_reading_takes_no_lock_and_makes_nothing(journal: Journal) -> None:
    a_run(journal)
    before = sorted(os.listdir(journal.folder))
    with journal.lock(1):
        assert Journal(journal.folder).runs()
    assert sorted(os.listdir(journal.folder)) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_nobody_else_may_look_into_it(umask: int, tmp_path: Path) -> None:
    """Run as a process of its own: the umask belongs to the whole process."""
    folder = tmp_path / ".local" / "state" / "ccremedy"
    script = (
        "import sys, os; os.umask(int(sys.argv[2])); from ccremedy.journal import Journal\n"
        "from ccremedy.resources import Change, Line\n"
        "journal = Journal(sys.argv[1])\n"
        "with journal.lock(1):\n"
        "    run = journal.begin(1, 'apply', 'now')\n"
        "    journal.keep(run, journal.open_step(run, 'r', 'f', [Change(Line('/x', 'k'), '', 'k=1')]))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder), str(umask)], check=True)
    modes = {
        str(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in sorted(tmp_path.rglob("*"))
    }
    lock = modes.pop(".local/state/ccremedy/lock", "0o600")  # some versions of filelock take it away
    assert lock == "0o600"
    assert modes == {
        ".local": "0o700",
        ".local/state": "0o700",
        ".local/state/ccremedy": "0o700",
        ".local/state/ccremedy/runs": "0o700",
        ".local/state/ccremedy/runs/000001.jsonl": "0o600",
    }


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755, 0o770, 0o777, 0o1777], ids=oct)
@pytest.mark.parametrize("act", ["read", "lock"])
def test_a_folder_that_others_may_enter_is_refused(mode: int, act: str, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    assert_refused(Journal(str(tmp_path / "state")), act, "chmod 700")
    assert os.listdir(tmp_path / "state") == []


@pytest.mark.parametrize("act", ["read", "lock"])
def test_a_file_in_its_place_is_refused(act: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    assert_refused(Journal(str(tmp_path / "state")), act, "not a directory")
    assert (tmp_path / "state").read_text() == "mine"


@pytest.mark.parametrize("act", ["read", "lock"])
def test_a_folder_of_another_user_is_refused(act: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("root")
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 12345, 12345)
    assert_refused(Journal(str(tmp_path / "state")), act, "belongs to another user")


def test_a_link_that_was_planted_inside_is_not_written_through(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    Path(journal.runs_folder, "000001.jsonl").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic links"):
        a_run(journal)
    assert (tmp_path / "theirs").read_text() == "theirs"


def assert_refused(journal: Journal, act: str, words: str) -> None:
    def lock() -> None:
        with journal.lock(0.05):
            pass

    with pytest.raises(Problem) as caught:
        journal.runs() if act == "read" else lock()
    assert caught.value.code == errors.UNSUPPORTED
    assert words in str(caught.value)
    assert caught.value.where == journal.folder
