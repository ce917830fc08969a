"""What people are told of a run: each episode once, whatever happens in between, and in words that can do no harm."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.addresses import holds_secret
from daplug_supervisor.core.notifying import (
    LATEST,
    SOONEST,
    Episode,
    Escalation,
    began,
    ending,
    escalations,
    gap,
    news,
    of_limit,
    of_provider,
    of_task,
    standing,
    still,
)
from daplug_supervisor.core.plan import Notify, Plan, Provider, Retry, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats import load_plan
from daplug_supervisor.views.told import MOST, message, plain, trial

ONCE = Retry(attempts=1)
TOLD = Notify(command=("tell",))
SECRET = "https://hooks.example.org/services/T0AB1CD2E/" + "x7K2m9Qp4Zs8Wd3v"


def story(*, notify: Notify = TOLD, **tasks: Task) -> Story:
    return Story(plan_of(tasks, notify=notify))


def keys(episodes: Iterable[Episode]) -> list[str]:
    return [one.key for one in episodes]


def tell(told: Story, *episodes: Episode, detail: str = "") -> None:
    told.record(*(ev.Notified(one.trouble, one.key, detail) for one in episodes))


# --- tasks -------------------------------------------------------------------------------------------------------


def test_a_task_that_failed_for_good_is_an_episode_until_it_begins_again() -> None:
    told = story(a=task(retry=ONCE), b=task("a"), c=task("a"))
    [failed] = told.attempt("a", OutcomeKind.FAILED, detail="exit code 3: boom.")
    [one] = began(told.run, failed, told.now)
    assert one.key == "needs_person/a/1"
    assert one.sentence == "Task a failed after 1 try: exit code 3: boom; 2 tasks need it."
    assert one.next == (
        "daplug-supervise task logs a --run r1",
        "daplug-supervise task retry a --run r1",
        "daplug-supervise task skip a --reason ... --run r1",
    )
    assert news(told.run, [one, one]) == {one.key: one}
    assert still(told.run, one, told.now)
    tell(told, one)
    assert news(told.run, standing(told.run, told.now)) == {}
    assert not still(told.run, one, told.now)
    told.record(ev.TaskReset("a"))
    assert keys(standing(told.run, told.now)) == []
    told.attempt("a", OutcomeKind.FAILED)
    assert list(news(told.run, standing(told.run, told.now))) == ["needs_person/a/2"]


def test_what_nobody_wants_to_know_is_not_told() -> None:
    told = story(notify=replace(TOLD, on=("finished",)), a=task(retry=ONCE))
    told.attempt("a", OutcomeKind.FAILED)
    assert keys(standing(told.run, told.now)) == ["needs_person/a/1"]
    assert news(told.run, standing(told.run, told.now)) == {}


def test_an_episode_that_is_over_by_then_is_not_told() -> None:
    told = story(a=task(retry=ONCE))
    told.attempt("a", OutcomeKind.FAILED)
    [one] = of_task(told.run, "a")
    told.record(ev.TaskReset("a"))
    assert not still(told.run, one, told.now)
    assert not still(told.run, replace(one, task="gone"), told.now)


def test_a_question_a_stuck_task_and_one_that_another_try_cannot_help() -> None:
    told = story(a=task(), b=task(), c=task(), d=task("a"))
    told.attempt("a", OutcomeKind.NEEDS_INPUT, detail="Which database?")
    told.attempt("b", OutcomeKind.BLOCKED, detail="no network")
    told.attempt("c", OutcomeKind.PLAN_ERROR, detail="")
    told.record(ev.TaskCancelled("d"))
    asks, stuck, failed = standing(told.run, told.now)
    assert asks.sentence == "Task a asks: Which database?; 1 task needs it."
    assert asks.next[-1] == "daplug-supervise task answer a ... --run r1"
    assert stuck.sentence == (
        "Task b is stuck after 1 try: no network; remove what blocks the agent, then retry."
    )
    assert failed.sentence == "Task c failed after 1 try."
    assert failed.next[1] == "daplug-supervise task retry c --force --run r1"
    assert list(began(told.run, ev.TaskCancelled("d"), told.now)) == []


def test_a_question_ends_as_it_is_asked() -> None:
    told = story(a=task())
    told.attempt("a", OutcomeKind.NEEDS_INPUT, detail="Which database?")
    [one] = of_task(told.run, "a")
    assert one.sentence == "Task a asks: Which database?"


def test_work_that_waits_for_review_and_then_gets_stuck_on_its_way_home_is_two_episodes() -> None:
    told = story(a=task(review="human"))
    told.claim("a")
    told.record(ev.ReviewRequested("a"))
    [one] = began(told.run, ev.ReviewRequested("a"), told.now)
    assert (one.key, one.sentence) == (
        "needs_person/a/1/review",
        "Task a is proven, and waits for your review.",
    )
    assert one.next[0] == "daplug-supervise task approve a --run r1"
    told.record(ev.Approved("a"), ev.TaskStuck("a", result(OutcomeKind.CONFLICT)))
    assert keys(standing(told.run, told.now)) == ["needs_person/a/1"]


def delegated() -> Story:
    told = story(whole=task(delegate=1), one=task(parent="whole"), two=task(parent="whole", retry=ONCE))
    told.record(ev.Delegated("whole"))
    return told


def test_a_delegated_task_waits_for_a_part_that_failed_and_that_is_told_once() -> None:
    told = delegated()
    told.attempt("two", OutcomeKind.FAILED, detail="no luck")
    [one] = standing(told.run, told.now)
    assert (one.key, one.task) == ("needs_person/two/1", "two")
    assert one.sentence == (
        "Task two failed after 1 try: no luck; whole, of which it is a part, waits for it."
    )


def test_a_delegated_task_waits_for_a_part_that_was_cancelled() -> None:
    told = delegated()
    cancelled = ev.TaskCancelled("one", "not worth it")
    told.record(cancelled)
    [one] = began(told.run, cancelled, told.now)
    assert (one.key, one.task) == ("needs_person/whole/one/0", "whole")
    assert one.sentence == "Task whole waits for its part one, which was cancelled: not worth it."
    assert one.next[0] == "daplug-supervise task retry one --run r1"
    tell(told, one)
    told.record(ev.TaskReset("one"))
    told.start("one")
    told.record(ev.CancelRequested("one"), ev.TaskCancelled("one"))
    [again] = news(told.run, standing(told.run, told.now)).values()
    assert again.key == "needs_person/whole/one/1"
    assert again.sentence == "Task whole waits for its part one, which was cancelled."


def test_another_task_with_the_id_of_one_that_was_removed_is_told_of() -> None:
    told = story(a=task(retry=ONCE), b=task())
    told.attempt("a", OutcomeKind.FAILED)
    tell(told, *standing(told.run, told.now))
    assert list(began(told.run, ev.TaskFailed("gone", result()), told.now)) == []
    told.record(ev.TaskRemoved("a"), ev.TaskAdded("a", task(retry=ONCE)))
    told.attempt("a", OutcomeKind.FAILED)
    assert list(news(told.run, standing(told.run, told.now))) == ["needs_person/a/1"]


def test_a_task_that_left_the_plan_file_and_came_back_is_told_of() -> None:
    told = story(a=task(retry=ONCE), b=task())
    told.attempt("a", OutcomeKind.FAILED)
    tell(told, *standing(told.run, told.now))
    whole = told.run.plan
    told.record(ev.PlanChanged(replace(whole, tasks={"b": whole.tasks["b"]})), ev.PlanChanged(whole))
    told.attempt("a", OutcomeKind.FAILED)
    assert list(news(told.run, standing(told.run, told.now))) == ["needs_person/a/1"]


def test_a_task_that_goes_takes_with_it_only_what_was_told_of_it() -> None:
    """Whatever it is called: keys have numbers and other words in them, too."""
    told = Story(plan_of({"1": task(), "finished": task(), "review": task(), "a": task()}, notify=TOLD))
    kept = ["needs_person/a/1", "needs_person/a/1/review", "finished/1", "finished/2", "limited/1/1.000/days",
            "needs_person/pool:1/1000.000"]  # fmt: skip
    gone = ["needs_person/1/1", "needs_person/1/2/review", "needs_person/a/1/0", "needs_person/1/a/2"]
    told.record(*(ev.Notified("needs_person", key) for key in kept + gone))
    told.record(ev.TaskRemoved("1"), ev.TaskRemoved("finished"), ev.TaskRemoved("review"))
    assert list(told.run.notified) == kept
    assert ending(told.run, halted=False).key == "finished/3"


def test_a_part_that_failed_holds_back_only_who_waits_for_it() -> None:
    told = story(whole=task(delegate=1), one=task(parent="whole", retry=ONCE))
    told.attempt("one", OutcomeKind.FAILED, detail="no luck")
    [failed] = standing(told.run, told.now)
    assert failed.sentence == "Task one failed after 1 try: no luck."


def test_parts_that_are_cancelled_by_thousands_are_told_of_one_by_one() -> None:
    count = 3000
    parts = {f"c{at}": task(parent="whole") for at in range(count)}
    told = Story(plan_of({"whole": task(delegate=1), **parts}, notify=TOLD))
    told.record(ev.Delegated("whole"))
    found: list[Episode] = []
    for name in list(told.task("whole").children):
        told.record(ev.TaskCancelled(name))
        found += began(told.run, ev.TaskCancelled(name), told.now)
    assert len(found) == count
    assert all(still(told.run, one, told.now) for one in found)
    told.record(ev.TaskReset("c0"), ev.TaskRemoved("c1"))
    assert not any(still(told.run, one, told.now) for one in found[:2])


# --- providers ---------------------------------------------------------------------------------------------------


def test_a_provider_without_a_login_is_one_episode_also_over_restarts() -> None:
    told = story(a=task(), b=task())
    told.start("a", "b")
    found = told.end("a", OutcomeKind.AUTH, detail="401") + told.end("b", OutcomeKind.AUTH, detail="401")
    every = [one for event in found for one in began(told.run, event, told.now)]
    assert set(keys(every)) == {"needs_person/pool:codex/1000.000"}
    assert every[0].sentence == "Provider codex is stopped: 401; log in, or mend its set-up, then resume it."
    assert every[0].next == ("daplug-supervise provider resume codex --run r1",)
    assert still(told.run, every[0], told.now)
    tell(told, every[0])
    for _ in range(3):  # killed and started again, and the login is as it was
        told.now += 100
        told.record(ev.RunStarted())
        assert list(of_provider(told.run, "codex")) == []
        told.attempt("a", OutcomeKind.AUTH)
        assert news(told.run, standing(told.run, told.now)) == {}
    told.record(ev.ProviderResumed("codex"))
    told.now += 1
    told.attempt("a", OutcomeKind.AUTH)
    assert list(news(told.run, standing(told.run, told.now))) == ["needs_person/pool:codex/1301.000"]
    assert list(of_provider(told.run, "nobody")) == []


def test_a_login_that_is_lost_again_is_told_again() -> None:
    told = story(a=task(), b=task())
    told.start("b")
    told.attempt("a", OutcomeKind.AUTH)
    [first] = of_provider(told.run, "codex")
    told.record(ev.AttemptExited("b", result(OutcomeKind.COMPLETED)))  # what was under way says nothing
    assert keys(of_provider(told.run, "codex")) == [first.key]
    told.now += 5
    told.record(ev.HaltRequested("stopped", "provider"), ev.Resumed())
    told.attempt("a", OutcomeKind.AUTH)
    [second] = of_provider(told.run, "codex")
    assert second.key != first.key


POOLS = {"codex": Provider(account="mine"), "sol": Provider(account="mine"), "glm": Provider()}


def limited(at: float | None = None) -> Story:
    tasks = {"a": task(), "b": task(), "c": task(provider="sol"), "d": task(provider="glm")}
    return Story(plan_of(tasks, POOLS, notify=TOLD))


def told_of(told: Story, found: list[ev.Event]) -> list[Episode]:
    every = (one for event in found for one in began(told.run, event, told.now))
    return list(news(told.run, every).values())


def test_a_limit_is_told_once_for_the_account_and_not_for_each_task() -> None:
    told = limited()
    told.start("a", "b", "c")
    found = []
    for name in "abc":
        found += told.end(name, OutcomeKind.RATE_LIMITED, detail="429", retry_at=1600.0)
        told.now += 1
    [one] = told_of(told, found)
    assert one.trouble == "limited"
    assert one.key == "limited/mine/1000.000/minutes"
    assert one.sentence == (
        "Account mine (providers codex, sol) rests for a limit: 429; it goes on by itself."
    )
    assert one.until == 1600.0
    assert still(told.run, one, told.now)
    assert not still(told.run, one, 1600.0)
    tell(told, one)
    assert told_of(told, found) == []
    assert news(told.run, standing(told.run, told.now)) == {}


def test_rests_in_a_row_are_one_episode_but_a_week_is_another_thing_than_an_hour() -> None:
    told = limited()
    tell(told, *told_of(told, told.attempt("d", OutcomeKind.RATE_LIMITED)))
    told.now += 31
    assert told_of(told, told.attempt("d", OutcomeKind.RATE_LIMITED)) == []
    told.now += 200
    [longer] = told_of(told, told.attempt("d", OutcomeKind.QUOTA, retry_at=told.now + 5 * 3600))
    assert longer.key == "limited/pool:glm/1000.000/hours"
    assert longer.sentence == "Provider glm rests for a limit: why; it goes on by itself."
    tell(told, longer)
    told.now += 5 * 3600 + 1
    [longest] = told_of(told, told.attempt("d", OutcomeKind.QUOTA, retry_at=told.now + 3 * 86400))
    assert longest.key.endswith("/days")


def test_the_next_limit_after_an_answer_is_the_next_episode() -> None:
    told = limited()
    tell(told, *told_of(told, told.attempt("d", OutcomeKind.RATE_LIMITED)))
    told.now += 31
    told.attempt("d", OutcomeKind.FAILED)
    told.now += 60
    [again] = told_of(told, told.attempt("d", OutcomeKind.RATE_LIMITED))
    assert again.key == f"limited/pool:glm/{told.now:.3f}/minutes"


def test_what_rests_for_no_limit_or_rests_no_more_is_none() -> None:
    told = limited()
    assert told_of(told, told.attempt("a", OutcomeKind.OUTAGE)) == []
    assert list(of_limit(told.run, "b", told.now)) == []
    told.attempt("d", OutcomeKind.RATE_LIMITED)
    assert keys(of_limit(told.run, "d", told.now)) != []
    assert list(of_limit(told.run, "d", told.now + 31)) == []


# --- the run -----------------------------------------------------------------------------------------------------


def test_each_end_of_a_run_is_told_with_what_it_came_to() -> None:
    told = story(a=task(), b=task(retry=ONCE), c=task("b"))
    told.finish("a")
    told.attempt("b", OutcomeKind.FAILED)
    one = ending(told.run, halted=False)
    assert one.key == "finished/1"
    assert one.sentence == "The run has finished: 1 of 3 tasks done, 1 failed, 1 blocked."
    assert one.next == ("daplug-supervise report r1",)
    tell(told, one)
    told.record(ev.TaskReset("b"))
    told.finish("b", "c")
    again = ending(told.run, halted=False)
    assert (again.key, again.sentence) == ("finished/2", "The run has finished: all 3 tasks are done.")


def test_one_task() -> None:
    told = story(a=task())
    assert ending(told.run, halted=False).sentence == "The run has finished: 0 of 1 task done, 1 blocked."
    told.finish("a")
    assert ending(told.run, halted=False).sentence == "The run has finished: the task is done."


def test_a_halt_says_why_and_a_spent_budget_is_a_trouble_of_its_own() -> None:
    told = story(a=task())
    assert ending(told.run, halted=True).sentence == "The run is halted; 0 of 1 task done, 1 waiting."
    told.record(ev.HaltRequested("lunch", "command"))
    one = ending(told.run, halted=True)
    assert (one.trouble, one.key) == ("halted", "halted/1")
    assert one.sentence == "The run is halted: lunch; 0 of 1 task done, 1 waiting."
    assert one.next[-1] == "daplug-supervise resume r1"
    told.record(ev.Resumed(), ev.HaltRequested("the run's budget is spent", "budget"))
    spent = ending(told.run, halted=True)
    assert (spent.trouble, spent.key) == ("over_budget", "over_budget/1")
    told.run.source = "plan.yaml"
    assert ending(told.run, halted=True).next[-1] == "daplug-supervise run plan.yaml"
    told.run.plan = replace(told.run.plan, notify=replace(TOLD, on=("halted",)))
    assert ending(told.run, halted=True).trouble == "halted"


def test_the_more_happens_the_more_is_gathered() -> None:
    assert gap(SOONEST, 1000.0) == SOONEST
    assert gap(SOONEST, 1.5) == 2 * SOONEST
    assert gap(LATEST, 1.0) == LATEST
    assert gap(LATEST, 3 * LATEST) == SOONEST


def test_an_escalation_says_what_is_blocked_why_and_who_knows() -> None:
    told = story(a=task(retry=Retry(attempts=3, backoff=0.0)), b=task())
    for _ in range(3):
        told.attempt("a", OutcomeKind.FAILED, detail="exit code 1")
    waits = "waits for a person: see task why, and notify in the plan"
    assert list(escalations(told.run)) == [
        Escalation("blocked", "a", "failed after 3 tries: exit code 1", waits)
    ]
    tell(told, *standing(told.run, told.now), detail="command: exit code 7")
    assert [one.escalation for one in escalations(told.run)] == [waits]
    tell(told, *of_task(told.run, "a"))
    assert [one.escalation for one in escalations(told.run)] == ["a person was told, and is to decide"]


# --- messages ----------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07 <!channel> key=sk-ant-0123456789abcdefghij \u202e"


def test_a_message_has_what_is_urgent_first_what_to_type_and_nothing_that_does_harm() -> None:
    told = story(a=task(retry=ONCE))
    told.attempt("a", OutcomeKind.FAILED, detail=EVIL)
    found = message(told.run, [ending(told.run, halted=False), *standing(told.run, told.now)], 0.0, Mask())
    assert (found.trouble, found.task, found.title) == (
        "needs_person",
        "",
        "Run r1 needs a person and has finished",
    )
    assert found.text.splitlines()[1:3] == [
        "- Task a failed after 1 try: \\x1b]0;owned\\x07 <!channel> key=*** \\u202e.",
        "    daplug-supervise task logs a --run r1",
    ]
    assert found.text.endswith("\nIn /target")
    assert json.loads(msgspec.json.encode(found))["told"][0]["key"] == "needs_person/a/1"
    assert found.brief.count("\n") == 1
    assert "<" not in plain(found.text)
    assert "@everyone" not in plain("<a href> & @everyone")


def test_a_message_about_one_task_names_it_and_a_long_one_counts_the_rest() -> None:
    told = Story(plan_of({f"t{n:02}": task(retry=ONCE) for n in range(MOST + 3)}, notify=TOLD))
    told.attempt("t00", OutcomeKind.FAILED)
    assert message(told.run, standing(told.run, told.now), 0.0, Mask()).task == "t00"
    for name in told.run.tasks:
        if name != "t00":
            told.attempt(name, OutcomeKind.FAILED)
    found = message(told.run, standing(told.run, told.now), 0.0, Mask())
    assert (len(found.told), found.more, found.title) == (MOST, 3, "Run r1 needs a person (23)")
    assert "- and 3 more: daplug-supervise status r1" in found.text


def test_a_limit_says_until_when() -> None:
    told = limited()
    told.attempt("d", OutcomeKind.QUOTA, retry_at=1_800_000_000.0)
    found = message(told.run, standing(told.run, told.now), 0.0, Mask())
    assert found.told[0].until == "2027-01-15 08:00:00Z"
    assert found.brief.endswith("it goes on by itself. Until 2027-01-15 08:00:00Z.")


def test_a_trial_says_that_nothing_has_happened() -> None:
    found = trial(Plan("night", {}), "/target", 0.0)
    assert found.trial
    assert "nothing has happened" in found.text


# --- addresses and plans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        SECRET,
        "https://me:secret@example.org/hook",
        "https://hc-ping.com/5a3f9c1e-7b2d-4e6f-8a9b-0c1d2e3f4a5b",
        "https://example.org/hook?token=abc",
        "https://example.org/hook?x=1&y=a1b2c3d4e5f6g7h8",
        "https://example.org/ghp_" + "a1B2c3D4e5F6" * 3,
    ],
)
def test_an_address_with_a_secret_is_one(address: str) -> None:
    assert holds_secret(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org",
        "http://127.0.0.1:8080/hook?run=night",
        "https://ntfy.sh/my-own-topic-2026",
        "$HOOK",
    ],
)
def test_an_ordinary_address_is_none(address: str) -> None:
    assert not holds_secret(address)


def checked(tmp_path: Path, notify: str) -> str:
    path = tmp_path / "plan.yaml"
    path.write_text(f"notify: {notify}\ntasks: {{a: {{command: ['true']}}}}\n")
    try:
        load_plan(path)
    except PlanError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("notify", "wrong"),
    [
        (f"{{webhook: '{SECRET}'}}", "put it into the environment, and write webhook: $NAME"),
        ("{command: [tell, '${a.outputs.x}']}", "cannot be put into a command"),
        ("{desktop: true, on: [halted, halted]}", "names halted twice"),
        ("{desktop: true, timeout: 0}", "nothing can be told in no time"),
        ("{on: [halted]}", "says what to tell, but not how"),
        ("{webhook: 'ftp://example.org'}", "webhook"),
        ("{webhook: '$NO-NAME'}", "webhook"),
    ],
)
def test_what_is_wrong_with_notify_is_said(tmp_path: Path, notify: str, wrong: str) -> None:
    found = checked(tmp_path, notify)
    assert wrong in found
    assert "x7K2m9Qp4Zs8Wd3v" not in found


@pytest.mark.parametrize(
    "notify",
    [
        "{webhook: $HOOK}",
        "{webhook: '${HOOK}'}",
        "{webhook: 'https://example.org/hook'}",
        "{command: [tell]}",
    ],
)
def test_what_is_right_with_notify(tmp_path: Path, notify: str) -> None:
    assert checked(tmp_path, notify) == ""
