"""Let PowerShell start the claude that npm has installed, where its execution policy blocks scripts.

npm writes three shims; PowerShell takes `claude.ps1` before `claude.cmd`, to which no policy applies. So the script is
moved out of the way. `--policy` changes the policy of the user instead; one that an administrator forces stays.
"""

from __future__ import annotations

import os

from ccremedy import Change, Finding, Healthy, Location, Machine, Option, Remedy, files, want

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._powershell import Policy

BACK = "npm brings claude.ps1 back when it installs or updates Claude Code; the native installer writes no script"
ANEW = "To have all three shims: npm install -g @anthropic-ai/claude-code@latest"
INSTEAD = "To let scripts of your own run instead: ccremedy apply ps-policy --policy"


class PsPolicy(Remedy):
    title = "Let PowerShell start the claude that npm has installed"
    symptoms = ("running scripts is disabled on this system", "claude.ps1 cannot be loaded", "is not digitally signed")
    platforms = frozenset({"windows"})
    unsupported = "this is not Windows"
    options = (Option("policy", "let the user's own scripts run (RemoteSigned) instead of moving claude.ps1 aside"),)

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        env = machine.adapter.new_environment(machine)
        shim = _shim(machine, env)
        if os.path.splitext(shim)[1].lower() != ".ps1":
            yield Healthy(
                f"PowerShell starts {shim}, which is no script" if shim else "npm has installed no claude here"
            )
            return
        from . import _powershell  # only Windows has one that obeys a policy

        policies = list(_powershell.policies(machine, env))
        blocked = [each for each in policies if each.blocks]
        if not blocked:
            yield Healthy("; ".join(f"{each.shell} runs {shim}: {each.value}, by {each.where}" for each in policies))
            return
        evidence = [f"{each.shell} does not run {shim}: {each.value}, by {each.where}" for each in blocked]
        if others := [name for name in _others(shim) if name != os.path.basename(shim)]:
            evidence.append(f"{', '.join(others)} beside it {'are' if len(others) > 1 else 'is'} blocked, too")
        asked, forced = machine.options.get("policy"), [each for each in blocked if not each.is_ours]
        if asked and not forced:
            changes, advice = [change for each in blocked for change in _allowed(machine, each)], []
        else:
            changes = list(_aside(shim))
            advice = [f"The policy is forced by {each.where}, so it was left alone" for each in forced if asked]
            advice += [BACK] if not any(each.refused for each in changes) else [ANEW]
            advice += [] if forced or asked else [INSTEAD]
        yield Finding(
            "blocked",
            "PowerShell does not run npm's claude",
            tuple(evidence),
            tuple(advice),
            tuple(changes),
            risk="medium" if asked and not forced else "low",
        )


def _shim(machine: Machine, env: Mapping[str, str]) -> str:
    """What PowerShell starts for the word claude: in each folder of PATH, a script before all others."""
    from ccremedy import hive

    for folder in (*machine.search_path(env), os.path.normpath(hive.expanded("%APPDATA%/npm", env))):
        for name in ("claude.ps1", *machine.adapter.file_names(machine.facts, "claude")):
            path = os.path.join(folder, name)
            found = files.status(path)
            if found is not None and found.st_size:  # Claude Desktop's alias is empty
                return path
    return ""


def _others(shim: str) -> list[str]:
    """The scripts beside it that have a twin which no policy blocks."""
    names = files.names(os.path.dirname(shim))
    known = {name.lower() for name in names}
    return [name for name in names if name.lower().endswith(".ps1") and f"{name[:-4].lower()}.cmd" in known]


def _aside(shim: str) -> Iterator[Change]:
    twin = f"{os.path.splitext(shim)[0]}.cmd"
    refused = "" if files.executable(twin) else f"has no {os.path.basename(twin)} beside it, so nothing would be left"
    aside = files.free_name(shim)
    return want(Location(shim, aside), "aside", by_hand=f'move "{shim}" "{aside}"', refused=refused)


def _allowed(machine: Machine, policy: Policy) -> Iterator[Change]:
    from ccremedy import Setting, Value, hive

    from ._powershell import MEMBER, NAME, SCOPES, config

    if policy.shell == "PowerShell 7":
        return want(Setting.at(config(machine), f"/{MEMBER}", strict=False), '"RemoteSigned"')
    key = machine.facts.key(rf"{hive.USER}\{SCOPES}")
    by_hand = "Set-ExecutionPolicy RemoteSigned -Scope CurrentUser"
    return want(Value(key, NAME), hive.spelled(1, hive.as_data("RemoteSigned")), by_hand=by_hand)
