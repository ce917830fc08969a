"""Real CLIs whose work has to be proven: they hand in a result, their criteria are run by us, and it lands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from clis import ALL
from replies import RESULT
from world import World, prompt

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Criterion, Plan, Provider, Retry, Task

whole = pytest.mark.whole


def each(*small: str, among: Sequence[str] = ALL, times: int = 1) -> pytest.MarkDecorator:
    """All CLIs; some of them in the plain tests too. `times` is how much longer than other tests they take."""
    slow = {"opencode": 25, "gemini": 12}
    marks = {
        cli: [pytest.mark.takes(times * slow.get(cli, 5)), *([] if cli in small else [whole])]
        for cli in among
    }
    return pytest.mark.parametrize("cli", [pytest.param(cli, marks=found) for cli, found in marks.items()])


def result(**more: Any) -> str:
    return json.dumps({"status": "success", **more})


def plan(pool: Provider, **tasks: Task) -> Plan:
    return Plan("p", tasks, {"p": pool})


def task(name: str, *criteria: Criterion, **more: Any) -> Task:
    given = {"worktree": True, "timeout": 240.0, "grace": 2.0, "retry": Retry(attempts=3, backoff=0.1)}
    return Task(instructions=prompt(name), provider="p", accept=criteria, **{**given, **more})


def grep(word: str, file: str) -> Criterion:
    return Criterion(run=f"grep -q {word} {file}", name=f"{file} is {word}")


@each("codex", "claude")
def test_work_that_is_proven_lands_and_is_handed_on(world: World, cli: str) -> None:
    world.model.tell("a.txt", {"a.txt": "good\n", RESULT: result(outputs={"where": "a.txt"})})
    world.model.tell("b.txt", {"b.txt": "better\n", RESULT: result(learnings=["it went well"])})
    tasks = {
        "a": task("a", grep("good", "a.txt"), outputs=("where",)),
        "b": task("b", grep("good", "a.txt"), grep("better", "b.txt"), needs=("a",), result=True,
                  inputs={"look_at": "the file ${a.outputs.where} of before"}),
    }  # fmt: skip
    ran = world.run("run", world.place.write(plan(world.provider(cli), **tasks)))
    world.show("proven, landed, handed on", cli, "a")
    assert ran.code == 0, (ran, world.kinds("a"), world.kinds("b"))
    assert (world.landed("a"), world.landed("b")) == ("good\n", "better\n")
    (told,) = world.model.begun["b.txt"]
    assert "the file a.txt of before" in told
    assert "${" not in json.dumps(world.place.task("b").past[-1].result.outcome.claim)
    assert all(finding.holds for name in "ab" for finding in world.place.task(name).findings)
    assert [event.task for event in world.place.events(ev.Landed)] == ["a", "b"]
    assert world.git("status", "--porcelain") == "?? plan.json\n", (
        "nothing but the plan, and that was a person's"
    )


@each("codex")
def test_what_is_missing_or_wrong_goes_back_and_is_mended(world: World, cli: str) -> None:
    """First it says "done" and does nothing, then it is wrong; told what is, it does it right."""
    world.model.tell(
        "a.txt", {}, {"draft.txt": "bad\n", RESULT: result()}, {"a.txt": "good\n", RESULT: result()}
    )
    tasks = {"a": task("a", grep("good", "a.txt"), result=True)}
    ran = world.run("run", world.place.write(plan(world.provider(cli), **tasks)))
    world.show("no result, then a round", cli, "a")
    assert ran.code == 0, (ran, world.kinds("a"))
    assert world.kinds("a") == ["no_result", "verify_failed", "completed"]
    first, second, third = world.model.begun["a.txt"]
    assert "exit code 2 instead of 0" not in first + second
    assert "it handed in no result" in second
    assert "a.txt is good" in third
    assert "exit code 2 instead of 0" in third
    assert world.landed("a") == "good\n"


@whole
@pytest.mark.promise("P31")
@pytest.mark.parametrize("cli", ["codex", "claude"])
def test_a_lie_is_found_out(world: World, cli: str) -> None:
    """Its result says that all is well; nothing is there. Told so it does nothing again, and a last time."""
    lie = result(acceptance_criteria=[{"id": "a.txt is good", "status": "PASS"}])
    world.model.tell("a.txt", {RESULT: lie})
    tasks = {"a": task("a", grep("good", "a.txt"), result=True)}
    ran = world.run("run", world.place.write(plan(world.provider(cli), **tasks)))
    world.show("lies in its result", cli, "a")
    assert ran.code == 1, ran
    assert world.kinds("a") == ["verify_failed"] * 3
    state = world.place.task("a")
    (finding,) = state.findings
    assert (state.status, finding.claimed, finding.status) == (Status.FAILED, "PASS", "FAIL")
    assert not world.git("log", "--format=%s", "daplug/run/p-1", "--", "a.txt")


@pytest.mark.parametrize("worktree", [True, pytest.param(False, marks=whole)], ids=["worktree", "shared"])
@pytest.mark.parametrize("cli", ["codex", pytest.param("claude", marks=whole)])
def test_with_no_more_leave_than_by_default_it_can_hand_in(world: World, cli: str, worktree: bool) -> None:
    """codex in its own sandbox, where it may write in its directory only; claude with leave to write files."""
    if cli == "codex" and not world.can_confine():
        pytest.skip("this machine does not let codex make its sandbox")
    world.model.tell("a.txt", {"a.txt": "good\n", RESULT: result()})
    work = task("a", grep("good", "a.txt"), result=True, worktree=worktree)
    ran = world.run("run", world.place.write(plan(world.provider(cli, options={}), a=work)))
    world.show(f"default leave, {'worktree' if worktree else 'shared checkout'}", cli, "a")
    assert ran.code == 0, (ran, world.kinds("a"))
    assert world.written("a") == ["good\n"]
    assert world.kinds("a") == ["completed"], "the first attempt has handed in its result"
