"""What is sent to a person of a run that is in trouble or over: as text, and as JSON. Nothing in it can do any harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.notifying import Episode
from daplug_supervisor.core.plan import Plan, Trouble
from daplug_supervisor.views.text import clean, clock, stamp

MOST = 20
"""Episodes in one message; the others are counted."""

_LONGEST = 600
"""Columns of a sentence: it may quote an agent."""

_URGENCY: tuple[Trouble, ...] = ("needs_person", "over_budget", "halted", "limited", "finished")

_TITLES: dict[Trouble, str] = {
    "needs_person": "needs a person",
    "over_budget": "has spent its budget",
    "halted": "is halted",
    "limited": "waits for a limit",
    "finished": "has finished",
}

_PLAIN = str.maketrans("<>&@", "\u2039\u203a\uff06\uff20")
"""In chats and on desktops these begin links, markup and calls for everybody; what agents print must not."""


class Told(Struct, frozen=True):
    """One thing that is told, once: `key` names it. `until`: when it is over by itself, '' if not; `next`: to type."""

    trouble: Trouble
    key: str
    task: str
    provider: str
    message: str
    until: str
    next: tuple[str, ...]


class Message(Struct, frozen=True):
    """What is sent: by POST, or to a command on its standard input.

    `trouble` is the most urgent of those in `told`; `task` is set if all of it is about one. `text` is all of it for
    people; `title` its first line. `more` counts what is not in `told`. `trial`: nothing has happened.
    """

    run: str
    plan: str
    target: str
    at: str
    trouble: Trouble
    task: str
    title: str
    text: str
    told: tuple[Told, ...]
    more: int = 0
    trial: bool = False

    @property
    def brief(self) -> str:
        """What has happened, without what to type."""
        return "\n".join(one.message for one in self.told)


def message(run: Run, episodes: Iterable[Episode], now: float, mask: Callable[[str], str]) -> Message:
    """The message that tells of some episodes of a run, the most urgent first."""
    found = sorted(episodes, key=lambda one: _URGENCY.index(one.trouble))
    told = tuple(_told(one, mask) for one in found[:MOST])
    title = f"Run {run.id} {_title(found)}"
    return _message(run.id, run.plan.name, run.target, now, title, told, len(found) - len(told))


def trial(plan: Plan, target: str, now: float) -> Message:
    """A message about nothing, to see whether it arrives."""
    text = f"A trial of what the plan {clean(plan.name)} says under notify: nothing has happened."
    told = Told("finished", "trial", "", "", text, "", ())
    return _message("", plan.name, target, now, f"Trial of plan {plan.name}", (told,), 0, trial=True)


def plain(text: str) -> str:
    """A text for where `<`, `>`, `&` and `@` would be obeyed: they are replaced by signs that look like them."""
    return text.translate(_PLAIN)


def _message(
    run: str, plan: str, target: str, now: float, title: str, told: tuple[Told, ...], more: int, *, trial: bool = False
) -> Message:  # fmt: skip
    title = clean(title)
    lines = [title]
    for one in told:
        lines += [f"- {one.message}", *(f"    {line}" for line in one.next)]
    if more:
        lines.append(f"- and {more} more: daplug-supervise status {run}")
    lines.append(f"In {clean(target)}")
    tasks = {one.task for one in told}
    task = tasks.pop() if len(tasks) == 1 and not more else ""
    return Message(
        run,
        plan,
        clean(target),
        stamp(now),
        told[0].trouble,
        task,
        title,
        "\n".join(lines),
        told,
        more,
        trial,
    )


def _told(one: Episode, mask: Callable[[str], str]) -> Told:
    until = "" if one.until is None else clock(one.until)
    sentence = clean(mask(one.sentence), _LONGEST)
    if until:
        sentence = f"{sentence} Until {until}."
    steps = tuple(clean(mask(line)) for line in one.next)
    return Told(one.trouble, one.key, one.task, one.provider, sentence, until, steps)


def _title(found: list[Episode]) -> str:
    """``needs a person (3) and has finished``."""
    words = []
    for trouble in _URGENCY:
        count = sum(one.trouble == trouble for one in found)
        if count:
            words.append(_TITLES[trouble] + (f" ({count})" if count > 1 else ""))
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
