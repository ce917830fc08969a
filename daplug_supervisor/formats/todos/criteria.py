"""The criteria of a TODO: which command an item of its list means, and what that command has to do."""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct

from daplug_supervisor.core.plan import Category
from daplug_supervisor.formats.findings import escaped
from daplug_supervisor.formats.todos.markdown import Span, bare, spans

LONGEST = 4000
"""Characters of an item that is looked at for a command."""

_LONGEST_NAME = 200
_HIGHEST_CODE = 255

_EXISTS = re.compile(r"(?:(?:must|should|does|do) )?(?:now )?exists?\b", re.IGNORECASE)
_SAYS_EXISTS = re.compile(r"\bexists?$", re.IGNORECASE)
_A_FILE = re.compile(r"(?:the )?(?:new )?(?:file|files|directory|folder|path)?", re.IGNORECASE)
_LEAD = re.compile(r"(?:run|running|command|check)?", re.IGNORECASE)
_NAMES_SOMETHING = re.compile(
    r"\b(?:contains?|fields?|includes?|exports?|named|called|keys?|uses?|has|have|defines?|props?)$",
    re.IGNORECASE,
)
_ARROW = re.compile("(?:→|⇒|->|=>|—|\u2013|:|-)[ \t]*")
_EXIT = re.compile(
    r"(?:(?:exit(?:s|ed)?|returns?|succeeds?)\b)?[ \t]*+(?:with[ \t]++)?(?:an?[ \t]++)?(?:exit[ \t]*+)?"
    r"(?:code|status)?[ \t]*+[:=]?[ \t]*+([0-9]{1,3})\b",
    re.IGNORECASE,
)
_EXIT_WORD = re.compile(
    r"(?:with[ \t]+)?(?:exit|returns?[ \t]+(?:exit|code|status)|code|status)", re.IGNORECASE
)
_GOES_WELL = re.compile(
    r"(?:must |should )?(?:still )?(?:all )?(?:pass(?:es)?|succeeds?|works?|runs?|builds?|compiles?|ok|okay|green|clean"
    r"|is (?:clean|green)|exits? (?:cleanly|successfully))\b",
    re.IGNORECASE,
)
_PRINTS = re.compile(
    r"(?:(?:the )?(?:output|stdout) (?:contains?|is|has)|outputs?|prints?|returns?|shows?|contains?|says?)"
    r"(?: exactly)?[ \t]*+:?[ \t]*+",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"([^"]+)"|\'([^\']+)\'|“([^”]+)”')
_NUMBER = re.compile(r"([0-9]+)[ \t]*+(?:\(.*)?$")
_NOTHING = re.compile(
    r"(?:no|0|zero|without)[ \t]+(?:match(?:es)?|output|results?|hits?|occurrences?|lines?)\b|nothing|empty|none\b|0\b"
    r"|fails?\b|non-?zero|not[ \t]",
    re.IGNORECASE,
)
_PARENTHESES = re.compile(r"\(.*\)")


class Expected(NamedTuple):
    """What a command has to do. `vague`: the words say more than we look at."""

    exit: int = 0
    output: str | None = None
    vague: bool = False


class Item(Struct, frozen=True):
    """An item of a list of criteria.

    `run` is what is run for it, None if its words hold nothing that could be; `box` the offset of its tick, -1 if it
    has none. `name` is unique in its TODO.
    """

    name: str
    category: Category
    line: int
    box: int
    ticked: bool
    run: str | tuple[str, ...] | None = None
    expected: Expected = Expected()


def judged(text: str) -> tuple[str, str | tuple[str, ...] | None, Expected]:
    """The name of an item, what is to be run for it, and what that has to do."""
    found = spans(text) if len(text) <= LONGEST else []
    if not found:
        return _name(text), None, Expected()
    first = found[0]
    if not first.text.strip():
        return _name(text), None, Expected()
    before, after = text[: first.start].strip(), text[first.end :].strip()
    if _names_a_file(before, after):
        return _name(text), ("test", "-e", first.text), Expected()
    introduced = _introduced(before, after, first)
    if introduced is None:
        return _name(text), None, Expected()
    label, rest = introduced
    expected = _expected(rest, first.text)
    if expected is None:
        return _name(text), None, Expected()
    return _name(label or text), first.text, expected


def nothing(text: str) -> bool:
    """Whether an item says that there is none, such as ``(no tests)``."""
    return not text or bool(_PARENTHESES.fullmatch(text))


def _name(text: str) -> str:
    """What an item is called: its words on one line, fit to be shown."""
    return escaped(" ".join(bare(text[:LONGEST]).split()), _LONGEST_NAME)


def _names_a_file(before: str, after: str) -> bool:
    """``File exists: `path` `` and ``Directory `path` exists``."""
    label, colon, _ = before.rpartition(":")
    if colon and _SAYS_EXISTS.search(label.strip()):
        return not after or after.startswith(("-", "(", "—", "\u2013"))
    return bool(_A_FILE.fullmatch(before) and _EXISTS.match(after))


def _introduced(before: str, after: str, span: Span) -> tuple[str, str] | None:
    """The words before a command, and those after it; None if the span is not introduced as a command."""
    label = before.rstrip(":—\u2013- \t")
    if _LEAD.fullmatch(label):
        return "", after
    if _NAMES_SOMETHING.search(label) and not any(char.isspace() for char in span.text):
        return None
    if before.endswith(("(", "[")) and after[:1] in {")", "]"}:
        return before[:-1].strip(), after[1:].strip()
    return (label, after) if before.endswith((":", "—", "\u2013", "-")) else None


def _expected(words: str, command: str) -> Expected | None:  # noqa: PLR0911  one a form of words
    """What the words after a command ask of it; None if that cannot be looked at."""
    arrow = _ARROW.match(words)
    said = words[arrow.end() :] if arrow else words
    said = said.strip().rstrip(".").strip()
    if not said or _PARENTHESES.fullmatch(said):
        return Expected()
    code = _EXIT.match(said)
    if code and _EXIT_WORD.match(said):
        number = int(code[1])
        return Expected(number) if number <= _HIGHEST_CODE else None
    if _NOTHING.match(said):
        return None
    if _GOES_WELL.match(said):
        return Expected()
    prints = _PRINTS.match(said)
    if prints and said.lower().startswith("contain") and not any(char.isspace() for char in command):
        return None  # `package.json` contains `react`: a file, and no command
    if prints or arrow:
        return _output(said[prints.end() :] if prints else said, arrow=bool(arrow))
    return None


def _output(words: str, *, arrow: bool) -> Expected | None:
    """What is to be printed: quoted, or after an arrow a number; other words after an arrow ask for success."""
    quoted = _QUOTED.match(words)
    if quoted:
        return Expected(output=quoted[1] or quoted[2] or quoted[3])
    code = spans(words)
    if code and code[0].start == 0 and code[0].text:
        return Expected(output=code[0].text)
    number = _NUMBER.fullmatch(words)
    if number:
        return Expected(output=number[1])
    return Expected(vague=True) if arrow else None
