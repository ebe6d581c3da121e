"""Tell Claude Code on Windows where Git's bash is; versions before 2.1.120 do not start without one.

By itself it is believed to look beside the git that is on PATH and in Program Files: no source says so, and nobody here
has run an old version on a Windows without Git. `git-bash.exe` opens a window and is no shell.
"""

from __future__ import annotations

import json

from ccremedy import Change, Finding, Healthy, Machine, Remedy, Setting, knowledge, settings, want

from . import _installs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "CLAUDE_CODE_GIT_BASH_PATH"
UPDATE = "Update Claude Code, which needs no Git from 2.1.120 on: npm install -g @anthropic-ai/claude-code@latest"
INSTALL = "Or install Git for Windows: winget install Git.Git"


class GitBashPath(Remedy):
    title = "Tell Claude Code on Windows where Git's bash is"
    symptoms = (
        "Claude Code on Windows requires git-bash",
        "Claude Code was unable to find CLAUDE_CODE_GIT_BASH_PATH path",
    )
    platforms = frozenset({"windows"})
    unsupported = "this is not Windows"

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        from . import _git  # only Windows asks for it

        env = machine.adapter.new_environment(machine)
        answering = _installs.on_path(machine, machine.search_path(env))
        installs = answering + _installs.elsewhere(machine, answering)
        install = next((each for each in installs if each.method != _installs.DESKTOP), None)
        if install is None:
            yield Healthy("Claude Code is not installed here")
            return
        version = _installs.version(machine, install)
        gates = {name: _installs.numbers(gate) for name, gate in knowledge.load("version_gates")["gates"].items()}
        known = _installs.numbers(version)
        needed = bool(known) and known < gates["git-bash-is-optional"]
        checked = not known or known < gates["git-bash-path-is-checked"]
        value, where = _git.told(machine, env, NAME)
        wrong, bash = _git.wrong(value), next(_git.bashes(machine, env), "")
        what = f"Claude Code {version or 'of an unknown version'} ({install.path})"
        if value and not wrong:
            yield Healthy(f"{NAME} leads to a shell that is there: {value} ({where})")
        elif wrong and not checked:
            yield Healthy(f"{what} passes over {NAME}, which {wrong} ({where})")
        elif wrong and (bash or not needed):
            changes, advice = _corrected(machine, where, bash)
            yield Finding(
                "wrong-value",
                "Claude Code does not start with the shell that it is told of",
                (f"{NAME} in {where} {wrong}", what),
                advice,
                changes,
                severity="error" if known else "warning",
                risk="low" if changes else "manual",
            )
        elif not needed:
            yield Healthy(
                f"{what} needs no Git Bash" if known else f"{what} is told of no shell: nothing is set wrongly"
            )
        elif itself := _git.found_by_itself(machine, env):
            yield Healthy(f"{what} finds Git's bash by itself: {itself}")
        else:
            evidence = [f"{what} needs Git's bash, and looks beside the git on PATH and in Program Files"]
            evidence += [f"{NAME} in {where} {wrong}"] if wrong else []
            if bash:
                changes = tuple(want(_setting(machine), json.dumps(bash)))
                evidence.append(f"{bash} is there")
                yield Finding("not-found", "Claude Code does not find Git's bash", tuple(evidence), (), changes)
            else:
                title = "Claude Code needs Git's bash, and there is none"
                yield Finding("no-git-bash", title, tuple(evidence), (UPDATE, INSTALL), risk="manual")


def _setting(machine: Machine) -> Setting:
    return Setting.at(settings.user_file(machine), f"/env/{NAME}")


def _corrected(machine: Machine, where: str, bash: str) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """The changes after which a wrong value does no harm, and what only a person can do."""
    from ccremedy import Value, hive

    user = settings.user_file(machine)
    keys = machine.adapter.environment_keys(machine.facts)
    if bash and (where in (user, settings.SHELL) or hive.is_key(where)):  # which a setting of the user outranks
        return tuple(want(_setting(machine), json.dumps(bash))), ()
    if where == user:
        return tuple(want(_setting(machine), "", by_hand=f"take {NAME} out")), ()
    if where in keys:
        return tuple(want(Value(where, NAME), "", by_hand=f"take {NAME} out")), ()
    return (), (f"Correct it, or take it out, where it is set: {where}",)
