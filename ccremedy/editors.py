"""The marked block of a start-up file, the lines that set a variable, the key line of an npmrc: bytes in, bytes out.

Every byte outside of what is edited stays as it is, whatever it is: CRLF, a BOM, no final newline, not UTF-8. Taking
edits back, the last one first, gives the bytes from before them.
"""

from __future__ import annotations

import re

from ccremedy.errors import Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

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


# ---- UTF-16, in which Windows PowerShell 5.1 writes what is redirected to a file

_UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def as_utf8(data: bytes) -> bytes:
    """What begins with the mark of UTF-16 as UTF-8, without the mark; anything else as it is."""
    encoding = _UTF_16.get(data[:2])
    return data[2:].decode(encoding, "replace").encode() if encoding else data


def encoded_like(data: bytes, edited: bytes) -> bytes:
    """What `as_utf8` made of `data`, edited, in the encoding of `data`."""
    encoding = _UTF_16.get(data[:2])
    if not encoding:
        return edited
    if edited == as_utf8(data):
        return data
    if why := utf_16_obstacle(data):
        raise Problem(why)
    try:
        return data[:2] + edited.decode().encode(encoding)
    except UnicodeError:
        raise Problem("is UTF-16, which cannot hold what is not text") from None


def utf_16_obstacle(data: bytes) -> str:
    """Why such a file would not be the same again: half a character, or UTF-32, whose mark begins in the same way."""
    try:
        data[2:].decode(_UTF_16[data[:2]])
    except UnicodeError:
        return "is UTF-16 with half a character in it, which ccremedy does not edit"
    return "is UTF-32, which ccremedy does not edit" if data[2:4] == b"\0\0" else ""


# ---- entries of a list with semicolons (PATH of Windows)


def get_entry(text: str, entry: str) -> str:
    """The entry as it stands in the list, '' where it does not. Letter case and a last backslash make no difference.

    Where it stands more than once: all of them, so that nobody takes the list for one that holds just ours.
    """
    return ";".join(part for part in text.split(";") if part and same_entry(part, entry))


def put_entry(text: str, entry: str, there: bool) -> str:
    """`text` with the entry before the others, or without it; the rest is as it was, empty entries and all."""
    parts = text.split(";") if text else []
    if not there:
        place = next((index for index, part in enumerate(parts) if part == entry), None)
        return text if place is None else ";".join(parts[:place] + parts[place + 1 :])
    return text if get_entry(text, entry) else ";".join([entry, *parts])


def same_entry(one: str, other: str) -> bool:
    """Whether two entries name the same directory, as far as one can tell without looking. Blanks count."""
    first, second = (each.strip('"').replace("/", "\\").rstrip("\\").lower() for each in (one, other))
    return first == second


# ---- assignments: lines that give a variable a value that stands in the file itself

_BARE = r"[\w@%+=:,./!^\[\]-]"  # stands for itself in a word, whatever is around it; # does behind another character
_WORD = rf"""(?:(?:'[^'\n]*'|"(?:[^"\\$`\n]|\\[^\n])*"|\\[^\n]|{_BARE})(?:#(?=[^\s;]|$))*)*"""
_FISH = rf"""(?:(?:'(?:[^'\\\n]|\\[^\n])*'|"(?:[^"\\$\n]|\\[^\n])*"|\\[^\w\n]|{_BARE})(?:#(?=[^\s;]|$))*)*"""
_SINGLE, _DOUBLE = "'‘’‚‛", '"“”„'  # what PowerShell takes for a quote; two in a row are the second of them
_COMMENT = r"(?:(?<=[ \t;])#[^\n]*)?"
_LEADS = {
    "sh": r"(?:export[ \t]+|(?:declare|typeset)[ \t]+-[gr]*x[gr]*[ \t]+)?{name}=(?!=)",
    "fish": r"set(?:[ \t]+-(?:-(?:global|export|universal|local|function|unexport)|[gxUlfu]+))*[ \t]+{name}[ \t]+",
    "env": r"(?:export[ \t]+)?{name}[ \t]*=[ \t]*",
    "npmrc": r"[\"']?{name}[\"']?[ \t]*=[ \t]*",
    "powershell": r"(?i:\$(?:env:{name}|\{{env:{name}\}})[ \t]*=[ \t]*"
    r"|(?P<call>\[(?:System\.)?Environment\]::SetEnvironmentVariable\([ \t]*(?P<q>['\"]){name}(?P=q)[ \t]*,[ \t]*)"
    r"|Set-Item[ \t]+(?:-Path[ \t]+)?Env:\\?{name}[ \t]+(?:-Value[ \t]+)?)",
}
_VALUES = {
    "sh": _WORD,
    "fish": _FISH,
    "env": r"""'[^'\n]*'|"(?:[^"\\\n]|\\[^\n])*"|[^\s'"#\n][^#\n]*?""",
    "npmrc": r"[^;#\n]*?",
    "powershell": rf"[{_SINGLE}](?:[^{_SINGLE}\r\n]|[{_SINGLE}]{{2}})*[{_SINGLE}]"
    rf"|[{_DOUBLE}](?:[^{_DOUBLE}`$\r\n]|[{_DOUBLE}]{{2}}|`[^0abefnrtuv\r\n])*[{_DOUBLE}]",
}
_ENDS = {
    "sh": r"[ \t]*(?:;[ \t]*(?:export[ \t]+{name}[ \t]*;?[ \t]*)?)?" + _COMMENT,
    "fish": r"[ \t]*;?[ \t]*" + _COMMENT,
    "env": r"[ \t]*(?:#[^\n]*)?",
    "npmrc": r"[ \t]*(?:[;#][^\n]*)?",
    "powershell": r"(?i:(?(call)[ \t]*(?:,[ \t]*(?:(?P<other>['\"])Process(?P=other)"
    r"|\[(?:System\.)?EnvironmentVariableTarget\]::Process)[ \t]*)?\)))"
    r"[ \t]*(?:;[ \t]*)?(?:(?<=[ \t;])#[^\r\n]*)?",
}
_ASIDE = r"(?:: )?# ccremedy has put {name} aside[^\n]*"


@dataclass(frozen=True)
class Assigned:
    """A line that sets a variable (without its line end): how it spells the value, and what the value is."""

    line: str
    raw: str
    value: str
    aside: bool  # a comment of ours stands in the place of such a line
    number: int  # of the line, from 1


def get_assignments(data: bytes, name: str, syntax: str) -> list[Assigned]:
    """The lines that set `name` to something that stands there in full; not those that compute it."""
    text = _text(_decoded(data, syntax))
    found: list[Assigned] = []
    for match in _assignments(name, syntax, text):
        raw, number = match["raw"] or "", text.count("\n", 0, match.start("line")) + 1
        found.append(Assigned(match["line"], raw, unquote(raw, syntax), match["raw"] is None, number))
    return found


def put_assignments(data: bytes, name: str, syntax: str, lines: str) -> bytes:
    """`data` with these lines instead of those that `get_assignments` finds. Problem where they are not as many."""
    text, wanted = _text(_decoded(data, syntax)), lines.split("\n") if lines else []
    found = _assignments(name, syntax, text)
    if len(found) != len(wanted):
        raise Problem(f"has {len(found)} lines that set {name}, not {len(wanted)}")
    for match, line in zip(reversed(found), reversed(wanted)):
        text = text[: match.start("line")] + line + text[match.end("line") :]
    return encoded_like(data, _bytes(text)) if syntax != "npmrc" else _bytes(text)


def _decoded(data: bytes, syntax: str) -> bytes:
    return as_utf8(data) if syntax != "npmrc" else data  # npm makes nothing of UTF-16


def put_aside(lines: str, name: str, syntax: str, why: str) -> str:
    """Such lines as comments that say why; in a start-up file still a command, so that an `if` around it keeps one.

    PowerShell needs none there. Windows PowerShell 5.1 takes a file for ANSI where it has no mark, so it is ASCII.
    """
    if syntax == "powershell":
        why = why.encode("ascii", "replace").decode()
    lead = ": # " if syntax in ("sh", "fish") else "# "
    comment = f"{lead}ccremedy has put {name} aside: {why}"
    return "\n".join(re.sub(r"^([ \t]*)[^\r]*", rf"\g<1>{comment}", line, count=1) for line in lines.split("\n"))


def is_aside(lines: str) -> bool:
    return bool(re.search(_ASIDE.format(name=r"\S+"), lines))


def unquote(raw: str, syntax: str) -> str:
    """What a shell, or whoever reads such a file, makes of a word without expansions."""
    if syntax == "npmrc" or (syntax == "env" and not raw.startswith(('"', "'"))):
        return raw.strip().strip("\"'") if syntax == "npmrc" else raw
    if syntax == "powershell":
        twice = _SINGLE if raw[:1] in tuple(_SINGLE) else f"{_DOUBLE}`"
        return re.sub(f"[{twice}](.)", r"\1", raw[1:-1])
    in_double = r"\\([\"\\$])" if syntax == "fish" else r"\\([\"\\$`])"
    in_single = r"\\(['\\])" if syntax == "fish" else r"(?!)()"

    def part(found: re.Match[str]) -> str:
        text = found[0]
        if text.startswith("'"):
            return re.sub(in_single, r"\1", text[1:-1])
        if text.startswith('"'):
            return re.sub(in_double, r"\1", text[1:-1])
        return text[1:]

    return re.sub(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", part, raw, flags=re.S)


# What is no line of its own: in a here-document, behind a line that goes on, in a section of an npmrc.
_INSIDE = {
    "sh": r"(?<!<)<<-?[ \t]*[\\'\"]?(\w+)[^\n]*\n(?s:.*?)^\t*\1$|\\\n[^\n]*",
    "fish": r"\\\n[^\n]*",
    "npmrc": r"^\[[^\]\n]*\]\s*?$(?s:.*)",
}


def _assignments(name: str, syntax: str, text: str) -> list[re.Match[str]]:
    word = re.escape(name)
    lead, end, aside = (part.format(name=word) for part in (_LEADS[syntax], _ENDS[syntax], _ASIDE))
    mark = "(?:\\A\ufeff)?" if syntax == "powershell" else ""
    line = re.compile(rf"^{mark}(?P<line>[ \t]*(?:{lead}(?P<raw>{_VALUES[syntax]}){end}|{aside})\r?)$", re.M)
    found = list(line.finditer(text))
    if syntax == "powershell":
        starts: set[int] = set(_statements(text)) if found else set()
        return [each for each in found if each.start("line") in starts and not _goes_on(text, each.end())]
    inside = re.finditer(_INSIDE.get(syntax, r"(?!)"), text, re.M) if found else ()
    spans = [each.span() for each in inside]
    return [each for each in found if not any(start < each.start() < end for start, end in spans)]


def _goes_on(text: str, place: int) -> bool:
    """Whether what follows takes up the value of the line before (PowerShell 7)."""
    return bool(re.compile(r"(?:\s|#[^\r\n]*(?=[\r\n]|\Z)|<#(?:[^#]|#(?!>))*#>)*(?:\||\??\.\w|::)").match(text, place))


def _statements(text: str) -> Iterator[int]:
    """The lines of PowerShell that can be statements: not within strings, comments, lists or a line that goes on.

    It stops where it cannot tell; what follows is then seen by whoever looks for keys, and not edited. A signature
    would not fit any more if anything were.
    """
    if re.search(r"^# SIG # Begin signature block", text, re.M | re.I):
        return
    token, around = re.compile(_powershell()), [""]
    place = 1 if text.startswith("\ufeff") else 0
    last = ";"  # the character behind which we are, but for blanks, comments and line ends
    yield place
    while found := token.match(text, place):
        kind, place = found.lastgroup, found.end()
        if kind == "line" and around[-1] in ("", "{", "$(", "@(") and last not in "=,]|&.:":
            yield place
        elif kind == "open":
            behind = text[found.start() - 1 : found.start()]
            # An index, or a pattern, and not a type, behind which a line may end.
            is_index = found[0] == "[" and last != "]" and behind not in " \t\r\n;{}(|&,="
            around.append("x[" if is_index else found[0])
            last = ";"
        elif kind == "close":
            opened = around.pop()
            if opened not in _PAIRS[found[0]]:
                return
            last = "x" if opened == "x[" else found[0]
        elif kind == "text":
            last = "x" if found[0] == ".." else found[0][-1]


_PAIRS = {")": ("(", "$(", "@("), "}": ("{", "@{"), "]": ("[", "x[")}


def _powershell() -> str:
    """What a PowerShell script is made of, as far as it matters where a statement begins."""
    nested = r"\((?:[^()])*\)"
    for _ in range(6):  # in double quotes only these are counted, whatever else is between them
        nested = rf"\((?:[^()]|{nested})*\)"
    here = r"@[{0}][ \t]*(?=[\r\n])(?s:.*?)(?<=[\r\n])[{0}]@"
    inner = rf"[^{_DOUBLE}`$]|[{_DOUBLE}]{{2}}|`(?s:.)|\${nested}|\$\{{[^{{}}`]*\}}|\$(?![({{])"
    parts = {
        "blank": r"[^\S\r\n]+|(?<!\w)<#(?s:.*?)#>|(?<![^\s;{}()|&,\ufeff])#[^\r\n]*",
        # Behind anything else it begins a comment in an expression and none in a command. Where it makes no difference:
        "either": rf"#[^\r\n{_SINGLE}{_DOUBLE}(){{}}\[\]<@`]*(?=[\r\n]|\Z)",
        "line": r"\r\n?|\n",
        "text": "|".join(
            [
                here.format(_SINGLE),
                here.format(_DOUBLE),
                rf"[{_SINGLE}](?:[^{_SINGLE}]|[{_SINGLE}]{{2}})*[{_SINGLE}]",
                rf"[{_DOUBLE}](?:{inner})*[{_DOUBLE}]",
                r"\w+|\.\.|\$\{[^{}`]*\}|`\r\n|`(?s:.)",
                r'(?<=[ \t])--%(?:"[^"\r\n]*"?|[^"|\r\n])*',  # all of which is for the program
                rf"@(?![{{(]|[{_SINGLE}{_DOUBLE}][ \t]*[\r\n])|<(?!#)|\$(?![({{])",
                rf"[^\s{_SINGLE}{_DOUBLE}`#@$<(){{}}\[\]]",
            ]
        ),
        "open": r"[$@]\(|@\{|[({\[]",
        "close": r"[)}\]]",
    }
    return "|".join(f"(?P<{kind}>{part})" for kind, part in parts.items())
