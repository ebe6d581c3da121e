"""What a change must have brought about that no shell tells: asked of the programs that it was made for.

A change `expects`
    "prints FINGERPRINT"   the command in the setting, run as Claude Code runs it, prints the key of that fingerprint
    "reaches URL"          node, and Claude Code where it is installed, come through to URL with these settings
    "path FOLDER"          (of an entry of a list in the registry) FOLDER is on the PATH of what is started anew
    "env NAME=VALUE"       (of a value in the registry) what is started anew has this variable
"""

from __future__ import annotations

import json
import re

from ccremedy import editors, files, processes
from ccremedy.resources.texts import Setting
from ccremedy.resources.values import Segment, Value

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ccremedy.machine import Machine
    from ccremedy.resources import Change


def missed(machine: Machine, change: Change) -> str:
    """The first expectation of the change that does not hold, as the end of a sentence; '' where all do."""
    if not isinstance(change.resource, (Setting, Segment, Value)):
        return ""
    for expectation in change.expects:
        kind, _, what = expectation.partition(" ")
        if why := {"prints": _prints, "reaches": _reaches, "path": _stands_on_path, "env": _is_set}[kind](
            machine, change, what
        ):
            return why
    return ""


def _stands_on_path(machine: Machine, change: Change, folder: str) -> str:
    folders = machine.search_path(machine.adapter.new_environment(machine))
    found = any(editors.same_entry(each, folder) for each in folders)
    return "" if found else f"{folder} is not on the PATH of what is started anew"


def _is_set(machine: Machine, change: Change, variable: str) -> str:
    name, _, value = variable.partition("=")
    found = machine.adapter.new_environment(machine).get(name.upper())
    return "" if found == value else f"{name} has another value in what is started anew"


def _prints(machine: Machine, change: Change, fingerprint: str) -> str:
    from ccremedy import seals
    from ccremedy.redact import Secret

    command = json.loads(change.after or '""')
    start = machine.adapter.shell_command(machine.facts, command)
    outcome = processes.run(start, _without_keys(machine.env), timeout=15, cwd=machine.home)
    if outcome.timed_out:
        return "the key helper did not answer within 15 seconds"
    key = outcome.out.decode("utf-8", "surrogateescape").strip()
    if outcome.code or seals.names(seals.mark(Secret(key))) != [fingerprint]:
        return f"the key helper does not print the key: {outcome.said()}".rstrip(": ")
    return ""


def _without_keys(env: Mapping[str, str]) -> dict[str, str]:
    """No child of ours needs a key, and the helper must work where there is none."""
    return {name: value for name, value in env.items() if name not in KEYS}


# Node's own fetch ignores proxies, and so do most of its versions: a tunnel by hand is what Claude Code makes, too.
_NODE = """
const { CCREMEDY_URL, CCREMEDY_PROXY } = process.env, url = new URL(CCREMEDY_URL), port = url.port || 443;
const end = (code) => { process.stdout.write(code); process.exit(0); };
const secure = (socket) => require('tls').connect({ socket, host: url.hostname, port, servername: url.hostname })
  .on('secureConnect', () => end('')).on('error', (e) => end(e.code || e.message));
if (!CCREMEDY_PROXY) secure();
else {
  const proxy = new URL(CCREMEDY_PROXY), login = decodeURIComponent(proxy.username + ':' + proxy.password);
  const basic = { 'Proxy-Authorization': 'Basic ' + Buffer.from(login).toString('base64') };
  const headers = proxy.username ? basic : {};
  require(proxy.protocol.slice(0, -1)).request({ host: proxy.hostname, port: proxy.port || 80, method: 'CONNECT',
    path: url.hostname + ':' + port, headers })
    .on('connect', (answer, socket) => answer.statusCode === 200 ? secure(socket) : end('HTTP ' + answer.statusCode))
    .on('error', (e) => end(e.code || e.message)).end();
}
"""
_NO_WAY = re.compile(
    r"\b(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS\w*|ERR_PROXY_TUNNEL"
    r"|UnsupportedProxyProtocol|ECONNREFUSED|ConnectionRefused|FailedToOpenSocket|ENOTFOUND|EAI_AGAIN|ETIMEDOUT)\b"
)


def _reaches(machine: Machine, change: Change, url: str) -> str:
    """Tried with the environment that Claude Code will have: the one of this terminal, and over it the settings'."""
    from ccremedy import network, settings

    env = _without_keys(machine.env)
    for layer in reversed(settings.layers(machine)):
        env |= _without_keys(layer.env())
    bundles = machine.bundles()
    if bundles and url.startswith("https:"):  # node does not ask the system's authorities, Claude Code does
        env.setdefault("NODE_EXTRA_CA_CERTS", bundles[0])
    if machine.adapter.has_trust_store:  # which is no file; since 22.15 node asks it where it is told to
        env.setdefault("NODE_USE_SYSTEM_CA", "1")
    node = machine.which("node")
    if url.startswith("https:") and node and not node.lower().endswith((".cmd", ".bat")):  # cmd hands on no lines
        proxy = next((env[name] for name in settings.PROXY_NAMES if env.get(name)), "")
        direct = network.bypasses(url, ",".join((env.get("no_proxy", ""), env.get("NO_PROXY", ""))))
        env |= {"CCREMEDY_URL": url, "CCREMEDY_PROXY": "" if direct else proxy}
        outcome = processes.run([node, "-e", _NODE], env, timeout=20)
        ended = f"it ends with {outcome.code}" if outcome.code else ""  # which the script itself never does
        if why := outcome.out.decode("utf-8", "replace") or ("no answer" if outcome.timed_out else ended):
            return f"node does not come through: {why}"
    return _claude_reaches(machine, env)


def _claude_reaches(machine: Machine, env: dict[str, str]) -> str:
    """Ask the real one, from an empty home and with a key that none has: an answer of any kind is an answer."""
    claude = machine.which("claude")
    if not claude:
        return ""
    home = files.shadow("", "claude")
    env = env | {
        machine.adapter.home: home,
        "CLAUDE_CONFIG_DIR": f"{home}/claude",
        "ANTHROPIC_API_KEY": "only-to-see-whether-there-is-an-answer",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    try:
        outcome = processes.run([claude, "-p", "hello"], env, timeout=60, cwd=home)
    finally:
        files.remove_shadow(home)
    found = _NO_WAY.search((outcome.out + outcome.err).decode("utf-8", "replace"))
    return f"Claude Code does not come through: {found[0]}" if found else ""
