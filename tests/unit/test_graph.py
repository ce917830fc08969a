from __future__ import annotations

import pytest

from daplug_supervisor.core.graph import critical_path, cycle, dependents, ordered, ranks, stages

Needs = dict[str, list[str]]

DIAMOND: Needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
SIX: Needs = {
    "design": [],
    "backend": ["design"],
    "frontend": ["design"],
    "tests": ["backend", "frontend"],
    "audit": ["tests"],
    "docs": ["audit"],
}


def test_dependents_are_in_plan_order() -> None:
    assert dependents(DIAMOND) == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}


def test_a_need_that_is_no_node_is_refused() -> None:
    with pytest.raises(KeyError):
        dependents({"a": ["nobody"]})


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({}, []),
        (DIAMOND, ["a", "b", "c", "d"]),
        ({"z": [], "a": []}, ["z", "a"]),
        ({"b": ["a", "a"], "a": []}, ["a", "b"]),
        ({"a": ["a"], "b": ["a"], "c": []}, ["c"]),
    ],
)
def test_nodes_come_after_what_they_need_and_cycles_are_left_out(needs: Needs, order: list[str]) -> None:
    assert ordered(needs) == order


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({}, []),
        (DIAMOND, []),
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, ["a", "b", "a"]),
        ({"behind": ["a"], "a": ["free", "b"], "b": ["a"], "free": []}, ["a", "b", "a"]),
        ({"a": ["c"], "b": ["a"], "c": ["b"], "d": []}, ["a", "c", "b", "a"]),
    ],
)
def test_a_cycle_is_named_node_by_node(needs: Needs, found: list[str]) -> None:
    assert cycle(needs) == found


@pytest.mark.parametrize(
    ("needs", "levels"),
    [
        ({}, []),
        (DIAMOND, [["a"], ["b", "c"], ["d"]]),
        (SIX, [["design"], ["backend", "frontend"], ["tests"], ["audit"], ["docs"]]),
        ({"late": ["early"], "early": [], "free": []}, [["early", "free"], ["late"]]),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, [["a"], ["b"], ["c"]]),
    ],
)
def test_a_stage_needs_something_of_the_stage_before(needs: Needs, levels: list[list[str]]) -> None:
    assert stages(needs) == levels


def test_the_rank_is_the_heaviest_chain_from_a_node_on() -> None:
    weight = {"a": 1.0, "b": 10.0, "c": 2.0, "d": 3.0}
    assert ranks(DIAMOND, weight.__getitem__) == {"a": 14.0, "b": 13.0, "c": 5.0, "d": 3.0}


@pytest.mark.parametrize(
    ("needs", "path"),
    [
        ({}, []),
        ({"only": []}, ["only"]),
        (DIAMOND, ["a", "heavy", "d"]),
        ({"short": [], "a": [], "b": ["a"]}, ["a", "b"]),
    ],
)
def test_the_critical_path_is_the_heaviest_chain(needs: Needs, path: list[str]) -> None:
    path = ["c" if node == "heavy" else node for node in path]
    assert critical_path(needs, lambda node: 5.0 if node == "c" else 1.0) == path


def test_a_chain_of_50_000_nodes_needs_no_recursion() -> None:
    deep = {str(i): [str(i - 1)] if i else [] for i in range(50_000)}
    assert len(critical_path(deep, lambda _: 1.0)) == 50_000
    deep["0"] = ["49999"]
    assert len(cycle(deep)) == 50_001
