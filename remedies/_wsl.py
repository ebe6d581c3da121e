"""The distributions of WSL beside this Windows, and, where that is asked for, which claude answers in them."""

from __future__ import annotations

import re

from ccremedy import Machine, hive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Lxss"
PATIENCE = 10.0  # seconds: one that sleeps has to be started


def notes(machine: Machine) -> Iterator[str]:
    top = machine.facts.key(LIST)
    default = hive.text(top, "DefaultDistribution").lower()
    for key in hive.keys(top):
        name = hive.text(rf"{top}\{key}", "DistributionName")
        if not name:
            continue
        kind = hive.read(rf"{top}\{key}", "Version")
        number = int.from_bytes(kind[1], "little") if kind and kind[0] == 4 else 0
        what = f"{name} (WSL{f' {number}' if number else ''}{', the default' if key.lower() == default else ''})"
        if machine.options.get("wsl"):
            yield f"in {what} {_answer(machine, name)}"
        else:
            yield f"in {what} another PATH decides: --wsl asks which claude answers there"


def _answer(machine: Machine, name: str) -> str:
    from ccremedy import processes  # only where it is asked for

    program = machine.adapter.trusted(machine.facts, "wsl.exe")
    if not program:
        return "nobody could be asked: there is no wsl.exe"
    command = [program, "-d", name, "-e", "/bin/sh", "-lc", "command -v claude; command -v node"]
    try:
        outcome = processes.run(command, machine.env, PATIENCE, machine.home)
    except OSError as error:
        return f"nobody could be asked: wsl.exe cannot be started ({error.strerror})"
    if outcome.timed_out:
        return f"nobody answered within {PATIENCE:g} seconds"
    lines = [line.strip() for line in _text(outcome.out).splitlines()]
    found = {word: next((each for each in lines if each.endswith(f"/{word}")), "") for word in ("claude", "node")}
    if outcome.code and not any(found.values()) and (said := _text(outcome.out + outcome.err).strip()):
        return f"nobody answered: {said.splitlines()[0].strip()}"
    return " and ".join(f"{word} is {_whose(path)}" for word, path in found.items())


def _whose(path: str) -> str:
    if not path:
        return "not found"
    return f"{path} of Windows (ccremedy apply wsl-path, in there)" if re.match("/mnt/[a-z]/", path) else path


def _text(data: bytes) -> str:
    """What WSL itself says is UTF-16, what is started in it mostly UTF-8."""
    return data.decode("utf-16-le" if b"\0" in data else "utf-8", "replace")
