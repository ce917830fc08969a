"""What views say of criteria, claims, flags, files that several tasks touched, and of what landed."""

from __future__ import annotations

from build import Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion, Origin
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.views.proven import criteria_lines, criterion_rows, landed_word, rounds_word
from daplug_supervisor.views.report.claims import disagreement_lines, disagreements, said, sections
from daplug_supervisor.views.report.contents import report
from daplug_supervisor.views.report.failures import MOST_FAILURES, failure_lines, failures
from daplug_supervisor.views.report.flags import Flag, ending, flag_lines, flags
from daplug_supervisor.views.report.landed import hook_words, landing, landing_lines, source, source_words
from daplug_supervisor.views.report.metrics import metrics_text
from daplug_supervisor.views.report.overlap import matrix, overlap_lines, overlaps
from daplug_supervisor.views.report.text import flags_beside, report_text
from daplug_supervisor.views.status import status
from daplug_supervisor.views.status_text import status_text
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.why import why
from daplug_supervisor.views.work import Overlap, WorkLeft, WorktreeRow

ACCEPT = (Criterion(run="make test", name="tests"), Criterion(run="mypy", category="static"))
GOOD = Finding(0, "tests", seconds=2.0)
BAD = Finding(0, "tests", code=1, detail="exit code 1 instead of 0: boom", blame="code", claimed="PASS")
TYPES = Finding(1, "mypy", "static", claimed="FAIL")


def failed(*findings: Finding, claim: dict[str, object] | None = None, **more: object) -> Result:
    outcome = Outcome(OutcomeKind.VERIFY_FAILED, "1 of 2 criteria failed", claim=claim)
    return Result(outcome, Exit(0), findings, **more)  # type: ignore[arg-type]


def completed(claim: dict[str, object] | None = None) -> Result:
    return Result(Outcome(OutcomeKind.COMPLETED, claim=claim), Exit(0, seconds=5.0))


def proven(**more: object) -> World:
    """Of a task whose work came back once, and of one that was not looked at."""
    world = World(plan({"a": task(accept=ACCEPT, title="Do a"), "b": task("a", accept=ACCEPT)}))
    world.begin("a").tick(5).say(ev.AttemptExited("a", completed()))
    world.say(ev.RetryScheduled("a", failed(BAD, TYPES, **more), uses_try=False))  # type: ignore[arg-type]
    return world


def landed(world: World, name: str = "a", *files: str) -> World:
    world.begin(name).tick(5).say(ev.AttemptExited(name, completed()))
    world.say(ev.VerificationPassed(name, (GOOD, TYPES), ("it changed tests/x.py",)))
    world.say(ev.StepDone(name, "context"), ev.StepDone(name, "commit", "c0ffee"))
    return world.say(ev.Landed(name, "c0ffee0123456789", files))


# --- claims -------------------------------------------------------------------------------------------------


def test_who_claims_success_where_we_found_failure_is_named() -> None:
    world = proven()
    [row] = disagreements(world.run)
    assert (row.task, row.attempt, row.provider, row.claimed, row.found) == (
        "a",
        1,
        "codex",
        "success",
        "failure",
    )
    assert [(one.label, one.claimed, one.found) for one in row.criteria] == [
        ("tests", "PASS", "FAIL"),
        ("mypy", "FAIL", "PASS"),
    ]
    assert disagreement_lines([row], 90) == [
        "  a #1 (codex) claims success; found: 1 of 2 criteria failed; tests: says PASS, is FAIL;",
        "  mypy: says FAIL, is PASS",
    ]


def test_what_is_proven_may_have_been_doubted_by_its_agent() -> None:
    world = landed(proven())
    first, second = disagreements(world.run)
    assert (second.attempt, second.claimed, second.found) == (2, "success", "success")
    assert [one.label for one in second.criteria] == ["mypy"]
    assert (
        "a #1 and #2 (codex) claims success; found: success; mypy: says FAIL"
        in disagreement_lines([first, second], 200)[0]
    )


def test_a_claim_is_looked_at_before_it_is_judged() -> None:
    world = (
        proven().begin("a").tick(1).say(ev.AttemptExited("a", completed({"result": {"status": "success"}})))
    )
    assert [row.attempt for row in disagreements(world.run)] == [1], "the second is being looked at"


def test_results_count_and_commands_claim_nothing() -> None:
    lie: dict[str, object] = {"result": {"status": "success"}}
    honest: dict[str, object] = {"result": {"status": "failed"}}
    world = World(plan({"a": (), "b": (), "c": task(instructions=None, command=("x",)), "d": (), "e": ()}))
    for name, how in {
        "a": Result(Outcome(OutcomeKind.NO_RESULT, "no such file: x.py", claim=lie), Exit(0)),
        "b": Result(Outcome(OutcomeKind.FAILED, "", claim=honest), Exit(1)),
        "c": failed(),
        "d": Result(Outcome(OutcomeKind.UNVERIFIED), Exit(0)),
    }.items():
        world.begin(name).tick(1).say(ev.TaskFailed(name, how))
    world.begin("e").tick(1).say(ev.AttemptExited("e", completed(honest)), ev.VerificationPassed("e"))
    rows = disagreements(world.run)
    assert [(row.task, row.claimed, row.found, row.detail) for row in rows] == [
        ("a", "success", "failure", "no such file: x.py"),
        ("d", "success", "failure", "unverified"),
        ("e", "failure", "success", ""),
    ]


def test_many_disagreements_are_cut() -> None:
    world = World(plan({f"t{at}": () for at in range(30)}))
    many = [Finding(at, f"c{at}", detail="no", claimed="PASS") for at in range(9)]
    for at in range(30):
        world.failed(f"t{at}", failed(*many))
    lines = disagreement_lines(disagreements(world.run), 400)
    assert lines[-1] == "  and 10 more"
    assert lines[0].endswith("c2: says PASS, is FAIL; and 6 more")


def test_learnings_issues_and_decisions_are_collected() -> None:
    told = {"learnings": ["ESM only", " "], "issues": ["old bug"], "decisions": ["x" * 5000]}
    world = World(plan({"a": (), "b": ()})).done("b").begin("a").tick(1)
    world.say(ev.AttemptExited("a", completed({"result": told, "other": 1})))
    [row] = said(world.run)
    assert (row.learnings, row.issues, len(row.decisions[0])) == (("ESM only",), ("old bug",), 2000)
    found = sections((row,), 80)
    assert found["Learnings"] == ["  a: ESM only"]
    assert found["Issues that agents found"] == ["  a: old bug"]
    quiet = World(plan({"a": ()})).begin("a").tick(1).say(ev.AttemptExited("a", completed({"other": 1})))
    assert said(quiet.run) == ()


# --- flags --------------------------------------------------------------------------------------------------


def test_an_end_that_is_not_in_good_order_is_flagged() -> None:
    ends = {
        "a": Exit(3),
        "b": Exit(-9),
        "c": Exit(-15, stopped="deadline"),
        "d": Exit(None, error="no such program"),
        "e": Exit(0),
        "f": Exit(None),
    }
    world = World(plan(dict.fromkeys([*ends, "g"], ())))
    for name, end in ends.items():
        world.begin(name).tick(1).say(ev.TaskFailed(name, Result(Outcome(OutcomeKind.FAILED), end)))
    assert [ending(task) for task in world.run.tasks.values()] == [
        "ended with exit code 3",
        "was killed by signal 9",
        "ended at its deadline",
        "could not be started: no such program",
        "",
        "",
        "",
    ]
    row = WorktreeRow("a", "failed", "/x", "b", 0, 2, 2, ("x", "y"))
    calm = WorktreeRow("e", "failed", "/y", "b", 0, 2, 2, ("x", "y"))
    found = flags(world.run, {}, WorkLeft((row, calm)), ())
    assert [(one.task, one.kind) for one in found] == [
        ("a", "exit"),
        ("a", "uncommitted"),
        ("b", "exit"),
        ("c", "exit"),
        ("d", "exit"),
    ]
    assert found[1].text == "its last attempt ended with exit code 3, and left 2 files uncommitted"


def test_conflicts_are_flagged_by_their_outcome_or_by_the_end_of_the_output() -> None:
    conflict = Result(Outcome(OutcomeKind.CONFLICT, "x.py"), Exit(0))
    world = World(plan({"a": (), "b": (), "c": ()}))
    world.begin("a").tick(1).say(ev.RetryScheduled("a", conflict, uses_try=False))
    world.begin("a").tick(1).say(ev.TaskStuck("a", conflict))
    world.begin("b").tick(1).say(ev.RetryScheduled("b", conflict, uses_try=False))
    tails = {"a": ["CONFLICT (content): x"], "c": ["<<<<<<< HEAD", "=======", ">>>>>>> other"]}
    assert [(one.task, one.text) for one in flags(world.run, tails, WorkLeft(), ())] == [
        ("a", "its work could not be merged 2 times"),
        ("b", "its work could not be merged"),
        ("c", "its output ends with a merge conflict"),
    ]
    assert flags(world.run, {"c": ["a < b", "no conflict here"]}, WorkLeft(), ())[2:] == ()


def test_flags_of_one_task_are_told_together_and_cut() -> None:
    rows = [Flag(f"t{at}", "noted", text) for at in range(30) for text in ("one", "two")]
    lines = flag_lines(rows, 80)
    assert lines[0] == "  t0: one; two"
    assert lines[-1] == "  and 10 more tasks"
    assert flag_lines(rows[:2], 80) == ["  t0: one; two"]


def test_what_has_a_place_of_its_own_is_not_told_twice() -> None:
    world = World(plan({"a": (), "b": ()})).failed("a")
    odd = Result(Outcome(OutcomeKind.COMPLETED), Exit(2))
    world.begin("b").tick(1).say(ev.AttemptExited("b", odd), ev.VerificationPassed("b"), ev.Landed("b"))
    made = report(world.run, world.at)
    assert [(one.task, one.kind) for one in made.flags] == [("a", "exit"), ("b", "exit")]
    assert [one.task for one in flags_beside(made)] == ["b"]


# --- the same files -----------------------------------------------------------------------------------------


def beside() -> World:
    """`a` and `b` ran side by side, `c` after them; all touched x."""
    world = (
        World(plan(dict.fromkeys("abc", ()), {"codex": Provider(parallel=3)})).begin("a").begin("b").tick(5)
    )
    for name, files in {"a": ("x", "y"), "b": ("x", "y")}.items():
        world.say(ev.AttemptExited(name, result()), ev.VerificationPassed(name), ev.Landed(name, "", files))
    world.begin("c").tick(5)
    return world.say(
        ev.AttemptExited("c", result()), ev.VerificationPassed("c"), ev.Landed("c", "", ("x", "z"))
    )


def test_files_that_several_tasks_touched_and_who_ran_beside_whom() -> None:
    world = beside()
    rows = overlaps(world.run)
    assert rows == (
        Overlap(("a", "b"), 1, ("y",), ("a", "b")),
        Overlap(("a", "b", "c"), 1, ("x",), ("a", "b")),
    )
    assert overlap_lines(rows, 80) == [
        "  a and b, side by side: y",
        "  a, b and c (side by side: a and b): x",
    ]
    assert matrix(world.run, rows) == matrix(world.run, rows)
    found = matrix(world.run, rows)
    assert (found.tasks, found.counts, found.beside, found.more) == (
        ("a", "b"),
        {(0, 1): 2},
        frozenset({(0, 1)}),
        0,
    )
    assert [(one.task, one.text) for one in flags(world.run, {}, WorkLeft(), rows)] == [
        ("a", "changed 2 files that b changed beside it"),
        ("b", "changed 2 files that a changed beside it"),
    ]


def test_what_is_seen_in_worktrees_and_what_landed_is_one() -> None:
    world = beside()
    seen = [Overlap(("a", "b"), 5, ("w", "y")), Overlap(("a", "gone"), 1, ("v",))]
    rows = overlaps(world.run, seen)
    assert rows[0] == Overlap(("a", "b"), 5, ("w", "y"), ("a", "b"))
    assert Overlap(("a", "gone"), 1, ("v",)) in rows


def test_a_pair_of_pairs_is_not_flagged_for_the_others() -> None:
    world = World(plan(dict.fromkeys("abcd", ()), {"codex": Provider(parallel=4)}))
    for one, other in ("ab", "cd"):
        world.begin(one).begin(other).tick(5)
        for name in (one, other):
            world.say(
                ev.AttemptExited(name, result()), ev.VerificationPassed(name), ev.Landed(name, "", ("x",))
            )
    rows = overlaps(world.run)
    assert rows[0].side_by_side == ("a", "b", "c", "d")
    told = {one.task: one.text for one in flags(world.run, {}, WorkLeft(), rows)}
    assert told["a"] == "changed 1 file that b changed beside it"
    apart = [Overlap(("a", "c"), 1, ("x",), ("a", "c"))]
    assert flags(world.run, {}, WorkLeft(), apart) == ()


def test_many_overlaps_are_cut() -> None:
    rows = [Overlap(("a", "b"), 1, (f"f{at}",)) for at in range(25)]
    assert overlap_lines(rows, 80)[-1] == "  and 5 more"


# --- what landed --------------------------------------------------------------------------------------------


def test_what_landed_and_how_to_look_at_it() -> None:
    world = World(plan({"a": task(worktree=True, accept=ACCEPT), "b": ()}))
    world.begin("a").tick(5).say(ev.AttemptExited("a", completed()), ev.VerificationPassed("a"))
    world.say(ev.StepDone("a", "commit", "c0ffee"), ev.StepDone("a", "merge", "daplug/run/r1"))
    world.say(ev.Landed("a", "c0ffee0123456789", ("src/x.py", "src/y.py"))).done("b")
    found = landing(world.run)
    assert found.branch == "daplug/run/r1"
    assert found.review[0] == "git -C /target log --stat --reverse HEAD..daplug/run/r1"
    assert [(row.task, row.commit[:6], row.files, list(row.steps)) for row in found.tasks] == [
        ("a", "c0ffee", 2, ["commit", "merge"])
    ]
    lines = landing_lines(found, 80)
    assert "  branch   daplug/run/r1" in lines
    assert "  commits  1 of 1 task" in lines
    assert "    c0ffee0123  a" in lines
    here = landed(World(plan({"a": task(accept=ACCEPT)})), "a", "x")
    assert landing(here.run).review == ("git -C /target log --stat -n 1",)
    assert landing(World(plan({"a": ()})).run).review == ()


def test_many_commits_are_cut() -> None:
    world = World(plan({f"t{at}": () for at in range(25)}))
    for at in range(25):
        world.begin(f"t{at}").tick(1).say(
            ev.AttemptExited(f"t{at}", result()), ev.VerificationPassed(f"t{at}")
        )
        world.say(ev.Landed(f"t{at}", f"{at:040}"))
    assert "    and 5 more" in landing_lines(landing(world.run), 80)


def test_hooks_that_failed() -> None:
    world = World(plan({"a": ()}))
    world.say(
        ev.HookRan("post_task", "a", 0),
        ev.HookRan("post_run", "", 3),
        ev.HookRan("post_task", "b", None, "late"),
    )
    assert [hook_words(row) for row in landing(world.run).hooks] == [
        "post-run: exit code 3",
        "post-task of b: late",
    ]


def test_the_plan_that_a_run_was_made_of() -> None:
    ids = ["todo-1", "todo-2", "residual-commit", "report"]
    world = World(plan(dict.fromkeys(ids, ()), origin=Origin("checklist", "specs/x/PLAN.md")))
    world.done("todo-1").failed("todo-2")
    found = source(world.run)
    assert found is not None
    assert source_words(found) == "specs/x/PLAN.md (local): 2 items, 1 done, 1 failed"
    assert source_words(found) in report_text(report(world.run, world.at))
    tasker = World(plan({"T001": ()}, origin=Origin("tasker", ".tasker")))
    assert source_words(source(tasker.run) or found) == ".tasker (local): 1 item, 0 done"


# --- one task, one run --------------------------------------------------------------------------------------


def test_a_task_shows_what_was_found() -> None:
    world = proven()
    detail = task_detail(world.run, "a", world.at, live=True)
    assert [(row.label, row.status, row.command) for row in detail.criteria] == [
        ("tests", "FAIL", "make test"),
        ("mypy", "PASS", "mypy"),
    ]
    text = task_text(detail, world.at, 100)
    assert "  FAIL  tests (functional, 0.0s, the agent says PASS): exit code 1 instead of 0: boom" in text
    assert "  sent back  1 of 3 fix rounds" in text
    assert "  criteria   1 of 2 hold" in text
    done = landed(world, "a", "src/x.py")
    text = task_text(task_detail(done.run, "a", done.at, live=True), done.at, 100)
    assert "  landed     context, commit (c0ffee0123)" in text
    assert "  files      src/x.py" in text
    assert "  flags      it changed tests/x.py" in text
    before = task_text(task_detail(world.run, "b", world.at, live=True), world.at, 100)
    assert "  open  tests (functional)" in before


def test_what_is_looked_at_in_every_task_comes_after_the_criteria() -> None:
    always = Finding(-1, "files", detail="x.py is not there", blame="code")
    world = World(plan({"a": task(accept=ACCEPT)})).failed("a", failed(GOOD, always))
    rows = criterion_rows(world.run, world.run.tasks["a"])
    assert [(row.label, row.status) for row in rows] == [("tests", "PASS"), ("mypy", ""), ("files", "FAIL")]
    assert criteria_lines(rows, 80)[2] == "  FAIL  files (functional, 0.0s): x.py is not there"


def test_why_tells_of_rounds_and_proof() -> None:
    world = proven()
    sentence = why(world.run, "a", world.at, live=True).sentence
    assert sentence == (
        "Ready: provider codex starts it next; what was found in its work goes with it (1 of 3 fix rounds)."
    )
    gone = proven().begin("a").tick(1).say(ev.TaskStuck("a", failed(BAD), "mend it"))
    assert (
        ", 1 of 3 fix rounds (verify failed: 1 of 2 criteria failed): mend it."
        in why(gone.run, "a", gone.at, live=True).sentence
    )
    done = landed(world)
    assert "; criteria: 2 of 2 hold; commit c0ffee0123." in why(done.run, "a", done.at, live=True).sentence
    assert rounds_word(0, 3) == ""
    assert rounds_word(4, 3) == "3 of 3 fix rounds and a last one"
    assert (landed_word((), "abc"), landed_word(("commit",), ""), landed_word((), "")) == (
        "abc",
        "commit",
        "",
    )


def test_status_tells_how_much_is_proven() -> None:
    world = proven()
    assert "0 of 4 criteria verified" not in status_text(status(world.run, world.at, live=True))
    assert "1 of 4 criteria verified, 1 not holding, 1 fix round" in status_text(
        status(world.run, world.at, live=True)
    )
    done = landed(world)
    found = status(done.run, done.at, live=True).proof
    assert found is not None
    assert (found.planned, found.passed, found.failed, found.rounds, found.flagged) == (4, 2, 0, 1, ("a",))
    assert "2 of 4 criteria verified, 1 fix round, 1 task flagged" in status_text(
        status(done.run, done.at, live=True)
    )
    assert status(World(plan({"a": ()})).run, 0.0, live=True).proof is None


def test_a_report_counts_them() -> None:
    world = landed(proven())
    made = report(world.run, world.at)
    assert made.criteria_planned == 4
    assert [(row.category, row.passed, row.failed) for row in made.criteria] == [
        ("functional", 1, 0),
        ("static", 1, 0),
    ]
    text = metrics_text(made, 100)
    assert "criteria               2 of 4 verified (functional 1 of 1, static 1 of 1)" in text
    assert "fix rounds             1 round in 1 task, 1 done in the end" in text
    new = report(World(plan({"a": task(accept=ACCEPT)})).run, 0.0)
    assert "criteria               0 of 2 verified\n" in metrics_text(new)


def test_failures_show_their_criteria() -> None:
    world = World(plan({"a": task(accept=ACCEPT)})).failed("a", failed(GOOD, BAD))
    found = failures(world.run, world.at, printed={"a": {1: ["E  boom"]}})
    lines = failure_lines(found, 100)
    assert "    - tests (the agent says PASS): exit code 1 instead of 0: boom" in lines
    assert "      | E  boom" in lines
    assert len(failure_lines(found * (MOST_FAILURES + 1), 80)) > len(lines)


def test_patterns_are_cut() -> None:
    kinds = [
        "failed",
        "crashed",
        "timeout",
        "silent",
        "stalled",
        "blocked",
        "no_result",
        "max_iterations",
        "unverified",
        "plan_error",
    ]
    world = World(plan({f"t{at}": () for at in range(40)}))
    for at in range(40):
        world.failed(f"t{at}", result(kinds[at % len(kinds)], "x", 1))
    text = report_text(report(world.run, world.at))
    assert "What recurs" in text
    assert "\n  and 2 more\n" in text
