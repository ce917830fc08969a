"""Random plans, random edits of them, and random events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
from core_making import task
from hypothesis import strategies as st
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget, Plan, Provider, Retry, Task, Trouble
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result, Usage

if TYPE_CHECKING:
    from random import Random

NAMES = ["codex", "glm", "gemini"]
_BUDGETS = st.sampled_from([None, None, None, Budget(attempts=2), Budget(tokens=900), Budget(cost=0.5)])
USAGES = [None, Usage(input=300, output=20), Usage(cost=0.2)]


@st.composite
def plans(draw: st.DrawFn, most: int = 8) -> Plan:
    """A sound plan: needs go back in plan order, but the order in which tasks are written is shuffled."""
    names = NAMES[: draw(st.integers(1, 3))]
    providers = {name: _provider(draw, names) for name in names}
    tasks: dict[str, Task] = {}
    for number in range(draw(st.integers(1, most))):
        needs = draw(st.lists(st.sampled_from(sorted(tasks)), max_size=3)) if tasks else []
        tasks[f"t{number}"] = task(
            *needs,
            provider=draw(st.sampled_from(names)),
            priority=draw(st.sampled_from([0, 0, 0, 1, -1])),
            estimate=draw(st.sampled_from([None, None, 0.5, 4.0])),
            retry=Retry(draw(st.integers(1, 3)), draw(st.sampled_from([0.0, 1.0, 30.0])), 20.0),
            fallback=draw(st.booleans()),
            budget=draw(_BUDGETS),
            review=draw(st.sampled_from([None, None, None, "human"])),
            delegate=draw(st.sampled_from([0, 0, 1, 2])),
        )
    tasks = _with_parents(draw, tasks)
    order = draw(st.permutations(sorted(tasks)))
    return Plan(
        "p",
        {name: tasks[name] for name in order},
        providers,
        on_failure=draw(st.sampled_from(["continue", "continue", "halt"])),
        timeout=draw(st.sampled_from([None, None, 0.0, 25.0, 600.0])),
        budget=draw(_BUDGETS),
        stages=draw(st.sampled_from(["dag", "dag", "barrier"])),
    )


def _with_parents(draw: st.DrawFn, tasks: dict[str, Task]) -> dict[str, Task]:
    """Some tasks are agents', some are parts of later ones: so none waits for itself."""
    found, names = dict[str, Task](), sorted(tasks)
    for number, name in enumerate(names):
        parent = draw(st.sampled_from([None, None, *names[number + 1 :]]))
        agent = {"command": None, "instructions": "do it"} if draw(st.booleans()) else {}
        found[name] = replace(tasks[name], parent=parent, **agent)
    return found


def _provider(draw: st.DrawFn, names: list[str]) -> Provider:
    fallback = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    account = draw(st.sampled_from([None, None, "shared"]))
    return Provider(parallel=draw(st.integers(1, 3)), fallback=tuple(fallback), account=account)


def another_task(plan: Plan, random: Random) -> Task:
    needs = random.sample(sorted(plan.tasks), min(len(plan.tasks), random.randrange(3)))
    parent = random.choice([None, None, *plan.tasks])
    provider = random.choice(sorted(plan.providers))
    return task(*needs, provider=provider, priority=random.randint(-1, 1), parent=parent)


def edited(plan: Plan, random: Random) -> Plan:
    """The plan with one change, of any kind that a person may make."""
    name = random.choice(sorted(plan.tasks))
    spec = plan.tasks[name]
    provider = random.choice(sorted(plan.providers))
    choice = random.randrange(6)
    if choice == 0 and len(plan.tasks) > 1:
        return _without_task(plan, name)
    if choice == 1 and len(plan.providers) > 1:
        return _without_provider(plan, provider)
    if choice == 2:
        limit = replace(plan.providers[provider], parallel=random.randint(1, 3))
        return replace(plan, providers={**plan.providers, provider: limit})
    if choice == 3:
        changed = replace(spec, needs=spec.needs[1:])
    elif choice == 4:
        changed = replace(spec, priority=random.randint(-2, 2), estimate=random.choice([None, 3.0]))
    else:
        changed = replace(spec, provider=provider)
    return replace(plan, tasks={**plan.tasks, name: changed})


def _without_task(plan: Plan, name: str) -> Plan:
    left = {other: spec for other, spec in plan.tasks.items() if other != name}
    kept = {
        other: replace(
            spec,
            needs=tuple(need for need in spec.needs if need != name),
            parent=None if spec.parent == name else spec.parent,
        )
        for other, spec in left.items()
    }
    return replace(plan, tasks=kept)


def _without_provider(plan: Plan, name: str) -> Plan:
    left = {
        other: replace(provider, fallback=tuple(back for back in provider.fallback if back != name))
        for other, provider in plan.providers.items()
        if other != name
    }
    heir = next(iter(left))
    tasks = {
        other: replace(spec, provider=heir) if spec.provider == name else spec
        for other, spec in plan.tasks.items()
    }
    return replace(plan, providers=left, tasks=tasks)


# --- events ---------------------------------------------------------------------------------------------

_finite = st.floats(allow_nan=False, allow_infinity=False)
_claims = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers(-9, 9) | st.text(max_size=5), max_size=3
)
FINDINGS = st.lists(
    st.builds(
        Finding,
        criterion=st.integers(-1, 9),
        label=st.text(max_size=9),
        code=st.none() | st.integers(-64, 255),
        detail=st.text(max_size=9),
        blame=st.sampled_from(["", "code", "environment", "unknown"]),
    ),
    max_size=3,
).map(tuple)
RESULTS = st.builds(
    Result,
    outcome=st.builds(
        Outcome,
        kind=st.sampled_from(OutcomeKind),
        detail=st.text(max_size=20),
        retry_at=st.none() | _finite,
        claim=st.none() | _claims,
        usage=st.sampled_from(USAGES),
    ),
    exit=st.builds(Exit, code=st.none() | st.integers(-64, 255), seconds=_finite),
    findings=FINDINGS,
    tree=st.text(max_size=3),
)
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**62), 2**62),
    bool: st.booleans(),
    float: _finite,
    float | None: st.none() | _finite,
    int | None: st.none() | st.integers(0, 99),
    str | None: st.none() | st.text(max_size=9),
    tuple[str, ...]: st.lists(st.text(max_size=5), max_size=3).map(tuple),
    tuple[int, ...]: st.lists(st.integers(1, 99), max_size=3).map(tuple),
    tuple[tuple[int, int], ...]: st.lists(st.tuples(st.integers(1, 9), st.integers(9, 99)), max_size=3).map(
        tuple
    ),
    tuple[Finding, ...]: FINDINGS,
    ev.HaltedBy: st.sampled_from(get_args(ev.HaltedBy)),
    ev.Step: st.sampled_from(get_args(ev.Step)),
    Literal["post_task", "post_run"]: st.sampled_from(["post_task", "post_run"]),
    Plan: plans(3),
    Provider | None: st.sampled_from([None, Provider(), Provider("glm5", 1)]),
    Result | None: st.none() | RESULTS,
    Trouble: st.sampled_from(get_args(Trouble)),
    Task: st.builds(task, st.just("a"), title=st.text(max_size=9), priority=st.integers(-1000, 1000)),
    Result: RESULTS,
}


def events() -> st.SearchStrategy[ev.Event]:
    """Any event of any kind, whether it fits or not."""
    return st.one_of(
        [
            st.builds(kind, **{field.name: _BY_TYPE[field.type] for field in msgspec.structs.fields(kind)})
            for kind in ev.KINDS.values()
        ]
    )
