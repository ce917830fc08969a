"""A task divides its work, and the supervisor is killed after any event of that: the end is the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli import Place, opened
from family import completed, family
from forked import Forge, Life, forge
from promises import Proof

from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)
RUN = ("plan.json",)


@pytest.fixture
def forked() -> Iterator[Forge]:
    with forge() as made:
        yield made


@pytest.mark.promise("P34")
def test_killed_after_each_event_the_parts_run_once_and_the_whole_is_completed_once(
    place: Place, forked: Forge, proof: Proof
) -> None:
    number, survived = 0, 0
    while not survived:
        number += proof.pick(9, 1)
        place.emptied()
        place.write(family())
        [ended] = forked.run(place, Life(RUN, kill_after=number))
        survived += ended.code == 0
        if not survived:
            assert ended.code == -9, ended
            proof.count("kills")
            proof.count("crash points")
        while not place.events(ev.RunFinished):
            [ended] = forked.run(place, Life(RUN))
            assert ended.code == 0, ended
        completed(place)
    assert number > 30
