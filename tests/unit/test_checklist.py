"""A PLAN.md as a plan: what is a task of it, what they wait for, what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from todo_making import EXAMPLE, FINALIZE, plan, project, read

from daplug_supervisor import load_plan
from daplug_supervisor.core.plan import Commit, Criterion, Origin, Plan, Provider, Retry, Task
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats import load_foreign
from daplug_supervisor.formats.todos import checklist


def wrong(folder: Path, text: str | bytes, **options: object) -> list[str]:
    with pytest.raises(PlanError) as error:
        read(folder, text, **options)
    return [str(one).replace(str(folder), "") for one in error.value.problems]


def test_the_tasks_of_the_example(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert (found.name, found.on_failure) == ("three-parts", "halt")
    assert found.origin == Origin("checklist", ".dev/specs/three-parts/PLAN.md")
    assert {name: task.needs for name, task in found.tasks.items()} == {
        "todo-1": (),
        "todo-2": ("todo-1",),
        "todo-3": (),
        "residual-commit": ("todo-1", "todo-2", "todo-3"),
        "report": ("residual-commit",),
    }
    first, second, third = (found.tasks[f"todo-{number}"] for number in (1, 2, 3))
    assert (first.title, first.provider, first.result, first.fix_rounds) == ("Config setup", "codex", True, 3)
    assert first.accept == (
        Criterion(("test", "-e", "./config/app.json"), name="File exists: ./config/app.json"),
        Criterion("grep -q service config/app.json", name="It names the service"),
        Criterion(
            "python3 -m json.tool config/app.json",
            name="python3 -m json.tool config/app.json → valid JSON",
            category="static",
        ),
        Criterion(
            "python3 -m app --version",
            name='python3 -m app --version prints "1.0"',
            expect_output="1.0",
            category="runtime",
        ),
    )
    assert first.commit == Commit("feat(config): add it", ("config/*", "src/config.py"))
    assert (first.outputs, second.inputs) == (
        ("config_path",),
        {"config_path": "${todo-1.outputs.config_path}"},
    )
    assert second.commit is None
    assert third.commit == Commit("feat: utils", ("src/utils.py",), "test -s src/utils.py")
    assert (third.fix_rounds, third.retry) == (0, Retry(1))
    assert found.tasks["report"].command == FINALIZE.report
    assert set(found.providers) == {"codex", "local"}


def test_what_a_worker_is_told(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found.tasks["todo-1"].instructions == (
        "## TASK\n\nTODO 1: Config setup\n\nSteps:\n\n- [ ] Write the file\n- [ ] File exists\n\n"
        "## EXPECTED OUTCOME\n\n"
        "### Outputs\n\n- `config_path` (file): `./config/app.json` - The configuration\n\n"
        "### What has to hold as well\n\n- Reads well\n\n"
        "## MUST NOT DO\n\n- Do not touch the API\n"
        "- Do not change files other than `config/*`, `src/config.py`, and what these cannot do without\n"
        "- Do not edit PLAN.md or its context folder: they are kept for you\n\n"
        "## CONTEXT\n\n### References\n\n- `src/types.py:10-30` - What it holds\n"
    )
    assert "## MUST DO\n\n- Only look, and say what you found" in (found.tasks["todo-3"].instructions or "")
    more = plan(tmp_path, "### [ ] TODO 1:\nFirst.\n**Risk**: LOW\n**Required Tools**: `gh`\n").tasks[
        "todo-1"
    ]
    assert more.title == "TODO 1"
    assert (more.instructions or "").startswith(
        "## TASK\n\nTODO 1\n\nFirst.\n\n**Risk**: LOW\n\n## REQUIRED TOOLS\n\n`gh`\n\n"
    )


def test_a_pull_request_has_two_steps_more_and_its_commits_are_pushed(tmp_path: Path) -> None:
    found = plan(tmp_path, pr=7)
    assert {name: task.needs for name, task in found.tasks.items()} == {
        "state-begin": (),
        "todo-1": ("state-begin",),
        "todo-2": ("todo-1",),
        "todo-3": ("state-begin",),
        "residual-commit": ("todo-1", "todo-2", "todo-3"),
        "state-complete": ("residual-commit",),
        "report": ("state-complete",),
    }
    assert [name for name, task in found.tasks.items() if task.commit and task.commit.push] == [
        "todo-1",
        "todo-3",
    ]
    assert (found.tasks["state-begin"].retry, found.tasks["state-begin"].command) == (
        Retry(1),
        FINALIZE.begin,
    )
    assert plan(tmp_path, "### [x] TODO 1: a\n", pr=7).tasks["residual-commit"].needs == ("state-begin",)


def test_only_what_is_not_ticked_is_left_to_do(tmp_path: Path) -> None:
    project(tmp_path)
    outputs = tmp_path / ".dev/specs/three-parts/context/outputs.json"
    outputs.parent.mkdir()
    outputs.write_text('{"todo-1": {"config_path": "made"}, "todo-3": {"x": 1}}')
    found = read(tmp_path, EXAMPLE.replace("[ ] TODO 1", "[x] TODO 1"))
    assert {name: task.needs for name, task in found.plan.tasks.items()} == {
        "todo-2": (),
        "todo-3": (),
        "residual-commit": ("todo-2", "todo-3"),
        "report": ("residual-commit",),
    }
    assert found.plan.saved_outputs == {"todo-1": {"config_path": "made"}}
    assert found.notes == ("1 of 3 TODOs are ticked, and left out",)
    done = read(tmp_path, EXAMPLE.replace("### [ ] TODO", "### [x] TODO"))
    assert list(done.plan.tasks) == ["residual-commit", "report"]


def test_a_value_that_is_missing_never_reaches_a_worker(tmp_path: Path) -> None:
    ticked = EXAMPLE.replace("[ ] TODO 1", "[x] TODO 1")
    place = "/.dev/specs/three-parts/PLAN.md"
    missing = (
        "TODO 2: TODO 1 is ticked, but outputs.json has no config_path of it "
        '(add it: "todo-1": {"config_path": ...}, or untick TODO 1)'
    )
    assert wrong(tmp_path, ticked) == [f"{place}:8:1: {missing}"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{", "is not JSON: Expecting property name enclosed in double quotes"),
        (b"[" * 100_000, "is not JSON: "),
        (b"[]", "is no JSON object (mend it, or put {} into it)"),
        (b'{"todo-1": 1}', "'todo-1' is no object of names and values (mend it)"),
        (b'{"todo-1": {"a": NaN}}', "is not JSON: NaN is no number"),
        (b"\xff", "is not JSON: "),
    ],
)
def test_outputs_that_cannot_be_read_are_told(tmp_path: Path, data: bytes, told: str) -> None:
    text = "### [x] TODO 1: a\n"
    outputs = project(tmp_path, text).parent / "context/outputs.json"
    outputs.parent.mkdir()
    outputs.write_bytes(data)
    (found,) = wrong(tmp_path, text)
    assert found.startswith(f"/.dev/specs/three-parts/context/outputs.json: {told}")
    assert outputs.read_bytes() == data


def test_a_context_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    text = "### [x] TODO 1: a\n"
    (project(tmp_path, text).parent / "context").symlink_to("/etc")
    assert wrong(tmp_path, text)[0].endswith(
        "is a link, which is not followed (put what it leads to in its place)"
    )


def test_who_works_on_it_and_what_all_todos_have_in_common(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        provider="mine",
        providers={"mine": Provider(model="gpt", fallback=("gemini",))},
        task=Task(worktree=True, timeout=60.0),
    )
    assert set(found.providers) == {"mine", "gemini", "local"}
    assert {
        (task.provider, task.worktree) for name, task in found.tasks.items() if name.startswith("todo")
    } == {("mine", True)}
    assert "unknown provider 'codx' (did you mean codex?)" in wrong(tmp_path, EXAMPLE, provider="codx")[0]


def test_what_is_noted(tmp_path: Path) -> None:
    text = EXAMPLE.replace("| 3 | - | - | work |", "| 3 | the library | - | work |")
    assert read(tmp_path, text).notes == (
        "line 9: 'the library' names no TODO, and is not waited for",
        "TODO 1: 1 of 5 criteria have no command to be run, and are not ticked: Reads well",
        "TODO 1: only the exit code is looked at of: python3 -m json.tool config/app.json → valid JSON",
    )
    many = "### [ ] TODO 1: a\n**Acceptance Criteria**:\n" + "".join(
        f"- [ ] words {number}\n- [ ] `c {number}` → fine\n" for number in range(5)
    )
    assert read(tmp_path, many).notes == (
        "TODO 1: 5 of 10 criteria have no command to be run, and are not ticked: words 0; words 1; words 2 and 2 more",
        "TODO 1: only the exit code is looked at of: c 0 → fine; c 1 → fine; c 2 → fine and 2 more",
    )


def test_a_need_follows_from_an_input_too_and_all_from_all(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        "## Dependency Graph\n| TODO | Requires | Produces |\n|--|--|--|\n| 1 | - | `made` (file) |\n"
        "| Final | all outputs | |\n"
        "### [ ] TODO 1: a\n### [ ] TODO 2: b\n**Inputs**:\n- `x`: `${todo-1.outputs.made}`\n"
        "### [ ] TODO Final: c\n### [x] TODO 3: d\n",
    )
    assert found.tasks["todo-2"].needs == ("todo-1",)
    assert found.tasks["todo-1"].outputs == ("made",)
    assert found.tasks["todo-Final"].needs == ("todo-1", "todo-2")


def test_a_row_that_says_never_and_a_message_that_says_nothing(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        "## Commit Strategy\n| After TODO | Message | Condition |\n|--|--|--|\n| 1 | - | never |\n| 2 | - | |\n"
        "### [ ] TODO 1: a\n### [ ] TODO 2: b\n",
    )
    assert found.tasks["todo-1"].commit is None
    assert found.tasks["todo-2"].commit == Commit("todo-2: b")


def test_everything_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        "## Dependency Graph\n"
        "| TODO | Requires |\n"
        "|--|--|\n"
        "| 9 | - |\n"
        "| 1 | todo-1, todo-8, todo-2.nothing |\n"
        "| 2 | todo-1 |\n"
        "## Commit Strategy\n"
        "| After TODO | Message |\n"
        "|--|--|\n"
        "| 7 | m |\n"
        "### [ ] TODO 1: a\n"
        "**Steps**: `${todo-5.outputs.x}` `${todo-1.outputs.x}` `${todo-2.outputs.}`\n"
        "**Acceptance Criteria**:\n"
        "- [ ] `cat ${todo-2.outputs.made}`\n"
        "- [ ] File exists: `${todo-2.outputs.made}`\n"
        "### [ ] TODO 2: b\n"
        "**Outputs**:\n"
        "- `made`: it\n"
    )
    as_text = "write ${todo-1.outputs.name}, or $$ instead of its $ to have it as text"
    in_command = "what another TODO says cannot be put into a command (write the path itself)"
    assert [one.removeprefix("/.dev/specs/three-parts/PLAN.md:") for one in wrong(tmp_path, text)] == [
        "4:1: there is no TODO 9 (known: TODO 1, TODO 2)",
        "5:1: TODO 1: a TODO cannot require itself (take it out)",
        "5:1: TODO 1: there is no TODO 8 (known: TODO 1, TODO 2)",
        "5:1: TODO 1: TODO 2 hands on no nothing (name it under Outputs there (known: made))",
        "5:1: TODO 1: the TODOs wait for each other: TODO 1 -> TODO 2 -> TODO 1 (take one of these dependencies out)",
        "10:1: there is no TODO 7 (known: TODO 1, TODO 2)",
        "12:1: TODO 1: '${todo-5.outputs.x}': there is no todo-5 (did you mean todo-2?)",
        "12:1: TODO 1: '${todo-1.outputs.x}': a TODO cannot use its own outputs (take it out)",
        f"12:1: TODO 1: '${{todo-2.outputs.}}' is not written as a reference ({as_text})",
        f"14:1: TODO 1: '${{todo-2.outputs.made}}': {in_command}",
        f"15:1: TODO 1: '${{todo-2.outputs.made}}': {in_command}",
    ]


def test_no_more_problems_are_told_than_anybody_reads(tmp_path: Path) -> None:
    text = "### [ ] TODO 1: a\n" + "".join(f"${{todo-9.outputs.x{number}}}\n" for number in range(1500))
    assert len(wrong(tmp_path, text)) == 1000


def test_a_long_cycle_is_shortened(tmp_path: Path) -> None:
    rows = "".join(f"| {number} | {number % 20 + 1} |\n" for number in range(1, 21))
    todos = "".join(f"### [ ] TODO {number}: t\n" for number in range(1, 21))
    (found,) = wrong(tmp_path, f"## Dependency Graph\n| TODO | Requires |\n|--|--|\n{rows}{todos}")
    assert "-> (9 more) (take one" in found


def test_problems_of_the_plan_as_a_whole_have_the_line_of_their_todo(tmp_path: Path) -> None:
    text = "\n### [ ] TODO 1: a\n**Inputs**:\n- `a-b`: 1\n- `a_b`: 2\n"
    assert (
        ":2:1: tasks.todo-1.inputs.a_b: 'a_b' and 'a-b' would be the same variable"
        in wrong(tmp_path, text)[0]
    )
    bad = {"mine": Provider(account="\x1b"), "local": Provider(worker="command")}
    found = wrong(tmp_path, "### [ ] TODO 1: a\n", provider="mine", providers=bad)
    assert found[0].startswith("/.dev/specs/three-parts/PLAN.md: providers.mine.account: ")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"# Nothing\n", ": has no TODO (write one: '### [ ] TODO 1: title')"),
        (b"\n### [ ] TODO 1: a\0b\n", ":2:18: control character '\\x00' (remove it)"),
        (b"### [ ] TODO 1: a\n\x1b[31m\n", ":2:1: control character '\\x1b' (remove it)"),
        (b"### [ ] TODO 1: a\n" + b"x" * (10 << 20), ": is larger than 1,024 KiB (make it smaller, or split it)"),
        (
            b"### [ ] TODO 1: a\n ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8\n",
            ":2:2: holds a GitHub token (leave it in the environment, and name its variable in pass_env)",
        ),
    ],
)  # fmt: skip
def test_texts_that_no_plan_may_have(tmp_path: Path, data: bytes, told: str) -> None:
    assert wrong(tmp_path, data) == [f"/.dev/specs/three-parts/PLAN.md{told}"]


def test_bytes_that_are_not_utf_8_are_borne(tmp_path: Path) -> None:
    text = (
        EXAMPLE.encode()
        .replace(b"Reads well", b"Reads \xe9 `cat x\xe9` well")
        .replace(b"`src/api.py`", b"`\xff`")
    )
    text = text.replace(b"\n### [ ] TODO 3: Utils", b"\n### [ ] TODO 3: \xe9").replace(
        b"### [ ] TODO 2: API", b"### [ ] TODO 2: API\n\n**Steps**: \xe8"
    )
    found = plan(tmp_path, text)
    assert found.tasks["todo-3"].title == "\ufffd"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found


def test_a_file_is_looked_at_before_it_is_read(tmp_path: Path) -> None:
    path = project(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(PlanError, match=r"is not within .*elsewhere .run it from the repository"):
        checklist.read(path, elsewhere, finalize=FINALIZE)
    link = tmp_path / "link.md"
    link.symlink_to(path)
    found = checklist.read(link, tmp_path, finalize=FINALIZE).plan
    assert (found.origin, found.name) == (
        Origin("checklist", ".dev/specs/three-parts/PLAN.md"),
        "three-parts",
    )
    path.unlink()
    with pytest.raises(PlanError, match="there is no such file"):
        checklist.read(path, tmp_path, finalize=FINALIZE)
    os.mkfifo(path)
    with pytest.raises(PlanError, match="is no ordinary file"):
        checklist.read(path, tmp_path, finalize=FINALIZE)
    assert not checklist.is_one(path)


def test_a_plan_md_is_known_by_its_name_and_its_todos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path)
    other = path.with_name("notes.md")
    monkeypatch.chdir(tmp_path)
    assert load_plan(path).name == "three-parts"
    found = load_foreign(".dev/specs/three-parts/PLAN.md")
    assert found is not None
    assert found.target is None
    assert found.plan.tasks["residual-commit"].command is not None
    assert found.plan.tasks["residual-commit"].command[-2:] == ("commit-rest", "--name=three-parts")
    other.write_text("# A prompt\n")
    assert load_foreign(other) is None
    other.write_text("\n### TODO 1: a\n")
    assert checklist.is_one(other)
    assert not checklist.is_one(tmp_path / "x.yaml")
    assert not checklist.is_one(tmp_path / "missing.md")
    assert not checklist.is_one(tmp_path / "\0.md")
    path.write_text("nothing\n")
    with pytest.raises(PlanError, match="has no TODO"):
        load_plan(path)


def test_a_plan_elsewhere_is_about_its_own_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path / "there")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = load_foreign(path)
    assert found is not None
    assert found.target == tmp_path / "there"
    (tmp_path / "there/.git").mkdir()
    plain = tmp_path / "there/docs/PLAN.md"
    plain.parent.mkdir()
    plain.write_text(EXAMPLE)
    assert checklist.target_of(plain, here) == tmp_path / "there"
    lonely = Path("/PLAN.md")
    assert checklist.target_of(lonely, here) == here
