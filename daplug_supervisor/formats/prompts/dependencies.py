"""``--auto-deps``: what prompts say of each other becomes an order, as far as the groups leave room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from daplug_supervisor.core import graph
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.findings import escaped, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from daplug_supervisor.formats.prompts.files import Prompt
    from daplug_supervisor.formats.prompts.hints import Said

_MAX_CYCLE_SHOWN = 12


class Linked(Struct, frozen=True):
    """For each prompt those that it waits for, and what of their words was not followed, and why."""

    needs: dict[Path, tuple[Path, ...]]
    notes: tuple[str, ...] = ()


def link(phases: Sequence[Sequence[Prompt]], words: Mapping[Path, Said]) -> Linked:
    """What the prompts of each phase wait for by their own words, beside the phase before.

    Raises:
        UsageError: they wait for each other.
    """
    prompts = [prompt for phase in phases for prompt in phase]
    phase_of = {prompt.path: number for number, phase in enumerate(phases, 1) for prompt in phase}
    names = _names(prompts)
    makers: dict[str, list[Path]] = {}
    for path, said in words.items():
        for file in said.makes:
            makers.setdefault(file, []).append(path)
    needs: dict[Path, tuple[Path, ...]] = {}
    notes: list[str] = []
    for prompt in prompts:
        said = words[prompt.path]
        found: dict[Path, None] = {}
        for word in said.depends:
            other, note = _meant(word, prompt, names)
            notes += [f"{_name(prompt)}: {note}"] if note else []
            found |= dict.fromkeys(other)
        # Who writes a file as well does not wait for others who do: they would wait for each other.
        files = sorted(said.mentions - said.makes)
        found |= dict.fromkeys(maker for file in files for maker in makers.get(file, ()))
        found.pop(prompt.path, None)
        late = [other for other in found if phase_of[other] > phase_of[prompt.path]]
        notes += [
            f"{_name(prompt)} says that it depends on {escaped(other.stem)}, which your groups put after it: "
            "the groups count"
            for other in late
        ]
        needs[prompt.path] = tuple(
            other for other in found if phase_of[other] == phase_of[prompt.path]
        )  # those before are waited for anyway
    _refuse_cycles(needs)
    return Linked(needs, tuple(dict.fromkeys(notes)))


def _names(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """What each prompt may be called by the others."""
    found: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        number = prompt.number.lstrip("0") or "0" if prompt.number else ""
        plain = {prompt.name, prompt.path.stem, prompt.path.name, *([number] if number else ())}
        folder = {f"{prompt.folder}/{name}" for name in plain} if prompt.folder else set()
        for name in plain | folder:
            found.setdefault(name.lower(), []).append(prompt)
    return found


def _meant(word: str, by: Prompt, names: Mapping[str, list[Prompt]]) -> tuple[list[Path], str]:
    """The prompt that a word means, said by another, and why none if there is a reason to tell."""
    folder, slash, last = word.lower().rpartition("/")
    number = last.isdigit()
    found = names.get(f"{folder}{slash}{(last.lstrip('0') or '0') if number else last}", [])
    if len(found) > 1:
        found = [one for one in found if one.folder == by.folder]
        if len(found) != 1:
            return [], f"{shown(word)} may be several prompts; name its folder to have it waited for"
    if not found and number:
        return [], f"{shown(word)} is not among the chosen prompts, and not waited for"
    return [one.path for one in found], ""


def _refuse_cycles(needs: Mapping[Path, tuple[Path, ...]]) -> None:
    found = graph.cycle({str(path): [str(other) for other in others] for path, others in needs.items()})
    if found:
        names = [escaped(path.rpartition("/")[2].removesuffix(".md")) for path in found]
        if len(names) > _MAX_CYCLE_SHOWN:
            names = [*names[: _MAX_CYCLE_SHOWN - 1], "...", names[-1]]
        raise UsageError(
            f"--auto-deps: the prompts wait for each other: {' -> '.join(names)}; "
            "take one of these dependencies out of its prompt, or write the order as groups: 001 -> 002"
        )


def _name(prompt: Prompt) -> str:
    return escaped(prompt.path.stem)
