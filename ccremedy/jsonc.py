"""One member of a JSON file, also of one with comments and trailing commas: pure functions, bytes in, bytes out.

A member is named by the keys that lead to it, at least one; of duplicate keys the last counts, as for every parser.
Bytes outside of an edit stay as they are, whatever they are. `put` and `cut` at the same place are exact inverses. No
comment is lost but those within the value itself. No message tells what a file holds, only what it should hold there.
"""

from __future__ import annotations

import json
import re

from ccremedy.errors import Problem
from ccremedy.record import dataclass, is_list, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Span = tuple[int, int]
    Piece = tuple[int, str, str | None]  # offset in the gap; text; around the value: text before it and text behind it

_BOM = "\ufeff"
_NAME = "a name in double quotes"
_ALLOWED = {  # what is expected: the tokens that are that
    "a JSON value": ("string", "scalar", "open", "end"),
    "a value": ("string", "scalar", "open"),
    "a value or “]”": ("string", "scalar", "open", "bracket"),
    _NAME: ("string",),
    f"{_NAME} or “}}”": ("string", "brace"),
    "a colon": ("colon",),
    "a comma or “]”": ("comma", "bracket"),
    "a comma or “}”": ("comma", "brace"),
    "nothing more": ("end",),
}
_ITEM = {"}": _NAME, "]": "a value"}
_ITEM_OR_END = {close: f"{item} or “{close}”" for close, item in _ITEM.items()}
_NEXT = {"}": "a comma or “}”", "]": "a comma or “]”", "": "nothing more"}
_TOKEN = re.compile(  # without a repeated group: those take 200 bytes a round
    r'[ \t\r\n]*(?:(?P<string>"[^"\\\x00-\x1f]*")|(?P<comma>,)|(?P<colon>:)|(?P<open>[{[])|(?P<brace>})|(?P<bracket>])'
    r"|(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)"
    r'|(?P<comment>//[^\r\n]*|/\*(?s:.*?)\*/)|(?P<quote>")|(?P<end>\Z)|(?P<bad>))'
)
_BLANKS = re.compile(r"[ \t]*")
_LINE = re.compile(r"(?:\r\n?|\n)([ \t]*)")


@dataclass(frozen=True)
class _Object:
    """An object on the way to the member, or the file around it: the span inside its braces, its members, and which of
    them lead on. In a file the one member, if there is any, has no name."""

    start: int
    end: int
    members: list[tuple[int, int, int, int]]  # start and end of name, start and end of value
    wanted: list[int]
    commented: bool = False  # a comment stands directly in it

    def gap(self, index: int, count: int = 0) -> Span:
        """From behind the member before `index`, over `count` members, to the next one."""
        start = self.members[index - 1][3] if index else self.start
        return start, self.members[index + count][0] if index + count < len(self.members) else self.end


def parse(data: bytes, *, strict: bool = False) -> object:
    """The value; None where there is none. Problem, with line and column, for what is not JSON.

    Comments and trailing commas are accepted, unless `strict`.
    """
    text = _text(data)
    try:
        return _DECODER.decode(text.removeprefix(_BOM))
    except (ValueError, RecursionError):  # comments, damage, or deeper than the standard library goes
        pass  # and its error, which holds the whole text, ends here
    return _build(text, strict)


def get(data: bytes, keys: Sequence[str]) -> str | None:
    """The source text of the value, None where there is none. Problem where a parent is not an object."""
    text = _text(data)
    objects = _descend(text, keys)
    return text[slice(*_value(objects))] if _is_there(objects, keys) else None


def place(data: bytes, keys: Sequence[str]) -> str:
    """Where the member stands, or where it would be put: printable, for `put` and `cut`, and without its value."""
    text = _text(data)
    objects = _descend(text, keys)
    if _is_there(objects, keys):
        index = objects[-1].wanted[-1]
        span, spans = objects[-1].gap(index, 1), _spans(text, objects[-1], index)
        pieces = _pieces(text, spans, span[0], _value(objects))
    else:
        index = len(objects[-1].members)
        span, spans, pieces = objects[-1].gap(index), [], _fresh(text, objects, keys)
    return json.dumps([len(objects) - 1, index, _check(text, spans, *span), pieces])


def put(data: bytes, keys: Sequence[str], raw: str, place: str = "") -> bytes:
    """`data` with `raw`, JSON, as the value. A member that is not there is inserted, with its parents.

    It goes to `place` if that still fits, else to the end of its object. Problem if `raw` is not JSON.
    """
    text, raw = _text(data), _bare(raw)
    objects = _descend(text, keys)
    if _is_there(objects, keys):
        start, end = _value(objects)
        return _bytes(text[:start] + raw + text[end:])
    count = len(objects[-1].members)
    level, index, check, pieces = json.loads(place or "[null, 0, 0, []]")
    start, end = objects[-1].gap(min(index, count))
    if level != len(objects) - 1 or index > count or check != _check(text, [], start, end):
        start, pieces = objects[-1].gap(count)[0], _fresh(text, objects, keys)
    for offset, before, after in reversed(pieces):
        new = before if after is None else before + raw + after
        text = text[: start + offset] + new + text[start + offset :]
    return _bytes(text)


def cut(data: bytes, keys: Sequence[str], place: str = "") -> bytes:
    """`data` without the member, and without the parents that were made for it at `place` and hold nothing else.

    Problem where its object holds the key more than once: another one would come to count, and no place tells two.
    """
    text = _text(data)
    objects = _descend(text, keys)
    if not _is_there(objects, keys):
        return data
    if len(objects[-1].wanted) > 1:
        raise Problem(
            f"holds the key “{keys[-1]}” {len(objects[-1].wanted)} times in one object",
            todo="Remove all but the last of them with an editor, then try again",
        )
    made, _, check, pieces = json.loads(place) if place else (len(keys), 0, 0, list["Piece"]())
    level = made
    while level < len(keys) and not _is_alone(objects[level:]):
        level += 1
    index = objects[level].wanted[-1]
    start, end = objects[level].gap(index, 1)
    spans = _found(text, pieces, start, _value(objects)) if level == made else []
    if not spans or _check(text, spans, start, end) != check:
        spans = _spans(text, objects[level], index)
    return _bytes(_without(text, spans, 0, len(text)))


# ---- reading


def _tokens(text: str, start: int, end: int, depth: int, strict: bool = False) -> Iterator[tuple[int, str, int, int]]:
    """The names, values, braces and comments of one value: how many containers are around it, kind, start, end.

    What is deeper than `depth` is checked, and passed over.
    """
    around = [""]  # what closes the containers
    expected, kind, is_plain = "a JSON value", "", True
    while kind != "end":
        match = _TOKEN.match(text, start, end)
        kind = match.lastgroup or "" if match else ""
        at, start = match.span(kind) if match else (start, start)
        if kind == "quote" or (kind == "open" and is_plain and len(around) > depth):
            try:  # the standard library reads a string with escapes, or a whole container, faster than we
                start = _DECODER.raw_decode(text, at)[1]
                kind = "string" if kind == "quote" else "scalar"
            except (ValueError, RecursionError):
                is_plain = False  # its error counts the lines up to here: not again for each value
        if kind == "comment" and not strict:
            pass
        elif kind not in _ALLOWED[expected]:
            raise _damage(text, at, expected, kind)
        elif kind == "comma":
            expected = (_ITEM if strict else _ITEM_OR_END)[around[-1]]
            continue
        elif kind == "colon":
            expected = "a value"
            continue
        elif kind == "open":
            around.append("}" if text[at] == "{" else "]")
            expected = _ITEM_OR_END[around[-1]]
            if len(around) <= depth + 2:
                yield len(around) - 2, kind, at, start
            continue
        elif kind == "string" and expected.startswith(_NAME):
            kind, expected = "name", "a colon"
        else:
            if kind in ("brace", "bracket"):
                around.pop()
            expected = _NEXT[around[-1]]
        if len(around) <= depth + 1:
            yield len(around) - 1, kind, at, start


def _build(text: str, strict: bool) -> object:
    root: list[object] = []
    holders: list[object] = [root]
    names: list[str] = []
    for _, kind, start, end in _tokens(text, *_whole(text), len(text), strict):
        if kind == "name":
            names.append(_name(text[start:end]))
        elif kind in ("brace", "bracket"):
            holders.pop()
        elif kind in ("string", "scalar", "open"):
            value: object = _scalar(text[start:end]) if kind != "open" else {} if text[start] == "{" else []
            holder = holders[-1]
            if is_object(holder):
                holder[names.pop()] = value
            elif is_list(holder):
                holder.append(value)
            if kind == "open":
                holders.append(value)
    return root[0] if root else None


def _descend(text: str, keys: Sequence[str]) -> list[_Object]:
    """The file and the objects on the way to the member, outermost first, as far as they are there."""
    span, what = _whole(text), "the whole of it"
    objects = [_Object(*span, [], [])]
    for key in keys:
        found = _read(text, *span, key)
        if found is None and len(objects) == 1 and _root(text) is None:
            break  # an empty file
        if found is None:
            raise Problem(f"cannot be edited: {what} is not an object in braces")
        if len(objects) == 1:
            start, end = found.start - 1, found.end + 1
            objects = [_Object(*span, [(start, start, start, end)], [0])]
        objects.append(found)
        if not found.wanted:
            break
        span, what = _value(objects), f"the value of “{key}”"
    return objects


def _read(text: str, start: int, end: int, key: str) -> _Object | None:
    """The object that stands there; None for anything else."""
    members: list[tuple[int, int, int, int]] = []
    first = last = value = -1
    name, commented = (0, 0), False
    for depth, kind, at, to in _tokens(text, start, end, 1):
        if depth == 0 and kind == "open" and text[at] == "{":
            first = to
        elif depth == 0 and kind == "brace":
            last = at
        elif depth and kind == "comment":
            commented = True
        elif depth and kind == "name":
            name = (at, to)
        elif depth and kind == "open":
            value = at
        elif depth and kind in ("string", "scalar", "brace", "bracket"):
            members.append((*name, at if kind in ("string", "scalar") else value, to))
    wanted = [index for index, each in enumerate(members) if _name(text[each[0] : each[1]]) == key]
    return _Object(first, last, members, wanted, commented) if first > 0 else None


def _root(text: str) -> Span | None:
    """Where the value of a file stands."""
    found = [span for _, kind, *span in _tokens(text, *_whole(text), 0) if kind not in ("comment", "end")]
    return (found[0][0], found[-1][1]) if found else None


def _is_there(objects: list[_Object], keys: Sequence[str]) -> bool:
    return len(objects) > len(keys) and bool(objects[-1].wanted)


def _is_alone(objects: list[_Object]) -> bool:
    """Whether the first holds its key once, and the others hold nothing but what leads to the member."""
    return len(objects[0].wanted) == 1 and all(len(each.members) == 1 and not each.commented for each in objects[1:])


def _value(objects: list[_Object]) -> Span:
    return objects[-1].members[objects[-1].wanted[-1]][2:]


def _bare(raw: str) -> str:
    """`raw` without what stands around its value."""
    span = _root(raw)
    if span is None:
        raise _damage(raw, len(raw), "a value", "end")
    if re.search("[\ud800-\udc7f\udd00-\udfff]", raw):  # the rest stand for bytes that are not UTF-8
        raise Problem("is not valid JSON: it holds half of a surrogate pair, which must be escaped")
    return raw[slice(*span)]


def _name(token: str) -> str:
    return str(json.loads(token)) if "\\" in token else token[1:-1]


def _scalar(token: str) -> object:
    try:
        return json.loads(token)
    except ValueError:  # more digits than Python wants to read
        return float(token)


def _whole(text: str) -> Span:
    return int(text.startswith(_BOM)), len(text)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _damage(text: str, at: int, expected: str, kind: str) -> Problem:
    lines = re.split(r"\r\n?|\n", text[slice(_whole(text)[0], at)])
    what = f"{expected} is expected there"
    if kind == "end":
        what += ", but the file ends"
    elif kind == "comment":
        what = "a comment is not allowed there"
    elif kind == "quote":
        what = "the string that begins there has no end, or a character that must be escaped"
    elif text.startswith("/*", at):
        what = "the comment that begins there has no end"
    where = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    return Problem(f"is not valid JSON: {where}: {what}", todo="Correct it with an editor, then try again")


# ---- editing


def _spans(text: str, parent: _Object, index: int) -> list[Span]:
    """What goes when a member goes: all of it but comments, one comma, and the white space that only it needs."""
    start, end = parent.gap(index, 1)
    name, colon, value, behind = parent.members[index]
    before = _marks(text, start, name)
    tokens = [("name", name, colon), *_marks(text, colon, value), ("value", value, behind), *_marks(text, behind, end)]
    gone = [(at, to) for kind, at, to in tokens if kind != "comment"]
    stop = gone[-1][1]
    beyond = _past_blanks(text, stop)
    commented = bool(before) and text.startswith("//", before[-1][1])
    if any(kind == "comment" and at < stop for kind, at, _ in tokens):
        spans = [(at, _past_blanks(text, to)) for at, to in gone]
    elif text[beyond : beyond + 1] in ("", "\r", "\n") or (text[beyond] == "}" and not commented):
        spans = [(before[-1][2] if before else start, stop)]
    else:
        spans = [(name, beyond)]
    is_last = all(kind != "comma" for kind, *_ in tokens)
    return [(at, to) for kind, at, to in before if is_last and kind == "comma"] + spans


def _fresh(text: str, objects: list[_Object], keys: Sequence[str]) -> list[Piece]:
    """What is inserted for a member that is not there, at the end of the innermost object that is."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    indented = re.search(r'[\r\n]([ \t]+)"', text)
    unit = indented[1] if indented else "  "
    *_, innermost = objects
    start, end = innermost.gap(len(innermost.members))
    marks = _marks(text, start, end)
    point = marks[-1][2] if marks else start
    if len(objects) == 1:
        first = "" if start == end or text[-1] in "\r\n" else line_end
        before, after = _member(keys, line_end + unit, unit)
        return [(end - start, f"{first}{{{before}", f"{after}{line_end}}}{line_end}")]
    outer, lead = "", line_end
    for each in objects[1:]:
        outer, lead = lead, _lead(text, each, lead, line_end, unit)
    before, after = _member(keys[len(objects) - 2 :], lead, unit)
    if not innermost.members:
        return [(point - start, before, after if _LINE.search(text, point, end) or not lead else after + outer)]
    before = before if lead else " " + before
    if any(kind == "comma" for kind, *_ in marks):
        return [(point - start, before, after + ",")]
    return [(0, ",", None), (point - start, before, after)]


def _lead(text: str, each: _Object, outer: str, line_end: str, unit: str) -> str:
    """Line end and indentation of a new last member; '' where the members stand on one line."""
    count = len(each.members)
    lines = _LINE.findall(text, *each.gap(count - 1)) if count else []
    if lines:
        return line_end + str(lines[-1])
    return (outer or line_end) + unit if _LINE.search(text, *each.gap(count)) or (outer and not count) else ""


def _member(keys: Sequence[str], lead: str, unit: str) -> tuple[str, str]:
    """The text before and behind the value of a new member within its new parents."""
    before, after = f"{lead}{_quoted(keys[0])}: ", ""
    for key in keys[1:]:
        after = f"{lead}}}{after}"
        lead += unit if lead else ""
        before += f"{{{lead}{_quoted(key)}: "
    return before, after


def _pieces(text: str, spans: list[Span], start: int, value: Span) -> list[Piece]:
    """The spans as text and offsets in what is left without them."""
    pieces: list[Piece] = []
    for at, to in spans:
        holds = at <= value[0] < to
        pieces.append((at - start, text[at : value[0] if holds else to], text[value[1] : to] if holds else None))
        start += to - at
    return pieces


def _found(text: str, pieces: list[Piece], start: int, value: Span) -> list[Span]:
    """Where the pieces stand; empty if one of them does not."""
    spans: list[Span] = []
    for offset, before, after in pieces:
        at = start + offset
        to = at + len(before) if after is None else value[1] + len(after)
        if text[at:to] != (before if after is None else before + text[slice(*value)] + after):
            return []
        spans.append((at, to))
        start += to - at
    return spans


def _marks(text: str, start: int, end: int) -> list[tuple[str, int, int]]:
    """The comments, colons and commas between two other tokens."""
    found = ((each.lastgroup or "", each) for each in _TOKEN.finditer(text, start, end))
    return [(kind, *each.span(kind)) for kind, each in found if kind != "end"]


def _past_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _without(text: str, spans: list[Span], start: int, end: int) -> str:
    edges = [start, *(edge for span in spans for edge in span), end]
    return "".join(text[at:to] for at, to in zip(edges[::2], edges[1::2]))


def _check(text: str, spans: list[Span], start: int, end: int) -> int:
    """A number that tells whether a gap, without the spans, and what comes behind it are still the same."""
    import zlib  # only where something is edited

    return zlib.crc32(_bytes(_without(text, spans, start, end + 1)))


def _quoted(key: str) -> str:
    return json.dumps(key, ensure_ascii=not key.isprintable())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
