"""What a report says of worktrees."""

from __future__ import annotations

from build import T0, World, plan, task

from daplug_supervisor.core.plan import Task
from daplug_supervisor.views.report.contents import report
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.work import MOST_FILES, MOST_ROWS, Overlap, overlaps, sections, work_left
from daplug_supervisor.workspace.git.changes import Work


def work(*files: str, uncommitted: tuple[str, ...] = (), commits: int = 1) -> Work:
    return Work("/target/.worktrees/x", "daplug/x", commits, files, uncommitted)


def world() -> World:
    found = World(plan({name: task() for name in ("one", "two", "three")}))
    return found.done("one").failed("two")


def test_what_is_not_done_comes_first_and_strangers_are_left_out() -> None:
    left = work_left(world().run, {"one": work("a"), "two": work("b"), "nobody": work("c")})
    assert [(row.task, row.status, row.changed) for row in left.worktrees] == [
        ("two", "failed", 1),
        ("one", "done", 1),
    ]
    assert left.overlaps == ()


def test_each_file_is_told_once_for_all_who_changed_it() -> None:
    works = {"one": work("a", "b", "c"), "two": work("b", "c", "d"), "three": work("c", "e")}
    assert overlaps(works) == (
        Overlap(("one", "two"), 1, ("b",)),
        Overlap(("one", "two", "three"), 1, ("c",)),
    )


def test_there_is_an_end_to_what_is_told() -> None:
    names = [f"{number:03}" for number in range(100)]
    [same] = overlaps({"one": work(*names), "two": work(*names)})
    assert (same.count, len(same.files)) == (100, MOST_FILES)
    pairs = {f"t{number}": work(f"{number}", f"{number + 1}") for number in range(100)}
    assert len(overlaps(pairs)) == MOST_ROWS
    text = sections(work_left(world().run, {}), 80)
    assert not any(text.values())


def test_a_report_shows_it() -> None:
    names = tuple(f"src/{number}.py" for number in range(6))
    works = {"one": work(*names), "two": work(*names, uncommitted=("src/1.py", "odd\x1b[31m"))}
    done = world()
    full = report(done.run, T0 + 60, left=work_left(done.run, works))
    text = report_text(full, 100)
    assert (
        """
Uncommitted work in worktrees
  two (failed): src/1.py, odd\\x1b[31m in .worktrees/x

Files that several tasks have changed
  one and two: src/0.py, src/1.py, src/2.py, src/3.py and 2 more
"""
        in text
    )


def test_many_rows_are_counted() -> None:
    found = World(plan({f"t{number}": task() for number in range(30)}))
    left = work_left(found.run, {f"t{number}": work(uncommitted=("x",)) for number in range(30)})
    assert sections(left, 80)["Uncommitted work in worktrees"][-1] == "  and 10 more"


def test_a_task_shows_its_worktree_and_its_set_up() -> None:
    found = World(plan({"one": Task(command=("true",), provider="codex", setup=("make", "all deps"))}))
    here = Work("/repo/.worktrees/x", "daplug/x", 2, ("a",), ("a",))
    detail = task_detail(found.run, "one", T0, live=True, work=here)
    text = task_text(detail, T0, 100)
    assert "set-up    " in text
    assert "make 'all deps'" in text
    assert "/repo/.worktrees/x, branch daplug/x, 2 commits" in text
    assert "1 file in /repo/.worktrees/x: a" in text
    clean = task_detail(found.run, "one", T0, live=True, work=Work("/x", "daplug/x", 0, (), ()))
    assert "uncommitted" not in task_text(clean, T0)
    assert "worktree" not in task_text(task_detail(found.run, "one", T0, live=True), T0)
