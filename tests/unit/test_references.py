"""What a plan may say of outputs of other tasks: checked when it is loaded, with the place and a remedy."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.plan import Commit, Criterion, Hooks, Plan, Provider, Task
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats import references
from daplug_supervisor.formats.findings import Finding, dotted
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.formats.prompts import files as prompts

REF = "${a.outputs.x}"


def plan(
    *, saved: dict[str, dict[str, Any]] | None = None, hooks: Hooks | None = None, **tasks: Task
) -> Plan:
    return Plan("p", tasks, {"q": Provider()}, saved_outputs=saved or {}, hooks=hooks or Hooks())


def task(*needs: str, text: str | None = None, **more: Any) -> Task:
    command = None if text else ("x",)
    return Task(instructions=text, command=command, needs=needs, provider="q", **more)


def problems(found: Plan) -> list[tuple[str, str, str]]:
    return [(dotted(one.path), one.message, one.remedy) for one in references.check(found)]


A = task(outputs=("x",))


@pytest.mark.parametrize(
    "more",
    [
        {"inputs": {"i": REF}},
        {"inputs": {"i": "$${nobody.outputs.at-all} <${ a.outputs.x }>"}},
        {"text": f"Do it with {REF}."},
        {
            "env": {"E": "${HOME}"},
            "setup": ("sh", "-c", "${x%.*}"),
            "accept": (Criterion("$${a.outputs.x}"),),
        },
    ],
)
def test_what_is_allowed(more: dict[str, Any]) -> None:
    assert problems(plan(a=A, b=task("a", **more))) == []


def test_a_task_that_comes_long_before_need_not_be_named_again() -> None:
    between: dict[str, Any] = {f"m{n}": task(f"m{n - 1}" if n else "a") for n in range(50)}
    assert problems(plan(a=A, **between, b=task("m49", inputs={"i": REF}))) == []


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"setup": ("sh", "-c", REF)}, "setup.2"),
        ({"accept": (Criterion("true"), Criterion(REF))}, "accept.1.run"),
        ({"accept": (Criterion(("cat", REF)),)}, "accept.0.run.1"),
        ({"env": {"E": f"x{REF}"}}, "env.E"),
        ({"commit": Commit(message=REF)}, "commit.message"),
        ({"commit": Commit(when=REF)}, "commit.when"),
        ({"commit": Commit(files=("y", REF))}, "commit.files.1"),
    ],
)
def test_no_value_gets_into_a_command(more: dict[str, Any], path: str) -> None:
    [(where, message, remedy)] = problems(plan(a=A, b=task("a", **more)))
    assert where == f"tasks.b.{path}"
    assert message == f"'{REF}': what another task says cannot be put into a command"
    assert "$DAPLUG_INPUT_<NAME>" in remedy


def test_nor_into_a_hook() -> None:
    found = problems(plan(a=A, hooks=Hooks(post_task=("x", REF), post_run=(REF,))))
    assert [where for where, _, _ in found] == ["hooks.post_task.1", "hooks.post_run.0"]


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("${z.outputs.x}", "unknown task 'z'", "known: a, b, saved; to have it as text, write $$"),
        ("${saved.outputs.y}", "saved hands on no y", "known: s"),
        ("${a.outputs.xx}", "a hands on no xx", "did you mean x?; or add outputs: [xx] to a"),
        ("${b.outputs.x}", "a task cannot be given its own outputs", "name another task"),
        ("${a.outputs}", "is not written as ${task.outputs.name}", "to have it as text, write $$"),
        ("${a.outputs.x.y}", "is not written as", "write $$"),
    ],
)  # fmt: skip
def test_what_it_refers_to_must_be_there(text: str, words: str, remedy: str) -> None:
    saved = {"saved": {"s": 1}}
    for more, path in (
        ({"inputs": {"i": f"- {text}"}}, "inputs.i"),
        ({"text": f"See {text}"}, "instructions"),
    ):
        [(where, message, told)] = problems(plan(saved=saved, a=A, b=task("a", **more)))
        assert (where, words in message, remedy in told) == (f"tasks.b.{path}", True, True), (message, told)


def test_what_was_saved_before_needs_nothing() -> None:
    saved = {"gone": {"s": 1}, "a": {"old": 2}}
    text = "${gone.outputs.s} ${a.outputs.old}"
    assert problems(plan(saved=saved, a=A, b=task("a", text=text))) == []


def test_the_other_task_must_come_before() -> None:
    found = problems(plan(a=A, c=task(), b=task("c", inputs={"i": REF, "j": REF})))
    assert found == [
        (f"tasks.b.inputs.{name}", f"'{REF}': a need not be done by then", "add a to needs") for name in "ij"
    ]


def test_tasks_in_a_circle_are_told_so_and_no_more() -> None:
    assert problems(plan(a=A, b=task("c", inputs={"i": REF}), c=task("b"))) == []


def test_a_plan_may_speak_of_other_programs() -> None:
    """Terraform writes such things too; who hands on nothing means nothing by it."""
    text = "Use ${data.net.outputs.id} here."
    assert problems(plan(a=task(), b=task(text=text))) == []
    assert len(problems(plan(a=A, b=task(text=text)))) == 1
    assert len(problems(plan(a=task(), b=task(inputs={"i": text})))) == 1, "an input is nothing else"
    assert len(problems(plan(a=task(), b=task("a", text=REF)))) == 1, "nor is the name of a task"


def test_names_that_would_be_the_same() -> None:
    [(where, message, _)] = problems(plan(a=task(inputs={"a-b": "1", "a_B": "2", "c": "3"})))
    assert (where, "the same variable, DAPLUG_INPUT_A_B" in message) == ("tasks.a.inputs.a_B", True)
    assert problems(plan(a=task(outputs=("x", "y", "x"))))[0][:2] == (
        "tasks.a.outputs",
        "names an output twice",
    )


def test_the_place_in_the_file_is_told() -> None:
    text = "tasks:\n  a: {command: [x], outputs: [path]}\n  b:\n    command: [y]\n    inputs:\n"
    text += "      i: ${a.outputs.pat}\n"
    with pytest.raises(PlanError) as caught:
        planyaml.loads(text.encode(), file="x.yaml", default_name="x", processors=1)
    found: list[Problem] = caught.value.problems
    assert [(one.line, one.field) for one in found] == [(6, "tasks.b.inputs.i")] * 2
    assert "did you mean path?" in found[0].remedy or "did you mean path?" in found[1].remedy


def test_prompt_files_too(tmp_path: Path) -> None:
    for name, text in (
        ("one", "See ${a.outputs.x}."),
        ("two", "See ${a.outputs.no} and ${z.outputs.x}"),
        ("three", "${HOME}"),
    ):
        (tmp_path / f"{name}.md").write_text(text)
    one, two, three = (
        Task(prompt=f"{name}.md", provider="q", needs=("a",)) for name in ("one", "two", "three")
    )
    found = prompts.problems(plan(a=A, b=one, c=two, d=three), tmp_path)
    assert len(found) == 1
    assert found[0].startswith("task c: its prompt says '${a.outputs.no}': a hands on no no (")
    assert prompts.problems(plan(a=A, b=one, d=three), tmp_path) == []


@pytest.mark.parametrize("producers", [1, 3000])
def test_fifty_thousand_tasks(producers: int) -> None:
    """A chain in which each task is given something by one that is far before it."""
    tasks = {
        f"t{n}": {
            "command": ["x"], "needs": [f"t{n - 1}"] if n else [], "outputs": ["a"],
            "inputs": {"i": f"${{t{n % producers}.outputs.a}}"} if n > producers else {},
        }
        for n in range(20_000)
    }  # fmt: skip
    made = planyaml.loads(
        json.dumps({"tasks": tasks}).encode(), file="x.json", default_name="x", processors=1
    )
    began = time.process_time()
    assert list(references.check(made)) == []
    assert time.process_time() - began < 5


def test_those_who_use_none_of_it_pay_nothing() -> None:
    tasks: dict[str, Any] = {f"t{n}": task() for n in range(50_000)}
    made = plan(**tasks)
    began = time.process_time()
    found: list[Finding] = list(references.check(made))
    assert found == []
    assert time.process_time() - began < 0.5
