"""What a prompt says of itself, beside the work: front matter, and which prompts it depends on.

All of this is text that people and models write freely. A number counts as a prompt only where it cannot well be
anything else: with three digits, as daplug numbers prompts, after the word prompt, or in a list of dependencies.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MENTIONS = 200
_MAX_FRONT = 200
_MAX_LINE = 2000

_NUMBER = r"(?:[A-Za-z0-9_.-]{1,40}/){0,4}[0-9]{3,6}"
_NAMED = r"(?:prompt|task)s?\s{1,9}#?[0-9]{1,6}"
_SLUG = r"(?:-[A-Za-z][\w.-]{0,80})?"
_ONE = rf"#?{_NUMBER}{_SLUG}(?![\w/-])"
_SHORT = rf"(?:{_NAMED}|#?{_NUMBER}|#?[0-9]{{1,6}}){_SLUG}(?![\w/-])"
_AND = r"\s{0,9}(?:,|&|\band\b)\s{0,9}(?:and\s{1,9})?"
_UNIT = (
    r"(?!\s?(?:%|ms\b|s\b|sec|min|m\b|h\b|hour|day|week|line|time|iteration|attempt|retr|request|item|row|byte"
    r"|[kKMG]i?B\b|char|token|file|test|user|px\b|[.:][0-9]))"
)
_PHRASE = re.compile(
    rf"\b(depends\s{{1,9}}on|blocked\s{{1,9}}by|requires|needs|after|once)\s{{1,9}}(?:the\s{{1,9}})?"
    rf"({_NAMED}{_SLUG}(?![\w/-])(?:{_AND}{_SHORT}){{0,20}}|{_ONE}(?:{_AND}(?:{_NAMED}|{_ONE})){{0,20}})"
    rf"{_UNIT}(?=([^\n]{{0,80}}))",
    re.IGNORECASE,
)
_DONE = re.compile(r"\b(?:done|complete|completed|finished|merged)\b", re.IGNORECASE)
_DECLARES = re.compile(
    r"[\s>*_+-]{0,9}(?:depends[ _-]on|dependency|dependencies|requires?|needs|blocked[ _-]by)[*_]{0,3}\s?:(.+)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_TAG = re.compile(r"<(/?)(dependencies|depends_on|requires|output)>", re.IGNORECASE)
_RANGE = re.compile(r"((?:[A-Za-z0-9_.-]{1,40}/){0,4})([0-9]{3,6})-([0-9]{3,6})(?![\w/-])")
_REFERENCE = re.compile(rf"(?<![\w./-])#?({_NUMBER}){_SLUG}(?![\w/-]){_UNIT}")
_MEMBER = re.compile(rf"({_NUMBER}|[0-9]+){_SLUG}")
_LOOSE = re.compile(r"(?:prompt|task)?\s?#?([0-9]{1,6}|[A-Za-z][\w./-]{0,80})", re.IGNORECASE)
_PATH = re.compile(r"`([^`\n]{1,300})`|@([A-Za-z0-9_./-]{1,300})")
_FILE = re.compile(r"[^\s]*/[^\s]*|[^\s]*\.[A-Za-z0-9]{1,5}")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,40})[ \t]*:(.*)")
_LISTS = ("depends_on", "blocked_by", "requires", "dependencies")
_OF_DEPENDENCIES = ("dependenc", "requires", "depends")


class Said(Struct, frozen=True):
    """What a prompt says: `hints` (front matter), prompts it `depends` on, files that it `makes` and `mentions`."""

    hints: dict[str, list[str]]
    depends: tuple[str, ...] = ()
    makes: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()

    def hint(self, *names: str) -> str:
        """The first value of the first of these keys that has one; '' if none has."""
        return next((self.hints[name][0] for name in names if self.hints.get(name)), "")


def said(text: str) -> Said:
    """Read a prompt."""
    hints, body = front_matter(text)
    lines = list(_lines(body))
    found = [value for key in _LISTS for value in hints.get(key, [])]
    for line, where in lines:
        declared = _DECLARES.match(line)
        if declared:
            found += _listed(declared[1])
        elif where == "depends":
            found += _references(line)
    found += _in_sentences("\n".join(line for line, _ in lines))
    return Said(
        hints=hints,
        depends=tuple(islice(dict.fromkeys(found), MAX_MENTIONS)),
        makes=frozenset(path for line, where in lines if where == "output" for path in _paths(line)),
        mentions=frozenset(path for line, _ in lines for path in _paths(line)),
    )


def front_matter(text: str) -> tuple[dict[str, list[str]], str]:
    """The keys between two lines ``---`` at the beginning, each with its values, and the text after them."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}, text
    end = next((at for at, line in enumerate(lines[1:_MAX_FRONT], 1) if line.rstrip() == "---"), 0)
    found: dict[str, list[str]] = {}
    key = ""
    for line in lines[1:end]:
        match, item = _KEY.fullmatch(line[:_MAX_LINE]), line.strip()
        if match:
            key = match[1].lower().replace("-", "_")
            found[key] = _values(match[2].strip())
        elif key and item.startswith("- "):
            found[key] += _values(item[2:])
    return (found, "\n".join(lines[end + 1 :])) if end else ({}, text)


def _values(text: str) -> list[str]:
    text = text.partition(" #")[0].strip()
    inner = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    return [value for value in (part.strip(" \t\"'") for part in inner.split(",")) if value]


def _lines(body: str) -> Iterator[tuple[str, str]]:
    """The lines outside of fences, each with what its section is about: depends, output, or ''."""
    fence, where, rank = "", "", 0
    for whole in body.splitlines():
        line = whole[:_MAX_LINE]
        mark = line.lstrip()[:3]
        if mark in {"```", "~~~"} and fence in {"", mark}:
            fence = "" if fence else mark
            continue
        if fence:
            continue
        heading = _HEADING.fullmatch(line)
        if heading and len(heading[1]) <= (rank or 6):
            where, rank = _about(heading[2]), len(heading[1])
        begin = 0
        for tag in _TAG.finditer(line):
            yield line[begin : tag.start()], where
            where, rank, begin = "" if tag[1] else _about(tag[2]), 0, tag.end()
        yield line[begin:], where


def _about(title: str) -> str:
    word = title.lower()
    if word.startswith(_OF_DEPENDENCIES):
        return "depends"
    return "output" if word.startswith("output") else ""


def _in_sentences(text: str) -> Iterator[str]:
    for match in _PHRASE.finditer(text):
        if match[1].lower() != "once" or _DONE.search(match[3]):
            yield from _MEMBER.findall(match[2])


def _listed(text: str) -> list[str]:
    """What a list of dependencies names: numbers of any length, and names."""
    names = (_LOOSE.fullmatch(part.strip(" \t[]*_\"'.`")) for part in text.split(","))
    return [*_references(text), *(match[1] for match in names if match)]


def _references(text: str) -> list[str]:
    """The prompts in a text that is about dependencies."""
    found = []
    for match in _RANGE.finditer(text):
        first, last = sorted((int(match[2]), int(match[3])))
        found += [f"{match[1]}{number:03}" for number in range(first, min(last, first + MAX_MENTIONS) + 1)]
    return found + [match[1] for match in _REFERENCE.finditer(_RANGE.sub("", text))]


def _paths(text: str) -> Iterator[str]:
    """Files that a text names, as ``path`` in backquotes or after an @."""
    for match in _PATH.finditer(text):
        path = (match[1] or match[2]).strip().removeprefix("./").rstrip(".")
        if _FILE.fullmatch(path):
            yield path
