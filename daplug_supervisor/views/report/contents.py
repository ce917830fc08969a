"""The report of a run when it finishes or halts: what it came to, what went wrong, what to type next."""

from __future__ import annotations

from msgspec import structs

from daplug_supervisor.core.model import Run
from daplug_supervisor.views import work as works
from daplug_supervisor.views.evaluation.figures import EvaluatedTask, Pattern, Planning, evaluate
from daplug_supervisor.views.family import Edited, Family, edited, families
from daplug_supervisor.views.report.claims import Disagreement, Said, disagreements, said
from daplug_supervisor.views.report.failures import (
    NONE,
    NOTHING_PRINTED,
    Failure,
    Lines,
    Printed,
    failures,
    next_steps,
)
from daplug_supervisor.views.report.flags import Flag, flags
from daplug_supervisor.views.report.landed import Landing, Source, landing, source
from daplug_supervisor.views.report.metrics import Metrics, metrics
from daplug_supervisor.views.report.overlap import overlaps
from daplug_supervisor.views.review import Remarked, said_by_people
from daplug_supervisor.views.rows import NOTHING_SEEN, AttentionRow, HaltRow, SeenOf, attention_rows, halt_row

_NONE_LEFT = works.WorkLeft()
_NOT_KNOWN = Planning()


class Report(Metrics, frozen=True, kw_only=True):
    """What a run came to: its numbers, what went wrong, what agents said beside it, and commands to type next.

    `source`: the foreign plan that it was made of, if it was. `disagreements`: where agents claim one thing and we
    found another. `overlaps`: files that several tasks changed. `patterns`: what went wrong more than once.
    `waiting`: tasks that wait for a person's review, and delegated ones of which a part cannot go on. `families`:
    tasks that divided their work. `edited`: what was created, changed or removed while it ran. `remarks`: what people
    said.
    """

    target: str
    failures: tuple[Failure, ...]
    said: tuple[Said, ...] = ()
    worktrees: tuple[works.WorktreeRow, ...] = ()
    overlaps: tuple[works.Overlap, ...] = ()
    halt: HaltRow | None
    next: tuple[str, ...]
    source: Source | None = None
    landing: Landing
    disagreements: tuple[Disagreement, ...] = ()
    flags: tuple[Flag, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    tasks: tuple[EvaluatedTask, ...] = ()
    waiting: tuple[AttentionRow, ...] = ()
    families: tuple[Family, ...] = ()
    edited: tuple[Edited, ...] = ()
    remarks: tuple[Remarked, ...] = ()


def report(
    run: Run,
    now: float,
    *,
    tails: Lines = NONE,
    printed: Printed = NOTHING_PRINTED,
    left: works.WorkLeft = _NONE_LEFT,
    planning: Planning = _NOT_KNOWN,
    seen: SeenOf = NOTHING_SEEN,
    live: bool = True,
) -> Report:
    """What `run` came to so far. `tails`: for each failed task the last lines of its output; `left`: in worktrees.

    `printed`: what its criteria printed; `planning`: what was said of its plan before it was run; `seen`: where the
    work is that is to be reviewed.
    """
    found = evaluate(run, planning)
    failed = failures(run, now, tails, printed, live=live)
    shared = overlaps(run, left.overlaps)
    waiting = attention_rows(run, now, live=live, seen=seen, wants=("review", "parts"))
    return Report(
        **structs.asdict(metrics(run, now, found, live=live)),
        target=run.target,
        failures=failed,
        said=said(run),
        worktrees=left.worktrees,
        overlaps=shared,
        halt=halt_row(run),
        next=next_steps(run, failed, waiting, live=live),
        source=source(run),
        landing=landing(run),
        disagreements=disagreements(run),
        flags=flags(run, tails, left, shared),
        patterns=found.patterns,
        tasks=found.tasks,
        waiting=waiting,
        families=families(run, found.tasks_used),
        edited=edited(run),
        remarks=said_by_people(run),
    )


def metrics_only(full: Report) -> Metrics:
    """The numbers of a report, without what was said."""
    return Metrics(**{name: getattr(full, name) for name in Metrics.__struct_fields__})
