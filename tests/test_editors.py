"""The editors never touch a byte that is not theirs, and everything that they did can be taken back.

Files are made of what real start-up files and npmrcs hold (CRLF, byte order marks, NUL, no final line end, Latin-1,
text that looks like our markers) in every order. npm's own parser is asked, where there is one, which line decides.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ccremedy import editors
from ccremedy.errors import Problem

BEGIN, END = b"# >>> ccremedy wsl-path >>>", b"# <<< ccremedy wsl-path <<<"
NOTED = b"# >>> ccremedy wsl-path (the line end before this line is ours too) >>>"
BODY = "export PATH='/x':\"$PATH\"\n"
NEAR_MARKERS = (
    b"# >>> ccremedy wsl-path-2 >>>", b"# <<< ccremedy wsl-path-2 <<<", b" " + BEGIN, END + b" ", BEGIN[:-1],
    b"# >>> conda initialize >>>", b"# <<< conda initialize <<<", b"echo '" + END + b"'",
)  # fmt: skip
TEXT = (
    b"alias ll='ls -l'",
    b"case $- in *i*) ;; *) return;; esac",
    b"# gr\xfc\xdfe",
    b"\0",
    b"\xff\xfe",
    b"\x85",
    b" ",
)
LINE_ENDS = (b"\n", b"\r\n", b"\r", b"\n\n", b"")
STARTS = (b"", editors.BOM, b"#!/bin/bash", b"#!/bin/sh\n", editors.BOM + b"# mine\r\n")

lines = st.lists(st.tuples(st.sampled_from(TEXT + NEAR_MARKERS), st.sampled_from(LINE_ENDS)), max_size=5)
profiles = st.one_of(
    st.builds(lambda start, parts: start + b"".join(a + b for a, b in parts), st.sampled_from(STARTS), lines),
    st.binary(max_size=40),
)
bodies = st.lists(st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"]), max_size=20)).map(
    lambda rows: "".join(f"{row}\n" for row in rows)
)
anywhere = st.booleans()


# ---- blocks


@settings(deadline=None)
@given(profiles, bodies, anywhere)
@example(BEGIN, BODY, True)  # what was no marker for want of a line end must not become one
@example(NOTED, BODY, True)
@example(editors.BOM, BODY, False)
def test_what_was_put_is_got(data: bytes, body: str, at_end: bool) -> None:
    assume(_has_no_block(data))
    assume("ccremedy wsl-path" not in body)
    assert editors.get_block(editors.put_block(data, "wsl-path", body, at_end), "wsl-path") == body


@settings(deadline=None)
@given(profiles, bodies, anywhere)
@example(b"", BODY, True)
@example(b"x", BODY, True)
@example(b"x\r\n\r", BODY, True)
def test_putting_adds_one_block_and_changes_nothing_else(data: bytes, body: str, at_end: bool) -> None:
    assume(_has_no_block(data))
    above, below = _around(editors.put_block(data, "wsl-path", body, at_end), body)
    assert above + below == data or (above.endswith(b"\n") and above[:-1] + below == data)
    if at_end:
        assert below == b""
    if data.endswith(b"\n") and not at_end:
        assert above + below == data


@settings(deadline=None)
@given(profiles, bodies, anywhere)
@example(b"x", BODY, True)
@example(editors.BOM, BODY, False)
def test_removing_gives_the_original_bytes(data: bytes, body: str, at_end: bool) -> None:
    assume(_has_no_block(data))
    put = editors.put_block(data, "wsl-path", body, at_end)
    assert editors.put_block(put, "wsl-path", None, at_end) == data
    assert editors.put_block(put, "wsl-path", None, not at_end) == data, "where it stands is not where it would be put"


@settings(deadline=None)
@given(profiles, profiles, profiles, anywhere)
@example(b"x", b"", b"", True)  # the user has deleted all that stood above
@example(b"x", b"y\n", b"", True)
@example(b"x", b"x\n", b"later\n", True)
def test_edits_around_the_block_survive_its_removal(data: bytes, above: bytes, below: bytes, at_end: bool) -> None:
    assume(_has_no_block(data))
    put = editors.put_block(data, "wsl-path", BODY, at_end)
    was_above, was_below = _around(put, BODY)
    above += b"" if not above or above.endswith(b"\n") else b"\n"
    edited = above + put[len(was_above) : len(put) - len(was_below)] + below
    assume(_count(edited) == (1, 1))
    expected = above + below
    if NOTED in put and not below and above:
        expected = above[:-1]  # the one byte of which the marker says that it is ours
    assert editors.put_block(edited, "wsl-path", None, at_end) == expected
    assert editors.get_block(edited, "wsl-path") == BODY


@settings(deadline=None)
@given(profiles, bodies, anywhere)
def test_putting_twice_is_putting_once(data: bytes, body: str, at_end: bool) -> None:
    assume(_has_no_block(data))
    once = editors.put_block(data, "wsl-path", body, at_end)
    assert editors.put_block(once, "wsl-path", body, at_end) == once


@settings(deadline=None)
@given(profiles, bodies, bodies, anywhere, anywhere)
def test_a_new_body_takes_the_place_of_the_old_one(
    data: bytes, old: str, new: str, at_end: bool, then_at_end: bool
) -> None:
    assume(_has_no_block(data))
    assume("ccremedy wsl-path" not in old + new)
    put = editors.put_block(data, "wsl-path", old, at_end)
    assert editors.put_block(put, "wsl-path", new, then_at_end) == editors.put_block(data, "wsl-path", new, at_end)


@settings(deadline=None)
@given(profiles, anywhere, anywhere)
@example(b"x", True, True)
def test_two_blocks_are_taken_back_last_first(data: bytes, one_at_end: bool, other_at_end: bool) -> None:
    assume(_has_no_block(data))
    assume(_has_no_block(data, "npm-prefix"))
    one = editors.put_block(data, "wsl-path", BODY, one_at_end)
    two = editors.put_block(one, "npm-prefix", BODY, other_at_end)
    assert editors.put_block(two, "npm-prefix", None, False) == one
    assert editors.get_block(two, "wsl-path") == BODY


@settings(deadline=None)
@given(profiles, anywhere, anywhere)
@example(b"x", True, True)
def test_two_blocks_are_taken_back_first_first(data: bytes, one_at_end: bool, other_at_end: bool) -> None:
    """All that may be left is a line end behind a last line that had none."""
    assume(_has_no_block(data))
    assume(_has_no_block(data, "npm-prefix"))
    one = editors.put_block(data, "wsl-path", BODY, one_at_end)
    two = editors.put_block(one, "npm-prefix", BODY, other_at_end)
    left = editors.put_block(editors.put_block(two, "wsl-path", None, False), "npm-prefix", None, False)
    assert left == data or (left.replace(b"\n", b"") == data.replace(b"\n", b"") and len(left) == len(data) + 1)


@settings(deadline=None)
@given(profiles, anywhere)
def test_a_first_line_that_must_stay_first_does(data: bytes, at_end: bool) -> None:
    assume(_has_no_block(data))
    put = editors.put_block(data, "wsl-path", BODY, at_end)
    for first in (b"#!", editors.BOM):
        if data.startswith(first):
            assert put.startswith(data.split(b"\n")[0])


@given(st.lists(st.sampled_from([BEGIN, NOTED, END, *TEXT]), max_size=6), st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=300, deadline=None)
def test_damaged_markers_stop_every_edit(rows: list[bytes], line_end: bytes) -> None:
    data = b"".join(row + line_end for row in rows)
    marks = [row for row in rows if row in (BEGIN, NOTED, END)]
    assume(marks)
    assume(marks not in ([BEGIN, END], [NOTED, END]))
    for edit in (_get, _put, _remove):
        with pytest.raises(Problem, match="beginnings and") as caught:
            edit(data)
        assert caught.value.todo


@pytest.mark.parametrize("line_end", [b"\n", b""], ids=["with its last line end", "with its last line end cut off"])
def test_a_block_at_the_end_is_found(line_end: bytes) -> None:
    data = b"# mine\n" + BEGIN + b"\n" + BODY.encode() + END + line_end
    assert editors.get_block(data, "wsl-path") == BODY
    assert editors.put_block(data, "wsl-path", None, True) == b"# mine\n"


def _get(data: bytes) -> object:
    return editors.get_block(data, "wsl-path")


def _put(data: bytes) -> object:
    return editors.put_block(data, "wsl-path", BODY, True)


def _remove(data: bytes) -> object:
    return editors.put_block(data, "wsl-path", None, True)


def _has_no_block(data: bytes, name: str = "wsl-path") -> bool:
    try:
        return editors.get_block(data, name) is None
    except Problem:
        return False


def _count(data: bytes) -> tuple[int, int]:
    """Lines that are markers, however they end."""
    rows = [row.removesuffix(b"\r") for row in data.split(b"\n")]
    return sum(row in (BEGIN, NOTED) for row in rows), sum(row == END for row in rows)


def _around(put: bytes, body: str) -> tuple[bytes, bytes]:
    """What stands above and below our block, told by the block's own bytes."""
    for begin in (NOTED, BEGIN):
        block = begin + b"\n" + body.encode() + END + b"\n"
        for found in re.finditer(re.escape(block), put):
            if found.start() == 0 or put[found.start() - 1 : found.start()] == b"\n":
                return put[: found.start()], put[found.end() :]
    raise AssertionError(f"no block in {put!r}")


# ---- lines of an npmrc

ROWS = (
    "prefix=/a", "  prefix = /b  ", "; prefix=/c", "# prefix=/c", "\"prefix\"=/d", "'prefix' = /e", "prefixes=/f",
    "xprefix=/f", "prefix =", "prefix=\"/g\" ", "prefix=/h=i", "prefix=${HOME}/j", "prefix=/k ; why", "[s]", "  [s]",
    "[s] ; c", "[s]=", "[]", "[prefix]", "", "\t", "registry=https://r/", "//r/:_authToken=prefix=/l", "=prefix",
    "fund", "PREFIX=/m", "prefix.x=/n", "\u00fc=1", "\u00a0prefix=/o",
)  # fmt: skip
OURS = "prefix=~/.npm-global"

npmrcs = st.builds(
    lambda mark, rows: mark + "".join(row + end for row, end in rows),
    st.sampled_from(["", "\ufeff"]),
    st.lists(st.tuples(st.sampled_from(ROWS), st.sampled_from(["\n", "\r\n", "\r", "\n\n", ""])), max_size=6),
)


@dataclass(frozen=True)
class Read:
    """What npm makes of a file: the value of `prefix` (None: unset) and the line that decides it."""

    value: str | None
    line: str


def npm_reads(text: str) -> Read:
    """npm's `ini`, said again for one key at the top level. Checked against the real one below."""
    found = Read(None, "")
    for line in re.split("[\r\n]+", text):
        if re.match(r"[\s\ufeff]*([;#]|$)", line):
            continue
        if re.match(r"\[[^\]]*\][\s\ufeff]*$", line):
            break
        name, equals, value = line.partition("=")
        if name and equals and _unsafe(name) == "prefix":
            found = Read(_unsafe(value), line)
    return found


def _unsafe(text: str) -> str:
    text = text.strip(" \t\v\f\u00a0\ufeff")
    for quote in "'\"":
        if len(text) > 1 and text[0] == text[-1] == quote:
            inner = text[1:-1] if quote == "'" else text
            try:
                return str(json.loads(inner))
            except ValueError:
                return inner
    return re.split(r"(?<!\\)[;#]", text)[0].strip()


@settings(deadline=None)
@given(npmrcs)
@example("  [s]\nprefix=/a\n")
@example("[s]=\nprefix=/a\n")
@example("prefix=/a\nprefix=/b")
@example("\u00a0prefix=/a\n")
def test_the_line_that_decides_is_npm_s(text: str) -> None:
    assert editors.get_line(text.encode(), "prefix") == npm_reads(text).line.removeprefix("\ufeff")


@settings(deadline=None)
@given(npmrcs)
@example("  [s]\nprefix=/a\n")
@example("[s]\nprefix=/a")
@example("\ufeff")
@example("\ufeff[s]\n")
def test_npm_reads_what_was_put(text: str) -> None:
    put = editors.put_line(text.encode(), "prefix", OURS)
    assert npm_reads(put.decode()).value == "~/.npm-global"
    assert editors.get_line(put, "prefix") == OURS


@settings(deadline=None)
@given(npmrcs.map(str.encode) | profiles)
@example(b"prefix=/a")
@example(b"a=1\rprefix=/a\r\rb=2")
@example(b"prefix=\xff\x00\r\n")
def test_the_line_goes_back_to_its_own_spelling(data: bytes) -> None:
    before = editors.get_line(data, "prefix")
    put = editors.put_line(data, "prefix", OURS)
    assert editors.get_line(put, "prefix") == OURS
    assert editors.put_line(put, "prefix", before) == data


@settings(deadline=None)
@given(npmrcs.map(str.encode) | profiles)
def test_only_the_line_itself_changes(data: bytes) -> None:
    before = os.fsencode(editors.get_line(data, "prefix"))
    put = editors.put_line(data, "prefix", OURS)
    if before:
        assert put.count(OURS.encode()) == data.count(OURS.encode()) + 1 or before == OURS.encode()
        assert len(put) == len(data) - len(before) + len(OURS)
    else:
        assert put.replace(OURS.encode() + b"\n", b"", 1) == data


@settings(deadline=None)
@given(npmrcs.map(str.encode) | profiles)
def test_setting_it_twice_is_setting_it_once(data: bytes) -> None:
    once = editors.put_line(data, "prefix", OURS)
    assert editors.put_line(once, "prefix", OURS) == once


@settings(deadline=None)
@given(npmrcs)
def test_removing_the_line_leaves_the_others(text: str) -> None:
    data = text.encode()
    line = os.fsencode(editors.get_line(data, "prefix"))
    left = editors.put_line(data, "prefix", "")
    assert len(data) - len(left) in ((0,) if not line else (len(line), len(line) + 1, len(line) + 2))
    others = [row for row in re.split(b"[\r\n]+", data.removeprefix(editors.BOM)) if row and row != line]
    assert [row for row in re.split(b"[\r\n]+", left.removeprefix(editors.BOM)) if row and row != line] == others


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prefix=/a\n", "prefix=/a"),
        ("prefix=/a\nprefix=/b\n", "prefix=/b"),
        ("prefix=/a\n[s]\nprefix=/b\n", "prefix=/a"),
        ("; prefix=/a\n# prefix=/b\n", ""),
        ("\ufeffprefix=/a", "prefix=/a"),
        ("a=1\r\n prefix = \"/a\" ; c\r\n", " prefix = \"/a\" ; c"),
        ("//r/:_authToken=npm_x\nprefix-x=/a\n", ""),
        ("", ""),
    ],
    ids=[
        "a plain line", "the last one wins", "a section ends the file", "comments set nothing", "behind a mark",
        "its spelling is kept", "similar keys", "an empty file",
    ],
)  # fmt: skip
def test_the_deciding_line(text: str, line: str) -> None:
    assert editors.get_line(text.encode(), "prefix") == line


def test_a_huge_line_is_no_trouble() -> None:
    data = b"ca=" + b"x" * (8 << 20) + b"\nprefix=/a\n"
    assert editors.put_line(data, "prefix", OURS) == data[:-10] + OURS.encode() + b"\n"


# ---- the real parser


def test_npm_s_own_parser_agrees(needs: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Every pair of rows, with and without a byte order mark: read by npm's own `ini` before and after our edit."""
    needs("node")
    needs("npm")
    parser = os.path.join(os.path.dirname(os.path.realpath(shutil.which("npm") or "")), "..", "node_modules", "ini")
    if not os.path.isdir(parser):
        pytest.skip("needs npm's own parser (node_modules/ini beside npm), which this distribution keeps elsewhere")
    texts = [mark + "\n".join(rows) for mark in ("", "\ufeff") for rows in itertools.product(ROWS, repeat=2)]
    put = [editors.put_line(text.encode(), "prefix", OURS).decode() for text in texts]
    script = (
        "const ini = require(process.argv[1]); const chunks = []; process.stdin.on('data', c => chunks.push(c));"
        "process.stdin.on('end', () => console.log(JSON.stringify(JSON.parse(Buffer.concat(chunks))"
        ".map(text => ini.parse(text).prefix ?? null))))"
    )
    done = subprocess.run(
        [shutil.which("node") or "node", "-e", script, os.path.abspath(parser)],
        input=json.dumps(texts + put).encode(), capture_output=True, timeout=300, check=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"},
    )  # fmt: skip
    answers = json.loads(done.stdout)
    said, said_after = answers[: len(texts)], answers[len(texts) :]
    landed = sum(isinstance(each, str) for each in said)
    bad = [
        (text, npm)
        for text, npm in zip(texts, said)
        if isinstance(npm, (str, type(None))) and npm != npm_reads(text).value
    ]
    bad += [(text, npm) for text, npm in zip(put, said_after) if npm != "~/.npm-global"]
    with capsys.disabled():
        print(f"npmrc-by-npm points={len(answers)} landed={len(answers)} prefixes={landed} bad={len(bad)}")
    assert len(answers) == 2 * len(texts) > 1000
    assert landed > 500
    assert not bad, bad[:5]
