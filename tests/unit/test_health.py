"""Signs of work: when an attempt last showed one, when it is silent, when a person should look at it."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from build import World, plan
from msgspec.structs import replace

from daplug_supervisor.core.health import (
    Health,
    Look,
    Rules,
    Signs,
    Suspect,
    after,
    begun,
    changed,
    found_again,
    next_look,
    suspect,
    used,
    verdict,
)
from daplug_supervisor.core.plan import Task
from daplug_supervisor.views.status import status
from daplug_supervisor.views.status_text import status_text
from daplug_supervisor.views.task_detail import task_detail
from daplug_supervisor.views.why import why
from daplug_supervisor.workspace import suspects

WALL = 1e9
RULES = Rules(interval=120.0, zombie_after=1200.0)
ONE, OTHER = (10, 1), (11, 2)


def look(at: float, cpu: float = 0.0, *, written: float = 0.0, position: int = 0) -> Look:
    """At `at`, with `cpu` seconds used; `written` is when output was, as `at` counts (0: never)."""
    signs = Signs({ONE: cpu}, {(10, "3", "/log"): position})
    return Look(at, signs, WALL + written if written else 0.0, WALL + at)


def seen(*looks: Look, asked: float = 120.0) -> Health:
    """What is known of an attempt that began at 0, after these looks."""
    health = begun(0.0)
    for one in looks:
        health = after(health, one, asked)
    return health


def spec(idle_timeout: float | None = None, estimate: float | None = None) -> Task:
    return Task(command=("true",), idle_timeout=idle_timeout, estimate=estimate)


def test_who_shows_nothing_has_shown_something_when_it_began() -> None:
    health = seen(look(120.0), look(240.0))
    assert (health.sign, health.grown) == (0.0, 0.0)


def test_output_is_a_sign_of_the_time_at_which_it_was_written() -> None:
    health = seen(look(120.0, written=30.0), look(240.0, written=30.0))
    assert (health.sign, health.grown) == (30.0, 30.0)


@pytest.mark.parametrize("written", [900.0, 1e7])
def test_a_file_of_the_future_was_written_now(written: float) -> None:
    health = seen(look(120.0, written=written), look(240.0, written=written))
    assert health.sign == 120.0


def test_a_file_that_was_made_old_was_written_since_the_last_look() -> None:
    health = seen(look(120.0), look(240.0, written=1.0), look(360.0, written=1.0))
    assert health.sign == 120.0


@pytest.mark.parametrize(("cpu", "sign"), [(1.2, 0.0), (3.5, 0.0), (3.7, 240.0), (240.0, 240.0)])
def test_processor_time_is_a_sign_if_it_is_more_than_a_cli_uses_that_waits(cpu: float, sign: float) -> None:
    health = seen(look(120.0), look(240.0, cpu))
    assert (health.sign, health.grown) == (sign, 0.0)


def test_a_tick_of_the_clock_says_nothing_over_a_short_time() -> None:
    assert seen(look(0.1, 0.02), asked=0.1).sign == 0.0
    assert seen(look(0.1, 0.03), asked=0.1).sign == 0.1


def test_processor_time_of_one_who_has_gone_hides_nothing() -> None:
    before, now = Signs({ONE: 100.0}), Signs({ONE: 1.0, OTHER: 7.0})
    assert used(before, now) == 7.0


def test_who_reads_or_writes_on_in_an_open_file_works() -> None:
    health = seen(look(120.0, position=5), look(240.0, position=6), look(360.0, position=6))
    assert (health.sign, health.grown) == (240.0, 240.0)


def test_a_file_that_was_just_opened_says_nothing() -> None:
    assert seen(look(120.0, position=5)).sign == 0.0


def test_a_changed_file_counts_when_it_was_changed_but_not_before_the_attempt() -> None:
    health = seen(look(120.0), look(240.0))
    assert changed(health, WALL + 200.0).sign == 200.0
    assert changed(health, WALL - 500.0).sign == 0.0
    assert changed(health, WALL + 900.0).grown == 240.0


def test_what_was_slept_through_does_not_count() -> None:
    health = seen(look(120.0), look(7200.0 + 240.0))
    assert health.look.at - health.sign == 240.0
    assert health.look.at - health.began == 240.0
    assert seen(look(120.0), look(7200.0 + 240.0, 3.7)).sign == 7440.0


def test_found_again_at_most_half_of_what_is_allowed_counts_as_over() -> None:
    long_ago, lately = look(5000.0, written=100.0), look(5000.0, written=4900.0)
    assert found_again(long_ago, 0.0, 900.0).sign == 4550.0
    assert found_again(lately, 0.0, 900.0).sign == 4900.0
    assert found_again(look(5000.0), 4990.0, 900.0).sign == 4990.0


@pytest.mark.parametrize(
    ("idle", "given", "expected"),
    [
        (899.0, spec(900.0), ""),
        (900.0, spec(900.0), "silent"),
        (900.0, spec(0.0), ""),
        (1199.0, spec(), ""),
        (1200.0, spec(), "zombie"),
        (1200.0, spec(3600.0), "zombie"),
        (3600.0, spec(3600.0), "silent"),
        (601.0, spec(estimate=300.0), "silent"),
        (601.0, spec(0.0, estimate=300.0), "overdue"),
        (600.0, spec(estimate=300.0), ""),
        (601.0, spec(estimate=301.0), ""),
        (130.0, spec(estimate=1.0), "silent"),
        (110.0, spec(estimate=1.0), ""),
        (130.0, spec(estimate=0.0), ""),
    ],
)
def test_verdicts(idle: float, given: Task, expected: str) -> None:
    assert verdict(seen(look(idle), asked=math.inf), given, RULES) == expected


def test_who_takes_long_and_goes_on_is_no_suspect() -> None:
    day = 86400.0
    writes = Health(0.0, look(day), sign=day - 60.0, grown=day - 60.0)
    computes = replace(writes, grown=0.0)
    assert verdict(writes, spec(estimate=60.0), RULES) == ""
    assert verdict(computes, spec(), RULES) == ""
    assert verdict(computes, spec(estimate=60.0), RULES) == "overdue"


def test_when_to_look_again() -> None:
    health = seen(look(120.0))
    assert next_look(health, spec(), RULES) == 120.0
    assert next_look(health, spec(3600.0), RULES) == 120.0
    assert next_look(health, spec(200.0), RULES) == 50.0
    assert next_look(health, spec(130.0), RULES) == 10.0
    assert next_look(health, spec(120.0), RULES) == 0.05


def test_a_suspect_is_told_of_since_it_last_gave_no_reason() -> None:
    health = Health(0.0, look(5000.0), sign=3000.0, grown=1000.0)
    assert suspect(health, "a", 2, "zombie", WALL).since == WALL - 2000.0
    assert suspect(health, "a", 2, "overdue", WALL) == Suspect("a", 2, "overdue", WALL - 4000.0)


# --- what is told of suspects


def at_work() -> World:
    world = World(plan(dict.fromkeys("abc", ())))
    return world.begin("b").begin("a").done("c").tick(3000.0)


def suspects_of(world: World) -> list[Suspect]:
    since = world.at - 1500.0
    return [
        Suspect("b", 1, "zombie", since),
        Suspect("a", 1, "overdue", since),
        Suspect("c", 1, "zombie", since),
        Suspect("gone", 1, "zombie", since),
    ]


def test_what_was_found_suspicious_is_told_as_long_as_it_runs() -> None:
    world = at_work()
    found = status(world.run, world.at, True, ["a note"], suspects_of(world))
    assert [(one.task, one.verdict) for one in found.suspicious] == [("a", "overdue"), ("b", "zombie")]
    text = status_text(found, 200)
    assert "NOTE: a note" in text
    assert "NOTE: b#1 has shown no sign of work for 25m 00s, since 01:47:08Z" in text
    assert "NOTE: a#1 has taken over twice its estimate, and written nothing for 25m 00s" in text
    assert status(world.run, world.at, True, (), [Suspect("a", 2, "zombie", 0.0)]).suspicious == ()


def test_of_very_many_suspects_some_are_named() -> None:
    names = [f"t{number}" for number in range(23)]
    world = World(plan(dict.fromkeys(names, ())))
    for name in names:
        world.begin(name)
    found = status(world.run, world.at, True, (), [Suspect(name, 1, "zombie", 0.0) for name in names])
    text = status_text(found, 200)
    assert text.count("has shown no sign of work") == 20
    assert "NOTE: and 3 more like these" in text


def test_why_and_show_say_it_with_a_way_out() -> None:
    world = at_work()
    given = suspects_of(world)
    found = why(world.run, "b", world.at, live=True, suspects=given)
    assert found.sentence.endswith("; it has shown no sign of work for 25m 00s, since 01:47:08Z.")
    assert found.next == ("daplug-supervise task logs b", "daplug-supervise task cancel b")
    assert "no sign of work" in task_detail(world.run, "b", world.at, True, suspects=given).sentence
    alone = why(world.run, "b", world.at, live=False, suspects=given)
    assert alone.sentence.endswith(
        "no sign of work for 25m 00s, since 01:47:08Z; no supervisor watches it at the moment."
    )
    assert "daplug-supervise task cancel b" not in alone.next


# --- files


def test_suspects_are_written_read_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "p-1"
    assert suspects.read(folder) == ()
    suspects.write(tmp_path, [])
    found = (Suspect("a", 1, "zombie", 5.0),)
    suspects.write(folder, found)
    assert suspects.read(folder) == found
    suspects.write(folder, ())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"[", b"[{}]", b"\xff", b"[" * 100_000, b'[{"task":1}]'])
def test_what_is_no_list_of_suspects_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / suspects.HEALTH).write_bytes(data)
    assert suspects.read(tmp_path) == ()


def test_changes_are_found_below_but_not_behind_links_nor_where_others_work(tmp_path: Path) -> None:
    for name in ("own/deep", "others", ".git", "node_modules"):
        (tmp_path / name).mkdir(parents=True)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "own" / "link").symlink_to(outside)
    skipped = {str(tmp_path / "others")}

    def newest(until: float = math.inf) -> float:
        return suspects.newest_change(str(tmp_path), until, skipped)

    for hidden in ("others", ".git", "node_modules"):
        before = newest()
        until_later(before, tmp_path / hidden / "file")
        assert newest() == before
    until_later(before, outside / "file")
    assert newest() == before
    changed_at = until_later(before, tmp_path / "own" / "deep" / "file")
    assert newest() == changed_at
    assert newest(before) <= before
    assert suspects.newest_change(str(tmp_path / "nowhere"), math.inf, ()) == 0.0


def until_later(before: float, path: Path) -> float:
    """Write a file until its time of change is later; the system's clock for files is coarse."""
    while True:
        path.write_text("x")
        os.utime(path, (1.0, 1.0))  # which hides nothing
        at = path.stat().st_ctime
        if at > before:
            return at


def test_of_a_very_large_tree_only_the_upper_part_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_MOST_ENTRIES", 2)
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    before = suspects.newest_change(str(tmp_path), math.inf, ())
    until_later(before, tmp_path / "a" / "b" / "c" / "d" / "file")
    assert suspects.newest_change(str(tmp_path), math.inf, ()) == before
