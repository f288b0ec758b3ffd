"""The `.env` reader and writer, held against the real Compose."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.source.dotenv import DotenvError, encode, merge, parse

COMPOSE = Path(sys.executable).with_name("docker-compose")

HARD = [
    "A=x # c\nB=x#c\nC= # c\nD=x\t#c",
    "A= \"q\" # c\nB='q'#c",
    'A="a\\nb\\tc\\$d\\qe\\\\f\\r\\"g"',
    'A="a\\ab\\0c\\bd\\fe\\vg\\\'h\\/i\\0123\\0303\\0777"',
    "A='a\\nb'\nB='it\\'s'\nC='x\\\\'\nD='$A'",
    "A=\"l1\n#l2\r\nl3\" # c\nB='l1\nl2'\nC=z",
    "B=1\nA=${B:-x}${C:-y}$B-$NONE.${B}",
    "B=\nA=${B-x}|${B:-y}|${B+p}|${B:+q}|${C+r}",
    "A=${B:-${C:-z}}\nD=${B:-a}b}\nE=${B:-{x}}",
    "A=$$x\nB=a$\nC=$1x\nD=$(x)\nE=$${A}\nF=$$$A",
    'A=x\nB="\\$A"\nC="\\\\$A"\nD="$$A"\nE=\\$A',
    "A: v\nB:w\nC: 'x: y'\nD:=x\nE==x",
    "export A=v\nexport\tB=w\nexportC=x\nexport: y\nexport\nD=z",
    "A\nB=1\nC ",
    "\ufeffA=x\r\nB= y \r\n# c\r\nC=\r\n",
    "  A = ind  \n\t# c\n\tB\t=\tx",
    'A="x" B=2\nC="" # c',
    'A="x" tail\nB=1',
    "1A=c\nA-B=c\nA.B=c\nA[0]=c\nÉ=x\n=c",
    "A=1\nB=$A\nA=2\nC=$A",
    "A=\xa0x\xa0\nB=\u3000x\u3000\nC=x\u2028y\nD=x\x0by\x85",
    "A=\\\nB=a\\ # c\nC=\\n\nD=\\#",
    "A=a'b\nB=a\"b\nC=\"a'b\"\nD='a\"b'",
    'A="${B:-\\"q\\"}"\nC="${B:-a}\n}"',
    "B=1\nA=${B?x}${B:?y}",
    "A=${B:-a-b?c}\nC=${B-a:-b}\nD=${B:-a?b}",
    # what Compose refuses
    'A=1\nB="open',
    "A='x\\'",
    "A B=c",
    "A+=c",
    "A=${B",
    "A=${1}",
    "A=${}",
    "A=${B:?boo}",
    'A="${B:-a\nb}"',
    "A #c\nB=1",
]


def compose_reads(folder: Path, text: str) -> dict[str, str] | None:
    """What the real Compose makes of it; None when it refuses."""
    folder.mkdir(exist_ok=True)
    (folder / "a.env").write_bytes(text.encode())
    (folder / "compose.yaml").write_text("services: {s: {image: x, env_file: [a.env]}}\n")
    done = subprocess.run(
        [COMPOSE, "-f", folder / "compose.yaml", "config", "--format", "json"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        assert b"a.env" in done.stderr
        return None
    read: dict[str, str] = json.loads(done.stdout)["services"]["s"].get("environment", {})
    return {key: value.replace("$$", "$") for key, value in read.items() if key}


def we_read(text: str) -> dict[str, str] | None:
    try:
        return parse(text)
    except DotenvError:
        return None


def test_reads_hard_files_as_compose_does(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(len(HARD))]
    with ThreadPoolExecutor(4) as pool:
        theirs = list(pool.map(compose_reads, folders, HARD))

    assert dict(zip(HARD, map(we_read, HARD), strict=True)) == dict(zip(HARD, theirs, strict=True))
    assert None in theirs


@pytest.mark.fault("C05")
def test_compose_reads_back_what_was_written(tmp_path: Path) -> None:
    dice = random.Random(4711)
    alphabet = "ab1 \t\n\r\\\"'$#{}:=-?+`!%é€\u2028\ufeff😀"
    values = {f"K{n}": "".join(dice.choices(alphabet, k=dice.randrange(12))) for n in range(300)}
    text = merge("K0=old\nK1='two\nlines' # c\n", values)

    assert parse(text) == values
    assert compose_reads(tmp_path, text) == values


def test_says_the_line_and_never_the_value() -> None:
    with pytest.raises(DotenvError, match="line 4") as caught:
        parse("A=1\nB='two\nlines'\nC=\"secret")

    assert caught.value.line == 4
    assert "secret" not in str(caught.value)


def test_variables_do_not_come_from_our_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "leaked")

    assert parse("A=[$OURS]") == {"A": "[]"}


def test_variables_within_variables_end() -> None:
    with pytest.raises(DotenvError, match="too deep"):
        parse("A=" + "${B:-" * 60 + "}" * 60)


def test_ten_lines_that_ask_for_gigabytes_are_refused() -> None:
    lines = ["A0=xxxxxxxxxx", *(f"A{n}=" + f"$A{n - 1}" * 10 for n in range(1, 11))]
    with pytest.raises(DotenvError, match=r"line 6: .* more than 1048576 characters"):
        parse("\n".join(lines))


def test_more_variables_than_anybody_has_are_refused() -> None:
    with pytest.raises(DotenvError, match="line 10001: more than 10000 variables"):
        parse("".join(f"K{n}=x\n" for n in range(20_000)))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("a/b_c.d:1@x+y,z-0", "a/b_c.d:1@x+y,z-0"),
        ("a b", '"a b"'),
        ('\\"$\n\r', '"\\\\\\"$$\\n\\r"'),
    ],
)
def test_encode(value: str, written: str) -> None:
    assert encode(value) == written


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode("a\0b")


@pytest.mark.parametrize("key", ["", "A B", "A=B", "A\n", "A#", "A+"])
def test_a_key_that_no_file_can_hold_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="name"):
        merge("", {key: "x"})


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("text", "values", "merged"),
    [
        ("", {"A": "1"}, "A=1\n"),
        ("# c\nB=2", {"A": "1"}, "# c\nB=2\nA=1\n"),
        ("B=2\r\n", {"A": "1"}, "B=2\r\nA=1\r\n"),
        ("B=2\r\nC=3", {"A": "1"}, "B=2\r\nC=3\r\nA=1\r\n"),
        ("A=1\n\n  export A = 2  # c\nB", {"A": "3"}, "A=1\n\n  export A = 3  # c\nB"),
        ("A='two\nlines' # c\nB=2\n", {"A": "one\n"}, 'A="one\\n" # c\nB=2\n'),
        ("A=\r\nB=\r\n", {"A": "1"}, "A=1\r\nB=\r\n"),
        ("A=", {"A": "1"}, "A=1"),
        ('A="x" B=2', {"A": "1"}, 'A="1" B=2'),
        ("A: x\n", {"A": "y z"}, 'A: "y z"\n'),
        ("B=1\nA=$B\n", {"A": "1", "B": "2"}, "B=2\nA=1\n"),
        ("B=1\nA=$B\n", {"A": "2", "B": "2"}, "B=2\nA=$B\n"),
        ("A=${X:?}\n", {"A": "1"}, "A=1\n"),
    ],
)
def test_merge(text: str, values: dict[str, str], merged: str) -> None:
    assert merge(text, values) == merged


@pytest.mark.parametrize("text", [text for text in HARD if we_read(text) is not None])
def test_merge_changes_only_what_it_must(text: str) -> None:
    before = parse(text)
    keys = [key for key in before if key.isascii()]

    assert merge(text, {}) == text
    assert merge(text, {key: before[key] for key in keys}) == text
    for key in keys:
        changed = parse(merge(text, {key: "new # $x"}))
        assert changed[key] == "new # $x"
        if f"${key}" not in text and f"${{{key}" not in text:
            assert {k: v for k, v in changed.items() if k != key} == {
                k: v for k, v in before.items() if k != key
            }
        assert parse(merge(text, {key: "plain"}))[key] == "plain"
    assert parse(merge(text, {"NEW": "x"}))["NEW"] == "x"


@given(
    st.sampled_from([text for text in HARD if we_read(text) is not None]),
    st.text(st.characters(exclude_characters="\0")),
)
def test_what_is_merged_is_read_back(text: str, value: str) -> None:
    merged = merge(text, {"A": value, "NEW": value})

    assert (parse(merged)["A"], parse(merged)["NEW"]) == (value, value)
    assert merge(merged, {"A": value, "NEW": value}) == merged


def test_a_merge_that_would_make_the_file_unreadable_is_refused() -> None:
    assert parse("0 0") == {}
    with pytest.raises(DotenvError):
        merge("0 0", {"B": "1"})


@given(st.text(alphabet="AB=:'\"\\$#{}-? \n\r\t0x"))
def test_never_fails_in_another_way(text: str) -> None:
    read = we_read(text)

    if read is None:
        return
    try:
        merged = merge(text, {"B": "$ new"})
    except DotenvError:
        assert not text.endswith("\n")  # stray text that Compose takes only where nothing follows
    else:
        assert parse(merged)["B"] == "$ new" or "$" in text
