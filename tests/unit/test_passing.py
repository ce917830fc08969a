"""What tasks hand on to later ones, read from the state of a run."""

from __future__ import annotations

from typing import Any

from core_making import Story, plan_of, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import Claim, kept
from daplug_supervisor.core.instructions import passing
from daplug_supervisor.core.instructions.passing import Wisdom, meant, outputs, passes_on, wisdom
from daplug_supervisor.core.instructions.template import references
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result


def claims(story: Story, name: str, done: bool = True, **said: Any) -> None:
    """An attempt hands in a result."""
    story.start(name)
    outcome = Outcome(OutcomeKind.COMPLETED, claim=kept(Claim(**said)))
    story.record(ev.AttemptExited(name, Result(outcome, Exit(0))))
    if done:
        story.record(ev.VerificationPassed(name), ev.Landed(name))
    story.now += 1


def test_outputs_are_those_of_tasks_that_are_done() -> None:
    plan = plan_of(
        {name: task() for name in "abcd"}, saved_outputs={"old": {"x": 1}, "a": {"x": "saved"}, "c": {"y": 2}}
    )
    story = Story(plan)
    claims(story, "a", outputs={"x": "new"})
    claims(story, "b", done=False, outputs={"x": "not yet"})
    story.finish("d")
    found = outputs(
        story.run,
        references(
            "${a.outputs.x} ${b.outputs.x} ${c.outputs.y} ${d.outputs.x} ${old.outputs.x} ${no.outputs.x}"
        ),
    )
    assert found == {"a": {"x": "new"}, "c": {"y": 2}, "d": {}, "old": {"x": 1}}


def test_what_is_meant_in_the_text_of_a_task() -> None:
    named = references("${a.outputs.x} ${data.net.outputs.id}")
    assert meant(plan_of(["a"]), ()) == ()
    assert meant(plan_of(["a"]), named) == named[:1], (
        "nobody hands on anything: the second is of some other program"
    )
    assert meant(plan_of({"a": task(outputs=("x",))}), named) == named
    assert meant(plan_of(["b"], saved_outputs={"a": {}}), named) == named
    assert [passes_on(one) for one in (plan_of(["a"]), plan_of({"a": task(outputs=("x",))}))] == [False, True]


def test_wisdom_is_the_newest_first_of_what_is_done() -> None:
    story = Story(plan_of(["a", "b", "c", "d"]))
    claims(story, "b", learnings=("first\nthing", "second"), issues=("open",))
    claims(story, "a", learnings=("third",), decisions=("so\r\n## it is",))
    claims(story, "c", done=False, learnings=("not proven",))
    story.finish("d")
    found = wisdom(story.run)
    assert found == Wisdom("a: third\nb: first thing\nb: second", "b: open", "a: so ## it is")
    assert (bool(found), bool(Wisdom()), bool(Wisdom(decisions="x"))) == (True, False, True)


def test_wisdom_is_bounded() -> None:
    names = [f"t{number}" for number in range(40)]
    story = Story(plan_of(names))
    for name in names:
        claims(story, name, learnings=("x" * 5000,))
    lines = wisdom(story.run).learnings.splitlines()
    assert lines[0].startswith("t39: xxx")
    assert lines[-1] == "(older ones are left out)"
    assert sum(map(len, lines)) < passing.MOST_WISDOM + 100
    assert all(len(line) <= 1001 for line in lines)
