"""Where API keys lie in clear: in start-up files, .env files, settings of Claude Code and VS Code, npmrc."""

from __future__ import annotations

import os
import re

from ccremedy import Assignment, Change, Machine, Problem, Setting, editors, files, settings
from ccremedy.record import dataclass
from ccremedy.redact import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "ANTHROPIC_API_KEY"
_TOKEN = re.compile(r"sk-ant-[\w-]{16,}")
_WHY = "the secret store has it (ccremedy key status)"


@dataclass(frozen=True)
class Place:
    """A key that lies open, and the change that takes it away from there, or why we leave it."""

    where: str
    key: Secret
    change: Change | None = None

    @property
    def fingerprint(self) -> str:
        from ccremedy import seals  # only where there is a key

        return seals.names(seals.mark(self.key))[0]

    def __str__(self) -> str:
        return f"{self.where}: a key with fingerprint {self.fingerprint[:8]}"


def movable(machine: Machine, vault: str) -> Iterator[Place]:
    """The places that Claude Code takes a key from, in the order in which it prefers them."""
    for layer in settings.layers(machine):
        if layer.name != "managed" and KEY in layer.env():
            yield from _member(layer.path, f"/env/{KEY}", vault)
    for path, syntax in machine.adapter.start_up_files(machine):
        yield from _lines(path, syntax, vault)
    for key in machine.adapter.environment_keys(machine.facts):
        yield from _value(machine, key, vault)
    for path in editor_settings(machine):
        yield from _member(path, f"/terminal.integrated.env.{machine.adapter.editor}/{KEY}", vault, strict=False)
    yield from _member(machine.claude_state(), "/primaryApiKey", vault)


def editor_settings(machine: Machine) -> list[str]:
    """The settings of VS Code and its kin, here and (on WSL) of the part that runs here."""
    editors = ("Code", "Code - Insiders", "VSCodium", "Cursor")
    config = machine.adapter.config_folder(machine.facts)
    paths = [os.path.join(config, name, "User", "settings.json") for name in editors]
    return [*paths, machine.path(".vscode-server", "data", "Machine", "settings.json")]


def _lines(path: str, syntax: str, vault: str) -> Iterator[Place]:
    resource = Assignment(path, KEY, syntax, vault)
    data = files.read(path) or b""
    found = [each for each in editors.get_assignments(data, KEY, syntax) if each.value and not each.aside]
    if not found:
        return
    before = resource.extract(data)
    after = editors.put_aside(before, KEY, syntax, _WHY)
    change = Change(resource, before, after, by_hand=f"Remove the line that sets {KEY} from {path}")
    yield Place(f"{path}, line {found[-1].number}", Secret(found[-1].value), change)


def _value(machine: Machine, key: str, vault: str) -> Iterator[Place]:
    from ccremedy import Value, hive  # only Windows has keys

    resource = Value(key, KEY, vault)
    text = hive.text(key, KEY)
    if text and text == machine.adapter.new_environment(machine).get(KEY):  # what names another variable is no key
        change = Change(resource, resource.read(), "", by_hand=f"Remove {KEY} from your environment variables")
        yield Place(f"{KEY} in {key}", Secret(text), change)


def _member(path: str, name: str, vault: str, strict: bool = True) -> Iterator[Place]:
    from ccremedy import jsonc

    try:
        data = files.read(path, Setting.LIMIT) or b""
        value = jsonc.parse((jsonc.get(data, Setting(path, name).keys()) or "").encode()) if data else None
    except Problem:
        return  # reset-config is for files that do not parse
    if isinstance(value, str) and value:
        resource = Setting.at(path, name, strict, vault)
        change = Change(resource, resource.read(), "", by_hand=f"Remove {resource}")
        yield Place(str(resource).replace("“", "").replace("”", ""), Secret(value), change)


def elsewhere(machine: Machine, taken: set[str]) -> Iterator[Place]:
    """Keys in files that other programs read, or that we cannot edit, but for the files `taken`.

    With what git says of those in a project.
    """
    project = machine.facts.cwd
    names = [name for name in files.names(project) if name == ".env" or name.startswith(".env.")] if project else []
    paths = [os.path.join(project, name) for name in (*names, ".mcp.json", ".npmrc") if project]
    tracked: set[str] = _tracked(machine, project, paths) if any(_tokens(path) for path in paths) else set()
    for path in dict.fromkeys([*paths, machine.path(".npmrc"), machine.path(".env"), *_rest(machine)]):
        for number, token in _tokens(path) if path not in taken else []:
            note = " (git tracks this file: whoever has the repository has the key)" if path in tracked else ""
            yield Place(f"{path}, line {number}{note}", Secret(token))
    for layer in settings.layers(machine):  # UTF-16, which Claude Code reads and ccremedy does not edit
        if layer.name != "managed" and layer.path not in taken and layer.env().get(KEY):
            yield Place(f"env.{KEY} in {layer.path}", Secret(layer.env()[KEY]))
    for key in machine.adapter.environment_keys(machine.facts):
        yield from _filled_in(machine, key)
    for value, where in machine.adapter.reported_variables(machine, KEY):
        if value:
            yield Place(f"{KEY} in {where}", Secret(value))


def _filled_in(machine: Machine, key: str) -> Iterator[Place]:
    """A key that Windows puts together out of other variables."""
    from ccremedy import hive  # only Windows has keys

    text, value = hive.text(key, KEY), machine.adapter.new_environment(machine).get(KEY)
    if text and value and text != value:
        yield Place(f"{KEY} in {key}, which names another variable", Secret(value))


def _rest(machine: Machine) -> Iterator[str]:
    """What of the movable places we could not make out: keys in lines that do more than set the variable."""
    yield from (path for path, _ in machine.adapter.start_up_files(machine))
    yield from editor_settings(machine)


def _tokens(path: str) -> list[tuple[int, str]]:
    """Each line with something that looks like a key."""
    try:
        data = files.read(path) or b""
    except Problem:
        return []
    lines = enumerate(editors.as_utf8(data).decode("utf-8", "replace").split("\n"), 1)
    return [(number, found[0]) for number, line in lines if (found := _TOKEN.search(line))]


def _tracked(machine: Machine, folder: str, paths: list[str]) -> set[str]:
    """Those of the files that git has in its index. No git, no answer."""
    from ccremedy import processes

    git = machine.adapter.trusted(machine.facts, "git")
    if not git:
        return set()
    # Without what a repository's own configuration could let git run.
    command = [git, "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-C", folder]
    command += ["ls-files", "-z", "--", *(os.path.basename(path) for path in paths)]
    system = {name: value for name, value in machine.env.items() if name == "SYSTEMROOT"}  # Windows' programs want it
    outcome = processes.run(command, {"HOME": "/", "GIT_CONFIG_NOSYSTEM": "1", **system}, timeout=5)
    found = (name.decode("utf-8", "surrogateescape") for name in outcome.out.split(b"\0") if name)
    return {os.path.join(folder, name) for name in found}
