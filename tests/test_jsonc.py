"""The JSON editor: what it promises, on whole generated documents, and what VS Code's own parser makes of them."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, assume, errors, find, given, settings
from hypothesis import strategies as st
from real import jsonc_parser

from ccremedy import jsonc
from ccremedy.errors import Problem
from ccremedy.record import replace

# ---- documents: a text, and the value that it was written from

BOM = "\ufeff"
MARKS = [
    " ", "  ", "\t", "\n", "\r\n", "\n  ", "\n    ", "/* c */", "/**/", "/* \n * , \" } */", "// c\n", "//\r\n",
    " // d  \n", "// /* \r", "\n\n", "/*/ \u00e9\u00a0*/",
]  # fmt: skip
NAMES = [
    ('"a"', "a"), ('"b"', "b"), ('"env"', "env"), ('"\\u0065nv"', "env"), ('"k"', "k"), ('"\\u006b"', "k"), ('""', ""),
    ('"//x"', "//x"), ('"/* { */"', "/* { */"), ('"\\"q"', '"q'), ('"\u00e9"', "\u00e9"), ('"\\ud800"', "\ud800"),
]  # fmt: skip
SCALARS = [
    "1", "0", "-0", "-0.0", "1e5", "1E400", "-1E400", "12345678901234567890123", "0.1", "true", "false", "null", '""',
    '"a"', '"//"', '"\\\\"', '"\\"}, "', '"\u00e9 \\u00e9 \\/ \\n"', '"\\ud83d\\ude00"', '"\x7f\u2028"',
]  # fmt: skip
Made = tuple[str, Any]

gaps = st.lists(st.sampled_from(MARKS), max_size=2).map("".join)
names = st.sampled_from(NAMES)
scalars = st.sampled_from(SCALARS).map(lambda text: (text, json.loads(text)))


def _array(rows: list[tuple[str, Made, str]], comma: bool, end: str) -> Made:
    body = ",".join(before + text + after for before, (text, _), after in rows)
    return f"[{body}{',' * (comma and bool(rows))}{end}]", [value for _, (_, value), _ in rows]


def _object(rows: list[tuple[str, Made, str, str, Made, str]], comma: bool, end: str) -> Made:
    body = ",".join(g + name + h + ":" + i + text + j for g, (name, _), h, i, (text, _), j in rows)
    return f"{{{body}{',' * (comma and bool(rows))}{end}}}", {row[1][1]: row[4][1] for row in rows}


def _objects(values: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    rows = st.lists(st.tuples(gaps, names, gaps, gaps, values, gaps), max_size=4)
    return st.builds(_object, rows, st.booleans(), gaps)


def _tidy(value: object, indent: int | str | None, comment: str, comma: bool, line_end: str) -> Made:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if indent is not None:
        text = re.sub(r"([^{\[,]),?$(?=\n *[}\]])", r"\1,", text, flags=re.M) if comma else text
        text = re.sub(r"$(?!\Z)", lambda _: comment, text, flags=re.M)
    return text.replace("\n", line_end), value


values = st.recursive(
    scalars,
    lambda inner: (
        _objects(inner) | st.builds(_array, st.lists(st.tuples(gaps, inner, gaps), max_size=3), st.booleans(), gaps)
    ),
    max_leaves=6,
)
wild = _objects(_objects(values) | values)
plain = st.dictionaries(
    st.sampled_from(["a", "b", "env", "k"]),
    st.integers(0, 9)
    | st.just([1, {}])
    | st.dictionaries(st.sampled_from(["a", "b", "k"]), st.integers(0, 9), max_size=3),
    max_size=4,
)
tidy = st.builds(
    _tidy, plain, st.sampled_from([None, 2, 4, "\t"]), st.sampled_from(["", " // why", " /* why */  "]), st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
documents = st.builds(
    lambda mark, before, made, after: (mark + before + made[0] + after, made[1]),
    st.sampled_from(["", BOM]), gaps, wild | tidy, gaps | st.just("// no line end"),
)  # fmt: skip
nothings = st.tuples(st.sampled_from(["", BOM]), gaps, st.sampled_from(["", "// c"])).map(
    lambda parts: ("".join(parts), None)
)
paths = st.lists(st.sampled_from(["a", "b", "env", "k", "\u00e9", '"q', "new"]), min_size=1, max_size=3)
raws = st.one_of(
    st.sampled_from(SCALARS), st.sampled_from(["{}", "[]", '{"a": [1, // c\n 2,]}', '{\r\n"k":/**/{},}', '"\\u2028"'])
)

# ---- what is expected, said without the editor


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def same(one: object, two: object) -> bool:
    """Equal, and of equal types; whatever the order of members."""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


def parent(value: object, keys: Sequence[str]) -> dict[str, Any] | None:
    """The object that holds the member, None if it is not there."""
    for key in keys[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) and keys[-1] in value else None


def fits(value: object, keys: Sequence[str]) -> bool:
    """Whether all parents that are there are objects."""
    for key in keys:
        if not isinstance(value, dict):
            return False
        if key not in value:
            return True
        value = value[key]
    return True


def with_member(value: object, keys: Sequence[str], new: object) -> object:
    value = holder = copy.deepcopy(value) if isinstance(value, dict) else {}
    for key in keys[:-1]:
        holder = holder.setdefault(key, {})
    holder[keys[-1]] = new
    return value


def without_member(value: object, keys: Sequence[str]) -> object:
    value = copy.deepcopy(value)
    holder = parent(value, keys)
    assert holder is not None
    del holder[keys[-1]]
    return value


LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.S)


def comments(text: str) -> list[str]:
    return [found[0] for found in re.finditer(LEXEME, text) if found[0].startswith("/")]


def company(text: str) -> list[str]:
    """For each comment, what stands before it on its line: but blanks, commas and other comments."""
    text = re.sub(LEXEME, lambda found: "\0" if found[0].startswith("/") else found[0], text)
    lines = re.split(r"[\r\n]", text)
    return [re.sub(r"[ \t,\0]", "", line[: found.start()]) for line in lines for found in re.finditer("\0", line)]


def is_within(one: str, two: str) -> bool:
    """Whether all characters of one stand in two, in this order."""
    rest = iter(two)
    return all(each in rest for each in one)


def is_strict(data: bytes) -> bool:
    with contextlib.suppress(Problem):
        jsonc.parse(data, strict=True)
        return True
    return False


def differ_in_one_gap(shorter: bytes, longer: bytes) -> bool:
    """Whether all that the shorter text has where they differ is white space, comments and commas, all of it kept."""
    one, two = (each.decode("utf-8", "surrogateescape") for each in (shorter, longer))
    start = next((place for place, (a, b) in enumerate(zip(one, two)) if a != b), len(one))
    room = len(one) - start
    end = next((place for place, (a, b) in enumerate(zip(one[::-1], two[::-1])) if a != b or place >= room), room)
    middle = one[start : len(one) - end]
    in_a_gap = re.fullmatch(r"(?:[ \t\r\n,]|//[^\r\n]*|/\*.*?\*/)*", middle, re.S)
    return in_a_gap is not None and is_within(middle, two[start : len(two) - end])


# ---- the properties


def check_parse(text: str, value: object) -> None:
    assert same(jsonc.parse(encoded(text)), value)


def check_edit(text: str, value: object, keys: Sequence[str], raw: str) -> None:
    """All promises of one edit: P1 and P2 exact inverses, P3 comments, P4 values, P5 other bytes; strict stays so."""
    data = encoded(text)
    place = jsonc.place(data, keys)
    assert place.isascii()
    assert place.isprintable()
    old, new = jsonc.get(data, keys), jsonc.parse(raw.encode())
    put = jsonc.put(data, keys, raw, place)
    assert same(jsonc.parse(put), with_member(value, keys, new))
    assert jsonc.get(put, keys) == raw
    assert is_strict(put) or not is_strict(data) or not is_strict(raw.encode())
    if old is None:
        assert parent(value, keys) is None
        assert jsonc.cut(put, keys, place) == data
        assert jsonc.put(data, keys, raw) == put
        assert jsonc.cut(data, keys, place) == data
        assert comments(put.decode()) in interleavings(comments(text), comments(raw))
        assert differ_in_one_gap(data, put)
        if not comments(raw):
            assert all("}" in had or has == had for had, has in zip(company(text), company(put.decode())))
        check_cut(put.decode(), with_member(value, keys, new), keys)
    else:
        spans = [found.span() for found in re.finditer(re.escape(encoded(old)), data)]
        assert put in [data[:start] + raw.encode() + data[end:] for start, end in spans]
        check_cut(text, value, keys)


def check_cut(text: str, value: object, keys: Sequence[str]) -> None:
    data = encoded(text)
    place, old = jsonc.place(data, keys), jsonc.get(data, keys)
    if jsonc._descend(text, keys)[-1].wanted[1:]:
        with pytest.raises(Problem, match="times in one object"):
            jsonc.cut(data, keys)
        return
    left = jsonc.cut(data, keys)
    assert old is not None
    assert same(jsonc.parse(left), without_member(value, keys))
    assert jsonc.get(left, keys) is None
    assert jsonc.cut(data, keys, place) == left
    assert jsonc.put(left, keys, old, place) == data
    assert comments(text) in interleavings(comments(left.decode()), comments(old))
    assert differ_in_one_gap(left, data)
    assert is_strict(left) or not is_strict(data)


def interleavings(outer: list[str], inner: list[str]) -> list[list[str]]:
    return [outer[:place] + inner + outer[place:] for place in range(len(outer) + 1)]


Puts = list[tuple[list[str], str]]


def check_order(made: Made, puts: Puts, order: list[int], touch: Callable[[bytes], bytes]) -> None:
    """P6: taken back last first, several puts give the original; in any order after any edit, the other members."""
    states, places = [encoded(made[0])], list[str]()
    done: Puts = []
    for keys, raw in puts:
        here = jsonc.parse(states[-1])
        if fits(here or {}, keys) and parent(here, keys) is None:
            done.append((keys, raw))
            places.append(jsonc.place(states[-1], keys))
            states.append(jsonc.put(states[-1], keys, raw, places[-1]))
    left = states[-1]
    for (keys, _), place, state in zip(done[::-1], places[::-1], states[-2::-1]):
        left = jsonc.cut(left, keys, place)
        assert left == state
    left = touch(states[-1])
    for index in [each for each in order if each < len(done)]:
        (keys, raw), place = done[index], places[index]
        expected = jsonc.parse(left)
        if not fits(expected or {}, keys):
            continue
        again = jsonc.put(left, keys, raw, place)
        assert same(jsonc.parse(again), with_member(expected, keys, jsonc.parse(raw.encode())))
        left = jsonc.cut(left, keys, place)
        assert parent(jsonc.parse(left), keys) is None
        if parent(expected, keys) is not None:
            expected = without_member(expected, keys)
        assert same(pruned(jsonc.parse(left)), pruned(expected))
        again = jsonc.put(left, keys, raw, place)
        assert same(pruned(jsonc.parse(again)), pruned(with_member(expected, keys, jsonc.parse(raw.encode()))))


def pruned(value: object) -> object:
    """Without empty objects: of the parents that several puts shared, the last one taken back leaves the braces."""
    if not isinstance(value, dict):
        return value or {}
    inner = {key: pruned(each) if isinstance(each, dict) else each for key, each in value.items()}
    return {key: each for key, each in inner.items() if each != {}}


TOUCHES: dict[str, Callable[[bytes], bytes]] = {
    "leaves it": lambda data: data,
    "formats it": lambda data: json.dumps(jsonc.parse(data), indent=3).replace("Infinity", "1E400").encode(),
    "changes line ends": lambda data: data.replace(b"\r\n", b"\n"),
    "adds a member": lambda data: jsonc.put(data, ["zz"], "0"),
    "adds one in front": lambda data: re.sub(
        rb"\A((?:\s|//[^\r\n]*|/\*(?s:.*?)\*/|\xef\xbb\xbf)*\{)", rb'\1"zz": 0, ', data
    ),
    "comments everything": lambda data: re.sub(LEXEME.pattern.encode() + rb"|,", rb"\g<0>/* u */", data, flags=re.S),
    "removes a member": lambda data: _leniently(jsonc.cut, data, ["a"]),
    "removes a parent": lambda data: _leniently(jsonc.cut, data, ["env"]),
    "changes a value": lambda data: _leniently(jsonc.put, data, ["new"], "[]"),
    "adds beside ours": lambda data: _leniently(jsonc.put, data, ["env", "zz"], "0"),
}  # fmt: skip


def _leniently(edit: Callable[..., bytes], data: bytes, *arguments: object) -> bytes:
    with contextlib.suppress(Problem):
        return edit(data, *arguments)
    return data


files = documents | nothings
edits = st.tuples(files, paths, raws)
orders = st.tuples(
    st.tuples(st.just(""), st.none()) | st.tuples(tidy.map(lambda made: made[0]), st.none()) | files,
    st.lists(st.tuples(paths | st.sampled_from([["env", "new"], ["env", "X"], ["env"]]), raws), min_size=2, max_size=4),
    st.permutations(range(4)), st.sampled_from(sorted(TOUCHES)),
)  # fmt: skip


def check(kind: str, sample: Any) -> None:
    """One sample of `edits` or `orders`."""
    if kind == "edits":
        made, keys, raw = sample
        if fits(made[1] or {}, keys):
            check_edit(made[0], made[1], keys, raw)
    else:
        check_order(sample[0], sample[1], sample[2], TOUCHES[sample[3]])


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(files)
def test_the_value_is_what_was_written(made: Made) -> None:
    check_parse(*made)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(edits)
def test_an_edit_changes_its_member_and_nothing_else(sample: Any) -> None:
    check("edits", sample)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(tidy, paths)
def test_a_comment_stays_on_its_line_or_has_one_of_its_own(made: Made, keys: list[str]) -> None:
    text, value = made
    assume(fits(value, keys))
    if parent(value, keys) is None:
        return
    assume(not comments(jsonc.get(encoded(text), keys) or ""))
    left = jsonc.cut(encoded(text), keys).decode()
    assert all(has in (had, "") for had, has in zip(company(text), company(left)))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(orders)
def test_puts_are_taken_back_in_any_order_after_any_edit(sample: Any) -> None:
    check("orders", sample)


# ---- the twin: editors with a mistake planted in them


def _takes_the_rest_of_the_line(text: str, parent: Any, index: int) -> list[tuple[int, int]]:
    *spans, (start, end) = _SPANS(text, parent, index)
    rest = re.compile(r"[ \t]*//[^\r\n]*").match(text, end)
    return [*spans, (start, rest.end() if rest else end)]


def _takes_white_space_first(text: str, parent: Any, index: int) -> list[tuple[int, int]]:
    *spans, (start, end) = _SPANS(text, parent, index)
    return [*spans, (len(text[:start].rstrip()), end)]


def _forgets_the_comma(text: str, objects: Any, keys: Sequence[str]) -> list[Any]:
    return [piece for piece in _FRESH(text, objects, keys) if piece[1] != ","]


def _first_wins(text: str, start: int, end: int, key: str) -> Any:
    found = _READ(text, start, end, key)
    return found and replace(found, wanted=found.wanted[::-1])


_SPANS, _FRESH, _READ = jsonc._spans, jsonc._fresh, jsonc._read
MISTAKES: dict[str, tuple[str, str, object]] = {
    "cut takes the comment behind along": ("edits", "_spans", _takes_the_rest_of_the_line),
    "cut takes all white space before": ("edits", "_spans", _takes_white_space_first),
    "put forgets the comma": ("edits", "_fresh", _forgets_the_comma),
    "the first of duplicates wins": ("edits", "_read", _first_wins),
    "names are not escaped": ("edits", "_quoted", lambda key: f'"{key}"'),
    "escapes in names are not read": ("edits", "_name", lambda token: token[1:-1]),
    "a byte order mark is part of the value": ("edits", "_whole", lambda text: (0, len(text))),
    "the place always fits": ("orders", "_check", lambda *_: 0),
    "parents go whatever they hold": ("orders", "_is_alone", lambda _: True),
    "cut does not look at the place": ("orders", "_found", lambda *_: []),
}


def test_planted_mistakes_are_caught(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    missed = []
    for mistake, (kind, name, planted) in MISTAKES.items():
        with monkeypatch.context() as patch:
            patch.setattr(jsonc, name, planted)
            if not _is_caught(kind):
                missed.append(mistake)
    with capsys.disabled():
        print(f"\njsonc-twins points={len(MISTAKES)} landed={len(MISTAKES) - len(missed)} bad={len(missed)}", end=" ")
    assert not missed


def _is_caught(kind: str) -> bool:
    def goes_wrong(sample: Any) -> bool:
        try:
            check(kind, sample)
        except (AssertionError, Problem):
            return True
        return False

    quick = settings(max_examples=1000, deadline=None, derandomize=True, phases=[Phase.generate], database=None)
    try:
        find(edits if kind == "edits" else orders, goes_wrong, settings=quick)
    except errors.NoSuchExample:
        return False
    return True


# ---- the parser of VS Code


def test_vs_code_s_own_parser_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    """On the value of each document before and after an edit, and on which of them, damaged anywhere, are errors.

    It differs in three: it takes a BOM for damage (VS Code removes it before), a member named __proto__ for the
    prototype, and gives up on deep nesting.
    """
    texts, values = list[str](), list[object]()
    chance = random.Random(1)

    @settings(max_examples=600, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
    @given(edits)
    def collect(sample: Any) -> None:
        (text, value), keys, raw = sample
        texts.append(text)
        values.append(value)
        if fits(value or {}, keys):
            texts.append(jsonc.put(encoded(text), keys, raw).decode())
            values.append(with_member(value, keys, jsonc.parse(raw.encode())))
        for _ in range(4):
            texts.append(_damaged(text, chance))
            values.append(_NOT_KNOWN)

    collect()
    texts = [text.removeprefix(BOM) for text in texts]
    bad = list[str]()
    values_seen = damaged = 0
    for text, value, answer in zip(texts, values, jsonc_parser.read(texts)):
        try:
            ours: object = [_told(jsonc.parse(encoded(text)))]
        except Problem:
            ours = None
        values_seen += answer is not None
        damaged += answer is None
        if not same(ours, answer) or (value is not _NOT_KNOWN and not same(ours, [_told(value)])):
            bad.append(text)
    with capsys.disabled():
        print(
            f"\njsonc-by-vs-code points={len(texts)} landed={values_seen + damaged} errors={damaged} bad={len(bad)}",
            end=" ",
        )
    assert values_seen >= 2000
    assert damaged >= 500
    assert not bad, bad[:5]


_NOT_KNOWN = object()


def _damaged(text: str, chance: random.Random) -> str:
    """With one character, or a few, gone, replaced or put in."""
    place, length = chance.randrange(len(text) + 1), chance.choice([0, 1, 1, 3])
    instead = chance.choice(["", "", *'{}[],:"\\/*-0.e', "//", "/*", "\n", "\x01", "nul"])
    return f"{text[:place]}{instead}{text[place + length :]}"


def _told(value: object) -> object:
    """As the helper tells it: numbers by the digits of the double."""
    if isinstance(value, dict):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_told(each) for each in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"#": struct.pack(">d", float(value) or 0.0).hex()}
    return value


# ---- what cannot be read, and what cannot be edited


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6", "a colon is expected there"),
        ('{"a": 1\r\n "b": 2}', "line 2, column 2", "a comma or “}” is expected there"),
        ('{"a": [1 2]}', "line 1, column 10", "a comma or “]” is expected there"),
        ('{"a": }', "line 1, column 7", "a value is expected there"),
        ("{'a': 1}", "line 1, column 2", "a name in double quotes or “}” is expected there"),
        ('{"a": 1', "line 1, column 8", "a comma or “}” is expected there, but the file ends"),
        (BOM + '{"a": "x\ny"}', "line 1, column 7", "has no end, or a character that must be escaped"),
        ('{"a": "\\x"}', "line 1, column 7", "has no end, or a character that must be escaped"),
        ('{"\u00e9\u00e9": 1\r/* c', "line 2, column 1", "the comment that begins there has no end"),
        ("{} {}", "line 1, column 4", "nothing more is expected there"),
        ("[,]", "line 1, column 2", "a value or “]” is expected there"),
        ("[NaN]", "line 1, column 2", "a value or “]” is expected there"),
        ('{"a": 01}', "line 1, column 8", "a comma or “}” is expected there"),
        ("[" * 100_000, "line 1, column 100001", "a value or “]” is expected there, but the file ends"),
        ("\x00{}", "line 1, column 1", "a JSON value is expected there"),
    ],
    ids=[
        "no colon", "no comma in an object", "no comma in a list", "no value", "single quotes", "the file ends",
        "a string over two lines", "an unknown escape", "a comment without an end", "two values", "only a comma",
        "not a number", "a leading zero", "deep and unfinished", "not text",
    ],
)  # fmt: skip
def test_damage_is_told_by_line_and_column(text: str, where: str, expected: str) -> None:
    for ask in (jsonc.parse, _get_x, _put_x, _cut_x):
        with pytest.raises(Problem) as caught:
            ask(encoded(text))
        assert where in caught.value.what
        assert expected in caught.value.what
        assert caught.value.todo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, // c\n}', "line 1, column 10: a comment is not allowed there"),
        ('{\n"a": 1,}', "line 2, column 8: a name in double quotes is expected there"),
        ("[1,]", "line 1, column 4: a value is expected there"),
    ],
    ids=["a comment", "a comma at the end of an object", "a comma at the end of a list"],
)
def test_strict_json_has_neither_comments_nor_trailing_commas(text: str, expected: str) -> None:
    assert jsonc.parse(text.encode()) is not None
    with pytest.raises(Problem) as caught:
        jsonc.parse(text.encode(), strict=True)
    assert expected in caught.value.what


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        ("[1]", ["x"], "the whole of it is not an object"),
        ("null", ["x"], "the whole of it is not an object"),
        ('{"env": null}', ["env", "x"], "the value of “env” is not an object"),
        ('{"env": {"a": [{}]}}', ["env", "a", "x"], "the value of “a” is not an object"),
    ],
    ids=["a list", "null", "null for a parent", "a list for a parent"],
)
def test_a_parent_that_is_not_an_object_stops_every_edit(text: str, keys: list[str], expected: str) -> None:
    data = text.encode()
    edits = [jsonc.get, jsonc.place, jsonc.cut, lambda data, keys: jsonc.put(data, keys, "1")]
    for edit in cast("list[Callable[[bytes, list[str]], object]]", edits):
        with pytest.raises(Problem, match=expected):
            edit(data, keys)


def test_a_key_that_stands_there_twice_is_replaced_but_not_cut() -> None:
    data = b'{"x": 1, "\\u0078": 2}'
    assert jsonc.get(data, ["x"]) == "2"
    assert jsonc.put(data, ["x"], "3", jsonc.place(data, ["x"])) == b'{"x": 1, "\\u0078": 3}'
    with pytest.raises(Problem, match="holds the key “x” 2 times") as caught:
        jsonc.cut(data, ["x"], jsonc.place(data, ["x"]))
    assert caught.value.todo


@pytest.mark.parametrize("raw", ["", "x", "1 2", "1,", '"a', "{", "// c", '"\n"', '"\ud800"'], ids=repr)
def test_a_value_that_is_not_json_is_not_put(raw: str) -> None:
    with pytest.raises(Problem, match="is not valid JSON"):
        jsonc.put(b"{}", ["x"], raw)


def test_what_stands_around_a_new_value_is_not_put() -> None:
    assert jsonc.put(b'{"x": 1}', ["x"], " [2, // c\n] // d") == b'{"x": [2, // c\n]}'


def test_no_message_and_no_place_holds_a_value() -> None:
    data = b'{"env": {"x": "s3cret", "y": s3cret}}'
    with pytest.raises(Problem) as caught:
        jsonc.get(data, ["env", "x"])
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in jsonc.place(data.replace(b": s3cret", b": 1"), ["env", "x"])


# ---- how it looks


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        ("", ["env", "x"], '{\n  "env": {\n    "x": 0\n  }\n}\n'),
        ("{}\n", ["x"], '{\n  "x": 0\n}\n'),
        ('{"a":1}', ["env", "x"], '{"a":1, "env": {"x": 0}}'),
        ('{\r\n\t"a": 1\r\n}', ["env", "x"], '{\r\n\t"a": 1,\r\n\t"env": {\r\n\t\t"x": 0\r\n\t}\r\n}'),
        ('{\n    "a": 1 // why\n}\n', ["x"], '{\n    "a": 1, // why\n    "x": 0\n}\n'),
        ('{\n  "a": 1, // why\n  // end\n}\n', ["x"], '{\n  "a": 1, // why\n  // end\n  "x": 0,\n}\n'),
        ('{\n  "env": {}\n}\n', ["env", "x"], '{\n  "env": {\n    "x": 0\n  }\n}\n'),
        ("// mine", ["x"], '// mine\n{\n  "x": 0\n}\n'),
    ],
    ids=[
        "an empty file", "an empty object", "on one line", "tabs and CRLF", "the comment stays on its line",
        "a trailing comma", "an empty parent", "only a comment",
    ],
)  # fmt: skip
def test_a_new_member_looks_like_its_neighbours(before: str, keys: list[str], after: str) -> None:
    place = jsonc.place(before.encode(), keys)
    assert jsonc.put(before.encode(), keys, "0", place).decode() == after
    assert jsonc.cut(after.encode(), keys, place).decode() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "a": 1,\n  "x": 0, // about x\n  "b": 2\n}', '{\n  "a": 1,\n  // about x\n  "b": 2\n}'),
        ('{\n  "a": 1, // about a\n  "x": 0\n}', '{\n  "a": 1 // about a\n}'),
        ('{"x": 0, "b": 2}', '{"b": 2}'),
        ('{ "a": 1, "x": 0 }', '{ "a": 1 }'),
        ('{"a": 1, "x" /* c */ : // d\n 0 /* e */, "b": 2}', '{"a": 1, /* c */ // d\n /* e */"b": 2}'),
        ('{ // c\n"x": 0 }', "{ // c\n}"),
    ],
    ids=[
        "a comment behind it",
        "the last one",
        "the first one",
        "on one line",
        "comments within",
        "a comment before it",
    ],
)
def test_what_is_left_looks_as_if_it_had_never_been_there(before: str, after: str) -> None:
    place = jsonc.place(before.encode(), ["x"])
    assert jsonc.cut(before.encode(), ["x"], place).decode() == after
    assert jsonc.put(after.encode(), ["x"], "0", place).decode() == before


# ---- depth and size


def test_deep_nesting_is_no_trouble() -> None:
    deep = b"[" * 100_000 + b'{"x": 1}' + b"]" * 100_000
    value = jsonc.parse(deep)
    for _ in range(100_000):
        assert isinstance(value, list)
        (value,) = value
    assert value == {"x": 1}
    data = b'{"deep": ' + deep + b', "x": 1}'
    put = jsonc.put(data, ["env", "y"], deep.decode())
    assert put == data[:-1] + b', "env": {"y": ' + deep + b"}}"
    assert jsonc.cut(put, ["env"]) == data
    path = ["a"] * 300
    put = jsonc.put(b"", path, "1", place := jsonc.place(b"", path))
    assert jsonc.cut(put, path, place) == b""


def test_numbers_longer_than_python_reads_are_numbers() -> None:
    data = b"[" + b"9" * 5000 + b"]"
    assert jsonc.parse(data) == [float("inf")]


class _Counted:
    """The scanner, counting the characters that it goes over."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.work = inner, 0

    def match(self, text: str, start: int, end: int) -> Any:
        found = self.inner.match(text, start, end)
        self.work += 1 + found.end() - found.start()
        return found

    def finditer(self, text: str, start: int, end: int) -> Iterator[Any]:
        for found in self.inner.finditer(text, start, end):
            self.work += 1 + found.end() - found.start()
            yield found

    def raw_decode(self, text: str, start: int) -> Any:
        try:
            found = self.inner.raw_decode(text, start)
        except json.JSONDecodeError as error:
            self.work += error.pos  # it counts the lines up to there
            raise
        self.work += 1 + found[1] - start
        return found


SHAPES: dict[str, Callable[[int], str]] = {
    "members": lambda n: "{" + ",\n".join(f'"a{i}": {i}' for i in range(n)) + "}",
    "members with comments": lambda n: "{" + ",// c\n".join(f'"a{i}": [{i}, /* c */]' for i in range(n)) + "}",
    "white space": lambda n: "{" + " \n" * n + "}",
    "comments": lambda n: "{" + "//\n/**/" * n + "}",
    "escapes": lambda n: '{"a": "' + "\\n" * n + '"}',
    "depth": lambda n: '{"a": ' + "[" * n + "]" * n + "}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_no_faster_than_the_file(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: characters gone over by put, cut and get together, for each one of the file."""
    shares = []
    # Depths that no version of Python's own decoder takes: where it gives up, the same is read once more.
    for count in (20_000, 160_000) if shape == "depth" else (2_000, 16_000):
        tokens, decoder = _Counted(jsonc._TOKEN), _Counted(jsonc._DECODER)
        with monkeypatch.context() as patch:
            patch.setattr(jsonc, "_TOKEN", tokens)
            patch.setattr(jsonc, "_DECODER", decoder)
            data = SHAPES[shape](count).encode()
            put = jsonc.put(data, ["env", "x"], "1", place := jsonc.place(data, ["env", "x"]))
            assert jsonc.get(put, ["env", "x"]) == "1"
            assert jsonc.cut(put, ["env", "x"], place) == data
        shares.append((tokens.work + decoder.work) / len(data))
    assert shares[1] < 1.1 * shares[0]
    assert shares[1] < 16


def _get_x(data: bytes) -> object:
    return jsonc.get(data, ["x"])


def _put_x(data: bytes) -> object:
    return jsonc.put(data, ["x"], "1")


def _cut_x(data: bytes) -> object:
    return jsonc.cut(data, ["x"])
