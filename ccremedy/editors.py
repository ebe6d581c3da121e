"""The marked block of a start-up file and the key line of an npmrc: pure functions, bytes in, bytes out.

Every byte outside of what is edited stays as it is, whatever it is: CRLF, a BOM, no final newline, not UTF-8. Taking
edits back, the last one first, gives the bytes from before them.
"""

from __future__ import annotations

import re

from ccremedy.errors import Problem

BOM = b"\xef\xbb\xbf"


# ---- blocks


def get_block(data: bytes, name: str) -> str | None:
    """The text between the markers of block `name`; None where there is no such block. Problem if it is damaged."""
    found = _find_block(data, name)
    return None if found is None else _text(found["body"])


def put_block(data: bytes, name: str, body: str | None, at_end: bool) -> bytes:
    """`data` with block `name` holding `body` (None: without the block). A block that exists keeps its place."""
    found = _find_block(data, name)
    if found is not None:
        start, end = found.span()
        if body is not None:
            return data[: found.start("body")] + _bytes(body) + data[found.end("body") :]
        if found["newline"] and end == len(data) and data[:start].endswith(b"\n"):
            start -= 1  # the line end that we added before the block; unless something was written behind us
        return data[:start] + data[end:]
    if body is None:
        return data
    place = len(data) if at_end else _top(data)
    unfinished = place > 0 and not data[:place].endswith(b"\n")
    lead = b"\n" if unfinished else b""
    note = " (the line end before this line is ours too)" if unfinished else ""
    block = f"# >>> ccremedy {name}{note} >>>\n{body}# <<< ccremedy {name} <<<\n"
    return data[:place] + lead + _bytes(block) + data[place:]


def _find_block(data: bytes, name: str) -> re.Match[bytes] | None:
    mark = re.escape(name.encode())
    begin = rb"^# >>> ccremedy " + mark + rb"(?P<newline> \([^)\n]*\))? >>>(?:\r?\n|\Z)"
    end = rb"^# <<< ccremedy " + mark + rb" <<<(?:\r?\n|\Z)"
    begins, ends = len(re.findall(begin, data, re.M)), len(re.findall(end, data, re.M))
    if not begins and not ends:
        return None
    found = re.search(begin + rb"(?P<body>(?s:.*?))" + end, data, re.M)
    if begins != 1 or ends != 1 or found is None:
        raise Problem(
            f"holds {begins} beginnings and {ends} ends of the ccremedy block “{name}”, not one of each",
            todo="Remove what is left of that block with an editor, then try again",
        )
    return found


def _top(data: bytes) -> int:
    """Where a block at the beginning goes: behind a first line that must stay first (#! or a byte order mark)."""
    if data.startswith((b"#!", BOM)):
        return data.find(b"\n") + 1 or len(data)
    return 0


# ---- lines of an npmrc


def get_line(data: bytes, key: str) -> str:
    """The line that decides `key` (npm lets the last one win), without its line end; '' where there is none."""
    found = _find_line(data, key)
    return "" if found is None else _text(data[slice(*found)])


def put_line(data: bytes, key: str, line: str) -> bytes:
    """`data` with the deciding line of `key` replaced by `line` ('': removed, with its line end).

    A new line goes to the top, behind a BOM: there it can neither join a last line without an end nor fall into a
    section, which npm would not read.
    """
    found = _find_line(data, key)
    if found is None:
        place = len(BOM) if data.startswith(BOM) else 0
        return data[:place] + _bytes(line) + b"\n" + data[place:] if line else data
    start, end = found
    if not line:
        tail = re.match(rb"\r?\n", data[end:])
        return data[:start] + data[end + (tail.end() if tail else 0) :]
    return data[:start] + _bytes(line) + data[end:]


def _find_line(data: bytes, key: str) -> tuple[int, int] | None:
    found, place = None, 0
    for raw in data.splitlines(keepends=True):
        line = raw.rstrip(b"\r\n")
        if re.match(rb"\[[^\]]*\]\s*$", line):  # npm takes one behind a blank or a BOM for no section
            break  # whatever follows belongs to it
        name, equals, _ = line.partition(b"=")
        if (
            equals and _text(name).replace("\ufeff", " ").strip().strip("\"'") == key
        ):  # it takes blanks of any kind, and a BOM, off a key
            start = place + (len(BOM) if line.startswith(BOM) else 0)
            found = (start, place + len(line))
        place += len(raw)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
