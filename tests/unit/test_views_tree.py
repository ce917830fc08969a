"""The tree of tasks: what is folded, what is chosen, what is said."""

from __future__ import annotations

from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.views.live.digest import digest
from daplug_supervisor.views.live.tree import Row, indent, name_of, tree, words
from daplug_supervisor.views.live.tree_lines import tree_text


def family(*, more: dict[str, Task] | None = None) -> Plan:
    """A task with three parts, one of which has two of its own, and a task that needs it."""
    tasks = {
        "epic": task(title="The whole"),
        "a": task(parent="epic"),
        "b": task(parent="epic"),
        "b1": task(parent="b"),
        "b2": task("b1", parent="b"),
        "c": task("a", parent="epic"),
        "last": task("epic"),
    }
    return plan_of({**tasks, **(more or {})})


def delegated(plan: Plan | None = None) -> Story:
    story = Story(plan or family())
    story.record(ev.Delegated("epic"))
    return story


def keys(rows: list[Row]) -> list[tuple[str, int]]:
    return [(row.key, row.depth) for row in rows]


def said(story: Story, row: Row | str, *, live: bool = True) -> tuple[str, str, str, str]:
    """Sign, name, state and detail of a row."""
    row = Row(row, 0, (row,)) if isinstance(row, str) else row
    found = words(story.run, row, story.now, live=live, behind=digest(story.run, story.now).behind)
    return found.sign, found.name, found.state, found.detail


# --- what is where --------------------------------------------------------------------------------------------


def test_parts_follow_their_parent_and_are_set_in() -> None:
    story = delegated()
    rows = tree(story.run)
    assert keys(rows) == [("epic", 0), ("a", 1), ("b", 1), ("b1", 2), ("b2", 2), ("c", 1), ("last", 0)]
    assert [indent(row) for row in rows[:4]] == [0, 2, 2, 4]
    assert indent(Row("x", 1000, ("x",))) == 24


def test_a_chain_of_thousands_of_parts_is_no_problem() -> None:
    names = [f"t{number}" for number in range(3000)]
    parents = [None, *names]
    story = Story(plan_of({name: task(parent=parent) for name, parent in zip(names, parents, strict=False)}))
    assert [row.depth for row in tree(story.run, 10)] == list(range(3000))


def test_nothing_is_folded_while_there_is_room() -> None:
    story = Story(plan_of([f"t{number}" for number in range(10)]))
    story.finish(*(f"t{number}" for number in range(5)))
    assert len(tree(story.run, 10)) == 10
    assert len(tree(story.run)) == 10


def test_what_is_done_is_folded_first_then_what_waits() -> None:
    story = Story(plan_of([f"t{number}" for number in range(20)]))
    story.finish(*(f"t{number}" for number in range(8)))
    story.start("t8")
    rows = tree(story.run, 15)
    assert [row.folded for row in rows] == ["done", *[""] * 12]
    assert (rows[0].key, rows[0].tasks[-1], name_of(rows[0])) == ("+t0", "t7", "8 done")
    assert said(story, rows[0]) == ("✓", "8 done", "", "t0 … t7")
    rows = tree(story.run, 8)
    assert [row.key for row in rows] == ["+t0", "t8", "t9", "t10", "t11", "t12", "t13", "+t9"]
    assert said(story, rows[-1]) == ("·", "6 waiting", "", "t14 … t19")
    assert [row.key for row in tree(story.run, 2)] == ["+t0", "t8", "t9", "t10", "+t9"]


def test_what_was_opened_is_not_folded() -> None:
    story = Story(plan_of([f"t{number}" for number in range(20)]))
    story.finish(*(f"t{number}" for number in range(8)))
    story.start("t8")
    assert len(tree(story.run, 5, opened=frozenset({"+t0"}))) == 8 + 1 + 2 + 1
    assert len(tree(story.run, 5, opened=frozenset({"+t9"}))) == 1 + 1 + 11
    assert len(tree(story.run, 5, opened=frozenset({"+t0", "+t9"}))) == 20


def test_a_family_that_is_done_is_one_row() -> None:
    story = delegated()
    story.finish("a", "c", "b", "b1", "b2")
    story.record(ev.ChildrenDone("epic", 1, "t", "codex", result(OutcomeKind.COMPLETED)))
    story.record(ev.VerificationPassed("epic"), ev.Landed("epic"))
    story.start("last")
    rows = tree(story.run, 3)
    assert keys(rows) == [("epic", 0), ("last", 0)]
    assert said(story, rows[0])[:3] == ("✓", "epic", "done (3/3)")
    assert [row.key for row in tree(story.run, 3, opened=frozenset({"epic"}))] == ["epic", "+a", "last"]


def test_of_an_open_family_the_done_parts_are_folded() -> None:
    story = delegated(family(more={"d": task(parent="epic")}))
    story.finish("a", "b", "b1", "b2", "c")
    rows = tree(story.run, 4)
    assert keys(rows) == [("epic", 0), ("+a", 1), ("d", 1), ("last", 0)]
    assert said(story, rows[0])[2] == "delegated (3/4)"


def test_filters_show_a_task_with_what_it_is_part_of() -> None:
    story = delegated()
    story.finish("a", "b1")
    story.record(ev.TaskSkipped("c"))
    assert [row.key for row in tree(story.run, wanted="not done")] == ["epic", "b", "b2", "last"]
    story.attempt("b2", OutcomeKind.AUTH)
    story.start("b")
    story.record(ev.TaskFailed("b", result()))
    assert tree(story.run, wanted="needs a person")[0].key == "epic"
    assert [row.key for row in tree(story.run, wanted="needs a person")] == ["epic", "b"]


def test_a_parent_that_lost_its_parts_needs_a_person() -> None:
    story = Story(plan_of({"epic": task(), "other": task()}))
    story.record(ev.Delegated("epic"))
    assert [row.key for row in tree(story.run, wanted="needs a person")] == ["epic"]
    assert said(story, "epic") == ("↓", "epic", "delegated (0/0)", "its parts were removed: needs a person")


# --- what is said ---------------------------------------------------------------------------------------------


def test_delegation_is_told_with_how_many_parts_are_done() -> None:
    story = delegated()
    assert said(story, "epic") == ("↓", "epic", "delegated (0/3)", "")
    story.finish("a", "c")
    assert said(story, "epic")[2] == "delegated (2/3)"
    story.start("b")
    story.record(ev.TaskFailed("b", result()))
    assert said(story, "epic") == ("↓", "epic", "delegated (2/3)", "b is failed: needs a person")
    assert said(story, "last") == ("⊘", "last", "blocked", "by failed b")
    story.record(ev.TaskReset("b"))
    story.finish("b")
    assert said(story, "epic") == ("↓", "epic", "delegated (3/3)", "its parts are done")


def test_every_status_has_words() -> None:
    story = Story(plan_of([*"abcdefg"], {"codex": Provider(parallel=9)}))
    story.start("a")
    story.now += 65
    assert said(story, "a") == ("▸", "a", "running", "for 1m 05s, #1 codex")
    story.record(ev.DelegationRequested("a"))
    assert said(story, "a")[3].endswith(", delegating")
    story.record(ev.CancelRequested("a"))
    assert said(story, "a")[3].endswith(", being stopped")
    story.claim("b")
    assert said(story, "b")[2] == "verifying"
    story.record(ev.VerificationPassed("b"))
    assert said(story, "b")[2] == "landing"
    story.record(ev.Landed("b"))
    assert said(story, "b") == ("✓", "b", "done", "in 0s")
    story.record(ev.TaskAdopted("c"))
    assert said(story, "c")[3] == "before the run"
    story.claim("d")
    story.record(ev.ReviewRequested("d"))
    story.now += 5
    assert said(story, "d") == ("?", "d", "review", "for a person, since 5s")
    story.record(ev.TaskCancelled("e", "no more"))
    assert said(story, "e") == ("-", "e", "cancelled", "no more")
    story.record(ev.TaskSkipped("f", "not needed"))
    assert said(story, "f") == ("»", "f", "skipped", "not needed")
    story.start("g")
    story.record(ev.TaskStuck("g", result(detail="which one?"), "answer it"))
    assert said(story, "g") == ("!", "g", "stuck", "which one?; answer it")


def test_what_failed_says_why() -> None:
    story = Story(plan_of(["a", "b"]))
    story.start("a")
    story.record(ev.TaskFailed("a", result(detail="exit code 1")))
    assert said(story, "a") == ("✗", "a", "failed", "exit code 1")
    story.start("b")
    story.record(ev.TaskStuck("b", result(detail=""), ""))
    assert said(story, "b") == ("!", "b", "stuck", "exit code 1")
    story.task("b").past, story.task("b").reason, story.task("b").remedy = (), "", "look at it"
    assert said(story, "b")[3] == "look at it"


def test_what_waits_says_for_what() -> None:
    story = Story(plan_of({"a": task(), "b": task(), "c": task(), "d": task("a", "b", "c")}))
    assert said(story, "a") == ("·", "a", "ready", "")
    assert said(story, "a", live=False)[2:] == ("waits", "no supervisor")
    assert said(story, "d")[2:] == ("waits", "for a, b and 1 more")
    story.record(ev.ProviderRested("codex", story.now + 3600, "limit"))
    assert said(story, "a")[3] == "codex rests until 01:16:40Z"
    story.record(ev.ProviderPaused("codex"))
    assert said(story, "a")[3] == "codex is paused"
    story.record(ev.ProviderStopped("codex", "401"))
    assert said(story, "a")[3] == "codex is stopped"
    story.record(ev.HaltRequested("enough", "command"))
    assert said(story, "a")[3] == "the run is halted"


def test_waiting_for_a_place_for_a_retry_or_for_ever() -> None:
    story = Story(plan_of({"a": task(), "b": task(), "c": task()}, {"codex": Provider(parallel=1)}))
    story.start("a")
    assert said(story, "b")[2:] == ("waits", "for a place (codex)")
    story.record(ev.RetryScheduled("a", result(), story.now + 90))
    assert said(story, "a")[2:] == ("waits", "tried again in 1m 30s")
    chosen = Story(plan_of(["a", "b"]), only=("a",))
    assert said(chosen, "b")[2:] == ("waits", "not selected")


def test_a_folded_row_tells_how_many_are_blocked() -> None:
    names = [f"t{number}" for number in range(9)]
    story = Story(plan_of({"bad": task(), "ok": task(), **{name: task("bad") for name in names}}))
    story.start("bad")
    story.record(ev.TaskFailed("bad", result()))
    story.start("ok")
    row = tree(story.run, 4)[-1]
    assert said(story, row) == ("⊘", "7 waiting", "", "t2 … t8; 7 blocked")


# --- as text --------------------------------------------------------------------------------------------------


def test_the_whole_tree_as_text() -> None:
    story = delegated()
    story.finish("a")
    story.start("c")
    assert tree_text(story.run, story.now, 60, live=True).splitlines() == [
        "↓ epic      delegated (1/3)    The whole",
        "✓   a       done               in 0s",
        "·   b       ready",
        "·     b1    ready",
        "·     b2    waits              for b1",
        "▸   c       running            for 0s, #1 codex",
        "· last      waits              for epic",
    ]
    wide = tree_text(story.run, story.now, 120, live=True).splitlines()
    assert wide[0] == "↓ epic      delegated (1/3)    The whole"
    assert wide[5] == "▸   c       running                       for 0s, #1 codex"
    assert tree_text(Story(plan_of([])).run, 0.0, 80, live=True) == ""


def test_ids_are_never_cut_in_text_and_titles_are_harmless() -> None:
    name = "a" * 120
    story = Story(plan_of({name: task(title="red \x1b[31m \u202eevil\n line")}))
    text = tree_text(story.run, story.now, 40, live=True)
    assert name in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\n" not in text


def test_a_task_that_is_done_does_not_hide_parts_that_are_not() -> None:
    story = Story(plan_of({"epic": task(), "part": task(parent="epic"), "x": task(), "y": task()}))
    story.finish("epic")
    assert [row.key for row in tree(story.run, 2)] == ["epic", "part", "x", "y"]
