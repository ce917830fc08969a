"""What is decided before a simulated supervisor's first life: plans, what attempts do, what a person says and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle, Evidence
from daplug_supervisor.core.bundle import Command as Argv
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.plan import Assignment, Plan
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.testing import Script, Shown

CODES = {
    -11: "crashed",
    0: "completed",
    2: "blocked",
    3: "stalled",
    69: "outage",
    75: "rate_limited",
    76: "quota",
    77: "auth",
    78: "budget",
}
"""What the exit codes of simulated agents mean; every other is a failure."""


@dataclass(frozen=True)
class Seen:
    """What is found when the work of an attempt is looked at.

    `wrong` is how the criteria end, those not named hold; `together` how they end on top of what others have landed.
    `tree` is what is there. The process that looks is lost `lost` times before it gets to an end.
    """

    wrong: tuple[Shown, ...] = ()
    seconds: float = 1.0
    tree: str = ""
    lost: int = 0
    together: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class Story:
    """All that is decided before the first life.

    `looks` are what the attempts at a task leave to be seen, as `scripts` are what they do; when the work of one of
    `moved` is about to land for the first time, somebody else has moved the branch.
    `orders` are commands that a person sends through the inbox, and when; `edited` is the plan from the second life on;
    `doubts` are tasks that the person does not confirm when asked for the first time (None: nobody is asked); `tick`
    is the time that passes whenever somebody looks at a clock.
    """

    plans: tuple[Plan, ...]
    scripts: Mapping[str, Sequence[Script]] = field(default_factory=dict)
    orders: tuple[tuple[float, Command], ...] = ()
    edited: Plan | None = None
    doubts: frozenset[str] | None = None
    parallel: int | None = None
    tick: float = 0.0
    looks: Mapping[str, Sequence[Seen]] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()

    def seen(self, task: str, number: int) -> Seen:
        """What is found of an attempt."""
        looks = self.looks.get(task, (Seen(),))
        return looks[min(number, len(looks)) - 1]


class CodeWorker:
    """A worker that reads the outcome from the exit code, and from output after a failure when its provider resets."""

    output_wanted = 0

    def problems(self, _assignments: Sequence[Assignment]) -> list[str]:
        return []

    def command(self, bundle: Bundle) -> Argv:
        return Argv(bundle.spec.command or ())

    def outcome(self, evidence: Evidence) -> Outcome:
        code = evidence.exit.code
        kind = "failed" if code is None else CODES.get(code, "failed")
        return Outcome(OutcomeKind(kind), f"code {code}", float(evidence.stdout) if evidence.stdout else None)


_decoded: dict[bytes, Any] = {}
_MOST = 100_000


def decoded(data: bytes) -> Any:
    """An event, decoded once: the same ones come again and again."""
    found = _decoded.get(data)
    if found is None:
        if len(_decoded) > _MOST:
            _decoded.clear()
        found = _decoded[data] = ev.decode(data)
    return found
