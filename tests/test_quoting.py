"""A value in a start-up file reaches what the shell starts byte for byte, and no part of it is ever a command.

Each shell reads, at an interactive start and from its own start-up file, the very lines that the product writes. Twins
that quote as people do (double quotes; a csh as if it were a sh) are caught. A NUL can stand in no environment: the
places that values come from refuse it.

What is for Windows goes through Wine's cmd.exe into a Windows program that says which words it was given, and through
own readers of what Microsoft publishes: where Wine is known to differ, and where there is no PowerShell.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ccremedy import Block, Problem, editors, registry
from ccremedy.network import read_proxy
from ccremedy.shells import export, quote, typed
from ccremedy.testing import Case, Rig

Needs = Callable[[str], None]
Spell = Callable[[str, str], str]  # a shell and a text: the text as a word of that shell

# Where each shell looks at an interactive start, and how it is started.
STARTS = {
    "bash": (".bashrc", "-ic"),
    "dash": (".dashrc", "-ic"),  # $ENV
    "zsh": (".zshrc", "-ic"),
    "ksh": (".kshrc", "-ic"),  # $ENV
    "fish": (".config/fish/config.fish", "-ic"),
    "tcsh": (".tcshrc", "-c"),
}
_LINES = {"fish": "set -gx {} {}\n", "tcsh": "setenv {} {}\n"}  # elsewhere `export`
POINTS = 20_000  # for each shell
BATCH = 500

# ---- values that want out. `hit` is the file by which one would be seen.

COMMANDS = (
    "touch hit", "$(touch hit)", "`touch hit`", "${x:=`touch hit`}", "$((`touch hit`))", "$[`touch hit`]",
    "; touch hit", "&& touch hit", "|| touch hit", "| tee hit", "& touch hit", "\ntouch hit\n", "\r\ntouch hit\r\n",
    "'; touch hit; '", '"; touch hit; "', "\\'; touch hit; \\'", "'\ntouch hit\n'", "\\\ntouch hit\n", "(touch hit)",
    "{ touch hit; }", "<(touch hit)", ">(touch hit)", "=(touch hit)", "<<X\n$(touch hit)\nX\n", "<<<$(touch hit)",
    "$'\\x27; touch hit'", "; touch hit #", "\n# <<< ccremedy proxy-ca <<<\ntouch hit\n", "eval 'touch hit'",
    "exec >hit", ">hit", ">>hit", ">&hit", "'`touch hit`'", "'$(touch hit)'", "${(e):-`touch hit`}", "%{`touch hit`%}",
    "begin; touch hit; end", "and touch hit", "!!; touch hit", "!touch", "a b c$(touch hit)", "\\`touch hit\\`",
    "\\$(touch hit)",
)  # fmt: skip
MEANINGS = (
    "!", "!!", "!$", "!-1", "!?x?", "^a^b^", "\\!", "'!'", "~", "~root", "~+", "=ls", "*", "?", "[a-z]", "**", "/*",
    "{a,b}", "{1..9}", "$HOME", "${HOME}", "$?", "$$", "$#", "%1", "#", " # x", "-n", "-", "--", "-x", "\\", "\\\\",
    "a\\", "'", "''", "'''", '"', "'\"'", "\\'", "‘’“”", "´", "\u00a0", "\u2028", "\ufeff", "é", "日本", "😀", "\u202e",
    "\t", " ", "", "  a  ", "\n", "\n\n", "\\\n", "\r", "\r\n", "a\r", "\x01", "\x07", "\x1b[2J", "\x7f", "\x80",
    "\udcff", "\udc80", "\udcc3(", "\uf6ff", "\ue000", "\ufdd0", "a=b", "A=1 B=2", "a:b", ";", "&", "|", "<", ">", "()",
    "a;b", "if", "end", "fi", "}",
)  # fmt: skip
LONG = ("x" * 10_240, "é" * 5_120, "\udcff" * 10_240, "'" * 2_560, "!\n\\'" * 2_560, "$(touch hit)" * 788)


def _hostile(count: int) -> list[str]:
    """All of the above, alone and joined by chance; the same ones each time."""
    draw = random.Random(count)
    values = list(dict.fromkeys([*COMMANDS, *MEANINGS, *LONG]))
    seen = set(values)
    while len(values) < count:
        value = "".join(draw.choice(draw.choice((COMMANDS, MEANINGS))) for _ in range(draw.randint(2, 5)))
        if value not in seen:
            seen.add(value)
            values.append(value)
    return values


def _lines(shell: str, values: dict[str, str], spell: Spell) -> str:
    line = _LINES.get(shell, "export {}={}\n")
    return "".join(line.format(name, spell(shell, value)) for name, value in values.items())


# ---- a fresh shell that has read them


class Fresh:
    """A home, an empty working directory, and one shell; what a start of it leaves there is a command that ran."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.home, self.here = shell, folder / "home", folder / "here"
        name, self.flags = STARTS[shell]
        self.file = self.home / name
        self.file.parent.mkdir(parents=True)
        self.here.mkdir()
        self.env = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "ENV": str(self.file),
        }
        self.quiet = self._start(b"")  # what it says and exports by itself

    def _start(self, lines: bytes) -> tuple[dict[bytes, bytes], bytes]:
        self.file.write_bytes(lines)
        with tempfile.TemporaryFile() as out:  # a pipe would be waited on by what escapes
            done = subprocess.run(
                [self.shell, self.flags, "/usr/bin/env -0"], cwd=self.here, env=self.env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.PIPE, timeout=60, start_new_session=True, check=False,
            )  # fmt: skip
            out.seek(0)
            listing = out.read()
        env = dict(entry.split(b"=", 1) for entry in listing.split(b"\0") if b"=" in entry)
        return env, done.stderr

    def faults(self, values: Sequence[str], spell: Spell) -> tuple[int, list[str]]:
        """How many values came to a start that has read them all, and what was wrong there."""
        named = {f"CCREMEDY_{number}": value for number, value in enumerate(values)}
        env, said = self._start(os.fsencode(_lines(self.shell, named, spell)))
        own, usually_said = self.quiet
        wrong = [
            f"{value!r} became {env.get(name.encode())!r}"
            for name, value in named.items()
            if env.get(name.encode()) != os.fsencode(value)
        ]
        more = env.keys() - own.keys() - {name.encode() for name in named}
        wrong += [f"{name!r} was set too" for name in more]
        wrong += [f"{name!r} changed" for name in own if env and env.get(name) != own[name] and name != b"_"]
        wrong += [f"it ran a command: there is a file {name!r}" for name in self._left()]
        if _without_numbers(said) != _without_numbers(usually_said):
            wrong.append(f"it says {said[:200]!r}")
        return sum(name.encode() in env for name in named), wrong

    def _left(self) -> Iterator[str]:
        for each in list(self.here.iterdir()):
            each.unlink()
            yield each.name


def _without_numbers(said: bytes) -> bytes:
    """Process numbers differ."""
    return bytes(byte for byte in said if not chr(byte).isdigit())


@pytest.mark.parametrize("shell", STARTS)
def test_a_fresh_shell_exports_the_very_bytes_and_runs_nothing(
    shell: str, tmp_path: Path, needs: Needs, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(shell)
    fresh, values, landed, bad = Fresh(shell, tmp_path), _hostile(POINTS), 0, []
    for start in range(0, len(values), BATCH):
        came, wrong = fresh.faults(values[start : start + BATCH], quote)
        landed += came
        bad += wrong
    with capsys.disabled():
        print(f"\nshell-values shell={shell} points={len(values)} landed={landed} bad={len(bad)}", end=" ")
    assert not bad[:5]
    assert landed == len(values) >= POINTS


def _in_double_quotes(shell: str, text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _as_in_sh(shell: str, text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


TWINS: dict[str, Spell] = {"double quotes": _in_double_quotes, "no quotes": lambda shell, text: text}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("shell", STARTS)
def test_quoting_as_people_do_is_caught(shell: str, twin: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    fresh = Fresh(shell, tmp_path)
    found = [wrong for value in COMMANDS for wrong in fresh.faults([value], TWINS[twin])[1]]
    assert any("became" in each for each in found)
    assert any("it ran a command" in each for each in found)


@pytest.mark.parametrize("value", ["a!b", "!!", "a\nb", "x'!\n'y"], ids=ascii)
def test_quoting_for_a_sh_is_caught_in_a_csh(value: str, tmp_path: Path, needs: Needs) -> None:
    needs("tcsh")
    assert Fresh("tcsh", tmp_path).faults([value], _as_in_sh)[1]


@pytest.mark.parametrize("value", ["a\\", "x\\'y", "\\\\"], ids=ascii)
def test_quoting_for_a_sh_is_caught_in_fish(value: str, tmp_path: Path, needs: Needs) -> None:
    needs("fish")
    assert Fresh("fish", tmp_path).faults([value], _as_in_sh)[1]


# ---- the product's own lines, and what comes to them


def _proxy_ca(files: dict[str, object], *options: str) -> Case:
    facts = {"platform": "linux", "files": files, "shells": ["bash", "zsh", "fish"], "options": list(options)}
    return Case("x", registry.remedy("proxy-ca"), facts)


def test_the_product_writes_just_these_lines(tmp_path: Path, needs: Needs) -> None:
    for shell in ("zsh", "fish"):
        needs(shell)
    machine = _proxy_ca({}, "profile").build(str(tmp_path / "root"))
    values = {"NO_PROXY": "it's\\", "NODE_EXTRA_CA_CERTS": "/$(touch hit)/`x`!"}
    changes = list(import_module("ccremedy.remedies._env").changes(machine, values, ""))
    written = {each.resource.shell: each.after for each in changes if isinstance(each.resource, Block)}
    assert written == {shell: _lines(shell, values, quote) for shell in ("bash", "zsh", "fish")}


@pytest.mark.parametrize("url", ["http://a\0b:80", "http://me:p\0@a:80", "http://a:80\0", "\0http://a:80"], ids=ascii)
def test_a_proxy_with_a_nul_is_refused(url: str) -> None:
    with pytest.raises(Problem):
        read_proxy(url)


@pytest.mark.parametrize("name", ["NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "NO_PROXY", "ANTHROPIC_BASE_URL"])
def test_a_nul_in_the_settings_neither_stops_us_nor_gets_into_a_start_up_file(name: str, tmp_path: Path) -> None:
    text = json.dumps({"env": {"HTTPS_PROXY": "http://proxy.corp:3128", name: "/a\0b"}})
    found = Rig.make(_proxy_ca({"~/.claude/settings.json": text}, "profile"), str(tmp_path)).diagnose()
    assert not found.failed
    assert all("\0" not in (change.after or "") for finding in found.findings for change in finding.changes)


def test_a_value_cannot_end_the_block_that_it_stands_in(tmp_path: Path) -> None:
    machine = _proxy_ca({}, "profile").build(str(tmp_path / "root"))
    values = {"NODE_EXTRA_CA_CERTS": "/x\n# <<< ccremedy proxy-ca <<<\ny.pem"}
    data = b"# mine\n"
    with contextlib.suppress(Problem):  # refused is as good: nothing is written that could not be taken back
        for change in import_module("ccremedy.remedies._env").changes(machine, values, ""):
            data = editors.put_block(data, "proxy-ca", change.after, at_end=False)
            assert editors.get_block(data, "proxy-ca") == change.after
    assert editors.put_block(data, "proxy-ca", None, at_end=False) == b"# mine\n"


# ---- Windows: values that want out of a word of cmd.exe, or out of one of the program that it starts

CMD_COMMANDS = (
    "& echo x>hit", "&& echo x>hit", "|| echo x>hit", "| more>hit", ">hit", ">>hit", "2>hit", "<hit", "(echo x>hit)",
    '"& echo x>hit &"', '\\"& echo x>hit &\\"', '"|more>hit|"', "^& echo x>hit", "^^& echo x>hit", '^"& echo x>hit&^"',
    '"^& echo x>hit', "a& echo x>hit& rem ", ") & echo x>hit & (", '" " & echo x>hit & " "', "%OS%& echo x>hit",
    "%=&echo x>hit&%", '""& echo x>hit &""', '"""& echo x>hit', "&echo x>hit^", "for %i in (hit) do echo x>%i",
    "if 1==1 echo x>hit", "call echo x>hit", "@echo x>hit", "$(touch hit)", "`touch hit`", "; touch hit",
    "\"; touch hit",
)  # fmt: skip
CMD_MEANINGS = (
    "%", "%%", "%OS%", "%os%", "%OS:~0,3%", "%OS:Win=%", "%OS:*_=%", "%PATH%", "%CD%", "%RANDOM%", "%DATE%", "%TIME%",
    "%ERRORLEVEL%", "%=C:%", "%1", "%*", "%~dp0", "%i", "%%i", "%OS", "OS%", ":~0,3%", "^%OS^%", "%^OS%", "100%",
    "!", "!OS!", "!OS:~1!", "^!", "^", "^^", "^^^", "&", "|", "<", ">", "(", ")", "@", ",", ";", "=", "+", "~", "[",
    "]",
    "{", "}", "'", "`", "$", "#", "*", "?", "*.*", "/?", "/c", "-x", "--", '"', '""', '"""', '\\"', '\\\\"', '\\\\\\"',
    '"\\', "\\", "\\\\", "\\\\\\", "C:\\", "C:\\a b\\", "\\\\server\\share\\", "a\\b", " ", "  ", "\t", "", "a", "x y",
    " lead", "trail ", "'a'", "rem", "::", "NUL", "CON", "é", "日本", "😀", "‘’‚‛“”„", "\u00a0", "\u2028", "\ufeff",
    "\u202e", "\x01", "\x07", "\x1b[2J", "\x7f",
)  # fmt: skip
CMD_LONG = ("x" * 4_000, "é" * 2_000, '"' * 800, "%" * 800, "\\" * 2_000, '\\"' * 700, "%OS%" * 300, " " * 4_000)
WINDOWS_POINTS = 5_000
LINE = 8_191  # characters that cmd.exe takes
WORDS_C = Path(__file__).parent / "real" / "words.c"


def _drawn(kinds: Sequence[Sequence[str]], more: Sequence[str] = (), wanted: Callable[[str], bool] = bool) -> list[str]:
    """All of these, alone and joined by chance, as many as are wanted; the same ones each time."""
    draw = random.Random(WINDOWS_POINTS)
    values = dict.fromkeys(value for value in (*(each for kind in kinds for each in kind), *more) if wanted(value))
    while len(values) < WINDOWS_POINTS:
        value = "".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randint(2, 5)))
        if wanted(value):
            values[value] = None
    return list(values)


def _hostile_to_cmd() -> list[str]:
    return _drawn((CMD_COMMANDS, CMD_MEANINGS), CMD_LONG, lambda value: True)


Batch = list[str]


def _batches(values: Sequence[str], spelled: Sequence[str], room: int) -> Iterator[tuple[Batch, Batch]]:
    """The values, and beside them their spellings, in runs that fit on a line."""
    run: tuple[Batch, Batch] = ([], [])
    for value, word in zip(values, spelled):
        if run[0] and sum(len(each) + 1 for each in run[1]) + len(word) > room:
            yield run
            run = ([], [])
        run[0].append(value)
        run[1].append(word)
    yield run


class Cmd:
    """Wine's cmd.exe, an empty working directory, and a program that says which words it was given."""

    def __init__(self, folder: Path) -> None:
        self.here, self._folder = folder / "here", folder
        self.here.mkdir()
        place = folder / "Jörg Müller (x64)"
        place.mkdir()
        self.program = f"Z:{place}\\words.exe".replace("/", "\\")
        compiler = ["x86_64-w64-mingw32-gcc", "-municode", "-O1", "-o", str(place / "words.exe"), str(WORDS_C)]
        subprocess.run([*compiler, "-lshell32"], check=True)
        self._words = str(place / "words.exe")
        self._env = {
            "HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "WINEPREFIX": str(folder / "prefix"),
            "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder=",
        }  # fmt: skip
        self._wine("wineboot", "-i")

    def close(self) -> None:
        subprocess.run(["wineserver", "-k"], env=self._env, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)  # 700 MB

    def _wine(self, *words: str) -> bytes:
        done = subprocess.run(
            ["wine", *words], env=self._env, cwd=self.here, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=300, check=False,
        )  # fmt: skip
        return done.stdout

    def ask(self, lines: Sequence[str]) -> list[list[tuple[str, str]]]:
        """For each line that is given to `cmd /d /s /c`, raw, what the program printed: marks and texts (words.c)."""
        assert all(len(line) < LINE and "\n" not in line for line in lines)
        (self._folder / "lines").write_text("".join(f'cmd /d /s /c "{line}"\n' for line in lines), "utf-8")
        answers = self._wine(self._words, f"@Z:{self._folder}/lines").decode("utf-8", "replace").split("end\r\n")[:-1]
        assert len(answers) == len(lines)
        return [[_printed(line) for line in answer.splitlines()] for answer in answers]

    def words(self, lines: Sequence[str]) -> list[list[str] | str]:
        """The words that each line's program was given; or what was wrong with that."""
        found: list[list[str] | str] = []
        for answer in self.ask(lines):
            marks = "".join(mark for mark, _ in answer)
            runtime, shell = ([text for mark, text in answer if mark == each] for each in "=+")
            whole = re.fullmatch(r">=*\+*\.", marks) and runtime == shell
            found.append(runtime if whole else f"{marks}, {runtime} for the C runtime, {shell} for CommandLineToArgvW")
        return found

    def left(self) -> list[str]:
        """What was written into the working directory: a command has run."""
        names = [each.name for each in self.here.iterdir()]
        for name in names:
            (self.here / name).unlink()
        return names


def _printed(line: str) -> tuple[str, str]:
    try:
        return line[:1], bytes.fromhex(line[1:]).decode()
    except ValueError:
        return "?", line


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Cmd]]:
    """Made when it is first asked for, because a prefix takes seconds."""
    made: list[Cmd] = []

    def get() -> Cmd:
        if not made:
            made.append(Cmd(tmp_path_factory.mktemp("wine")))
        return made[0]

    yield get
    for each in made:
        each.close()


@pytest.fixture
def cmd(wine: Callable[[], Cmd], needs: Needs) -> Cmd:
    for program in ("wine", "wineserver", "x86_64-w64-mingw32-gcc"):
        needs(program)
    return wine()


def _report(capsys: pytest.CaptureFixture[str], what: str, points: int, landed: int, bad: Sequence[object]) -> None:
    with capsys.disabled():
        print(f"\n{what} points={points} landed={landed} bad={len(bad)}", end=" ")


def test_under_wine_cmd_hands_over_the_very_words_and_runs_nothing(
    cmd: Cmd, capsys: pytest.CaptureFixture[str]
) -> None:
    values = _hostile_to_cmd()
    program = quote("either", cmd.program)
    batches = list(_batches(values, [quote("cmd", value) for value in values], LINE - 200))
    answers = cmd.words([f"{program} {' '.join(words)}" for _, words in batches])
    bad = [(then, now) for (then, _), now in zip(batches, answers) if now != then]
    landed = sum(len(now) for now in answers if isinstance(now, list))
    _report(capsys, "words shell=cmd asked=wine", len(values), landed, bad)
    assert not bad[:2]
    assert landed == len(values) >= WINDOWS_POINTS
    assert not cmd.left()


def _listed(text: str) -> str:
    """What programs take for a quoted word that start others without cmd."""
    return subprocess.list2cmdline([text])


CMD_TWINS: dict[str, Callable[[str], str]] = {
    "no quotes": lambda text: text,
    "double quotes": lambda text: _in_double_quotes("", text),
    "quotes for the program only": _listed,
    "carets for cmd only": lambda text: re.sub(r"[^\w]", r"^\g<0>", text, flags=re.A),
    "doubled percent signs": lambda text: quote("cmd", text).replace("^%", "^%^%"),
    "percent signs within the quotes": lambda text: '"' + text.replace('"', '""') + '"',
}


@pytest.mark.parametrize("twin", CMD_TWINS)
def test_under_wine_quoting_for_cmd_as_people_do_is_caught(twin: str, cmd: Cmd) -> None:
    values = [*CMD_COMMANDS, "%OS%", '"', "a b", "a\\"]
    answers = cmd.words([f"{quote('either', cmd.program)} {CMD_TWINS[twin](value)}" for value in values])
    assert any(now != [then] for then, now in zip(values, answers))
    assert bool(cmd.left()) == (twin in ("no quotes", "double quotes", "quotes for the program only"))


# ---- cmd.exe and Windows programs, as Microsoft publishes them


class Escaped(Exception):
    """More than one word: an operator of cmd was seen, or a name between two percent signs."""


def _as_cmd_reads(line: str) -> str:
    """A line of the prompt, or behind /c, as it is handed on. Every name is one of a variable that exists, unless it
    begins with what no name does.

    Names come first, in quotes or not; then quotes and carets. Wine 8 takes the carets away before it looks for names,
    so that `^%OS^%` is `Windows_NT` there and %OS% in Windows: a % that only carets protect is tested here only.
    """
    if re.search(r'%(?![%"^])[^%:]+(?::[^%]*)?%', line):
        raise Escaped("a name")
    if re.search(r"[\r\n\0]", line):
        raise Escaped("a line end")
    read, quoted, rest = "", False, iter(line)
    for character in rest:
        if character == '"':
            quoted = not quoted
        elif not quoted and character == "^":
            character = next(rest, "")
        elif not quoted and character in "&|<>()":
            raise Escaped(character)
        read += character
    return read


def _words(line: str, older: bool) -> list[str]:
    """A command line, split. `older`: as CommandLineToArgvW and the runtimes before 2008 take two quotes in a row."""
    words: list[str] = []
    word, quoted, place = None, False, 0
    while place < len(line):
        slashes = len(line) - place - len(line[place:].lstrip("\\"))
        place += slashes
        following = line[place : place + 1]
        if following == '"':
            word = (word or "") + "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            elif quoted and line[place + 1 : place + 2] == '"':
                word, quoted, place = word + '"', not older, place + 1
            else:
                quoted = not quoted
            place += 1
        elif slashes:
            word = (word or "") + "\\" * slashes
        elif following in " \t" and not quoted:
            words += [] if word is None else [word]
            word, place = None, place + 1
        else:
            word, place = (word or "") + following, place + 1
    return [*words, *([] if word is None else [word])]


def _given(line: str) -> list[str] | str:
    """The words of a program that is started by this line of cmd."""
    try:
        read = _as_cmd_reads(line)
    except Escaped as escaped:
        return f"it escaped by {escaped}"
    older, newer = _words(read, older=True), _words(read, older=False)
    return newer if older == newer else f"{older} or {newer}"


def test_simulated_cmd_hands_over_the_very_words(capsys: pytest.CaptureFixture[str]) -> None:
    values = _hostile_to_cmd()
    batches = list(_batches(values, [quote("cmd", value) for value in values], LINE - 200))
    answers = [_given(" ".join(words)) for _, words in batches]
    bad = [(then, now) for (then, _), now in zip(batches, answers) if now != then]
    landed = sum(len(now) for now in answers if isinstance(now, list))
    _report(capsys, "words shell=cmd asked=reference", len(values), landed, bad)
    assert not bad[:2]
    assert landed == len(values) >= WINDOWS_POINTS


@pytest.mark.parametrize("twin", [*CMD_TWINS, "carets and quotes"])
def test_simulated_quoting_for_cmd_as_people_do_is_caught(twin: str) -> None:
    def careted(text: str) -> str:  # whose %OS:~0,3^% has a name
        return re.sub(r'[()%!^"<>&|]', r"^\g<0>", _listed(text))

    spell = CMD_TWINS.get(twin, careted)
    found = [_given(spell(value)) for value in (*CMD_COMMANDS, *CMD_MEANINGS)]
    assert any(now != [then] for then, now in zip((*CMD_COMMANDS, *CMD_MEANINGS), found))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r'"abc" d e', ["abc", "d", "e"]),
        (r'a\\b d"e f"g h', [r"a\\b", "de fg", "h"]),
        (r"a\\\"b c d", [r"a\"b", "c", "d"]),
        (r'a\\\\"b c" d e', [r"a\\b c", "d", "e"]),
        ('a"b"" c d', ['ab" c d']),
    ],
    ids=ascii,
)
def test_the_reference_splits_microsofts_own_examples(line: str, words: list[str]) -> None:
    assert _words(line, older=False) == words


@pytest.mark.parametrize("shell", ["cmd", "either"])
@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\r", "a\r\n"], ids=ascii)
def test_what_no_command_line_of_windows_can_hold_is_refused(shell: str, text: str) -> None:
    with pytest.raises(Problem, match=r"NUL|line end"):
        quote(shell, text)


# ---- set, of cmd


def _set_value(line: str) -> str:
    read = _as_cmd_reads(line.removesuffix("\n"))
    assert read.startswith("set ")
    tail = read[4:]
    if tail.startswith('"'):
        tail = tail[1 : tail.rindex('"')]
    return tail.partition("=")[2]


def _settable() -> list[str]:
    return [value for value in _hostile_to_cmd() if value]


def test_simulated_cmd_sets_the_very_values(capsys: pytest.CaptureFixture[str]) -> None:
    values = _settable()
    bad = [value for value in values if _set_value(export("cmd", "CCREMEDY_X", value)) != value]
    _report(capsys, "set shell=cmd asked=reference", len(values), len(values), bad)
    assert not bad[:5]


def test_under_wine_cmd_sets_the_very_values_and_runs_nothing(cmd: Cmd, capsys: pytest.CaptureFixture[str]) -> None:
    values = _drawn((CMD_COMMANDS, CMD_MEANINGS), CMD_LONG, lambda value: bool(value) and "%" not in value)  # see above
    spelled = [export("cmd", f"C{number}", value).removesuffix("\n") for number, value in enumerate(values)]
    batches = list(_batches(values, spelled, LINE - 3_000))
    lines, number = [], 0
    for then, sets in batches:
        names = " ".join(f"C{number + each}" for each in range(len(then)))
        lines.append(f"{'&'.join(sets)}&{quote('either', cmd.program)} $names {names}")
        number += len(then)
    answers = [[text for mark, text in answer if mark == "$"] for answer in cmd.ask(lines)]
    bad = [(then, now) for (then, _), now in zip(batches, answers) if now != then]
    _report(capsys, "set shell=cmd asked=wine", len(values), sum(map(len, answers)), bad)
    assert not bad[:2]
    assert not cmd.left()


@pytest.mark.parametrize("spell", ["set {}={}", 'set "{}={}"'])
def test_simulated_setting_as_people_do_is_caught(spell: str) -> None:
    def fails(value: str) -> bool:
        try:
            return _set_value(spell.format("CCREMEDY_X", value)) != value
        except Escaped:
            return True

    assert any(map(fails, CMD_COMMANDS))
    assert fails("%OS%")


@pytest.mark.parametrize("value", ["", "a\0b", "a\nb"], ids=ascii)
def test_what_no_variable_of_cmd_can_hold_is_refused(value: str) -> None:
    with pytest.raises(Problem):
        export("cmd", "X", value)


# ---- one spelling for cmd and for a POSIX shell

EITHER = (
    "C:\\", "C:/", "C:\\Users\\", "Jörg Müller", "Program Files (x86)", "\\.venv\\Scripts\\python.exe", "/bin/x", "\\",
    "\\\\server\\share\\", "a b", "-c", "import sys", "; ", "sys.path[:] = [sys.argv.pop(1)]", "*filter(None, x)",
    "print('it is')", "{a: 1}", "a & b", "| more", "<x>", "^", "~", "~root", "#", "?", "é日本😀", "\t", "", "x=y", "@x",
    "echo x>hit", "& echo x>hit &", "; touch hit;", "'", "''; touch hit; ''", "\\n", "\\t", "\\x", "+", ",", "=", "",
    "key", "print", "a\\", "b", " ", "C:\\Program Files\\x y\\", "--flag", "[a-z]", "%", "!", "$HOME", "`x`", '"', "$",
)  # fmt: skip
PYTHON_PATH = r"C:\Users\Jörg Müller\.venv\Scripts\python.exe"
CODE = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; from ccremedy.cli import main;"
    " sys.exit(main())"
)


def _either(text: str) -> str | None:
    try:
        return quote("either", text)
    except Problem:
        return None


def _meant(text: str) -> str:
    """The text, or a path with the other slashes."""
    return text.replace("\\", "/") if re.match(r"[A-Za-z]:[\\/]|[\\/]{2}[^\\/]", text) else text


def _accepted() -> list[str]:
    return _drawn((EITHER, EITHER), (PYTHON_PATH, CODE), lambda value: _either(value) is not None)


def _in_bash(words: Sequence[str], here: Path) -> list[str]:
    """The words that a program is given by this line, handed to bash as Git Bash's is."""
    script = "printf '%s\\0' " + " ".join(words)
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(here), "OS": "Windows_NT"}
    done = subprocess.run(["bash", "-c", script], cwd=here, env=env, capture_output=True, timeout=60, check=False)
    return os.fsdecode(done.stdout).split("\0")[:-1]


def test_under_wine_one_spelling_means_the_same_in_cmd_and_in_bash(
    cmd: Cmd, needs: Needs, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("bash")
    values = _accepted()
    batches = list(_batches(values, [quote("either", value) for value in values], LINE - 200))
    answers = cmd.words([f"{quote('either', cmd.program)} {' '.join(words)}" for _, words in batches])
    posix = [_in_bash(words, cmd.here) for _, words in batches]
    wanted = [[_meant(value) for value in then] for then, _ in batches]
    bad = [each for each in zip(wanted, answers, posix) if not each[0] == each[1] == each[2]]
    landed = sum(len(now) for now in answers if isinstance(now, list))
    _report(capsys, "words shell=either asked=wine,bash", len(values), landed, bad)
    assert not bad[:1]
    assert landed == len(values) >= WINDOWS_POINTS
    assert not cmd.left()


def test_simulated_one_spelling_means_the_same_in_cmd_and_in_bash(tmp_path: Path, needs: Needs) -> None:
    needs("bash")
    values = _accepted()
    words = [quote("either", value) for value in values]
    wanted = [_meant(value) for value in values]
    assert [_given(word) for word in words] == [[each] for each in wanted]
    assert [each for batch, _ in _batches(words, words, 60_000) for each in _in_bash(batch, tmp_path)] == wanted
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spell", ["cmd", "bash"])
def test_under_wine_a_spelling_for_one_shell_is_caught_in_the_other(spell: str, cmd: Cmd, needs: Needs) -> None:
    needs("bash")
    values = ["a b", "it's", 'a"b', "& echo x>hit &", "$HOME", "%OS%", "C:\\x\\"]
    words = [quote(spell, value) for value in values]
    under_cmd = cmd.words([f"{quote('either', cmd.program)} {word}" for word in words])
    under_bash = [_in_bash([word], cmd.here) for word in words]
    wrong = under_bash if spell == "cmd" else under_cmd
    assert any(now != [then] for then, now in zip(values, wrong))
    assert cmd.left() or spell == "cmd"


@pytest.mark.parametrize(
    "text",
    ['a"b', "$x", "`x`", "100%", "%OS%", "hi!", "a\\", "a\\\\b", "\\", "/c", "/usr/bin/x", "x=/y", "-I/x", "ab:/c",
    "C:\\x;/y"],
)  # fmt: skip
def test_what_has_no_common_spelling_is_refused(text: str) -> None:
    with pytest.raises(Problem, match=r"common spelling|Git Bash"):
        quote("either", text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (PYTHON_PATH, '"C:/Users/Jörg Müller/.venv/Scripts/python.exe"'),
        (r"C:\Program Files (x86)\José\x.exe", '"C:/Program Files (x86)/José/x.exe"'),
        (r"\\server\share\x.exe", '"//server/share/x.exe"'),
        (r"a\nb", r'"a\nb"'),
        (CODE, f'"{CODE}"'),
        ("key", '"key"'),
        ("", '""'),
    ],
)
def test_what_a_program_and_its_words_look_like_for_either(text: str, word: str) -> None:
    assert quote("either", text) == word


# ---- Git Bash, which is bash


def test_bash_takes_the_very_words(tmp_path: Path, needs: Needs, capsys: pytest.CaptureFixture[str]) -> None:
    needs("bash")
    values = _hostile_to_cmd()
    batches = list(_batches(values, [quote("bash", value) for value in values], 60_000))
    answers = [_in_bash(words, tmp_path) for _, words in batches]
    bad = [(then, now) for (then, _), now in zip(batches, answers) if now != then]
    _report(capsys, "words shell=bash", len(values), sum(map(len, answers)), bad)
    assert not bad[:1]
    assert not list(tmp_path.iterdir())


# ---- PowerShell

POWERSHELL = (
    "'", "''", "‘", "’", "‚", "‛", "‘’", "'‘", '"', "“", "”", "„", "`", "``", "`'", "$", "$x", "$(New-Item hit)",
    "${x}",
    "$env:PATH", "@", "@'", "'@", "\n'@\n", "\n", "\r\n", "\r", "; New-Item hit;", "'; New-Item hit; '",
    "’; New-Item hit; ‘",
    "| Out-File hit", "& {New-Item hit}", "> hit", "#", "<#", "#>", "--%", "{", "}", "(", ")", "[", "]", ",", "\\",
    "\t", " ",
    "a", "é", "日本", "😀", "\u00a0", "\u2028", "\u0085", "\ufeff", "", "%", "!", "~", "*", "-x", "–x",
    "\x01", "\x1b[2J",
)  # fmt: skip


def _literal(word: str) -> str:
    """The value of a single-quoted literal that spans the whole word; Escaped where something is left of it.

    As PowerShell's own tokenizer has it: any of five characters opens and closes, and two in a row are the second.
    """
    quotes = "'‘’‚‛"
    if word[:1] not in quotes:
        raise Escaped("no quote")
    value, place = "", 1
    while True:
        if place >= len(word):
            raise Escaped("no end")
        if word[place] in quotes:
            place += 1
            if word[place : place + 1] not in tuple(quotes):
                break
        value += word[place]
        place += 1
    if word[place:]:
        raise Escaped(word[place:])
    return value


def _powershell_faults(values: Sequence[str], spell: Callable[[str], str]) -> list[str]:
    found = []
    for value in values:
        try:
            now = _literal(spell(value))
        except Escaped as escaped:
            now = f"it escaped by {escaped}"
        found += [f"{value!r} became {now!r}"] if now != value else []
    return found


def _hostile_to_powershell() -> list[str]:
    return _drawn((POWERSHELL, POWERSHELL), ("x" * 40_000, "'" * 20_000, "‛" * 9_999), lambda value: True)


def test_simulated_powershell_takes_the_very_words(capsys: pytest.CaptureFixture[str]) -> None:
    values = _hostile_to_powershell()
    bad = _powershell_faults(values, lambda value: quote("powershell", value))
    _report(capsys, "words shell=powershell asked=reference", len(values), len(values), bad)
    assert not bad[:5]


@pytest.mark.parametrize(
    "spell",
    [lambda text: text, lambda text: _in_double_quotes("", text), lambda text: _as_in_sh("", text),
    lambda text: "'" + text.replace("'", "''") + "'"],
    ids=["no quotes", "double quotes", "as in sh", "without the typographic ones"],
)  # fmt: skip
def test_simulated_quoting_for_powershell_as_people_do_is_caught(spell: Callable[[str], str]) -> None:
    assert _powershell_faults(POWERSHELL, spell)


def _parser() -> Any:
    tree_sitter, grammar = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_pwsh")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language()))


def _assigned(parser: Any, line: str) -> str | None:
    """The literal that such a line assigns, as the grammar has it; None where the line is, or holds, anything else."""
    root = parser.parse(line.encode()).root_node
    node = root
    for kind in ("statement_list", "pipeline", "assignment_expression"):
        if root.has_error or len(node.named_children) != 1 or node.named_children[0].type != kind:
            return None
        node = node.named_children[0]
    node = node.child_by_field_name("value")
    while node is not None and node.type != "string_literal":
        node = node.named_children[0] if len(node.named_children) == 1 else None
    return None if node is None else str(node.text.decode())


def test_simulated_a_grammar_of_powershell_sees_one_literal(capsys: pytest.CaptureFixture[str]) -> None:
    """The grammar takes typographic quotes for letters, which they are not, so this is not about those."""
    parser = _parser()
    values = _drawn((POWERSHELL, POWERSHELL), wanted=lambda value: not re.search("[\0-\x08\x0e-\x1f]", value))
    bad = [
        value
        for value in values
        if _assigned(parser, export("powershell", "CCREMEDY_X", value)) != quote("powershell", value)
    ]
    _report(capsys, "words shell=powershell asked=grammar", len(values), len(values) - len(bad), bad)
    assert not bad[:5]
    assert any(_assigned(parser, f"$env:X = '{value}'\n") != f"'{value}'" for value in POWERSHELL)


def test_a_real_powershell_takes_the_very_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = shutil.which("pwsh") or shutil.which("powershell")
    if not program:
        pytest.skip("needs a PowerShell (pwsh or powershell)")
    values = [value for value in _hostile_to_powershell() if 0 < len(value) < 1 << 15]  # what Windows takes
    lines = [
        export("powershell", "CCREMEDY_X", value)
        + "[Console]::Out.WriteLine([Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($env:CCREMEDY_X)))\n"
        for value in values
    ]
    script = tmp_path / "values.ps1"
    script.write_text("".join(lines), "utf-8-sig", newline="")
    command = [program, "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False
    )
    came = [base64.b64decode(line).decode("utf-16-le") for line in done.stdout.split()]
    bad = [(then, now) for then, now in zip(values, came) if then != now]
    _report(capsys, "words shell=powershell asked=powershell", len(values), len(came), bad)
    assert (bad[:2], len(came)) == ([], len(values)), done.stderr[:500]
    assert [each.name for each in tmp_path.iterdir()] == ["values.ps1"]


def test_powershell_is_refused_a_nul() -> None:
    with pytest.raises(Problem, match="NUL"):
        quote("powershell", "a\0b")


# ---- what a person types


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("mv", "/home/me/.claude.json", "/home/me/x"), "mv /home/me/.claude.json /home/me/x"),
        (("cp -p", "/home/me/it's", "/x"), "cp -p '/home/me/it'\\''s' /x"),
        (("mv", r"C:\Users\Jo Doe\a", r"C:\b"), r'move "C:\Users\Jo Doe\a" "C:\b"'),
        (("cp -p", r"\\server\home\a", r"C:\b"), r'copy "\\server\home\a" "C:\b"'),
        (("mv", r"C:\100%\a", r"C:\b"), r"Move-Item -LiteralPath 'C:\100%\a' -Destination 'C:\b' (in PowerShell)"),
        (
            ("mv", r"C:\O’Hara [1]", r"C:\b"),
            r"Move-Item -LiteralPath 'C:\O’’Hara [1]' -Destination 'C:\b' (in PowerShell)",
        ),
    ],
)
def test_what_a_person_types_is_for_the_prompt_that_there_is(given: tuple[str, ...], line: str) -> None:
    assert typed(*given) == line


def test_going_somewhere_and_then_something_else() -> None:
    assert typed("cd", "/my shop", then="claude") == "cd '/my shop' && claude"
    assert typed("cd", r"C:\my shop", then="claude") == r'pushd "C:\my shop", and then: claude'
    assert typed("cd", r"C:\a$b", then="claude") == r"Set-Location -LiteralPath 'C:\a$b'; claude (in PowerShell)"
