"""Limits, outages, pauses, fallbacks and budgets: what holds for every plan, whatever providers and people do."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from random import Random

from core_driver import BAD, Drive
from core_making import RUN, Story, plan_of, result, task
from core_plans import USAGES, plans
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from night_rules import broken_rules
from weather import MINUTE, PATIENCE, SAID, Fate, Spell, Weather

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.budget import reached
from daplug_supervisor.core.commands import Command, Verb, events_of
from daplug_supervisor.core.decide import Finish, RequestHalt, Start
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Spent, TaskState
from daplug_supervisor.core.plan import Budget, Plan, Provider, Task
from daplug_supervisor.core.results import RULES, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import fold
from daplug_supervisor.errors import NotPossibleError

K = OutcomeKind
Ends = ev.AttemptExited | ev.RetryScheduled | ev.TaskFailed | ev.TaskStuck | ev.Delegated
SEEDS = st.integers(0, 2**32)
VERBS: list[Verb] = [
    "pause_provider",
    "pause_provider",
    "resume_provider",
    "resume_provider",
    "halt",
    "resume",
]
CLOSES = [kind for kind in BAD if RULES[kind].follow in ("rest", "stop")]


class Limits(Drive):
    """A run in which mostly limits go wrong, and people mostly speak of providers."""

    def interfere(self) -> None:
        name = self.random.choice(list(self.run.pools))
        verb = self.random.choice(VERBS)
        seconds = self.random.choice([None, 30.0, 4000.0])
        try:
            self.record(
                *events_of(self.run, Command("c", verb, RUN, provider=name, seconds=seconds), self.now)
            )
        except NotPossibleError:
            return

    def get_on(self, task: TaskState) -> None:
        if self.calm or self.random.random() < 0.6 or task.status is not Status.RUNNING:
            super().get_on(task)
            return
        kind = self.random.choice([*CLOSES, K.SILENT])
        stated = self.random.choice([None, None, self.now - 5.0, self.now + 20.0, self.now + 4000.0])
        outcome = Outcome(kind, "why", stated, usage=self.random.choice(USAGES))
        found = Result(outcome, result().exit)
        self.record(*after_attempt(self.run, task, found, self.now))


def driven(plan: Plan, seed: int) -> Limits:
    drive = Limits(plan, Random(seed))
    drive.to_the_end()
    return drive


@given(plans(), SEEDS)
def test_nothing_is_started_where_it_may_not_be(plan: Plan, seed: int) -> None:
    """Closed providers, probes, limits and fallbacks, by the events alone; `Drive` looks at ends and wakes."""
    drive = driven(plan, seed)
    assert list(broken_rules(plan, drive.entries)) == []
    run = drive.run
    assert run.finished_at is not None or run.halt is not None
    if run.halt is not None:
        assert run.halt.reason


@given(plans(), SEEDS)
def test_what_a_provider_does_uses_no_try(plan: Plan, seed: int) -> None:
    for entry in driven(plan, seed).entries:
        event = entry.event
        if isinstance(event, ev.RetryScheduled) and event.result.outcome.kind in CLOSES:
            assert not event.uses_try
        if isinstance(event, ev.TaskFailed):
            assert event.result.outcome.kind not in CLOSES


@given(plans(), SEEDS)
def test_nothing_starts_once_a_budget_is_reached(plan: Plan, seed: int) -> None:
    plan = replace(plan, budget=plan.budget or Budget(attempts=3, tokens=2000))
    spent, active = Spent(), set[str]()
    for entry in driven(plan, seed).entries:
        event = entry.event
        if isinstance(event, ev.AttemptStarted):
            assert not reached(plan.budget, spent)
            active.add(event.task)
            assert plan.budget is not None
            assert plan.budget.attempts is None or spent.attempts + len(active) <= plan.budget.attempts
        elif isinstance(event, Ends) and event.result is not None:
            if event.task in active:
                spent.attempts += uses_try(event, event.result)
                spent.add(event.result.outcome.usage)
            active.discard(event.task)
        elif isinstance(event, ev.TaskCancelled):
            active.discard(event.task)


def uses_try(event: Ends, found: Result) -> bool:
    return event.uses_try if isinstance(event, ev.RetryScheduled) else RULES[found.outcome.kind].uses_try


@given(plans(5), SEEDS, st.data())
def test_pools_are_the_same_from_any_point_on(plan: Plan, seed: int, data: st.DataObject) -> None:
    drive = driven(plan, seed)
    at = data.draw(st.integers(0, len(drive.entries)))
    assert fold(drive.entries[at:], fold(drive.entries[:at])) == drive.state


# --- any weather ---------------------------------------------------------------------------------------

NAMES = sorted(PATIENCE)
LIMITS_KINDS = [K.RATE_LIMITED, K.QUOTA, K.OUTAGE, K.SILENT]


@st.composite
def weathers(draw: st.DrawFn) -> Weather:
    """Up to two spells of at most an hour on each provider."""
    found = []
    for name in NAMES:
        end = 0.0
        for _ in range(draw(st.integers(0, 2))):
            begin = end + draw(st.sampled_from([0.0, 60.0, 900.0, 5000.0]))
            end = begin + draw(st.sampled_from([5.0, 120.0, 1800.0, 3600.0]))
            says = draw(st.sampled_from(SAID))
            found.append(Spell(name, draw(st.sampled_from(LIMITS_KINDS)), begin, end, says))
    return Weather(tuple(found))


@st.composite
def batches(draw: st.DrawFn) -> Plan:
    """Up to ten tasks that would all succeed at once, with one try each."""
    providers = {
        name: Provider(
            parallel=draw(st.integers(1, 3)),
            fallback=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))),
            account=draw(st.sampled_from([None, None, "shared"])),
        )
        for name in NAMES
    }
    tasks: dict[str, Task] = {}
    for number in range(draw(st.integers(1, 10))):
        needs = draw(st.lists(st.sampled_from(sorted(tasks)), max_size=2, unique=True)) if tasks else []
        where = draw(st.sampled_from(NAMES))
        spec = task(*needs, provider=where, fallback=draw(st.booleans()), idle_timeout=10 * MINUTE)
        tasks[f"t{number}"] = replace(spec, retry=replace(spec.retry, attempts=1))
    return plan_of(tasks, providers)


class Sky(Story):
    """A run under some weather, carried out by a loop over what ends next."""

    def __init__(self, plan: Plan, weather: Weather, chance: Random) -> None:
        super().__init__(plan, 0.0)
        self.weather, self.chance = weather, chance
        self.running: list[tuple[float, str, Fate]] = []

    def through(self) -> None:
        """Go on until the run has finished."""
        for _ in range(2000):
            decision = self.decide()
            if isinstance(decision, Start):
                self.begin(decision)
            elif isinstance(decision, Finish):
                return
            else:
                assert not isinstance(decision, RequestHalt), decision
                self.wait()
        raise AssertionError("it does not come to an end")

    def begin(self, decision: Start) -> None:
        known = self.task(decision.task).attempt
        number = known.number + 1 if known else 1
        self.record(ev.AttemptStarted(decision.task, number, "", decision.provider))
        name, seconds = f"{decision.task}#{number}", self.chance.uniform(1, 90) * MINUTE
        fate = self.weather.fate(name, decision.provider, self.now, seconds)
        ends = self.now + (fate.works + 10 * MINUTE if fate.seconds == inf else fate.seconds)
        heappush(self.running, (ends, decision.task, fate))

    def wait(self) -> None:
        wake = self.wake_at()
        following = self.running[0][0] if self.running else inf
        assert min(wake or inf, following) < inf, "work waits, and nothing will ever wake us"
        if wake is not None and wake < following:
            self.now = wake
            return
        self.now, name, fate = heappop(self.running)
        if fate.met is None:
            done = result(K.COMPLETED)
            self.record(ev.AttemptExited(name, done), ev.VerificationPassed(name), ev.Landed(name))
        else:
            self.end(name, fate.met.kind, retry_at=fate.met.stated(self.now))


@given(batches(), weathers(), SEEDS)
def test_whatever_the_weather_every_task_is_done_with_its_one_try(
    plan: Plan, weather: Weather, seed: int
) -> None:
    sky = Sky(plan, weather, Random(seed))
    sky.through()
    assert {(one.status, one.tries) for one in sky.run.tasks.values()} == {(Status.DONE, 1)}
    assert not [one for one in sky.run.tasks.values() if one.status in ACTIVE]
    assert list(broken_rules(plan, sky.entries)) == []
    assert sky.now < 24 * 3600 + len(plan.tasks) * 90 * MINUTE
