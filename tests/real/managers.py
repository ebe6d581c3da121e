"""Version managers as they lie on the disk, each with a real Node.js and npm in it. None of their own code is here."""

from __future__ import annotations

from .world import World, node_and_npm

NPM = "10.9.2"
PREFIX = {
    "nvm": ".nvm/versions/node/v{}",
    "fnm": ".local/share/fnm/node-versions/v{}/installation",
    "volta": ".volta/tools/image/node/{}",
    "asdf": ".asdf/installs/nodejs/{}",
    "mise": ".local/share/mise/installs/node/{}",
}
# Where these put small programs that find the version to run; the folder that stands on PATH.
SHIMS = {"volta": ".volta/bin", "asdf": ".asdf/shims", "mise": ".local/share/mise/shims"}


def add(made: World, manager: str, version: str = "20.20.2") -> str:
    """Install a version with it, as its default. Returns the folder of programs."""
    prefix = f"{made.home}/{PREFIX[manager].format(version)}"
    node_and_npm(made, version, NPM, prefix)
    programs = f"{prefix}/bin"
    if manager == "nvm":
        made.write(f"{made.home}/.nvm/alias/default", f"{version.split('.')[0]}\n")
        made.write(f"{made.home}/.nvm/nvm.sh", f'nvm() {{ :; }}\nexport PATH="{programs}:$PATH"\n')
    if manager == "fnm":
        made.link(f"{made.home}/.local/share/fnm/aliases/default", prefix)
        programs = f"{made.home}/.local/share/fnm/aliases/default/bin"
    if manager in SHIMS:
        programs = f"{made.home}/{SHIMS[manager]}"
        for name in ("node", "npm"):
            made.write(f"{programs}/{name}", f'#!/bin/sh\nPATH="{prefix}/bin:$PATH" exec {name} "$@"\n', 0o755)
    made.give_home()
    return programs
