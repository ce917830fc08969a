"""Hostile material for tests: plans, texts, and what must never reach a terminal."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from itertools import pairwise

MIB = 1 << 20


def filled(size: int, begin: str, unit: str, end: str = "") -> bytes:
    """A text of nearly `size` bytes, made of one unit again and again."""
    return (begin + unit * ((size - len(begin) - len(end)) // len(unit.encode())) + end).encode()


def numbered(count: int, unit: str, begin: str = "", end: str = "") -> bytes:
    """`unit` for each number, which it names ``%d``."""
    return (begin + "".join(unit.replace("%d", str(number)) for number in range(count)) + end).encode()


def ring(size: int) -> bytes:
    return json.dumps(
        {"tasks": {f"t{n}": {"command": ["x"], "needs": [f"t{(n + 1) % size}"]} for n in range(size)}}
    ).encode()


def aliases() -> bytes:
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{now}: &{now} [{', '.join(['*' + before] * 9)}]" for before, now in pairwise(names)]
    return "\n".join(lines).encode()


A_TASK = '"a": {"command": ["x"]}'

PLANS: dict[str, tuple[Callable[[], bytes], str, bool]] = {
    # file: what is in it, words of the first problem, whether its line is named
    "aliases.yaml": (aliases, "unknown field 'a'", True),
    "alias.yaml": (lambda: b"tasks: {a: &x {command: [x]}, b: *x}", "anchors", True),
    "merge.yaml": (lambda: b"tasks:\n  a: {<<: {command: [x]}}", "merges", True),
    "merges.yaml": (lambda: numbered(200_000, "  a%d: {<<: {command: [x]}}\n", "tasks:\n"), "merges", True),
    "anchors.yaml": (lambda: numbered(500_000, "- &a%d x\n"), "anchors", True),
    "tag.yaml": (lambda: b"tasks:\n  a: !!python/object/apply:os.system [touch canary]", "tag", True),
    "twice.yaml": (lambda: b"tasks:\n  a: {command: [x]}\n  a: {command: [x]}", "written twice", True),
    "all-twice.yaml": (lambda: filled(8 * MIB, "tasks:\n", "  a: {command: [x]}\n"), "written twice", True),
    "100-mb.yaml": (lambda: filled(100 * MIB, "tasks:\n", "  a: {command: [x]}\n"), "larger than", False),
    "100-mb.json": (lambda: filled(100 * MIB, '{"tasks":{', A_TASK + ",", '"b":{}}}'), "larger than", False),
    "300000-tasks.yaml": (
        lambda: numbered(300_000, "  a%d: {command: [x]}\n", "tasks:\n"),
        "more than 150,000 keys and values",
        True,
    ),
    "300000-mistakes.yaml": (lambda: numbered(300_000, "  a%d: {comand: [x]}\n", "tasks:\n"), "more than", True),
    "1000000-tasks.json": (
        lambda: numbered(1_000_000, '"t%d":{"command":["x"]},', '{"tasks":{', '"b":{}}}'),
        "larger than",
        False,
    ),
    "600000-tasks.json": (
        lambda: numbered(600_000, '"t%d":{"a":1},', '{"tasks":{', '"b":{}}}'),
        "more than 600,000 commas and braces",
        False,
    ),
    "210000-tasks.json": (
        lambda: numbered(210_000, '"t%d":{"command":["x"]},\n', '{"tasks":{', '"b":{}}}'),
        "at most 200,000 are allowed",
        True,
    ),
    "ring.json": (lambda: ring(100_000), "wait for each other", True),
    "ring.yaml": (lambda: ring(9_000).replace(b"{", b"{\n", 1), "wait for each other", True),
    "mistakes.json": (
        lambda: numbered(190_000, '"a%d":{"comand":["x"]},\n', '{"tasks":{', '"b":{}}}'),
        "comand",
        True,
    ),
    "late-twice.json": (
        lambda: numbered(290_000, '"t%d":{},\n', '{"tasks":{', '"t7":{}}}'),
        "'t7' is written twice",
        True,
    ),
    "nested-twice.json": (lambda: b'{"tasks":{"a":{"command":["x"],\n"command":["y"]}}}', "written twice", True),
    "deep.yaml": (lambda: b"[" * MIB, "20 levels", True),
    "deep-keys.yaml": (lambda: "".join(" " * n + "a:\n" for n in range(2000)).encode(), "20 levels", True),
    "deep-flow.yaml": (lambda: b"{" * MIB, "a key that is not text", True),
    "deep-list.yaml": (lambda: b"- " * MIB, "20 levels", True),
    "deep.json": (lambda: b'{"tasks":' + b"[" * MIB, "20 levels", True),
    "long-id.yaml": (lambda: filled(8 * MIB, "tasks: {", "x", ": {command: [x]}}"), "not valid YAML", True),
    "long-id.json": (lambda: filled(16 * MIB, '{"tasks":{"', "x", '":{"command":["x"]}}}'), "is not an id", True),
    "long-number.json": (lambda: filled(16 * MIB, '{"tasks":{"a":{"command":["x"],"priority":', "9", "}}}"),
        "priority", True),
    "numbers.json": (lambda: filled(16 * MIB, '{"tasks":[', "1,", "1]}"), "commas", False),
    "objects.json": (lambda: filled(16 * MIB, '{"tasks":[', '{"a":{"b":{"c":1}}},', "1]}"), "commas", False),
    "brackets.json": (lambda: filled(16 * MIB, "", "[],"), "commas", False),
    "escapes.json": (lambda: filled(16 * MIB, '{"a":"', "\\u0041", '"}'), "no tasks", True),
    "lines.yaml": (lambda: b"\n" * (8 * MIB), "the plan is empty", True),
    "comment.yaml": (lambda: b"#" * (8 * MIB), "the plan is empty", True),
    "quotes.yaml": (lambda: b"'" * (8 * MIB), "expected a mapping", True),
    "colons.yaml": (lambda: b"a:" * (4 * MIB), "not valid YAML", True),
    "tabs.yaml": (lambda: b"tasks:\n\ta: {command: [x]}", "indent with spaces", True),
    "directives.yaml": (lambda: b"%A b\n" * 1_000_000, "directives", True),
    "documents.yaml": (lambda: b"--- a\n" * 1_000_000, "a second document", True),
    "utf-16.yaml": (lambda: "tasks: {a: {command: [x]}}".encode("utf-16"), "not UTF-8", True),
    "not-utf-8.yaml": (lambda: b"# \n" * 2_600_000 + b"\xff", "not UTF-8", True),
    "mark.yaml": (lambda: b"\xef\xbb\xbf\xef\xbb\xbftasks: {}", "", True),
    "escape.yaml": (lambda: b'tasks: {a: {command: ["\x1b[2J"]}}', "control character", True),
    "nul.json": (lambda: b'{"tasks": {"a": {"command": ["a\\u0000b"]}}}', "NUL", True),
    "half.json": (lambda: b'{"tasks": {"a": {"command": ["\\ud800"]}}}', "surrogate", True),
    "nan.json": (lambda: b'{"tasks": {"a": {"command": ["x"],\n"timeout": NaN}}}', "NaN is not JSON", True),
    "keys.json": (lambda: filled(16 * MIB, '{"tasks":{"a":{"command":["', "-----BEGIN PRIVATE KEY-----", '"]}}}'),
        "holds a private key", True),
    "nearly-a-key.json": (lambda: filled(16 * MIB, '{"a":"', "sk-", '"}'), "no tasks", True),
    "nearly-a-token.json": (lambda: filled(16 * MIB, '{"a":"', "eyJ", '"}'), "no tasks", True),
}  # fmt: skip
"""What a plan file may hold, and what must be said of it."""

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u115f\u3164\ufe00\U000e0041"
BREAKS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SEQUENCES = ("\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;cm0gLXJm\x07",
             "\x9b31m", "\x90q\x9c", "\x1bP+q\x1b\\", "\x1b[?1049h", "\x08\x08\x08", "\x7f", "\x0e\x0f")  # fmt: skip
EVIL = "".join(SEQUENCES) + BIDI + UNSEEN + BREAKS
"""Everything at once, but what no argument can hold."""

_FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def harmful(text: str, allowed: str = "\n") -> set[str]:
    """The characters of a text that a terminal might act on, or that nobody sees."""
    return {
        one
        for one in set(text)
        if one not in allowed and (unicodedata.category(one) in _FORBIDDEN or one in UNSEEN)
    }


PIECES = (
    '"', "'", "`", "$(touch canary)", "`touch canary`", "; touch canary;", "&& touch canary", "| touch canary",
    "\n", "\r\n", "\ntouch canary\n", "${HOME}", "${a.b}", "$HOME", "%s%n%d", "%(name)s", "{0.__class__}", "{}", "-",
    "--", "--run", "--model", "-rf", "*", "?", "~", "~root", "[a-z]", "!!", "\\", "\\n", "\x01", "\x1b[31m", "\x7f",
    "é", "漢字", "🙂", "\u202e", "\u200b", "\u2028", "a" * 300, " ", "\t", "=", "@", "@file", "#", "<(touch canary)",
    ">canary", "2>&1", "\\x00", "%00", "../../canary", "/etc/passwd", "'; DROP TABLE event; --", "<script>", "&lt;",
    "]]>", "\\u0000", "</verification>", "$'\\x41'", "$((1+1))", "${IFS}", "\x85",
)  # fmt: skip


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """Hostile texts without NUL, which no argument and no variable can hold; each time the same."""
    chance = random.Random(seed)
    for number in range(count):
        if number < len(PIECES):
            yield PIECES[number]
        else:
            yield "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 6)))
