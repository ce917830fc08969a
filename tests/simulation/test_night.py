"""A night alone, simulated: 200 tasks, four providers and what goes wrong with them, five deaths of the supervisor."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from night import ACCOUNT, Night, NightSimulation, Work, make_night
from night_bound import foreseen, lower_bound
from night_figures import Figures, figures, over_at, table, wasted_tries
from night_rules import broken_rules
from promises import Proof
from simulated import DAY, without_disk
from weather import HOUR, MINUTE, Spell, Weather

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.state import fold

quickly = pytest.fixture(autouse=True)(without_disk)
K = OutcomeKind
RATIO = 1.45
"""A night may take so many times as long as the bound that nobody gets below."""


def lived(folder: Path, night: Night, seed: int) -> NightSimulation:
    folder.mkdir(exist_ok=True)
    simulation = NightSimulation(folder, night, seed)
    simulation.through()
    return simulation


def hopeless(night: Night) -> set[str]:
    """What fails by itself, and all that needs it."""
    found = {name for name, work in night.work.items() if work.fails}
    for name, spec in night.plan.tasks.items():  # needs come first
        if found & set(spec.needs):
            found.add(name)
    return found


def check_all_done(simulation: NightSimulation) -> None:
    """All that can be done is, and tries went to nothing but the tasks' own failures."""
    night, run = simulation.night, simulation.run()
    assert {name for name, task in run.tasks.items() if task.status is not Status.DONE} == hopeless(night)
    for name, task in run.tasks.items():
        own = [code for code, _ in night.work[name].ends if code is not None]
        assert task.tries == (0 if task.status is Status.PENDING else len(own) + (not night.work[name].fails))
    assert wasted_tries(simulation, simulation.entries()) == 0
    assert list(broken_rules(night.plan, simulation.entries())) == []


def check_before_the_person(simulation: NightSimulation) -> None:
    """Before a person came nothing was left but what only a person can help, and what needs that."""
    entries = list(simulation.entries())
    [run] = fold(entries[: over_at(entries) + 1]).runs.values()
    waits = {name for name, task in run.tasks.items() if task.status is Status.PENDING} - hopeless(
        simulation.night
    )
    for name in waits:
        spec = run.spec(name)
        assert waits & set(spec.needs) or (spec.provider == "gemini" and not spec.fallback)


@pytest.mark.promise("P30")
def test_a_night_alone(tmp_path: Path, proof: Proof) -> None:
    told: list[Figures] = []
    kinds: Counter[str] = Counter()
    for seed in range(proof.pick(2, 20)):
        simulation = lived(tmp_path / str(seed), make_night(seed), seed)
        check_all_done(simulation)
        check_before_the_person(simulation)
        told.append(figures(simulation, seed))
        tasks = simulation.run().tasks.values()
        kinds.update(str(past.result.outcome.kind) for task in tasks for past in task.past)
        assert simulation.lives == len(simulation.night.kills) + 1
        assert told[-1].bound <= min(told[-1].hours, told[-1].foreseen)
        assert told[-1].ratio < RATIO
        proof.count("simulated days", simulation.time / DAY)
        proof.count("kills", len(simulation.night.kills))
        proof.measure("a night's time, in times of the shortest possible", told[-1].ratio, at_most=RATIO)
    proof.measure("tries wasted in a night", max(one.wasted for one in told), at_most=0)
    assert {"rate_limited", "quota", "outage", "silent", "auth", "crashed", "failed", "lost"} <= set(kinds)
    assert len(table(told).splitlines()) == len(told) + 3


def test_the_same_seed_is_the_same_night(tmp_path: Path) -> None:
    night, again = make_night(7), make_night(7)
    assert night.weather.spells == again.weather.spells
    assert (night.plan, night.work, night.kills) == (again.plan, again.work, again.kills)
    assert lived(tmp_path / "one", night, 7).trace() == lived(tmp_path / "two", again, 7).trace()


# --- nobody waits for another's provider ---------------------------------------------------------------


def begins(simulation: NightSimulation) -> dict[str, float]:
    """When each task was first started."""
    found: dict[str, float] = {}
    for entry in simulation.entries():
        if isinstance(entry.event, ev.AttemptStarted):
            found.setdefault(entry.event.task, entry.at)
    return found


def apart(night: Night) -> Night:
    """The same without fallbacks, and without needs from one provider to another."""
    tasks = night.plan.tasks
    alone = {
        name: structs.replace(
            spec,
            fallback=False,
            needs=tuple(need for need in spec.needs if tasks[need].provider == spec.provider),
        )
        for name, spec in tasks.items()
    }
    return replace(night, plan=structs.replace(night.plan, tasks=alone))


@pytest.mark.promise("P30")
@pytest.mark.parametrize("closing", [("codex", "opencode"), ("gemini",), ("claude",)])
def test_no_providers_limit_delays_anothers_tasks(
    tmp_path: Path, proof: Proof, closing: tuple[str, ...]
) -> None:
    """What neither is of a provider that closes, nor needs anything of one, starts at the moment as if none did."""
    assert all(ACCOUNT.get(name) == ACCOUNT.get(closing[0]) for name in closing)
    for seed in range(proof.pick(1, 10)):
        night = make_night(seed)
        night = apart(night)
        bad = night.under(Weather(tuple(one for one in night.weather.spells if one.provider in closing)))
        disturbed = begins(lived(tmp_path / f"{seed}", bad, seed))
        clear = begins(lived(tmp_path / f"{seed} clear", night.under(Weather()), seed))
        same = {name for name in clear if disturbed.get(name) == clear[name]}
        others = {name for name, spec in night.plan.tasks.items() if spec.provider not in closing}
        assert clear.keys() & others <= same
        assert clear.keys() - others - same, "its own tasks were delayed"


# --- killed at every step ------------------------------------------------------------------------------


def small_night() -> Night:
    """Seven tasks that meet an outage, a limit of their account, a provider that hangs, and one that refuses them."""

    def task(provider: str, *needs: str, fallback: bool = True) -> Task:
        return Task(command=("true",), needs=needs, provider=provider, fallback=fallback)

    tasks = {
        "a": task("codex"),
        "b": task("codex", fallback=False),
        "c": task("codex", "a"),
        "d": task("opencode"),
        "e": task("opencode", "d"),
        "f": task("claude"),
        "g": task("gemini", "f"),
    }
    tasks = {
        name: structs.replace(spec, retry=Retry(attempts=1), idle_timeout=600.0)
        for name, spec in tasks.items()
    }
    tasks["e"] = structs.replace(tasks["e"], retry=Retry(attempts=2))
    providers = {
        name: Provider(
            worker="agent",
            parallel=2,
            fallback=fallback,
            account=ACCOUNT.get(name),
            env={"SIMULATED_PROVIDER": name},
        )
        for name, fallback in {
            "codex": ("claude",),
            "opencode": (),
            "claude": (),
            "gemini": ("claude",),
        }.items()
    }
    spells = (
        *(Spell(name, K.QUOTA, 300.0, 3000.0, "truly") for name in ("codex", "opencode")),
        Spell("opencode", K.OUTAGE, 3300.0, 4200.0),
        Spell("claude", K.SILENT, 800.0, 2500.0),
        Spell("gemini", K.AUTH, 0.0, DAY),
    )
    work = {name: Work(10 * MINUTE) for name in tasks}
    work["e"] = Work(10 * MINUTE, ((-11, 0.5),))
    return Night(Plan("night", tasks, providers), work, Weather(spells))


@pytest.mark.promise("P2", "P30")
@pytest.mark.parametrize("downtime", [0.0, 30.0, HOUR])
def test_killed_at_every_step_no_limit_is_forgotten_and_no_try_is_lost(
    tmp_path: Path, proof: Proof, downtime: float
) -> None:
    whole = lived(tmp_path / "whole", small_night(), 0)
    check_all_done(whole)
    base = NightSimulation(tmp_path, small_night(), 0)
    for step in range(1, whole.steps + 1, proof.pick(43, 1)):
        dead = base.fork()
        if dead.live(step):
            break
        for kept in proof.pick((step % 2 == 0,), (False, True)):
            simulation = dead.fork(kept=kept)
            simulation.time += downtime
            assert simulation.live()
            check_all_done(simulation)
            proof.count("crash points")
            proof.count("simulated days", simulation.time / DAY)


# --- the measures themselves ---------------------------------------------------------------------------


def one_provider(*spells: Spell, slots: int = 1, seconds: float = 600.0, count: int = 3) -> Night:
    tasks = {f"t{number}": Task(command=("true",), provider="codex") for number in range(count)}
    plan = Plan("night", tasks, {"codex": Provider(worker="agent", parallel=slots)})
    return Night(plan, {name: Work(seconds) for name in tasks}, Weather(spells))


@pytest.mark.parametrize(
    ("night", "bound", "known"),
    [
        (one_provider(), 1800.0, 1800.0),
        (one_provider(slots=2), 900.0, 1200.0),
        (one_provider(slots=3), 600.0, 600.0),
        (one_provider(Spell("codex", K.OUTAGE, 700.0, 1000.0)), 2100.0, 2200.0),
        (one_provider(Spell("codex", K.OUTAGE, 0.0, 100.0), slots=3), 700.0, 700.0),
    ],
)
def test_the_bound_and_the_schedule_that_knows_all(night: Night, bound: float, known: float) -> None:
    assert lower_bound(night, night.plan.tasks) == pytest.approx(bound, abs=2.0)
    assert foreseen(night, night.plan.tasks) == known


def test_what_can_be_done_no_more_is_never_done() -> None:
    night = one_provider(Spell("codex", K.AUTH, 700.0, float("inf")))
    assert foreseen(night, night.plan.tasks) == float("inf")
