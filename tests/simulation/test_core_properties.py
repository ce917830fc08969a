"""What holds for every plan, whatever the world and people do."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from random import Random

from core_driver import Drive
from core_plans import events, plans
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Verb
from daplug_supervisor.core.graph import critical_path, cycle, ordered, ranks, stages
from daplug_supervisor.core.plan import Plan, Retry
from daplug_supervisor.core.retry import attempt_name, delay
from daplug_supervisor.core.stages import NO_STAGE, stages_of
from daplug_supervisor.core.state import fold
from daplug_supervisor.errors import NotPossibleError

SEEDS = st.integers(0, 2**32)
GRAPHS = (
    st.integers(0, 7)
    .flatmap(
        lambda size: st.fixed_dictionaries(
            {n: st.lists(st.integers(0, size), max_size=3) for n in range(size + 1)}
        )
    )
    .map(lambda graph: {str(node): [str(other) for other in needs] for node, needs in graph.items()})
)


def driven(plan: Plan, seed: int) -> Drive:
    return Drive(plan, Random(seed)).to_the_end()


@given(plans(), SEEDS)
def test_every_run_comes_to_an_end_by_the_rules(plan: Plan, seed: int) -> None:
    """See `Drive`: needs, limits, urgency, indexes, waking and ending are looked at in every step."""
    for another in range(3):
        run = driven(plan, seed + another).run
        assert run.finished_at is not None or (run.halt is not None and run.halt.reason)


@given(plans(5), SEEDS, st.data())
def test_folding_is_repeatable_from_any_point_and_through_the_journal(
    plan: Plan, seed: int, data: st.DataObject
) -> None:
    drive = driven(plan, seed)
    entries = drive.entries
    assert fold(entries) == drive.state
    at = data.draw(st.integers(0, len(entries)))
    assert fold(entries[at:], fold(entries[:at])) == drive.state
    read = [ev.Entry(entry.seq, entry.run, entry.at, ev.decode(ev.encode(entry.event))) for entry in entries]
    assert read == entries
    assert fold(read) == drive.state


@given(plans(), SEEDS)
def test_a_parent_is_completed_once_for_each_time_that_it_was_delegated_and_not_before_its_children(
    plan: Plan, seed: int
) -> None:
    waits, done, below = set[str](), set[str](), dict[str, set[str]]()
    for event in (entry.event for entry in driven(plan, seed).entries):
        match event:
            case ev.RunSubmitted() | ev.PlanChanged():
                below = parts_of(event.plan)
            case ev.TaskAdded(id=name, spec=spec) if spec.parent is not None:
                below.setdefault(spec.parent, set()).add(name)
            case ev.TaskRemoved(id=name):
                below = {parent: names - {name} for parent, names in below.items() if parent != name}
            case ev.Delegated(task=name):
                waits.add(name)
            case ev.ChildrenDone(task=name):
                assert name in waits
                assert below[name]
                assert below[name] <= done
                waits.remove(name)
            case ev.Landed(task=name) | ev.TaskSkipped(task=name):
                done.add(name)
            case ev.TaskReset(task=name) | ev.TaskCancelled(task=name):
                waits.discard(name)
                done.discard(name)


def parts_of(plan: Plan) -> dict[str, set[str]]:
    return {name: {one for one, spec in plan.tasks.items() if spec.parent == name} for name in plan.tasks}


@given(plans(), SEEDS)
def test_no_stage_begins_before_the_ones_before_it_are_done(plan: Plan, seed: int) -> None:
    """By the events of plans that nobody changes."""
    plan = replace(plan, stages="barrier")
    stage = stages_of(plan.tasks)
    left = {name for name in plan.tasks if stage[name] != NO_STAGE}
    for event in (entry.event for entry in Steady(plan, Random(seed)).to_the_end().entries):
        if isinstance(event, ev.AttemptStarted):
            assert all(stage[name] >= stage[event.task] for name in left)
        elif isinstance(event, ev.Landed | ev.TaskSkipped):
            left.discard(event.task)
        elif isinstance(event, ev.TaskReset) and stage[event.task] != NO_STAGE:
            left.add(event.task)


class Steady(Drive):
    """A run of which nobody changes the plan."""

    def change(self, event: ev.Event) -> None:
        """Leave it as it is."""

    def command(self) -> None:
        verb: Verb = self.random.choice(["retry", "skip", "cancel", "approve"])
        with suppress(NotPossibleError):
            self.tell(verb, self.random.choice(list(self.run.tasks)))


@given(events())
def test_every_event_survives_the_journal(event: ev.Event) -> None:
    assert ev.decode(ev.encode(event)) == event


@given(
    st.text(max_size=9),
    st.integers(1, 200),
    st.floats(0.001, 1e6),
    st.floats(0.001, 1e6),
)
def test_waits_are_positive_bounded_and_repeatable_and_their_bound_grows(
    name: str, tries: int, backoff: float, most: float
) -> None:
    retry = Retry(3, backoff, most)
    name = attempt_name("r", name, tries)
    wait = delay(name, tries, retry)
    assert 0 < wait <= min(most, backoff * 2.0 ** (tries - 1))
    assert wait == delay(name, tries, retry)
    assert wait <= delay(name, tries + 1, retry)


@given(GRAPHS)
def test_an_order_holds_every_node_after_its_needs_or_there_is_a_cycle(needs: dict[str, list[str]]) -> None:
    order, found = ordered(needs), cycle(needs)
    assert all(other in order[: order.index(node)] for node in order for other in needs[node])
    assert bool(found) == (len(order) < len(needs))
    assert all(after in needs[node] for node, after in pairwise(found))
    assert found[:1] == found[-1:]


@given(plans(), SEEDS)
def test_the_critical_path_is_a_chain_and_none_is_heavier(plan: Plan, seed: int) -> None:
    needs = {name: spec.needs for name, spec in plan.tasks.items()}
    weights = {name: float(Random(f"{seed}{name}").randint(1, 9)) for name in needs}
    rank, path = ranks(needs, weights.__getitem__), critical_path(needs, weights.__getitem__)
    assert sum(weights[name] for name in path) == max(rank.values())
    assert all(before in needs[after] for before, after in pairwise(path))
    levels = stages(needs)
    assert sorted(name for level in levels for name in level) == sorted(needs)
    for depth, level in enumerate(levels[1:]):
        assert all(
            set(needs[name]) & set(levels[depth]) and not set(needs[name]) & set(level) for name in level
        )
