"""What weakens TLS, and where proxies and certificate authorities are named: in settings, start-up files, npm, git."""

from __future__ import annotations

import os
import re

from ccremedy import Assignment, Change, Machine, Problem, Setting, editors, files, knowledge, settings
from ccremedy.record import dataclass

from . import _keys, _npm

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
    for name, values in known["variables"].items():
        for source, change in _registered(machine, name):
            if source.value.lower() in values:
                yield f"{name} is {source.value} in {source.where}", change
    for path in filter(None, (_npm.user_npmrc(machine), _in_project(machine, ".npmrc"))):
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
    yield from (change for _, change in _registered(machine, name))


def _registered(machine: Machine, name: str) -> Iterator[tuple[Source, Change]]:
    """What the user's own environment in the registry says, with the change that takes it out."""
    for key in machine.adapter.environment_keys(machine.facts):
        from ccremedy import Value, hive  # only Windows has such keys

        if text := hive.text(key, name):
            value = Value(key, name)
            change = Change(value, value.read(), "", by_hand=f"Remove {name} from your environment variables",
                            refused=value.obstacle())  # fmt: skip
            yield Source(hive.expanded(text, machine.env), rf"{key}\{name}"), change


# ---- proxies and authorities that other programs know


def proxies(machine: Machine) -> Iterator[Source]:
    """What npm, git, VS Code, programs outside of any shell and the system itself go through, in this order."""
    npmrc = _npm.user_npmrc(machine)
    for name in ("https-proxy", "proxy"):
        for each in editors.get_assignments(_text(npmrc).encode("utf-8", "surrogateescape"), name, "npmrc"):
            yield Source(each.value, npmrc)
    yield from _git(machine, "proxy")
    for path in _keys.editor_settings(machine):
        if change := removal(path, "/http.proxy", strict=False):
            yield Source(str(change.before).strip('"'), path)
    for name in settings.PROXY_NAMES:
        yield from (source for source, _ in _registered(machine, name))
        for value, where in machine.adapter.reported_variables(machine, name):
            yield Source(value, f"{name} in {where}")
    yield from (Source(*each) for each in machine.adapter.proxies(machine))


def authorities(machine: Machine) -> Iterator[Source]:
    """Files with certificate authorities that npm, git, Python, curl and the administrator's tools trust."""
    npmrc = _npm.user_npmrc(machine)
    for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        found = settings.variable(machine, name)
        if found.value:
            yield Source(found.value, f"{name} in {found.where}")
        yield from (source for source, _ in _registered(machine, name) if source.value != found.value)
        for value, where in machine.adapter.reported_variables(machine, name):
            yield Source(value, f"{name} in {where}")
    for each in editors.get_assignments(_text(npmrc).encode("utf-8", "surrogateescape"), "cafile", "npmrc"):
        yield Source(_npm.resolved(machine, each.value), f"cafile in {npmrc}")
    if not any(each.value.lower() == "schannel" for each in _git(machine, "sslbackend")):  # it asks Windows' own stores
        for source in _git(machine, "sslcainfo"):
            value = machine.path(source.value[2:]) if source.value.startswith("~/") else source.value
            yield Source(os.path.normpath(value), f"http.sslCAInfo in {source.where}")
    for folder in map(machine.system, _ANCHORS):
        for name in files.names(folder):
            yield Source(os.path.join(folder, name), f"the authorities of this system ({folder})")


def _git(machine: Machine, name: str) -> Iterator[Source]:
    """What git's section [http] says; on Windows the installer of Git writes a file, too."""
    for path in (machine.path(".gitconfig"), machine.system("/Program Files/Git/etc/gitconfig")):
        section = re.search(r"^\s*\[http\](.*?)(?=^\s*\[|\Z)", _text(path), re.M | re.S | re.I)
        value = rf'^\s*{name}[ \t]*=[ \t]*("(?:[^"\\\n]|\\.)*"|[^\n#;]*)'
        found = re.search(value, section[1], re.M | re.I) if section else None
        if found and (text := re.sub(r'\\(["\\])', r"\1", found[1].strip().strip("\"'"))):
            yield Source(text, path)
            return


def _in_project(machine: Machine, name: str) -> str:
    here = machine.facts.cwd
    return os.path.join(here, name) if here and here != machine.home else ""


def _text(path: str) -> str:
    return (files.read(path) or b"").decode("utf-8", "surrogateescape")
