"""What a plan will do, before it runs: stages, critical path, providers, assignments, warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from daplug_supervisor.core.environment import held_back
from daplug_supervisor.core.graph import critical_path, dependents, stages
from daplug_supervisor.core.plan import LOCAL, Assignment, Budget, Plan, Provider, Task, assignment
from daplug_supervisor.formats import substeps
from daplug_supervisor.formats.substeps import SubStep
from daplug_supervisor.views.derived import label, tasks_word
from daplug_supervisor.views.substeps import substep_lines, substeps_head
from daplug_supervisor.views.text import clean, columns, duration, facts, listing, number, table, wrap
from daplug_supervisor.views.usage import limits_words
from daplug_supervisor.workers.executor import GIVE_LEAVE, NO_LEAVE, without_leave

MOST_SHOWN = 20
_MOST_BOTTLENECKS = 3
_MOST_BUDGETS = 3
_NO_COST = ("codex", "gpt", "gemini")


class ProviderPlan(Struct, frozen=True):
    """A provider. `widest`: most of its tasks in one stage; `at_once`: how many of those its limit lets run.

    `tasks` counts its tasks, `estimate` sums their estimates (seconds, null if none has one).
    """

    name: str
    worker: str
    model: str
    limit: int
    tasks: int
    widest: int
    at_once: int
    estimate: float | None
    fallback: tuple[str, ...]


class TaskPlan(Struct, frozen=True):
    """A task and who runs it. `stage` counts from 1; `timeout` and `estimate` are seconds."""

    task: str
    title: str
    stage: int
    provider: str
    worker: str
    model: str
    cli: str | None
    needs: tuple[str, ...]
    timeout: float | None
    estimate: float | None
    owner: str
    budget: Budget | None = None


class Check(Struct, frozen=True):
    """What a plan will do.

    `stages` are levels, not barriers: a task starts as soon as its own needs are met. `critical_path` is the
    longest chain, `estimate` its seconds (null without estimates), and `total_estimate` those of all tasks.
    `parallel`: the most tasks in one stage. `bottlenecks`: the tasks that most others directly wait for.
    `held_back`: variables of the environment in which this is asked that no task would get. `budget`: the run's, as
    in the plan. `sub_steps`: those of a PLAN.md.
    """

    plan: str
    tasks: int
    stages: tuple[tuple[str, ...], ...]
    parallel: int
    critical_path: tuple[str, ...]
    estimate: float | None
    total_estimate: float | None
    bottlenecks: tuple[str, ...]
    owners: dict[str, int]
    providers: tuple[ProviderPlan, ...]
    assignments: tuple[TaskPlan, ...]
    warnings: tuple[str, ...]
    held_back: tuple[str, ...] = ()
    budget: Budget | None = None
    sub_steps: tuple[SubStep, ...] = ()


def check(plan: Plan, environ: Iterable[str] = ()) -> Check:
    """What a loaded, valid plan will do. `environ`: the names of the variables that there are."""
    passed = [pattern for provider in plan.providers.values() for pattern in provider.pass_env]
    needs = {name: spec.needs for name, spec in plan.tasks.items()}
    levels = stages(needs)
    path = critical_path(needs, lambda name: plan.tasks[name].estimate or 1.0)
    after = dependents(needs)
    most = sorted((name for name in after if len(after[name]) > 1), key=lambda name: -len(after[name]))
    owners: dict[str, int] = {}
    for spec in plan.tasks.values():
        if spec.owner:
            owners[spec.owner] = owners.get(spec.owner, 0) + 1
    return Check(
        plan=plan.name,
        tasks=len(plan.tasks),
        stages=tuple(map(tuple, levels)),
        parallel=max(map(len, levels), default=0),
        critical_path=tuple(path),
        estimate=_estimate([plan.tasks[name] for name in path]),
        total_estimate=_estimate(plan.tasks.values()),
        bottlenecks=tuple(most[:_MOST_BOTTLENECKS]),
        owners=owners,
        providers=_providers(plan, levels),
        assignments=_assignments(plan, levels),
        warnings=tuple(_warnings(plan)),
        held_back=held_back(environ, (*plan.pass_env, *passed)),
        budget=plan.budget,
        sub_steps=substeps.substeps(plan) if substeps.is_one(plan) else (),
    )


def _estimate(specs: Iterable[Task]) -> float | None:
    known = [spec.estimate for spec in specs if spec.estimate is not None]
    return sum(known) if known else None


def _who(plan: Plan, spec: Task) -> Assignment:
    assert spec.provider is not None, "a loaded plan names a provider for every task"  # noqa: S101
    return assignment(plan, spec, spec.provider)


def _providers(plan: Plan, levels: list[list[str]]) -> tuple[ProviderPlan, ...]:
    widest = dict.fromkeys(plan.providers, 0)
    for level in levels:
        for name, count in Counter(plan.tasks[task].provider or "" for task in level).items():
            widest[name] = max(widest[name], count)
    own: dict[str, list[Task]] = {name: [] for name in plan.providers}
    for spec in plan.tasks.values():
        own[spec.provider or ""].append(spec)
    return tuple(
        ProviderPlan(
            name=name,
            worker=provider.worker,
            model=provider.model or name,
            limit=provider.parallel,
            tasks=len(own[name]),
            widest=widest[name],
            at_once=min(provider.parallel, widest[name]),
            estimate=_estimate(own[name]),
            fallback=provider.fallback,
        )
        for name, provider in plan.providers.items()
    )


def _assignments(plan: Plan, levels: list[list[str]]) -> tuple[TaskPlan, ...]:
    stage = {name: index for index, level in enumerate(levels, 1) for name in level}

    def row(name: str, spec: Task) -> TaskPlan:
        who = _who(plan, spec)
        return TaskPlan(
            task=name,
            title=label(spec),
            stage=stage[name],
            provider=who.provider,
            worker=who.worker,
            model=who.model,
            cli=who.cli,
            needs=spec.needs,
            timeout=spec.timeout,
            estimate=spec.estimate,
            owner=spec.owner,
            budget=spec.budget,
        )

    return tuple(row(name, spec) for name, spec in plan.tasks.items())


def _warnings(plan: Plan) -> Iterator[str]:
    endless = [name for name, spec in plan.tasks.items() if spec.command is None and spec.timeout is None]
    if endless:
        yield f"no timeout: {listing(endless)}; an agent that hangs keeps its slot until a person looks"
    guessed = [name for name, spec in plan.tasks.items() if spec.estimate is None]
    if len(guessed) == len(plan.tasks):
        yield "no task has an estimate: the critical path counts tasks, not time"
    elif guessed:
        yield f"no estimate: {listing(guessed)}; the critical path counts them as one second"
    used = {spec.provider for spec in plan.tasks.values()}
    reserve = {name for provider in plan.providers.values() for name in provider.fallback}
    for name, provider in plan.providers.items():
        for other in provider.fallback:
            if other not in plan.providers:
                yield f"provider {name}: its fallback {other} is not a provider of this plan"
            elif provider.account and provider.account == plan.providers[other].account:
                yield f"provider {name}: its fallback {other} has the same account, and rests with it"
        if name not in used | reserve and name != LOCAL:
            yield f"provider {name} is not used"
    yield from _uncounted(plan)
    yield from _without_leave(plan)


def _without_leave(plan: Plan) -> Iterator[str]:
    """Tasks of which only the agent's word would be known."""
    found = []
    for name, spec in plan.tasks.items():
        provider = plan.providers[spec.provider or ""]
        chosen = assignment(plan, spec, spec.provider or "")
        doubtful = provider.worker == "executor" and spec.command is None and not spec.require_diff
        if doubtful and without_leave(chosen.model, chosen.cli, spec, provider.options):
            found.append(name)
    if found:
        yield f"{listing(found)}: {NO_LEAVE}; {GIVE_LEAVE}"


def _uncounted(plan: Plan) -> Iterator[str]:
    """Budgets that cannot hold, because nobody reports what is spent."""
    budgets = [(plan.budget, frozenset(plan.providers))]
    for spec in plan.tasks.values():
        name = spec.provider or ""
        budgets.append((spec.budget, frozenset({name, *plan.providers[name].fallback})))
    for field in ("tokens", "cost"):
        limited = {name for budget, names in budgets if budget and getattr(budget, field) for name in names}
        blind = [
            name
            for name, provider in plan.providers.items()
            if name in limited & _blind(provider, name, field)
        ]
        if blind:
            what = "tokens" if field == "tokens" else "what it costs"
            yield (
                f"budget in {field}: {listing(blind)} may not report {what}, so it cannot hold there; "
                "a budget in attempts always holds"
            )


def _blind(provider: Provider, name: str, field: str) -> set[str]:
    """The provider's name, if its CLI is not known to report tokens or cost; of other packages' workers nothing is."""
    who = provider.cli or provider.model or name
    if provider.worker == "executor":
        return set() if who == "opencode" else {name}
    costless = provider.worker == "cli" and field == "cost" and who.startswith(_NO_COST)
    return {name} if costless else set()


# --- text ---------------------------------------------------------------------------------------------------


def check_text(found: Check, width: int = 80) -> str:
    """What a plan will do, for people."""
    head = f"Plan {clean(found.plan)}: {tasks_word(found.tasks)} in {number(len(found.stages), 'stage')}"
    named = {
        "widest stage": tasks_word(found.parallel),
        "longest chain": _chain(found),
        "all estimates": "" if found.total_estimate is None else duration(found.total_estimate),
        "bottlenecks": listing(found.bottlenecks),
        "budget": "" if found.budget is None else limits_words(found.budget),
        "budgets of tasks": _task_budgets(found),
        "owners": ", ".join(f"{name} {count}" for name, count in found.owners.items()),
    }
    sections = {
        "Stages (not barriers: a task starts when its own needs are met)": _stage_lines(found, width),
        "Providers": [_provider_table(found, width)],
        "Tasks": _task_lines(found, width),
        "Variables that no task gets (pass_env hands one on)": wrap(", ".join(found.held_back), width, "  "),
        "Warnings": [line for text in found.warnings for line in wrap(text, width, "  ")],
    }
    if found.sub_steps:
        sections[substeps_head(found.sub_steps)] = substep_lines(found.sub_steps, width)
    lines = [line for name, part in sections.items() if part for line in ("", *wrap(name, width), *part)]
    return "\n".join([head, *facts(named, width, "  "), *lines])


def _task_budgets(found: Check) -> str:
    limited = [f"{row.task} {limits_words(row.budget)}" for row in found.assignments if row.budget]
    more = len(limited) - _MOST_BUDGETS
    return "; ".join([*limited[:_MOST_BUDGETS], *([f"{more} more"] if more > 0 else [])])


def _chain(found: Check) -> str:
    path = " > ".join(found.critical_path[:MOST_SHOWN])
    more = len(found.critical_path) - MOST_SHOWN
    time = "" if found.estimate is None else f", {duration(found.estimate)}"
    return f"{path}{f' and {more} more' if more > 0 else ''}{time}"


def _stage_lines(found: Check, width: int) -> list[str]:
    lines = []
    for index, level in enumerate(found.stages[:MOST_SHOWN], 1):
        start = f"  {index:>2}  "
        lines.append(start + _fitting(level, width - len(start)))
    return [*lines, *_more(len(found.stages), "stage")]


def _fitting(names: Sequence[str], width: int) -> str:
    """As many names as fit in a line, ``and N more``."""
    text = ""
    for index, name in enumerate(names):
        longer = f"{text}, {clean(name)}" if text else clean(name)
        left = len(names) - index - 1
        if text and columns(longer) + (len(f" and {left} more") if left else 0) > width:
            return f"{text} and {left + 1} more"
        text = longer
    return text


def _more(count: int, noun: str) -> list[str]:
    return [f"  and {number(count - MOST_SHOWN, f'more {noun}')}"] if count > MOST_SHOWN else []


def _provider_table(found: Check, width: int) -> str:
    rows = [
        (
            row.name,
            row.worker,
            row.model,
            str(row.tasks),
            f"{row.at_once} (limit {row.limit}, widest stage {row.widest})",
            ", ".join(row.fallback),
        )
        for row in found.providers
    ]
    headers = ("provider", "worker", "model", "tasks", "most at once", "fallback")
    return table(rows, headers, width, indent="  ")


def _task_lines(found: Check, width: int) -> list[str]:
    rows = [
        (
            row.task,
            row.provider,
            row.model,
            "none" if row.timeout is None else duration(row.timeout),
            listing(row.needs),
            row.title,
        )
        for row in found.assignments[:MOST_SHOWN]
    ]
    headers = ("task", "provider", "model", "timeout", "needs", "title")
    return [table(rows, headers, width, indent="  "), *_more(found.tasks, "task")]
