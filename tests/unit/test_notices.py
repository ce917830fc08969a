"""What a person should know: told when it begins, and when it is over."""

from __future__ import annotations

import pytest

from daplug_supervisor.supervisor.clock import SystemClock
from daplug_supervisor.supervisor.notifying.notices import Notices


def test_told_once_when_it_begins_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock, said = SystemClock(), list[str]()
    notices = Notices(clock)
    notices.listen = said.append
    notices.tell("room", "")
    assert said == []
    before = clock.monotonic()
    for free in (2, 1, 0):
        notices.tell("room", f"{free} MiB free")
    notices.tell("log", "it grows")
    assert said == ["2 MiB free", "it grows"]
    assert notices.texts == ["0 MiB free", "it grows"]
    assert before <= notices.since("room") <= clock.monotonic()
    notices.tell("room", "")
    assert said[2].startswith("room: all is well again after 0.")
    assert notices.texts == ["it grows"]
    assert notices.since("room") >= notices.since("log")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
