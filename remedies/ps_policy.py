"""Let PowerShell start the claude that npm has installed, where its execution policy blocks scripts.

npm writes three shims; PowerShell takes `claude.ps1` before `claude.cmd`, to which no policy applies. So the script is
moved out of the way. `--policy` changes the policy of the user instead; one that an administrator forces stays.
"""

from __future__ import annotations

import os

from ccremedy import Change, Finding, Healthy, Location, Machine, Option, Remedy, files, want
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BACK = "npm brings claude.ps1 back when it installs or updates Claude Code; the native installer writes no script"
ANEW = "To have all three shims: npm install -g @anthropic-ai/claude-code@latest"
INSTEAD = "To let scripts of your own run instead: ccremedy apply ps-policy --policy"
SCOPES = r"Software\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell"
NAME = "ExecutionPolicy"
MEMBER = "Microsoft.PowerShell:ExecutionPolicy"  # of powershell.config.json, which PowerShell 7 reads
_KNOWN = ("bypass", "unrestricted", "remotesigned", "allsigned", "restricted")


@dataclass(frozen=True)
class Policy:
    """What decides in one PowerShell: the policy, who says so, and whether the user's own could outrank it."""

    shell: str
    value: str
    where: str
    is_ours: bool

    @property
    def blocks(self) -> bool:
        """npm's script is not signed; RemoteSigned lets it run, for npm marks no file as one from elsewhere."""
        return self.value.lower() in ("allsigned", "restricted") or self.value.lower() not in _KNOWN


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
        policies = list(_policies(machine, env))
        blocked = [each for each in policies if each.blocks]
        if not blocked:
            yield Healthy("; ".join(f"{each.shell} runs {shim}: {each.value}, by {each.where}" for each in policies))
            return
        evidence = [f"{each.shell} does not run {shim}: {each.value}, by {each.where}" for each in blocked]
        if others := [name for name in _others(shim) if name != os.path.basename(shim)]:
            evidence.append(f"{', '.join(others)} beside it {'are' if len(others) > 1 else 'is'} blocked, too")
        asked, forced = machine.options.get("policy"), [each for each in blocked if not each.is_ours]
        if asked and not forced:
            changes, advice = [change for each in blocked for change in _allowed(machine, env, each)], []
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


def _allowed(machine: Machine, env: Mapping[str, str], policy: Policy) -> Iterator[Change]:
    from ccremedy import Setting, Value, hive

    if policy.shell == "PowerShell 7":
        return want(Setting.at(_config(machine, env), f"/{MEMBER}", strict=False), '"RemoteSigned"')
    key = machine.facts.key(rf"{hive.USER}\{SCOPES}")
    by_hand = "Set-ExecutionPolicy RemoteSigned -Scope CurrentUser"
    return want(Value(key, NAME), hive.spelled(1, hive.as_data("RemoteSigned")), by_hand=by_hand)


# ---- what decides (about_Execution_Policies; PowerShell's SecuritySupport.cs and Utils.cs)


def _policies(machine: Machine, env: Mapping[str, str]) -> Iterator[Policy]:
    """Of each PowerShell that is installed."""
    from ccremedy import hive

    key, tops = machine.facts.key, (hive.SYSTEM, hive.USER)
    classic, core = (rf"Software\Policies\Microsoft\{name}" for name in (r"Windows\PowerShell", "PowerShellCore"))
    forced = [(_forced(key(rf"{top}\{classic}")), rf"group policy ({top}\{classic})", False) for top in tops]
    process = (env.get("PSEXECUTIONPOLICYPREFERENCE", ""), "the variable PSExecutionPolicyPreference", False)
    own = [(hive.text(key(rf"{top}\{SCOPES}"), NAME), rf"{top}\{SCOPES}", True) for top in reversed(tops)]
    server = (
        hive.text(key(rf"{hive.SYSTEM}\SOFTWARE\Microsoft\Windows NT\CurrentVersion"), "InstallationType") == "Server"
    )
    default = ("RemoteSigned" if server else "Restricted", "Windows' own default", True)
    yield _first("Windows PowerShell", [*forced, process, *own, default])
    if home := _home_of_7(machine, env):
        forced = []
        for top in tops:
            as_classic = _number(key(rf"{top}\{core}"), "UseWindowsPowerShellPolicySetting")
            path = rf"{top}\{classic if as_classic else core}"
            forced.append((_forced(key(path)), f"group policy ({path})", False))
        configs = (_config(machine, env), os.path.join(home, "powershell.config.json"))
        own = [(_configured(path), path, True) for path in configs]
        yield _first("PowerShell 7", [*forced, process, *own, ("RemoteSigned", "its own default", True)])


def _first(shell: str, candidates: list[tuple[str, str, bool]]) -> Policy:
    return next(Policy(shell, *each) for each in candidates if each[0])


def _forced(key: str) -> str:
    """What a key of group policy demands; '' where it demands nothing."""
    from ccremedy import hive

    enabled = _number(key, "EnableScripts")
    return "" if enabled is None else "Restricted" if not enabled else hive.text(key, NAME) if enabled == 1 else ""


def _number(key: str, name: str) -> int | None:
    """The number in a value; None where there is none."""
    from ccremedy import hive

    found = hive.read(key, name)
    if found is not None and found[0] == 4:
        return int.from_bytes(found[1], "little")
    text = hive.as_text(*found) if found else None
    return int(text) if text in ("0", "1") else None


def _home_of_7(machine: Machine, env: Mapping[str, str]) -> str:
    """The folder of PowerShell 7, '' where it is not installed."""
    from ccremedy import hive

    pwsh = machine.which("pwsh", machine.search_path(env))
    top = os.path.normpath(hive.expanded("%PROGRAMFILES%/PowerShell", env))
    paths = [pwsh, *(os.path.join(top, name, "pwsh.exe") for name in files.names(top))]
    return next((os.path.dirname(os.path.realpath(path)) for path in paths if path and files.executable(path)), "")


def _config(machine: Machine, env: Mapping[str, str]) -> str:
    """The user's settings of PowerShell 7: in Documents, wherever these are (OneDrive moves them)."""
    from ccremedy import hive

    folders = rf"{hive.USER}\Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"
    documents = hive.expanded(hive.text(machine.facts.key(folders), "Personal"), env)
    documents = documents if os.path.isabs(documents) else machine.path("Documents")
    return os.path.normpath(os.path.join(documents, "PowerShell", "powershell.config.json"))


def _configured(path: str) -> str:
    from ccremedy import jsonc, settings

    data = files.read(path)
    values = jsonc.parse(settings.as_claude_reads(data)) if data else {}  # PowerShell reads UTF-16, too
    found = values.get(MEMBER) if isinstance(values, dict) else None
    return found if isinstance(found, str) else ""
