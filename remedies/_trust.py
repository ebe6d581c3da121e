"""What weakens TLS, and where proxies and certificate authorities are named: in settings, start-up files, npm, git."""

from __future__ import annotations

import os
import re

from ccremedy import Assignment, Change, Machine, Problem, Setting, editors, files, knowledge, settings
from ccremedy.record import dataclass

from . import _keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WHY = "it let every certificate pass"
_ANCHORS = (  # where administrators put the authorities of a company: Debian, Fedora, Arch
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/ca-certificates/trust-source/anchors",
)


@dataclass(frozen=True)
class Source:
    """A value that a file or the environment gives, and where."""

    value: str
    where: str


# ---- switches that let every certificate pass


def switches(machine: Machine) -> Iterator[tuple[str, Change | None]]:
    """Each switch that is off, as a sentence, with the change that takes it out; None where only a person can."""
    known = knowledge.load("tls_switches")
    for layer in settings.layers(machine):
        for name, values in known["variables"].items():
            if layer.env().get(name, "").lower() in values:
                change = removal(layer.path, f"/env/{name}") if layer.name != "managed" else None
                yield f"{name} is {layer.env()[name]} in {layer.path}", change
    for path, syntax in machine.adapter.start_up_files(machine):
        for name, values in known["variables"].items():
            yield from _lines(path, name, syntax, values)
    for path in filter(None, (_npmrc(machine), _in_project(machine, ".npmrc"))):
        for name, values in known["npmrc"].items():
            yield from _lines(path, name, "npmrc", values)
    for path in _keys.editor_settings(machine):
        for name, off in known["editor"].items():
            yield from _member(path, f"/{name}", off)
        for name, values in known["variables"].items():
            yield from _member(path, f"/terminal.integrated.env.{machine.adapter.editor}/{name}", values)
    if re.search(r"^\s*sslverify\s*=\s*(?:false|0|no|off)\s*$", _text(machine.path(".gitconfig")), re.M | re.I):
        yield f"http.sslVerify is off in {machine.path('.gitconfig')}: git config --global --unset http.sslVerify", None
    for path in filter(None, (_in_project(machine, ".env"), machine.system("/etc/environment"))):
        for name, values in known["variables"].items():
            data = _text(path).encode("utf-8", "surrogateescape")
            if any(each.value.lower() in values for each in editors.get_assignments(data, name, "env")):
                yield f"{name} is switched off in {path}, which ccremedy does not edit", None
    for name, values in known["variables"].items():
        for value, where in machine.adapter.reported_variables(machine, name):
            if value.lower() in values:
                yield f"{name} is {value} in {where}, which ccremedy does not edit", None


def _lines(path: str, name: str, syntax: str, values: list[str]) -> Iterator[tuple[str, Change | None]]:
    data = files.read(path) or b""
    found = [each for each in editors.get_assignments(data, name, syntax) if not each.aside]
    if found and found[-1].value.lower() in values:  # the last one counts
        resource = Assignment(path, name, syntax)
        before = resource.extract(data)
        change = Change(resource, before, editors.put_aside(before, name, syntax, _WHY), refused=resource.obstacle())
        yield f"{name} is {found[-1].value} in {path}", change


def _member(path: str, name: str, values: Sequence[object]) -> Iterator[tuple[str, Change | None]]:
    from ccremedy import jsonc

    change = removal(path, name, strict=False)
    try:
        value = jsonc.parse((change.before or "").encode()) if change else None
    except Problem:
        return
    if change and any(value is each or str(value).lower() == each for each in values):
        yield f"{name.rpartition('/')[2]} is {change.before} in {path}", change


def removal(path: str, name: str, strict: bool = True) -> Change | None:
    """The change that takes a member out of a JSON file; None where there is none to take."""
    try:
        before = Setting(path, name, strict).read()
    except Problem:
        return None
    setting = Setting.at(path, name, strict) if before else None
    return Change(setting, before, "", refused=setting.obstacle()) if setting else None


def useless(machine: Machine, name: str) -> Iterator[Change]:
    """The changes after which no file of the user's sets this variable, which leads nowhere."""
    if change := removal(settings.user_file(machine), f"/env/{name}"):
        yield change
    for path, syntax in machine.adapter.start_up_files(machine):
        data = files.read(path) or b""
        resource = Assignment(path, name, syntax)
        if any(not each.aside for each in editors.get_assignments(data, name, syntax)):
            before = resource.extract(data)
            after = editors.put_aside(before, name, syntax, "it named what cannot be used")
            yield Change(resource, before, after, refused=resource.obstacle())


# ---- proxies and authorities that other programs know


def proxies(machine: Machine) -> Iterator[Source]:
    """What npm, git, VS Code and programs outside of any shell go through, in this order."""
    npmrc, git = _npmrc(machine), machine.path(".gitconfig")
    for name in ("https-proxy", "proxy"):
        for each in editors.get_assignments(_text(npmrc).encode("utf-8", "surrogateescape"), name, "npmrc"):
            yield Source(each.value, npmrc)
    if found := _git(git, "proxy"):
        yield Source(found, git)
    for path in _keys.editor_settings(machine):
        if change := removal(path, "/http.proxy", strict=False):
            yield Source(str(change.before).strip('"'), path)
    for name in settings.PROXY_NAMES:
        for value, where in machine.adapter.reported_variables(machine, name):
            yield Source(value, f"{name} in {where}")


def authorities(machine: Machine) -> Iterator[Source]:
    """Files with certificate authorities that npm, git, Python, curl and the administrator's tools trust."""
    npmrc, git = _npmrc(machine), machine.path(".gitconfig")
    for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        found = settings.variable(machine, name)
        if found.value:
            yield Source(found.value, f"{name} in {found.where}")
        for value, where in machine.adapter.reported_variables(machine, name):
            yield Source(value, f"{name} in {where}")
    for each in editors.get_assignments(_text(npmrc).encode("utf-8", "surrogateescape"), "cafile", "npmrc"):
        yield Source(each.value.replace("${HOME}", machine.home), f"cafile in {npmrc}")
    if found_in_git := _git(git, "sslcainfo"):
        yield Source(found_in_git.replace("~/", machine.home + "/"), f"http.sslCAInfo in {git}")
    for folder in map(machine.system, _ANCHORS):
        for name in files.names(folder):
            yield Source(os.path.join(folder, name), f"the authorities of this system ({folder})")


def _git(path: str, name: str) -> str:
    section = re.search(r"^\s*\[http\](.*?)(?=^\s*\[|\Z)", _text(path), re.M | re.S | re.I)
    found = re.search(rf"^\s*{name}\s*=\s*(\S+)", section[1], re.M | re.I) if section else None
    return found[1].strip("\"'") if found else ""


def _npmrc(machine: Machine) -> str:
    return machine.env.get("NPM_CONFIG_USERCONFIG") or machine.path(".npmrc")


def _in_project(machine: Machine, name: str) -> str:
    here = machine.facts.cwd
    return os.path.join(here, name) if here and here != machine.home else ""


def _text(path: str) -> str:
    return (files.read(path) or b"").decode("utf-8", "surrogateescape")
