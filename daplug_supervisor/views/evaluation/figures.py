"""The evaluation of a run: how good its plan was, how its work was proven, what went wrong and what recurs.

These numbers are made here and nowhere else; the report shows the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from daplug_supervisor.core import acceptance
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.results import RULES, Finding, OutcomeKind
from daplug_supervisor.views.derived import blocked_by, label, outcome_words
from daplug_supervisor.views.family import Progress, progress_of
from daplug_supervisor.views.usage import Used, uses

LOOKED_AT = ACTIVE | {Status.REVIEWING}
"""Statuses in which the end of the latest attempt is not settled."""

ALWAYS = "always"
"""The category of what is looked at in every task, whatever its criteria are."""

IN_ORDER = frozenset({OutcomeKind.COMPLETED, OutcomeKind.DELEGATED, OutcomeKind.NEEDS_INPUT})
"""Ends of attempts with which nothing went wrong."""

_RECURS = 2
_MOST_NAMED = 50
_MOST_SHOWN = 20
_SENTENCE = 300


class Planning(Struct, frozen=True):
    """What was said of a plan before it was run: ``READY``, ``READY_WITH_NOTES``, ``BLOCKED``; '' if not known."""

    verdict: str = ""
    summary: str = ""
    issues: tuple[str, ...] = ()


class Criteria(Struct, frozen=True):
    """Criteria of one category, as they were found last: how many there are, how many hold and how many do not."""

    category: str
    total: int
    passed: int
    failed: int


class Proof(Struct, frozen=True):
    """How many tasks have all, some or none of their criteria proven, and how many were not looked at.

    `overstated`: criteria that an attempt called passed and that do not hold; `understated` the other way round.
    """

    all: int
    some: int
    none: int
    unchecked: int
    overstated: int
    understated: int


class Rounds(Struct, frozen=True):
    """Work that went back with what was found wrong: how often in all, in how many tasks, and what came of it.

    `helped`: of these tasks are done; `most`: the rounds of the task that needed most of them.
    """

    total: int
    tasks: int
    helped: int
    most: int


class EvaluatedTask(Struct, frozen=True):
    """A task: its attempts, its rounds of mending, its criteria, its seconds and its cost (null: no agent ended).

    `first_attempt`: done by its first one; null if it is not done, or was not done by an attempt. `parent`: the task of
    which it is a part; `progress`: how many of its own parts are done (null: it has none).
    """

    task: str
    title: str
    status: str
    attempts: int
    rounds: int
    first_attempt: bool | None
    passed: int
    failed: int
    seconds: float
    used: Used | None
    parent: str | None = None
    progress: Progress | None = None


class FailedTask(Struct, frozen=True):
    """A failed or stuck task, and why in one line."""

    task: str
    title: str
    status: str
    detail: str


class FailureGroup(Struct, frozen=True):
    """Tasks that failed or are stuck for the same kind of reason.

    `kind` is their last outcome; `category`: ``code_error``, ``env_error`` or ``unknown`` where criteria do not hold,
    else ''. `count` of them there are, the first of which are `tasks`; `blocks`: tasks that wait behind them.
    """

    kind: str
    category: str
    count: int
    blocks: int
    remedy: str
    tasks: tuple[FailedTask, ...]


class Pattern(Struct, frozen=True):
    """Something that went wrong more than once: what, how often, in which tasks, and what would help.

    `kind`: ``outcome``, ``criterion``, ``category``, ``environment``, ``claims`` or ``unchanged``.
    """

    kind: str
    what: str
    count: int
    tasks: tuple[str, ...]
    advice: str


class EvaluationMetrics(Struct, frozen=True, kw_only=True):
    """The numbers of an evaluation.

    `counts`: total, done, failed, stuck, cancelled, skipped, reviewing, delegated, blocked, in_progress, not_started.
    `first_attempt_success_rate`: of the done tasks that had attempts, the share that needed only one; null if none.
    `used`: what agents cost, null if none has ended; `tasks_used` the same by task.
    """

    run: str
    plan: str
    planning: Planning
    counts: dict[str, int]
    first_attempt_success_rate: float | None
    rounds: Rounds
    criteria: tuple[Criteria, ...]
    proof: Proof
    used: Used | None = None
    tasks_used: dict[str, Used] = field(default_factory=dict)


class Evaluation(EvaluationMetrics, frozen=True, kw_only=True):
    """The numbers, and what they are made of: each task, what failed and why, and what recurs."""

    tasks: tuple[EvaluatedTask, ...] = ()
    failures: tuple[FailureGroup, ...] = ()
    patterns: tuple[Pattern, ...] = ()


_NOTHING_KNOWN = Planning()


def evaluate(run: Run, planning: Planning = _NOTHING_KNOWN) -> Evaluation:
    """What a run was worth so far. `planning`: what was said of its plan before."""
    used = uses(run)
    return Evaluation(
        run=run.id,
        plan=run.plan.name,
        planning=planning,
        counts=counts(run),
        first_attempt_success_rate=first_attempt_rate(run),
        rounds=_rounds(run),
        criteria=criteria(run),
        proof=_proof(run),
        used=used.all,
        tasks_used=used.tasks,
        tasks=tuple(_row(run, task, used.tasks.get(task.id)) for task in run.tasks.values()),
        failures=_failures(run),
        patterns=patterns(run),
    )


def metrics_only(full: Evaluation) -> EvaluationMetrics:
    """The numbers of an evaluation alone."""
    return EvaluationMetrics(**{name: getattr(full, name) for name in EvaluationMetrics.__struct_fields__})


def counts(run: Run) -> dict[str, int]:
    """How many tasks there are of each kind; together they are the total."""
    blocked = len(blocked_by(run))
    by = {status.value: count for status, count in run.counts.items()}
    under_way = sum(run.counts[status] for status in ACTIVE)
    kept = {
        word: by[word]
        for word in ("done", "failed", "stuck", "cancelled", "skipped", "reviewing", "delegated")
    }
    rest = {"blocked": blocked, "in_progress": under_way, "not_started": by["pending"] - blocked}
    return {"total": len(run.tasks), **kept, **rest}


def first_attempt_rate(run: Run) -> float | None:
    """Of the done tasks that had attempts, the share that needed only one; None if there are none."""
    found = [first for task in run.tasks.values() if (first := _first(task)) is not None]
    return sum(found) / len(found) if found else None


def _first(task: TaskState) -> bool | None:
    attempt = task.attempt
    counts = task.status is Status.DONE and attempt is not None and not attempt.of_children
    return attempt.number == 1 if counts and attempt is not None else None


def _rounds(run: Run) -> Rounds:
    mended = [task for task in run.tasks.values() if task.fixes]
    return Rounds(
        sum(task.fixes for task in mended),
        len(mended),
        sum(task.status is Status.DONE for task in mended),
        max((task.fixes for task in mended), default=0),
    )


def category_of(finding: Finding) -> str:
    """What a finding is counted under."""
    return ALWAYS if finding.criterion == acceptance.ALWAYS else finding.category


def criteria(run: Run) -> tuple[Criteria, ...]:
    """What was found last, by category."""
    found: dict[str, list[bool]] = {}
    for task in run.tasks.values():
        for one in task.findings:
            found.setdefault(category_of(one), []).append(one.holds)
    order = ("functional", "static", "runtime", ALWAYS)
    rows = ((name, found[name]) for name in order if name in found)
    return tuple(Criteria(name, len(held), sum(held), len(held) - sum(held)) for name, held in rows)


def _proof(run: Run) -> Proof:
    held = [[one.holds for one in task.findings] for task in run.tasks.values()]
    every = [one for task in run.tasks.values() for one in task.findings]
    return Proof(
        all=sum(bool(one) and all(one) for one in held),
        some=sum(any(one) and not all(one) for one in held),
        none=sum(bool(one) and not any(one) for one in held),
        unchecked=sum(not one for one in held),
        overstated=sum(_overstated(one) for one in every),
        understated=sum(one.claimed == "FAIL" and one.holds for one in every),
    )


def _overstated(finding: Finding) -> bool:
    return finding.claimed == "PASS" and not finding.holds


def _row(run: Run, task: TaskState, used: Used | None) -> EvaluatedTask:
    held = [one.holds for one in task.findings]
    return EvaluatedTask(
        task=task.id,
        title=label(run.spec(task.id)),
        status=task.status.value,
        attempts=task.attempt.number if task.attempt else 0,
        rounds=task.fixes,
        first_attempt=_first(task),
        passed=sum(held),
        failed=len(held) - sum(held),
        seconds=sum(past.result.exit.seconds for past in task.past),
        used=used,
        parent=run.spec(task.id).parent,
        progress=progress_of(task),
    )


# --- what failed, and what recurs ---------------------------------------------------------------------------


def _failures(run: Run) -> tuple[FailureGroup, ...]:
    """Failed and stuck tasks by why they are, the largest group first."""
    groups: dict[tuple[str, str, str], list[TaskState]] = {}
    for task in run.tasks.values():
        if task.status in (Status.FAILED, Status.STUCK):
            groups.setdefault(_why(task), []).append(task)
    roots = list(blocked_by(run).values())
    rows = []
    for (kind, category, remedy), tasks in sorted(groups.items(), key=lambda found: -len(found[1])):
        names = {task.id for task in tasks}
        shown = tuple(_failed(run, task) for task in tasks[:_MOST_NAMED])
        rows.append(
            FailureGroup(kind, category, len(tasks), sum(one in names for one in roots), remedy, shown)
        )
    return tuple(rows)


def _why(task: TaskState) -> tuple[str, str, str]:
    last = task.last
    if last is None:
        return "", "", task.remedy
    kind = last.outcome.kind
    found = acceptance.category(last.findings) if kind is OutcomeKind.VERIFY_FAILED else ""
    return kind.value, found, task.remedy or RULES[kind].remedy


def _failed(run: Run, task: TaskState) -> FailedTask:
    detail = outcome_words(task.last) if task.last else task.reason
    return FailedTask(task.id, label(run.spec(task.id)), task.status.value, detail)


Seen = dict[tuple[str, str], list[str]]
"""Kind and what, and the task of each time that it was seen."""


def patterns(run: Run) -> tuple[Pattern, ...]:
    """What went wrong more than once, in any attempt; what was seen most often first."""
    seen: Seen = {}
    for task in run.tasks.values():
        for found in _seen_in(task):
            seen.setdefault(found, []).append(task.id)
    rows = []
    for (kind, what), names in seen.items():
        tasks = tuple(dict.fromkeys(names))
        if len(names) >= _RECURS and (kind != "criterion" or len(tasks) >= _RECURS):
            rows.append(Pattern(kind, what, len(names), tasks[:_MOST_NAMED], _ADVICE[kind](what)))
    return tuple(sorted(rows, key=lambda row: -row.count))


def _seen_in(task: TaskState) -> Iterator[tuple[str, str]]:
    current = task.attempt.number if task.attempt and task.status in LOOKED_AT else 0
    before: Past | None = None
    for past in task.past:
        if past.number != current and past.result.outcome.kind not in IN_ORDER:
            yield "outcome", past.result.outcome.kind.value
            yield from _seen_failing(past.result.findings)
        if before is not None and _unchanged(before, past):
            yield "unchanged", "work that came back as it was"
        before = past


def _seen_failing(findings: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    failed = [one for one in findings if not one.holds]
    yield from (("criterion", one.label) for one in failed)
    yield from (("category", name) for name in sorted({category_of(one) for one in failed}))
    if any(one.blame == "environment" for one in failed):
        yield "environment", "criteria that lacked something of their surroundings"
    yield from (
        ("claims", "criteria that agents call passed and that fail") for one in failed if _overstated(one)
    )


def _unchanged(before: Past, now: Past) -> bool:
    failed = {past.result.outcome.kind for past in (before, now)} == {OutcomeKind.VERIFY_FAILED}
    return failed and bool(now.result.tree) and before.result.tree == now.result.tree


_CATEGORIES = {
    "functional": "say in the tasks what is to work, with an example of it",
    "static": "name the linters and type checkers in the tasks, and run them before the first task",
    "runtime": "see that what the work needs to run is there, and give it more time",
    ALWAYS: "read what is said of these attempts: what they claim is not what is there",
}
_ADVICE: dict[str, Callable[[str], str]] = {
    "outcome": lambda what: RULES[OutcomeKind(what)].remedy or "it goes on by itself after such an end",
    "criterion": lambda _: (
        "several tasks fail it: look whether the criterion, or what they all build on, is at fault"
    ),
    "category": lambda what: _CATEGORIES[what],
    "environment": lambda _: "give the run what they need (programs, keys, the network) before the next one",
    "claims": lambda _: "believe no claim of this provider or model; say in the tasks how to prove the work",
    "unchanged": lambda _: "the agent could do nothing with what it was told: say more, or use another model",
}
"""What would help against each kind of pattern."""
