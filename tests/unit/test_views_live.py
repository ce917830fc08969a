"""The screen that a person keeps open: what is on it at several sizes, keys, and that nothing ever breaks out of it."""

from __future__ import annotations

from unicodedata import category

import pytest
from core_making import Story, plan_of, result, task
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.plan import Budget, Provider
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.errors import IllegalTransitionError
from daplug_supervisor.views.live.digest import digest
from daplug_supervisor.views.live.head import Said, Shown, tokens
from daplug_supervisor.views.live.keys import Look, keys, pressed
from daplug_supervisor.views.live.lines import (
    apart,
    brief,
    fit,
    heading,
    in_ascii,
    joined,
    limited,
    padded,
    piece,
    plain,
    size,
)
from daplug_supervisor.views.live.said import readable, said
from daplug_supervisor.views.live.screen import rows_of, screen, tree_room
from daplug_supervisor.views.text import columns

POOLS = {
    "codex": Provider(worker="codex", parallel=3),
    "claude": Provider(worker="claude", parallel=2),
    "idle": Provider(parallel=1),
}


def night() -> Story:
    """A family at work, a provider that rests, a stuck task, one to be reviewed, one that failed."""
    tasks = {
        "epic": task(title="The public API"),
        "routes": task(parent="epic", estimate=100.0, timeout=600.0),
        "auth": task(parent="epic", provider="claude", estimate=400.0),
        "stuck": task(provider="claude"),
        "bill": task(title="Billing"),
        "mail": task(),
        "after": task("mail"),
    }
    story = Story(plan_of(tasks, POOLS), 1_790_000_000.0)
    story.record(ev.Delegated("epic"))
    story.start("routes")
    story.record(ev.AttemptSpawned("routes", 1, 1, "b", 9.0))
    story.claim("bill")
    story.record(ev.ReviewRequested("bill"))
    story.start("stuck")
    story.record(
        ev.TaskStuck("stuck", result(OutcomeKind.NEEDS_INPUT, "which table?"), "answer its question")
    )
    story.start("mail")
    story.record(ev.TaskFailed("mail", result(detail="exit code 1")))
    story.record(ev.ProviderRested("claude", story.now + 1800, "usage limit"))
    story.now += 70
    return story


def shown(story: Story, *, live: bool = True, **more: object) -> Shown:
    return Shown(story.run, story.now, live, digest(story.run, story.now), **more)  # type: ignore[arg-type]


def draw(
    given: Shown, width: int = 80, height: int = 24, look: Look | None = None, **more: object
) -> list[str]:
    look = look or Look()
    rows = rows_of(given.run, look, tree_room(given, width, height))
    lines = screen(given, look, width, height, rows, **more)  # type: ignore[arg-type]
    assert len(lines) == height
    assert all(size(line) <= width for line in lines)
    return [plain(line) for line in lines]


def text(given: Shown, width: int = 80, height: int = 24, look: Look | None = None, **more: object) -> str:
    return "\n".join(draw(given, width, height, look, **more))


# --- what is on it --------------------------------------------------------------------------------------------


def test_a_night_at_80_by_24() -> None:
    given = shown(night(), said={"routes": Said(1_790_000_000.0 + 65, "3 of 9 files")})
    assert draw(given) == [
        "r1  RUNNING  ░░░░░░░░░░░░  0%  0/7 done  1 at work  1 failed  1 stuck  4 waiting",
        "1m 10s · cost unknown",
        "PROVIDERS ──────────────────────────────────────────────────────────────────────",
        " claude    0/2  ░░      1 ready  rests until 14:43:20Z (in 28m 50s): usage limit",
        " codex     1/3  █░░     0 ready  open",
        " idle      0/1  ░       0 ready  open",
        "AT WORK (1)                 for    left  silent  last line ─────────────────────",
        " routes        codex     1m 10s  8m 50s      5s  3 of 9 files",
        "NEEDS A PERSON (3) ─────────────────────────────────────────────────────────────",
        " ! stuck  stuck: needs input: which table?; answer its question",
        "    daplug-supervise task answer stuck 'your answer'",
        " ? bill  review for a person, since 1m 10s",
        "    daplug-supervise task approve bill",
        " ✗ mail  failed: exit code 1",
        "    daplug-supervise task retry mail",
        "TASKS ──────────────────────────────────────────────────────────────────────────",
        " ↓ epic      delegated (0/2)    The public API",
        " ▸   routes  running            for 1m 10s, #1 codex",
        " ·   auth    waits              claude rests until 14:43:20Z",
        " ! stuck     stuck              needs input: which table?; answer its question",
        " ? bill      review             for a person, since 1m 10s",
        " ✗ mail      failed             exit code 1",
        " ⊘ after     blocked            by failed mail",
        " q quit   ↑↓ choose   enter output   w why   space fold           f all   ? help",
    ]


def test_more_at_140_by_50() -> None:
    lines = draw(shown(night()), 140, 50)
    assert any(line.endswith("daplug-supervise task retry mail") and "exit code 1" in line for line in lines)
    assert any("epic      delegated (0/2)    The public API" in line for line in lines)
    assert any(line.startswith(" idle ") for line in lines)
    assert "no output yet" in "\n".join(lines)


@pytest.mark.parametrize(("width", "height"), [(20, 10), (1, 1), (3, 2), (10, 3), (40, 5), (80, 8)])
def test_small_terminals(width: int, height: int) -> None:
    lines = draw(shown(night()), width, height)
    assert lines[0][:2] in ("r1", "r", "…", "r…")


def test_no_terminal_at_all() -> None:
    assert screen(shown(night()), Look(), 80, 0, []) == []
    assert screen(shown(night()), Look(), 0, 24, []) == []


def test_thousands_of_tasks_are_folded_until_they_fit() -> None:
    names = [f"t{number}" for number in range(5000)]
    story = Story(plan_of(names))
    story.finish(*names[:3000])
    story.start(*names[3000:3003])
    lines = draw(shown(story))
    assert " ✓ 3000 done     t0 … t2999" in lines
    assert any(line.startswith(" ▸ t3001") for line in lines)
    assert any("waiting" in line and line.endswith("… t4999") for line in lines)
    assert "of" not in next(line for line in lines if line.startswith("TASKS"))


def test_many_at_work_and_many_for_a_person_are_counted() -> None:
    names = [f"t{number}" for number in range(60)]
    story = Story(plan_of(names, {"codex": Provider(parallel=30)}))
    story.start(*names[:30])
    for name in names[30:]:
        story.start(name)
        story.record(ev.TaskFailed(name, result()))
    found = text(shown(story))
    assert "AT WORK (30)" in found
    assert "and 29 more" in found or "and 28 more" in found
    assert "NEEDS A PERSON (30)" in found
    assert "more: press f twice" in found
    assert "TASKS (1-7 of 60)" in found


def test_costs_and_budgets() -> None:
    def used(story: Story, usage: Usage | None) -> Story:
        story.start("a")
        spent = Result(Outcome(OutcomeKind.COMPLETED, usage=usage), Exit(0))
        story.record(ev.AttemptExited("a", spent))
        return story

    dear = Usage(input=1_000_000, output=200_000, cost=4.5)
    plan = plan_of(["a", "b"])
    assert draw(shown(used(Story(plan), dear)))[1] == "0s · $4.50 · 1.2M tokens"
    assert draw(shown(used(Story(plan), None)))[1] == "0s · cost unknown"
    limited = plan_of(["a", "b"], budget=Budget(cost=4.0, tokens=2_000_000))
    assert (
        draw(shown(used(Story(limited), dear)))[1]
        == "0s · budget 1,200,000 of 2,000,000 tokens, $4.50 of $4.00: SPENT"
    )
    assert [tokens(count) for count in (950, 12_345, 1_200_000)] == ["950", "12.3k", "1.2M"]


def test_what_is_left_by_estimates() -> None:
    tasks = {"a": task(estimate=100.0), "b": task("a", estimate=50.0), "c": task(estimate=500.0)}
    story = Story(plan_of(tasks, {"codex": Provider(parallel=1)}))
    story.start("a")
    story.now += 40
    assert digest(story.run, story.now).left == 60 + 50 + 500
    assert "about 10m 10s left" in draw(shown(story))[1]
    story.record(ev.ProviderRested("codex", story.now + 100, "limit"))
    assert digest(story.run, story.now).left == 710
    story.record(ev.ProviderPaused("codex"))
    assert digest(story.run, story.now).left == 500
    story.finish("b", "c")
    assert digest(Story(plan_of(["x"])).run, 0.0).left is None
    assert digest(Story(plan_of([])).run, 0.0).left is None


def test_halted_finished_and_left_alone() -> None:
    story = Story(plan_of(["a", "b"]))
    story.start("a")
    assert "No supervisor drives this run." in text(shown(story, live=False))
    assert "! the run is interrupted\n    daplug-supervise resume" in text(shown(story, live=False))
    assert "There is a STOP file" in text(shown(story, stop_file=True))
    story.record(ev.HaltRequested("enough \x1b[2J", "stop_file", ("a",)))
    assert "Halted by stop file 0.0s ago, at 00:16:40Z: enough \\x1b[2J" in text(shown(story))
    story.record(ev.TaskFailed("a", result()), ev.Halted())
    assert "the run is halted" in text(shown(story))
    story.record(ev.Resumed(), ev.RunFinished())
    assert "\nDecide what needs a person, then type daplug-supervise resume\n" in text(shown(story))
    done = Story(plan_of([]))
    done.record(ev.RunFinished())
    found = text(shown(done))
    assert "FINISHED" in found
    assert "100%" in found
    assert "daplug-supervise report says what was done" in found
    assert " no tasks" in found


def test_a_provider_that_only_a_person_can_open() -> None:
    story = Story(plan_of(["a"], POOLS))
    story.record(ev.ProviderStopped("codex", "401 unauthorized"), ev.ProviderPaused("claude"))
    found = text(shown(story, live=True), 120, 30)
    assert "provider codex is stopped" in found
    assert "daplug-supervise provider resume codex" in found
    assert "daplug-supervise provider resume claude" in found


def test_what_is_at_work_tells_its_step_and_what_is_suspicious() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.start("a")
    story.claim("b")
    story.claim("c")
    story.record(ev.VerificationPassed("c"))
    found = text(shown(story, suspects=[Suspect("a", 1, "zombie", story.now - 1300)]))
    assert "has shown no sign of work" in found
    assert "verifying what it claims" in found
    assert "  landing" in found
    story.record(ev.StepDone("c", "context"), ev.StepDone("c", "commit"))
    silent = shown(story, said={"a": Said(story.now - 120, "hm")})
    assert "landing: context, commit done" in text(silent)
    assert "2m 00s  hm" in text(silent)


def test_notices_and_other_runs_are_told_below_the_head() -> None:
    given = shown(night(), notices=["the disk is full"], others=["also unfinished here: r2"])
    assert draw(given)[2:4] == ["the disk is full", "also unfinished here: r2"]


def test_a_command_is_told_whole_or_not_at_all() -> None:
    story = Story(plan_of(["a" * 40, "b"]))
    for name in ("a" * 40, "b"):
        story.start(name)
        story.record(ev.TaskFailed(name, result(detail="x" * 300)))
    lines = draw(shown(story), 80, 40)
    assert f"    daplug-supervise task retry {'a' * 40}" in lines
    assert "    daplug-supervise task retry b  or  daplug-supervise task skip b --reason ..." in draw(
        shown(story), 90, 40
    )


# --- keys -----------------------------------------------------------------------------------------------------


def test_keys_of_a_terminal() -> None:
    assert keys(b"\x1b[A\x1bOBjk\x1b[5~\x1b[6~gG\r l") == (
        ["up", "down", "down", "up", "page up", "page down", "home", "end", "enter", "space", "enter"],
        b"",
    )
    assert keys(b"qwfh?\x0c\x04\x02\x06") == (
        ["q", "w", "f", "help", "help", "redraw", "q", "page up", "page down"],
        b"",
    )
    assert keys(b"\x1b") == ([], b"\x1b") or keys(b"\x1b") == (["escape"], b"")
    assert keys(b"\x1bj") == (["escape", "down"], b"")
    assert keys(b"x\x1b[99zj\xc3\xa4\xff\x00") == (["down"], b"")
    assert keys(b"\x1b[") == ([], b"\x1b[")
    assert keys(b"\x1b[5") == ([], b"\x1b[5")


class Person:
    """Somebody at the keys."""

    def __init__(self, story: Story, height: int = 24) -> None:
        self.story, self.height, self.look = story, height, Look()

    def press(self, *names: str) -> Look:
        given = shown(self.story)
        room = tree_room(given, 80, self.height)
        for name in names:
            rows = rows_of(given.run, self.look, room)
            self.look = pressed(self.look, name, given.run, rows, room)
        return self.look

    def sees(self, **more: object) -> str:
        return text(shown(self.story), 80, self.height, self.look, **more)


def many(done: int = 0, count: int = 100) -> Story:
    names = [f"t{number}" for number in range(count)]
    tasks = {name: task(*names[max(0, at - 1) : at][: at % 2]) for at, name in enumerate(names)}
    story = Story(plan_of(tasks, {"codex": Provider(parallel=50)}))
    for name in names[::2]:
        story.start(name)
    story.finish(*names[1 : 1 + 2 * done : 2]) if done else None
    return story


def test_the_first_key_chooses_what_is_at_work_then_it_moves() -> None:
    person = Person(night())
    assert person.press("down").chosen == "routes"
    assert person.press("down").chosen == "auth"
    assert ">·   auth " in person.sees()
    assert person.press("up", "up").chosen == "epic"
    assert person.press("up").chosen == "epic"
    assert person.press("end").chosen == "after"
    assert person.press("down").chosen == "after"
    assert person.press("home").chosen == "epic"
    assert person.press("escape").chosen == ""


def test_the_chosen_row_stays_on_the_screen() -> None:
    person = Person(many())
    assert person.press("end").chosen == "t99"
    assert "\n>· t99" in person.sees()
    person.press("page up")
    assert f"\n>▸ {person.look.chosen}" in person.sees() or f"\n>· {person.look.chosen}" in person.sees()
    top = person.look.top
    person.press("up")
    assert person.look.top <= top
    assert person.press("page down", "page down").chosen == "t99"
    person.press("home")
    assert person.look.top == 0


def test_a_row_that_went_away_leaves_the_choice_where_it_was() -> None:
    person = Person(night())
    person.press("end", "f")
    assert person.look.chosen == "after"
    person.press("f")
    assert person.look.wanted == "needs a person"
    assert "\n>✗ mail" in person.sees()
    assert "TASKS (needs a person)" in person.sees()
    assert person.press("f").wanted == "all"


def test_nothing_to_show_is_said() -> None:
    person = Person(Story(plan_of(["a"])))
    person.press("f", "f")
    assert "\n nothing" in person.sees()
    assert person.press("down").chosen == ""


def test_folded_rows_are_opened_and_folded_again() -> None:
    story = Story(plan_of([f"t{number}" for number in range(40)]))
    story.finish(*(f"t{number}" for number in range(30)))
    story.start("t30")
    person = Person(story)
    person.press("home")
    assert person.look.chosen == "+t0"
    assert person.press("w").panel == ""
    assert person.press("enter").opened == {"+t0"}
    assert "✓ t0 " in person.sees()
    assert person.press("space").opened == frozenset()
    assert "✓ 30 done" in person.sees()
    assert person.press("home", "space").opened == {"+t0"}


def test_output_why_and_help_take_the_place_of_the_rest() -> None:
    person = Person(night())
    assert person.press("enter").panel == "output"
    assert "LAST OUTPUT routes#1" in person.sees(output=["one", "two \x1b[31m"])
    assert "two \\x1b[31m" in person.sees(output=["one", "two \x1b[31m"])
    assert "nothing was printed yet" in person.sees()
    assert person.press("down").chosen == "auth"
    assert "it has not been started" in person.sees()
    assert person.press("w").panel == "why"
    assert "WHY auth" in person.sees()
    assert person.press("x").panel == "why"
    assert person.press("w").panel == ""
    assert person.press("help").panel == "help"
    assert "This only looks" in person.sees() or "this only looks" in person.sees()
    assert person.press("down").panel == "help"
    assert person.press("enter").panel == "output"
    assert person.press("q") == person.press("x")
    assert person.look.panel == ""
    assert person.press("q").over


def test_help_before_anything_is_chosen() -> None:
    person = Person(night())
    person.press("help", "w")
    assert person.look.panel == ""


def test_a_panel_of_a_row_that_is_no_task() -> None:
    story = night()
    folded = Look(chosen="+routes", panel="output")
    assert "several tasks" in text(shown(story), look=folded)
    gone = Look(chosen="gone", panel="why")
    assert "gone is gone" in text(shown(story), look=gone)


def test_long_output_shows_its_end() -> None:
    found = draw(
        shown(night()), look=Look(chosen="routes", panel="output"), output=[f"l{n}" for n in range(99)]
    )
    assert found[-2] == "l98"
    assert "LAST OUTPUT routes#1" in found[2]
    assert "l1" not in found


def test_other_keys_do_nothing() -> None:
    person = Person(night())
    assert person.press("redraw") == Look()


# --- pieces ---------------------------------------------------------------------------------------------------


def test_the_last_thing_said() -> None:
    assert said("one\ntwo\n \n") == "two"
    assert said("") == ""
    assert readable("\x1b[1;31mred\x1b[0m\x1b[K \x1b]0;title\x07text") == "red \x1b]0;title\x07text"
    assert (
        readable('{"type":"item","item":{"type":"message","text":"I look \\u0061t\\nit"}}') == "I look at it"
    )
    assert readable('lost","command":"bash -lc ls"}') == "bash -lc ls"
    assert readable('{"text":"bad \\ud800 escape"}') == "bad \\ud800 escape"
    assert readable('{"kind": 3}') == '{"kind": 3}'
    assert len(readable("x" * 9999)) == 400


def test_pieces_of_lines() -> None:
    line = (piece("abc"), piece("defg", "red"))
    assert plain(fit(line, 7)) == "abcdefg"
    assert plain(fit(line, 5)) == "abcd…"
    assert plain(fit(line, 3)) == "ab…"
    assert fit(line, 0) == (("", ""),)
    assert plain(fit((piece("日本語"),), 4)) == "日…"
    assert padded("ab", 4, right=True) == ("  ab", "")
    assert padded("日本", 3) == ("日…", "")
    assert plain(apart(line, line, 16)) == "abcdefg  abcdefg"
    assert plain(apart(line, line, 14)) == "abcdefg"
    assert plain(apart(line, (), 14)) == "abcdefg"
    assert joined([(), line, (), line]) == (*line, ("  ", ""), *line)
    assert plain(heading("x", "\x1b", 9)) == "X \\x1b ──"
    assert [plain(one) for one in limited([line] * 5, 3)] == ["abcdefg", "abcdefg", "  and 3 more"]
    assert limited([line] * 5, 0) == []
    assert in_ascii("✓ ▸ …") == "+ > ~"
    assert [brief(seconds) for seconds in (-3, 9.7, 61)] == ["0s", "9s", "1m 01s"]


# --- whatever happens -----------------------------------------------------------------------------------------

_NASTY = st.text(
    st.one_of(
        st.sampled_from("\x1b\x07\r\n\t\x9b\u202e\u200f\u2066\ufe0f\u0301\u200d😀日本한👨 "), st.characters()
    ),
    max_size=40,
)


@st.composite
def runs(draw_one: st.DrawFn) -> Story:
    """A run with a past, made of whatever people and agents may write."""
    count = draw_one(st.integers(0, 15))
    names = [
        f"t{number}" + draw_one(st.sampled_from(["", "-" + "long" * 20, "x"])) for number in range(count)
    ]
    tasks = {}
    for at, name in enumerate(names):
        before = names[:at]
        is_part, needs_one = draw_one(st.booleans()), draw_one(st.booleans())
        other = before[draw_one(st.integers(0, at - 1))] if before else ""
        parent = other if other and is_part else None
        needs = (other,) if other and needs_one and not is_part else ()
        estimate = draw_one(st.sampled_from([None, 60.0]))
        tasks[name] = task(*needs, title=draw_one(_NASTY), parent=parent, estimate=estimate)
    # Needs and parts together may be a circle: then without needs.
    try:
        story = Story(plan_of(tasks, {"codex": Provider(parallel=4), "claude": Provider()}))
    except IllegalTransitionError:
        story = Story(plan_of({name: task(parent=one.parent) for name, one in tasks.items()}))
    for name in names:
        story.now += draw_one(st.floats(0, 1e7))
        happens(story, name, draw_one(st.integers(0, 9)), draw_one(_NASTY))
    for at in draw_one(st.lists(st.integers(0, len(_EVENTS) - 1), max_size=2)):
        story.record(_EVENTS[at])
    return story


_EVENTS: list[ev.Event] = [
    ev.ProviderRested("codex", 1e7, "\x1b[2J limit"),
    ev.ProviderStopped("codex", "\u202e stopped"),
    ev.ProviderPaused("codex", None, "\n\n"),
    ev.HaltRequested("\x1b]0;x\x07", "command"),
    ev.RunFinished(),
]


def happens(story: Story, name: str, what: int, words: str) -> None:
    """One of ten pasts of a task."""
    follows: list[tuple[ev.Event, ...]] = [
        (),
        (),
        (ev.TaskFailed(name, result(detail=words)),),
        (ev.TaskStuck(name, result(detail=words), words),),
        (ev.AttemptExited(name, result(OutcomeKind.COMPLETED)), ev.VerificationPassed(name), ev.Landed(name)),
        (ev.AttemptExited(name, result(OutcomeKind.COMPLETED)), ev.ReviewRequested(name)),
        (ev.RetryScheduled(name, result(detail=words), story.now + 50),),
        (ev.Delegated(name),),
        (ev.TaskSkipped(name, words),),
        (),
    ]
    if 1 <= what <= 6:
        story.start(name)
    story.record(*follows[what])


@given(
    runs(),
    st.integers(1, 180),
    st.integers(1, 60),
    st.lists(
        st.sampled_from(
            [
                "up",
                "down",
                "page up",
                "page down",
                "home",
                "end",
                "enter",
                "space",
                "w",
                "f",
                "help",
                "escape",
            ]
        ),
        max_size=8,
    ),
    _NASTY,
    st.booleans(),
)
def test_never_wider_or_higher_than_asked_and_nothing_breaks_out(
    story: Story, width: int, height: int, typed: list[str], output: str, live: bool
) -> None:
    look = Look()
    told = {name: Said(story.now - 5, output) for name in story.run.tasks}
    given_ = shown(story, live=live, said=told, notices=[output], others=[output])
    room = tree_room(given_, width, height)
    for key in typed:
        look = pressed(look, key, story.run, rows_of(story.run, look, room), room)
        lines = screen(given_, look, width, height, rows_of(story.run, look, room), [output, output])
        assert len(lines) == height
        for line in lines:
            assert size(line) <= width
            whole = "".join(part for part, _ in line)
            assert columns(whole) <= width
            assert not [one for one in whole if category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
