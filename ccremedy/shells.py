"""What we know of bash, zsh and fish: which file each reads when, how to quote, and what a fresh one says.

Start-up files, by what the manuals say and by what was seen with the real shells (docs/architecture.md):

    bash   login: the first of .bash_profile, .bash_login, .profile    interactive: .bashrc    plain `bash -c`: none
    sh     login: .profile    (whose other starts have the PATH of that)
    zsh    login: .zprofile    interactive: .zshrc    (both in $ZDOTDIR)    plain `zsh -c`: .zshenv, left alone
    fish   always: config.fish

A file that does not exist yet is only proposed where its creation hides no other.
"""

from __future__ import annotations

import os
import re

from ccremedy import files
from ccremedy.errors import Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from threading import Event

    from ccremedy.machine import Machine
    from ccremedy.resources import Change

KNOWN = ("bash", "zsh", "fish", "sh")
_BASH_LOGIN = (".bash_profile", ".bash_login", ".profile")


@dataclass(frozen=True)
class Profile:
    """A start-up file, the shell whose syntax it has, and which of that shell's starts read it."""

    shell: str
    role: str  # "login", "interactive" or "all"
    path: str


def profiles(machine: Machine) -> list[Profile]:
    found: list[Profile] = []
    if "bash" in machine.shells:
        present = [name for name in _BASH_LOGIN if files.status(machine.path(name))]  # a link to nothing hides none
        login = present[0] if present else ".profile"
        found.append(Profile("bash", "login", machine.path(login)))
        found.append(Profile("bash", "interactive", machine.path(".bashrc")))
        if login != ".profile" and ".profile" in present and "sh" in machine.shells:
            found.append(Profile("sh", "login", machine.path(".profile")))  # hidden from bash, read by desktops
    elif "sh" in machine.shells:  # as on Alpine
        found.append(Profile("sh", "login", machine.path(".profile")))
    if "zsh" in machine.shells:
        folder = _zsh_folder(machine)
        found.append(Profile("zsh", "login", os.path.join(folder, ".zprofile")))
        found.append(Profile("zsh", "interactive", os.path.join(folder, ".zshrc")))
    if "fish" in machine.shells:
        found.append(Profile("fish", "all", os.path.join(_config_folder(machine), "fish", "config.fish")))
    return found


def stranger(machine: Machine) -> str:
    """The user's shell, where it is one whose start-up files we do not know: nu, tcsh; '' otherwise."""
    shell = os.path.basename(machine.env.get("SHELL", ""))
    like_sh = ("", *KNOWN, "ash", "dash", "ksh", "mksh", "rbash")
    return "" if shell in like_sh or machine.adapter.environment_keys(machine.facts) else shell


def bash_files(machine: Machine) -> list[str]:
    """The files below the home directory that bash, or what they call, may set variables in."""
    return [machine.path(name) for name in (".profile", *_BASH_LOGIN[:2], ".bashrc", ".bash_aliases")]


def _zsh_folder(machine: Machine) -> str:
    """ZDOTDIR, from the environment or as the system's zshenv or ~/.zshenv sets it."""
    folder = machine.env.get("ZDOTDIR", "")
    if not folder:
        paths = (machine.system("/etc/zsh/zshenv"), machine.system("/etc/zshenv"), machine.path(".zshenv"))
        settings = [found for path in paths for found in _ZDOTDIR.findall(_readable(path))]
        folder = re.sub("[\"']", "", settings[-1]) if settings else ""
        folder = re.sub(r"^\$\{ZDOTDIR:?[-=](.*?)\}?$", r"\1", folder)  # ${ZDOTDIR:-…}
        for spelling in ("${HOME}", "$HOME", "~"):
            folder = folder.replace(spelling, machine.home)
        folder = re.sub(r"\$\{XDG_CONFIG_HOME(:-[^}]*)?\}|\$XDG_CONFIG_HOME", _config_folder(machine), folder)
    return os.path.normpath(folder) if os.path.isabs(folder) and "$" not in folder else machine.home


_ZDOTDIR = re.compile(
    r"""^\s*(?:export\s+|typeset\s+-gx\s+|:\s+"?\$\{)?ZDOTDIR:?=((?:"[^"\n]*"|'[^'\n]*'|\$\{[^}\n]*\}|[^"'\s;#}])+)""",
    re.M,
)


def _readable(path: str) -> str:
    """What zsh would read here: nothing where the file is closed to the user, or is none."""
    try:
        return (files.read(path) or b"").decode("utf-8", "surrogateescape")
    except Problem:
        return ""


def _config_folder(machine: Machine) -> str:
    folder = machine.env.get("XDG_CONFIG_HOME", "")
    return os.path.normpath(folder) if os.path.isabs(folder) else machine.path(".config")


def start_up_files(machine: Machine) -> list[tuple[str, str]]:
    """Every file that a shell or a desktop of this user may set variables in, with its syntax (see `Assignment`)."""
    zsh, config = _zsh_folder(machine), _config_folder(machine)
    sh = [*bash_files(machine), machine.path(".zshenv")]
    sh += [os.path.join(zsh, name) for name in (".zshenv", ".zprofile", ".zshrc", ".zlogin")]
    parts = os.path.join(config, "fish", "conf.d")
    fish = [os.path.join(config, "fish", "config.fish"), *(os.path.join(parts, name) for name in files.names(parts))]
    desktop = os.path.join(config, "environment.d")
    env = [machine.path(".pam_environment"), *(os.path.join(desktop, name) for name in files.names(desktop))]
    kinds = {"sh": sh, "fish": [name for name in fish if name.endswith(".fish")], "env": env}
    return [(path, syntax) for syntax, paths in kinds.items() for path in dict.fromkeys(paths)]


def quote(shell: str, text: str) -> str:
    """`text` as one literal word, as an argument of a command; Problem where the shell has no spelling for it.

    "cmd"         for a program that splits its command line by Microsoft's rules, as typed behind `cmd /d /s /c` or at
                  the prompt, where % has no escape. Not for batch files, which drop what %…% does not know, nor where
                  delayed expansion (`cmd /v:on`) has been switched on: then ! has a meaning within quotes. cmd takes
                  8,191 characters a line.
    "powershell"  what PowerShell itself sees. Windows PowerShell 5.1 loses a " in what it hands to another program,
                  and reads a file without BOM in the ANSI code page.
    "either"      the same for cmd and for a POSIX shell, and for Git Bash, which rewrites what looks like a path of its
                  own. The backslashes of a whole path become slashes, which Windows takes as well.
    """
    if "\0" in text and shell in _WINDOWS:
        raise Problem("holds a NUL, which ends every command line of Windows")
    if shell == "cmd":
        return _quote_for_cmd(text)
    if shell == "powershell":
        return "'" + re.sub("['‘’‚‛]", r"\g<0>\g<0>", text) + "'"  # each of these ends its single quotes
    if shell == "either":
        return _quote_for_either(text)
    if shell == "fish":
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    word = "'" + text.replace("'", "'\\''") + "'"
    if shell == "tcsh":  # history and line ends act within its quotes, too
        return word.replace("!", "\\!").replace("\n", "\\\n")
    return word


_WINDOWS = ("cmd", "powershell", "either")


def _quote_for_cmd(text: str) -> str:
    """In double quotes; with a caret before each of them where there is something in it that they do not protect.

    cmd looks for %NAME% and %NAME:…% before anything else, in quotes or not. So the program's quotes end before each %
    and begin anew behind it, and no variable has a name that begins with a caret and a quote. A quote in the text would
    end cmd's quotes but not the program's; therefore to cmd there are none then.
    """
    if "\n" in text or "\r" in text:
        raise Problem("holds a line end, where every command of cmd ends")
    # To the program a backslash is one, but for those before a quote, and it ends its quotes at the same places.
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    word = "%".join('"' + re.sub(r"(\\+)\Z", r"\1\1", piece) + '"' for piece in escaped.split("%"))
    return re.sub(r"[^\w./:\\-]", r"^\g<0>", word, flags=re.A) if '"' in text or "%" in text else word


def _quote_for_either(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise Problem("holds a line end, where every command of cmd ends")
    if is_path := re.match(r"[A-Za-z]:[\\/]|[\\/]{2}[^\\/]", text):
        text = text.replace("\\", "/")
    if found := re.search(r'["$`%!]|\\(?=\\|\Z)', text):
        raise Problem(f"holds {found[0]}, which cmd and a POSIX shell have no common spelling for")
    # By what it begins with, or behind what separates paths in a list or an option from its value.
    if re.search(r"[=:;,]/" if is_path else r"^(?:[^\w.]*|-\w+)/|[=:;,]/", text[2:] if is_path else text):
        raise Problem("holds what looks like a path of Git Bash, which would make one of Windows of it")
    return f'"{text}"'


_AT_BOTH = {"mv": "move", "cp -p": "copy", "cd": "pushd"}  # what cmd and PowerShell know, and mean the same by


def typed(command: str, *paths: str, then: str = "") -> str:
    """What a person types to have this done with these paths ("mv", "cp -p" or "cd"), and then something else.

    Where they are paths of Windows it works at the prompt of cmd and of PowerShell alike; what stands for itself in the
    double quotes of only one of them is for PowerShell. Windows PowerShell 5.1 has no &&, and cmd no semicolon.
    """
    if not re.match(r"[A-Za-z]:[\\/]|\\\\", paths[0]):
        words = (path if re.fullmatch(r"[\w@%+=:,./-]+", path, re.A) else quote("sh", path) for path in paths)
        return " && ".join(filter(None, (" ".join((command, *words)), then)))
    if re.search(r"[%$`\[\]“”„*?]", "".join(paths)):
        wide = {"mv": "Move-Item", "cp -p": "Copy-Item", "cd": "Set-Location"}[command]
        line = f"{wide} -LiteralPath {' -Destination '.join(quote('powershell', path) for path in paths)}"
        return f"{line}; {then} (in PowerShell)" if then else f"{line} (in PowerShell)"
    line = " ".join((_AT_BOTH[command], *(f'"{path}"' for path in paths)))
    return f"{line}, and then: {then}" if then else line


def export(shell: str, name: str, value: str) -> str:
    """The line that gives a variable this value, here and in all that is started from here.

    cmd has none for an empty value: `set "NAME="` takes the variable away.
    """
    if shell == "cmd":
        return _set(name, value) + "\n"
    lead = {"fish": "set -gx {} {}", "tcsh": "setenv {} {}", "powershell": "$env:{} = {}"}.get(shell, "export {}={}")
    return lead.format(name, quote(shell, value)) + "\n"


def _set(name: str, value: str) -> str:
    """`set "NAME=VALUE"`, which takes what stands between the first quote and the last.

    A % can have no quote behind it there, nor a quote in the value be told from one of cmd's. With one of them each
    character has a caret instead, so that what stands behind a % is no variable's name.
    """
    if not value or re.search(r"[\0\r\n]", value):
        raise Problem("holds a NUL or a line end" if value else "is empty, which a variable of cmd cannot be")
    if "%" in value or '"' in value:
        return f"set {name}=" + "".join(f"^{character}" for character in value)
    return f'set "{name}={value}"'


def prepend(shell: str, folder: str, below: Sequence[str] = (), behind: Sequence[str] = ()) -> str:
    """The lines that put `folder` on PATH, ahead of everything below the folders `below` and of the folders `behind`.

    Written so that shells started from each other do not add it again and again, and without a helper variable.
    """
    ahead = [f":{drive}/" for drive in below] + [f":{other}:" for other in behind]
    if shell == "fish":
        guard = f"""test "$PATH[1]" = {quote(shell, folder)}""" if ahead else f"contains {quote(shell, folder)} $PATH"
        return f"{guard}; or set -gx PATH {quote(shell, folder)} $PATH\n"
    word, here = quote(shell, folder), quote(shell, f":{folder}:")
    add = f'export PATH={word}"${{PATH:+:$PATH}}"'  # an empty last entry would be the working directory
    arms = [f"*{here}*) ;;", f"*) {add} ;;"]
    if ahead:
        # “:/a:/b:” has one colon between the two, so the pattern of a whole folder gives its last one to ours.
        late = " | ".join(f"*{quote(shell, each.removesuffix(':'))}*{here}*" for each in ahead)
        arms = [f"{here}*) ;;", f"{late}) {add} ;;", *arms]
    return "\n".join(['case ":$PATH:" in', *(f"  {arm}" for arm in arms), "esac", ""])


# ---- proof: what a fresh shell says

MODES = {
    "bash": {"login": "-lc", "interactive": "-ic", "login and interactive": "-lic", "plain": "-c"},
    "zsh": {"login": "-lc", "interactive": "-ic", "login and interactive": "-lic", "plain": "-c"},
    "fish": {"login": "-lc", "interactive": "-ic", "plain": "-c"},
    "sh": {"login": "-lc"},
}
# The starts that read the file of a role. bash reads .bashrc in a login shell only where .profile says so.
_READERS = {
    ("bash", "login"): ("login", "login and interactive"),
    ("bash", "interactive"): ("interactive",),
    ("sh", "login"): ("login",),
    ("zsh", "login"): ("login", "login and interactive"),
    ("zsh", "interactive"): ("interactive", "login and interactive"),
    ("fish", "all"): ("login", "interactive", "plain"),
}
_EXTRA = ("/usr/games", "/usr/local/games", "/snap/bin", "/usr/lib/wsl/lib")
_VOLATILE = {"_", "SHLVL", "PWD", "OLDPWD", "RANDOM", "SECONDS", "EPOCHSECONDS", "EPOCHREALTIME", "SSH_AGENT_PID"}
_REDIRECTED = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")

Answers = dict[tuple[str, str], "dict[str, str] | str"]  # (shell, mode): its environment, or why there is none


def ask(machine: Machine, names: Iterable[str], timeout: float) -> Answers:
    """The environment that each start of each of these shells ends up with, from a clean one."""
    from concurrent.futures import ThreadPoolExecutor, wait
    from threading import Event

    from ccremedy import processes

    cancelled = Event()

    starts = [(name, mode) for name in sorted(set(names)) for mode in MODES[name]]
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        try:
            answers = {start: pool.submit(_ask, machine, *start, timeout, cancelled) for start in starts}
            # Woken now and then: Ctrl-C may be given to another thread, and does not end this one's wait then.
            while wait(answers.values(), timeout=0.1).not_done:
                continue
            return {start: answer.result() for start, answer in answers.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            cancelled.set()
            processes.stop_all()  # the pool waits for what it has started
            raise


def _ask(machine: Machine, shell: str, mode: str, timeout: float, cancelled: Event) -> dict[str, str] | str:
    from ccremedy import processes

    env = _clean_environment(machine, shell)
    config = data = ""
    if shell == "fish":  # at its first start fish makes folders and files; not in the user's home on our account
        config, data = _fish_config(machine), files.shadow("", "fish")
        env |= dict.fromkeys(_REDIRECTED, data) | {"XDG_CONFIG_HOME": config}
    token = f"ccremedy-{os.getpid()}"
    # With an end of its own, because a program that a start-up file leaves running keeps our pipe open.
    script = f"printf '\\0{token}\\0'; {machine.adapter.list_environment}; printf '\\0{token}-end\\0'"
    try:
        command = [machine.shells[shell], MODES[shell][mode], script]
        outcome = processes.run(command, env, timeout, machine.home, cancelled)
    except OSError as error:
        return f"could not be started: {error.strerror}"
    finally:
        for folder in filter(None, (config, data)):
            files.remove_shadow(folder)
    _, found, rest = outcome.out.partition(f"\0{token}\0".encode())
    listing, whole, _ = rest.partition(f"\0{token}-end\0".encode())
    if outcome.timed_out and not whole:
        return f"did not come back within {timeout:g} seconds"
    if not found or not whole:
        return "does not come back from its start-up files (they exit, or start another program)"
    text = listing.decode("utf-8", "surrogateescape")
    answer = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    return {name: value for name, value in answer.items() if not (config and name in _REDIRECTED)}


def _fish_config(machine: Machine) -> str:
    return files.shadow(_config_folder(machine), "fish", rewritten="fish_variables")


def _clean_environment(machine: Machine, shell: str) -> dict[str, str]:
    """What a new terminal starts with: nothing that a start-up file has set in the one that we run in."""
    kept = ("USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "ZDOTDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    env = {name: value for name, value in machine.env.items() if name in kept or name.startswith("WSL")}
    current = machine.search_path()
    path = [*machine.adapter.new_path, *(each for each in current if each in _EXTRA or machine.is_windows(each))]
    return env | {"HOME": machine.home, "SHELL": machine.shells[shell], "TERM": "xterm", "PATH": ":".join(path)}


def prove(
    machine: Machine, changes: Sequence[Change], before: Answers, after: Answers, again: Answers | None = None
) -> dict[Change, str]:
    """The changes that do not hold in a fresh shell, each with the reason.

    `expects` of a change is a list of
        "path FOLDER"     FOLDER stands on PATH
        "linux PROGRAM"   PROGRAM is found, and not on a drive of Windows
        "ahead FOLDER:OTHER…"  FOLDER stands on PATH before each of the others
        "env NAME=VALUE"  the variable has this value
    and beside PATH, which may only gain folders, no variable may have changed in any start of that shell. `again` is
    a second look after the change: what differs between the two (a time, a session's name) changes by itself.
    """
    from ccremedy.resources import Block

    wrong: dict[Change, str] = {}
    for change in changes:
        block = change.resource
        if not isinstance(block, Block):
            continue
        readers = _READERS[block.shell, block.role]
        for mode in MODES[block.shell]:
            then, now = before[block.shell, mode], after[block.shell, mode]
            if isinstance(now, str):
                if isinstance(then, dict):
                    wrong[change] = f"{block.shell} ({mode}) {now}, and did before"
                continue
            once_more = (again or {}).get((block.shell, mode), now)
            wanted = {each[4:].partition("=")[0] for each in change.expects if each.startswith("env ")}
            if isinstance(then, dict) and (other := _side_effects(then, now, once_more, wanted)):
                wrong[change] = f"{block.shell} ({mode}): {other} changed too"
            if mode in readers:
                for expectation in change.expects:
                    if missed := _missed(machine, expectation, now):
                        wrong[change] = f"{block.shell} ({mode}): {missed}"
    return wrong


def unanswered(changes: Sequence[Change], answers: Answers) -> list[str]:
    """The starts that should read a changed file but could not be asked, as sentences."""
    from ccremedy.resources import Block

    blocks = [change.resource for change in changes if isinstance(change.resource, Block)]
    starts = {(each.shell, mode) for each in blocks for mode in _READERS[each.shell, each.role]}
    return [
        f"{shell} ({mode}) could not be asked: it {answer}"
        for (shell, mode), answer in answers.items()
        if isinstance(answer, str) and (shell, mode) in starts
    ]


def _side_effects(then: dict[str, str], now: dict[str, str], again: dict[str, str] | str, wanted: set[str]) -> str:
    """The variables that changed, or came, or went. One that was there before and differs at each start is not ours."""
    restless = set[str]() if isinstance(again, str) else {name for name in then if now.get(name) != again.get(name)}
    names = (then.keys() | now.keys()) - _VOLATILE - {"PATH"} - restless - wanted
    changed = [name for name in sorted(names) if then.get(name) != now.get(name)]
    if "PATH" not in restless:
        kept = now.get("PATH", "").split(":")
        lost = [folder for folder in then.get("PATH", "").split(":") if folder and folder not in kept]
        changed += [f"PATH (it lost {lost[0]})"] if lost else []
    return ", ".join(changed)


def _missed(machine: Machine, expectation: str, env: dict[str, str]) -> str:
    kind, _, what = expectation.partition(" ")
    if kind == "env":
        name, _, value = what.partition("=")
        return "" if env.get(name) == value else f"{name} is not what it was set to"
    path = [folder for folder in env.get("PATH", "").split(":") if os.path.isabs(folder)]
    if kind == "path":
        return "" if what in path else f"{what} is not on PATH"
    if kind == "ahead":
        folder, *others = what.split(":")
        before = path[: path.index(folder)] if folder in path else path
        first = next((each for each in before if each in others), "")
        return f"{first} is still before {folder} on PATH" if first else ""
    found = machine.which(what, path)
    if not found:
        return f"{what} is not found"
    return f"{what} is still {found}" if machine.is_windows(found) else ""
