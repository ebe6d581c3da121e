"""What npm's global prefix can be set by on Windows, and both answers to each: npm's own and our reader's.

npm's own reader (@npmcli/config, with npm's definitions) is asked in one process for all of them, because each start
of npm takes a second under Wine; for some of them npm is started, too. Each point is a folder with a home, a working
directory and what the installer of Node.js leaves; its node.exe is a name, and the real one is told that it is its own.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from . import npmrc_matrix
from .wine import Windows

TOP = r"C:\points"
NPM = r"C:\Program Files\nodejs\node_modules\npm"
INSTALLED = rb"prefix=${APPDATA}\npm" + b"\r\n"  # the builtin npmrc of the installer

# What only Windows has, or does in its own way; @ is a folder, & the same with slashes.
USER: dict[str, bytes] = {
    "is the installer's": INSTALLED,
    "is ours": b"prefix=${APPDATA}\\npm\n",
    "has a backslash before every letter of an escape": rb"prefix=@\new\title\react\u0062\bin" + b"\r\n",
    "has slashes": b"prefix=&/u\r\n",
    "has both": b"prefix=@/a\\b\r\n",
    "has doubled backslashes": b"prefix=C:\\\\points\\\\x\r\n",
    "ends in a backslash": b"prefix=@\\u\\\r\n",
    "ends in two": b"prefix=@\\u\\\\\r\n",
    "has a backslash before a semicolon": b"prefix=@\\u\\;x\r\n",
    "has a backslash before a number sign": b"prefix=@\\u\\#x\r\n",
    "has a backslash before a variable": b"prefix=C:\\${USERNAME}\\x\r\n",
    "has two backslashes before a variable": b"prefix=C:\\\\${USERNAME}\\x\r\n",
    "has a variable in another letter case": b"prefix=${AppData}\\npm\r\n",
    "has a variable in small letters": b"prefix=${userprofile}\\x\r\n",
    "has a variable as cmd has it": b"prefix=%APPDATA%\\npm\r\n",
    "has a variable with parentheses": b"prefix=${ProgramFiles(x86)}\\nodejs\r\n",
    "has a variable as PowerShell has it": b"prefix=${env:APPDATA}\\npm\r\n",
    "has a tilde and a backslash": b"prefix=~\\npm\r\n",
    "has a tilde and a slash": b"prefix=~/npm\r\n",
    "has a tilde and two backslashes": b"prefix=~\\\\npm\r\n",
    "is in quotes with backslashes": b'prefix="@\\new"\r\n',
    "is in quotes with doubled backslashes": b'prefix="C:\\\\points\\\\q"\r\n',
    "is in quotes with slashes": b'prefix="&/with a space"\r\n',
    "is in single quotes with backslashes": b"prefix='@\\new'\r\n",
    "has a space": b"prefix=C:\\Program Files\\nodejs\r\n",
    "has a dot at its end": b"prefix=@\\u\\.\r\n",
    "goes up": b"prefix=@\\a\\..\\b\r\n",
    "goes up too far": b"prefix=C:\\..\\..\\b\r\n",
    "is a drive": b"prefix=C:\\\r\n",
    "is a drive with a slash": b"prefix=C:/\r\n",
    "is a drive alone": b"prefix=C:\r\n",
    "is relative to a drive": b"prefix=C:here\r\n",
    "is relative to another drive": b"prefix=D:here\r\n",
    "is on another drive": b"prefix=D:\\npm\r\n",
    "is on a drive in small letters": b"prefix=c:\\points\\x\r\n",
    "is relative to the root": b"prefix=\\points\\x\r\n",
    "is relative to the root, with a slash": b"prefix=/points/x\r\n",
    "is relative": b"prefix=some\\where\r\n",
    "is as Git Bash spells it": b"prefix=/c/Users/me/npm\r\n",
    "is a share": b"prefix=\\\\server\\share\\npm\r\n",
    "is a share with slashes": b"prefix=//server/share/npm\r\n",
    "is a server": b"prefix=\\\\server\r\n",
    "has a byte order mark and CRLF": b"\xef\xbb\xbfprefix=@\\u\r\n",
    "has a comment behind it": b"prefix=@\\u ; mine\r\n",
    "is UTF-16": "\ufeffprefix=C:\\points\\x\r\n".encode("utf-16-le"),
    "is the code page of the system": b"# caf\xe9\r\nprefix=@\\u\r\n",
    "moves the global npmrc": b"globalconfig=@\\moved-global\r\n",
}
ENVIRONMENT: dict[str, dict[str, str]] = {
    "backslashes": {"NPM_CONFIG_PREFIX": "@\\e"},
    "slashes": {"npm_config_prefix": "&/e"},
    "mixed case": {"Npm_Config_Prefix": "@\\e"},
    "a variable": {"NPM_CONFIG_PREFIX": "${APPDATA}\\e"},
    "a variable behind a backslash": {"NPM_CONFIG_PREFIX": "C:\\${USERNAME}"},
    "a tilde": {"NPM_CONFIG_PREFIX": "~\\e"},
    "a share": {"NPM_CONFIG_PREFIX": "\\\\server\\share\\e"},
    "a drive": {"NPM_CONFIG_PREFIX": "D:\\e"},
    "quotes": {"NPM_CONFIG_PREFIX": '"@\\e"'},
    "user npmrc elsewhere": {"NPM_CONFIG_USERCONFIG": "@\\elsewhere"},
    "user npmrc in another home": {"HOME": "@\\other"},
    "user npmrc in another home, with slashes": {"HOME": "&/other"},
    "global npmrc elsewhere": {"npm_config_globalconfig": "&/moved-global"},
    "PREFIX": {"PREFIX": "@\\p"},
    "PREFIX with slashes": {"Prefix": "&/p"},
    "DESTDIR": {"DESTDIR": "@\\d"},
}


@dataclass(frozen=True)
class Point:
    """One combination. '' and None: not set, no file. Names of what Unix has, too, begin with a +."""

    user: str = ""
    environment: str = ""
    system: bytes | None = None  # PREFIX\etc\npmrc, of node's own folder
    builtin: bytes | None = INSTALLED
    project: bool = False

    def __str__(self) -> str:
        words = [
            f"user npmrc {self.user}" if self.user else "",
            f"environment {self.environment}" if self.environment else "",
            f"global npmrc {self.system!r}" if self.system is not None else "",
            f"builtin npmrc {self.builtin!r}" if self.builtin != INSTALLED else "",
            "in a project" if self.project else "",
        ]
        return ", ".join(filter(None, words)) or "nothing"

    def npmrc(self) -> bytes | None:
        return npmrc_matrix.USER[self.user[1:]] if self.user[:1] == "+" else USER.get(self.user)

    def variables(self) -> dict[str, str]:
        name = self.environment
        return npmrc_matrix.ENVIRONMENT[name[1:]] if name[:1] == "+" else ENVIRONMENT.get(name, {})


def points() -> list[Point]:
    """Each single setting, what outranks what, and a fixed draw of all together."""
    users = [*USER, *(f"+{name}" for name in npmrc_matrix.USER)]
    variables = [*ENVIRONMENT, *(f"+{name}" for name in npmrc_matrix.ENVIRONMENT)]
    places = (None, b"", INSTALLED, b"prefix=@\\g\r\n", b"prefix=~\\g\r\n", b"[s]\r\nprefix=@\\g\r\n", b"prefix=\r\n")
    found = [Point(user=name) for name in users] + [Point(environment=name) for name in variables]
    found += [Point(system=system, builtin=builtin) for system, builtin in itertools.product(places, places)]
    found += [Point(user=name, project=True) for name in ("is relative", "has slashes", "")]
    draw = random.Random(3)
    for _ in range(60):
        pick = draw.choice
        found.append(Point(pick(["", *users]), pick(["", *variables]), pick(places), pick(places), draw.random() < 0.2))
    return list(dict.fromkeys(found))


_ASK = """
const Config = require(process.argv[2] + '/node_modules/@npmcli/config'), path = require('path');
const known = require(process.argv[2] + '/node_modules/@npmcli/config/lib/definitions');
const points = JSON.parse(require('fs').readFileSync(process.argv[3], 'utf8'));
process.on('log', () => {});
(async () => {
  const answers = [];
  for (const { env, cwd, node } of points) {
    for (const name of Object.keys(process.env)) delete process.env[name];
    for (const [name, value] of Object.entries(env)) process.env[name] = value;
    process.chdir(cwd);
    try {
      const npmPath = path.join(path.dirname(node), 'node_modules', 'npm');
      const argv = ['node', 'npm', 'prefix', '-g'];
      const config = new Config({ npmPath, execPath: node, argv, ...known, excludeNpmCwd: false });
      await config.load();
      answers.push({ npm: config.globalPrefix });
    } catch (error) { answers.push({ complaint: String(error) }); }
  }
  require('fs').writeFileSync(process.argv[4], JSON.stringify(answers));
})();
"""
_READ = r"""
import importlib, sys
sys.path.insert(0, r"C:\clone")
from ccremedy import Facts, Machine, Problem, registry
registry.remedies()  # which makes them importable from a clone
adapter = registry.adapter(Facts("win32", {}, "C:\\"))
reader = importlib.import_module("ccremedy.remedies._npm")
result = []
for point in points:
    facts = Facts("win32", {name.upper(): value for name, value in point["env"].items()}, "C:\\", point["cwd"])
    machine = Machine(point["home"], adapter, facts, {})
    npm = point["node"].replace("node.exe", "npm.cmd")
    try:
        result.append(reader.prefix(machine, npm).folder)
    except Problem as problem:
        result.append(f"cannot tell: {problem}")
"""


def lay_out(machine: Windows, point: Point, number: int) -> dict[str, Any]:
    """Its files, and how npm is started on them."""
    top = rf"{TOP}\{number}"

    def filled(text: bytes) -> bytes:
        return text.replace(b"@", top.encode()).replace(b"&", top.replace("\\", "/").encode())

    home, cwd, nodejs = rf"{top}\home", rf"{top}\work", rf"{top}\nodejs"
    elsewhere = b"prefix=@\\from-elsewhere\r\n"
    for path, text in {
        rf"{home}\.npmrc": point.npmrc(),
        rf"{nodejs}\etc\npmrc": point.system,
        rf"{nodejs}\node_modules\npm\npmrc": point.builtin,
        rf"{nodejs}\node.exe": b"",
        rf"{nodejs}\npm.cmd": b"",
        rf"{top}\elsewhere": elsewhere,
        rf"{home}\elsewhere": elsewhere,
        rf"{top}\other\.npmrc": b"prefix=@\\from-another-home\r\n",
        rf"{top}\moved-global": b"prefix=@\\from-moved\r\n",
        rf"{cwd}\.npmrc": b"prefix=@\\from-the-project\r\n" if point.project else None,
        rf"{cwd}\package.json": b"{}",
    }.items():
        if text is not None:
            machine.put(path, filled(text))
    env = {"USERPROFILE": home, "APPDATA": rf"{home}\AppData\Roaming", "PATH": nodejs, "USERNAME": "me"}
    env |= {"ProgramFiles(x86)": r"C:\Program Files (x86)", "SystemRoot": r"C:\windows"}
    if "+" in (point.user[:1], point.environment[:1]):
        env |= {"HOME": home, "NAMED": "named", "FIX": "fix", "EMPTY": "", "NESTED": "${HOME}", "TILDE": "~"}
    for name, value in point.variables().items():
        env = {each: old for each, old in env.items() if each.upper() != name.upper()}  # one variable, last one wins
        env[name] = filled(value.encode()).decode()
    return {"env": env, "cwd": cwd, "home": home, "node": rf"{nodejs}\node.exe"}


def answers(machine: Windows, wanted: list[Point]) -> dict[Point, dict[str, str]]:
    """For each point `npm` or `complaint`, and `reader`."""
    laid = [lay_out(machine, point, number) for number, point in enumerate(wanted)]
    machine.put(rf"{TOP}\ask.js", _ASK)
    machine.put(rf"{TOP}\points.json", json.dumps(laid))
    done = machine.run(["node", rf"{TOP}\ask.js", NPM, rf"{TOP}\points.json", rf"{TOP}\answers.json"], timeout=300)
    assert done.code == 0, done.both
    by_npm = json.loads(machine.real(rf"{TOP}\answers.json").read_bytes())
    by_us = machine.steps(_READ, timeout=300, points=laid)
    assert len(by_npm) == len(by_us) == len(wanted)
    found = {}
    for number, (point, told, ours) in enumerate(zip(wanted, by_npm, by_us)):
        # npm itself, which goes on from here, stops at what is no text.
        npm, complaint = told.get("npm"), told.get("complaint", "")
        told = (
            {"npm": npm, "reader": ours}
            if isinstance(npm, str)
            else {"complaint": complaint or str(npm), "reader": ours}
        )
        told["reader"] = ours
        found[point] = {name: text.replace(rf"{TOP}\{number}", "@") for name, text in told.items()}
    return found


def started(machine: Windows, point: Point) -> str:
    """What the installed npm itself prints as its prefix, with these files in place; `nodejs` is the installed one."""
    laid = lay_out(machine, point, 0)
    real = machine.real(rf"{NPM}\npmrc")
    kept = real.read_bytes()
    try:
        if point.builtin is None:
            real.unlink()
        else:
            real.write_bytes(point.builtin.replace(b"@", rf"{TOP}\0".encode()))
        env = laid["env"] | {"PATH": str(PureWindowsPath(NPM).parents[1])}
        done = machine.run(["node", rf"{NPM}\bin\npm-cli.js", "prefix", "-g", "--logs-max=0"], env=env, cwd=laid["cwd"])
    finally:
        real.write_bytes(kept)
    return done.out.strip().replace(rf"{TOP}\0", "@")
