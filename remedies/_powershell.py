"""Which execution policy decides in each PowerShell that is installed, and who says so. No PowerShell is started.

By Microsoft's about_Execution_Policies and the source of PowerShell 7 (SecuritySupport.cs, Utils.cs).
"""

from __future__ import annotations

import os

from ccremedy import Machine, files, hive, jsonc, settings
from ccremedy.record import dataclass, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def policies(machine: Machine, env: Mapping[str, str]) -> Iterator[Policy]:
    """Of each PowerShell that is installed."""
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
        forced.clear()
        for top in tops:
            as_classic = _number(key(rf"{top}\{core}"), "UseWindowsPowerShellPolicySetting")
            path = rf"{top}\{classic if as_classic else core}"
            forced.append((_forced(key(path)), f"group policy ({path})", False))
        configs = (config(machine), os.path.join(home, "powershell.config.json"))
        own = [(_configured(path), path, True) for path in configs]
        yield _first("PowerShell 7", [*forced, process, *own, ("RemoteSigned", "its own default", True)])


def _first(shell: str, candidates: list[tuple[str, str, bool]]) -> Policy:
    return next(Policy(shell, *each) for each in candidates if each[0])


def _forced(key: str) -> str:
    """What a key of group policy demands; '' where it demands nothing."""
    enabled = _number(key, "EnableScripts")
    return "" if enabled is None else "Restricted" if not enabled else hive.text(key, NAME) if enabled == 1 else ""


def _number(key: str, name: str) -> int | None:
    """The number in a value; None where there is none."""
    found = hive.read(key, name)
    if found is not None and found[0] == 4:
        return int.from_bytes(found[1], "little")
    text = hive.as_text(*found) if found else None
    return int(text) if text in ("0", "1") else None


def _home_of_7(machine: Machine, env: Mapping[str, str]) -> str:
    """The folder of PowerShell 7, '' where it is not installed."""
    pwsh = machine.which("pwsh", machine.search_path(env))
    top = os.path.normpath(hive.expanded("%PROGRAMFILES%/PowerShell", env))
    paths = [pwsh, *(os.path.join(top, name, "pwsh.exe") for name in files.names(top))]
    return next((os.path.dirname(os.path.realpath(path)) for path in paths if path and files.executable(path)), "")


def config(machine: Machine) -> str:
    """The user's settings of PowerShell 7."""
    return os.path.join(machine.adapter.documents_folder(machine), "PowerShell", "powershell.config.json")


def _configured(path: str) -> str:
    data = files.read(path)
    values: object = jsonc.parse(settings.as_claude_reads(data)) if data else {}  # PowerShell reads UTF-16, too
    found = values.get(MEMBER) if is_object(values) else None
    return found if isinstance(found, str) else ""
