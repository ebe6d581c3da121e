"""The distributions of WSL beside this Windows, and, where that is asked for, which claude answers in them."""

from __future__ import annotations

import re

from ccremedy import Machine, hive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Lxss"
NOBODYS = r"(docker|rancher)-desktop(-data)?"  # tools of Windows live in these, and nobody has a terminal there
PATIENCE = 10.0  # seconds: one that sleeps has to be started
LAST = "ccremedy-asked"  # a shell in there has answered, whatever it has found; wsl.exe says other things, too
# As in a terminal: nvm and others are loaded by files that neither another shell nor one that is not interactive reads.
# With -e wsl.exe starts no shell of its own that would fill in the $, and WSL sets SHELL (microsoft/WSL, 2026-08-08).
QUESTION = f"exec ${{SHELL:-/bin/sh}} -lic 'command -v claude; command -v node; echo {LAST}'"


def notes(machine: Machine) -> Iterator[str]:
    top = machine.facts.key(LIST)
    default = hive.text(top, "DefaultDistribution").lower()
    found: dict[str, str] = {}
    for key in hive.keys(top):
        name = hive.text(rf"{top}\{key}", "DistributionName")
        if not name or re.fullmatch(NOBODYS, name):
            continue
        kind = hive.read(rf"{top}\{key}", "Version")
        number = int.from_bytes(kind[1], "little") if kind and kind[0] == 4 else 0
        found[name] = f"{name} (WSL{f' {number}' if number else ''}{', the default' if key.lower() == default else ''})"
    if not machine.options.get("wsl"):
        yield from (f"in {what} another PATH decides: --wsl asks which claude answers there" for what in found.values())
        return
    if not found:
        yield "this account has no distribution of WSL to ask"
    silent = ""
    for name, what in found.items():
        if silent:  # what hangs is mostly the service that they share, and each would cost as much patience
            yield f"{what} was not asked, because {silent} did not answer"
            continue
        answer = _ask(machine, name)
        silent = "" if answer else name
        yield f"in {what} {answer or f'nobody answered within {PATIENCE:g} seconds'}"


def _ask(machine: Machine, name: str) -> str:
    """Whose claude and node win in there, or why nobody could tell; '' where it took too long."""
    from ccremedy import processes  # only where it is asked for

    program = machine.adapter.trusted(machine.facts, "wsl.exe")
    if not program:
        return "nobody could be asked: there is no wsl.exe"
    try:
        outcome = processes.run(
            [program, "-d", name, "-e", "/bin/sh", "-c", QUESTION], machine.env, PATIENCE, machine.home
        )
    except OSError as error:
        return f"nobody could be asked: wsl.exe cannot be started ({error.strerror})"
    if outcome.timed_out:
        return ""
    lines = [line.strip() for line in _text(outcome.out).splitlines()]
    if LAST in lines:
        return " and ".join(f"{word} is {_whose(word, lines)}" for word in ("claude", "node"))
    said = (*lines, *_text(outcome.err).splitlines())
    why = next((each.strip() for each in said if each.strip()), f"wsl.exe ended with {outcome.code:#x}")
    return f"nobody answered: {why}"


def _whose(word: str, lines: list[str]) -> str:
    if any(each == word or each.startswith(f"alias {word}=") for each in lines):
        return "an alias or function of the shell"
    path = next((each for each in lines if each.endswith(f"/{word}")), "")
    if not path:
        return "not found"
    # A distribution may have its drives elsewhere than in /mnt.
    if re.match("/mnt/[a-z]/", path) or re.search("/[a-z]/(users|program files|programdata)/", path, re.IGNORECASE):
        return f"that of Windows, {path} (in there: ccremedy apply wsl-path)"
    return f"Linux' own {path}"


def _text(data: bytes) -> str:
    """What WSL itself says is UTF-16, what is started in it mostly UTF-8."""
    return data.decode("utf-16-le" if b"\0" in data else "utf-8", "replace")
