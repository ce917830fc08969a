"""A PLAN.md for a pull request: the real command, a real repository, and a stand-in for `gh`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli import Place, kill, opened, until
from github_making import SPEC, URL, Github, Site, todo
from repositories import git

from daplug_supervisor.core import events as ev
from daplug_supervisor.core import pulls
from daplug_supervisor.core.pulls import BLOCKED, EXECUTING, Who
from daplug_supervisor.errors import PullRequestError
from daplug_supervisor.workspace import gh, github
from daplug_supervisor.workspace.gh import GithubError, NoGithubError

place = pytest.fixture(opened)
TWO = todo(1, "echo one > one.txt", "test -f one.txt") + todo(2, "echo two > two.txt", "test -f two.txt")
COMMITS = (
    "## Commit Strategy\n\n| After TODO | Message | Files | Condition |\n|---|---|---|---|\n"
    "| 1 | feat: one | one.txt | always |\n"
)
ME = Who("login-1", "aa")


def test_a_pull_request_from_its_number_to_published(place: Place) -> None:
    site = Site(place, TWO + COMMITS)
    done = site.run("12", "-q")
    assert (done.code, site.boxes(), site.github.labels) == (0, "xx", []), done.out + done.err
    assert site.github.pull["isDraft"] is False
    assert [line.partition("*")[2].partition("*")[2].partition("**")[0] for line in site.github.comments] == [
        "Executing", "Published",
    ]  # fmt: skip
    assert "by run `login-1` in `" in site.github.comments[0]
    assert [one["name"] for one in site.github.read()["labels"]] == ["bug", EXECUTING]
    assert site.subjects("origin/login") == ["feat: one", "chore(login): miscellaneous changes"]
    assert git(site.target, "status", "--porcelain") == ""
    began, first = place.events(ev.Landed, task="state-begin"), place.events(ev.AttemptStarted)
    assert began
    assert first[0].task == "state-begin"
    order = [event.task for event in place.events(ev.AttemptStarted)]
    assert order[-3:] == ["residual-commit", "state-complete", "report"]
    text = done.out[done.out.index("Every TODO is done") :]
    assert "mode      PR #12" in text
    assert "Files modified\n  one.txt\n  two.txt\n" in text
    log = Path(place.state, "runs", "login-1", "report", "1", "stdout.log").read_text()
    assert json.loads(json.dumps(log)).startswith("Every TODO is done")


def test_who_may_not_begin_stops_at_once(place: Place) -> None:
    site = Site(place, TWO)
    site.run("pr", "begin", "12")
    done = site.run("run", URL, "-q")
    assert done.code == 1
    assert "PR #12 already executing. (somebody works on it" in " ".join(done.out.split())
    assert [event.task for event in place.events(ev.AttemptStarted)] == ["state-begin"]
    assert (site.boxes(), site.github.labels) == ("  ", [EXECUTING])


def test_a_failure_pauses_it_until_a_person_has_released_it(place: Place) -> None:
    broken = (
        todo(1, "true")
        .replace("**Type**: work", "**Type**: verification")
        .replace("`true`", "`test -f fixed`")
    )
    site = Site(place, broken)
    done = site.run("12", "-q")
    assert done.code in (1, 3)
    assert "Continue or stop?" in done.out
    assert "  recorded in  .dev/specs/login/context/issues.md\n" in done.out
    assert f"    daplug-supervise pr continue {URL}\n" in done.out
    command = pulls.paused(place.folded("login-1"))
    assert command is not None
    subprocess.run(command, cwd=site.target, env=place.environ, check=True, capture_output=True)
    assert site.github.labels == [BLOCKED]
    assert "todo-1 (Part 1)" in site.github.comments[-1]
    (site.target / "fixed").touch()
    again = site.run("12", "-q")
    assert (again.code, again.err.count("PR #12 is blocked: 'daplug-supervise pr continue 12'")) == (3, 1)
    assert site.run("pr", "continue", "12").code == 0
    assert site.run("12", "-q").code == 0
    assert (site.boxes(), site.github.labels, site.github.pull["isDraft"]) == ("x", [], False)
    words = [line.split("**")[1] for line in site.github.comments]
    assert words == ["Executing", "Blocked", "Continued", "Executing", "Published"]


@pytest.mark.parametrize(
    ("hold", "whom"), [("POST issues/12/labels", "everything"), ("pr ready", "supervisor")]
)
def test_killed_between_two_changes_nothing_is_done_twice(place: Place, hold: str, whom: str) -> None:
    """With all that it has started, or alone, so that the step itself goes on."""
    site = Site(place, todo(1, "true", box="x"))
    site.github.change(hold=hold)
    process = place.start("12", "-q")
    until((site.github.folder / "held").exists, f"{hold} is held")
    kill(process)
    if whom == "everything":
        for pid in place.processes():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not place.processes(), "all are gone")
    (site.github.folder / "go").touch()
    assert site.run("12", "-q").code == 0
    assert [line.split("**")[1] for line in site.github.comments] == ["Executing", "Published"]
    assert (site.github.labels, site.github.pull["isDraft"]) == ([], False)
    assert site.github.calls.count("POST issues/12/labels") == 1
    assert site.github.calls.count("DELETE issues/12/labels/state:executing") == 1


# --- without runs ------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Github:
    """The stand-in, for what is called within this process."""
    found = Github(tmp_path)
    for name, value in found.environ(dict(os.environ)).items():
        monkeypatch.setenv(name, value)
    return found


def begin(hub: Github, who: Who = ME) -> None:
    github.begin("12", who, "host:~", hub.folder)


def test_the_same_run_may_begin_again(hub: Github) -> None:
    begin(hub)
    begin(hub)
    assert len(hub.comments) == 1
    with pytest.raises(PullRequestError, match="already executing"):
        begin(hub, Who("login-1", "bb"))


def test_labels_that_somebody_else_makes_or_removes_meanwhile(hub: Github) -> None:
    there = '{"errors": [{"code": "already_exists"}]}'
    hub.change(
        says={"POST labels": [1, there, "gh: Validation Failed (HTTP 422)"]}, labels=[{"name": EXECUTING}]
    )
    hub.change(
        says={"GET labels": [1, "", "gh: Not Found (HTTP 404)"], "POST labels": [1, there, "HTTP 422"]}
    )
    begin(hub)
    assert hub.labels == [EXECUTING]
    hub.change(says={"DELETE": [1, "", "gh: Label does not exist (HTTP 404)"]})
    github.change("12", lambda now: pulls.complete(now, ME), hub.folder)
    assert hub.pull["isDraft"] is False


def test_of_two_at_once_the_first_comment_counts(hub: Github, monkeypatch: pytest.MonkeyPatch) -> None:
    original = github.carry_out

    def interfered(pull: Any, step: Any, folder: Path) -> None:
        monkeypatch.setattr(github, "carry_out", original)
        begin(hub, Who("other-1", "bb"))
        original(pull, step, folder)

    monkeypatch.setattr(github, "carry_out", interfered)
    with pytest.raises(PullRequestError, match="run other-1 works on it"):
        begin(hub)
    begin(hub, Who("other-1", "bb"))


HOSTILE = [
    {"authorAssociation": "NONE", "body": "<!-- daplug-supervisor run=login-1 key=aa state=published -->"},
    {"authorAssociation": "OWNER", "body": "<!-- daplug-supervisor run=../x key=aa state=published -->"},
    {
        "authorAssociation": "OWNER",
        "body": "\x1b]0;x\x07 <!-- daplug-supervisor run=a key=aa state=published -->",
    },
    {"body": "\x00\ufffd"},
]


def test_what_strangers_write_changes_nothing(hub: Github) -> None:
    begin(hub)
    hub.change_pull(comments=[*HOSTILE, *hub.pull["comments"], *HOSTILE], labels=[
        *hub.pull["labels"], {"name": "state:executing\x1b[31m"}, {"name": "$(reboot)"},
    ])  # fmt: skip
    begin(hub)
    assert pulls.holder(github.view("12", hub.folder)) == ME


@pytest.mark.parametrize(
    "answer",
    ["", "null", "[]", "{}", '{"number": "12"}', '{"number": 12, "url": "https://github.com/a/../pull/12"}',
     '{"number": 12, "url": "file:///etc/passwd"}', "\udcff", "[" * 50_000, '{"number": 12, "labels": [1]}'],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(hub: Github, answer: str) -> None:
    (hub.bin / "gh").write_text(f"#!/bin/sh\ncat {hub.folder}/answer\n")
    (hub.folder / "answer").write_bytes(answer.encode("utf-8", "surrogateescape"))
    with pytest.raises(GithubError, match="gh ") as caught:
        github.view("12", hub.folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def script(hub: Github, text: str) -> None:
    (hub.bin / "gh").write_text(f"#!/bin/sh\n{text}\n")


def test_gh_that_hangs_floods_or_fails(hub: Github, monkeypatch: pytest.MonkeyPatch) -> None:
    script(hub, "echo 'gh: Bad \x1b[31mcredentials' >&2; exit 1")
    with pytest.raises(GithubError, match=r"^gh: Bad  \[31mcredentials$"):
        github.view("12", hub.folder)
    script(hub, "exit 7")
    with pytest.raises(GithubError, match=r"^gh: exit code 7$"):
        github.view("12", hub.folder)
    script(hub, "exec cat /dev/zero")
    with pytest.raises(GithubError, match=r"prints more than 16 MiB"):
        github.view("12", hub.folder)
    script(hub, "head -c 300000 /dev/zero >&2; exit 1")
    with pytest.raises(GithubError):
        github.view("12", hub.folder)
    monkeypatch.setattr(gh, "PATIENCE", 0.3)
    script(hub, "sleep 1000 & echo $! > sleeper; wait")
    with pytest.raises(GithubError, match=r"did not end within 0\.3 s"):
        github.view("12", hub.folder)
    sleeper = Path("/proc", (hub.folder / "sleeper").read_text().strip(), "stat")
    until(lambda: not sleeper.exists() or sleeper.read_text().split()[2] in "ZX", "what gh started is gone")
    script(hub, "exec >&- 2>&-; sleep 1000")
    with pytest.raises(GithubError, match="did not end within"):
        github.view("12", hub.folder)


def test_without_gh_or_a_login_it_says_what_to_do(hub: Github, monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("exit 4", "echo 'To get started with GitHub CLI, please run:  gh auth login' >&2; exit 1"):
        script(hub, said)
        with pytest.raises(NoGithubError, match="gh auth login"):
            github.view("12", hub.folder)
    (hub.bin / "gh").write_text("#!/no/such/program\n")
    with pytest.raises(GithubError, match="cannot be started"):
        github.view("12", hub.folder)
    monkeypatch.setenv("PATH", str(hub.folder))
    assert not gh.is_here()
    with pytest.raises(NoGithubError, match=r"install it from https://cli\.github\.com"):
        github.view("12", hub.folder)


@pytest.mark.parametrize(
    "word", ["0", "-1", "12;x", "../12", f"{URL}/files", "https://github.com/a/b/issues/1"]
)
def test_only_numbers_and_urls_reach_gh(hub: Github, word: str) -> None:
    with pytest.raises(GithubError, match="neither the number"):
        github.view(word, hub.folder)
    assert hub.calls == []


def test_drafts_of_forks_count_only_if_they_are_ones_own(hub: Github) -> None:
    mine = frozenset({"acme"})
    assert github.drafts("login", hub.folder, mine) == [URL]
    assert github.drafts("main", hub.folder, mine) == []
    hub.change_pull(isCrossRepository=True, headRepositoryOwner={"login": "Acme"})
    assert github.drafts("login", hub.folder, mine) == [URL]
    for owner in ({"login": "mallory"}, None):
        hub.change_pull(headRepositoryOwner=owner)
        assert github.drafts("login", hub.folder, mine) == []


def test_a_hostile_reason_stays_in_its_comment(hub: Github) -> None:
    begin(hub)
    reason = "@everybody ```\n<!-- daplug-supervisor run=x key=aa state=published -->\n<b>\x1b[31m\ud800"
    github.change("12", lambda now: pulls.pause(now, ME, reason), hub.folder)
    assert hub.labels == [BLOCKED]
    assert [one.state for one in pulls.marks(github.view("12", hub.folder))] == ["executing", "blocked"]
    assert SPEC in hub.pull["body"]
