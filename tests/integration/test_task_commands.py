"""Creating, changing, splitting and removing tasks, and deciding about them: with real processes, live and offline."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from cli import HOLD, MARKING, PROGRAM, STANDIN, Place, Ran, finish, kill, opened, plan_of, sh, until

from daplug_supervisor import Plan, Retry
from daplug_supervisor.cli.main import main
from daplug_supervisor.cli.output import mask
from daplug_supervisor.cli.task.asking import LARGEST
from daplug_supervisor.cli.task.changes import INSTEAD
from daplug_supervisor.cli.task.group import task as group
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.errors import UsageError

place = pytest.fixture(opened)

ONCE = Retry(attempts=1)
HOLDING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})
BAD = plan_of({"bad": sh(MARKING + "exit 3", retry=ONCE), "next": sh(MARKING, "bad")})
TELLS = MARKING + "true"


def at_work(place: Place, plan: Plan = HOLDING) -> subprocess.Popen[str]:
    """Start a plan, and wait until its first task is at work."""
    process = place.start(place.write(plan))
    place.started(next(iter(plan.tasks)))
    return process


def here(place: Place, *words: str, stdin: str | bytes = "", **environ: str) -> Ran:
    """``daplug-supervise task WORDS``, within this process: there are many of these calls, and a start takes long."""
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    streams = [io.TextIOWrapper(io.BytesIO(one), "utf-8", write_through=True) for one in (data, b"", b"")]
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(place.environ):
            patch.delenv(name)
        for name, value in (place.environ | environ).items():
            patch.setenv(name, value)
        patch.chdir(place.target)
        patch.setattr(sys, "argv", ["daplug-supervise", "task", *words])
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        mask.cache_clear()
        with pytest.raises(SystemExit) as end:
            main()
    gc.enable()
    mask.cache_clear()
    out, err = (stream.buffer.getvalue().decode() for stream in streams[1:])
    return Ran(int(str(end.value.code)), out, err)


def say(place: Place, *words: str, **more: Any) -> str:
    """Say something that is applied; what was answered."""
    ran = here(place, *words, **more)
    assert ran.code == 0, ran
    return ran.out.strip()


def refused(place: Place, words: str, *said: str, code: int = 2) -> None:
    """Say something that is refused with these words, and of which nothing is stored but that."""
    before = [entry for entry in place.entries() if not isinstance(entry.event, ev.CommandAnswered)]
    ran = here(place, *said)
    assert (ran.code, ran.out) == (code, ""), ran
    assert words in ran.err, ran
    after = [entry for entry in place.entries() if not isinstance(entry.event, ev.CommandAnswered)]
    assert [entry.seq for entry in after][: len(before)] == [entry.seq for entry in before]
    surgical = (ev.TaskAdded, ev.TaskChanged, ev.TaskRemoved, ev.DelegationRequested, ev.Delegated)
    assert not [entry for entry in after[len(before) :] if isinstance(entry.event, surgical)]


def order(place: Place) -> list[str]:
    """The tasks in the order in which they were started."""
    return [line.split()[0] for line in place.lines()]


# --- while a supervisor is alive --------------------------------------------------------------------------------


def test_created_tasks_start_by_themselves_each_after_what_it_waits_for(place: Place) -> None:
    process = at_work(place)
    said = say(place, "create", "db", TELLS, "--command", "--blocked-by", "a")
    assert said == "task db is added to run p-1"
    say(
        place,
        "create",
        "api",
        TELLS,
        "--command",
        "--blocked-by",
        "db",
        "--blocked-by",
        "b",
        "--title",
        "The API",
    )
    answer = here(place, "create", "ui", TELLS, "--command", "--blocked-by", "db,api", "--json").json()
    assert (answer["applied"], answer["verb"], set(answer)) == (
        True,
        "create",
        {"id", "verb", "applied", "message"},
    )
    say(place, "create", "now", TELLS, "--command", "--priority", "5", "--timeout", "1m")
    place.started("now")
    specs = place.folded().plan.tasks
    assert (specs["api"].needs, specs["api"].title, specs["now"].timeout) == (("db", "b"), "The API", 60.0)
    place.go()
    assert finish(process).code == 0
    started = order(place)
    assert set(place.statuses().values()) == {"done"}
    assert started.index("a") < started.index("db") < started.index("api") < started.index("ui")
    place.nothing_left()


def test_what_cannot_be_created_or_changed_is_refused_with_the_reason(place: Place) -> None:
    kill(at_work(place, plan_of({"old": sh(MARKING + HOLD)}, name="other")))
    process = at_work(place)
    refused(
        place, "no task 'nosuch' to wait for", "create", "x", "true", "--command", "--blocked-by", "nosuch"
    )
    kill(process)  # what follows is answered the same, and faster
    create = ("create", "x", "true", "--command")
    refused(place, "no task 'nosuch' to wait for", *create, "--blocked-by", "nosuch")
    refused(place, "no task 'bb' to wait for; did you mean b?", *create, "--blocked-by", "bb")
    refused(place, "there is a task b already", "create", "B", "true", "--command")
    refused(place, "cannot wait for itself", *create, "--blocked-by", "x")
    refused(place, "no task 'nosuch'", *create, "--parent", "nosuch")
    refused(place, "--provider", "create", "x", "do it")
    refused(place, "has no provider 'nosuch'", "create", "x", "do it", "--provider", "nosuch")
    refused(place, "runs agents, no commands", *create, "--provider", "codex")
    refused(place, "executor.py was not found", "create", "x", "do it", "--provider", "codex")
    refused(place, "--priority", *create, "--priority", "5000")
    refused(place, "the name: it has to be of letters", "create", "../x", "true", "--command")
    refused(place, "${b.outputs.x}", "create", "x", "echo ${b.outputs.x}", "--command")
    refused(place, "no run 'other-9'", *create, "--run", "other-9")
    refused(place, "task a is running", "update", "a", "--priority", "5")
    refused(place, "nothing to change", "update", "b", "--priority", "0")
    refused(place, "cannot wait for itself", "update", "b", "--blocked-by", "b")
    refused(place, "it does not need x", "update", "b", "--not-blocked-by", "x")
    refused(place, "task a is running: cancel it first", "remove", "a")
    refused(place, "task a has no children", "update", "a", "--status", "delegated")
    refused(place, "say which task", "update", "--status", "delegated")
    refused(place, "only what waits for review can be approved", "approve", "b")
    refused(place, "only what waits for review can be rejected", "reject", "b", "--remark", "no")
    refused(place, "only a stuck task waits for an answer", "answer", "b", "yes")
    say(place, "create", "c", TELLS, "--command", "--blocked-by", "b")
    refused(place, "would wait for each other: b -> c -> b", "update", "b", "--blocked-by", "c")
    refused(place, "is needed by c", "remove", "b")
    other = "task old is of run other-1: a task can only wait for tasks of its own run, p-1"
    refused(place, other, *create, "--blocked-by", "old", "--run", "p-1")
    refused(place, other, "update", "b", "--blocked-by", "old")
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    ran = here(place, "create", "x", f"curl -H {token}", "--command")
    assert (ran.code, "would be kept in the journal" in ran.err, token in ran.err) == (2, True, False)
    error = here(place, "create", "a", "true", "--command", "--json").json()["error"]
    assert (error["code"], error["message"]) == (
        "not_possible",
        "there is a task a already: take another name",
    )
    answers = place.events(ev.CommandAnswered)
    assert len({answer.id for answer in answers}) == len(answers), "each is answered once"
    place.go()
    assert place.run("resume").code == 0
    assert set(place.statuses()) == {"a", "b", "c"}


def test_a_plan_is_rewired_while_it_runs(place: Place) -> None:
    process = at_work(place, plan_of({"a": sh(MARKING + HOLD), **{n: sh(MARKING, "a") for n in "bcd"}}))
    say(place, "update", "d", "--needs", "")
    place.started("d")
    say(place, "update", "b", "--blocked-by", "c", "--priority", "9", "--title", "B", "--timeout", "90")
    say(place, "create", "e", TELLS, "--command", "--blocked-by", "b")
    say(place, "remove", "b", "--rewire", "--reason", "not wanted")
    assert place.folded().spec("e").needs == ("a", "c")
    say(place, "update", "e", "--not-blocked-by", "a", "--text", MARKING + "echo changed > changed")
    place.go()
    assert finish(process).code == 0
    assert (place.statuses(), place.lines("changed")) == (dict.fromkeys("acde", "done"), ["changed"])
    [removed] = place.events(ev.TaskRemoved)
    assert removed.reason == "not wanted"


def test_dependents_of_a_failed_task_that_is_split_wait_for_all_parts(place: Place) -> None:
    tasks = {"long": sh(MARKING + HOLD), **BAD.tasks}
    process = at_work(place, plan_of(tasks))
    until(lambda: place.statuses()["bad"] == "failed", "bad has failed")
    hold = MARKING + HOLD
    said = say(place, "split", "bad", f"one={hold}", f"two={TELLS}", "--chain", "--command")
    assert said == "task bad waits for its parts one, two"
    place.started("one")
    why = here(place, "why", "next").out
    assert "Waits for bad, delegated (0/2)" in why
    assert (place.folded().spec("two").needs, place.statuses()["bad"]) == (("one",), "delegated")
    place.go("one")
    until(lambda: place.statuses()["next"] == "done", "what waited is done")
    assert order(place)[-3:] == ["one", "two", "next"]
    place.go()
    assert finish(process).code == 0
    assert (place.statuses()["bad"], len(place.events(ev.ChildrenDone, task="bad"))) == ("done", 1)


def test_a_child_that_fails_leaves_its_parent_delegated_until_a_person_retries_it(place: Place) -> None:
    process = at_work(place, plan_of({"hold": sh(MARKING + HOLD), **BAD.tasks}))
    until(lambda: place.statuses()["bad"] == "failed", "bad has failed")
    say(place, "split", "bad", "good=true", "worse=test -e mended", "--command")
    until(lambda: place.statuses()["worse"] == "failed", "its part has failed", 60)
    assert place.statuses()["bad"] == "delegated"
    assert "worse" in here(place, "why", "bad").out
    (place.target / "mended").touch()
    say(place, "retry", "worse")
    until(lambda: place.statuses()["next"] == "done", "the parent, and what needs it")
    place.go()
    assert finish(process).code == 0
    assert len(place.events(ev.ChildrenDone)) == 1


def test_removing_a_delegated_task_leaves_its_parts_at_work(place: Place) -> None:
    process = at_work(place, plan_of({"p": sh(MARKING + "sleep 60"), "z": sh(MARKING)}))
    say(place, "create", "part", MARKING + HOLD, "--command", "--parent", "p")
    assert (place.folded().spec("part").parent, place.task("p").children) == ("p", ["part"])
    say(place, "update", "p", "--status", "delegated")
    until(lambda: place.statuses()["p"] == "delegated", "p is delegated")
    place.started("part")
    say(place, "remove", "p")
    assert (set(place.statuses()), place.folded().spec("part").parent) == ({"z", "part"}, None)
    place.go()
    assert finish(process).code == 0
    assert place.statuses() == {"z": "done", "part": "done"}
    place.nothing_left()


def test_an_attempt_divides_its_own_work_without_naming_itself(place: Place) -> None:
    task = f"'{PROGRAM}' task"
    lines = [
        f"{task} create one '{TELLS}' --command --blocked-by other --dry-run --json > looked",
        f"{task} create one '{TELLS}' --command --blocked-by other > said || exit 3",
        f"{task} create two '{TELLS}' --command --parent one || exit 4",
        f"{task} remove other --dry-run 2> refused && exit 5",
        f"{task} update --status delegated",
        "sleep 60",
    ]
    tasks = {"p": sh("; ".join(lines), delegate=2), "other": sh(MARKING + HOLD), "next": sh(MARKING, "p")}
    process = place.start(place.write(plan_of(tasks)))
    place.started("other")
    until(lambda: place.statuses()["p"] == "delegated", "it waits for its part")
    specs = place.folded().plan.tasks
    assert (specs["one"].parent, specs["two"].parent, place.task("p").children) == ("p", "one", ["one"])
    assert place.lines("said") == ["task one is added to run p-1"]
    assert json.loads(" ".join(place.lines("looked")))["affected"]["added"] == ["one"]
    assert "an agent cannot remove anything" in place.lines("refused")[0]
    place.go()
    assert finish(process).code == 0
    assert order(place)[-1] == "next"
    place.nothing_left()


def test_a_part_of_its_own_does_not_pass_by_the_person_who_looks_at_the_whole(place: Place) -> None:
    """An agent creates a part and does not hand over: nobody would look at what that does."""
    line = f"'{PROGRAM}' task create part '{TELLS}' --command"
    assert place.run(place.write(plan_of({"p": sh(line, delegate=1, review="human")}))).code == 1
    assert place.statuses() == {"p": "reviewing", "part": "reviewing"}
    for name in ("p", "part"):
        say(place, "approve", name)
    assert place.run("resume").code == 0
    assert set(place.statuses().values()) == {"done"}


# --- while none is ----------------------------------------------------------------------------------------------


def test_each_verb_without_a_supervisor_and_resume_goes_on(place: Place) -> None:
    assert place.run(place.write(BAD)).code == 1
    hint = "; 'daplug-supervise resume p-1' goes on with it"
    assert say(place, "create", "new", TELLS, "--command") == f"task new is added to run p-1{hint}"
    assert say(place, "update", "next", "--blocked-by", "new") == f"task next is changed{hint}"
    parts = f"one={TELLS}", f"two={TELLS}"
    assert say(place, "split", "bad", *parts, "--command") == f"task bad waits for its parts one, two{hint}"
    assert say(place, "remove", "two") == f"task two is removed{hint}"
    assert place.run("resume").code == 0
    assert place.statuses() == {"bad": "done", "next": "done", "new": "done", "one": "done"}
    assert order(place)[-1] == "next"
    assert say(place, "create", "later", TELLS, "--command").endswith(hint), "a finished run is reopened"
    assert "no supervisor drives the run" in here(place, "why", "later").out
    assert place.run("resume", "p-1").code == 0
    assert place.statuses()["later"] == "done"


def test_the_run_that_is_meant(place: Place) -> None:
    refused_early = here(place, "create", "x", "true", "--command")
    assert refused_early.code == 2
    for name in ("one", "two"):
        assert place.run(place.write(plan_of({"a": sh("true")}, name=name), f"{name}.json")).code == 0
    assert "run two-1" in say(place, "create", "x", "true", "--command"), "the latest"
    assert "run one-1" in say(place, "create", "x", "true", "--command", "--run", "one-1")
    assert "run two-1" in say(place, "create", "y", "true", "--command", "--blocked-by", "x")
    refused(place, "no run 'three-1'", "create", "x", "true", "--command", "--run", "three-1")
    assert place.run("resume").code == 0
    assert (place.statuses("one-1"), set(place.statuses("two-1"))) == ({"a": "done", "x": "done"}, set("axy"))


def test_work_that_waits_for_review_lands_or_is_done_again(place: Place) -> None:
    look = sh(MARKING + "echo $DAPLUG_SUP_ATTEMPT", review="human")
    assert place.run(place.write(plan_of({"look": look, "next": sh(MARKING, "look")}))).code == 1
    assert place.statuses() == {"look": "reviewing", "next": "pending"}
    refused(place, "Missing option '--remark'", "reject", "look")
    refused(place, "say what is to be different", "reject", "look", "--remark", "  ")
    said = say(place, "reject", "look", "--remark", "shorter, please")
    assert said.startswith(
        "task look is done again; the next attempt is told: shorter, please; 'daplug-supervise resume"
    )
    assert place.run("resume").code == 1
    assert (place.statuses()["look"], place.task("look").remarks[0].text) == ("reviewing", "shorter, please")
    said = say(place, "approve", "look", "--remark", "good")
    assert said == "task look is approved, and lands; 'daplug-supervise resume p-1' goes on with it"
    assert place.run("resume").code == 0
    assert (place.statuses(), order(place)) == ({"look": "done", "next": "done"}, ["look", "look", "next"])
    assert place.events(ev.Approved) == [ev.Approved("look", remark="good")]


def test_what_is_approved_while_the_run_halts_lands_and_the_halt_comes_to_its_end(place: Place) -> None:
    tasks = {"hold": sh(MARKING + HOLD), "look": sh(MARKING, review="human"), "next": sh(MARKING, "look")}
    process = at_work(place, plan_of(tasks))
    until(lambda: place.statuses()["look"] == "reviewing", "one to look at")
    assert place.run("halt").code == 0
    assert say(place, "approve", "look").startswith("task look is approved, and lands")
    until(lambda: place.statuses()["look"] == "done", "it has landed")
    place.go()
    assert finish(process).code == 3
    assert place.statuses() == {"hold": "done", "look": "done", "next": "pending"}


def test_work_is_approved_and_questions_are_answered_while_a_supervisor_is_alive(place: Place) -> None:
    tasks = {
        "hold": sh(MARKING + HOLD),
        "look": sh(MARKING, review="human"),
        "asks": sh("test -e told", budget=Budget(attempts=1)),
    }
    process = at_work(place, plan_of(tasks))
    until(
        lambda: {"reviewing", "stuck"} <= set(place.statuses().values()), "one to look at, one that is stuck"
    )
    assert say(place, "approve", "look") == "task look is approved, and lands"
    until(lambda: place.statuses()["look"] == "done", "it has landed")
    refused(place, "the answer is empty", "answer", "asks", " ")
    (place.target / "told").touch()
    assert say(place, "answer", "asks", "-", stdin="use the file\n") == "task asks goes on with the answer"
    until(lambda: place.statuses()["asks"] == "done", "it has gone on")
    assert place.task("asks").remarks[0].text == "use the file"
    place.go()
    assert finish(process).code == 0


# --- a provider that the plan does not have yet ------------------------------------------------------------------


def test_an_agent_task_brings_a_built_in_provider_with_it(place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh(MARKING)}))).code == 0
    executor = {"DAPLUG_EXECUTOR": str(STANDIN)}
    refused(place, "executor.py was not found", "create", "agent", "STUB: write made", "--provider", "codex")
    text = "STUB: write made\n"
    say(place, "create", "agent", "-", "--provider", "codex", "--blocked-by", "a", stdin=text, **executor)
    assert set(place.folded().plan.providers) == {"p", "codex"}
    assert place.run("resume", env=place.environ | executor).code == 0
    assert (place.statuses()["agent"], len(place.lines("made"))) == ("done", 1)
    place.nothing_left()


# --- the same again ---------------------------------------------------------------------------------------------


def test_the_same_id_does_one_thing_and_gets_the_same_answer(place: Place) -> None:
    create = ("create", "x", TELLS, "--command", "--id", "once", "--json")
    wrong = ("create", "y", TELLS, "--command", "--blocked-by", "nosuch", "--id", "never")
    process = at_work(place)
    live = here(place, *create).json()
    assert live == {"id": "once", "verb": "create", "applied": True, "message": "task x is added to run p-1"}
    assert here(place, *create).json() == live
    refused(place, "no task 'nosuch'", *wrong)
    say(place, "create", "nosuch", TELLS, "--command")
    refused(place, "no task 'nosuch'", *wrong)
    refused(place, "the id once was that of a 'create'", "skip", "b", "--id", "once")
    refused(place, "--id: it has to be of", "skip", "b", "--id", "../once")
    place.go()
    assert finish(process).code == 0
    assert here(place, *create).json() == live, "over a restart"
    refused(place, "no task 'nosuch'", *wrong)
    assert place.run(place.write(plan_of({"z": sh(MARKING)}, name="q"), "q.json")).code == 0
    assert here(place, *create).json() == live, "in a later run"
    assert set(place.statuses("q-1")) == {"z"}
    answers = [answer.id for answer in place.events(ev.CommandAnswered)]
    assert (answers.count("once"), answers.count("never")) == (1, 1)


def test_the_same_file_twice_in_the_inbox_does_one_thing(place: Place) -> None:
    process = at_work(place)
    commands = {
        "made": Command("made", "create", new=(NewTask("x", TELLS, command=True),)),
        "bad": Command("bad", "create", new=(NewTask("y", TELLS, command=True, needs=("nosuch",)),)),
    }

    def put() -> None:
        for name, command in commands.items():
            (place.state / "inbox" / f".{name}").write_bytes(msgspec.json.encode(command))
            (place.state / "inbox" / f".{name}").rename(place.state / "inbox" / f"{name}.json")
        until(lambda: not list((place.state / "inbox").glob("*.json")), "an empty inbox")

    put()
    put()
    answers = [(answer.id, answer.applied) for answer in place.events(ev.CommandAnswered)]
    assert sorted(answers) == [("bad", False), ("made", True)]
    place.go()
    assert finish(process).code == 0
    for name, command in commands.items():  # and the next supervisor knows as well
        (place.state / "inbox" / f"{name}.json").write_bytes(msgspec.json.encode(command))
    assert place.run(place.write(plan_of({"z": sh(MARKING)}, name="q"), "q.json")).code == 0
    assert list((place.state / "inbox").iterdir()) == []
    assert len(place.events(ev.CommandAnswered)) == 2
    assert len(place.events(ev.TaskAdded)) == 1


# --- only looking -----------------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_would_be_affected_and_stores_nothing(place: Place) -> None:
    process = at_work(place)
    before = place.entries()
    ran = place.run(
        "task", "create", "x", "true", "--command", "--blocked-by", "b", "--dry-run", "--json"
    ).json()
    assert (ran["dry_run"], ran["run"], ran["verb"]) == (True, "p-1", "create")
    assert (ran["affected"]["added"], ran["affected"]["blocked"]) == (["x"], ["x"])
    assert ran["affected"]["waits"] == [{"task": "x", "before": [], "after": ["b"]}]
    assert "could start  b" in say(place, "update", "b", "--needs", "", "--dry-run")
    assert "removed      b" in say(place, "remove", "b", "--dry-run")
    assert "waits        b for one, two" in say(
        place, "split", "b", "one=true", "two=true", "--command", "--dry-run"
    )
    assert "status       b: pending -> skipped" in say(place, "skip", "b", "--dry-run")
    refused(place, "no task 'nosuch'", "create", "x", "y", "--command", "--blocked-by", "nosuch", "--dry-run")
    assert place.entries() == before
    place.go()
    assert finish(process).code == 0
    before = place.entries()
    assert "could start  x" in say(place, "create", "x", "true", "--command", "--dry-run")
    assert place.entries() == before


# --- the plan file is run again ----------------------------------------------------------------------------------


def test_running_the_plan_again_keeps_what_was_changed_and_takes_what_it_says_anew(place: Place) -> None:
    tasks = {**BAD.tasks, "drop": sh(MARKING, "bad"), "last": sh(MARKING, "drop")}
    assert place.run(place.write(plan_of(tasks))).code == 1
    say(place, "create", "made", TELLS, "--command", "--blocked-by", "bad")
    say(place, "update", "next", "--blocked-by", "made")
    say(place, "remove", "drop", "--rewire")
    assert place.run("plan.json").code == 1
    assert set(place.statuses()) == {"bad", "next", "last", "made"}
    assert place.folded().spec("next").needs == ("bad", "made")
    tasks |= {"bad": sh(TELLS), "last": sh(MARKING + "echo new > new", "next")}
    place.write(plan_of(tasks))
    assert place.run("plan.json", "--only", "bad", "--only", "made").code == 1
    assert place.run("plan.json").code == 0
    assert place.statuses() == dict.fromkeys(("bad", "next", "last", "made"), "done")
    assert (order(place)[-1], place.lines("new")) == ("last", ["new"])
    assert len(place.events(ev.RunSubmitted)) == 1, "one run all along"


def test_a_file_without_what_a_created_task_waits_for_is_refused(place: Place) -> None:
    assert place.run(place.write(BAD)).code == 1
    say(place, "create", "made", TELLS, "--command", "--blocked-by", "next")
    place.write(plan_of({"bad": BAD.tasks["bad"]}))
    ran = place.run("plan.json")
    assert (ran.code, "task update made --not-blocked-by next" in ran.err) == (2, True)


def test_a_file_without_what_has_failed_is_refused_before_anything_is_tried_again(place: Place) -> None:
    assert place.run(place.write(plan_of({**BAD.tasks, "ok": sh(TELLS)}))).code == 1
    say(place, "create", "made", TELLS, "--command", "--blocked-by", "bad")
    assert place.run("plan.json").code == 1
    place.write(plan_of({"ok": sh(TELLS)}))
    ran = place.run("plan.json")
    assert (ran.code, "task update made --not-blocked-by bad" in ran.err) == (2, True), ran
    assert not place.events(ev.TaskReset), "what is refused changes nothing"
    say(place, "update", "made", "--not-blocked-by", "bad")
    place.run("plan.json")
    assert place.statuses() == {"bad": "failed", "ok": "done", "made": "done"}


def test_what_the_latest_start_did_not_ask_for_is_told_of_also_when_nothing_runs(place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh(TELLS), "b": sh(TELLS)})), "--only", "a").code == 1
    said = say(place, "create", "n", TELLS, "--command")
    assert (
        "the latest start asked for other tasks only, and n waits for another 'daplug-supervise run'" in said
    )
    assert "resume" not in said
    assert "daplug-supervise run plan.json" in here(place, "why", "n").out
    assert place.run("plan.json").code == 0
    assert set(place.statuses().values()) == {"done"}


# --- words ------------------------------------------------------------------------------------------------------


def said_here(*words: str) -> str:
    """The refusal of the command line, without a process."""
    with pytest.raises((UsageError, click.ClickException)) as caught:
        group.main(list(words), standalone_mode=False)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *((("update", "a", "--status", status), instead) for status, instead in INSTEAD.items()),
        (("update", "a", "--status", "Completed"), "when it was proven"),
        (("update", "a", "--status", "nonsense"), "there is no status 'nonsense'"),
        (("update", "a", "--status", "delegated", "--title", "x"), "goes alone"),
        (("update", "--title", "x"), "say which task"),
        (("update", "a"), "say what is to be different"),
        (("update", "a", "--timeout", "soon"), "write 90s"),
        (("update", "a", "--timeout", "0s"), "more than nothing"),
        (("split", "a", "one"), "write PART=TEXT"),
        (("split", "a", "=x"), "write PART=TEXT"),
        (("split", "a", "a b=x"), "the name: it has to be of"),
        (("create", "x", ""), "TEXT: it is empty"),
        (("create", "x", "y", "--provider", "a b"), "--provider: it has to be of"),
        (("create", "x", "y", "--output", "a b"), "--output: it has to be of"),
        (("create", "x", "y" * (LARGEST + 1)), "longer than 48 KiB"),
    ],
)
def test_a_command_line_that_cannot_be(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in said_here(*words)


def test_what_standard_input_says_may_be_no_text(place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh(MARKING)}))).code == 0
    create = ("create", "x", "-", "--command")
    for data, told in (
        (b"echo \xff", "not UTF-8"),
        (b"x" * (LARGEST + 1), "longer than 48 KiB"),
        ("ä".encode() * LARGEST, "longer than 48 KiB"),
        (b"a\0b", "NUL"),
        (b"\n", "TEXT: it is empty"),
    ):
        ran = here(place, *create, stdin=data)
        assert (ran.code, told in ran.err) == (2, True), ran
    big = [f"{name}={'x' * 40_000}" for name in ("one", "two")]
    ran = here(place, "split", "a", *big, "--command")
    assert (ran.code, "longer than 64 KiB" in ran.err) == (2, True)
