r"""proxy-ca with the node.exe and claude.exe of Windows: they fail, are mended, and what was changed is taken back.

On the loopback of a machine of its own are a stand-in for the API and a proxy that leads every host to it. Node's
`fetch` does not connect under Wine at all, so node is asked by the few lines that ccremedy itself asks it by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from real.proxies import ANSWER
from real.wine import CLONE, HOME, PYTHON, Outcome, Running, Windows, windows

from ccremedy.effects import _NODE

pytestmark = pytest.mark.cell("proxy-ca", "windows", "wine")

KEPT = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
GATEWAY = "https://claude.ai"  # for the API itself, Claude Code first spends 18 seconds on what is not asked for here
QUIET = {"ANTHROPIC_API_KEY": "dummy", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_MAX_RETRIES": "0"}
QUIET |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
CLAUDE = rf"{HOME}\.local\bin\claude.exe"
SETTINGS = rf"{HOME}\.claude\settings.json"
MINE = b'{\r\n\t"model": "opus" ,\r\n\t"env": { "MINE":"1" }\r\n}'  # as nobody else would write it
AUTHORITY = r"C:\corp\api-ca.pem"
INTERNET = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"
POLICIES = r"SOFTWARE\Policies\ClaudeCode"
PATH = r"%USERPROFILE%\.local\bin;C:\Tools"


class Network:
    """What is on the loopback of such a machine."""

    def __init__(self, machine: Windows) -> None:
        self.server: Running = machine.start([PYTHON, rf"{CLONE}\tests\real\wine_way_out.py", r"C:\corp"])
        ports = json.loads(self.server.until("}").splitlines()[0])
        self.api, self.plain = f"https://127.0.0.1:{ports['api']}", f"http://127.0.0.1:{ports['plain']}"
        self.proxy = f"127.0.0.1:{ports['proxy']}"

    def log(self) -> list[str]:
        return self.server.look()[1].splitlines()[1:]


@pytest.fixture
def machine() -> Iterator[Windows]:
    with windows("node", "claude") as made:
        made.set_value("Path", PATH)
        made.new_terminal()
        yield made


@pytest.fixture
def network(machine: Windows) -> Network:
    return Network(machine)


def settings(machine: Windows) -> dict[str, str]:
    place = machine.real(SETTINGS)
    return dict(json.loads(place.read_bytes())["env"]) if place.exists() else {}


def node_says(machine: Windows, url: str, **env: str) -> str:
    """What a session's node comes to: '' where it comes through."""
    env = settings(machine) | env
    more = {"CCREMEDY_URL": url, "CCREMEDY_PROXY": env.get("HTTPS_PROXY", "")}
    return machine.run(["node", "--no-deprecation", "-e", _NODE], env=env | more).both


def claude_says(machine: Windows, **env: str) -> str:
    return machine.run([CLAUDE, "-p", "hello"], env=QUIET | env).both


def apply(machine: Windows, *words: str, **env: str) -> Outcome:
    return machine.ccremedy("apply", "proxy-ca", *words, "--yes", env=env, timeout=200)


def undo(machine: Windows) -> None:
    done = machine.ccremedy("undo", "--yes")
    assert done.code == 0, done.both


def trust(machine: Windows, certificate: bytes, store: str = "ROOT") -> None:
    """Put a certificate into a store of the user's, as a company's policy or certutil does."""
    machine.steps(
        """
        import ctypes, ssl
        crypt = ctypes.WinDLL("crypt32", use_last_error=True)
        crypt.CertOpenSystemStoreW.restype = ctypes.c_void_p
        crypt.CertAddEncodedCertificateToStore.argtypes = [
            ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p]
        crypt.CertCloseStore.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
        der = ssl.PEM_cert_to_DER_cert(pem)
        place = crypt.CertOpenSystemStoreW(None, store)
        assert crypt.CertAddEncodedCertificateToStore(place, 1, der, len(der), 3, None), ctypes.get_last_error()
        crypt.CertCloseStore(place, 0)
        """,
        pem=certificate.decode(),
        store=store,
    )


# ---- an authority


def test_an_authority_that_is_given_is_trusted_by_node_and_claude_and_taken_back(
    machine: Windows, network: Network
) -> None:
    url = {"ANTHROPIC_BASE_URL": network.api}
    machine.put(SETTINGS, MINE)
    assert node_says(machine, network.api) == KEPT
    assert KEPT in claude_says(machine, **url)

    dry = machine.ccremedy("apply", "proxy-ca", "--ca", AUTHORITY, "--dry-run", env=url)
    assert dry.code == 0, dry.both
    assert machine.real(SETTINGS).read_bytes() == MINE
    done = apply(machine, "--ca", AUTHORITY, **url)
    assert done.code == 0, done.both
    assert settings(machine) == {"MINE": "1", "NODE_EXTRA_CA_CERTS": AUTHORITY}
    undo(machine)
    assert machine.real(SETTINGS).read_bytes() == MINE
    assert node_says(machine, network.api) == KEPT

    assert apply(machine, "--ca", AUTHORITY, **url).code == 0
    assert node_says(machine, network.api) == ""
    assert ANSWER in claude_says(machine, **url)


def test_an_authority_that_does_not_help_is_not_written(machine: Windows, network: Network) -> None:
    machine.put(r"C:\corp\other.pem", trustme.CA().cert_pem.bytes())
    done = apply(machine, "--ca", r"C:\corp\other.pem", ANTHROPIC_BASE_URL=network.api)
    assert done.code == 6, done.both
    assert "would not help" in done.both
    assert not machine.real(SETTINGS).exists()


def test_what_node_and_claude_do_not_come_through_with_is_taken_back(machine: Windows, network: Network) -> None:
    """The lines of the proof are real: with a node and a claude that distrust the server, it fails."""
    script = r"""
    import importlib, os, sys
    sys.path.insert(0, r"C:\clone")
    from ccremedy import effects, registry, settings
    from ccremedy.record import replace
    machine = registry.this_machine({})
    machine = replace(machine, facts=replace(machine.facts, env={**machine.facts.env, **env}))
    result = [effects._reaches(machine, None, url)]
    hidden = [each for each in machine.facts.env["PATH"].split(";") if "nodejs" not in each]
    machine = replace(machine, facts=replace(machine.facts, env={**machine.facts.env, "PATH": ";".join(hidden)}))
    result.append(effects._reaches(machine, None, url))
    """
    env = {"ANTHROPIC_BASE_URL": network.api, "PATH": machine.env["PATH"]}
    told = machine.steps(script, env=env, url=network.api)
    assert told == [f"node does not come through: {KEPT}", f"Claude Code does not come through: {KEPT}"]
    env["NODE_EXTRA_CA_CERTS"] = AUTHORITY
    assert machine.steps(script, env=env, url=network.api) == ["", ""]


def test_for_all_programs_of_the_user_it_goes_into_the_registry_and_comes_back_with_its_type(
    machine: Windows, network: Network
) -> None:
    machine.set_value("NODE_EXTRA_CA_CERTS", r"%USERPROFILE%\gone.pem")
    before = {name: machine.value(name) for name in ("NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "Path")}
    words = ("--ca", AUTHORITY, "--proxy", f"http://{network.proxy}", "--profile")
    done = apply(machine, *words, ANTHROPIC_BASE_URL=GATEWAY)
    assert done.code == 0, done.both
    assert machine.value("NODE_EXTRA_CA_CERTS") == (AUTHORITY, "REG_SZ")
    assert machine.value("HTTPS_PROXY") == (f"http://{network.proxy}", "REG_SZ")
    assert not machine.real(SETTINGS).exists()
    fresh = machine.new_terminal()
    assert node_says(machine, GATEWAY, HTTPS_PROXY=fresh["HTTPS_PROXY"]) == ""
    assert ANSWER in claude_says(machine, ANTHROPIC_BASE_URL=GATEWAY)
    undo(machine)
    assert {name: machine.value(name) for name in before} == before


def test_a_password_never_goes_into_the_registry(machine: Windows, network: Network) -> None:
    words = ("--proxy", f"http://jo:sesame@{network.proxy}", "--profile")
    done = apply(machine, *words, "--ca", AUTHORITY, ANTHROPIC_BASE_URL=GATEWAY)
    assert done.code not in (0, 1), done.both
    assert "no place for a password" in done.both
    assert machine.value("HTTPS_PROXY") is None
    assert "sesame" not in done.both


# ---- what Windows knows


def test_the_proxy_of_windows_and_an_authority_in_its_store_are_enough(machine: Windows, network: Network) -> None:
    trust(machine, machine.real(AUTHORITY).read_bytes())
    machine.set_value("ProxyEnable", 1, "REG_DWORD", INTERNET)
    machine.set_value("ProxyServer", f"http=127.0.0.1:9;https={network.proxy}", "REG_SZ", INTERNET)
    machine.set_value("ProxyOverride", "*.corp;<local>", "REG_SZ", INTERNET)
    found = machine.ccremedy("diagnose", "proxy-ca", "--json", env={"ANTHROPIC_BASE_URL": GATEWAY})
    assert [each["id"] for each in found.json["findings"]] == ["way"], found.both
    assert "Internet Settings" in found.both
    done = apply(machine, ANTHROPIC_BASE_URL=GATEWAY)
    assert done.code == 0, done.both
    assert settings(machine) == {"HTTPS_PROXY": f"http://{network.proxy}"}
    assert ANSWER in claude_says(machine, ANTHROPIC_BASE_URL=GATEWAY)  # it asks the stores of Windows by itself
    undo(machine)
    assert settings(machine) == {}
    assert machine.value("ProxyServer", INTERNET) == (f"http=127.0.0.1:9;https={network.proxy}", "REG_SZ")


def test_a_disallowed_authority_is_none(machine: Windows, network: Network) -> None:
    known = r"""
    import sys
    sys.path.insert(0, r"C:\clone")
    from ccremedy import registry
    machine = registry.this_machine({})
    listed = machine.adapter.authorities(machine.facts)
    result = [listed.count("BEGIN"), pem.strip() in listed]
    """
    pem = machine.real(AUTHORITY).read_text()
    count, there = machine.steps(known, pem=pem)
    assert count > 50
    assert not there
    trust(machine, pem.encode())
    assert machine.steps(known, pem=pem) == [count + 1, True]
    trust(machine, pem.encode(), "Disallowed")
    assert machine.steps(known, pem=pem) == [count, False]


def test_a_script_that_chooses_the_proxy_is_said(machine: Windows, network: Network) -> None:
    machine.set_value("AutoConfigURL", "http://wpad.corp/wpad.dat", "REG_SZ", INTERNET)
    found = machine.ccremedy("diagnose", "proxy-ca", "--json", env={"ANTHROPIC_BASE_URL": "https://nowhere.invalid"})
    (finding,) = found.json["findings"]
    assert "http://wpad.corp/wpad.dat" in finding["advice"][0]
    assert not finding["changes"]


# ---- managed settings


def test_policies_in_the_registry_rank_as_claude_code_has_them(machine: Windows, network: Network) -> None:
    """Each layer sends it elsewhere; the one that wins is taken away, and so on down to the user's own."""
    layers: list[tuple[str, Any]] = [
        ("HKLM", lambda text: _policy(machine, "HKEY_LOCAL_MACHINE", text)),
        ("file", lambda text: _file(machine, r"C:\Program Files\ClaudeCode\managed-settings.json", text)),
        ("HKCU", lambda text: _policy(machine, "HKEY_CURRENT_USER", text)),
        ("user", lambda text: _file(machine, SETTINGS, text)),
    ]
    for name, put in layers:
        put(json.dumps({"env": {"ANTHROPIC_BASE_URL": f"{network.plain}/{name}"}}))
    script = r"""
    import sys
    sys.path.insert(0, r"C:\clone")
    from ccremedy import registry, settings
    result = settings.variable(registry.this_machine({}), "ANTHROPIC_BASE_URL").value
    """
    ours, theirs = [], []
    for _, put in layers:
        ours.append(machine.steps(script).rpartition("/")[2])
        assert ANSWER in claude_says(machine)
        (request,) = [each for each in network.log()[-1:] if each.startswith("POST")]
        theirs.append(request.split("/")[1])
        put(None)
    assert theirs == ["HKLM", "file", "HKCU", "user"]
    assert ours == theirs


def _policy(machine: Windows, top: str, text: str | None) -> None:
    machine.steps(
        """
        import winreg
        with winreg.CreateKey(getattr(winreg, top), key) as opened:
            if text is None:
                winreg.DeleteValue(opened, "Settings")
            else:
                winreg.SetValueEx(opened, "Settings", 0, winreg.REG_SZ, text)
        """,
        top=top,
        key=POLICIES,
        text=text,
    )


def _file(machine: Windows, path: str, text: str | None) -> None:
    if text is None:
        machine.real(path).unlink()
    else:
        machine.put(path, text)
