"""The files of a report, and the command that shows it: A41, A52, A53, B70, E52."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest
from cli import Place, opened, plan_of, sh
from core_making import RUN, Story, task
from core_making import plan_of as core_plan

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.acceptance import Verification
from daplug_supervisor.core.plan import Criterion, Retry
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.supervisor.closing import reports
from daplug_supervisor.supervisor.closing.reports import printed, write_report
from daplug_supervisor.workspace import files
from daplug_supervisor.workspace.files import StateDirectory

EVIL = "<script>alert(1)</script>"
ONE = Retry(attempts=1)
SMALL = plan_of({"a": sh("true", title=EVIL), "b": sh("echo '</pre><img src=x>'; exit 3", "a", retry=ONE)})
BAD = Finding(1, "lint", detail="exit code 1", blame="code")

place = pytest.fixture(opened)


@pytest.fixture
def small(place: Place) -> Place:
    assert place.run(place.write(SMALL)).code == 1
    return place


def test_the_page_is_beside_the_others(small: Place) -> None:
    made = (small.state / "runs" / "p-1" / "report.html").read_text()
    assert made.startswith("<!DOCTYPE html>")
    assert "daplug-supervise task retry b" in made
    assert "&lt;/pre&gt;&lt;img src=x&gt;" in made
    assert EVIL not in made
    assert "<img" not in made
    assert (small.state / "runs" / "p-1" / "report.html").stat().st_mode & 0o777 == 0o600


def test_the_page_is_shown_or_written_where_one_likes(small: Place) -> None:
    shown = small.run("report", "--html")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("<!DOCTYPE html>")
    ran = small.run("report", "p-1", "--html", "--output", "page.html")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (small.target / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert small.run("report", "--json", "-o", "r.json").code == 0
    assert json.loads((small.target / "r.json").read_text())["run"] == "p-1"
    assert small.run("report", "--metrics-only", "--output=m.txt").code == 0
    assert "attempts" in (small.target / "m.txt").read_text()


def test_what_cannot_be_done_is_said(small: Place) -> None:
    ran = small.run("report", "--html", "--json")
    assert (ran.code, "--html goes with neither" in ran.out + ran.err) == (2, True)
    ran = small.run("report", "--html", "-o", "no/such/folder/page.html")
    assert ran.code == 2
    assert "no/such/folder/page.html cannot be written: No such file or directory" in ran.err


def story() -> Story:
    """A run with one task that failed its second criterion."""
    accept = (Criterion(run="make test"), Criterion(run="make lint", name="lint"))
    found = Story(core_plan({"a": task(accept=accept)}))
    found.start("a")
    outcome = Outcome(OutcomeKind.VERIFY_FAILED, "1 of 2 criteria failed")
    found.record(
        ev.TaskFailed("a", Result(outcome, Exit(0), (Finding(0, "make test"), BAD))), ev.RunFinished()
    )
    return found


def kept(
    folder: Path, findings: tuple[Finding, ...] = (Finding(0, "make test"), BAD)
) -> tuple[StateDirectory, Path]:
    """A state directory in which a look at the attempt is kept."""
    directory = StateDirectory(folder / "state")
    directory.create()
    path = Path(directory.attempt(RUN, "a", 1)) / "verification.json"
    path.parent.mkdir(parents=True)
    seen = Verification(
        findings, ("fine", "one\ntwo\n\nTOKEN=verysecretvalue\nx.py:1: E501\nfour\nfive\nsix")
    )
    path.write_bytes(msgspec.json.encode(seen))
    return directory, path


def test_a_report_shows_what_the_criteria_printed(tmp_path: Path) -> None:
    directory, _ = kept(tmp_path)
    mask = Mask.of({"MY_API_TOKEN": "verysecretvalue"})
    made = write_report(directory, story().run, 1000.0, mask)
    [failure] = made.failures
    [criterion] = failure.criteria
    assert (criterion.label, criterion.tail[-4:]) == ("lint", ("x.py:1: E501", "four", "five", "six"))
    text = (directory.path / "runs" / RUN / "report.txt").read_text()
    assert "      | x.py:1: E501" in text
    for name in ("report.txt", "report.json", "report.html"):
        assert "verysecretvalue" not in (directory.path / "runs" / RUN / name).read_text()


@pytest.mark.parametrize("how", ["missing", "fifo", "link", "folder", "text", "bytes", "deep", "older"])
def test_an_odd_file_says_nothing(tmp_path: Path, how: str) -> None:
    directory, path = kept(tmp_path, (BAD,) if how == "older" else (Finding(0, "make test"), BAD))
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    if how != "older":
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    elif how == "link":
        path.symlink_to(secret)
    elif how == "folder":
        path.mkdir()
    elif how in ("text", "bytes", "deep"):
        path.write_bytes({"text": b"{}", "bytes": b"\xff\xfe", "deep": b"[" * 200_000}[how])
    assert printed(directory, story().run, Mask.of({})) == {}


def test_a_page_that_cannot_be_made_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory, _ = kept(tmp_path)

    def broken(*_: object) -> str:
        raise RecursionError("a picture too deep")

    monkeypatch.setattr("daplug_supervisor.views.html.page.page", broken)
    made = write_report(directory, story().run, 1000.0, Mask.of({}))
    assert made.counts["failed"] == 1
    folder = directory.path / "runs" / RUN
    assert sorted(path.name for path in folder.glob("report.*")) == ["report.json", "report.txt"]
    assert "report.html could not be written" in caplog.text


def test_a_page_that_finds_no_room_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = kept(tmp_path)
    real = files.write_atomically

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".html":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(reports, "write_atomically", full)
    write_report(directory, story().run, 1000.0, Mask.of({}))
    assert (directory.path / "runs" / RUN / "report.json").exists()


def test_the_page_costs_a_start_nothing() -> None:
    """Most commands draw no page."""
    import subprocess

    modules = "daplug_supervisor.cli.main, daplug_supervisor.supervisor.closing.reports"
    line = f"import sys; import {modules}; print(*sys.modules)"
    names = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "daplug_supervisor.views.html.page" not in names.split()
