"""The files that tell of orchestrations, with real processes, kills and files that are in the way: D18-D34."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from cli import (
    HOLD,
    MARKING,
    Place,
    ended,
    finish,
    kill,
    opened,
    plan_of,
    reached,
    sh,
    until,
)
from msgspec.structs import replace

from daplug_supervisor import Supervisor
from daplug_supervisor.cli import options
from daplug_supervisor.cli.run import run as run_command
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.health import Rules
from daplug_supervisor.core.plan import Criterion, Plan, Provider, Retry
from daplug_supervisor.formats import load_plan
from daplug_supervisor.views.orchestration.course import Course
from daplug_supervisor.views.orchestration.events import follow, new_course

place = pytest.fixture(opened)

AUTH = Path(__file__).resolve().parents[2] / "examples" / "auth-system" / "plan.yaml"
SECRET = "hunter2-hunter2-hunter2"


def lines(place: Place) -> list[dict[str, Any]]:
    text = (place.state / "orchestration-events.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def state(place: Place) -> dict[str, Any]:
    path = place.state / "orchestrations.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def record(place: Place, run: str = "p-1", parent: str = "") -> dict[str, Any]:
    name = f"orch-{run}-{parent}" if parent else f"orch-{run}"
    found: dict[str, Any] = json.loads((place.state / "orchestrations" / run / f"{name}.json").read_text())
    return found


def handoffs(place: Place, run: str = "p-1") -> dict[str, dict[str, Any]]:
    folder = place.state / "orchestrations" / run / "handoffs"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def expected(place: Place) -> list[dict[str, Any]]:
    """What is to be told of all that the journal holds."""
    courses: dict[str, Course] = {}
    found = []
    for entry in place.entries():
        if entry.run:
            if isinstance(entry.event, ev.RunSubmitted):
                course = new_course(entry)
                assert course is not None
                courses[entry.run] = course
            found += follow(courses[entry.run], entry)
    return [json.loads(msgspec.json.encode(line)) for line in found]


def diamond(line: str = "true", **more: Any) -> Plan:
    tasks = {"a": sh(line), "b": sh(line, "a"), "c": sh(line, "a", owner="security"), "d": sh(line, "b", "c")}
    return plan_of(tasks, **more)


def test_a_run_is_told_of_from_its_beginning(place: Place) -> None:
    assert place.run("run", place.write(diamond())).code == 0
    told = lines(place)
    assert told == expected(place)
    assert (
        told[0].items()
        >= {
            "type": "orchestration_started",
            "orchestration_id": "orch-p-1",
            "subtasks": 4,
        }.items()
    )
    assert told[-1]["type"] == "orchestration_completed"
    found = record(place)
    assert found["execution_plan"] == {"stage_1": ["a"], "stage_2": ["b", "c"], "stage_3": ["d"]}
    assert (found["status"], found["progress"]["completed_subtasks"]) == ("completed", ["a", "b", "c", "d"])
    assert {name: one["handoff_id"] for name, one in handoffs(place).items()} == {
        "a": "to-p-a",
        "b": "to-p-b",
        "c": "to-security-c",
        "d": "to-p-d",
    }
    counts = state(place)
    assert counts["last_update"]
    assert (counts["total_orchestrations"], counts["completed_orchestrations"]) == (1, 1)
    assert (counts["active_orchestrations"], counts["current_orchestrations"]) == (0, [])
    modes = {path.stat().st_mode & 0o077 for path in (place.state, *place.state.rglob("*orchestration*"))}
    assert modes == {0}


@pytest.mark.parametrize("stage", ["b", "d"])
def test_whatever_is_killed_all_is_told_once(place: Place, stage: str) -> None:
    """D20, D30, D31: exactly one hand-off and one line of each, and counters as the journal has them."""
    name = place.write(diamond(MARKING + HOLD))
    order = ["a", "b", "d"]
    for task in order[: order.index(stage)]:
        place.go(task)
        place.go("c" if task == "b" else task)
    process = place.start("run", name)
    place.started(stage)
    kill(process)
    before = handoffs(place) if (place.state / "orchestrations" / "p-1").exists() else {}
    place.go()
    assert place.run("run", name).code == 0
    assert lines(place) == expected(place)
    assert [line["type"] for line in lines(place)].count("orchestration_started") == 1
    after = handoffs(place)
    assert list(after) == ["a", "b", "c", "d"]
    assert before.items() <= after.items(), "a hand-off was written twice"
    counts = state(place)
    assert (counts["completed_orchestrations"], counts["total_orchestrations"]) == (1, 1)


def test_while_it_runs_the_state_says_where_it_stands(place: Place) -> None:
    place.go("a")
    process = place.start("run", place.write(diamond(MARKING + HOLD)), "--health-interval", "1s")
    place.started("b", "c")

    def current() -> dict[str, Any]:
        found = (
            state(place)["current_orchestrations"] if (place.state / "orchestrations.json").exists() else []
        )
        seen = found and len(found[0]["subtask_health"]) == 2
        return dict(found[0]) if seen and found[0]["progress_percent"] else {}

    now = until(current, "the state of a run in its second stage")
    assert (now["orchestration_id"], now["status"], now["health"]) == ("orch-p-1", "in_progress", "healthy")
    assert (now["current_stage"], now["stages"], now["progress_percent"]) == (2, 3, 25)
    assert sorted(now["active_subtasks"]) == ["b", "c"]
    health = {one["subtask_id"]: one for one in now["subtask_health"]}["b"]
    assert all(
        health[key] for key in ("worker_registered", "process_alive", "heartbeat_ok", "files_changing")
    )
    assert set(handoffs(place)) == {"a", "b", "c"}
    shown = place.run("task", "show", "b", "--json").json()["health"]
    assert (shown["process_alive"], shown["worker_registered"], shown["attempt"]) == (True, True, 1)
    assert place.run("task", "show", "a", "--json").json()["health"] is None
    place.go()
    assert finish(process).code == 0


def test_a_dead_supervisor_leaves_what_can_be_asked(place: Place) -> None:
    process = place.start("run", place.write(plan_of({"a": sh(MARKING + HOLD)})))
    place.started("a")
    until((place.state / "orchestrations.json").exists, "a state")
    kill(process)
    assert place.run("task", "show", "a", "--json").json()["health"]["process_alive"]
    place.go()
    until(lambda: not place.processes(attempts=True), "the end of the agent")
    assert not place.run("task", "show", "a", "--json").json()["health"]["process_alive"]


def test_how_often_to_look_must_make_sense(place: Place) -> None:
    name = place.write(plan_of({"a": sh("true")}))
    ran = place.run("run", name, "--health-interval=0s")
    assert (ran.code, "--health-interval" in ran.err) == (2, True), ran.err
    given = click.Context(run_command), run_command.params[0]
    for bad in ("often", "2d"):
        with pytest.raises(click.BadParameter, match=bad):
            options._rules(*given, bad)
    assert options._rules(*given, "90s") == Rules(interval=90.0)


def test_a_torn_last_line_is_mended(place: Place) -> None:
    place.go("a")
    name = place.write(plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING + HOLD, "a")}))
    process = place.start("run", name)
    place.started("b")
    events = place.state / "orchestration-events.jsonl"
    until(lambda: events.exists() and b"subtask_completed" in events.read_bytes(), "the first lines")
    kill(process)
    whole = events.read_bytes()
    events.write_bytes(whole[: whole.rindex(b'"subtask_id"')] + b"\0\0\0")
    place.go()
    assert place.run("run", name).code == 0
    assert lines(place) == expected(place)


@pytest.mark.parametrize("moved", [True, False])
def test_lines_that_somebody_moved_away_meanwhile_leave_no_hole(place: Place, *, moved: bool) -> None:
    name = place.write(plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING + HOLD, "a")}))
    process = place.start("run", name)
    events = place.state / "orchestration-events.jsonl"
    until(lambda: events.exists() and b"subtask_started" in events.read_bytes(), "the first lines")
    before = lines(place)
    events.rename(place.target / "kept") if moved else events.write_text("")
    place.go()
    assert finish(process).code == 0
    assert before + lines(place) == expected(place)


def test_lines_that_a_crash_kept_back_are_told_at_the_next_start(place: Place) -> None:
    """Also of a run that had ended by then: it is not at hand any more."""
    assert place.run("run", place.write(diamond())).code == 0
    events, ended_file = (
        place.state / "orchestration-events.jsonl",
        place.state / "orchestrations" / "ended.json",
    )
    kept = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(kept[:6]))
    ended_file.write_text("{}")
    for path in (place.state / "orchestrations" / "p-1" / "handoffs").glob("[cd].json"):
        path.unlink()
    assert place.run("run", place.write(plan_of({"z": sh("true")}, name="q"))).code == 0
    assert lines(place) == expected(place)
    assert list(handoffs(place)) == ["a", "b", "c", "d"]
    assert json.loads(ended_file.read_text()) == {"p-1": [1, 0, 0], "q-1": [1, 0, 0]}
    assert state(place)["completed_orchestrations"] == 2


def test_what_ran_before_there_were_such_files_is_counted_and_not_told(place: Place) -> None:
    assert place.run("run", place.write(diamond())).code == 0
    (place.state / "orchestration-events.jsonl").unlink()
    (place.state / "orchestrations" / "ended.json").unlink()
    assert place.run("run", place.write(plan_of({"z": sh("true")}, name="q"))).code == 0
    assert {line["run"] for line in lines(place)} == {"q-1"}
    assert state(place)["completed_orchestrations"] == 2


def test_a_run_that_goes_on_is_counted_anew(place: Place) -> None:
    once = sh("test -e go", retry=Retry(attempts=1))
    name = place.write(plan_of({"a": once}))
    assert place.run("run", name).code == 1
    assert state(place)["failed_orchestrations"] == 1
    found = record(place)
    assert (found["status"], found["blocked"][0]["blocking_subtask"]) == ("failed", "a")
    place.go()
    assert place.run("run", name).code == 0
    counts = state(place)
    assert (counts["failed_orchestrations"], counts["completed_orchestrations"]) == (0, 1)
    assert record(place)["retries"][0]["retry_count"] == 1
    assert lines(place) == expected(place)


def test_a_large_run_has_state_and_lines_only(place: Place) -> None:
    tasks = {f"t{at}": sh("true") for at in range(201)}
    assert (
        place.run("run", place.write(plan_of(tasks, {"p": Provider(worker="command", parallel=8)}))).code == 0
    )
    assert lines(place) == expected(place)
    assert state(place)["completed_orchestrations"] == 1
    assert [path.name for path in (place.state / "orchestrations").iterdir()] == ["ended.json"]


@pytest.mark.parametrize("name", ["orchestrations.json", "orchestration-events.jsonl", "orchestrations"])
def test_what_is_in_the_way_hurts_no_run(place: Place, name: str) -> None:
    place.state.mkdir(mode=0o700)
    bad = place.state / name
    bad.write_text("") if name == "orchestrations" else bad.mkdir()
    assert place.run("run", place.write(diamond())).code == 0
    assert set(place.statuses().values()) == {"done"}
    log = (place.state / "supervisor.log").read_text()
    assert log.count("orchestrations") >= 1
    assert len(log.splitlines()) <= 2


async def test_what_cannot_be_told_is_not_kept_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has become something else while the journal can still be written."""
    module = "daplug_supervisor.supervisor.monitoring.orchestrations"
    monkeypatch.setattr(f"{module}._MOST_UNTOLD", 5)
    monkeypatch.setattr(f"{module}._AGAIN", 0.05)
    async with Supervisor(place.state) as supervisor:
        events = place.state / "orchestration-events.jsonl"
        one = await supervisor.submit(plan_of({"a": sh("true")}, name="q"))
        await ended(one)
        await reached(lambda: len(lines(place)) > 5 if events.exists() else False, "the first run is told")
        events.rename(place.target / "kept")
        events.mkdir()
        await ended(await supervisor.submit(diamond()))
        monitor = supervisor._monitor
        await reached(lambda: monitor._broken, "it gives up")
        assert monitor._lines == []
    events.rmdir()
    (place.target / "kept").rename(events)
    assert place.run("run", place.write(plan_of({"z": sh("true")}, name="r"))).code == 0
    assert sorted(lines(place), key=lambda line: int(line["seq"])) == expected(place)


def test_a_link_is_not_followed(place: Place) -> None:
    place.state.mkdir(mode=0o700)
    victim = place.home / "victim"
    victim.write_text("precious")
    (place.state / "orchestration-events.jsonl").symlink_to(victim)
    (place.state / "orchestrations.json").symlink_to(victim)
    assert place.run("run", place.write(diamond())).code == 0
    assert victim.read_text() == "precious"


def test_no_secret_is_told(place: Place) -> None:
    place.environ["MY_API_KEY"] = SECRET
    failing = sh('echo "$MY_API_KEY" >&2; exit 1', retry=Retry(attempts=1))
    assert place.run("run", place.write(plan_of({"a": failing}, pass_env=("MY_API_KEY",)))).code == 1
    told = [path for path in place.state.rglob("*orch*") if path.is_file()]
    assert len(told) == 3
    for path in (*told, *(place.state / "orchestrations").rglob("*.json")):
        assert SECRET not in path.read_text(), path


async def test_a_zombie_is_listed_and_who_goes_on_is_not(place: Place) -> None:
    """D23, in the state and in the record."""
    tasks = {
        "hangs": sh(MARKING + "exec sleep 60"),
        "works": sh(MARKING + "while [ ! -e go ]; do echo x; sleep 0.02; done"),
    }
    rules = Rules(interval=0.1, zombie_after=1.0)
    async with Supervisor(place.state, environ=place.environ, health=rules) as supervisor:
        await supervisor.submit(plan_of(tasks))

        def zombie() -> bool:
            path = place.state / "orchestrations" / "p-1" / "orch-p-1.json"
            return path.exists() and bool(record(place)["progress"]["zombie_subtasks"])

        await reached(zombie, "a zombie in the record")
        assert record(place)["progress"]["zombie_subtasks"] == ["hangs"]
        await reached(
            lambda: state(place)["current_orchestrations"][0]["health"] == "suspicious",
            "a zombie in the state",
        )
        now = state(place)["current_orchestrations"][0]
        assert {one["subtask_id"]: one["verdict"] for one in now["subtask_health"]} == {
            "hangs": "zombie",
            "works": "",
        }
        supervisor.stop()


async def test_two_at_once_do_not_mix(place: Place) -> None:
    """D34."""
    async with Supervisor(place.state, environ=place.environ) as supervisor:
        first = await supervisor.submit(diamond(), target=place.target)
        second = await supervisor.submit(diamond(name="q"), target=place.target)
        for handle in (first, second):
            await ended(handle)
    assert lines(place) == expected(place)
    for run in ("p-1", "q-1"):
        own = [line for line in lines(place) if line["run"] == run]
        assert {line["orchestration_id"] for line in own} == {f"orch-{run}"}
        assert [line["type"] for line in own].count("orchestration_completed") == 1
        assert record(place, run)["run"] == run
        assert {one["parent_orchestration"] for one in handoffs(place, run).values()} == {f"orch-{run}"}
    assert state(place)["completed_orchestrations"] == 2


def test_more_than_ten_stages_with_barriers_are_refused(place: Place) -> None:
    """D14: by check and by run, with the line of the first task that is too far behind."""
    text = "stages: barrier\ntasks:\n  t0: {command: ['true']}\n" + "".join(
        f"  t{at}: {{command: ['true'], needs: [t{at - 1}]}}\n" for at in range(1, 11)
    )
    name = place.write(text, "deep.yaml")
    for verb in ("check", "run"):
        ran = place.run(verb, name)
        assert ran.code == 2
        assert "deep.yaml:13:" in ran.err
        assert "stage 11 of 11: with stages: barrier at most 10" in ran.err
        assert "split the plan" in ran.err
    assert place.run("check", place.write(text.replace("barrier", "dag"), "deep.yaml")).code == 0
    assert place.run("check", place.write(text[: text.rindex("  t10")], "ten.yaml")).code == 0


def test_the_six_tasks_of_the_example(place: Place) -> None:
    """D16: five stages, two tasks side by side, within 65 to 90 minutes; and they run to their end."""
    checked = place.run("check", str(AUTH), "--json").json()
    assert checked["stages"] == [["design"], ["backend", "frontend"], ["tests"], ["audit"], ["docs"]]
    taken = checked["resources"]
    assert 65 * 60 <= taken["shortest"] <= taken["longest"] <= 90 * 60
    assert (taken["subtasks"], taken["owners"], taken["parallel"]) == (6, ["development", "security"], True)
    assert checked["complexity"]["kind"] == "complex"
    plan, line = load_plan(AUTH), MARKING + 'for i; do mkdir -p "$(dirname "$i")"; echo x > "$i"; done'
    tasks = {
        name: replace(
            spec,
            instructions=None,
            provider="p",
            command=("sh", "-c", line, "-", *spec.files),
        )
        for name, spec in plan.tasks.items()
    }
    done = place.run("run", place.write(plan_of(tasks, name="auth", stages=plan.stages)))
    assert done.code == 0, done.err
    assert place.most_at_once()["*"] <= 2, "never all at once (D15)"
    order = [line.split()[0] for line in place.lines()]
    assert (order[0], sorted(order[1:3]), order[3:]) == (
        "design",
        ["backend", "frontend"],
        ["tests", "audit", "docs"],
    )
    found = record(place, "auth-1")
    assert found["execution_plan"]["stage_2"] == ["backend", "frontend"]
    assert found["completion"]["completed"] == 6
    assert handoffs(place, "auth-1")["audit"]["handoff_id"] == "to-security-audit"


async def test_a_finished_run_that_was_forgotten_and_goes_on_is_told_once(place: Place) -> None:
    """A supervisor that lives long keeps only its last runs at hand; older ones are read again."""
    once = plan_of({"a": sh("test -e go", retry=Retry(attempts=1))})
    async with Supervisor(place.state, environ=place.environ) as supervisor:
        await ended(await supervisor.submit(once, target=place.target))
        for at in range(17):
            await ended(
                await supervisor.submit(plan_of({"z": sh("true")}, name=f"q{at}"), target=place.target)
            )
        await reached(lambda: state(place).get("completed_orchestrations") == 17, "all counted")
        place.go()
        await ended(await supervisor.submit(once, target=place.target))
    assert lines(place) == expected(place)
    counts = state(place)
    assert (counts["completed_orchestrations"], counts["failed_orchestrations"]) == (18, 0)


def test_what_does_not_pass_keeps_the_next_stage_back(place: Place) -> None:
    """D28: a gate between stages; `c` needs only what is done, and is not handed over either."""
    tasks = {
        "a": sh(MARKING, accept=(Criterion("false"),), retry=Retry(attempts=1)),
        "b": sh(MARKING),
        "c": sh(MARKING, "b"),
    }
    assert place.run("run", place.write(plan_of(tasks, stages="barrier"))).code == 1
    assert place.statuses() == {"a": "failed", "b": "done", "c": "pending"}
    assert list(handoffs(place)) == ["a", "b"]
    assert record(place)["progress"]["current_stage"] == 1
