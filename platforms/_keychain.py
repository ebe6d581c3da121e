"""The Keychain of macOS: whether Claude Code's login is in it, which is asked for and never read; whom it trusts.

`security` answers with the last byte of the error number of Security.framework: 44 is errSecItemNotFound, 36 is
errSecInteractionNotAllowed. Without -w or -g it gives attributes only, for which no keychain needs to be open. Whether
it is open is asked over SSH alone, where no window can come up: at a screen, asking would make the user unlock it.
(research: claude-code-facts §4, users-and-prior-art A13)
"""

from __future__ import annotations

from ccremedy import Machine
from ccremedy.machine import Login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ccremedy.processes import Outcome

WHERE = "the Keychain"
_NOT_FOUND, _NOT_ALLOWED = 44, 36
_PATIENCE = 5.0  # seconds
_SERVICES = {"login": "Claude Code-credentials", "Console login": "Claude Code"}
_UNLOCK = (
    "Unlock it for this session: security unlock-keychain (it asks for the password of your account). "
    "Or log in once over SSH (claude, then /login): Claude Code keeps that login in a file in its own folder"
)


def logins(machine: Machine, security: str, thorough: bool) -> Iterator[Login]:
    """See `Adapter.logins`."""
    if not security:
        return
    locked = False
    if machine.env.get("SSH_CONNECTION") or machine.env.get("SSH_TTY"):
        locked = _ask(machine.env, security, "show-keychain-info").code == _NOT_ALLOWED
        if locked:
            yield Login("", WHERE, "is locked in this SSH session, so Claude Code cannot read its login there", _UNLOCK)
        elif not thorough:
            yield Login("login, if there is one", WHERE, "ccremedy key status looks for it")
        if not thorough:
            return
    for name, service in _SERVICES.items():
        found = _ask(machine.env, security, "find-generic-password", "-s", service + _suffix(machine))
        if found.timed_out:
            todo = "Look for a window of macOS that asks for something"
            yield Login("", WHERE, f"did not answer within {_PATIENCE:g} seconds", todo)
            return
        if found.code == 0:
            yield Login(name, WHERE, "locked in this SSH session" if locked else "")
            if not thorough:
                return
        elif found.code == _NOT_ALLOWED and not locked:
            yield Login("", WHERE, "is locked, so Claude Code cannot read its login there", _UNLOCK)
            return
        if not thorough:
            yield Login("", WHERE, "holds no login (for a key of the Console: ccremedy key status)")
            return


def authorities(env: Mapping[str, str], security: str) -> str:
    """The certificates in the keychains of the user and of the administrator; Apple's own are in a file as well.

    Which of them are trusted, and for what, is not asked: who puts one there means it to be.
    """
    found = _ask(env, security, "find-certificate", "-a", "-p") if security else None
    return found.out.decode("ascii", "replace") if found and found.code == 0 else ""


def _suffix(machine: Machine) -> str:
    """What Claude Code adds to the names of its entries where it keeps its files elsewhere."""
    env = machine.env
    folder = env.get("CLAUDE_SECURESTORAGE_CONFIG_DIR") or env.get("CLAUDE_CONFIG_DIR")
    if not folder:
        return ""
    from hashlib import sha256
    from unicodedata import normalize

    return f"-{sha256(normalize('NFC', folder).encode()).hexdigest()[:8]}"


def _ask(env: Mapping[str, str], security: str, *words: str) -> Outcome:
    from ccremedy import processes

    kept = {name: env[name] for name in ("HOME", "USER", "LOGNAME") if name in env}
    return processes.run([security, *words], {"PATH": "/usr/bin:/bin", **kept}, _PATIENCE)
