"""What the logs of daplug's iterations say of the CLI that was run: why it failed, and what it used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import reduce

from msgspec import Struct

from daplug_supervisor.core.results import Outcome, Usage
from daplug_supervisor.workers.cli.events import added, events, other_lines
from daplug_supervisor.workers.cli.opencode import OPENCODE
from daplug_supervisor.workers.recognised import recognised
from daplug_supervisor.workers.signatures import classify, spoken
from daplug_supervisor.workers.text import last_line

WHOLE = 64 << 10
"""A log that is shorter has been read from its beginning."""


class Said(Struct, frozen=True):
    """The ends of the logs of a CLI's iterations, the last one last, and when and where they were written."""

    cli: str
    logs: Sequence[bytes]
    now: float
    zone: tzinfo

    def failure(self) -> Outcome | None:
        """What its last iteration failed with, if that is an error with a meaning. It printed text, or events."""
        if not self.logs:
            return None
        log = self.logs[-1]
        faults = OPENCODE.read(events(log)).faults if self.cli == OPENCODE.name else ()
        texts = [fault.text for fault in reversed(faults)] + spoken(self.cli, other_lines(log))
        known = classify(self.cli, texts)
        if known is None:
            return None
        return recognised(
            known._replace(line=faults[-1].said) if faults else known, texts, self.now, self.zone
        )

    def last(self) -> str:
        """The last line of its last log."""
        return last_line(self.logs[-1]) if self.logs else ""

    def usage(self) -> Usage | None:
        """What its iterations used. Only opencode says so to daplug, and only a log that is whole says all."""
        if self.cli != OPENCODE.name or not all(0 < len(log) < WHOLE for log in self.logs):
            return None
        spent = [found for found in (OPENCODE.read(events(log)).usage for log in self.logs) if found]
        return reduce(added, spent) if spent else None
