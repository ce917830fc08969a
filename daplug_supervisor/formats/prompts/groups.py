"""Groups of prompts: ``001,002 -> api/005 -> 003``. A comma or a space stands beside, an arrow is a barrier.

Every prompt of a phase waits for all of the phase before it. Each word between is a selector of daplug's
(`formats.prompts.files`). What is wrong is told with its column in the words as they were typed, and with a selection
that would do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.findings import Nearest, escaped, shown
from daplug_supervisor.formats.prompts import files as prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ARROW = "->"
EXAMPLE = "001,002 -> 003"
_FEW = 500

_ARROWS = re.compile(r"-{1,3}>|={1,3}>|[>\u2192\u21d2\u27f6]")
_PIECE = re.compile(rf"{_ARROWS.pattern}|(?:(?!-{{1,3}}>|={{1,3}}>)[^,>\u2192\u21d2\u27f6])+")
_SEVERAL = re.compile(r"(?:[^\s/]+/)*[0-9]+(?:-[0-9]+)?(?:\s+(?:[^\s/]+/)*[0-9]+(?:-[0-9]+)?)+")
_WORD = re.compile(r"\S+")


class Token(NamedTuple):
    """A selector, and the column at which it begins, from 1."""

    text: str
    at: int


class Chosen(Struct, frozen=True):
    """Prompts in phases, each prompt once; `notes` tell what was left out of the selection."""

    phases: tuple[tuple[prompts.Prompt, ...], ...]
    notes: tuple[str, ...] = ()

    def needs(self) -> dict[Path, tuple[Path, ...]]:
        """For each prompt those of the phase before."""
        before: tuple[Path, ...] = ()
        found: dict[Path, tuple[Path, ...]] = {}
        for phase in self.phases:
            found |= {prompt.path: before for prompt in phase}
            before = tuple(prompt.path for prompt in phase)
        return found


def parse(words: Sequence[str], is_path: Callable[[str], bool]) -> list[list[Token]]:
    """The selectors of each phase. A word that `is_path` is taken as it is.

    Raises:
        UsageError: a phase is empty, or something else stands where an arrow should.
    """
    phases: list[list[Token]] = [[]]
    gaps: list[tuple[str, int]] = []
    column, arrow = 1, 0
    for word in words:
        for token in [Token(word, column)] if is_path(word) else _tokens(word, column):
            if token.text != ARROW:
                phases[-1].append(token)
                continue
            if not phases[-1]:
                gaps.append(("between two '->'" if arrow else "before '->'", token.at))
            arrow = token.at
            phases.append([])
        column += len(word) + 1
    if arrow and not phases[-1]:
        gaps.append(("after '->'", arrow))
    left = [phase for phase in phases if phase]
    if gaps:
        where, at = gaps[0]
        raise UsageError(f"column {at}: there is no prompt {where}; {_try(written(left) or EXAMPLE)}")
    if not left:
        raise UsageError("name at least one prompt: a number, a range such as 002-005, a name or a path")
    return left


def choose(words: Sequence[str], root: Path) -> Chosen:
    """The prompts that are meant, in phases.

    Raises:
        UsageError: as `parse`; or a selector is unknown, ambiguous or unreadable; or a phase has nothing of its own.
    """
    parsed = parse(words, lambda word: prompts.is_path(word, root))
    first: dict[Path, int] = {}
    phases: list[tuple[prompts.Prompt, ...]] = []
    notes: list[str] = []
    for number, tokens in enumerate(parsed, 1):
        kept: list[prompts.Prompt] = []
        for token in tokens:
            for prompt in _found(token, parsed, root):
                path = prompt.path.resolve()
                if path not in first:
                    first[path] = number
                    kept.append(prompt)
                elif first[path] < number:
                    name = escaped(prompt.path.stem)
                    notes.append(
                        f"column {token.at}: {name} is in phase {first[path]} already, and runs once"
                    )
        if not kept:
            others = written([phase for phase in parsed if phase is not tokens])
            raise UsageError(
                f"column {tokens[0].at}: phase {number} is empty: a prompt runs once, and all of "
                f"{shown(written([tokens]))} is in an earlier phase; {_try(others)}"
            )
        phases.append(tuple(kept))
    return Chosen(tuple(phases), tuple(notes))


def written(phases: Sequence[Sequence[Token]]) -> str:
    """A selection as it is best written."""
    return f" {ARROW} ".join(",".join(token.text for token in phase) for phase in phases)


def _tokens(word: str, column: int) -> Iterator[Token]:
    """The selectors and arrows in a word.

    Raises:
        UsageError: something else stands where an arrow or a range should.
    """
    for piece in _PIECE.finditer(word):
        text, at = piece[0].strip(), column + piece.start()
        at += len(piece[0]) - len(piece[0].lstrip())
        if _ARROWS.fullmatch(text):
            if text != ARROW:
                better = " ".join(_ARROWS.sub(f" {ARROW} ", word).split()).strip(" ->")
                better = better if ARROW in better else EXAMPLE
                raise UsageError(f"column {at}: {shown(text)} is not an arrow; {_try(better)}")
            yield Token(ARROW, at)
        elif text == "-":
            raise UsageError(
                f"column {at}: '-' stands alone; in a shell an arrow needs quotes ('{EXAMPLE}'), "
                "and a range has no spaces (002-005)"
            )
        elif _SEVERAL.fullmatch(text):
            yield from (Token(one[0], at + one.start()) for one in _WORD.finditer(text))
        elif text:
            yield Token(text, at)


def _found(token: Token, parsed: list[list[Token]], root: Path) -> list[prompts.Prompt]:
    try:
        return prompts.select([token.text], root)
    except prompts.SelectionError as error:
        better = _better(token.text, error, root)
        instead = [[one._replace(text=better) if one is token else one for one in phase] for phase in parsed]
        example = f"; {_try(written(instead))}" if better else ""
        raise UsageError(f"column {token.at}: {error}{example}") from None
    except UsageError as error:
        raise UsageError(f"column {token.at}: {error}") from None


def _better(text: str, error: prompts.SelectionError, root: Path) -> str:
    """What may have been meant: of a range what there is, else the candidate that looks most like it."""
    there = [one for one in prompts.in_range(text) if _is_there(one, root)]
    if there or not error.candidates:
        return ",".join(there)
    numbers = [name.rpartition("/")[2].partition("-")[0] for name in error.candidates]
    alone = [number for number in numbers if numbers.count(number) == 1] if len(numbers) <= _FEW else []
    return Nearest([*error.candidates, *alone])(error.selector) or error.candidates[0]


def _is_there(selector: str, root: Path) -> bool:
    try:
        prompts.resolve(selector, root)
    except UsageError:
        return False
    return True


def _try(selection: str) -> str:
    return f"try: {escaped(selection, 300)}"
