"""No way of turning a Secret into text shows it; known secrets go from foreign text; ordinary lines stay as they are.

The secrets are made up, in the shapes that their issuers document. The clean lines are taken from start-up files and
npmrcs as distributions, frameworks and tools write them.
"""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccremedy.redact import MASK, Secret, redact, visible

HELD = "correct-horse-battery-staple"


@dataclass
class Box:
    secret: Secret
    others: list[Secret] = field(default_factory=list)


def _traceback() -> str:
    secret = Secret(HELD)
    try:
        raise RuntimeError(f"could not log in with {secret}")
    except RuntimeError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join(whole.format())


def _log() -> str:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s %r", (Secret(HELD), Secret(HELD)), None)
    return record.getMessage()


SHOWS: dict[str, Callable[[], object]] = {
    "str": lambda: str(Secret(HELD)),
    "repr": lambda: repr(Secret(HELD)),
    "ascii": lambda: ascii(Secret(HELD)),
    "format": lambda: format(Secret(HELD), "s"),
    "format with a width": lambda: format(Secret(HELD), ">60"),
    "an f-string": lambda: f"{Secret(HELD)}",
    "an f-string with !r": lambda: f"{Secret(HELD)!r}",
    "an f-string with a width": lambda: f"{Secret(HELD):40}",
    "str.format": lambda: "{0} {0!s} {0!r}".format(Secret(HELD)),
    "percent": lambda: "%s %r" % (Secret(HELD), Secret(HELD)),  # noqa: UP031
    "in a list": lambda: str([Secret(HELD)]),
    "in a dictionary": lambda: str({"key": Secret(HELD)}),
    "in a dataclass": lambda: repr(Box(Secret(HELD), [Secret(HELD)])),
    "a traceback with its locals": _traceback,
    "a log record": _log,
    "json with default=str": lambda: json.dumps(Secret(HELD), default=str),
    "json with default=repr": lambda: json.dumps([Secret(HELD)], default=repr),
    "an exception's text": lambda: str(ValueError(Secret(HELD))),
    "dir": lambda: dir(Secret(HELD)),
    "its slots": lambda: [getattr(Secret(HELD), name) for name in Secret.__slots__],
    "its class": lambda: vars(Secret),
}
REFUSES: dict[str, Callable[[], object]] = {
    "json": lambda: json.dumps(Secret(HELD)),
    "json of a dictionary": lambda: json.dumps({"key": Secret(HELD)}),
    "plus": lambda: "x" + Secret(HELD),  # type: ignore[operator]
    "plus from the right": lambda: Secret(HELD) + "x",  # type: ignore[operator]
    "join": lambda: "".join([Secret(HELD)]),  # type: ignore[list-item]
    "bytes": lambda: bytes(Secret(HELD)),  # type: ignore[call-overload]
    "iteration": lambda: list(Secret(HELD)),  # type: ignore[call-overload]
    "an index": lambda: Secret(HELD)[0],  # type: ignore[index]
    "len": lambda: len(Secret(HELD)),  # type: ignore[arg-type]
    "vars": lambda: vars(Secret(HELD)),
    "hash": lambda: hash(Secret(HELD)),
    "pickle": lambda: pickle.dumps(Secret(HELD)),
    "pickle, the oldest": lambda: pickle.dumps(Secret(HELD), protocol=0),
    "copy": lambda: copy.copy(Secret(HELD)),
    "deepcopy": lambda: copy.deepcopy([Secret(HELD)]),
    "asdict": lambda: asdict(Box(Secret(HELD))),
    "astuple": lambda: astuple(Box(Secret(HELD))),
    "reduce": lambda: Secret(HELD).__reduce__(),
    "writing to a file": lambda: open("/dev/null", "w").write(Secret(HELD)),  # type: ignore[arg-type]  # noqa: SIM115
}


@pytest.mark.parametrize("show", SHOWS.values(), ids=SHOWS)
def test_a_secret_is_not_shown_by(show: Callable[[], object]) -> None:
    shown = str(show())
    assert HELD not in shown
    assert "battery" not in shown


@pytest.mark.parametrize("turn", REFUSES.values(), ids=REFUSES)
def test_a_secret_refuses(turn: Callable[[], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        turn()
    assert "battery" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_is_revealed_only_on_request() -> None:
    assert Secret(HELD).reveal() == HELD
    assert str(Secret(HELD)) == MASK


@pytest.mark.parametrize("value", ["a", "", "gr\u00fc\u00df", "\udcff"], ids=ascii)
def test_secrets_are_compared(value: str) -> None:
    assert Secret(value) == Secret(value)
    assert Secret(value) != Secret(value + "x")
    assert Secret(value) != value


# ---- what must go

SECRETS = {
    "an Anthropic key": "sk-ant-api03-R2D2abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJ_klmnop-AA",
    "an Anthropic login": "sk-ant-oat01-0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
    "an OpenAI key": "sk-proj-0123456789abcdefghijABCDEFGHIJ0123456789",
    "an npm token": "npm_0123456789abcdefghijABCDEFGHIJ012345",
    "a GitHub token": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "a GitHub app token": "ghs_0123456789abcdefghijABCDEFGHIJ012345",
    "a fine-grained GitHub token": "github_pat_11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz0123456789",
    "a GitLab token": "glpat-0123456789abcdefghij",
    "a Slack token": "xoxb-123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
    "an AWS key id": "AKIAIOSFODNN7EXAMPLE",
    "a session's AWS key id": "ASIAIOSFODNN7EXAMPLE",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "a Google key": "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "a Hugging Face token": "hf_0123456789abcdefghijABCDEFGHIJ0123",
    "a PyPI token": "pypi-AgEIcHlwaS5vcmcCJDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5",
    "a Stripe key": "sk_live_0123456789abcdefghijABCD",
    "an Anthropic refresh token": "sk-ant-ort01-0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
    "an Anthropic admin's key": "sk-ant-admin01-0123456789abcdefghijklmnopqrstuvwxyz-AA",
    "an OpenAI service account's key": "sk-svcacct-0123456789abcdefghijABCDEFGHIJ",
    "an old OpenAI key": "sk-0123456789abcdefghijT3BlbkFJ0123456789ABCDEF",
    "an OpenRouter key": "sk-or-v1-0123456789abcdef0123456789abcdef",
    "a GitHub login": "gho_0123456789abcdefghijABCDEFGHIJ012345",
    "a GitHub user's token": "ghu_0123456789abcdefghijABCDEFGHIJ012345",
    "a GitHub refresh token": "ghr_0123456789abcdefghijABCDEFGHIJ012345",
    "a Slack user's token": "xoxp-123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
    "a Slack app's token": "xoxa-2-123456789012-abcdefghijklmnopqrstuvwx",
    "a Slack refresh token": "xoxr-123456789012-abcdefghijklmnopqrstuvwx",
    "a Slack workspace's token": "xoxs-123456789012-abcdefghijklmnopqrstuvwx",
    "a JSON web token without a signature": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.",
}
BARE = {
    "alone": "{}",
    "in a sentence": "the server said no to {} again",
    "in single quotes": "curl -H 'x: {}' https://example.com",
    "in a URL's query": "https://example.com/hook?x={}&y=1",
    "in a JSON list": '{{"approved": ["{}"]}}',
}
NAMED = {
    "exported": "export ANTHROPIC_API_KEY={}",
    "exported in quotes": 'export ANTHROPIC_AUTH_TOKEN="{}"',
    "exported in single quotes": "export MY_SECRET='{}'",
    "not exported": "DB_PASSWORD={}",
    "before a command": "API_TOKEN={} ./deploy --now",
    "with a comment behind": "export GITHUB_TOKEN={} # work",
    "in fish": "set -gx ANTHROPIC_API_KEY {}",
    "in fish, long": "set --global --export GITLAB_TOKEN '{}'",
    "in csh": "setenv NPM_TOKEN {}",
    "in JSON": '  "apiKey": "{}",',
    "in JSON, with underscores": '{{"access_token":"{}","x":1}}',
    "in JSON, as Claude Code has it": '{{"claudeAiOauth":{{"accessToken":"{}","expiresAt":1}}}}',
    "in YAML": "password: {}",
    "in TOML": 'client_secret = "{}"',
    "in an npmrc": "//registry.example/:_authToken={}",
    "in an npmrc, old": "_auth={}",
    "in an npmrc, a password": '//r.example/:_password="{}"',
    "in a header": "Authorization: Bearer {}",
    "in a header, basic": "Authorization: Basic {}",
    "in a header, named": "-H 'x-api-key: {}'",
    "as a proxy's password": "https_proxy=http://me:{}@proxy.example:8080/",
    "as a user of a URL": "git clone https://{}@git.example/x.git",
    "as an option": "alias x='tool --token={} --fast'",
    "as an option, with a blank": "alias x='tool --api-key {} --fast'",
    "as an option for a password": "mysql --password {} db",
    "in netrc": "machine r.example login me password {}",
    "in netrc, on a line of its own": "machine r.example\n  login me\n  password {}",
    "in a header for a proxy": "Proxy-Authorization: Basic {}",
    "in a header for a proxy, as a token": "< proxy-authorization: Bearer {}",
    "in git's own header": 'git config http.extraHeader "Authorization: Basic {}"',
    "in headers of a variable": "export ANTHROPIC_CUSTOM_HEADERS='X-Api-Key: {}'",
    "in Claude Code's settings": '{{"env": {{"ANTHROPIC_AUTH_TOKEN": "{}"}}}}',
    "in VS Code's settings": '"terminal.integrated.env.linux": {{"ANTHROPIC_API_KEY": "{}"}},',
    "in VS Code's settings, as a list": '"claudeCode.environmentVariables": [{{"name":"API_KEY","value":"{}"}}]',
    "in a server's environment": '"mcpServers": {{"x": {{"env": {{"GITHUB_PERSONAL_ACCESS_TOKEN": "{}"}}}}}}',
    "in a server's headers": '"mcpServers": {{"x": {{"headers": {{"Authorization": "Bearer {}"}}}}}}',
    "in a server's headers, named": '"headers": {{"X-API-Key": "{}"}}',
    "in Claude Code's credentials": '"refreshToken": "{}",',
    "as a proxy's password in JSON": '"HTTPS_PROXY": "http://me:{}@proxy.corp:3128"',
    "as a part of a proxy's password, behind an @": "HTTPS_PROXY=http://me:p@{}@proxy.corp:3128",
    "as a part of a proxy's password, behind an @ and a slash": "http://me:p@q/{}@proxy.corp:3128",
    "as a proxy's password without a name": "curl -x http://:{}@proxy.corp:3128 https://api.example",
    "in a URL's query, named": "https://api.example/v1?api_key={}",
    "in docker": "docker run -e API_KEY={} image",
    "in systemd": 'Environment="API_KEY={}"',
    "in PowerShell": "$env:ANTHROPIC_API_KEY = '{}'",
}
ORDINARY = {
    "a password": "hunter2hunter2",
    "a password with a hash": "hunter2#hunter3",
    "a hexadecimal key": "0123456789abcdef0123456789abcdef",
    "base64": "aHVudGVyMjpodW50ZXIzaHVudGVyNA==",
    "a percent-encoded password": "p%40ss%3Aw0rd%2Fhunter2",
    "a password with an @": "hunter2@hunter3",
    "a password in letters of the world": "größe-пароль-99",
    "a long number": "12345678901234567890",
}
CONTAINED = [(f"{name}, {where}", secret, text) for name, secret in SECRETS.items() for where, text in BARE.items()]
CONTAINED += [
    (f"{name}, {where}", secret, text)
    for name, secret in (SECRETS | ORDINARY).items()
    for where, text in NAMED.items()
    # Of a password's own shape there is nothing to be seen in a URL that has a # in it: there it must be written %23.
    if not ("#" in secret and "@" in text)
]


@pytest.mark.parametrize(("secret", "text"), [(b, c) for _, b, c in CONTAINED], ids=[name for name, _, _ in CONTAINED])
def test_a_known_secret_goes(secret: str, text: str) -> None:
    cleaned = redact(text.format(secret))
    assert MASK in cleaned
    for part in {secret, secret[:12], secret[-7:]}:
        assert part not in cleaned


def test_the_table_is_large_enough(capsys: pytest.CaptureFixture[str]) -> None:
    landed = sum(secret in text.format(secret) for _, secret, text in CONTAINED)
    bad = [name for name, secret, text in CONTAINED if secret in redact(text.format(secret))]
    with capsys.disabled():
        print(f"\nredaction points={len(CONTAINED)} landed={landed} bad={len(bad)}", end=" ")
    assert len(SECRETS | ORDINARY) >= 30
    assert len(NAMED) >= 20
    assert landed == len(CONTAINED) >= 30 * 20
    assert not bad


@pytest.mark.parametrize("rule", ["_TOKEN", "_USER", "_HEADER"])
def test_a_rule_that_is_missing_is_caught(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"ccremedy.redact.{rule}", re.compile("(?!)()"))
    assert any(secret in redact(text.format(secret)) for _, secret, text in CONTAINED)


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\nAAAAEb25lAAAAAAAAAAB\n"


PEM_KINDS = ("OPENSSH ", "", "RSA ", "EC ", "DSA ", "ENCRYPTED ", "ANY ")
PEM_PLACES: dict[str, Callable[[str], str]] = {
    "whole": lambda key: key,
    "cut short": lambda key: key.partition("-----END")[0],
    "in a here-document": lambda key: f"cat > id <<EOF\n{key}EOF\n",
    "in JSON": lambda key: json.dumps({"pem": key}),
    "in a variable": lambda key: f'export TLS_CLIENT="{key}"',
    "in one line": lambda key: key.replace("\n", "\\n"),
    "with Windows line ends": lambda key: key.replace("\n", "\r\n"),
    "indented": lambda key: "  " + key.replace("\n", "\n  "),
    "behind an authority": lambda key: f"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{key}",
}


def _pem(kind: str) -> str:
    return KEY.replace("OPENSSH ", kind) + f"-----END {kind}PRIVATE KEY-----\n"


OTHER_KEYS = {
    "PGP": _pem("PGP ").replace("KEY-----", "KEY BLOCK-----"),
    "SSH2": _pem("SSH2 ENCRYPTED ")
    .replace("-----BEGIN", "---- BEGIN")
    .replace("-----END", "---- END")
    .replace("KEY-----", "KEY ----"),
}


@pytest.mark.parametrize("place", PEM_PLACES)
@pytest.mark.parametrize("kind", PEM_KINDS)
def test_a_private_key_goes(kind: str, place: str) -> None:
    cleaned = redact(PEM_PLACES[place](_pem(kind)))
    assert "b3BlbnNz" not in cleaned
    assert "AAAAEb25l" not in cleaned


@pytest.mark.parametrize("text", OTHER_KEYS.values(), ids=OTHER_KEYS)
def test_a_private_key_of_another_spelling_goes(text: str) -> None:
    assert "b3BlbnNz" not in redact(text)


def test_a_certificate_stays() -> None:
    text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password='it''s mine now'", "mine now"),
        ('password="a \\"quoted\\" secretword"', "secretword"),
        ("export TOKEN=abcdef'ghi jkl'mnopqr", "mnopqr"),
        ('export TOKEN=abcdef"ghi jkl"mnopqr', "mnopqr"),
        ("export TOKEN=$'abc\\'defghi'", "defghi"),
        ("export TOKEN=abc\\ defghi", "defghi"),
        ("export TOKEN=abc#defghi", "defghi"),
        ("https://me:pass/word@host/", "word@"),
        ("TOKEN=first SECRET=second", "second"),
        ("TOKEN=first; SECRET=second", "second"),
        ("apiKey : 'firstsecond'", "second"),
        ("PASSWORD=first\nsecond=2", "first"),
    ],
    ids=[
        "a quote within quotes", "an escaped quote", "single quotes in the middle", "double quotes in the middle",
        "ANSI-C quotes", "an escaped blank", "a hash in the middle", "a slash in a password", "two in a line",
        "two commands", "a blank before the colon", "a line below",
    ],
)  # fmt: skip
def test_no_rest_of_a_secret_is_left(text: str, left: str) -> None:
    assert left in text
    assert left not in redact(text)


# ---- what must stay

CLEAN = """\
# ~/.bashrc: executed by bash(1) for non-login shells.
case $- in *i*) ;; *) return;; esac
HISTCONTROL=ignoreboth
HISTSIZE=1000
shopt -s histappend checkwinsize
[ -x /usr/bin/lesspipe ] && eval "$(SHELL=/bin/sh lesspipe)"
debian_chroot=$(cat /etc/debian_chroot)
PS1='${debian_chroot:+($debian_chroot)}\\u@\\h:\\w\\$ '
alias ls='ls --color=auto'
alias ll='ls -alF'
alias alert='notify-send --urgency=low -i "$([ $? = 0 ] && echo terminal || echo error)"'
if [ -f ~/.bash_aliases ]; then . ~/.bash_aliases; fi
export NVM_DIR="$HOME/.nvm"
[ -s "$NVM_DIR/nvm.sh" ] && \\. "$NVM_DIR/nvm.sh"  # This loads nvm
export PATH="$HOME/.local/bin:$PATH"
export PYENV_ROOT="$HOME/.pyenv"
eval "$(pyenv init -)"
eval "$(direnv hook bash)"
eval "$(starship init bash)"
eval "$(ssh-agent -s)"
export SSH_AUTH_SOCK="$XDG_RUNTIME_DIR/ssh-agent.socket"
export GPG_TTY=$(tty)
export EDITOR=vim VISUAL=vim
export LANG=en_US.UTF-8
export JAVA_HOME=/usr/lib/jvm/default-java
export GOPATH="$HOME/go"
source "$HOME/.cargo/env"
. "$HOME/.asdf/asdf.sh"
export VOLTA_HOME="$HOME/.volta"
umask 022
ulimit -c 0
set -o vi
stty -ixon
bind '"\\e[A": history-search-backward'
complete -C /usr/bin/terraform terraform
export LESS=-R
export FZF_DEFAULT_COMMAND='fd --type f --hidden'
export ZSH="$HOME/.oh-my-zsh"
ZSH_THEME="robbyrussell"
plugins=(git docker kubectl)
zstyle ':completion:*' menu select
autoload -Uz compinit && compinit
bindkey -e
bindkey '^[[A' up-line-or-history
setopt SHARE_HISTORY
KEYTIMEOUT=1
export KEYTIMEOUT=1
typeset -U path PATH
zmodload zsh/complist
set -g fish_greeting
fish_add_path -g ~/.npm-global/bin
set -gx EDITOR nvim
set fish_key_bindings fish_vi_key_bindings
set -g fish_key_bindings fish_vi_key_bindings
prefix=~/.npm-global
registry=https://registry.example/
@corp:registry=https://npm.corp.example/api/
strict-ssl=true
save-exact=true
fund=false
audit=false
engine-strict=true
cafile=/etc/ssl/certs/corp.pem
always-auth=true
//npm.corp.example/api/:always-auth=true
init-author-name=Me
loglevel=warn
proxy=http://proxy.corp.example:8080/
https-proxy=http://proxy.corp.example:8080/
noproxy=localhost,127.0.0.1
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/corp.pem
export no_proxy=localhost,.corp.example
export BROWSER=wslview
alias monkey='echo banana'
# my key bindings
export CLAUDE_CODE_MAX_OUTPUT_TOKENS=32000
export MAX_THINKING_TOKENS=8000
prefix=${HOME}/.npm-global
/home/me/.claude/settings.json: is not valid JSON (line 3, column 12)
npm's global prefix is /usr, set by /home/me/.npmrc
""".splitlines()


@pytest.mark.parametrize("line", CLEAN)
def test_an_ordinary_line_stays(line: str) -> None:
    assert redact(line) == line


def test_there_are_enough_ordinary_lines() -> None:
    assert len(CLEAN) == len(set(CLEAN)) >= 60


# Lines as they are made: names that hold the word for a secret without being one, in each syntax.
_NAMES = """
KEYTIMEOUT MAX_THINKING_TOKENS CLAUDE_CODE_MAX_OUTPUT_TOKENS SSH_AUTH_SOCK GPG_TTY GIT_AUTHOR_NAME
TOKENIZERS_PARALLELISM KEYMAP XKB_KEYMAP HOTKEYS MONKEY TURKEY AUTHORITY XAUTHORITY PASSENGER_ROOT BYPASS_PROXY
COMPASS_HOME KEYRING_BACKEND API_KEY_HELPER apiKeyHelper keybindings tokenizer author passwordStore secretsDir
CREDENTIALS_DIRECTORY AUTH_MODE PASSWORD_STORE_DIR TOKEN_FILE_NAME KEY_REPEAT NODE_EXTRA_CA_CERTS SSL_CERT_FILE EDITOR
PAGER LANG LC_ALL TERM COLORTERM JAVA_HOME GOPATH CARGO_HOME NVM_DIR VOLTA_HOME PNPM_HOME BUN_INSTALL DENO_INSTALL
PYENV_ROOT RBENV_ROOT SDKMAN_DIR HISTSIZE HISTFILE HISTCONTROL LESS MANPAGER BROWSER DISPLAY XDG_CONFIG_HOME ZDOTDIR
STARSHIP_CONFIG FZF_DEFAULT_OPTS
"""
CLEAN_NAMES = _NAMES.split()
CLEAN_VALUES = (
    "/usr/local/share/x",
    "~/.config/x",
    "https://registry.example/x?y=1",
    "1000",
    "true",
    "x86_64-linux-gnu",
    "en_US.UTF-8",
)
CLEAN_LINES = (
    "export {}={}", "{}='{}'", "set -gx {} {}", '  "{}": "{}",', "{}: {}", '{} = "{}"', "--{}={}", "setenv {} {}",
    'warning: {} is "{}", and that is no folder',
)  # fmt: skip
PROSE = """\
the proxy's password will stand in that file in clear
the login of the proxy will stand in that file in clear: Claude Code takes it from nowhere else
a proxy wants a user and a password, and none is given
type the password of the proxy, then press Enter
the password is kept in the secret store of this system
no password was asked for
enter the password for me@proxy.corp
the key lies open in /home/me/.bashrc, line 12: a key with fingerprint 0a1b2c3d
move the key into the secret store
ccremedy key set reads the key from standard input
the token has expired: log in again with /login
an API key is set, and outranks the login
authentication failed with status 401
the authorization of this network is unknown
press any key to go on
this token is 40 characters long
basic settings are in order
the bearer of this message is the API
a key's name and a key's place are not the key
apiKeyHelper is set to ccremedy key print
the secret store is locked
npm error code E401
npm error Incorrect or missing password.
npm error If you were trying to login, change your password, create an
npm error authentication token or enable two-factor authentication then
fatal: Authentication failed for 'https://git.example/x.git/'
curl: (56) Received HTTP code 407 from proxy after CONNECT
Proxy-Authenticate: Basic realm="proxy.corp"
WWW-Authenticate: Negotiate
ssh: key exchange failed
Enter passphrase for key '/home/me/.ssh/id_ed25519':
""".splitlines()


def _clean() -> list[str]:
    from conftest import ROOT

    made = [line.format(name, value) for line in CLEAN_LINES for name in CLEAN_NAMES for value in CLEAN_VALUES]
    told = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    written = [line for path in told for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list(dict.fromkeys([*CLEAN, *PROSE, *written, *made]))


@pytest.mark.parametrize("line", PROSE)
def test_a_sentence_stays(line: str) -> None:
    assert redact(line) == line


def test_hardly_an_ordinary_line_is_taken_for_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _clean()
    wrong = [line for line in lines if redact(line) != visible(line)]
    with capsys.disabled():
        print(
            f"\nredaction-of-clean-lines points={len(lines)} bad={len(wrong)} rate={len(wrong) / len(lines):.2%}",
            end=" ",
        )
    assert len(lines) >= 2000
    assert len(wrong) <= 0.005 * len(lines), wrong[:10]


@pytest.mark.parametrize(
    "line",
    [
        "export GITHUB_TOKEN=$(gh auth token)",
        'export API_KEY="$(pass show api)"',
        "//r.example/:_authToken=${NPM_TOKEN}",
    ],
)
def test_the_name_of_a_secret_stays(line: str) -> None:
    assert redact(line).startswith(line.split("=")[0])


# ---- what acts on a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("over\rwritten", "over\\x0dwritten"),
        ("back\x08space", "back\\x08space"),
        ("nul\0", "nul\\x00"),
        ("del\x7f", "del\\x7f"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("\u200e\u200f\u061c", "\\u200e\\u200f\\u061c"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ufeff", "\\ufeff"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("a\tb\nc", "a\tb\nc"),
        ("gr\u00fc\u00df \u65e5\u672c \U0001f600", "gr\u00fc\u00df \u65e5\u672c \U0001f600"),
    ],
    ids=[
        "a colour", "a window's title", "a one-byte escape", "a carriage return", "a backspace", "NUL", "DEL",
        "right to left", "isolates", "marks", "line separators", "a byte order mark", "bytes that are not UTF-8",
        "half of a character", "tabs and line ends stay", "letters of the world stay",
    ],
)  # fmt: skip
def test_what_acts_on_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert redact(text) == shown


@settings(deadline=None)
@given(st.text(st.characters() | st.integers(0xD800, 0xDFFF).map(chr)))
def test_whatever_comes_out_can_be_printed(text: str) -> None:
    shown = redact(text)
    assert shown.encode().decode() == shown
    assert all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in shown)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "piece", ["key", "a-", "set ", "x://", "x://:", "-----BEGIN ", '"', "token=\\", "a", " ", "--"]
)
def test_a_long_line_takes_no_long_time(piece: str) -> None:
    """A start-up file may hold a line of a megabyte. Twice the text takes twice the time, not four or eight times."""

    def seconds(count: int) -> float:
        start = time.process_time()
        redact(piece * count)
        return time.process_time() - start

    seconds(100)
    count = 500
    while (took := seconds(count)) < 0.02 and count * len(piece) < 1 << 18:
        count *= 2
    assert took < 0.5, f"{count * len(piece)} characters took {took:.2f} s"
