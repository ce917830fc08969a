"""The outcome of an error whose meaning is known, with the time at which one may try again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

from daplug_supervisor.core.results import Outcome
from daplug_supervisor.workers import reset_times
from daplug_supervisor.workers.signatures import RESTING, Known
from daplug_supervisor.workers.text import one_line


def recognised(known: Known, texts: Iterable[str], now: float, zone: tzinfo) -> Outcome:
    """What an error comes to. A time is looked for in it, and then in all that the CLI has said.

    `now` is when it ended, and `zone` that of the machine.
    """
    at = None
    if known.kind in RESTING:
        stated = (reset_times.stated(text, now, zone) for text in (known.text, *texts))
        at = next((each for each in stated if each is not None), None)
    return Outcome(known.kind, one_line(f"{known.meaning}: {known.line}"), at)
