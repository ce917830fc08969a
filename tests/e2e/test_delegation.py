"""Real CLIs whose agents divide their work, ask, are looked at by a person, and try what they may not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cli import PROGRAM
from replies import AS_TOLD, OUTBOX, TYPED
from test_proven import each, grep, plan, task
from world import World, prompt

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion, Provider

PARTS = ("a-db", "a-api", "a-ui")
"""The names of the example that an agent is shown."""

COMMANDS = {
    **{f"{AS_TOLD} {number}": prompt(name) for number, name in enumerate(PARTS, 1)},
    f"{AS_TOLD} {1 + len(PARTS)}": "",
}
"""An agent types the commands that it was shown, with texts of its own."""

_NEW = [
    {"id": name, "text": prompt(name), "needs": PARTS[number : number + 1]}
    for number, name in enumerate(PARTS, -1)
]
FILES = {
    **{f"{OUTBOX}/commands/{new['id']}.json": json.dumps({"verb": "create", "new": [new]}) for new in _NEW},
    f"{OUTBOX}/commands/over.json": json.dumps({"verb": "delegate"}),
}
"""The same as files, for an agent that may run no program."""

BEGUN = {"begun.txt": "begun\n"}
WHOLE = Criterion(run="cat begun.txt a-db.txt a-api.txt a-ui.txt", name="all of it is there")


def by_default(world: World, cli: str, parallel: int = 1) -> Provider:
    """One place, and no more leave than by default: codex in its own sandbox, if this machine lets it make that."""
    more: dict[str, Any] = {} if cli == "codex" and not world.can_confine() else {"options": {}}
    return world.provider(cli, parallel=parallel, **more)


def typing(world: World, cli: str) -> Provider:
    """As above, and it may run our program: claude has to be given leave for that."""
    if cli != "claude":
        return by_default(world, cli)
    (world.place.home / "bin").mkdir()
    (world.place.home / "bin" / "daplug-supervise").symlink_to(PROGRAM)
    world.login({"PATH": f"{world.place.home}/bin:{world.place.environ['PATH']}"})
    return world.provider(cli, parallel=1, options={"args": ["--allowedTools=Bash(daplug-supervise *)"]})


def divided(world: World, pool: Provider, *turn: dict[str, str]) -> None:
    """Run a plan whose agent begins and divides its work; see that all came home, paid for once."""
    world.model.tell("a.txt", {name: text for part in turn for name, text in part.items()})
    tasks = {"a": task("a", WHOLE, delegate=1), "z": task("z", grep("written", "a-ui.txt"), needs=("a",))}
    ran = world.run("run", world.place.write(plan(pool, **tasks)))
    assert ran.code == 0, (ran, world.kinds("a"), world.place.events(ev.CommandAnswered))
    everyone = ("a", *PARTS, "z")
    assert world.place.statuses() == dict.fromkeys(everyone, "done")
    assert world.place.most_at_once()["*"] == 1
    assert [one.task for one in world.place.events(ev.AttemptStarted)] == list(everyone)
    assert [one.task for one in world.place.events(ev.Landed)] == [*PARTS, "a", "z"]
    assert len(world.place.events(ev.Delegated)) == len(world.place.events(ev.ChildrenDone)) == 1
    assert [one.applied for one in world.place.events(ev.CommandAnswered)] == [True] * 4
    came_home(world)
    asked_once(world, everyone, sum(map(len, turn)))
    world.place.nothing_left()


def came_home(world: World) -> None:
    """One commit has what the parent had begun and what its parts did; nothing is lost, nothing is left."""
    subjects = world.git("log", "--reverse", "--format=%s", "main..daplug/run/p-1").splitlines()
    assert [subject.partition(":")[0] for subject in subjects] == ["a", "z"]
    changed = world.git("show", "--format=", "--name-only", "daplug/run/p-1~1").split()
    assert changed == sorted(["begun.txt", *(f"{name}.txt" for name in PARTS)])
    [freed] = world.place.events(ev.Delegated)
    assert world.git("show", f"{freed.kept}:begun.txt") == "begun\n"
    assert world.git("status", "--porcelain") == "?? plan.json\n"


def asked_once(world: World, names: Iterable[str], calls: int) -> None:
    """The model was paid for one conversation a task; that of the parent had these tool calls, all others one."""
    for name in names:
        file = f"{name}.txt"
        wanted = calls if name == "a" else 1
        assert (len(world.model.begun[file]), world.model.called(file)) == (1, wanted), name
        # An answer to the last of them, unless it was ended before it could ask for that.
        requests = sum(asked.offered for asked in world.model.about(file))
        assert requests - wanted in ({0, 1} if name == "a" else {1}), name


@each("codex", times=3)
def test_it_divides_its_work_as_it_was_told_to(world: World, cli: str) -> None:
    """With the commands of its prompt; codex in its own sandbox, claude with leave for them."""
    divided(world, typing(world, cli), BEGUN, COMMANDS)
    world.show("divides its work", cli, "a")


@each("claude", among=("codex", "claude", "gemini"), times=3)
def test_where_it_can_run_no_program_files_do(world: World, cli: str) -> None:
    """claude may write files, and nothing else, unless it is given more leave: it tries, and is told so.

    That there are more places makes no difference: no part begins before it finds what was begun.
    """
    denied = {f"{AS_TOLD} 1": prompt("never")} if cli == "claude" else {}
    divided(world, by_default(world, cli, parallel=3), BEGUN, denied, FILES)
    world.show("divides its work, by files", cli, "a")


@each()
def test_a_question_is_answered_offline_and_the_next_request_has_it(world: World, cli: str) -> None:
    """The second attempt is told what the first one asked, and what a person said to that."""
    question = "Which word?\nThe specification names good and better.\n"
    world.model.tell("a.txt", {f"{OUTBOX}/needs-input.md": question}, {"a.txt": "better\n"})
    work = task("a", grep("better", "a.txt"), ask=True)
    ran = world.run("run", world.place.write(plan(by_default(world, cli), a=work)))
    assert (ran.code, world.kinds("a"), world.place.statuses()) == (1, ["needs_input"], {"a": "stuck"}), ran
    assert "Which word?" in world.run("task", "why", "a").out
    assert "daplug-supervise task answer a" in world.run("status").out
    asked = len(world.model.asked)
    said = world.run("task", "answer", "a", "The word is better.")
    assert said.code == 0, said
    assert len(world.model.asked) == asked
    ran = world.run("resume")
    assert ran.code == 0, ran
    first, second = world.model.begun["a.txt"]
    assert "The word is better." not in first
    assert "Which word?" in second
    assert "The word is better." in second
    assert world.landed("a") == "better\n"
    assert world.place.task("a").tries == 1, "to ask uses no try"
    world.show("asks a person", cli, "a")


@each(among=("codex", "claude", "gemini"))
def test_what_a_person_rejects_is_done_again_and_lands_once_approved(world: World, cli: str) -> None:
    world.model.tell("a.txt", {"a.txt": "good\n"}, {"b.txt": "better\n"})
    work = task("a", grep("good", "a.txt"), review="human")
    ran = world.run("run", world.place.write(plan(by_default(world, cli), a=work)))
    assert (ran.code, world.place.statuses()) == (1, {"a": "reviewing"}), ran
    said = world.run("task", "reject", "a", "--remark", "Good is not enough: write better.")
    assert said.code == 0, said
    ran = world.run("resume")
    assert (ran.code, world.place.statuses()) == (1, {"a": "reviewing"}), ran
    first, second = world.model.begun["a.txt"]
    assert "Good is not enough" not in first
    assert "Good is not enough: write better." in second
    assert not world.place.events(ev.Landed)
    asked = len(world.model.asked)
    assert world.run("task", "approve", "a").code == 0
    ran = world.run("resume")
    assert (ran.code, world.place.statuses()) == (0, {"a": "done"}), ran
    assert len(world.model.asked) == asked, "who approves pays for nothing more"
    assert (world.landed("a"), world.landed("b")) == ("good\n", "better\n")
    assert [one.task for one in world.place.events(ev.Landed)] == ["a"]
    world.show("rejected, then approved", cli, "a")


@each(among=("codex", "claude", "gemini"))
def test_what_an_agent_may_not_do_is_refused_and_it_is_told_why(world: World, cli: str) -> None:
    """It may divide its work, but not approve it, have a command run, change another task, or stop the run."""
    tries = {
        f"{TYPED} 1": "task approve a",
        f"{TYPED} 2": "task create a-run 'touch /tmp/never' --command",
        f"{TYPED} 3": "task update z --text 'Do nothing.'",
        f"{TYPED} 4": "halt",
    }
    world.model.tell("a.txt", {**tries, "a.txt": "good\n"})
    tasks = {"a": task("a", review="human", delegate=1), "z": task("z", needs=("a",))}
    ran = world.run("run", world.place.write(plan(typing(world, cli), **tasks)))
    assert (ran.code, world.place.statuses()) == (1, {"a": "reviewing", "z": "pending"}), ran
    answers: list[Any] = world.place.events(ev.CommandAnswered)
    assert [(one.verb, one.applied) for one in answers] == [
        ("approve", False),
        ("create", False),
        ("update", False),
        ("halt", False),
    ]
    heard = world.model.latest["a.txt"]
    for answer in answers:
        assert answer.message.split("'")[0] in heard, "it is told why"
    assert world.written("a") == ["good\n"]
    assert len(world.model.begun["a.txt"]) == 1
    world.show("tries what it may not", cli, "a")
