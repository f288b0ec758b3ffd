"""Inputs that nobody means well with: pieces for hypothesis, and whole files that ask for more than there is.

Only how they look; what must become of them is said by the tests.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

MIB = 1 << 20
SAMPLE = "services:\n  main:\n    image: homeport/sample:1\n"

HARD_TEXTS = (
    "", " ", "\0", "\n", "\r", "\r\n", "\t", "\ufeff", "\u2028", "\x85", "\x1b[31m", "\u202e", "\x7f", "é", "😀",
    "$", "$$", "${", "${A", "$A", "${A:-${A}}", "${A:?}", "$(id)", "`id`", "'", '"', "\\", '\\"', "#", " #", "=", ":", "A=1",
    "..", "../..", "../../etc/shadow", "/etc/shadow", "/", "./", "-rf", "--", "~", "~root", "*", "&a", "*a", "<<", "!!int", "!x",
    "null", "true", "no", "0", "-1", "1e999", "NaN", "0x10", "1_000", "59:59:59", "changeme", "x" * 300, "/x" * 3000,
    "%s", "{}", "%n", "a\nb", "COMPOSE_FILE", "PATH", "LD_PRELOAD", "git@x:y.git", "https://x/y.git", "oci://x",
)  # fmt: skip

hard_text = st.sampled_from(HARD_TEXTS)
any_text = st.one_of(
    hard_text, st.text(max_size=20), st.text(alphabet="A$B{}:-?+=\"'\\# \n\r\t#x0", max_size=30)
)
plain_text = any_text.map(lambda text: text.replace("\0", ""))
names = st.one_of(st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True), st.sampled_from(["A", "B", "KEY"]))

json_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 70_000), st.floats(), any_text, st.just("\ud800")
)
json_values = st.recursive(
    json_leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(any_text, inner, max_size=4)),
    max_leaves=12,
)


def levels(start: str, line: str, count: int = 9) -> str:
    """Lines of which each names the one before many times."""
    return "\n".join([start, *(line.format(n=n, m=n - 1) for n in range(1, count + 1))]) + "\n"


COMPOSE_BOMBS: dict[str, str] = {
    "lists of aliases": SAMPLE + levels("x-0: &a0 [x]", "x-{n}: &a{n} [" + "*a{m}, " * 9 + "]"),
    "merges": SAMPLE
    + levels("x-0: &a0 {k: v}", "x-{n}: &a{n} {{<<: [" + "*a{m}, " * 9 + "], k{n}: [*a{m}, *a{m}]}}"),
    "an alias of itself": SAMPLE + "x: &a [*a]\n",
    "a merge of itself": SAMPLE + "x: &a {<<: *a}\n",
    "a long text a thousand times": SAMPLE + "x: &a '" + "$$" * 25_000 + "'\ny: [" + "*a," * 1000 + "]\n",
    "a long mount a thousand times": "x: &a './"
    + "$$" * 25_000
    + ":/x'\nservices: {a: {volumes: ["
    + "*a," * 1000
    + "]}}",
    "a million keys": SAMPLE + "".join(f"k{n}: \n" for n in range(1_000_000))[: MIB - 100] + "\n",
    "keys that are all one number to a dict": SAMPLE
    + "x:\n"
    + "".join(f" {((1 << 61) - 1) * n}: \n" for n in range(1, 36_000)),
    "keys that are tagged as numbers": SAMPLE
    + "x:\n"
    + "".join(f" !!int {((1 << 61) - 1) * n}: \n" for n in range(1, 30_000)),
    "a deep list in a flow": "x: " + "[" * 100_000 + "]" * 100_000,
    "a deep mapping in a flow": "x: " + "{a: " * 100_000,
    "a deep block": "- " * 100_000,
    "deep keys": "? " * 100_000,
    "a flow that never ends": "{" * (MIB - 10),
    "a number of many parts": SAMPLE + "x: 1" + ":59" * 300_000 + "\n",
    "a number of many digits": SAMPLE + "x: " + "1" * 900_000 + "\n",
    "a tagged number of many parts": SAMPLE + "x: !!int 1" + ":59" * 300_000 + "\n",
    "a time of many digits": SAMPLE + "x: 2001-01-01 01:01:01." + "1" * 900_000 + "\n",
    "spaces before a time": SAMPLE + "x: 2001-01-01" + " " * 900_000 + "x\n",
    "one long line": SAMPLE + "x: " + "a " * 500_000 + "\n",
    "many short lines": SAMPLE + "x: " + "a\n " * 330_000 + "\n",
    "escapes": SAMPLE + 'x: "' + "\\n" * 500_000 + '"\n',
    "tabs": "\t" * (MIB - 10),
    "comments": "#\n" * (MIB // 2 - 10),
    "documents": "---\n" * (MIB // 4 - 10),
    "anchors": SAMPLE + "x: [" + "".join(f"&a{n} 1," for n in range(90_000)) + "]\n",
    "fifty thousand honest keys": SAMPLE + "x:\n" + "".join(f" k{n}: 1\n" for n in range(49_000)),
    "files without number": "services: {a: {env_file: [" + ",".join(f"f{n}" for n in range(90_000)) + "]}}",
    "mounts without number": "services: {a: {volumes: ["
    + ",".join(f"./f{n}:/x:ro" for n in range(60_000))
    + "]}}",
    "providers without number": "services: {"
    + ",".join(f"s{n}: {{provider: x}}" for n in range(30_000))
    + "}",
    "an include of itself, ever deeper": "include: [{path: compose.yaml, project_directory: x}]\nx: ["
    + "1," * 90_000
    + "]",
    "ports without number": "services: {a: {ports: [" + "1-100:1-100," * 60_000 + "]}}",
    "names made of a long variable": "services: {a: {env_file: ["
    + ",".join(["'" + "$LONG" * 800 + "'"] * 200)
    + "]}}",
    "a hostile address": "include: ['" + "a" * 500_000 + "@" + "b" * 400_000 + "']",
    "braces for a pattern": SAMPLE + "x: '" + "${A:-" * 150_000 + "'\n",
    "dollars for a pattern": SAMPLE + "x: '" + "$" * 900_001 + "'\n",
    "a control character": SAMPLE + "x: \x01\n",
    "a NUL": SAMPLE + "x: \0\n",
    "UTF-16": SAMPLE.encode("utf-16").decode("latin-1"),
    "half of UTF-8": SAMPLE + "x: \xff\n",
    "only a mark": "\xef\xbb\xbf",
    "carriage returns": SAMPLE.replace("\n", "\r"),
    "tags": SAMPLE + "x: !!python/object/apply:os.system ['touch /tmp/owned']\n",
}
"""Compose files, as latin-1; each is refused with a reason or read within moments."""

ENV_BOMBS: dict[str, str] = {
    "ten lines for gigabytes": levels("A0=xxxxxxxxxx", "A{n}=" + "$A{m}" * 10),
    "ten lines for gigabytes, in braces": levels("A0=xxxxxxxxxx", "A{n}=" + "${{A{m}:-x}}" * 10),
    "ten lines for gigabytes, as replacement": levels("A0=x", "A{n}=${{A0:+" + "$A{m}" * 10 + "}}"),
    "many variables": "A=b\n" * (MIB // 4 - 10),
    "many names": "A\n" * (250 * 1024 // 2),
    "escapes": 'A="' + "\\n" * 125_000 + '"\n',
    "octals": 'A="' + "\\0101" * 50_000 + '"\n',
    "dollars": "A=" + "$" * 250_000,
    "references": "A=" + "${B}" * 60_000,
    "references in references": "A=" + "${B:-" * 49 + "x" * 200_000 + "}" * 49,
    "braces": "A=" + "${B:-" * 50_000,
    "closing braces": "A=" + "${B:-x}y}" * 25_000,
    "a quote that never ends": "A='" + "\\'" * 120_000,
    "a key that never ends": "A" * 250_000,
    "spaces": " " * 250_000,
    "comments": "A=x" + " #" * 120_000,
    "marks": "\xef\xbb\xbf" * 80_000,
    "too large": "# " + "x" * (2 * MIB),
    "a NUL": "A=\0\n",
    "half of UTF-8": "A=\xff\n",
    "UTF-16": "A=1\n".encode("utf-16").decode("latin-1"),
}
"""`.env` files, as latin-1."""


def manifest_text(**fields: Any) -> str:
    base = {
        "name": "web",
        "display_name": "x",
        "version": "1",
        "description": "",
        "volumes": [],
        "ports": [],
        "icon": "i",
    }
    return json.dumps(base | fields)


def _with_deep(depth: int) -> str:
    return manifest_text(settings=[{"name": "A", "default": "@"}]).replace('"@"', "[" * depth + "]" * depth)


MANIFEST_BOMBS: dict[str, str] = {
    "wrong ports": manifest_text(ports=["x"] * 200_000),
    "wrong volumes": manifest_text(volumes=[1] * 250_000),
    "empty providers": manifest_text(requires=[{}] * 200_000),
    "many volumes": manifest_text(volumes=[f"v{n}" for n in range(90_000)]),
    "fields that nobody knows": manifest_text(**{f"k{n}": 1 for n in range(70_000)}),
    "a very long field": manifest_text(**{"k" * 900_000: 1}),
    "lists below a very long field": manifest_text(**{"k" * 500_000: [[1] * 1000] * 100}),
    "a deep list": "[" * 500_000,
    "a deep object": '{"a":' * 150_000,
    **{f"{depth} levels": _with_deep(depth) for depth in (60, 70, 500, 950, 970, 980, 985, 990)},
    "a number of many digits": manifest_text(ports=["@"]).replace('"@"', "1" * 900_000),
    "a number too large": manifest_text(health_timeout="@").replace('"@"', "1e999999"),
    "half a character": manifest_text(display_name="\ud800"),
    "half a character to be written": manifest_text(settings=[{"name": "A", "default": "\udfff"}]),
    "half a character as a key": manifest_text(**{"\ud800": 1}),
    "half of UTF-8": manifest_text().replace("{", '{"x": "\xff", ', 1),
    "UTF-16": manifest_text().encode("utf-16").decode("latin-1"),
    "a field twice": manifest_text().replace("{", '{"name": "web", ', 1),
    "no number": manifest_text().replace("{", '{"x": NaN, ', 1),
    "too large": " " * (2 * MIB),
    "a pattern's enemy": manifest_text(
        volumes=["a" * 500_000 + "!"], settings=[{"name": "A" * 400_000 + "a"}]
    ),
}
"""Manifests, as latin-1."""
