"""The numbers of a run: attempts, times, providers, cost, and what was proven. All are counted once, here or below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.views.derived import run_state, tasks_word
from daplug_supervisor.views.evaluation.figures import (
    IN_ORDER,
    LOOKED_AT,
    Criteria,
    Evaluation,
    Planning,
    Proof,
    Rounds,
)
from daplug_supervisor.views.text import duration, facts, number
from daplug_supervisor.views.usage import (
    BudgetRow,
    Used,
    budget_row,
    budget_words,
    known,
    most_used,
    used_words,
    uses,
)

_LONGEST = 5


class Attempts(Struct, frozen=True):
    """All attempts. `wasted`: ended without success; `by_outcome` counts the ended ones by kind.

    One that delegated its task, or asked a person, is not wasted.
    """

    total: int
    running: int
    wasted: int
    by_outcome: dict[str, int]


class LongTask(Struct, frozen=True):
    """A task and the seconds that all its attempts took together."""

    task: str
    seconds: float
    attempts: int


class ProviderUse(Struct, frozen=True):
    """What a provider did: ended attempts, how many of them succeeded, their seconds, and what they cost.

    `used` is null if no agent has ended.
    """

    name: str
    attempts: int
    completed: int
    seconds: float
    used: Used | None = None


class Durations(Struct, frozen=True):
    """Seconds: `wall` from submission to the end, `attempts` and `cpu` the sums over all ended attempts."""

    wall: float
    attempts: float
    cpu: float
    longest: tuple[LongTask, ...]


class Metrics(Struct, frozen=True, kw_only=True):
    """The numbers of a run. Times are UTC seconds; `ended_at` is null as long as the run goes on.

    `counts`: total, done, failed, stuck, cancelled, skipped, reviewing, delegated, blocked (behind a failed, stuck or
    cancelled task), in_progress, not_started. `first_attempt_success_rate`: of the done tasks that had attempts, the
    share that needed only one; null if there are none. `used`: what agents cost (null: none has ended), and
    `tasks_used` the same by task; `budget`: the run's, null if it has none. `criteria_planned`: how many criteria
    the plan has; `criteria`: what was found last, by category; `rounds`: work that went back with what was found.
    """

    run: str
    plan: str
    state: str
    started_at: float
    ended_at: float | None
    counts: dict[str, int]
    first_attempt_success_rate: float | None
    attempts: Attempts
    durations: Durations
    providers: tuple[ProviderUse, ...]
    used: Used | None = None
    tasks_used: dict[str, Used] = field(default_factory=dict)
    budget: BudgetRow | None = None
    planning: Planning = Planning()
    criteria_planned: int = 0
    criteria: tuple[Criteria, ...] = ()
    proof: Proof = Proof(0, 0, 0, 0, 0, 0)
    rounds: Rounds = Rounds(0, 0, 0, 0)


def metrics(run: Run, now: float, found: Evaluation, *, live: bool = True) -> Metrics:
    """The numbers of a run so far; `found` is its evaluation."""
    ended = run.finished_at or (run.halt.halted_at if run.halt else None)
    return Metrics(
        run=run.id,
        plan=run.plan.name,
        state=run_state(run, live=live),
        started_at=run.submitted_at,
        ended_at=ended,
        counts=found.counts,
        first_attempt_success_rate=found.first_attempt_success_rate,
        attempts=_attempts(run),
        durations=_durations(run, (now if ended is None else ended) - run.submitted_at),
        providers=_providers(run, uses(run).providers),
        used=found.used,
        tasks_used=found.tasks_used,
        budget=budget_row(run.plan.budget, run.spent, found.used),
        planning=found.planning,
        criteria_planned=sum(len(run.spec(name).accept) for name in run.tasks),
        criteria=found.criteria,
        proof=found.proof,
        rounds=found.rounds,
    )


def _settled(run: Run) -> Iterator[tuple[TaskState, Past]]:
    """All attempts whose end is settled: not those whose claim of success is still being looked at.

    What the children of a task came to is no attempt of its own.
    """
    for task in run.tasks.values():
        current = task.attempt.number if task.attempt and task.status in LOOKED_AT else 0
        for past in task.past:
            if past.number != current and not past.of_children:
                yield task, past


def _attempts(run: Run) -> Attempts:
    by_outcome = dict.fromkeys(OutcomeKind, 0)
    for _, past in _settled(run):
        by_outcome[past.result.outcome.kind] += 1
    total = sum(_begun(task) for task in run.tasks.values())
    running = sum(
        task.status in LOOKED_AT and task.attempt is not None and not task.attempt.of_children
        for task in run.tasks.values()
    )
    wasted = total - running - sum(by_outcome[kind] for kind in IN_ORDER)
    return Attempts(
        total, running, wasted, {kind.value: count for kind, count in by_outcome.items() if count}
    )


def _begun(task: TaskState) -> int:
    """How many attempts at it were begun."""
    number = task.attempt.number if task.attempt else 0
    return number - sum(past.of_children for past in task.past)


def _durations(run: Run, wall: float) -> Durations:
    seconds: dict[str, float] = {}
    cpu = 0.0
    for task, past in _settled(run):
        seconds[task.id] = seconds.get(task.id, 0.0) + past.result.exit.seconds
        cpu += past.result.exit.cpu
    longest = sorted(seconds, key=lambda name: (-seconds[name], run.tasks[name].order))[:_LONGEST]
    rows = tuple(LongTask(name, seconds[name], len(run.tasks[name].past)) for name in longest)
    return Durations(max(0.0, wall), sum(seconds.values()), cpu, rows)


def _providers(run: Run, used: Mapping[str, Used]) -> tuple[ProviderUse, ...]:
    found = {name: ProviderUse(name, 0, 0, 0.0, used.get(name)) for name in run.pools}
    for _, past in _settled(run):
        use = found.get(past.provider) or ProviderUse(past.provider, 0, 0, 0.0, used.get(past.provider))
        found[past.provider] = replace(
            use,
            attempts=use.attempts + 1,
            completed=use.completed + (past.result.outcome.kind is OutcomeKind.COMPLETED),
            seconds=use.seconds + past.result.exit.seconds,
        )
    return tuple(found.values())


# --- text ---------------------------------------------------------------------------------------------------


def metrics_text(numbers: Metrics, width: int = 80) -> str:
    """The numbers for people."""
    return "\n".join(number_lines(numbers, width))


def counts_words(counts: Mapping[str, int]) -> str:
    """``3 done, 1 failed``: what the tasks came to."""
    return ", ".join(
        f"{count} {word.replace('_', ' ')}" for word, count in counts.items() if count and word != "total"
    )


def verified_words(numbers: Metrics) -> str:
    """``22 of 24 verified (functional 18 of 18, static 4 of 6)``; '' if the plan has no criteria."""
    own = [row for row in numbers.criteria if row.category in ("functional", "static", "runtime")]
    if not numbers.criteria_planned and not own:
        return ""
    parts = ", ".join(f"{row.category} {row.passed} of {row.total}" for row in own)
    return f"{sum(row.passed for row in own)} of {numbers.criteria_planned} verified" + (
        f" ({parts})" if parts else ""
    )


def rounds_words(rounds: Rounds) -> str:
    """How often work went back with what was found wrong, and what came of it; '' if it never did."""
    if not rounds.total:
        return ""
    most = f", {rounds.most} at most" if rounds.tasks > 1 else ""
    return f"{number(rounds.total, 'round')} in {tasks_word(rounds.tasks)}, {rounds.helped} done in the end{most}"


def first_words(numbers: Metrics) -> str:
    """How many of the done tasks needed only one attempt."""
    rate = numbers.first_attempt_success_rate
    return "no task was done by an attempt" if rate is None else f"{rate * 100:.0f}% of the done tasks"


def number_lines(numbers: Metrics, width: int) -> list[str]:
    """The numbers, a line each."""
    attempts, times = numbers.attempts, numbers.durations
    outcomes = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in attempts.by_outcome.items())
    sums = f"{duration(times.attempts)} of attempts, {duration(times.cpu)} cpu"
    lines = {
        "planning": numbers.planning.verdict,
        "done at first attempt": first_words(numbers),
        "criteria": verified_words(numbers),
        "fix rounds": rounds_words(numbers.rounds),
        "attempts": f"{attempts.total}, {attempts.wasted} wasted{f' ({outcomes})' if outcomes else ''}",
        "time": f"{duration(times.wall)} in all, {sums}",
        "longest": ", ".join(f"{row.task} {duration(row.seconds)}" for row in times.longest),
        "used": used_words(numbers.used, parts=True) if numbers.used else "",
        "used most by": ", ".join(f"{name} {words}" for name, words in most_used(numbers.tasks_used)),
        "budget": budget_words(numbers.budget) if numbers.budget else "",
    }
    for use in numbers.providers:
        cost = f"; used: {used_words(use.used)}" if use.used and known(numbers.used) else ""
        done = f"{number(use.attempts, 'attempt')}, {use.completed} ok, {duration(use.seconds)}{cost}"
        lines[f"provider {use.name}"] = done if use.attempts else "not used"
    return facts(lines, width, "  ")
