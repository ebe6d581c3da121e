"""What we know about Claude Code, as data: each file says where it is from and as of when."""

from __future__ import annotations

import json
import os

from ccremedy import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypedDict, overload

    class ClaudeFolder(TypedDict):
        settings: list[str]
        state: list[str]
        credentials: list[str]
        regenerable: list[str]

    class Installs(TypedDict):
        smallest: int  # bytes
        places: list[tuple[str, str, str]]  # family of systems, method, path
        versions: dict[str, str]
        methods: list[tuple[str, str]]  # name, what its path matches
        programs: dict[str, list[str]]  # by system: how they begin, in hex
        placeholder: str
        reinstall: dict[str, str]

    class Sessions(TypedDict):
        programs: list[str]
        scripts: list[str]
        commands: list[str]
        kinds: dict[str, str]
        adopters: list[str]
        logins_side_by_side_since: str

    class SystemBundles(TypedDict):
        linux: list[str]

    class TlsErrors(TypedDict):
        certificate: dict[str, tuple[str, str]]  # by OpenSSL's number: node's name, and what is wrong
        protocol: dict[str, str]

    class TlsSwitches(TypedDict):
        variables: dict[str, list[str]]
        npmrc: dict[str, list[str]]
        editor: dict[str, list[object]]

    class VersionGates(TypedDict):
        gates: dict[str, str]


if TYPE_CHECKING:  # of its own, or mypy does not take it for one with the function below
    # fmt: off
    @overload
    def load(name: Literal["claude_folder"]) -> ClaudeFolder: ...
    @overload
    def load(name: Literal["installs"]) -> Installs: ...
    @overload
    def load(name: Literal["sessions"]) -> Sessions: ...
    @overload
    def load(name: Literal["system_bundles"]) -> SystemBundles: ...
    @overload
    def load(name: Literal["tls_errors"]) -> TlsErrors: ...
    @overload
    def load(name: Literal["tls_switches"]) -> TlsSwitches: ...
    @overload
    def load(name: Literal["version_gates"]) -> VersionGates: ...
    # fmt: on


def load(name: str) -> object:
    """The JSON of `knowledge/NAME.json`, whose shape stands above."""
    data = files.read(os.path.join(os.path.dirname(__file__), f"{name}.json"))
    found: object = json.loads(data or b"null")
    return found
