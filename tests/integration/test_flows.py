"""A graph of tasks that a person makes, and one that an agent makes of its own work: to the end, with one slot."""

from __future__ import annotations

import pytest
from cli import HOLD, MARKING, Place, finish, opened, plan_of, sh
from family import ONE_SLOT, PART, PARTS, completed, family, in_order

from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)


def test_a_graph_that_is_made_while_a_run_goes_on_is_done_in_order(place: Place) -> None:
    """Tasks that wait for each other are created from a shell, and start as the slot gets free, with no other word."""
    process = place.start(place.write(plan_of({"first": sh(MARKING + HOLD)}, ONE_SLOT)))
    place.started("first")
    before: tuple[str, ...] = ()
    for name in PARTS:
        made = place.run("task", "create", name, PART, "--command", "--provider", "p", *before)
        assert made.code == 0, made
        before = ("--blocked-by", name)
    ready = place.run("task", "list", "--ready")
    assert ready.out.splitlines()[0].startswith("oauth-db"), ready
    assert len(ready.out.splitlines()) == 1
    place.go()
    ran = finish(process)
    assert ran.code == 0, ran
    in_order(place, *PARTS)
    assert place.most_at_once()["p"] == 1
    place.nothing_left()


def test_a_worker_divides_its_work_and_is_completed_by_its_parts(place: Place) -> None:
    """With one slot: it is given back, the parts run in order, and what waited for the whole runs last."""
    ran = place.run(place.write(family()))
    assert ran.code == 0, ran
    completed(place)
    [asked] = place.events(ev.DelegationRequested)
    assert asked.task == "oauth"
    answers = place.events(ev.CommandAnswered)
    assert [(one.verb, one.applied) for one in answers] == [*[("create", True)] * 3, ("delegate", True)]
    place.nothing_left()
