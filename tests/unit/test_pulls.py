"""The state of a pull request: who works for it, as labels and comments have it, and what each step changes."""

from __future__ import annotations

from typing import Any

import pytest
from core_making import Story, plan_of, result, task
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core import pulls
from daplug_supervisor.core.pulls import BLOCKED, EXECUTING, Comment, Pull, Step, Who
from daplug_supervisor.errors import PullRequestError, UsageError
from daplug_supervisor.formats.todos import substeps

NEW = Pull(12, "https://github.com/acme/site/pull/12", draft=True)
A, B = Who("login-1", "aa"), Who("login-1", "bb")
PLACE = "host:~/site"


def done(pull: Pull, *steps: Step) -> Pull:
    """The pull request after these steps."""
    for step in steps:
        if step.kind == "comment":
            pull = replace(pull, comments=(*pull.comments, Comment(step.text, trusted=True)))
        elif step.kind == "ready":
            pull = replace(pull, draft=False)
        else:
            labels = pull.labels | {step.text} if step.kind == "add" else pull.labels - {step.text}
            pull = replace(pull, labels=labels)
    return pull


def begun(who: Who = A, pull: Pull = NEW) -> Pull:
    return done(pull, *pulls.begin(pull, who, PLACE))


def kinds(steps: tuple[Step, ...]) -> list[str]:
    return [f"{step.kind} {step.text}" if step.kind in ("add", "remove") else step.kind for step in steps]


def test_a_run_begins_and_ends() -> None:
    pull = begun()
    assert (pull.labels, pulls.holder(pull)) == (frozenset({EXECUTING}), A)
    assert "**Executing** by run `login-1` in `host:~/site`." in pull.comments[0].body
    steps = pulls.complete(pull, A)
    assert kinds(steps) == ["ready", f"remove {EXECUTING}", "comment"]
    over = done(pull, *steps)
    assert (over.labels, over.draft, pulls.holder(over)) == (frozenset(), False, None)
    assert "**Published** by run `login-1`" in over.comments[-1].body


def test_a_step_that_was_cut_short_anywhere_is_gone_on_with() -> None:
    """Each prefix of the changes of a step, and then the step again: the same in the end, nothing twice."""
    running = begun()
    blocked = done(running, *pulls.pause(running, A, "no key"))
    steps: list[tuple[Pull, Any]] = [
        (NEW, lambda now: pulls.begin(now, A, PLACE)),
        (running, lambda now: pulls.pause(now, A, "no key")),
        (running, lambda now: pulls.complete(now, A)),
        (blocked, lambda now: pulls.release(now, B)),
    ]
    for pull, step in steps:
        changes = step(pull)
        whole = done(pull, *changes)
        for cut in range(len(changes) + 1):
            part = done(pull, *changes[:cut])
            assert done(part, *step(part)) == whole
        assert step(whole) == ()


def test_another_run_is_told_so_and_a_way_out() -> None:
    for who, labels in [(B, {EXECUTING}), (Who("other-1", "aa"), {EXECUTING})]:
        with pytest.raises(
            PullRequestError, match=r"^PR #12 already executing\. \(run login-1 works on it; .*pause"
        ):
            pulls.begin(replace(begun(), labels=frozenset(labels)), who, PLACE)
    with pytest.raises(PullRequestError, match=r"^PR #12 already executing\. \(no run of ours said so"):
        pulls.begin(replace(NEW, labels=frozenset({EXECUTING})), A, PLACE)
    with pytest.raises(PullRequestError, match=r"\(somebody works on it; "):
        pulls.begin(begun(Who(pulls.BY_HAND, "cc")), A, PLACE)
    with pytest.raises(PullRequestError, match="already executing"):
        pulls.complete(begun(), B)
    with pytest.raises(PullRequestError, match="already executing"):
        pulls.pause(begun(), B, "")


def test_blocked_means_that_a_person_has_to_release_it() -> None:
    blocked = done(begun(), *pulls.pause(begun(), A, "no key"))
    assert blocked.labels == {BLOCKED}
    assert "**Blocked** by run `login-1`:\n\n```text\nno key\n```" in blocked.comments[-1].body
    told = r"^PR #12 is blocked: 'daplug-supervise pr continue 12'"
    with pytest.raises(PullRequestError, match=told):
        pulls.begin(blocked, A, PLACE)
    with pytest.raises(PullRequestError, match=told):
        pulls.complete(blocked, A)
    released = done(blocked, *pulls.release(blocked, B))
    assert released.labels == set()
    assert begun(B, released).labels == {EXECUTING}
    assert pulls.release(released, A) == ()
    again = done(begun(A, released), *pulls.pause(begun(A, released), A, ""))
    assert "no reason was given" in again.comments[-1].body


def test_a_person_may_end_what_a_dead_run_has_begun() -> None:
    person = Who(pulls.BY_HAND, "cc")
    paused = done(begun(), *pulls.pause(begun(), person, "its machine is gone", by_hand=True))
    free = done(paused, *pulls.release(paused, person))
    assert "**Blocked**:\n" in paused.comments[-1].body
    assert pulls.holder(begun(B, free)) == B
    assert pulls.holder(done(begun(), *pulls.complete(begun(), person, by_hand=True))) is None


def test_a_closed_one_is_not_begun() -> None:
    with pytest.raises(PullRequestError, match="PR #12 is merged"):
        pulls.begin(replace(NEW, state="MERGED"), A, PLACE)
    merged = replace(begun(), state="MERGED")
    assert kinds(pulls.complete(merged, A)) == [f"remove {EXECUTING}", "comment"]


def test_a_label_that_somebody_took_away_frees_it() -> None:
    free = replace(begun(), labels=frozenset())
    taken = begun(B, free)
    assert pulls.holder(taken) == B
    assert pulls.holder(begun(A, free)) == A  # its own label, which a crash kept from being set


@given(st.lists(st.sampled_from("ab"), max_size=12))
def test_of_two_that_begin_at_once_at_most_one_works(turns: list[str]) -> None:
    """Looks and changes of the two in any order."""
    runs, pull = {"a": _Beginning(A), "b": _Beginning(B)}, NEW
    for name in [*turns, *"aaaaaabbbbbb"]:
        pull = runs[name].go_on(pull)
    states = [run.state for run in runs.values()]
    assert set(states) <= {"works", "refused"}
    assert states.count("works") <= 1


def test_a_comment_that_came_too_late_takes_nothing_away() -> None:
    late = done(begun(), pulls.begin(NEW, B, PLACE)[0])
    with pytest.raises(PullRequestError, match="already executing"):
        pulls.check_claim(late, B, labelled=False)
    assert pulls.begin(late, A, PLACE) == ()


class _Beginning:
    """A run that begins, one look or change at a time."""

    def __init__(self, who: Who) -> None:
        self.who, self.state, self.steps, self.last = who, "looks", list[Step](), ""

    def go_on(self, pull: Pull) -> Pull:
        try:
            if self.state == "looks":
                self.steps = list(pulls.begin(pull, self.who, PLACE))
                self.state = "changes" if self.steps else "works"
            elif self.state == "changes":
                step = self.steps.pop(0)
                self.state, self.last = "checks", step.kind
                return done(pull, step)
            elif self.state == "checks":
                pulls.check_claim(pull, self.who, labelled=self.last == "add")
                self.state = "changes" if self.steps else "works"
        except PullRequestError:
            self.state = "refused"
        return pull


def test_comments_of_strangers_and_quotations_mean_nothing() -> None:
    pull = begun()
    mark = pull.comments[0].body.partition("\n")[0]
    strangers = Comment(mark.replace("executing", "published"))
    quoted = Comment(f"see:\n{mark.replace('executing', 'published')}", trusted=True)
    odd = Comment(mark.replace("executing", "owned"), trusted=True)
    assert pulls.holder(replace(pull, comments=(*pull.comments, strangers, quoted, odd))) == A
    reason = f"{mark}\n```\n@everybody <b>\x1b[31m ``````"
    blocked = done(pull, *pulls.pause(pull, A, reason))
    assert [one.state for one in pulls.marks(blocked)] == ["executing", "blocked"]
    assert "\x1b" not in blocked.comments[-1].body
    assert "\n```````text\n" in blocked.comments[-1].body


def test_the_plan_that_its_text_leads_to() -> None:
    assert (
        pulls.spec_path("Spec Reference\r\n→ [.dev/specs/login/PLAN.md](x) → [b]")
        == ".dev/specs/login/PLAN.md"
    )


@pytest.mark.parametrize(
    "path",
    ["/etc/PLAN.md", "../PLAN.md", "a/../../PLAN.md", "a//PLAN.md", "./PLAN.md", "-x/PLAN.md", "a\\PLAN.md",
     "a\x1b/PLAN.md", "a\u202e/PLAN.md", "a/plan.yaml", "", "a/PLAN.md/", f"{'a/' * 200}PLAN.md", "~/PLAN.md/x"],
)  # fmt: skip
def test_a_text_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"must be the path of a PLAN\.md in the repository") as caught:
        pulls.spec_path(f"→ [{path}]")
    assert str(caught.value).isprintable()


def test_a_text_that_leads_nowhere_is_told() -> None:
    with pytest.raises(UsageError, match="has no Spec Reference"):
        pulls.spec_path("→ .dev/specs/login/PLAN.md")


# --- what a run has to tell --------------------------------------------------------------------------------


def story() -> Story:
    command = ("python", "-m", "x", "pr", "begin", NEW.url, "--state-dir=/s")
    tasks = {
        "state-begin": replace(task(), command=command),
        **{f"todo-{at}": replace(task("state-begin"), title=f"Do {at}") for at in range(7)},
        "state-complete": task(*(f"todo-{at}" for at in range(7))),
    }
    return Story(plan_of(tasks))


def finish(told: Story, name: str) -> None:
    told.record(ev.TaskAdopted(name))


def test_a_failure_is_told_to_the_pull_request() -> None:
    told = story()
    assert pulls.pull_of(told.run.plan) == NEW.url
    told.start("state-begin")
    told.record(ev.TaskFailed("state-begin", result()))
    assert pulls.paused(told.run) is None  # it is another run's
    told.record(ev.TaskReset("state-begin"))
    finish(told, "state-begin")
    assert pulls.paused(told.run) is None
    told.start("todo-0")
    told.record(ev.TaskFailed("todo-0", result(detail="--no key\0")))
    found = pulls.paused(told.run)
    assert found == (
        "python", "-m", "x", "pr", "pause", NEW.url, "--state-dir=/s", "--run=r1",
        "--reason=todo-0 (Do 0) failed: --no key",
    )  # fmt: skip
    for at in range(1, 7):
        told.start(f"todo-{at}")
        told.record(ev.TaskStuck(f"todo-{at}", result(detail=""), "look"))
    found = pulls.paused(told.run)
    assert found is not None
    assert found[-1].endswith("todo-4 (Do 4) stuck: failed; and 2 more")


def test_nothing_is_told_when_it_is_published_or_there_is_none_to_tell() -> None:
    told = story()
    finish(told, "state-begin")
    finish(told, "state-complete")
    told.start("todo-0")
    told.record(ev.TaskFailed("todo-0", result()))
    assert pulls.paused(told.run) is None
    local = Story(plan_of(["todo-1"]))
    assert (pulls.pull_of(local.run.plan), pulls.paused(local.run)) == ("", None)
    odd = Story(plan_of({"state-begin": replace(task(), command=("pr", "begin")), "x": task()}))
    finish(odd, "state-begin")
    odd.start("x")
    odd.record(ev.TaskFailed("x", result()))
    assert (pulls.pull_of(odd.run.plan), pulls.paused(odd.run)) == ("", None)


def test_the_steps_are_called_as_where_they_are_made() -> None:
    assert (pulls.BEGIN_TASK, pulls.COMPLETE_TASK) == (substeps.BEGIN, substeps.COMPLETE)
