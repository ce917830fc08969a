"""What an execution has proven of state machines: B74."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import session_making as making
from build import T0, World, plan, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion, Origin, Task
from daplug_supervisor.core.results import Finding
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.tasker.records import Covered, Guard, Machine, Transition
from daplug_supervisor.errors import PlanError
from daplug_supervisor.supervisor.closing import execution
from daplug_supervisor.views.evaluation.fsm_coverage import FsmCoverage, Rule, coverage, coverage_text
from daplug_supervisor.workspace import archive
from daplug_supervisor.workspace.files import StateDirectory

MACHINE = Machine(
    "M1",
    "Login",
    "steel_thread",
    transitions=(
        Transition("TR1", "S1", "S2", "login", (Guard("address is valid", "I1"),)),
        Transition("TR2", "S1", "S1", "wrong password", (Guard("three times", "I3"), Guard("no id"))),
        Transition("TR10", "S2", "S1", "logout"),
    ),
)
RULES = (Rule("I1", "an address has an @"), Rule("I2", "no empty password"))
DIRECT = Criterion("pytest -k tr1", "TR1: login leads in")
RUNTIME = Criterion("curl -f localhost", "the server answers", category="runtime")
BY_LINE = Criterion("pytest -k guard_I1")


def done(world: World, name: str, *findings: Finding) -> None:
    world.begin(name).say(
        ev.AttemptExited(name, result()), ev.VerificationPassed(name, findings), ev.Landed(name)
    )


def finding(number: int, criterion: Criterion, **more: Any) -> Finding:
    return Finding(number, criterion.label, criterion.category, 0, **more)


def proven(world: World, covered: dict[str, Covered], **more: Any) -> FsmCoverage:
    return coverage(world.run, (MACHINE,), RULES, covered, "login", **more)


def why(found: FsmCoverage) -> dict[str, str]:
    transitions = {row.id: row.why for row in found.machines[0].transitions.details}
    return transitions | {row.id: row.why for row in found.invariants.details}


def test_a_criterion_that_names_a_transition_is_its_evidence() -> None:
    spec = task(accept=(DIRECT, RUNTIME, BY_LINE))
    world = World(plan({"T001": spec}))
    done(
        world, "T001", finding(0, DIRECT), finding(1, RUNTIME), finding(2, BY_LINE), Finding(-1, "its files")
    )
    found = proven(world, {"T001": Covered(("TR1", "TR2"), ("I1", "I2"))})
    first, second, third = found.machines[0].transitions.details
    assert [
        (one.task_id, one.evidence_type, one.criterion, one.command, one.exit_code, one.direct)
        for one in first.evidence
    ] == [("T001", "test", 0, "pytest -k tr1", 0, True)]
    assert [(one.evidence_type, one.criterion, one.direct) for one in second.evidence] == [
        ("test", 0, False), ("runtime_assertion", 1, False), ("test", 2, False),
    ]  # fmt: skip
    assert (third.verified, third.why) == (False, "no task says that it brings it about")
    assert found.machines[0].transitions.verification_pct == 66.7
    rules = {row.id: row for row in found.invariants.details}
    assert [one.criterion for one in rules["I1"].evidence] == [2]
    assert (rules["I2"].verified, rules["I2"].enforcing_tasks) == (True, ("T001",))
    assert (rules["I3"].rule, rules["I3"].verified) == ("three times", False)
    assert found.summary == type(found.summary)(3, 2, 3, 2)
    assert found.uncovered == ("TR10", "I3")


def test_what_is_not_done_or_not_run_proves_nothing() -> None:
    specs: dict[str, Task | tuple[str, ...]] = {
        "T001": task(accept=(DIRECT,)),
        "T002": task(),
        "T003": task(accept=(DIRECT,)),
        "T004": task(),
        "T005": task(),
    }
    world = World(plan(specs))
    world.failed("T001")
    done(world, "T002")
    done(world, "T003", finding(0, DIRECT, detail="no"))
    world.say(ev.TaskAdopted("T004", "was there"), ev.TaskSkipped("T005"))
    said = {
        "T001": Covered(("TR1",)), "T002": Covered(("TR2",)), "T003": Covered(("TR1",)), "T009": Covered(("TR10",)),
    }  # fmt: skip
    assert why(proven(world, said)) == {
        "TR1": "T001 is failed; what T003 says of it does not hold",
        "TR2": "T002 has no criterion that we ran",
        "TR10": "T009 is not in this run",
        "I1": "no task says that it brings it about",
        "I2": "no task says that it brings it about",
        "I3": "no task says that it brings it about",
    }
    found = proven(
        world, {"T004": Covered(("TR1",)), "T009": Covered(("TR2",))}, before={"T009": "it was complete"}
    )
    kinds = [
        (one.evidence[0].evidence_type, one.evidence[0].evidence)
        for one in found.machines[0].transitions.details[:2]
    ]
    assert kinds == [("manual", "it was there already: was there"), ("manual", "it was complete")]


def test_a_criterion_that_the_plan_no_longer_has_is_told_without_its_command() -> None:
    world = World(plan({"T001": task()}))
    done(world, "T001", Finding(4, "TR1 holds"))
    one = proven(world, {"T001": Covered(("TR1",))}).machines[0].transitions.details[0].evidence[0]
    assert (one.command, one.criterion) == ("", 4)


def test_a_machine_without_transitions_lacks_nothing() -> None:
    found = coverage(World(plan({"T001": task()})).run, (Machine("M2"),), (), {})
    assert found.machines[0].transitions.verification_pct == 100.0
    assert "M2 : 0 of 0" in coverage_text(found)
    assert "Invariants" not in coverage_text(found)


def test_the_text_says_what_is_proven_and_by_what() -> None:
    world = World(plan({"T001": task(accept=(DIRECT, RUNTIME))}))
    done(world, "T001", finding(0, DIRECT), finding(1, RUNTIME))
    text = coverage_text(proven(world, {"T001": Covered(("TR1", "TR2"), ("I1",))}), 120)
    assert text.splitlines()[0] == "2 of 3 transitions and 1 of 3 invariants are proven by run r1"
    assert "  TR1   yes     S1 -> S2  test, T001: TR1: login leads in" in text
    assert "runtime assertion and test, T001: TR1: login leads in" in text
    assert "  TR10  NO      S2 -> S1  no task says that it brings it about" in text
    many = Machine("M1", transitions=tuple(Transition(f"TR{n}\x1b") for n in range(50)))
    text = coverage_text(coverage(world.run, (many,), (), {}))
    assert "  and 10 more" in text
    assert "\x1b" not in text


# --- on the disk --------------------------------------------------------------------------------------------


def of_session(target: Path) -> World:
    """A run of the session in a directory, of which T001 is done and T003 is not."""
    accept = (Criterion("true", "TR1: login leads in"), Criterion("true", "Guard I1 refuses"))
    specs: dict[str, Task | tuple[str, ...]] = {"T001": task(accept=accept), "T003": task()}
    world = World(plan(specs, origin=Origin("tasker", ".tasker")))
    world.run.target = str(target)
    done(world, "T001", finding(0, accept[0]), finding(1, accept[1]))
    return world


def test_the_reports_of_an_execution_are_where_its_users_look(tmp_path: Path) -> None:
    said = {
        "verdict": "READY_WITH_NOTES",
        "summary": "fine",
        "issues": ["vague", {"message": "odd"}, {"x": 1}],
    }
    session = making.session(tmp_path, statuses={"T002": "complete"}, artifacts={"task_validation": said})
    assert execution.write_execution(of_session(tmp_path).run, Mask([])) == []
    found = json.loads((session / "artifacts" / "fsm-coverage.execute.json").read_text())
    assert (found["version"], found["phase"], found["spec_slug"]) == ("1.0", "execute", "login")
    details = found["machines"][0]["transitions"]["details"]
    assert [(one["id"], one["verified"]) for one in details] == [("TR1", True), ("TR2", False)]
    assert found["invariants"]["details"][0]["evidence"][0]["task_id"] == "T001"
    assert found["uncovered"] == ["TR2", "I2"]
    full = json.loads((session / "reports" / "evaluation-report.json").read_text())
    assert full["planning"]["verdict"] == "READY_WITH_NOTES"
    assert full["planning"]["issues"] == ["vague", "odd", "{'x': 1}"]
    text = (session / "reports" / "evaluation-report.txt").read_text()
    assert text.startswith("Evaluation of run r1 of plan add-oauth\n\nPlanning\n  READY_WITH_NOTES: fine\n")


def test_what_was_complete_before_a_run_is_a_persons_word(tmp_path: Path) -> None:
    machine = {"transitions_covered": ["TR2"]}
    making.session(
        tmp_path,
        making.task("T001", state_machine={"transitions_covered": ["TR1"]}),
        making.task("T002", state_machine=machine),
        statuses={"T002": "complete"},
    )
    found = execution.coverage_of(of_session(tmp_path).run)
    assert found is not None
    assert found.machines[0].transitions.details[1].evidence[0].evidence_type == "manual"


def test_a_run_of_no_session_or_of_one_without_machines_has_no_coverage(tmp_path: Path) -> None:
    world = World(plan({"a": task()}))
    assert execution.coverage_of(world.run) is None
    assert execution.write_execution(world.run, Mask([])) == []
    assert execution.evaluation_of(world.run).planning.verdict == ""
    making.session(tmp_path, machines=False)
    assert execution.coverage_of(of_session(tmp_path).run) is None


def test_a_session_that_cannot_be_read_any_more_stops_no_report(tmp_path: Path) -> None:
    session = making.session(tmp_path, artifacts={"task_validation": 7})
    run = of_session(tmp_path).run
    making.write(session / "tasks" / "T002.json", "{")
    (session / "reports").symlink_to(tmp_path)
    problems = execution.write_execution(run, Mask([]))
    assert [one.partition(":")[0] for one in problems] == [
        "fsm-coverage.execute.json", "reports/evaluation-report.txt", "reports/evaluation-report.json",
    ]  # fmt: skip
    with pytest.raises(PlanError):
        execution.coverage_of(run)
    assert not (tmp_path / "evaluation-report.txt").exists()


@pytest.mark.parametrize(
    "state", ["{", "[]", '{"artifacts": 5}', '{"artifacts": {"task_validation": {"issues": 5}}}']
)
def test_a_state_that_says_anything_says_nothing_of_the_planning(tmp_path: Path, state: str) -> None:
    making.write(making.session(tmp_path) / "state.json", state)
    assert execution.planning_of(tmp_path / ".tasker") == type(execution.planning_of(None))()


def test_an_index_with_odd_invariants_has_none(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    making.write(session / "artifacts" / "fsm" / "index.json", {**making.INDEX, "invariants": 5})
    found = execution.coverage_of(of_session(tmp_path).run)
    assert found is not None
    assert [one.id for one in found.invariants.details] == ["I1"]  # which a guard names
    assert msgspec.json.encode(found)


def test_a_session_that_has_nothing_more_has_less_in_its_archive(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    run = of_session(tmp_path).run
    (session / "state.json").unlink()
    directory = StateDirectory(tmp_path / ".daplug")
    directory.create()
    assert [one.path for one in execution.archive_run(directory, run, T0, Mask([]), "shop").files] == [
        "plan.json", "run.json", "reports/evaluation-report.run.json",
    ]  # fmt: skip
    run.plan = replace(run.plan, origin=None)
    making.write(directory.log, "{}")
    found = execution.archive_run(directory, run, T0, Mask([]), "shop")
    assert [one.path for one in found.files][:3] == ["logs/supervisor.log", "plan.json", "state.json"]
    assert (directory.path / "archive" / found.id / "state.json").is_file()


def test_the_execution_of_a_session_is_archived_in_it(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    run = of_session(tmp_path).run
    making.write(session / "bundles" / "T001-bundle.json", "{}")
    making.write(session / "logs" / "activity.log", "said")
    assert execution.write_execution(run, Mask([])) == []
    directory = StateDirectory(tmp_path / ".daplug")
    directory.create()
    for path in ("report.txt", "T001/report.json", "T001/1/prompt.md", "T001/1/stdout.log"):
        making.write(directory.run(run.id) / path, "x")
    making.write(directory.log, "{}")
    found = execution.archive_run(directory, run, T0, Mask([]))
    place = session / "archive" / found.id
    assert found.project == execution.project_of(run)
    assert {one.path: f"{one.root}:{one.source}" for one in found.files} == {
        "reports/r1/report.txt": "state:runs/r1/report.txt",
        "reports/r1/T001/report.json": "state:runs/r1/T001/report.json",
        "bundles/r1/T001/1/prompt.md": "state:runs/r1/T001/1/prompt.md",
        "logs/r1/T001/1/stdout.log": "state:runs/r1/T001/1/stdout.log",
        "logs/supervisor.log": "state:supervisor.log",
        "bundles/T001-bundle.json": "tasker:bundles/T001-bundle.json",
        "logs/activity.log": "tasker:logs/activity.log",
        "reports/evaluation-report.txt": "tasker:reports/evaluation-report.txt",
        "reports/evaluation-report.json": "tasker:reports/evaluation-report.json",
        "reports/fsm-coverage.execute.json": "tasker:artifacts/fsm-coverage.execute.json",
        "state.json": "tasker:state.json",
        "plan.json": ":",
        "run.json": ":",
        "reports/evaluation-report.run.json": ":",
    }
    assert all((place / one.path).is_file() for one in found.files)
    away = tmp_path / "away"
    (session / "bundles").rename(away)
    rows = archive.restore(session / "archive", found, {"state": directory.path, "tasker": session})
    assert {row.became for row in rows} == {"same", "restored"}
    assert (session / "bundles" / "T001-bundle.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("target", "project"), [("/a/My Shop!", "My-Shop"), ("/", "add-oauth"), ("/a/...", "add-oauth")]
)
def test_a_project_is_called_as_its_directory(target: str, project: str) -> None:
    run = World(plan({"a": task()})).run
    run.target = target
    assert execution.project_of(run) == project
