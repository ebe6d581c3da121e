"""Combinations of what npm's global prefix can be set by, and both answers to each: npm's own and our reader's.

npm is started for each, from a directory that is no project; the layouts (a node, an npm, an `etc`) are real ones.
"""

from __future__ import annotations

import importlib
import itertools
import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ccremedy import Facts, Machine, Problem, registry

from . import fetch

PAIRS = (("18.20.8", "10.9.2"), ("20.20.2", "10.9.2"), ("22.23.3", "11.21.2"))  # node and npm that go together
TOP = b"//registry.example/:_authToken=npm_0123456789abcdef\n"

# What a user's npmrc may hold; @ is a folder that is there.
USER: dict[str, bytes] = {
    "sets a folder": b"prefix=@/u\n",
    "has spaces around the equals sign": b"prefix = @/u\n",
    "has tabs around the equals sign": b"\tprefix\t=\t@/u\t\n",
    "starts with a tilde": b"prefix=~/.npm-global\n",
    "is a tilde alone": b"prefix=~\n",
    "is a tilde and a slash": b"prefix=~/\n",
    "names another user's tilde": b"prefix=~dev/x\n",
    "has a variable": b"prefix=${HOME}/x\n",
    "has a variable and more": b"prefix=${HOME}/${NAMED}/y\n",
    "has a variable without braces": b"prefix=$HOME/x\n",
    "has an unset variable": b"prefix=@/${UNSET}/x\n",
    "has an unset variable that may be": b"prefix=@/${UNSET?}/x\n",
    "has a set variable that need not be": b"prefix=${HOME?}/x\n",
    "has an escaped variable": b"prefix=@/\\${HOME}/x\n",
    "has a doubly escaped variable": b"prefix=@/\\\\${HOME}/x\n",
    "has an empty variable": b"prefix=@/${EMPTY}/x\n",
    "has a variable that means another": b"prefix=@/${NESTED}/x\n",
    "has a variable first, then a tilde": b"prefix=${TILDE}/x\n",
    "has an unclosed variable": b"prefix=@/${HOME/x\n",
    "has a variable in its key": b"pre${FIX}=@/u\n",
    "is in double quotes": b'prefix="@/u"\n',
    "is in single quotes": b"prefix='@/u'\n",
    "is in quotes with a space": b'prefix="@/with a space"\n',
    "is in quotes with a tilde": b'prefix="~/q"\n',
    "is in quotes with a variable": b'prefix="${HOME}/q"\n',
    "is in quotes with a comment sign": b'prefix="@/a;b#c"\n',
    "is in quotes with a comment behind": b'prefix="@/u" ; mine\n',
    "is in quotes with an escape": b'prefix="@/a\\u0062"\n',
    "is in single quotes with a comment sign": b"prefix='@/a;b'\n",
    "opens a quote only": b'prefix="@/u\n',
    "is a quote alone": b'prefix="\n',
    "is empty quotes": b'prefix=""\n',
    "has a space": b"prefix=@/with a space\n",
    "ends in spaces": b"prefix=@/u   \n",
    "has a comment with ; behind": b"prefix=@/u ; mine\n",
    "has a comment with # behind": b"prefix=@/u # mine\n",
    "has a ; at once": b"prefix=@/u;mine\n",
    "has a # at once": b"prefix=@/u#mine\n",
    "has an escaped ;": b"prefix=@/u\\;mine\n",
    "has an escaped #": b"prefix=@/u\\#mine\n",
    "has a backslash": b"prefix=@/u\\x\n",
    "has two backslashes": b"prefix=@/u\\\\x\n",
    "has an equals sign": b"prefix=@/a=b\n",
    "is commented out": b"# prefix=@/u\n;prefix=@/v\n",
    "is commented out behind spaces": b"  ; prefix=@/u\n",
    "sets it twice": b"prefix=@/first\nprefix=@/second\n",
    "sets it twice, last empty": b"prefix=@/first\nprefix=\n",
    "sets it empty": b"prefix=\n",
    "names it without a value": b"prefix\n",
    "sets it to true": b"prefix=true\n",
    "sets it to false": b"prefix=false\n",
    "sets it to null": b"prefix=null\n",
    "sets it to undefined": b"prefix=undefined\n",
    "sets it to a number": b"prefix=17\n",
    "sets it as a list": b"prefix[]=@/u\n",
    "sets it in a section": b"[mine]\nprefix=@/u\n",
    "sets it behind a section": b"[mine]\nother=1\n\nprefix=@/u\n",
    "sets it before a section": b"prefix=@/u\n[mine]\nprefix=@/v\n",
    "sets it behind an empty section": b"[]\nprefix=@/u\n",
    "sets it behind a section with spaces": b"[ mine ]  \nprefix=@/u\n",
    "sets it behind an indented section": b"  [mine]\nprefix=@/u\n",
    "sets it behind an unclosed section": b"[mine\nprefix=@/u\n",
    "has a byte order mark": b"\xef\xbb\xbfprefix=@/u\n",
    "has a byte order mark and a comment": b"\xef\xbb\xbf# mine\nprefix=@/u\n",
    "has CRLF": b"# mine\r\nprefix=@/u\r\n",
    "has CR only": b"# mine\rprefix=@/u\r",
    "has no last line end": b"# mine\nprefix=@/u",
    "has a form feed": b"# mine\x0cprefix=@/u\n",
    "has a vertical tab before it": b"\x0bprefix=@/u\n",
    "has a line separator": "# mine\u2028prefix=@/u\n".encode(),
    "has a no-break space": "\u00a0prefix\u00a0=\u00a0@/u\n".encode(),
    "has its key in quotes": b'"prefix"=@/u\n',
    "has its key in single quotes": b"'prefix'=@/u\n",
    "has its key in capitals": b"PREFIX=@/u\n",
    "has dashes before its key": b"--prefix=@/u\n",
    "has its key with an underscore before": b"_prefix=@/u\n",
    "is relative": b"prefix=some/where\n",
    "is a dot": b"prefix=.\n",
    "goes up": b"prefix=@/a/../b\n",
    "ends in a slash": b"prefix=@/u/\n",
    "has two slashes": b"prefix=@//u\n",
    "begins with two slashes": b"prefix=/@/u\n",
    "is not UTF-8": b"# caf\xe9\nprefix=@/u\n",
    "is not ASCII": "prefix=@/größe\n".encode(),
    "has a huge line": b"x=" + b"y" * 300_000 + b"\nprefix=@/u\n",
    "has a colon for an equals sign": b"prefix: @/u\n",
    "is empty": b"",
    "sets something else": TOP + b"prefixes=@/u\nprefix-x=@/v\n",
    "moves the global npmrc": b"globalconfig=@/moved-global\n",
    "moves the user npmrc": b"userconfig=@/elsewhere\n",
}

ENVIRONMENT: dict[str, dict[str, str]] = {
    "lower case": {"npm_config_prefix": "@/e"},
    "capitals": {"NPM_CONFIG_PREFIX": "@/e"},
    "mixed case": {"Npm_Config_Prefix": "@/e"},
    "mixed case of its end": {"npm_config_PREFIX": "@/e"},
    "empty": {"npm_config_prefix": ""},
    "capitals, empty": {"NPM_CONFIG_PREFIX": ""},
    "both, one empty": {"NPM_CONFIG_PREFIX": "", "npm_config_prefix": "@/e"},
    "both, the other empty": {"NPM_CONFIG_PREFIX": "@/e", "npm_config_prefix": ""},
    "both": {"NPM_CONFIG_PREFIX": "@/capitals", "npm_config_prefix": "@/lower"},
    "both, the other way round": {"npm_config_prefix": "@/lower", "NPM_CONFIG_PREFIX": "@/capitals"},
    "tilde": {"npm_config_prefix": "~/e"},
    "variable": {"npm_config_prefix": "${HOME}/e"},
    "unset variable": {"npm_config_prefix": "@/${UNSET}/e"},
    "relative": {"npm_config_prefix": "some/where"},
    "spaces around": {"npm_config_prefix": " @/e "},
    "quotes": {"npm_config_prefix": '"@/e"'},
    "false": {"npm_config_prefix": "false"},
    "null": {"npm_config_prefix": "null"},
    "ends in a slash": {"npm_config_prefix": "@/e/"},
    "an underscore more": {"npm_config__prefix": "@/e"},
    "a dash for the last underscore": {"npm_config-prefix": "@/e"},
    "user npmrc elsewhere": {"NPM_CONFIG_USERCONFIG": "@/elsewhere"},
    "user npmrc elsewhere, lower case": {"npm_config_userconfig": "@/elsewhere"},
    "user npmrc elsewhere, by tilde": {"npm_config_userconfig": "~/elsewhere"},
    "user npmrc elsewhere, relative": {"npm_config_userconfig": "elsewhere"},
    "user npmrc that is not there": {"npm_config_userconfig": "@/nowhere"},
    "user npmrc empty": {"npm_config_userconfig": ""},
    "global npmrc elsewhere": {"NPM_CONFIG_GLOBALCONFIG": "@/moved-global"},
    "global npmrc elsewhere, by tilde": {"npm_config_globalconfig": "~/moved-global"},
    "global npmrc that is not there": {"npm_config_globalconfig": "@/nowhere"},
    "PREFIX": {"PREFIX": "@/p"},
    "PREFIX, empty": {"PREFIX": ""},
    "PREFIX, relative": {"PREFIX": "some/where"},
    "DESTDIR": {"DESTDIR": "@/dest"},
    "DESTDIR and PREFIX": {"DESTDIR": "@/dest", "PREFIX": "@/p"},
    "LOCATION": {"npm_config_location": "global"},
}


@dataclass(frozen=True)
class Point:
    """One combination. '' and None: not set, no file."""

    pair: int
    user: str = ""
    environment: str = ""
    system: bytes | None = None  # PREFIX/etc/npmrc
    builtin: bytes | None = None  # npm's own npmrc
    node: str = "itself"  # or behind "a link", "a link in a link"
    project: bool = False  # npm is started in a project whose .npmrc sets a prefix

    def __str__(self) -> str:
        others = {"system": self.system, "builtin": self.builtin}
        words = [
            f"user npmrc {self.user}" if self.user else "",
            f"environment {self.environment}" if self.environment else "",
            *(f"{name} npmrc {value.decode().strip()}" for name, value in others.items() if value is not None),
            f"node behind {self.node}" if self.node != "itself" else "",
            "in a project" if self.project else "",
        ]
        return f"npm {PAIRS[self.pair][1]} on node {PAIRS[self.pair][0]}: {', '.join(filter(None, words)) or 'nothing'}"


def points() -> list[Point]:
    """Each single setting with one npm or the other, each that outranks another, and a fixed draw of all together."""
    turn = itertools.cycle(range(len(PAIRS)))
    found = [Point(next(turn), user=name) for name in USER]
    found += [Point(next(turn), environment=name) for name in ENVIRONMENT]
    found += [Point(pair) for pair in range(len(PAIRS))]
    found += [Point(pair, node=node) for pair in range(len(PAIRS)) for node in ("a link", "a link in a link")]
    places = (b"prefix=@/g\n", b"prefix=~/g\n", b"prefix=${HOME}/g\n", b"[s]\nprefix=@/g\n", b"prefix=\n", b"")
    found += [Point(next(turn), system=text) for text in places]
    found += [Point(next(turn), builtin=text) for text in places]
    found += [Point(pair, user="sets something else", system=places[0], builtin=places[1]) for pair in (0, 2)]
    found += [Point(next(turn), user=name, project=True) for name in ("is relative", "sets a folder", "is empty")]
    found += [Point(next(turn), environment="relative", project=True), Point(next(turn), project=True)]
    draw = random.Random(2)
    for _ in range(60):
        one = Point(
            next(turn),
            draw.choice(["", *USER]),
            draw.choice(["", *ENVIRONMENT]),
            draw.choice([None, *places]),
            draw.choice([None, None, *places]),
            draw.choice(["itself", "itself", "a link"]),
            draw.random() < 0.2,
        )
        found.append(one)
    return list(dict.fromkeys(found))


@dataclass
class Answers:
    npm: str = ""
    reader: str = ""
    complaint: str = ""  # npm's, where it gave no answer


@dataclass
class Layout:
    """One node with one npm, below `top`; one point at a time."""

    top: Path
    pair: int
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        node, npm = PAIRS[self.pair]
        (self.top / "bin").mkdir(parents=True)
        _same_file(fetch.node(node), self.top / "bin" / "node")
        shutil.copytree(fetch.npm(npm), self.top / "lib" / "node_modules" / "npm", symlinks=True)
        (self.top / "bin" / "npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
        for name in ("one", "two"):
            (self.top / name).mkdir()
        (self.top / "one" / "node").symlink_to("../bin/node")
        (self.top / "two" / "node").symlink_to("../one/node")
        for name in ("one", "two"):
            (self.top / name / "npm").symlink_to("../bin/npm")

    def answer(self, point: Point, scratch: Path) -> Answers:
        home, cwd = scratch / "home", scratch / "work"
        home.mkdir(parents=True)
        cwd.mkdir()
        there: dict[Path, bytes | None] = {
            home / ".npmrc": USER.get(point.user),
            self.top / "etc" / "npmrc": point.system,
            self.top / "lib" / "node_modules" / "npm" / "npmrc": point.builtin,
            home / "elsewhere": b"prefix=@/from-elsewhere\n",
            cwd / "elsewhere": b"prefix=@/from-elsewhere-here\n",
            scratch / "elsewhere": b"prefix=@/from-elsewhere-there\n",
            home / "moved-global": b"prefix=@/from-moved\n",
            scratch / "moved-global": b"prefix=@/from-moved-there\n",
            cwd / ".npmrc": b"prefix=@/from-the-project\n" if point.project else None,
            cwd / "package.json": b"{}" if point.project else None,
        }
        for path, text in there.items():
            path.unlink(missing_ok=True)
            if text is not None:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(text.replace(b"@", os.fsencode(scratch)))
        start = {"itself": "bin", "a link": "one", "a link in a link": "two"}[point.node]
        env = {"HOME": str(home), "PATH": f"{self.top / start}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        env |= {"NAMED": "named", "FIX": "fix", "EMPTY": "", "NESTED": "${HOME}", "TILDE": "~"}
        env |= {key: value.replace("@", str(scratch)) for key, value in ENVIRONMENT.get(point.environment, {}).items()}
        npm = str(self.top / start / "npm")
        found = Answers()
        done = subprocess.run([npm, "prefix", "-g", "--logs-max=0"], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
        if done.returncode == 0 and done.stdout.startswith("/"):
            found.npm = done.stdout.removesuffix("\n")
        else:
            found.complaint = f"{done.returncode}: {done.stdout}{done.stderr}"
        facts = Facts("linux", env, "/", str(cwd))
        registry.remedies()  # of this checkout, whichever one is installed
        machine = Machine(str(home), registry.adapter(facts), facts, {})
        try:
            found.reader = importlib.import_module("ccremedy.remedies._npm").prefix(machine, npm).folder
        except Problem as problem:
            found.reader = f"cannot tell: {problem}"
        for folder in (str(scratch), str(self.top)):
            found.npm, found.reader = (each.replace(folder, "@") for each in (found.npm, found.reader))
        return found


def answers(scratch: Path, wanted: list[Point]) -> dict[Point, Answers]:
    """npm takes 0.2 seconds a start: a layout for each pair, and they work side by side."""
    layouts = [Layout(scratch / f"layout-{pair}", pair) for pair in range(len(PAIRS))]

    def of_pair(pair: int) -> dict[Point, Answers]:
        mine = [point for point in wanted if point.pair == pair]
        return {point: layouts[pair].answer(point, scratch / f"point-{pair}-{n}") for n, point in enumerate(mine)}

    with ThreadPoolExecutor(len(PAIRS)) as pool:
        return {point: found for part in pool.map(of_pair, range(len(PAIRS))) for point, found in part.items()}


def _same_file(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
