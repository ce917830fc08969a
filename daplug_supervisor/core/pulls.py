"""A pull request that a run works for: what its labels and comments say, and what a step has to change in it.

Everything here can be done again: what is there already is not done twice. Labels say what state it is in, and only
people with rights can set them. Which run that is stands in comments, of which only those of such people count.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

from msgspec import Struct

from daplug_supervisor.core.fences import code, fenced
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.errors import PullRequestError, UsageError

EXECUTING: Final = "state:executing"
BLOCKED: Final = "state:blocked"
LABELS: Final = {EXECUTING: "a run works on it", BLOCKED: "a run has stopped, and needs a person"}
"""The labels that say what state a pull request is in, and what is said of them."""

BEGIN_TASK: Final = "state-begin"
COMPLETE_TASK: Final = "state-complete"

State = Literal["executing", "blocked", "continued", "published"]
Verb = Literal["begin", "pause", "complete", "continue"]
BY_HAND: Final = "by-hand"
"""Who speaks if it is no run."""

_MOST_REASON = 4000
_LONGEST_LINK = 300
_MOST_TOLD = 5
_MARK = re.compile(
    r"<!-- daplug-supervisor run=(?P<run>[A-Za-z0-9._-]{1,100}) key=(?P<key>[0-9a-f]{1,64})"
    rf" state=(?P<state>{'|'.join(get_args(State))})(?: over=(?P<over>[A-Za-z0-9._/-]{{1,200}}))? -->"
)
_LINK = re.compile(r"→ \[([^\]\r\n]*)\]")
_DONE = {
    "executing": "**Executing**",
    "blocked": "**Blocked**",
    "continued": "**Continued**",
    "published": "**Published**",
}


class Who(Struct, frozen=True):
    """A run, from wherever: `key` tells two from each other that have the same name."""

    run: str
    key: str

    @property
    def name(self) -> str:
        """Both, as a comment has them."""
        return f"{self.run}/{self.key}"


class Comment(Struct, frozen=True):
    """A comment. `trusted`: somebody with rights wrote it."""

    body: str
    trusted: bool = False


class Pull(Struct, frozen=True):
    """A pull request as it is now. `state` is ``OPEN``, ``CLOSED`` or ``MERGED``."""

    number: int
    url: str
    branch: str = ""
    state: str = "OPEN"
    draft: bool = False
    body: str = ""
    labels: frozenset[str] = frozenset()
    comments: tuple[Comment, ...] = ()


class Step(Struct, frozen=True):
    """One change: a comment or a label with that text, or making a draft ready for review."""

    kind: Literal["comment", "add", "remove", "ready"]
    text: str = ""


class Mark(Struct, frozen=True):
    """What a comment of ours says, unseen by people: who did what. `over`: whom a run took the place of."""

    who: Who
    state: State
    over: str = ""


def marks(pull: Pull) -> tuple[Mark, ...]:
    """What the comments say that count, oldest first."""
    return tuple(found for one in pull.comments if one.trusted and (found := _mark(one.body)))


def _mark(body: str) -> Mark | None:
    """Only the first line is looked at: what comes below it may quote anything."""
    found = _MARK.fullmatch(body.partition("\n")[0].rstrip("\r"))
    if found is None:
        return None
    state: State = found["state"]  # type: ignore[assignment]  # one of them, by the pattern
    return Mark(Who(found["run"], found["key"]), state, found["over"] or "")


def holder(pull: Pull) -> Who | None:
    """The run that works for it, as comments have it: of two that begin at once, the one whose comment came first."""
    held: Who | None = None
    for mark in marks(pull):
        if mark.state != "executing":
            held = None
        elif held is None or mark.over == held.name:
            held = mark.who
    return held


# --- what a step changes ------------------------------------------------------------------------------------


def begin(pull: Pull, who: Who, place: str) -> tuple[Step, ...]:
    """A run begins to work for it. The comment comes first: the label alone would not say whose it is.

    Raises:
        PullRequestError: it is not to be worked on now.
    """
    if pull.state != "OPEN":
        raise PullRequestError(
            f"PR #{pull.number} is {pull.state.lower()}: reopen it, or run the plan by its path"
        )
    if BLOCKED in pull.labels:
        raise _blocked(pull)
    held = holder(pull)
    if EXECUTING in pull.labels:
        if held != who:
            raise executing(pull, held)
        return ()
    text = f"{_DONE['executing']}{_by(who)} in {code(place)}."
    said = () if held == who else (_comment(who, "executing", text, over=held),)
    return (*said, Step("add", EXECUTING))


def check_claim(pull: Pull, who: Who, *, labelled: bool) -> None:
    """Look at it again after a run's comment, before it is labelled, and after that: two may have begun at once.

    Raises:
        PullRequestError: the other one has it.
    """
    held = holder(pull)
    if held != who or (not labelled and EXECUTING in pull.labels):
        raise executing(pull, None if held == who else held)


def pause(pull: Pull, who: Who, reason: str, *, by_hand: bool = False) -> tuple[Step, ...]:
    """It is blocked: its run has stopped, and a person is needed.

    Raises:
        PullRequestError: another run works for it.
    """
    if BLOCKED in pull.labels and EXECUTING not in pull.labels:
        return ()
    _not_anothers(pull, who, by_hand=by_hand)
    said = reason.strip()[:_MOST_REASON] or "no reason was given"
    text = f"{_DONE['blocked']}{_by(who)}:\n\n{fenced(said)}\n\n{_way_on(pull)}"
    steps = () if _said(pull, who, "blocked") else (_comment(who, "blocked", text),)
    return (*steps, *_add(pull, BLOCKED), *_remove(pull, EXECUTING))


def complete(pull: Pull, who: Who, *, by_hand: bool = False) -> tuple[Step, ...]:
    """The work is done: it is ready for review.

    Raises:
        PullRequestError: it is blocked, or another run works for it.
    """
    if BLOCKED in pull.labels:
        raise _blocked(pull)
    _not_anothers(pull, who, by_hand=by_hand)
    ready = (Step("ready"),) if pull.draft and pull.state == "OPEN" else ()
    text = f"{_DONE['published']}{_by(who)}."
    said = () if _said(pull, who, "published") else (_comment(who, "published", text),)
    return (*ready, *_remove(pull, EXECUTING), *said)


def release(pull: Pull, who: Who) -> tuple[Step, ...]:
    """It is no longer blocked: a person has seen to it."""
    if BLOCKED not in pull.labels:
        return ()
    newest = marks(pull)[-1:]
    text = f"{_DONE['continued']}: a run may begin again."
    said = () if newest and newest[0].state == "continued" else (_comment(who, "continued", text),)
    return (*said, *_remove(pull, EXECUTING), Step("remove", BLOCKED))


def executing(pull: Pull, held: Who | None) -> PullRequestError:
    """Somebody else works for it."""
    if held is None:
        by = "no run of ours said so"
    else:
        by = "somebody works on it" if held.run == BY_HAND else f"run {held.run} works on it"
    return PullRequestError(
        f"PR #{pull.number} already executing. ({by}; if that is over: 'daplug-supervise pr pause {pull.number}', "
        f"then 'daplug-supervise pr continue {pull.number}')"
    )


def _blocked(pull: Pull) -> PullRequestError:
    return PullRequestError(
        f"PR #{pull.number} is blocked: 'daplug-supervise pr continue {pull.number}' releases it, then run it again"
    )


def _not_anothers(pull: Pull, who: Who, *, by_hand: bool) -> None:
    held = holder(pull)
    if not by_hand and held not in (None, who):
        raise executing(pull, held)


def _said(pull: Pull, who: Who, state: State) -> bool:
    """Whether its newest comment that counts is this one."""
    newest = marks(pull)[-1:]
    return bool(newest) and newest[0].state == state and newest[0].who == who


def _by(who: Who) -> str:
    return "" if who.run == BY_HAND else f" by run {code(who.run)}"


def _comment(who: Who, state: State, text: str, over: Who | None = None) -> Step:
    instead = f" over={over.name}" if over else ""
    return Step(
        "comment", f"<!-- daplug-supervisor run={who.run} key={who.key} state={state}{instead} -->\n{text}\n"
    )


def _add(pull: Pull, label: str) -> tuple[Step, ...]:
    return () if label in pull.labels else (Step("add", label),)


def _remove(pull: Pull, label: str) -> tuple[Step, ...]:
    return (Step("remove", label),) if label in pull.labels else ()


def _way_on(pull: Pull) -> str:
    return f"Mend the cause, then `daplug-supervise pr continue {pull.number}`, and run it again."


# --- what names what ----------------------------------------------------------------------------------------


def spec_path(body: str) -> str:
    """The path of the PLAN.md that the text of a pull request leads to, from the top of the repository.

    Whoever opened it wrote that text.

    Raises:
        UsageError: there is none, or it leads elsewhere.
    """
    found = _LINK.search(body)
    if found is None:
        raise UsageError("its text has no Spec Reference: write '→ [.dev/specs/NAME/PLAN.md](...)' into it")
    path = found[1]
    parts = path.split("/")
    odd = len(path) > _LONGEST_LINK or not path.isprintable() or "\\" in path
    if (
        odd
        or parts[-1] != "PLAN.md"
        or any(part in ("", ".", "..") or part.startswith("-") for part in parts)
    ):
        raise UsageError(
            f"its Spec Reference is {path[:_LONGEST_LINK]!a}: it must be the path of a PLAN.md in the repository"
        )
    return path


def pull_of(plan: Plan) -> str:
    """The pull request that a plan is run for, as its steps name it; '' if there is none."""
    spec = plan.tasks.get(BEGIN_TASK)
    words = (spec.command or ()) if spec else ()
    at = words.index("begin") + 1 if "begin" in words else len(words)
    return words[at] if at < len(words) else ""


def paused(run: Run) -> tuple[str, ...] | None:
    """The command that tells the pull request of a run that it stopped on a failure; None if there is none to tell."""
    begun = run.tasks.get(BEGIN_TASK)
    if begun is None or begun.status is not Status.DONE or not pull_of(run.plan):
        return None
    over = run.tasks.get(COMPLETE_TASK)
    stuck = [task for task in run.tasks.values() if task.status in (Status.FAILED, Status.STUCK)]
    if not stuck or (over is not None and over.status is Status.DONE):
        return None
    told = "; ".join(_failure(run, task.id) for task in stuck[:_MOST_TOLD])
    more = len(stuck) - _MOST_TOLD
    reason = f"{told}; and {more} more" if more > 0 else told
    words = run.plan.tasks[BEGIN_TASK].command or ()
    at = words.index("begin")
    return (*words[:at], "pause", *words[at + 1 :], f"--run={run.id}", f"--reason={reason[:_MOST_REASON]}")


def _failure(run: Run, name: str) -> str:
    task, spec = run.tasks[name], run.spec(name)
    last = task.last
    why = last.outcome.detail or last.outcome.kind.value if last else task.reason
    title = f" ({spec.title})" if spec.title else ""
    return f"{name}{title} {task.status}{f': {why}' if why else ''}".replace("\0", "")
