"""What a plan will do, before it runs: stages, critical path, what it takes, providers, assignments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from daplug_supervisor.core.environment import held_back
from daplug_supervisor.core.graph import critical_path, dependents
from daplug_supervisor.core.plan import Assignment, Budget, Plan, Task, assignment
from daplug_supervisor.core.stages import stages_of
from daplug_supervisor.formats.todos import substeps
from daplug_supervisor.formats.todos.substeps import SubStep
from daplug_supervisor.views.derived import label
from daplug_supervisor.views.plan.estimate import Complexity, Estimate, complexity, estimate
from daplug_supervisor.views.plan.warnings import warnings

_MOST_BOTTLENECKS = 3


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

    `stages` are levels; unless they are a `barrier`, a task starts as soon as its own needs are met. `critical_path` is
    the longest chain, `estimate` its seconds (null without estimates), and `total_estimate` those of all tasks.
    `parallel`: the most tasks in one stage. `bottlenecks`: the tasks that most others directly wait for.
    `held_back`: variables of the environment in which this is asked that no task would get. `budget`: the run's, as
    in the plan. `sub_steps`: those of a PLAN.md. `resources`: what all of it takes; `complexity`: whether it is simple.
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
    barrier: bool = False
    resources: Estimate | None = None
    complexity: Complexity | None = None


def check(plan: Plan, environ: Iterable[str] = ()) -> Check:
    """What a loaded, valid plan will do. `environ`: the names of the variables that there are."""
    passed = [pattern for provider in plan.providers.values() for pattern in provider.pass_env]
    needs = {name: spec.needs for name, spec in plan.tasks.items()}
    levels = _levels(plan)
    limits = {name: provider.parallel for name, provider in plan.providers.items()}
    taken = estimate(plan.tasks, limits, barrier=plan.stages == "barrier")
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
        warnings=tuple(warnings(plan)),
        held_back=held_back(environ, (*plan.pass_env, *passed)),
        budget=plan.budget,
        sub_steps=substeps.substeps(plan) if substeps.is_one(plan) else (),
        barrier=plan.stages == "barrier",
        resources=taken,
        complexity=complexity(plan.tasks, taken.shortest),
    )


def _levels(plan: Plan) -> list[list[str]]:
    """The stages. A part belongs to that of the task that it is a part of."""
    stage = stages_of(plan.tasks)
    found: list[list[str]] = [[] for _ in range(1 + max(stage.values(), default=-1))]
    for name, at in stage.items():
        found[max(0, at)].append(name)
    return found


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
