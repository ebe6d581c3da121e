"""The table of `pending`, `done` and `drifted`, the inverse of every change, and records that others have written.

| now equals | status  | apply       | undo                |
|------------|---------|-------------|---------------------|
| before     | pending | write after | nothing to do       |
| after      | done    | nothing     | write before        |
| neither    | drifted | stop        | leave it, report it |
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccremedy import Assignment, files
from ccremedy.editors import get_assignments, put_aside
from ccremedy.engine import Engine
from ccremedy.errors import Drift, Problem
from ccremedy.files import free_name
from ccremedy.finding import Finding, want
from ccremedy.journal import Journal, find
from ccremedy.machine import Facts, Machine
from ccremedy.registry import adapter
from ccremedy.resources import DONE, DRIFTED, PENDING, Block, Change, Line, Location, change_from_json, same
from ccremedy.resources.places import ASIDE, BOTH, GONE, HERE
from ccremedy.resources.texts import at_the_end
from ccremedy.testing import Case, Rig, no_shells, snapshot

BODY = "export PATH='/x':\"$PATH\"\n"


def block(path: Path, at_end: bool = False) -> Block:
    return Block(str(path), "wsl-path", "bash", "interactive", at_end)


# ---- the table


@pytest.mark.parametrize(
    ("now", "status"),
    [
        ("# mine\n", PENDING),
        (None, PENDING),
        (f"# >>> ccremedy wsl-path >>>\n{BODY}# <<< ccremedy wsl-path <<<\n# mine\n", DONE),
        (f"# >>> ccremedy wsl-path >>>\n{BODY}# mine\n# <<< ccremedy wsl-path <<<\n", DRIFTED),
        ("# >>> ccremedy wsl-path >>>\n# <<< ccremedy wsl-path <<<\n", PENDING),
    ],
    ids=["no block", "no file", "our block", "our block, edited inside", "our block, emptied"],
)
def test_status_of_a_block(now: str | None, status: str, tmp_path: Path) -> None:
    path = tmp_path / ".bashrc"
    if now is not None:
        path.write_text(now)
    assert Change(block(path), "", BODY).status() == status


def test_a_block_with_damaged_markers_is_drift(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("# >>> ccremedy wsl-path >>>\n")
    with pytest.raises(Drift, match="1 beginnings and 0 ends"):
        Change(block(tmp_path / ".bashrc"), "", BODY).status()


@pytest.mark.parametrize(
    ("now", "status"),
    [
        ("prefix=/a\n", PENDING),
        ("prefix=~/.npm-global\nfund=false\n", DONE),
        ("prefix=/b\n", DRIFTED),
        ("prefix = /a\n", DRIFTED),
        ("", DRIFTED),
        (None, DRIFTED),
    ],
    ids=["as it was", "as we want it", "another value", "another spelling", "the line is gone", "the file is gone"],
)
def test_status_of_a_line(now: str | None, status: str, tmp_path: Path) -> None:
    path = tmp_path / ".npmrc"
    if now is not None:
        path.write_text(now)
    assert Change(Line(str(path), "prefix"), "prefix=/a", "prefix=~/.npm-global").status() == status


@pytest.mark.parametrize(
    ("here", "aside", "value", "status"),
    [
        (True, False, HERE, PENDING),
        (False, True, ASIDE, DONE),
        (True, True, BOTH, DRIFTED),
        (False, False, GONE, DRIFTED),
    ],
    ids=["still here", "moved aside", "something new is here", "both are gone"],
)
def test_status_of_a_location(here: bool, aside: bool, value: str, status: str, tmp_path: Path) -> None:
    for there, name in ((here, "x"), (aside, "x.ccremedy-1")):
        if there:
            (tmp_path / name).mkdir()
    location = Location(str(tmp_path / "x"), str(tmp_path / "x.ccremedy-1"))
    assert location.read() == value
    assert Change(location, HERE, ASIDE).status() == status


def test_a_dangling_link_is_something_that_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("nowhere")
    location = Location(str(tmp_path / "x"), str(tmp_path / "y"))
    assert location.read() == HERE
    location.write(HERE, ASIDE, "")
    assert os.readlink(tmp_path / "y") == "nowhere"


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        (None, None, True),
        (None, "", True),
        ("", None, True),
        ("a", "a", True),
        ("a", "", False),
        ("a", None, False),
        ("a", "b", False),
        ("a", "a\n", False),
    ],
    ids=str,
)
def test_no_file_is_as_good_as_a_file_without_our_piece(one: str | None, other: str | None, answer: bool) -> None:
    assert same(one, other) is answer


# ---- writing


@pytest.mark.parametrize("at_end", [False, True], ids=["at the top", "at the end"])
@pytest.mark.parametrize(
    "original", [b"", b"# mine\n", b"# mine", b"\xef\xbb\xbf# mine\r\n", b"\0\xff"], ids=lambda data: repr(data)
)
def test_a_block_is_written_and_taken_back(original: bytes, at_end: bool, tmp_path: Path) -> None:
    path, resource = tmp_path / ".bashrc", block(tmp_path / ".bashrc", at_end)
    path.write_bytes(original)
    resource.write("", BODY, str(tmp_path / ".scratch"))
    assert resource.read() == BODY
    assert resource.preview("")[1] == original
    resource.write(BODY, "", str(tmp_path / ".scratch"))
    assert path.read_bytes() == original
    assert os.listdir(tmp_path) == [".bashrc"]


def test_a_file_that_we_made_goes_with_our_block(tmp_path: Path) -> None:
    resource = block(tmp_path / ".bashrc")
    resource.write(None, BODY, str(tmp_path / ".scratch"))
    resource.write(BODY, None, str(tmp_path / ".scratch"))
    assert os.listdir(tmp_path) == []


def test_a_file_that_we_made_stays_for_what_a_user_has_added(tmp_path: Path) -> None:
    resource = block(tmp_path / ".bashrc")
    resource.write(None, BODY, str(tmp_path / ".scratch"))
    with open(tmp_path / ".bashrc", "a") as out:
        out.write("# mine\n")
    resource.write(BODY, None, str(tmp_path / ".scratch"))
    assert (tmp_path / ".bashrc").read_text() == "# mine\n"


def test_a_value_that_is_not_there_any_more_is_drift(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("prefix=/b\n")
    with pytest.raises(Drift):
        Line(str(tmp_path / ".npmrc"), "prefix").write("prefix=/a", "prefix=/c", str(tmp_path / ".scratch"))
    assert (tmp_path / ".npmrc").read_text() == "prefix=/b\n"
    assert os.listdir(tmp_path) == [".npmrc"]


def test_a_move_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("new")
    (tmp_path / "y").write_text("old")
    with pytest.raises(Drift, match="appeared"):
        Location(str(tmp_path / "x"), str(tmp_path / "y")).write(HERE, ASIDE, "")
    assert (tmp_path / "y").read_text() == "old"
    assert (tmp_path / "x").read_text() == "new"


def a_huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 25)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.link(path.parent / "other", path), "hard links"),
        (lambda path: (path.write_text("x"), path.chmod(0o444)), "read-only"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.symlink_to("nowhere"), "does not exist"),
        (lambda path: path.symlink_to(path), "leads back to itself"),
        (lambda path: os.mkfifo(path), "device, socket or pipe"),
        (a_huge_file, "too large"),
        (lambda path: path.write_bytes(b"\xff\xfe#\0"), "UTF-16"),
        (lambda path: path.symlink_to("/proc/self/comm"), "/proc"),
    ],
    ids=[
        "a hard link", "read-only", "a directory", "a link to nothing", "a link to itself", "a pipe", "32 MB", "UTF-16",
        "a file of the kernel",
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_said(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    make(tmp_path / ".bashrc")
    before = snapshot(str(tmp_path))
    assert reason in block(tmp_path / ".bashrc").obstacle()
    assert snapshot(str(tmp_path)) == before


KEY = "sk-ant-api03-0123456789abcdef"
PROFILE = f"Import-Module x\r\n$env:ANTHROPIC_API_KEY = '{KEY}' # mine\r\n$a = 'Jörg 😀'\r\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("vault", ["", "/nowhere"], ids=["in clear", "sealed"])
def test_a_key_in_a_utf_16_profile_of_powershell_is_put_aside_and_back(
    encoding: str, vault: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.ps1"
    before = f"\ufeff{PROFILE}".encode(encoding)
    path.write_bytes(before)
    assert [(each.number, each.value) for each in get_assignments(before, "ANTHROPIC_API_KEY", "powershell")] == [
        (2, KEY)
    ]
    profile = Assignment(str(path), "ANTHROPIC_API_KEY", "powershell", vault)
    found = profile.read() or ""
    assert (KEY in found, profile.obstacle()) == (not vault, "")
    aside = put_aside(found, "ANTHROPIC_API_KEY", "powershell", "the secret store has it")
    shown = b"".join(profile.preview(aside))
    assert b"aside" in shown
    assert (KEY.encode() in shown) == (not vault)
    profile.write(found, aside, str(tmp_path / "scratch"))
    line = "# ccremedy has put ANTHROPIC_API_KEY aside: the secret store has it\r\n"
    assert path.read_bytes().decode("utf-16") == f"Import-Module x\r\n{line}$a = 'Jörg 😀'\r\n"
    profile.write(profile.read(), found, str(tmp_path / "scratch"))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["profile.ps1"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_block_in_a_utf_16_profile_of_powershell_comes_and_goes(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.ps1"
    before = f"\ufeff{PROFILE}".encode(encoding)
    path.write_bytes(before)
    made = Block(str(path), "x", "powershell", "all")
    made.write("", "$env:A = 'ö'\n", str(tmp_path / "scratch"))
    text = path.read_bytes().decode("utf-16")
    assert text == f"# >>> ccremedy x >>>\n$env:A = 'ö'\n# <<< ccremedy x <<<\n{PROFILE}"
    assert made.read() == "$env:A = 'ö'\n"
    made.write(made.read(), "", str(tmp_path / "scratch"))
    assert path.read_bytes() == before


BROKEN = {
    "half a character": (b"\xff\xfe$\0\n", "half a character"),
    "half a pair": (b"\xff\xfe\0\xd8\n\0", "half a character"),
    "half a pair, big end first": (b"\xfe\xff\xdc\0\0\n", "half a character"),
    "UTF-32": ("\ufeff$env:X = 'y'".encode("utf-32-le"), "UTF-32"),
}


@pytest.mark.parametrize(("data", "why"), BROKEN.values(), ids=BROKEN)
def test_a_profile_of_powershell_that_would_not_be_the_same_again_is_refused(
    data: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.ps1"
    path.write_bytes(data)
    made = Block(str(path), "x", "powershell", "all")
    assert why in made.obstacle()
    with pytest.raises(Problem, match=why):
        made.write("", "foo\n", str(tmp_path / "scratch"))
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["a directory", "32 MB", "damaged markers"])
def test_a_file_that_cannot_be_read_refuses_only_its_own_change(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ".bashrc"
    if kind == "a directory":
        path.mkdir()
    elif kind == "32 MB":
        a_huge_file(path)
    else:
        path.write_text("# <<< ccremedy wsl-path <<<\n")
    (change,) = want(block(path), BODY, by_hand="the line")
    assert change.refused
    assert change.by_hand == "the line"


def test_nothing_is_wanted_where_it_is_so_already(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("prefix=/a\n")
    assert list(want(Line(str(tmp_path / ".npmrc"), "prefix"), "prefix=/a")) == []


# ---- at the end


def test_a_new_block_may_go_to_the_end(tmp_path: Path) -> None:
    change = Change(block(tmp_path / "x"), "", BODY, by_hand="line", expects=("path /x",))
    moved = at_the_end(change)
    assert moved is not None
    assert moved.resource == block(tmp_path / "x", at_end=True)
    assert (moved.before, moved.after, moved.by_hand, moved.expects) == ("", BODY, "line", ("path /x",))
    assert at_the_end(moved) is None


@pytest.mark.parametrize(
    "change",
    [
        Change(Block("/x", "n", "bash", "login"), "old\n", BODY),
        Change(Block("/x", "n", "bash", "login"), BODY, None),
        Change(Block("/x", "n", "bash", "login", True), None, BODY),
        Change(Line("/x", "prefix"), "", "prefix=/a"),
        Change(Location("/x", "/y"), HERE, ASIDE),
    ],
    ids=["a block that has its place", "a removal", "one that is there", "a line", "a location"],
)
def test_nothing_else_has_another_end(change: Change) -> None:
    assert at_the_end(change) is None


# ---- names aside


def test_a_name_aside_is_never_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    assert free_name(path) == f"{path}.ccremedy-1"
    (tmp_path / "x.ccremedy-1").mkdir()
    (tmp_path / "x.ccremedy-2").symlink_to("nowhere")
    assert free_name(path) == f"{path}.ccremedy-3"


@pytest.mark.parametrize(
    ("case", "aside"),
    [
        ("everything-is-asked-for-a-second-time", [".claude.ccremedy-2", ".claude.json.ccremedy-2"]),
        ("the-state-file-is-broken-for-the-second-time", [".claude.json.ccremedy-2"]),
    ],
)
def test_a_second_reset_goes_beside_the_first_one_and_not_into_it(case: str, aside: list[str], tmp_path: Path) -> None:
    folder = os.path.join(os.path.dirname(__file__), "cases", "reset-config", case)
    rig = Rig.make(Case.load(folder), str(tmp_path / "scratch"), no_shells)
    home = Path(rig.machine.home)
    first = {name: text for name, text in leaves(home).items() if "ccremedy-1" in name}
    assert first
    assert not rig.apply().problems
    assert {name: text for name, text in leaves(home).items() if "ccremedy-1" in name} == first
    assert sorted(name for name in os.listdir(home) if name.endswith("-2")) == aside
    assert not [name for name in leaves(home) if name.count("ccremedy") > 1]


# ---- the inverse


@pytest.mark.parametrize(
    "change",
    [
        Change(Block("/nowhere/x", "n", "bash", "login"), None, BODY),
        Change(Block("/nowhere/x", "n", "bash", "login"), "a\n", "b\n"),
        Change(Line("/nowhere/x", "prefix"), "prefix=/a", "prefix=/b"),
        Change(Location("/nowhere/x", "/nowhere/y"), HERE, ASIDE),
    ],
    ids=["a new block", "another block", "a line", "a location"],
)
def test_the_inverse_of_the_inverse_is_the_change(change: Change) -> None:
    (inverse,) = change.resource.inverse(change)
    assert (inverse.before, inverse.after) == (change.after, change.before)
    assert [(each.before, each.after) for each in inverse.resource.inverse(inverse)] == [(change.before, change.after)]


def moved_aside(tmp_path: Path, old: dict[str, str], new: dict[str, str]) -> tuple[Engine, Journal, Path]:
    """`x`, holding `old`, was moved aside by a run; since then `x` has appeared again, holding `new`."""
    home = tmp_path / "home"
    grow(home / "x", old)
    facts = Facts("linux", {"HOME": str(home)}, str(tmp_path / "root"), str(home))
    journal = Journal(str(tmp_path / "state"))
    engine = Engine(Machine(str(home), adapter(facts), facts, {}), journal, no_shells)
    (change,) = want(Location(str(home / "x"), str(home / "x.ccremedy-1")), ASIDE)
    with journal.lock(5):
        run = journal.begin(1, "apply", "2026-01-01T00:00:00Z")
        engine.apply([Finding("f", "", changes=(change,), remedy="r")], run, {})
    assert os.listdir(home) == ["x.ccremedy-1"]
    if new:
        grow(home / "x", new)
    return engine, journal, home


def grow(top: Path, tree: dict[str, str]) -> None:
    for name, text in tree.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (top / name).mkdir(exist_ok=True)
        else:
            (top / name).write_text(text)


def leaves(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"a": "old"}, {}, {"x/a": "old"}),
        ({"a": "old"}, {"b": "new"}, {"x/a": "old", "x/b": "new"}),
        ({"a": "old"}, {"a": "new"}, {"x/a": "old", "x.ccremedy-1-since-1/a": "new"}),
        ({"a": "old"}, {"a": "new", "b": "new"}, {"x/a": "old", "x/b": "new", "x.ccremedy-1-since-1/a": "new"}),
        ({"d/a": "old"}, {"d/b": "new"}, {"x/d/a": "old", "x/d/b": "new"}),
        ({"d/e/a": "old"}, {"d/e/a": "new", "d/e/b": "new", "d/f/c": "new"},
         {"x/d/e/a": "old", "x/d/e/b": "new", "x/d/f/c": "new", "x.ccremedy-1-since-1/d/e/a": "new"}),
        ({"a": "old"}, {"a/b": "new"}, {"x/a": "old", "x.ccremedy-1-since-1/a/b": "new"}),
        ({"a/b": "old"}, {"a": "new"}, {"x/a/b": "old", "x.ccremedy-1-since-1/a": "new"}),
        ({"a": "old"}, {"empty/": ""}, {"x/a": "old"}),
    ],
    ids=[
        "nothing has appeared", "another file has appeared", "the same file has appeared", "one of each",
        "another file in the same folder", "nested folders", "a folder in a file's place", "a file in a folder's place",
        "an empty folder",
    ],
)  # fmt: skip
def test_undoing_merges_what_has_appeared_since(
    old: dict[str, str], new: dict[str, str], merged: dict[str, str], tmp_path: Path
) -> None:
    engine, journal, home = moved_aside(tmp_path, old, new)
    with journal.lock(5):
        runs = journal.sound_runs()
        result = engine.undo(find(runs, None), journal.begin(2, "undo", "2026-01-01T00:00:00Z"), None)
    assert not result.problems, [str(problem) for problem in result.problems]
    assert leaves(home) == merged
    kept = [name for name in merged if "since" in name]
    assert all(any(name in note for note in result.notes) for name in kept), result.notes


def test_undoing_the_merge_gives_back_what_had_appeared(tmp_path: Path) -> None:
    engine, journal, home = moved_aside(tmp_path, {"a": "old", "d/a": "old"}, {"a": "new", "d/b": "new"})
    before = leaves(home)
    for number in (2, 3):
        with journal.lock(5):
            runs = journal.sound_runs()
            result = engine.undo(find(runs, number - 1), journal.begin(number, "undo", "2026-01-01T00:00:00Z"), None)
        assert not result.problems, [str(problem) for problem in result.problems]
    assert leaves(home) == before


def test_what_is_gone_on_both_sides_is_reported(tmp_path: Path) -> None:
    engine, journal, home = moved_aside(tmp_path, {"a": "old"}, {})
    (home / "x.ccremedy-1" / "a").unlink()
    (home / "x.ccremedy-1").rmdir()
    with journal.lock(5):
        runs = journal.sound_runs()
        result = engine.undo(find(runs, None), journal.begin(2, "undo", "2026-01-01T00:00:00Z"), None)
    assert len(result.problems) == 1
    assert isinstance(result.problems[0], Drift)


# ---- records

texts = st.text(st.characters(blacklist_categories=["Cs"]) | st.integers(0xDC80, 0xDCFF).map(chr), max_size=12)
paths = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12).map(
    lambda text: os.path.normpath(f"/x/{text.lstrip('/')}")
)
values = st.none() | texts
resources = st.one_of(
    st.builds(Block, paths, texts, texts, texts, st.booleans()),
    st.builds(Line, paths, texts),
    st.builds(Location, paths, paths),
)
changes = st.builds(
    Change, resources, values, values, texts, st.just(""), st.just(""),
    st.lists(texts, max_size=3).map(tuple), st.just(()),
)  # fmt: skip


@settings(deadline=None)
@given(changes)
def test_a_change_comes_back_from_its_record(change: Change) -> None:
    again = change_from_json(json.loads(json.dumps(change.to_json())))
    assert (again.resource, again.before, again.after) == (change.resource, change.before, change.after)
    assert (again.expects, again.folders, again.sentence()) == (change.expects, change.folders, change.sentence())
    assert again.to_json() == change.to_json()


GOOD = Change(Block("/y/x", "n", "bash", "login"), None, BODY, folders=("/y",), expects=("path /x",)).to_json()
HOSTILE: list[tuple[str, dict[str, object]]] = [
    ("an unknown kind", {"kind": "shell"}),
    ("a kind that is no text", {"kind": ["block"]}),
    ("no kind", {"kind": None}),
    ("a relative path", {"path": "x"}),
    ("an empty path", {"path": ""}),
    ("a path with NUL", {"path": "/x\0"}),
    ("a path that is no text", {"path": 1}),
    ("no path", {"path": None}),
    ("a path that cannot be encoded", {"path": "/\ud800"}),
    ("a value that cannot be encoded", {"after": "\ud800"}),
    ("a value that was and cannot be encoded", {"before": "\udfff"}),
    ("a value that is no text", {"after": 1}),
    ("a value that is a list", {"before": []}),
    ("a place that is no truth value", {"at_end": 1}),
    ("no place", {"at_end": None}),
    ("a name that is no text", {"name": None}),
    ("folders that are a number", {"folders": 5}),
    ("folders that are a text", {"folders": "/y"}),
    ("folders that are not absolute", {"folders": ["y"]}),
    ("folders that are no texts", {"folders": [1]}),
    ("folders that are an object", {"folders": {"/y": 1}}),
    ("no folders", {"folders": None}),
    ("folders with NUL", {"folders": ["/\0"]}),
    ("expectations that are a text", {"expects": "path /x"}),
    ("expectations that are no texts", {"expects": [None]}),
    ("no expectations", {"expects": None}),
    ("a summary that is no text", {"summary": 3}),
    ("no summary", {"summary": None}),
]


@pytest.mark.parametrize(("name", "part"), HOSTILE, ids=[name for name, _ in HOSTILE])
def test_a_record_that_we_would_not_write_is_refused(name: str, part: dict[str, object]) -> None:
    assert change_from_json(GOOD).to_json() == GOOD
    with pytest.raises(Problem):
        change_from_json(GOOD | part)


@pytest.mark.parametrize("aside", ["y", "", "/\0", None, 5, "/\ud800"], ids=ascii)
def test_a_location_needs_an_absolute_name_aside(aside: object) -> None:
    record = Change(Location("/x", "/y"), HERE, ASIDE).to_json()
    with pytest.raises(Problem):
        change_from_json(record | {"aside": aside})


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(junk | st.dictionaries(st.sampled_from(sorted(GOOD)), junk).map(lambda part: GOOD | part))
@example(GOOD | {"folders": 5})
@example(GOOD | {"folders": [[]]})
@settings(max_examples=300, deadline=None)
def test_any_record_is_a_change_or_a_problem(record: object) -> None:
    """Never another exception: a forged record must not look like a bug of ours."""
    try:
        change = change_from_json(record)
    except Problem:
        return
    assert os.path.isabs(change.resource.path)
    os.fsencode(change.resource.path)
    for value in (change.before, change.after):
        (value or "").encode("utf-8", "surrogateescape")


def test_a_fingerprint_tells_one_target_from_another(tmp_path: Path) -> None:
    path = tmp_path / ".npmrc"
    resource = Line(str(path), "prefix")
    prints = [resource.fingerprint()]
    for text in ("fund=false\n", "fund=true\n"):
        path.write_text(text)
        prints.append(resource.fingerprint())
    assert len(set(prints)) == 3
    assert files.read(str(path)) == b"fund=true\n"
