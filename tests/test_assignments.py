"""A line that is said to set a variable does so in the real shell, and putting it aside changes nothing else.

Start-up files are made of such lines, spelled in every way, within whatever holds commands, among lines that only look
like them. bash, zsh and fish read each file as it is and with the lines put aside. For .env files and npmrcs the
packages `dotenv` and `ini` are asked, which the programs that read such files use.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from real import fetch

from ccremedy import Problem, editors
from ccremedy.editors import get_assignments, put_aside, put_assignments

Needs = Callable[[str], None]
NAME, WHY = "CCREMEDY_K", "the secret store has it (ccremedy key status)"
SYNTAX = {"bash": "sh", "zsh": "sh", "fish": "fish"}
UNSET = b"<unset>"

# ---- start-up files in which each line that is seen is run

PIECES = (
    "a", "sk-ant-api03-x_Y9-", "'", '"', "\\", "$", "$x", "`", "#", "!", " ", "\t", "~", "{a,b}", "*", "=", ":", "/",
    "@", "%",
    "+", "^", "[b]", "é", "\udcff", "'it is'", '"x y"', "'a#b'", '"\\$x \\`y\\` \\" \\\\ \\n"', "'\\'", "\\ ", "\\'",
    "\\#",
    "\\n", "\\x41", "\\é", "&", "|", "(", ")", "<", ">", ";", "''", '""', "%self", "=ls", "\\\\",
)  # fmt: skip
LEADS = {
    "sh": ("{}=", "export {}=", "  export\t{}=", "declare -x {}=", "typeset -x {}=", "typeset -gx {}=",
    "declare -xg {}="),
    "fish": ("set {} ", "set -g {} ", "set -gx {} ", "  set --global --export {}  ", "set -g -x {}\t",
    "set -gx -- {} "),
}  # fmt: skip
ENDS = {
    "sh": ("", " ", ";", " ;", "; export {}", ";export {} ;", " # mine", "; # mine", "#mine", "\t#"),
    "fish": ("", " ", ";", " ; ", " # mine", "; # mine", "#mine"),
}
PLACES = {
    "sh": (
        "{}", "if true; then\n  {}\nfi", "if false; then :; else\n{}\nfi", "for i in 1; do\n\t{}\ndone", "{{\n{}\n}}",
        "f() {{\n  {}\n}}\nf", "case x in\n  x)\n    {}\n    ;;\nesac", "while true; do\n{}\nbreak\ndone",
        "true &&\n{}",
        "if true; then :\n{}\nelse\n{}\nfi",
    ),
    "fish": (
        "{}", "if true\n  {}\nend", "if false\nelse\n{}\nend", "for i in 1\n\t{}\nend", "begin\n{}\nend",
        "function f\n  {}\nend\nf", "switch x\ncase x\n  {}\nend", "while true\n{}\nbreak\nend",
        "true; and begin\n{}\nend",
    ),
}  # fmt: skip
OTHERS = {
    "sh": (
        "# export {}=no", "export {}_2=x", "export X_{}=x", "true {}=x", "alias k='{}=x'",
        "cat <<E >/dev/null\ntext\nE", ": 'two\nlines'",
        "true && \\\n  true", "", "[ -n \"${}\" ] || true", "export A=1 # {}=x", "export C='\udcff'",
        "# gr\udcfc\udcdf",
    ),
    "fish": (
        "# set -gx {} no", "set -gx {}_2 x", "set -gx X_{} x", "true {} x", "echo 'two\nlines' >/dev/null",
        "true; or \\\n  false",
        "", "set -q {}; or true", "set -gx A 1 # set {} x", "set -gx C '\udcff'", "# gr\udcfc\udcdf",
    ),
}  # fmt: skip


def _is_seen(line: str, syntax: str) -> bool:
    return len(get_assignments(os.fsencode(line), NAME, syntax)) == 1


def _lines(syntax: str) -> st.SearchStrategy[str]:
    word = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
    parts = st.tuples(st.sampled_from(LEADS[syntax]), word, st.sampled_from(ENDS[syntax]))
    lines = parts.map(lambda found: found[0].format(NAME) + found[1] + found[2].format(NAME))
    return lines.filter(lambda line: "\n" not in line and _is_seen(line, syntax))


def _in_place(place: str, line: str) -> str:
    """What is set within a function without saying so is the function's."""
    if "f\n" in place:
        line = (
            line.replace("set ", "set -g ", 1).replace("declare -", "declare -g").replace("typeset -x", "typeset -gx")
        )
    return place.format(line, line)


def _files(syntax: str) -> st.SearchStrategy[str]:
    setting = st.builds(_in_place, st.sampled_from(PLACES[syntax]), _lines(syntax))
    other = st.sampled_from(OTHERS[syntax]).map(lambda text: text.replace("{}", NAME))
    parts = st.lists(st.one_of(setting, other), min_size=1, max_size=5)
    return st.builds(lambda found, end: "\n".join(found) + end, parts, st.sampled_from(("\n", "")))


# ---- what a real shell makes of them

_SOURCE = f"""for f do ( . "$f" </dev/null >"$f.out" 2>&1; printf '%s\\0' "${{{NAME}-<unset>}}"
 unset {NAME}; /usr/bin/env >>"$f.out" ); done"""
_SCRIPTS = {
    "bash": ("--norc", "--noprofile", "-c", _SOURCE, "x"),
    "zsh": ("-f", "-c", _SOURCE, "x"),
    "fish": (
        "--no-config", "-c", f"""for f in $argv
            source $f </dev/null >$f.out 2>&1
            set -q {NAME}; and printf '%s\\0' "${NAME}"; or printf '<unset>\\0'
            set -e {NAME}; /usr/bin/env >>$f.out
        end""",
    ),
}  # fmt: skip
_PARSE = {"bash": ("--norc", "-n"), "zsh": ("-f", "-n"), "fish": ("--no-config", "--no-execute")}


def _run(shell: str, folder: Path, *arguments: str) -> bytes:
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([shell, *arguments], cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    assert not done.stderr, done.stderr[:500]
    return done.stdout


def _read(shell: str, folder: Path, texts: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """For each text what the shell has in NAME once it has read it, and what it said and exports besides."""
    paths = [folder / str(number) for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_bytes(text)
    values = _run(shell, folder, *_SCRIPTS[shell], *map(str, paths)).split(b"\0")[:-1]
    return list(zip(values, [(folder / f"{path.name}.out").read_bytes() for path in paths], strict=True))


def _aside(data: bytes, syntax: str, name: str = NAME) -> bytes:
    before = "\n".join(each.line for each in get_assignments(data, name, syntax))
    return put_assignments(data, name, syntax, put_aside(before, name, syntax, WHY)) if before else data


REAL = settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.mark.parametrize("shell", SYNTAX)
@REAL
@given(st.data())
def test_what_is_seen_is_what_the_shell_ends_up_with(
    shell: str, tmp_path: Path, needs: Needs, data: st.DataObject
) -> None:
    needs(shell)
    syntax = SYNTAX[shell]
    texts = [os.fsencode(each) for each in data.draw(st.lists(_files(syntax), min_size=1, max_size=40))]
    for text, (value, _) in zip(texts, _read(shell, tmp_path, texts)):
        seen = get_assignments(text, NAME, syntax)
        assert value == (os.fsencode(seen[-1].value) if seen else UNSET), text


@pytest.mark.parametrize("shell", SYNTAX)
@REAL
@given(st.data())
def test_with_the_lines_put_aside_the_shell_does_all_else(
    shell: str, tmp_path: Path, needs: Needs, data: st.DataObject
) -> None:
    needs(shell)
    syntax = SYNTAX[shell]
    texts = [os.fsencode(each) for each in data.draw(st.lists(_files(syntax), min_size=1, max_size=40))]
    aside = [_aside(text, syntax) for text in texts]
    before, after = _read(shell, tmp_path, texts), _read(shell, tmp_path, aside)
    for text, then, now in zip(aside, before, after):
        assert now == (UNSET, then[1]), text
    (tmp_path / "all").write_bytes(b"\n".join(aside))
    _run(shell, tmp_path, *_PARSE[shell], "all")


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        ("bash", "cat <<E\n{0}=x\nE\n"),
        ("bash", "cat <<-'E'\n\texport {0}=x\n\tE\n"),
        ("zsh", "cat <<E\n{0}=x\nE\n"),
        ("bash", "export B=1 \\\n  {0}=x\n"),
        ("zsh", "export B=1 \\\n  {0}=x\n"),
        ("fish", "set -gx B \\\n  set {0} x\n"),
        ("bash", "{0}=a\ncat <<E\n{0}=x\nE\n{0}=b\n"),
    ],
    ids=[
        "a here-document", "a here-document with tabs", "a here-document in zsh", "a continued line",
        "a continued line in zsh", "a continued line in fish", "a here-document between two lines",
    ],
)  # fmt: skip
def test_what_is_no_command_of_its_own_stays(shell: str, text: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    data = text.format(NAME).encode()
    ((_, before),) = _read(shell, tmp_path, [data])
    ((_, after),) = _read(shell, tmp_path, [_aside(data, SYNTAX[shell])])
    assert after == before


NOT_SEEN = {
    "sh": (
        "#{}=x", "export A=1 {}=x", "{}=x ./run", "{}=$(pass show x)", "{}=`pass`", "{}=$OTHER", '{}="$OTHER"',
        "{}+=x", "{}=a b",
        "true && \\\n{}=x", "cat <<E\n{}=x\nE", "{}==ls", "local {}=x", "unset {}", "export {}",
        "[ -n x ] && export {}=x", "alias k='{}=x'", "if true; then export {}=x; fi",
        "{}=x; echo", "{}=~/x", "{}=$'a'", "{}='a", "{}=a\\\n", "{}='a\nb'", "A{}=x", "{}A=x", "{}[0]=x", "{}=(x)",
        "{}=x&",
        "declare -ix {}=abc", "declare -ux {}=abc", "declare -lx {}=ABC", "declare -Ax {}=x", "export -n {}=x",
    ),
    "fish": (
        "#set {} x", "true; and \\\nset {} x", "set {} a b", "set {} (pass)", "set {} $OTHER", 'set {} "$OTHER"',
        "set -e {}", "set -e {} x", "set -q {} x",
        "set --query {} x", "set -a {} x", "set --append {} x", "set -p {} x", "set -S {} x", "set {} ~/x", "set {} 'a",
        "set {}[1] x", "set A{} x", "set {}A x", "set {} a; echo", "set {} a\\\n", "set {} {{a,b}}", "set {} *",
        "set {} a\\nb",
    ),
    "npmrc": ("[x]\n{}=y", ";{}=x", "#{}=x", "{}", "{}[]=x", "x{}=x"),
    "env": ("#{}=x", "{}", "{} x", "x{}=x", "{}="),
    "powershell": (
        "# $env:{} = 'x'", "$env:A{} = 'x'", "$env:{}A = 'x'", "${} = 'x'", "$env:{} = x", "$env:{} = $x",
        '$env:{} = "$x"', '$env:{} = "$(x)"', '$env:{} = "a`nb"', "$env:{} = 'x' + 'y'", "$env:{} = 'x', 'y'",
        "$env:{} += 'x'", "$env:{} = 'x'; foo", "$env:{} = 'x' | foo", "$env:{} = 'x", "$env:{} = 'a\nb'",
        "$env:{} = 'x'.Trim()", "$env:{} = 'x'\n  | foo", "$env:{} = 'x'\n  # why\n  | foo", "$env:{} = 'x'\n.Trim()",
        "foo; $env:{} = 'x'", "$a = $env:{} = 'x'", "$a =\n$env:{} = 'x'", "$a,\n$env:{} = 'x'", "$a.\n$env:{} = 'x'",
        "[string]\n$env:{} = 'x'", "foo `\n$env:{} = 'x'", "foo `\r\n$env:{} = 'x'", "foo |\n$env:{} = 'x'",
        "@'\n$env:{} = 'x'\n'@", '@"\n$env:{} = "x"\n"@', "@‘ \r\n$env:{} = 'x'\n’@", "<#\n$env:{} = 'x'\n#>",
        "'\n$env:{} = 'x'\n'", "'it''s\n$env:{} = 'x'\n'", '"$("a\n$env:{} = \'x\'")"', '"a `"\n$env:{} = "x"\n"',
        "@{{\n$env:{} = 'x'\n}}", "(\n$env:{} = 'x'\n)", "$a[\n$env:{} = 'x'\n]", "if (\n$env:{} = 'x'\n) {{}}",
        "foo )\n$env:{} = 'x'", "foo 'x\n$env:{} = 'x'", "foo <# x\n$env:{} = 'x'", "foo#'\n$env:{} = 'x'",
        "$env:{} = 'x'\n# SIG # Begin signature block\n# MII",
        "[Environment]::SetEnvironmentVariable('{}', 'x', 'User')",
        "[Environment]::SetEnvironmentVariable('{}', 'x', $where)",
        "[Environment]::SetEnvironmentVariable('{}', 'x'",
        "$env:{} = 'x')", "Set-Item Env:{} x", "Set-Item Env:{} 'x' -WhatIf", "Set-Item Variable:{} 'x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("syntax", "text"), [(syntax, text) for syntax, texts in NOT_SEEN.items() for text in texts], ids=ascii
)
def test_other_lines_are_not_seen(syntax: str, text: str) -> None:
    assert get_assignments(text.format(NAME).encode(), NAME, syntax) == []


# ---- bytes

_ANY = {
    "sh": (b"export K=x", b"K='a b' # c", b"  K=x; export K", b"K=$x"),
    "fish": (b"set -gx K x", b"  set K 'a b';", b"set K $x"),
    "env": (b"K=x", b'export K = "a b" # c', b"K='x'", b"K="),
    "npmrc": (b"K=x", b'"K" = x ; c', b"K[]=x", b"[K]"),
    "powershell": (
        b"$env:K = 'x'",
        b'  ${Env:k}="a`"b"; # c',
        b"$env:K = $x",
        b"@'",
        b"'@",
        b"<#",
        b"#>",
        b"foo `",
        b"if ($x) {",
        b"}",
        b"(",
        "Set-Item Env:K ‘x’".encode(),
        b"[Environment]::SetEnvironmentVariable('K','x')",
        b"| foo",
    ),
}
_NOISE = (
    b"# mine",
    b"",
    b"\xff\xfe",
    b"\0",
    b"gr\xfc\xdf",
    b"\x85",
    b"K",
    b"\\",
    b": # ccremedy has put X aside",
    b"'",
)


def _any_file(syntax: str) -> st.SearchStrategy[bytes]:
    line = st.tuples(st.sampled_from(_ANY[syntax] + _NOISE), st.sampled_from((b"\n", b"\r\n", b"\n\n", b"\r")))
    made = st.builds(
        lambda start, lines, end: start + b"".join(a + b for a, b in lines) + end,
        st.sampled_from((b"", editors.BOM, b"#!/bin/sh\n")), st.lists(line, max_size=6), st.sampled_from((b"",
        *_ANY[syntax])),
    )  # fmt: skip
    return made | st.binary(max_size=30)


@pytest.mark.parametrize("syntax", _ANY)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_what_was_put_aside_comes_back_and_nothing_else_changes(syntax: str, data: st.DataObject) -> None:
    text = data.draw(_any_file(syntax))
    seen = get_assignments(text, "K", syntax)
    before = "\n".join(each.line for each in seen)
    aside = _aside(text, syntax, "K")
    assert [each.aside for each in get_assignments(aside, "K", syntax)] == [True] * len(seen)
    assert put_assignments(aside, "K", syntax, before) == text
    lines, now = text.split(b"\n"), aside.split(b"\n")
    changed = [os.fsdecode(line) for line, new in zip(lines, now) if line != new]
    assert len(lines) == len(now)
    assert [line.removeprefix("\ufeff") for line in changed] == [each.line for each in seen if not each.aside]
    assert all(new.endswith(b"\r") == line.endswith(b"\r") for line, new in zip(lines, now))
    if seen:
        with pytest.raises(Problem):
            put_assignments(text, "K", syntax, before + "\nK=x")


def test_a_first_line_with_a_mark_is_put_aside_as_the_others_are() -> None:
    data = b"\xef\xbb\xbf$env:K = 'x'\n$env:K = 'y'\n"
    aside = _aside(data, "powershell", "K")
    assert [each.aside for each in get_assignments(aside, "K", "powershell")] == [True, True]
    assert put_assignments(aside, "K", "powershell", "$env:K = 'x'\n$env:K = 'y'") == data


@settings(deadline=None)
@given(_any_file("powershell"), st.sampled_from(("utf-16-le", "utf-16-be")))
def test_what_was_put_aside_in_utf_16_comes_back(data: bytes, encoding: str) -> None:
    text = data.decode("utf-8", "replace").lstrip("\ufeff\0")  # with a NUL it would be taken for UTF-32
    wide = f"\ufeff{text}".encode(encoding)
    seen = get_assignments(wide, "K", "powershell")
    assert seen == get_assignments(text.encode(), "K", "powershell")
    aside = _aside(wide, "powershell", "K")
    assert aside == f"\ufeff{_aside(text.encode(), 'powershell', 'K').decode()}".encode(encoding)
    assert put_assignments(aside, "K", "powershell", "\n".join(each.line for each in seen)) == wide


# ---- PowerShell, which is simulated: by a grammar of it

PS_PIECES = (
    "a", "sk-ant-api03-x_Y9-", "''", '""', '`"', "`$", "``", "`a", "`n", "`'", "$", "$x", "$(x)", "$(x 'y')", "#", "<#",
    "#>", "@", " ", "\t", "{", "}", "(", ")", "[", "]", ";", "|", "&", "é", "%", "\\", "//", "=", ",", "--%", "`0",
)  # fmt: skip
PS_LEADS = (
    "$env:{} = ", "$env:{}=", "  $Env:{}\t=", "${{env:{}}} = ", "\t${{ENV:{}}}=", "$env:{} += ", "$env:{} = $a = ",
    "$x = ",
)  # fmt: skip
PS_ENDS = ("", " ", ";", " ;", " # mine", "; # it's", "\t", " | foo", " + 'x'", "; foo", ".Trim()")
PS_PLACES = (
    "{}", "if ($x) {{\n  {}\n}}", "if ($x) {{}} else {{\n{}\n}}", "foreach ($i in 1) {{\n\t{}\n}}",
    "function f {{\n{}\n}}\nf", "try {{\n{}\n}} catch {{}}", "switch ($x) {{\n'a' {{\n{}\n}}\n}}", "& {{\n{}\n}}",
    "$a = @(\n{}\n)", "$a = $(\n{}\n)", "(\n{}\n)", "@{{\n{}\n}}", "@{{ a = {{\n{}\n}} }}", "<#\n{}\n#>", "@'\n{}\n'@",
    '@"\n{}\n"@', "foo `\n{}", "$a =\n{}", "$a,\n{}", "foo |\n{}", "{}\n  | foo", "{}\n# a.b | c\nfoo",
    "{}\n<# a #>\n| foo",
    "'\n{}\n'", '"\n{}\n"', "foo {{\n{}\n}} -bar", "do {{\n{}\n}} while ($x)", "{}\n{}",
)  # fmt: skip
PS_OTHERS = (
    "# $env:{} = 'no'", "# it's", '# "', "<# it's\n#>", "#region x", "foo", "foo 'it is'", 'foo "it\'s $(x "y" (z))"',
    "$a = 'it''s'", "foo -bar:'x' --baz", "$p = \"$env:{}\"", "foo `\n  bar", "@'\nit's\n'@", '@"\n"$x"\n"@ | foo',
    "", "$a = 1",
    "$a[0]", "Set-Alias ll ls", "cd ..", "if ($a -eq '#') {{ foo }}", "$a = @{{ b = 1; 'c' = \"d\" }}",
    "foo | % {{ $_ }}", "ls *.[ch]",
    "foo a#b", "foo $a`'b", "function prompt {{ \"PS $($a.b('c'))> \" }}", ". $PROFILE", "[void](foo)",
    "using namespace System",
    "& 'C:\\x y\\z.exe' init | Out-String | Invoke-Expression",
    "Invoke-Expression (& { (zoxide init powershell | Out-String) })",
)  # fmt: skip


def _ps(text: str, line: str = "") -> str:
    return text.replace("{}", line or NAME).replace("{{", "{").replace("}}", "}")


def _ps_lines() -> st.SearchStrategy[str]:
    word = st.lists(st.sampled_from(PS_PIECES), max_size=4).map("".join)
    quoted = st.one_of(word.map("'{}'".format), word.map('"{}"'.format))
    ends = st.sampled_from(PS_ENDS)
    return st.builds(lambda lead, value, end: _ps(lead) + value + end, st.sampled_from(PS_LEADS), quoted, ends)


def _ps_files() -> st.SearchStrategy[str]:
    setting = st.builds(_ps, st.sampled_from(PS_PLACES), _ps_lines())
    parts = st.lists(st.one_of(setting, st.sampled_from(PS_OTHERS).map(_ps)), min_size=1, max_size=5)
    return st.builds(lambda found, end: "\n".join(found) + end, parts, st.sampled_from(("\n", "")))


def _in_grammar(text: str) -> list[tuple[int, str]] | None:
    """The lines that only set the variable to a literal, each with the literal; None for what is no script."""
    tree_sitter, grammar = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_pwsh")
    root = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(text.encode()).root_node
    if root.has_error:
        return None
    lines, found, todo = text.encode().split(b"\n"), [], [root]
    while todo:
        node = todo.pop()
        todo += node.named_children
        if node.type != "assignment_expression" or node.parent.parent.type != "statement_list":
            continue
        left, operator = node.named_children[:2]
        right = node.child_by_field_name("value")
        while right.type != "string_literal" and len(right.named_children) == 1:
            (right,) = right.named_children
        place, line = node.start_point[0], lines[node.start_point[0]]
        alone = len(node.parent.named_children) == 1 and not line[: node.start_point[1]].strip()
        alone = alone and bool(re.fullmatch(rb"[ \t]*(;[ \t]*)?((?<=[ \t;])#.*)?", line[node.end_point[1] :]))
        ours = left.text.decode().lower() in (f"$env:{NAME}".lower(), f"${{env:{NAME}}}".lower())
        literal = right.type == "string_literal" and re.fullmatch(rb"'.*'|" + _PLAIN, right.text)
        if alone and ours and literal and operator.text == b"=" and node.end_point[0] == place:
            found.append((place + 1, right.text.decode()))
    return sorted(found)


_PLAIN = rb'"(?:[^"`$]|""|`[^0abefnrtuv])*"'  # nothing in it is replaced by anything else


@settings(
    max_examples=1_000, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(_ps_files())
def test_simulated_what_is_seen_is_what_a_grammar_of_powershell_sees(text: str) -> None:
    wanted = _in_grammar(text)
    assume(wanted is not None)
    seen = get_assignments(text.encode(), NAME, "powershell")
    assert [(each.number, each.raw) for each in seen] == wanted


def test_simulated_taking_every_line_for_a_statement_of_powershell_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [_ps(place, f"$env:{NAME} = 'x'") for place in PS_PLACES]
    wanted = {text: found for text in texts if (found := _in_grammar(text)) is not None}

    def wrong() -> list[str]:
        return [
            text
            for text, found in wanted.items()
            if len(get_assignments(text.encode(), NAME, "powershell")) != len(found)
        ]

    assert len(wanted) > len(texts) - 5
    assert not wrong()
    monkeypatch.setattr(editors, "_statements", lambda text: [each.start() for each in re.finditer("^", text, re.M)])
    assert len(wrong()) > 8


# ---- what programs that read .env files and npmrcs make of them

_ASK = """
const parse = require(process.argv[1]).parse, chunks = [];
process.stdin.on('data', chunk => chunks.push(chunk)).on('end', () => console.log(JSON.stringify(
  JSON.parse(Buffer.concat(chunks)).map(text => String(parse(text)[process.argv[2]])))));
"""


def _ask(package: Path, name: str, texts: Sequence[str]) -> list[str]:
    """What `parse` of this package gives for `name` in each text; "undefined" for nothing."""
    (node,) = fetch.needed("node", fetch.NODES[-1])
    done = subprocess.run(
        [node, "-e", _ASK, package, name], input=json.dumps(texts).encode(),
        capture_output=True, timeout=300, check=True,
        env={"HOME": "/nowhere"},
    )  # fmt: skip
    return list(json.loads(done.stdout))


def _dotenv() -> Path:
    fetch.needed("node", fetch.NODES[-1])
    try:
        return fetch._unpacked("dotenv@17.2.3")
    except fetch.Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the npm registry: {error}")


def _ini() -> Path:
    return fetch.needed("npm", fetch.NPMS[-1])[0] / "node_modules" / "ini"


_ENV_LINES = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(("", "export ", "  ")),
    st.just(NAME),
    st.sampled_from(("=", " = ", "= ")),
    st.sampled_from(
        ("x", "sk-ant-x_9", "a b", "'a b'", '"a b"', "'a#b'", '"a#b"', "a=b", "a$b", "''", "a'b", "é", "$(x)", "`x")
    ),
    st.sampled_from(("", " ", " # mine", "#mine", "\t")),
)
_RC_VALUES = st.builds(
    "{}{}".format,
    st.sampled_from(("false", "true", "0", "null", "False", "a b", "a=b")),
    st.sampled_from(("", " ", " ; mine", "#mine", ";mine", "\t")),
) | st.sampled_from(('"false"', "'false' ", '"true"\t'))
_RC_LINES = st.builds(
    "{}{}{}".format,
    st.sampled_from(("strict-ssl", "  strict-ssl", '"strict-ssl"', "'strict-ssl'")),
    st.sampled_from(("=", " = ", "= ", "\t=")),
    _RC_VALUES,
)
_ENV_OTHERS = ("# {}=no", "OTHER=1", "", "X{}=1", "{}2=x", "OTHER='{}=x'")
_RC_OTHERS = (
    "; strict-ssl=no",
    "#strict-ssl=no",
    "registry=https://r.example/",
    "",
    "strict-ssl2=1",
    "//r/:strict-ssl=1",
)


def _mixed(lines: st.SearchStrategy[str], others: Sequence[str]) -> st.SearchStrategy[str]:
    rest = st.sampled_from([each.replace("{}", NAME) for each in others])
    ends = st.sampled_from(("\n", "\r\n"))
    return st.builds(lambda found, end: end.join(found) + end, st.lists(st.one_of(lines, rest), max_size=5), ends)


@settings(REAL, max_examples=10)
@given(st.lists(_mixed(_ENV_LINES, _ENV_OTHERS), min_size=1, max_size=60))
def test_env_files_are_read_as_dotenv_does(texts: list[str]) -> None:
    _agrees(_dotenv(), NAME, "env", texts)


@settings(REAL, max_examples=10)
@given(st.lists(_mixed(_RC_LINES, _RC_OTHERS), min_size=1, max_size=60))
@example(["[section]\nstrict-ssl=false\n", "strict-ssl=true\n[a]\nstrict-ssl=false\n"])
def test_npmrcs_are_read_as_npm_does(texts: list[str]) -> None:
    _agrees(_ini(), "strict-ssl", "npmrc", texts)


def _agrees(package: Path, name: str, syntax: str, texts: list[str]) -> None:
    for text, value in zip(texts, _ask(package, name, texts)):
        seen = get_assignments(text.encode(), name, syntax)
        assert (seen[-1].value if seen else "undefined") == value, text


# What each makes of a text, and what we do: as a shell does that reads the .env file, or not at all.
DIFFERENCES = {
    "an escaped quote": ("env", '{}="a\\"b"', 'a\\"b', 'a"b'),
    "a line end that is spelled": ("env", '{}="a\\nb"', "a\nb", "a\\nb"),
    "backquotes": ("env", "{}=`a b`", "a b", "`a b`"),
    "a colon": ("env", "{}: x", "x", None),
    "nothing": ("env", "{}=", "", None),
    "two lines": ("env", "{}='a\nb'", "a\nb", None),
    "a comment behind quotes": ("npmrc", '{}="false" ; mine', '"false"', "false"),
    "a list": ("npmrc", "{}[]=false", "false", None),
    "no value": ("npmrc", "{}", "true", None),
}


@pytest.mark.parametrize(("syntax", "text", "theirs", "ours"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_these_differences_are_known(syntax: str, text: str, theirs: str, ours: str | None) -> None:
    package, text = _dotenv() if syntax == "env" else _ini(), text.format(NAME)
    seen = get_assignments(text.encode(), NAME, syntax)
    assert (_ask(package, NAME, [text]), [each.value for each in seen]) == ([theirs], [ours] if ours else [])
