"""The installed command: every verb, every exit code, JSON on standard output and people's text on standard error."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli import HOLD, MARKING, PROGRAM, STANDIN, Place, finish, kill, opened, plan_of, sh, until

from daplug_supervisor import Provider, Retry
from daplug_supervisor.cli import control, doctor
from daplug_supervisor.core import events as ev
from daplug_supervisor.formats.plans.schema import json_schema
from daplug_supervisor.views import affected, log, status, task_detail, tasks, why
from daplug_supervisor.views.plan import preview as plan
from daplug_supervisor.views.report import contents as report
from daplug_supervisor.views.report import metrics

place = pytest.fixture(opened)

ONE = Retry(attempts=1)
MIXED = plan_of(
    {
        "a": sh(MARKING, title="The first"),
        "bad": sh("echo out; echo trouble >&2; exit 3", retry=ONE),
        "c": sh(MARKING, "bad"),
    }
)
HOLDING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})


@pytest.fixture
def mixed(place: Place) -> Place:
    """A place in which a plan was run: one done, one failed, one blocked."""
    assert place.run(place.write(MIXED)).code == 1
    return place


def keys(shape: type[msgspec.Struct]) -> set[str]:
    return set(shape.__struct_fields__)


REPORT, STATUS = keys(report.Report), keys(status.RunStatus)


@pytest.mark.parametrize(
    ("words", "expected", "code"),
    [
        ("run plan.json", REPORT, 1),
        ("run plan.json --dry-run", keys(plan.Check), 0),
        ("run plan.json --fresh --only a", REPORT, 1),
        ("resume", REPORT, 1),
        ("check plan.json", keys(plan.Check), 0),
        ("schema", set(json_schema()), 0),
        ("status", STATUS, 0),
        ("status p-1", STATUS, 0),
        ("report", REPORT, 0),
        ("report --metrics-only", keys(metrics.Metrics), 0),
        ("halt-status", keys(control.HaltState), 0),
        ("halt-status --format json", keys(control.HaltState), 0),
        ("check-halt", keys(control.HaltState), 0),
        ("task show bad", keys(task_detail.TaskDetail), 0),
        ("task why c", keys(why.Why), 0),
        ("task logs bad", {"directory", "stdout", "stderr"}, 0),
        ("task create x true --command", {"id", "verb", "applied", "message"}, 0),
        ("task create x true --command --dry-run", keys(affected.Preview), 0),
        ("task split bad one=true --command", {"id", "verb", "applied", "message"}, 0),
        ("task remove c", {"id", "verb", "applied", "message"}, 0),
        ("task retry bad", {"id", "verb", "applied", "message"}, 0),
        ("task skip bad --reason x", {"id", "verb", "applied", "message"}, 0),
        ("task cancel c", {"id", "verb", "applied", "message"}, 0),
    ],
)
def test_json_is_one_object_with_the_documented_keys(
    mixed: Place, words: str, expected: set[str], code: int
) -> None:
    if words == "resume":
        mixed.run("task", "retry", "bad")
    ran = mixed.run(*words.split(), "--json")
    assert ran.code == code, ran
    assert set(ran.json()) == expected


def test_json_of_lists(mixed: Place) -> None:
    assert [set(row) for row in mixed.run("task", "list", "--json").json()] == [keys(tasks.TaskRow)] * 3
    assert {one["level"] for one in mixed.run("doctor", "--json").json()} <= {"ok", "note"}
    assert all(set(one) == keys(doctor.Finding) for one in mixed.run("doctor", "--json").json())
    lines = [json.loads(line) for line in mixed.run("events", "--json").out.splitlines()]
    assert all(set(line) == keys(log.LogLine) for line in lines)
    assert [line["event"] for line in lines][:2] == ["run_submitted", "run_started"]
    assert lines[-1]["event"] == "run_finished"
    only = [json.loads(line) for line in mixed.run("events", "--task", "bad", "--json").out.splitlines()]
    assert {line["task"] for line in only} == {"bad"}


def test_an_error_is_an_object_too(place: Place) -> None:
    ran = place.run("status", "--json")
    error = ran.json()["error"]
    assert (ran.code, error["code"], error["exit_code"], error["problems"]) == (2, "state_directory", 2, [])
    assert ran.err.startswith("daplug-supervise: ")
    place.write("tasks: {a: {comand: [x]}}", "bad.yaml")
    error = place.run("run", "bad.yaml", "--json").json()["error"]
    assert (error["code"], error["problems"][0]["field"], error["problems"][0]["line"]) == (
        "plan",
        "tasks.a.comand",
        1,
    )


def test_a_plan_as_the_first_word_is_run(place: Place) -> None:
    text = "name: short\ntasks:\n  a: {command: [sh, -c, 'echo hi']}\n"
    ran = place.run(place.write(text, "plan.yaml"))
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Run short-1 of plan short: FINISHED")
    again = place.run("run", "plan.yaml", "--quiet")
    assert (again.code, again.err, again.out.splitlines()[0]) == (
        0,
        "",
        "Run short-2 of plan short: FINISHED",
    )


def test_progress_is_one_plain_line_an_event_and_never_on_standard_output(place: Place) -> None:
    ran = place.run(place.write(MIXED))
    assert "\x1b" not in ran.err + ran.out
    lines = ran.err.splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  (info|warning|error) ", line) for line in lines)
    for words in ("a: Attempt 1 began.", "a: Done", "bad: Failed", "The run is finished"):
        assert any(words in line for line in lines), words


def test_the_report_is_on_disk_as_text_and_json(mixed: Place) -> None:
    folder = mixed.state / "runs" / "p-1"
    made = json.loads((folder / "report.json").read_text())
    assert made["counts"]["blocked"] == 1
    assert made["failures"][0]["tail"] == ["trouble"]
    assert "Blocks 1 task." in (folder / "report.txt").read_text()
    assert set(mixed.run("report", "--metrics-only").out.split()) >= {"attempts", "time", "provider"}


def test_dry_run_starts_nothing(place: Place) -> None:
    ran = place.run("run", place.write(MIXED), "--dry-run")
    assert (ran.code, place.lines(), place.state.exists()) == (0, [], False)
    assert "a" in ran.out
    (place.target / "prompts").mkdir()
    (place.target / "prompts" / "001-do-it.md").write_text("Do it.\n")
    ran = place.run("run-prompt", "1", "--model", "codex", "--dry-run")
    assert (ran.code, place.state.exists()) == (0, False)


def test_prompts_without_a_plan_file(place: Place) -> None:
    (place.target / "prompts").mkdir()
    for number in (1, 2, 3):
        (place.target / "prompts" / f"00{number}-do-it.md").write_text(f"STUB: write made-{number}\n")
    ran = place.run("run-prompt", "001-002", "3", "-m", "codex", "-p", "2", "--executor", str(STANDIN))
    assert ran.code == 0, ran
    assert len(place.lines("made-1") + place.lines("made-2") + place.lines("made-3")) == 3
    assert max(place.most_at_once().values()) <= 2
    assert place.run("run-prompt", "9", "-m", "codex").code == 2
    assert place.run("run-prompt", "1").code == 2
    assert place.run("run-prompt", "1", "-m", "codex", "--timeout", "soon").code == 2
    place.nothing_left()


def test_logs_tell_what_an_attempt_wrote(mixed: Place) -> None:
    assert mixed.run("task", "logs", "bad").out == "out\n"
    assert mixed.run("task", "logs", "bad", "--stderr").out == "trouble\n"
    assert mixed.run("task", "logs", "bad", "--attempt", "7").code == 2
    assert mixed.run("task", "logs", "c").code == 2


def test_logs_are_followed_to_the_end_of_the_task(place: Place) -> None:
    line = f"{MARKING} echo one; {HOLD} echo two"
    driving = place.start(place.write(plan_of({"a": sh(line)})))
    place.started("a")
    following = place.start("task", "logs", "a", "--follow", stderr=subprocess.DEVNULL)
    assert following.stdout is not None
    assert following.stdout.readline() == "one\n"
    place.go()
    assert following.stdout.read() == "two\n"
    following.stdout.close()
    assert (following.wait(20), finish(driving).code) == (0, 0)


def test_events_are_followed(place: Place) -> None:
    driving = place.start(place.write(HOLDING))
    place.started("a")
    following = place.start("events", "--follow", "--json", stderr=subprocess.DEVNULL)
    assert following.stdout is not None
    kinds = []
    for line in following.stdout:
        kinds.append(json.loads(line)["event"])
        if kinds[-1] == "attempt_spawned":
            place.go()
        if kinds[-1] == "run_finished":
            break
    assert kinds[0] == "run_submitted"
    kill(following)
    assert finish(driving).code == 0


def test_help_and_version_and_no_command(place: Place) -> None:
    assert place.run("--help").out.count("\n") > 15
    assert "daplug-supervise" in place.run("--version").out
    assert place.run().code == 2
    for words in (["run"], ["task"], ["run-prompt"], ["nosuch"], ["status", "--nosuch"]):
        ran = place.run(*words)
        assert (ran.code, ran.out) == (2, ""), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(place: Place, shell: str) -> None:
    environ = place.environ | {"_DAPLUG_SUPERVISE_COMPLETE": f"{shell}_source"}
    made = place.run(env=environ)
    assert (made.code, "daplug-supervise" in made.out) == (0, True)


def test_completion_of_commands(place: Place) -> None:
    environ = place.environ | {"COMP_WORDS": "daplug-supervise ha", "COMP_CWORD": "1"}
    made = place.run(env=environ | {"_DAPLUG_SUPERVISE_COMPLETE": "bash_complete"})
    assert made.out.split() == ["plain,halt", "plain,halt-status"]


def test_a_reader_that_goes_away_is_no_error(mixed: Place) -> None:
    line = f"'{PROGRAM}' events --json | head -n 1"
    made = subprocess.run(
        ["bash", "-c", line], cwd=mixed.target, env=mixed.environ, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in made.stderr


def test_the_state_directory_can_be_named(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert place.run(place.write(MIXED), "--state-dir", str(elsewhere)).code == 1
    assert not place.state.exists()
    environ = place.environ | {"DAPLUG_STATE_DIR": str(elsewhere)}
    found: dict[str, Any] = place.run("status", "--json", env=environ).json()
    assert found["counts"]["failed"] == 1
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_doctor_finds_agents_without_a_supervisor(place: Place) -> None:
    process = place.start(place.write(HOLDING))
    place.started("a")
    kill(process)
    ran = place.run("doctor")
    assert (ran.code, "p-1/a#1 works on without a supervisor" in ran.out) == (0, True)
    place.go()
    until(lambda: not place.processes(), "the agent's end", 10)
    assert "has ended while nobody watched" in place.run("doctor").out
    assert place.run("resume").code == 0
    assert place.events(ev.RunFinished) == [ev.RunFinished()]
    place.state.chmod(0o755)
    ran = place.run("doctor")
    assert (ran.code, "chmod 700" in ran.out) == (1, True)


def test_a_pool_of_several_providers_is_shown(place: Place) -> None:
    providers = {"p": Provider(worker="command"), "q": Provider(worker="command", parallel=7)}
    ran = place.run("check", place.write(plan_of({"a": sh("true")}, providers)))
    assert (ran.code, "q" in ran.out.split()) == (0, True)
