from __future__ import annotations

import msgspec
import pytest
from core_making import chain, others, samples

from daplug_supervisor.core import events as ev

EVERY: list[ev.Event] = [*others(chain("a", "b")), *samples().values()]


def test_the_kinds_are_a_file_format() -> None:
    assert list(ev.KINDS) == [
        "supervisor_started",
        "supervisor_stopped",
        "command_answered",
        "journal_repaired",
        "run_submitted",
        "plan_changed",
        "task_added",
        "task_changed",
        "task_removed",
        "run_started",
        "halt_requested",
        "halted",
        "resumed",
        "provider_rested",
        "provider_stopped",
        "provider_paused",
        "provider_resumed",
        "hook_ran",
        "notified",
        "run_finished",
        "attempt_started",
        "attempt_spawned",
        "attempt_exited",
        "verification_started",
        "verification_passed",
        "step_done",
        "landed",
        "retry_scheduled",
        "task_failed",
        "task_stuck",
        "cancel_requested",
        "task_cancelled",
        "task_skipped",
        "task_reset",
        "task_adopted",
        "delegation_requested",
        "delegated",
        "children_done",
        "review_requested",
        "approved",
        "rejected",
        "task_answered",
    ]


def test_there_is_a_sample_of_every_kind() -> None:
    assert {type(event) for event in EVERY} == set(ev.KINDS.values())


@pytest.mark.parametrize("event", EVERY, ids=lambda event: event.kind)
def test_every_event_survives_json(event: ev.Event) -> None:
    data = ev.encode(event)
    assert msgspec.json.decode(data)["kind"] == event.kind
    assert ev.KINDS[event.kind] is type(event)
    assert (ev.decode(data), ev.decode(data.decode())) == (event, event)


@pytest.mark.parametrize("event", EVERY, ids=lambda event: event.kind)
def test_every_kind_has_a_version(event: ev.Event) -> None:
    assert event.version >= 1


def test_defaults_take_no_room_in_the_journal() -> None:
    assert ev.encode(ev.RunFinished()) == b'{"kind":"run_finished"}'
    assert ev.encode(ev.TaskSkipped("a")) == b'{"kind":"task_skipped","task":"a"}'


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        ev.decode(b'{"kind":')


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"kind":"promised"}',
        '{"kind":"landed"}',
        '{"kind":"attempt_started","task":"a","number":"1","token":"t","provider":"p"}',
        '{"kind":"halt_requested","reason":"r","by":"nobody"}',
        '{"kind":"run_submitted","plan":{"name":"p","tasks":{},"version":2},"target":"/t"}',
    ],
)
def test_what_is_no_event_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        ev.decode(text)


def test_an_entry_knows_its_task() -> None:
    assert ev.Entry(1, "r", 0.0, ev.Landed("a")).task == "a"
    assert ev.Entry(1, "r", 0.0, ev.Halted()).task == ""
