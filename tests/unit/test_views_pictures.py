"""The pictures of a report: where they put what."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from random import Random

import pytest
from build import Provider, World, plan, result, task
from hypothesis import given, settings
from hypothesis import strategies as st

from daplug_supervisor.core import events as ev
from daplug_supervisor.views.colours import state_classes
from daplug_supervisor.views.html import timeline as timeline_view
from daplug_supervisor.views.html.dag import MOST_NODES, dag, drawable
from daplug_supervisor.views.html.layers import ROW, THREAD, apart, crossings, direct, layout, lines_of
from daplug_supervisor.views.html.timeline import Scale, rows, timeline

GRAPHS = (
    st.integers(0, 12)
    .flatmap(lambda size: st.lists(st.sets(st.integers(0, 11), max_size=3), min_size=size, max_size=size))
    .map(
        lambda found: {
            f"n{at}": tuple(f"n{one}" for one in sorted(needs) if one < at) for at, needs in enumerate(found)
        }
    )
)


# --- layers -------------------------------------------------------------------------------------------------


@given(GRAPHS)
@settings(max_examples=80, deadline=None)
def test_layers_hold_all_and_nothing_lies_on_anything(needs: dict[str, tuple[str, ...]]) -> None:
    found = layout(needs)
    layer = {one: at for at, each in enumerate(found.layers) for one, _ in each}
    assert {one for one in layer if isinstance(one, str)} == set(needs)
    for line in found.lines:
        assert [layer[one] for one in line] == list(range(layer[line[0]], layer[line[-1]] + 1))
        assert line[0] in needs[str(line[-1])]
    assert len(found.lines) == sum(map(len, needs.values()))
    for each in found.layers:
        for (one, y), (other, below) in pairwise(each):
            least = sum(THREAD / 2 if isinstance(point, int) else ROW / 2 for point in (one, other))
            assert below - y >= least - 1e-6
            assert 0 <= y <= found.height
            assert below <= found.height


@given(GRAPHS)
@settings(max_examples=80, deadline=None)
def test_what_follows_from_the_rest_is_left_out_and_nothing_else(needs: dict[str, tuple[str, ...]]) -> None:
    def reached(of: dict[str, tuple[str, ...]], name: str) -> set[str]:
        return {far for near in of[name] for far in (near, *reached(of, near))}

    found = direct(needs)
    for name in needs:
        assert reached(found, name) == reached(needs, name)
        for one in found[name]:
            assert all(one not in reached(needs, other) for other in found[name])


def test_crossings_are_counted_and_made_fewer() -> None:
    assert crossings([["a", "b"], ["c", "d"]], {"a": ["d"], "b": ["c"]}) == 1
    assert crossings([["a", "b"], ["c", "d"]], {"a": ["c", "d"], "b": ["c", "d"]}) == 1
    assert crossings([["a", "b"], ["c"]], {"a": ["c"], "b": ["c"]}) == 0
    found = layout({"a": (), "b": (), "c": ("b",), "d": ("a",)})
    order = [[one for one, _ in layer] for layer in found.layers]
    assert order in ([["a", "b"], ["d", "c"]], [["b", "a"], ["c", "d"]])


def test_a_long_edge_bends_around() -> None:
    found = layout({"a": (), "b": ("a",), "c": ("b",), "d": ("a", "c")})
    assert [line for line in found.lines if len(line) > 2] == [("a", 0, 1, "d")]
    assert layout({}).height == 26.0


def test_places_are_the_nearest_that_keep_their_distances() -> None:
    assert apart([5.0, 5.0], [0.0, 10.0]) == [0.0, 10.0]
    assert apart([0.0, 50.0], [0.0, 10.0]) == [0.0, 50.0]
    chance = Random(1)
    for _ in range(50):
        wanted = [chance.uniform(0, 100) for _ in range(6)]
        spread = [at * 10.0 for at in range(6)]
        found = apart(wanted, spread)
        assert all(below - above >= 10.0 - 1e-9 for above, below in pairwise(found))
        cost = sum((a - b) ** 2 for a, b in zip(found, wanted, strict=True))
        for at in range(6):
            for step in (-0.5, 0.5):
                other = [one + step * (here == at) for here, one in enumerate(found)]
                if all(below - above >= 10.0 - 1e-9 for above, below in pairwise(other)):
                    assert sum((a - b) ** 2 for a, b in zip(other, wanted, strict=True)) >= cost - 1e-9


# --- the plan -----------------------------------------------------------------------------------------------


def test_a_plan_is_drawn_by_what_came_of_it() -> None:
    world = World(
        plan({"a": (), "b": ("a",), "c": ("b",), "d": ("a",), "e": (), "f": (), "g": (), "h": ("a", "b")})
    )
    world.done("a").failed("b").begin("d").say(ev.TaskSkipped("e"), ev.TaskCancelled("f", "no"))
    assert state_classes(world.run) == {
        "a": "done", "b": "failed", "c": "blocked", "d": "running", "e": "skipped", "f": "cancelled", "g": "waiting",
        "h": "blocked",
    }  # fmt: skip
    drawn = dag(world.run, {"b": 1})
    for kind in ("done", "failed", "blocked", "running", "skipped", "cancelled", "waiting"):
        assert f'class="node {kind}"' in drawn
    assert drawn.count('class="edge held"') == 2
    assert drawn.count('class="edge"') == 2, "what follows is not drawn"
    assert drawn.count('href="#t1"') == 1
    assert "<title>b: Do b (failed)</title>" in drawn


def test_an_edge_over_several_stages_goes_on_where_it_bent() -> None:
    world = World(plan({"a": (), "x": (), "b": ("a",), "c": ("b",), "d": ("c", "x")}))
    [long] = [one for one in re.findall(r'd="(M[^"]*)"', dag(world.run, {})) if one.count("C") == 3]
    assert long.count("H") == 2


def test_a_title_may_be_missing() -> None:
    world = World(plan({"a": task(instructions="")}))
    assert "<title>a (pending)</title>" in dag(world.run, {})


def test_large_plans_get_a_bar_for_each_stage() -> None:
    size = MOST_NODES + 1
    world = (
        World(plan({f"t{at}": (f"t{at - 10}",) if at > 9 else () for at in range(size)}))
        .done("t0")
        .failed("t1")
    )
    drawn = dag(world.run, {})
    assert 'class="stages"' in drawn
    assert "<title>stage 1: 1 done</title>" in drawn
    assert "stage 16" in drawn
    wide = World(plan({f"t{at}": (f"t{at - 10}",) if at > 9 else () for at in range(700)}))
    assert "and 10 more stages" in dag(wide.run, {})


def test_a_thicket_is_not_drawn() -> None:
    needs: dict[str, tuple[str, ...]] = {f"a{at}": () for at in range(70)}
    needs |= {f"b{at}": tuple(f"a{one}" for one in range(70)) for at in range(70)}
    assert sum(map(len, lines_of(needs))) > 3000
    assert not drawable(needs)
    assert drawable({"a": ()})
    assert dag(World(plan({})).run, {}) == ""


def test_a_wide_plan_may_be_moved_and_a_small_one_fits() -> None:
    long = {
        f"a-task-with-a-long-name-{at}": (f"a-task-with-a-long-name-{at - 1}",) if at else ()
        for at in range(20)
    }
    assert 'class="dag"' in dag(World(plan(long)).run, {})
    some = dict(list(long.items())[:6])
    assert 'class="dag fit"' in dag(World(plan(some)).run, {})
    assert 'class="dag"' in dag(World(plan({"a": ()})).run, {}), "a small one is not blown up"


# --- the time -----------------------------------------------------------------------------------------------


def test_attempts_lie_in_as_few_lanes_as_were_at_work_at_once() -> None:
    world = World(plan(dict.fromkeys("abcd", ()), {"codex": Provider(parallel=4), "spare": Provider()}))
    world.begin("a").tick(1).begin("b").tick(1).begin("c").tick(5)
    for name in "abc":
        world.tick(1).say(ev.AttemptExited(name, result()), ev.VerificationPassed(name), ev.Landed(name))
    world.tick(1).begin("d").tick(9)
    [row] = rows(world.run, world.at)
    assert (row.provider, len(row.lanes)) == ("codex", 3)
    for lane in row.lanes:
        assert all(one.ended_at <= other.at for one, other in combinations(lane, 2))
    [bar] = [bar for lane in row.lanes for bar in lane if bar.task == "d"]
    assert (bar.end, bar.words, bar.ended_at - bar.at) == ("now", "at work", 9)
    world.say(ev.CancelRequested("d"), ev.TaskCancelled("d")).tick(100)
    [bar] = [
        bar for row in rows(world.run, world.at) for lane in row.lanes for bar in lane if bar.task == "d"
    ]
    assert (bar.end, bar.words, bar.ended_at - bar.at) == ("cut", "cancelled", 9)


def test_a_rest_lasts_from_a_limit_to_the_next_start() -> None:
    world = World(plan(dict.fromkeys("abc", ())))
    for name in "ab":
        world.begin(name)
    for name in "ab":
        world.tick(1).say(ev.RetryScheduled(name, result("quota", "enough"), uses_try=False))
    world.tick(60).begin("a").tick(1).say(ev.RetryScheduled("a", result("quota", "enough"), uses_try=False))
    [row] = rows(world.run, world.at)
    assert [(rest.until - rest.at, rest.reason) for rest in row.rests] == [(61, "quota: enough")]
    drawn = timeline(world.run, world.at, {})
    assert drawn.count('class="rest"') == 1
    assert "given nothing for 1m 01s" in drawn


def test_nothing_ran_nothing_is_drawn() -> None:
    assert timeline(World(plan({"a": ()})).run, 5.0, {}) == ""


def test_an_instant_can_be_drawn() -> None:
    world = World(plan({"a": ()})).begin("a").say(ev.TaskFailed("a", result("failed", "", 1)))
    drawn = timeline(world.run, world.at, {"a": 0})
    assert 'class="bar bad"' in drawn
    assert 'href="#t0"' in drawn
    assert "nan" not in drawn


def test_the_axis_has_a_few_round_times() -> None:
    for seconds in (3, 50, 3000, 40_000, 300_000, 3_000_000, 90_000_000):
        world = World(plan({"a": ()})).done("a", seconds=seconds)
        ticks = re.findall(r'class="tick">([^<]*)<', timeline(world.run, world.at, {}))
        assert 1 <= len(ticks) <= 11, (seconds, ticks)
    assert re.fullmatch(r"\d\d\d\d-\d\d-\d\d", ticks[0])


def test_many_attempts_are_drawn_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_view, "MOST_BARS", 3)
    monkeypatch.setattr(timeline_view, "MOST_LANES", 2)
    world = World(plan({f"t{at}": () for at in range(6)}, {"codex": Provider(parallel=6)}))
    for at in range(6):
        world.begin(f"t{at}")
    world.tick(5)
    for at in range(6):
        world.say(ev.AttemptExited(f"t{at}", result()), ev.VerificationPassed(f"t{at}"), ev.Landed(f"t{at}"))
    drawn = timeline(world.run, world.at, {})
    assert drawn.count("<path") == 2
    assert "and 4 more at once" in drawn


def test_places_are_in_proportion() -> None:
    scale = Scale(100.0, 200.0)
    assert scale.x(150.0) - scale.x(100.0) == scale.x(200.0) - scale.x(150.0) > 0
