"""What npm's jsonc-parser, the parser of VS Code, makes of texts; all of them in one process of a real node."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from real import fetch

VERSION = "3.3.1"
_SCRIPT = """
const {parse} = require(process.argv[1]), chunks = [], bits = Buffer.alloc(8);
const digits = value => (bits.writeDoubleBE(value || 0), {'#': bits.toString('hex')});
const told = (_, value) => typeof value === 'number' ? digits(value) : value;
process.stdin.on('data', chunk => chunks.push(chunk)).on('end', () => console.log(JSON.stringify(
  JSON.parse(Buffer.concat(chunks)).map(text => {
    const errors = [], value = parse(text, errors, {allowTrailingComma: true, allowEmptyContent: true});
    return errors.length ? null : [JSON.stringify(value ?? null, told)];
  }))));
"""


def read(texts: list[str]) -> list[object]:
    """For each text its value with numbers as {"#": the 16 hex digits of the double}, in a list; None for an error.

    Skips the test where neither node nor the package can be fetched.
    """
    (node,) = fetch.needed("node", fetch.NODES[-1])
    try:
        package = fetch._unpacked(f"jsonc-parser@{VERSION}")
    except fetch.Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the npm registry: {error}")
    done = subprocess.run(
        [node, "-e", _SCRIPT, package / "lib" / "umd" / "main.js"],
        input=json.dumps(texts).encode(), capture_output=True, timeout=300, check=True, env={"HOME": "/nowhere"},
    )  # fmt: skip
    return [each and [json.loads(each[0])] for each in json.loads(done.stdout)]
