"""What agents may say while they run, through their outboxes: dividing their work, and questions to people."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from cli import (
    HOLD,
    MARKING,
    PATIENCE,
    PROGRAM,
    SOON,
    STANDIN,
    Place,
    finish,
    kill,
    opened,
    plan_of,
    sh,
    until,
)
from landings import identified
from repositories import git, new_repository
from sandboxes import program, sandboxed

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion, Plan, Provider, Retry, Task
from daplug_supervisor.core.results import OutcomeKind

place = pytest.fixture(opened)

ONE = {"p": Provider(worker="command", parallel=1)}
TWO = [("create", True)] * 2
SAY = f"{shlex.quote(PROGRAM)} task "
PUT = """put() {
  cat > "$DAPLUG_OUTBOX/commands/.new" && mv "$DAPLUG_OUTBOX/commands/.new" "$DAPLUG_OUTBOX/commands/$1.json"
}
"""
"""A shell function that gives a command by a plain file, as the instructions say."""

HEARD = 'until [ -e "$DAPLUG_OUTBOX/answers/{0}.json" ]; do sleep 0.02; done; '
LINGER = "sleep 60"


def agents(place: Place, story: dict[str, list[dict[str, Any]]], **tasks: Task) -> Plan:
    """A plan for agents of one slot that do what a story says."""
    (place.home / "story.json").write_text(json.dumps(story))
    place.environ["DAPLUG_TEST_STORY"] = str(place.home)
    place.environ["DAPLUG_EXECUTOR"] = str(STANDIN)
    provider = Provider(model="codex", parallel=1)
    return plan_of(tasks, {"p": provider})


def agent(text: str = "Do it.", *needs: str, **more: Any) -> Task:
    return Task(instructions=text, provider="p", needs=needs, **{"grace": 0.5, "retry": SOON, **more})


def repository_of(place: Place) -> Path:
    place.target.rmdir()
    return identified(new_repository(place.target))


def order(place: Place) -> list[str]:
    """Which agents began, in that order."""
    return [line.split()[0] for line in (place.home / "starts").read_text().splitlines()]


def prompt(place: Place, task: str, number: int = 1) -> str:
    return (place.state / "runs" / "p-1" / task / str(number) / "prompt.md").read_text()


def answers(place: Place) -> list[ev.CommandAnswered]:
    return place.events(ev.CommandAnswered)


def kinds(place: Place, task: str) -> list[str]:
    return [str(past.result.outcome.kind) for past in place.task(task).past]


# --- dividing the work


@pytest.mark.parametrize("how", ["commands", "files"])
def test_an_agent_that_does_what_it_is_told_divides_its_work(place: Place, how: str) -> None:
    """With one slot: what it hands over to, one after the other, then what waits for it."""
    plan = agents(
        place,
        {"a": [{"divide": how, "linger": True}]},
        a=agent(delegate=1, accept=(Criterion("grep -q a-ui starts.txt"),)),
        b=agent("Then this.", "a"),
    )
    (place.target / "starts.txt").symlink_to(place.home / "starts")
    place.environ["PATH"] = (
        f"{Path(PROGRAM).parent}:{place.environ['PATH']}" if how == "commands" else "/usr/bin:/bin"
    )
    ran = place.run(place.write(plan))
    assert ran.code == 0, ran
    assert order(place) == ["a", "a-db", "a-api", "a-ui", "b"]
    assert place.most_at_once()["*"] == 1
    assert [(one.verb, one.applied) for one in answers(place)] == [("create", True)] * 3 + [
        ("delegate", True)
    ]
    assert kinds(place, "a") == ["delegated", "completed"]
    assert len(place.events(ev.ChildrenDone, task="a")) == 1
    assert place.folded().spec("a-api").parent == "a"
    assert "What to do" in prompt(place, "a-db")
    said = prompt(place, "a")
    assert ("\ndaplug-supervise task create a-db " in said) == (how == "commands")
    assert (" -m daplug_supervisor task create a-db " in said) == (how == "files")
    for other in ("a-db", "b"):
        assert "Dividing" not in prompt(place, other), "only where the plan says so"
    assert not (place.state / "outbox").exists()
    place.nothing_left()


def delegating(how: str) -> str:
    """A shell line that creates two parts and delegates; `outside` is what it must not be able to write."""
    if how == "commands":
        return (
            f"set -e; {SAY}list --json > list.json; {SAY}create a-1 'echo one >> starts' --command; "
            f"{SAY}create a-2 'echo two >> starts' --command --blocked-by a-1; {SAY}why a-2 > why.txt; "
            f"{SAY}update --status delegated; {LINGER}"
        )
    one = {"verb": "create", "new": [{"id": "a-1", "text": "echo one >> starts", "command": True}]}
    two = {
        "verb": "create",
        "new": [{"id": "a-2", "text": "echo two >> starts", "command": True, "needs": ["a-1"]}],
    }
    files = (json.dumps(one), json.dumps(two), '{"verb": "delegate"}')
    return PUT + "".join(f"put {number} <<'X'\n{text}\nX\n" for number, text in enumerate(files, 1)) + LINGER


@pytest.mark.parametrize(("how", "worktree"), [("commands", True), ("files", False)])
def test_in_a_sandbox_that_may_only_write_where_it_works_it_delegates_too(
    place: Place, how: str, *, worktree: bool
) -> None:
    if not program():
        pytest.skip("bubblewrap is not installed, or may make no namespaces here")
    repository = repository_of(place)
    outside = place.home / "outside"
    where = f"{repository}/.worktrees/p-1-a" if worktree else str(repository)
    line = f"touch {outside} && exit 9; {delegating(how)}"
    own: dict[str, Any] = {"provider": "p", "delegate": 1, "worktree": worktree, "grace": 0.5, "retry": SOON}
    words = [] if worktree else ["--state-dir", str(place.home / "state")]
    place.state = place.state if worktree else place.home / "state"
    plan = plan_of({"a": Task(command=sandboxed(line, where), **own)}, ONE)
    ran = place.run(place.write(plan), *words)
    assert ran.code == 0, ran
    assert not outside.exists()
    assert [(one.verb, one.applied) for one in answers(place)] == [*TWO, ("delegate", True)]
    assert place.statuses() == {"a": "done", "a-1": "done", "a-2": "done"}
    assert kinds(place, "a") == ["delegated", "completed"]
    if worktree:
        listed = json.loads(git(repository, "show", "daplug/run/p-1:list.json"))
        assert "a" in str(listed), "what can only be read is read"
    else:
        assert place.lines() == ["one", "two"]
    place.nothing_left()


def test_a_part_belongs_to_the_task_that_creates_it_unless_it_says_otherwise(place: Place) -> None:
    line = (
        f"{SAY}create a-1 'true' --command; {SAY}create a-2 'true' --command --parent a-1; "
        f"{SAY}create a-3 'true' --command --parent other; {SAY}create a-4 'true' --command --parent a-2"
    )
    tasks = {"a": sh(f"{line}; true", delegate=2), "other": sh("true", "a")}
    assert place.run(place.write(plan_of(tasks, ONE))).code == 0
    run = place.folded()
    assert {name: spec.parent for name, spec in run.plan.tasks.items()} == {
        "a": None, "other": None, "a-1": "a", "a-2": "a-1",
    }  # fmt: skip
    refused = [one.message for one in answers(place) if not one.applied]
    assert "may create parts of itself only" in refused[0]
    assert "may not delegate" in refused[1], "no deeper than the plan says"


def test_without_its_environment_a_command_knows_its_task_by_the_worktree(place: Place) -> None:
    repository = repository_of(place)
    bare = f"env -i PATH=/usr/bin:/bin HOME={place.home} {SAY}"
    line = (
        f"mkdir -p deep && cd deep && {bare}create a-1 'true' --command && {bare}list --ready > ../ready && "
        f"{bare}update --status delegated && {LINGER}"
    )
    (repository / "ready").touch()
    ran = place.run(place.write(plan_of({"a": sh(line, delegate=1, worktree=True, land=False)}, ONE)))
    assert ran.code == 0, ran
    assert place.folded().spec("a-1").parent == "a"
    assert [(one.verb, one.applied) for one in answers(place)] == [("create", True), ("delegate", True)]


def test_where_it_is_not_switched_on_nothing_is_divided(place: Place) -> None:
    line = f"{SAY}create x 'true' --command > said 2>&1; {SAY}update --status delegated >> said 2>&1; true"
    ran = place.run(place.write(plan_of({"a": sh(line)}, ONE)))
    assert ran.code == 0, ran
    said = (place.target / "said").read_text()
    assert said.count("task a may not delegate") == 2
    assert list(place.folded().tasks) == ["a"]


def test_a_command_given_on_the_way_out_still_counts(place: Place) -> None:
    """The agent ends at once, with success even; nobody has seen the files by then."""
    line = delegating("files").replace(LINGER, "exit 0")
    ran = place.run(place.write(plan_of({"a": sh(line, delegate=1)}, ONE)))
    assert ran.code == 0, ran
    assert place.lines() == ["one", "two"]
    assert kinds(place, "a") == ["delegated", "completed"]


@pytest.mark.parametrize("ends", [True, False])
def test_what_is_asked_for_while_no_supervisor_lives_is_done_by_the_next(place: Place, *, ends: bool) -> None:
    line = (
        MARKING
        + HOLD
        + delegating("files").replace(LINGER, "touch asked; exit 0" if ends else f"touch asked; {LINGER}")
    )
    process = place.start(place.write(plan_of({"a": sh(line, delegate=1)}, ONE)))
    place.started("a")
    kill(process)
    place.go()
    until((place.target / "asked").exists, "the agent has asked")
    if ends:
        until(lambda: not place.processes(attempts=True), "its end")
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    assert place.lines()[1:] == ["one", "two"]
    assert [(one.verb, one.applied) for one in answers(place)] == [("create", True)] * 2 + [
        ("delegate", True)
    ]


def test_an_agent_that_was_to_be_ended_is_ended_after_a_restart(place: Place) -> None:
    """It does not hear the first request; the supervisor dies before the second one."""
    line = f"trap '' TERM; {delegating('files').replace(LINGER, '')} while :; do sleep 0.05; done"
    process = place.start(place.write(plan_of({"a": sh(line, delegate=1, grace=60)}, ONE)))
    until(lambda: place.events(ev.DelegationRequested), "delegated")
    kill(process)
    assert place.processes(attempts=True), "it works on"
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    assert place.lines() == ["one", "two"]
    assert kinds(place, "a") == ["delegated", "completed"]
    place.nothing_left()


def test_the_parts_are_told_of_when_the_task_itself_runs_again(place: Place) -> None:
    plan = agents(
        place,
        {"a": [{"divide": "files", "linger": True}, {"write": {"whole": ""}}]},
        a=agent(delegate=1, accept=(Criterion("test -e whole"),)),
    )
    ran = place.run(place.write(plan))
    assert ran.code == 0, ran
    assert order(place) == ["a", "a-db", "a-api", "a-ui", "a"]
    said = prompt(place, "a", 3)
    assert "## Parts of this task" in said
    assert "a-db: done | What to do ..." in said
    assert "1 of 1 did not hold" in said


# --- hostile


def test_whatever_lies_there_is_refused_and_disturbs_nothing(place: Place) -> None:
    secret = place.home / "secret.json"
    secret.write_text('{"verb": "create", "new": [{"id": "stolen", "text": "x"}]}')
    victim = place.home / "victim"
    victim.write_text("whole")
    create = '{"verb": "create", "new": [{"id": "%s", "text": "true"%s}]}'
    files = {
        "garbage": "not JSON {", "list": "[1]", "deep": "[" * 20000, "verb": '{"verb": "destroy"}',
        "field": '{"verb": "halt", "sudo": true}', "surrogate": '{"verb": "halt", "reason": "\\ud800"}',
        "huge": '{"verb": "delegate", "reason": "%s"}' % ("x" * (64 << 10)),
        "approve": '{"verb": "approve", "task": "other"}', "skip": '{"verb": "skip", "task": "other"}',
        "halt": '{"verb": "halt"}', "resume": '{"verb": "resume"}', "remove": '{"verb": "remove", "task": "other"}',
        "pause": '{"verb": "pause_provider", "provider": "p"}',
        "person": '{"verb": "update", "task": "other", "sender": "", "edit": {"priority": 5}}',
        "sender": '{"verb": "update", "task": "other", "sender": "other", "edit": {"priority": 5}}',
        "run": '{"verb": "create", "run": "q-7", "sender": "", "new": [{"id": "a-ok", "text": "true"}]}',
        "foreign": create % ("a-x", ', "parent": "other"'), "model": create % ("a-y", ', "model": "dear"'),
        "shell": create % ("a-z", ', "command": true'), "name": create % ("../x", ""), "taken": create % ("OTHER", ""),
        "provider": create % ("a-w", ', "provider": "q"'), "accept": create % ("a-v", ', "accept": [{"run": "x"}]'),
        "cycle": create % ("a-u", ', "needs": ["a-u"]'), "itself": '{"verb": "delegate", "task": "other"}',
    }  # fmt: skip
    box = place.target / "put"
    box.mkdir()
    for name, text in files.items():
        (box / f"{name}.json").write_text(text)
    line = (
        f'cd "$DAPLUG_OUTBOX/commands"; mkfifo pipe.json; ln -s {secret} link.json; mkdir -p folder.json/x; '
        f"mkfifo fifo; touch 'odd name.json' .hidden.json plain.txt; cp {box}/* .; "
        f"ln -s {victim} ../answers/run.json; ln -s {place.home} ../answers/halt.json; "
        f"cd - > /dev/null; touch asked; {HOLD}"
    )
    plan = agents(place, {}, other=agent("Other.", "a"), a=agent(f"STUB: sh {place.home}/line", delegate=1))
    (place.home / "line").write_text(f"#!/bin/sh\n{line}\n")
    (place.home / "line").chmod(0o755)
    process = place.start(place.write(plan))
    asked = len(files) + 3
    until(lambda: len(answers(place)) == asked, f"{asked} answers", 2 * PATIENCE)
    place.go()
    assert finish(process).code == 0
    found = {one.id.partition("-")[2]: one for one in answers(place)}
    assert {name for name, one in found.items() if one.applied} == {"run"}
    assert set(found) == {*files, "pipe", "link", "folder"}
    run = place.folded()
    assert set(run.tasks) == {"a", "other", "a-ok"}
    assert (run.spec("other").priority, run.spec("a-ok").parent) == (0, "a")
    assert place.statuses() == {"a": "done", "other": "done", "a-ok": "done"}
    for name in ("approve", "skip", "halt", "resume", "remove", "pause"):
        assert "that is for people" in found[name].message, name
    assert "a command, or a criterion, would run outside" in found["shell"].message
    assert all("not a regular file" in found[name].message for name in ("pipe", "link", "folder"))
    assert victim.read_text() == "whole"


def test_there_is_an_end_to_how_much_one_attempt_may_ask_for(place: Place) -> None:
    line = (
        'for i in $(seq 1 700); do echo \'{"verb": "halt"}\' > "$DAPLUG_OUTBOX/commands/$i.json"; done; '
        f"touch asked; {HOLD}"
    )
    process = place.start(place.write(plan_of({"a": sh(line, delegate=1), "b": sh("true")})))
    until((place.target / "asked").exists, "all asked for")
    until(lambda: len(answers(place)) == 200, "200 answers", 2 * PATIENCE)
    place.go()
    ran = finish(process)
    assert ran.code == 0, ran
    assert len(answers(place)) == 200
    assert place.statuses() == {"a": "done", "b": "done"}
    assert ran.err.count("more than 200 commands") <= 1


def test_the_same_file_twice_does_one_thing(place: Place) -> None:
    put = 'put() { echo "$2" > "$DAPLUG_OUTBOX/n" && mv "$DAPLUG_OUTBOX/n" "$DAPLUG_OUTBOX/commands/$1.json"; }; '
    new = '{"verb": "create", "new": [{"id": "a-1", "text": "true", "command": true}]}'
    bad = '{"verb": "halt"}'
    line = put
    for name, text in (("1", new), ("2", bad)):
        taken = f'until [ ! -e "$DAPLUG_OUTBOX/commands/{name}.json" ]; do sleep 0.02; done; '
        line += f"put {name} '{text}'; {HEARD.format(name)}{taken}"
        line += (
            f'cp "$DAPLUG_OUTBOX/answers/{name}.json" first-{name}; rm "$DAPLUG_OUTBOX/answers/{name}.json"; '
        )
        line += f"put {name} '{text}'; {HEARD.format(name)}{taken}"
        line += f'cp "$DAPLUG_OUTBOX/answers/{name}.json" second-{name}; '
    ran = place.run(place.write(plan_of({"a": sh(line, delegate=1)}, ONE)))
    assert ran.code == 0, ran
    assert [(one.verb, one.applied) for one in answers(place)] == [("create", True), ("halt", False)]
    for name in ("1", "2"):
        first, second = (
            json.loads((place.target / f"{turn}-{name}").read_text()) for turn in ("first", "second")
        )
        assert first == second
        assert (first["id"], first["applied"]) == (name, name == "1")


# --- questions, and what people say


def test_a_question_waits_for_a_person_and_its_answer_reaches_the_next_agent(place: Place) -> None:
    question = "Which of the two?\n\x1b[2J`a` or b\n"
    plan = agents(
        place,
        {"a": [{"ask": question}, {"write": {"done": ""}}]},
        a=agent(ask=True, accept=(Criterion("true"),), retry=Retry(attempts=1)),
        b=agent("Then this.", "a"),
    )
    assert place.run(place.write(plan)).code == 1
    task = place.task("a")
    assert (str(task.status), kinds(place, "a"), task.tries) == ("stuck", ["needs_input"], 0)
    assert task.reason == "Which of the two? \\x1b[2J`a` or b"
    kept = place.state / "runs" / "p-1" / "a" / "1" / "needs-input.md"
    assert kept.read_text() == question
    why = place.run("task", "why", "a").out
    assert "Which of the two?" in why
    assert "\x1b" not in why
    answered = place.run("task", "answer", "a", "The second.\nIt is `b`.")
    assert answered.code == 0, answered
    assert place.run("plan.json").code == 0
    assert order(place) == ["a", "a", "b"]
    said = prompt(place, "a", 2)
    people = said.partition("## What people said")[2].partition("\n## ")[0]
    assert "Which of the two?" in people
    assert "The second.\nIt is `b`." in people
    assert "They count as much as the text of the task" in people


def test_a_command_can_ask_too_and_is_handed_the_answer(place: Place) -> None:
    asks = 'echo "Where, $DAPLUG_TASK?" > "$DAPLUG_OUTBOX/needs-input.md"; exit {}'
    line = 'if [ -n "$DAPLUG_REMARKS" ]; then cp "$DAPLUG_REMARKS" "told-$DAPLUG_TASK"; else {}; fi'
    assert place.run(place.write(plan_of({"a": sh(line.format(asks.format(3)), ask=True)}, ONE))).code == 1
    assert (kinds(place, "a"), place.task("a").reason) == (["needs_input"], "Where, a?")
    assert place.run("task", "answer", "a", "Here.").code == 0
    assert place.run("plan.json").code == 0
    [told] = json.loads((place.target / "told-a").read_text())
    assert (told["question"], told["text"], told["of"]) == ("Where, a?", "Here.", "answer")


ODD = {
    "link": ("ln -s /etc/hostname $Q", "completed"),
    "pipe": ("mkfifo $Q", "completed"),
    "folder": ("mkdir $Q", "completed"),
    "blank": ("printf ' \\n' > $Q", "completed"),
    "huge": ("yes what | head -c 9000000 > $Q", "needs_input"),
    "bytes": ("printf '\\377\\000x\\033]0;y\\007' > $Q", "needs_input"),
}


def test_what_is_no_question_is_none(place: Place) -> None:
    ask = 'Q="$DAPLUG_OUTBOX/needs-input.md"; {}; true'
    tasks = {name: sh(ask.format(line), ask=True) for name, (line, _) in ODD.items()}
    tasks["not-allowed"] = sh(ask.format("echo What? > $Q"), result=True)
    place.run(place.write(plan_of(tasks, ONE)))
    run = place.folded()
    found = {name: str(task.last.outcome.kind) for name, task in run.tasks.items() if task.last}
    assert found == {name: kind for name, (_, kind) in ODD.items()} | {"not-allowed": "no_result"}
    for task in run.tasks.values():
        assert len(task.reason) <= 1000
        assert task.reason.isprintable()


def test_a_question_beside_a_result_keeps_the_result(place: Place) -> None:
    line = (
        'echo \'{"status": "success"}\' > "$DAPLUG_RESULT"; echo What now? > "$DAPLUG_OUTBOX/needs-input.md"'
    )
    assert place.run(place.write(plan_of({"a": sh(line, ask=True, result=True)}, ONE))).code == 1
    last = place.task("a").last
    assert last is not None
    assert (last.outcome.kind, last.outcome.detail) == (OutcomeKind.NEEDS_INPUT, "What now?")
    assert "result" in (last.outcome.claim or {})


def test_what_a_reviewer_says_reaches_the_next_agent(place: Place) -> None:
    plan = agents(place, {}, a=agent(review="human"))
    assert place.run(place.write(plan)).code == 1
    rejected = place.run("task", "reject", "a", "--remark", "Too short. Tell me more.")
    assert rejected.code == 0, rejected
    assert place.run("plan.json").code == 1
    said = prompt(place, "a", 2)
    assert "## What people said" in said
    assert "```text\nToo short. Tell me more.\n```" in said
