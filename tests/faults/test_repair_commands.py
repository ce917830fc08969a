"""A damaged journal as a person meets it: the commands, what they say, and what they exit with."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cli import HOLD, MARKING, Place, kill, opened, plan_of, sh, until
from damage import as_kept, destroy, files_of

from daplug_supervisor.journal.rows import COLUMNS

place = pytest.fixture(opened)


# --- no journals --------------------------------------------------------------------------------------------------


def other_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url)")


@pytest.mark.promise("P18")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "a directory"),
        (lambda path: path.symlink_to("elsewhere.db"), "a symbolic link"),
        (os.mkfifo, "a pipe"),
        (other_application, "not a journal of daplug-supervisor"),
    ],
    ids=["directory", "link", "pipe", "other application"],
)
def test_what_is_no_journal_is_refused_and_left_alone(
    place: Place, make: Callable[[Path], None], words: str
) -> None:
    place.state.mkdir(mode=0o700)
    path = place.state / "journal.db"
    make(path)
    before = path.lstat()
    for command in (["status"], [place.write(plan_of({"a": sh("true")}))], ["doctor", "--repair"]):
        ran = place.run(*command)
        assert (ran.code, words in ran.err, "Traceback" in ran.err) == (5, True, False), (command, ran)
    assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert place.run("doctor").code == 5


@pytest.mark.promise("P18")
def test_text_in_the_journals_place_is_kept_and_a_new_one_begun(place: Place) -> None:
    place.state.mkdir(mode=0o700)
    (place.state / "journal.db").write_text("Dear diary,\n" * 100)
    assert place.run("status").code == 5
    assert place.run("doctor", "--repair").code == 1
    [kept] = place.state.glob("damaged-*/journal.db")
    assert kept.read_text().startswith("Dear diary")
    assert place.run("doctor").code == 0


# --- real commands ------------------------------------------------------------------------------------------------

WORK = plan_of(
    {
        "done": sh(MARKING),
        "known": sh(MARKING + HOLD),
        "unknown": sh(MARKING + HOLD),
        "later": sh(MARKING, "known"),
    },
)


def killed_with_work(place: Place) -> None:
    """A supervisor was killed with two agents at work; what it wrote of one of them is destroyed."""
    process = place.start(place.write(WORK))
    place.started("done", "known", "unknown")
    until(lambda: place.statuses()["done"] == "done", "the first task's end")
    kill(process)
    with closing(sqlite3.connect(f"{(place.state / 'journal.db').as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute(f"SELECT {COLUMNS} FROM event WHERE task = 'unknown'").fetchall()
    assert len(rows) == 2
    for path in files_of(place.state / "journal.db"):
        files = {path.name: path.read_bytes()}
        destroy(files, *map(as_kept, rows))
        path.write_bytes(files[path.name])


@pytest.mark.promise("P18")
def test_damage_while_agents_are_at_work(place: Place) -> None:
    """From the refusal to the end of all tasks, as a person sees it; each task runs once."""
    killed_with_work(place)
    before = {path.name: path.read_bytes() for path in files_of(place.state / "journal.db")[:2]}
    commands: list[list[str]] = [
        ["plan.json"], ["resume"], ["status"], ["report"], ["events"], ["task", "why", "known"],
        ["task", "retry", "done"], ["halt"],
    ]  # fmt: skip
    for command in commands:
        ran = place.run(*command)
        assert (ran.code, "Traceback" in ran.err) == (5, False), (command, ran)
        assert "daplug-supervise doctor --repair" in ran.err, (command, ran)
        assert ran.out == "", (command, ran)
    told = place.run("doctor", "--json")
    assert told.code == 5
    assert {one["about"] for one in told.json() if one["level"] == "bad"} == {
        "journal", "lost events", "lost run", "lost task",
    }  # fmt: skip
    assert {name: (place.state / name).read_bytes() for name in before} == before
    assert not list(place.state.glob("damaged-*"))

    made = place.run("doctor", "--repair")
    assert made.code == 1
    [kept] = place.state.glob("damaged-*")
    assert str(kept) in made.out
    assert {name: (kept / name).read_bytes() for name in before} == before
    record = json.loads((place.state / "runs/p-1/unknown/1/process.json").read_text())
    assert f"process {record['shim']} may still be at work" in made.out
    assert str(place.state / "runs/p-1/unknown/1") in made.out
    assert place.statuses() == {"done": "done", "known": "running", "unknown": "stuck", "later": "pending"}

    ran = place.run("plan.json")
    assert (ran.code, "resume" in ran.err) == (3, True), ran
    place.go()
    until(lambda: not place.processes(attempts=True), "the agents' end")
    assert place.run("resume", "p-1").code == 1
    assert place.statuses() == {"done": "done", "known": "done", "unknown": "stuck", "later": "done"}
    assert place.run("task", "skip", "unknown", "--run", "p-1").code == 0
    assert place.run("resume").code == 0
    assert sorted(line.split()[0] for line in place.lines()) == ["done", "known", "later", "unknown"]
    assert place.run("doctor").code == 0
    place.nothing_left()


@pytest.mark.promise("P18")
def test_it_is_not_repaired_while_a_supervisor_is_at_work(place: Place) -> None:
    process = place.start(place.write(WORK))
    place.started("done", "known", "unknown")
    before = (place.state / "journal.db").stat().st_ino
    ran = place.run("doctor", "--repair")
    assert (ran.code, str(process.pid) in ran.err) == (4, True), ran
    assert (place.state / "journal.db").stat().st_ino == before
    place.go()
    assert process.wait(20) == 0
    assert place.run("doctor", "--repair").out.endswith("nothing to repair\n")
    assert not list(place.state.glob("damaged-*"))
