"""A .tasker directory is run to its end by the real command, and kept up to date for those who look there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli import STANDIN, Place, Ran, finish, kill, opened, until

from daplug_supervisor.core import events as ev

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasker" / ".tasker"
DONE = """echo '{"status": "success"}' > $DAPLUG_RESULT"""
CORE = (
    'def greet(name):\n    if not name:\n        raise ValueError("no name")\n    return f"Hello, {name}!"\n'
)
MAIN = (
    "import sys\nfrom greeter.core import greet\n"
    "if len(sys.argv) < 2:\n    raise SystemExit(2)\nprint(greet(sys.argv[1]))\n"
)
TESTS = """import unittest
from greeter.core import greet
class Core(unittest.TestCase):
    def test_a_name(self):
        self.assertEqual(greet("Ada"), "Hello, Ada!")
    def test_no_name(self):
        with self.assertRaises(ValueError):
            greet("")
"""
WORK = {
    "T001": {"greeter/__init__.py": "", "greeter/core.py": CORE},
    "T002": {"greeter/__main__.py": MAIN},
    "T003": {"tests/__init__.py": "", "tests/test_core.py": TESTS},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    yield from opened(tmp_path, monkeypatch)


class Session:
    """The example in a place, with agents that do what each test says."""

    def __init__(self, place: Place) -> None:
        self.place, self.home = place, place.target / ".tasker"
        shutil.copytree(EXAMPLE, self.home)
        for task, files in WORK.items():
            for name, text in files.items():
                path = place.home / "work" / task / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    def agent(self, task: str, line: str = "", *, modes: str = "") -> None:
        """What the agent of a task does: its work, and then a line of its own; or something else."""
        line = line or DONE
        work = f"sh cp -r {self.place.home}/work/{task}/. . && {line}"
        path = self.home / "tasks" / f"{task}.json"
        document = json.loads(path.read_text())
        document["context"]["stand-in"] = f"\nSTUB: {modes or work}"
        path.write_text(json.dumps(document))

    def start(self, *words: str) -> subprocess.Popen[str]:
        given = (
            "run",
            str(self.place.target),
            "--provider=codex",
            f"--executor={STANDIN}",
            "--quiet",
            *words,
        )
        return self.place.start(*given, cwd=self.place.home)

    def run(self, *words: str) -> Ran:
        return finish(self.start(*words))

    def json(self, name: str) -> Any:
        return json.loads((self.home / name).read_text())

    @property
    def words(self) -> dict[str, str]:
        return {name: task["status"] for name, task in self.json("state.json")["tasks"].items()}

    def git(self, *words: str) -> str:
        command = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(
            command, cwd=self.place.target, capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture
def session(place: Place) -> Session:
    found = Session(place)
    for task in WORK:
        found.agent(task)
    return found


def test_it_is_run_to_its_end_and_everything_is_where_its_users_look(session: Session) -> None:
    before = session.json("state.json")
    (session.home / "state.json").write_text(json.dumps({**before, "their own": [1, {"x": None}]}))
    ran = session.run()
    assert ran.code == 0, (ran.out, ran.err)
    assert all(
        (session.home / name).is_dir() for name in ("inputs", "reports", "bundles", "logs", "artifacts")
    )
    state = session.json("state.json")
    assert session.words == dict.fromkeys(WORK, "complete")
    assert (state["their own"], state["created_at"]) == ([1, {"x": None}], before["created_at"])
    assert state["phase"]["current"] == "complete"
    assert state["phase"]["completed"][-2:] == ["ready", "executing"]
    assert (state["execution"]["completed_count"], state["execution"]["active_tasks"]) == (3, [])
    assert state["tasks"]["T001"]["blocks"] == ["T002", "T003"]
    assert state["tasks"]["T001"]["attempts"] == 1
    assert state["tasks"]["T002"]["files_created"] or state["tasks"]["T002"]["files_modified"]
    for task, files in WORK.items():
        bundle, result = (
            session.json(f"bundles/{task}-bundle.json"),
            session.json(f"bundles/{task}-result.json"),
        )
        assert bundle["target_dir"] == str(session.place.target)
        assert (result["task_id"], result["status"], result["verification"]["verdict"]) == (
            task,
            "success",
            "PASS",
        )
        assert {row["status"] for row in result["verification"]["criteria"]} == {"PASS"}
        assert "exit code 0" in result["verification"]["criteria"][0]["evidence"]
        sha = session.git("log", "--format=%H", f"--grep=^{task}: ")
        assert result["git"]["commit_sha"] == state["tasks"][task]["commit_sha"] == sha
        assert session.git("show", "--format=", "--name-only", sha).splitlines() == sorted(files)
    log = (session.home / "logs" / "activity.log").read_text()
    for task in WORK:
        assert f"[INFO] [orchestrator] spawn: tasker-1/{task}#1: " in log
        assert f"[INFO] [orchestrator] task-result: tasker-1/{task}#1: success" in log
    again = session.run()
    assert (again.code, "Nothing is left to be done" in again.err) == (0, True), again


def test_a_lie_is_a_failure_there_too_and_what_waits_for_it_is_blocked(session: Session) -> None:
    session.agent("T002", modes=f"sh {DONE}")
    ran = session.run()
    assert ran.code == 1, (ran.out, ran.err)
    assert session.words == {"T001": "complete", "T002": "failed", "T003": "complete"}
    result = session.json("bundles/T002-result.json")
    assert (result["status"], result["verification"]["verdict"]) == ("failed", "FAIL")
    assert result["verification"]["criteria"][0]["status"] == "FAIL"
    assert result["error"]["message"]
    state = session.json("state.json")["tasks"]["T002"]
    assert state["failure"]["category"] in ("test", "compilation", "validation", "runtime")
    assert "task-result: tasker-1/T002#" in (session.home / "logs" / "activity.log").read_text()
    session.agent("T002")
    assert session.run().code == 0
    assert session.words == dict.fromkeys(WORK, "complete")
    assert "error" not in session.json("state.json")["tasks"]["T002"]


def test_killed_at_any_time_it_goes_on_and_tells_nothing_twice(session: Session) -> None:
    hold = "until [ -e go ]; do sleep 0.02; done; rm -f nothing"
    session.agent("T002", f"touch at-work && {hold} && {DONE}")
    process = session.start()
    until((session.place.target / "at-work").exists, "T002 is at work")
    until(lambda: session.words["T003"] == "complete", "T003 is complete")
    assert session.words["T002"] == "running"
    kill(process)
    (session.place.target / "go").touch()
    ran = session.run()
    assert ran.code == 0, (ran.out, ran.err)
    assert session.words == dict.fromkeys(WORK, "complete")
    assert len(session.place.events(ev.AttemptStarted)) == 3
    log = (session.home / "logs" / "activity.log").read_text().splitlines()
    assert len(log) == len(set(log)) == 6
    state = session.json("state.json")
    told = [(event["type"], event["task_id"]) for event in state["events"]]
    assert sorted(told) == sorted(
        (kind, task) for kind in ("task_started", "task_completed") for task in WORK
    )
    assert {task["attempts"] for task in state["tasks"].values()} == {1}


def test_its_own_stop_file_halts_and_resume_takes_it_away(session: Session) -> None:
    session.agent("T001", f"touch .tasker/STOP && {DONE}")
    ran = session.run()
    assert ran.code == 3, (ran.out, ran.err)
    assert session.words == {"T001": "complete", "T002": "pending", "T003": "pending"}
    halt = session.json("state.json")["halt"]
    assert (halt["requested"], halt["requested_by"]) == (True, "stop_file")
    assert halt["halted_at"]
    assert session.run().code == 3, "it stays halted"
    resumed = session.place.run("resume", f"--executor={STANDIN}", "--quiet")
    assert resumed.code == 0, (resumed.out, resumed.err)
    assert session.words == dict.fromkeys(WORK, "complete")
    assert not (session.home / "STOP").exists()
    assert session.json("state.json")["halt"]["requested"] is False
    (session.home / "STOP").touch()
    assert session.place.run("check-halt").code == 1, "it holds the next run"
    assert session.place.run("resume", f"--executor={STANDIN}", "--quiet").code == 0, "nothing is unfinished"
    assert session.place.run("check-halt").code == 0


def test_a_bundle_that_may_not_be_used_fails_its_task_alone(session: Session) -> None:
    session.agent("T001", f"echo '{{' > .tasker/tasks/T003.json && {DONE}")
    ran = session.run()
    assert ran.code == 1, (ran.out, ran.err)
    assert session.words == {"T001": "complete", "T002": "complete", "T003": "failed"}
    failure = session.json("state.json")["tasks"]["T003"]["failure"]
    assert failure["category"] == "dependency"
    assert (
        "[ERROR] [orchestrator] validation: tasker-1/T003#1"
        in (session.home / "logs" / "activity.log").read_text()
    )


def test_a_result_as_that_system_teaches_it_is_taken_too(session: Session) -> None:
    theirs = '{"task_id": "T001"%s "status": "success"%s "notes": "as I was taught"}' % ((r"\054",) * 2)
    session.agent("T001", f"printf '{theirs}' > .tasker/bundles/T001-result.json")
    for task in ("T002", "T003"):
        (session.home / "tasks" / f"{task}.json").unlink()
    ran = session.run()
    assert ran.code == 0, (ran.out, ran.err)
    result = session.json("bundles/T001-result.json")
    assert (result["notes"], result["verification"]["verdict"]) == ("as I was taught", "PASS")


def test_a_drifted_bundle_is_made_anew_and_used(session: Session) -> None:
    made = session.place.run("bundle", "generate", "T001", cwd=session.place.target)
    assert made.code == 0, (made.out, made.err)
    old = session.json("bundles/T001-bundle.json")
    path = session.home / "artifacts" / "capability-map.json"
    path.write_text(path.read_text().replace("MakeGreeting", "Greet"))
    assert session.run().code == 0
    new = session.json("bundles/T001-bundle.json")
    assert (old["behaviors"][0]["name"], new["behaviors"][0]["name"]) == ("MakeGreeting", "Greet")
    assert (
        "[WARN] [orchestrator] validation: tasker-1/T001#1"
        in (session.home / "logs" / "activity.log").read_text()
    )


def test_without_a_session_the_exit_code_is_1(place: Place) -> None:
    (place.target / ".tasker").mkdir()
    ran = place.run("run", ".tasker")
    assert (ran.code, ran.out) == (1, "")
    assert "plan first" in ran.err
    assert not place.state.exists()
