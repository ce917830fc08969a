"""What is meant by what was typed after ``run``, and a PLAN.md and a journal that do not agree."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli import Place, Ran, opened
from github_making import REPO, SPEC, URL, Github, Site, todo
from repositories import commit, git, new_repository

from daplug_supervisor.cli import main
from daplug_supervisor.cli.specs import finish
from daplug_supervisor.cli.specs import plan as spec_plan
from daplug_supervisor.cli.specs import words as specs
from daplug_supervisor.cli.specs.words import Chosen, choose
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.errors import UsageError
from daplug_supervisor.workspace.gh import GithubError, NoGithubError
from daplug_supervisor.workspace.github import CREDENTIALS

place = pytest.fixture(opened)


class Typed:
    """A checkout on the branch of a pull request, and what is meant by a word in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here = new_repository(folder / "site")
        self.github = Github(folder)
        self.patch = monkeypatch
        git(self.here, "checkout", "-q", "-b", "login")
        git(self.here, "remote", "add", "origin", f"git@github.com:{REPO}.git")
        for name, value in self.github.environ(dict(os.environ)).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.here)

    def plan(self, name: str = "login", text: str = todo(1, "true"), at: float = 1e9) -> Path:
        path = self.here / ".dev" / "specs" / name / "PLAN.md"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        os.utime(path, (at, at))
        return path

    def chosen(self, word: str | None = None, ask: specs.Ask | None = None) -> Chosen:
        return choose(word, self.here, ask)

    def refused(self, word: str | None, error: type[Exception] = UsageError) -> str:
        with pytest.raises(error) as caught:
            self.chosen(word)
        assert all(line.isprintable() for line in str(caught.value).splitlines())
        return str(caught.value)

    def no_draft(self) -> None:
        self.github.change_pull(isDraft=False)


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    return Typed(tmp_path, monkeypatch)


def test_a_name_is_a_plan_in_the_folder_of_plans(typed: Typed) -> None:
    typed.plan()
    assert typed.chosen("login") == Chosen(Path(SPEC), is_spec=True)
    assert typed.chosen(SPEC) == Chosen(Path(SPEC))
    assert typed.chosen(".dev/specs/login").path == Path(SPEC)
    assert typed.github.calls == []


@pytest.mark.parametrize(
    "name", ["..", ".", "a/../../login", "-login", "log in", "x" * 65, "login\n", "", "a\0b"]
)
def test_no_name_leads_anywhere_else(typed: Typed, name: str) -> None:
    typed.plan()
    assert not typed.chosen(name).is_spec
    assert not specs.is_spec_word(name)


def test_a_link_leads_nowhere_else_either(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "PLAN.md").write_text(todo(1, "true"))
    typed.plan()
    (typed.here / ".dev/specs/evil").symlink_to(tmp_path)
    assert "leads out of .dev/specs" in typed.refused("evil")


def test_an_existing_file_wins(typed: Typed) -> None:
    typed.plan("12")
    typed.plan()
    for name in ("12", "login"):
        (typed.here / name).write_text("tasks: {}")
        assert typed.chosen(name) == Chosen(Path(name))
    assert typed.github.calls == []


def test_what_is_not_there_is_told_with_what_is(typed: Typed) -> None:
    assert typed.refused("nope") == f"there is no plan 'nope': there is none in {typed.here}/.dev/specs"
    for at in range(22):
        typed.plan(f"p{at:02}", at=1e9 - at)
    assert "known in .dev/specs are p00, p01" in typed.refused("nope")
    assert typed.refused("nope").endswith("p19 and 2 more")
    assert "is no pull request" in typed.refused("https://github.com/acme/site/issues/3")
    assert typed.chosen("plan.yaml") == Chosen(
        Path("plan.yaml")
    )  # whoever reads it says that it is not there


@pytest.mark.parametrize("word", ["12", URL, None])
def test_a_pull_request_names_its_plan(typed: Typed, word: str | None) -> None:
    typed.plan()
    typed.plan("other")
    found = typed.chosen(word)
    assert (found.path, found.is_spec) == (Path(SPEC), True)
    assert found.pull is not None
    assert (found.pull.number, found.pull.url) == (12, URL)


def test_a_pull_request_from_below_the_top(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = typed.plan()
    (typed.here / "src").mkdir()
    monkeypatch.chdir(typed.here / "src")
    found = choose("12", typed.here / "src")
    assert found.path == path
    plan = spec_plan.load(found, typed.here / "src", typed.here / ".daplug", provider=None, worktree=False)
    assert plan.target == typed.here


@pytest.mark.parametrize(
    "body",
    ["", "→ [/etc/PLAN.md](x)", "→ [../PLAN.md](x)", "→ [.dev/specs/no/PLAN.md](x)", "→ [\x1b[31m/PLAN.md](x)",
     "→ [out/PLAN.md](x)", "→ [.dev/specs/login](x)", "→ [$(reboot)/PLAN.md](x)", "→ [--output=x/PLAN.md](x)"],
)  # fmt: skip
def test_what_a_stranger_writes_into_it_leads_nowhere(typed: Typed, tmp_path: Path, body: str) -> None:
    typed.plan()
    (tmp_path / "PLAN.md").write_text(todo(1, "true"))
    (typed.here / "out").symlink_to(tmp_path)
    typed.github.change_pull(body=body)
    assert "PR #12" in typed.refused("12")
    assert "PR #12" in typed.refused(None)


def test_a_pull_request_of_another_branch_or_repository(typed: Typed) -> None:
    typed.plan()
    git(typed.here, "checkout", "-q", "-b", "main2")
    assert typed.refused("12") == (
        "PR #12 is of branch login, and branch main2 is checked out: 'gh pr checkout 12'"
    )
    git(typed.here, "checkout", "-q", "--detach")
    assert "and no branch is checked out" in typed.refused("12")
    calls = len(typed.github.calls)
    assert "is of another repository" in typed.refused("https://github.com/mallory/site/pull/12")
    assert len(typed.github.calls) == calls


def test_without_a_draft_it_is_the_plan_of_the_branch(typed: Typed) -> None:
    typed.no_draft()
    typed.plan("newer", at=2e9)
    typed.plan()
    for branch in ("login", "feature/login", "feature/x/login"):
        git(typed.here, "checkout", "-q", "-B", branch)
        assert typed.chosen().path == Path(SPEC)
    typed.plan("fix-9")
    git(typed.here, "checkout", "-q", "-B", "fix/9")
    assert typed.chosen().path == Path(".dev/specs/fix-9/PLAN.md")


def test_without_that_it_is_the_only_plan_or_the_one_that_is_asked_for(typed: Typed) -> None:
    git(typed.here, "checkout", "-q", "-B", "elsewhere")
    assert "there is none in" in typed.refused(None)
    (typed.here / ".tasker").mkdir()
    assert typed.chosen().path == Path(".tasker")
    typed.plan()
    assert typed.chosen().path == Path(SPEC)
    typed.plan("newer", at=2e9)
    assert typed.refused(None) == "say which plan is to be run: known in .dev/specs are newer, login"
    asked: list[list[str]] = []

    def ask(names: list[str]) -> str:
        asked.append(names)
        return names[-1]

    assert typed.chosen(None, ask).path == Path(SPEC)
    assert asked == [["newer", "login"]]


def test_several_drafts_are_told(typed: Typed) -> None:
    typed.plan()
    state = typed.github.read()
    state["pulls"]["13"] = {**state["pulls"]["12"], "number": 13, "url": URL.replace("12", "13")}
    typed.github.write(state)
    assert typed.refused(None).startswith(
        "branch login has several drafts, say which one: https://github.com/"
    )


def test_a_strangers_fork_with_a_branch_of_that_name_counts_for_nothing(typed: Typed) -> None:
    typed.plan()
    typed.github.change_pull(isCrossRepository=True, headRepositoryOwner={"login": "mallory"})
    assert typed.chosen().pull is None


def test_without_gh_a_login_or_a_repository_it_is_local(typed: Typed, tmp_path: Path) -> None:
    typed.plan()
    typed.github.change(says={"pr": [4, "", "To get started with GitHub CLI, please run:  gh auth login"]})
    found = typed.chosen()
    assert (found.pull, found.path) == (None, Path(SPEC))
    assert "pull requests were not looked at: gh is not logged in" in found.notes[0]
    assert "gh auth login" in typed.refused("12", NoGithubError)
    (typed.github.bin / "gh").unlink()
    others = [name for name in os.environ["PATH"].split(":") if not (Path(name) / "gh").exists()]
    typed.patch.setenv("PATH", ":".join(others))
    assert typed.chosen() == Chosen(Path(SPEC), is_spec=True)
    assert "install it from" in typed.refused("12", GithubError)
    git(typed.here, "remote", "remove", "origin")
    assert typed.chosen() == Chosen(Path(SPEC), is_spec=True)
    assert "another repository" in typed.refused(URL)
    bare = tmp_path / "bare" / ".dev" / "specs" / "one"
    bare.mkdir(parents=True)
    (bare / "PLAN.md").write_text(todo(1, "true"))
    typed.patch.chdir(tmp_path / "bare")
    assert choose(None, tmp_path / "bare").path == Path(".dev/specs/one/PLAN.md")
    with pytest.raises(UsageError, match="pull requests need the checkout that they are of"):
        choose("12", tmp_path / "bare")


def test_the_word_run_may_be_left_out(typed: Typed) -> None:
    typed.plan()
    for word in ("12", URL, "login", SPEC, "plan.yaml"):
        assert main._is_plan(word)
    for word in ("nope", "stauts", "--x", "x" * 5000):
        assert not main._is_plan(word)


# --- the plan ----------------------------------------------------------------------------------------------


def loaded(typed: Typed, word: str, provider: str | None = None, *, worktree: bool = False) -> Plan:
    state = typed.here / ".daplug"
    return spec_plan.load(typed.chosen(word), typed.here, state, provider=provider, worktree=worktree).plan


def test_only_the_steps_know_what_gh_logs_in_with(typed: Typed) -> None:
    typed.plan()
    plan = loaded(typed, "12")
    pools = {name: plan.providers[spec.provider or ""].pass_env for name, spec in plan.tasks.items()}
    assert {name for name, names in pools.items() if names == CREDENTIALS} == {
        "state-begin", "residual-commit", "state-complete",
    }  # fmt: skip
    assert pools["todo-1"] == pools["report"] == ()
    assert plan.tasks["state-begin"].retry.attempts == 1
    assert plan.tasks["todo-1"].needs == ("state-begin",)
    assert "--push" in (plan.tasks["residual-commit"].command or ())
    local = loaded(typed, "login")
    assert "pull-request" not in local.providers
    assert "--push" not in (local.tasks["residual-commit"].command or ())


def test_nothing_in_the_repository_is_taken_for_a_module_of_ours(typed: Typed) -> None:
    typed.plan()
    command = loaded(typed, "login").tasks["report"].command or ()
    assert command[1:4] == ("-P", "-m", "daplug_supervisor")


def test_who_works_on_it_is_said_as_everywhere(typed: Typed) -> None:
    typed.plan()
    plan = loaded(typed, "login", "gpt:opencode", worktree=True)
    name = plan.tasks["todo-1"].provider or ""
    assert (plan.providers[name].model, plan.providers[name].cli) == ("gpt", "opencode")
    assert plan.tasks["todo-1"].worktree
    assert not plan.tasks["report"].worktree
    claude = loaded(typed, "login", "claude")
    assert claude.providers["claude"].cli == "claude"
    with pytest.raises(UsageError, match="is not a model"):
        loaded(typed, "login", "--x")
    with pytest.raises(UsageError, match="runs commands"):
        loaded(typed, "login", "local")


# --- file and journal --------------------------------------------------------------------------------------

THREE = (
    todo(1, "echo 1 >> did")
    + todo(2, "echo 2 >> did", "test -f two")
    + todo(3, "echo 3 >> did", "test -f three")
)


def ran(site: Site, *words: str) -> Ran:
    return site.run(*words, "-q")


def tick(site: Site, number: int, box: str) -> None:
    text = site.plan.read_text()
    at = text.index("### [", text.index(f"TODO {number}:") - 12) + 5
    site.plan.write_text(text[:at] + box + text[at + 1 :])


def test_a_file_and_a_journal_that_do_not_agree(place: Place) -> None:
    """Nothing is resolved without a word: what is done but not ticked is refused, what is ticked is taken as done."""
    site = Site(place, THREE.replace("**Type**: work", "**Type**: verification"))
    first = ran(site, "login", "--parallel=1")
    assert (first.code, site.boxes()) == (3, "x  "), first.out + first.err
    assert "  stopped on   TODO 2 (Part 2)\n" in first.out
    assert "  to continue, mend the cause, then:\n    daplug-supervise task retry todo-2\n" in first.out
    entries = len(place.entries())

    tick(site, 1, " ")
    for words in (("login",), ("resume",)):
        refused = ran(site, *words)
        assert refused.code == 2
        assert f"TODO 1: run login-1 has done it, and its box in {SPEC} is not ticked" in refused.err
        assert f"daplug-supervise run {SPEC} --fresh" in refused.err
        assert "tick what is done" in refused.err
    later = [entry.event.kind for entry in place.entries()[entries:]]
    assert set(later) <= {"supervisor_started", "supervisor_stopped"}

    tick(site, 1, "x")
    tick(site, 2, "x")
    tick(site, 3, "x")
    done = ran(site, "resume")
    assert done.code == 0, done.out + done.err
    for number, was in ((2, "failed"), (3, "pending")):
        line = f"note: TODO {number}: its box in {SPEC} is ticked, and run login-1 has it as {was}: it is taken as done"
        assert line in done.err
    assert set(place.statuses("login-1").values()) == {"done"}
    assert (site.target / "did").read_text().split() == ["1", "2"]
    text = " ".join(done.out.split())
    assert "3 in all, 3 completed, TODO 2 and TODO 3 ticked by hand, 0 failed" in text
    assert (site.github.calls, site.subjects("origin/login")) == (
        [],
        [],
    )  # a plan that is run by its name is local


def test_our_own_ticks_are_no_edits(place: Place) -> None:
    site = Site(place, THREE)
    site.plan.write_text(site.plan.read_text().replace("**Type**: work", "**Type**: verification"))
    (site.target / "three").touch()
    assert ran(site, "login").code in (1, 3)
    (site.target / "two").touch()
    assert site.run("task", "retry", "todo-2").code == 0
    again = ran(site, "login")
    assert (again.code, site.boxes()) == (0, "xxx"), again.out + again.err
    assert "plan edited" not in again.err
    assert "plan_changed" not in {entry.event.kind for entry in place.entries()}
    assert sorted((site.target / "did").read_text().split()) == ["1", "2", "2", "3"]


# --- the last steps ----------------------------------------------------------------------------------------


def rest(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    code = finish.finish.main(["commit-rest", "--name=login", "--json", *words], standalone_mode=False)
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    assert code == 0
    return found


def test_what_is_left_is_committed(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    assert rest(capsys) == {"commit": None, "files": [], "detail": "No uncommitted changes"}
    (typed.here / "left").write_text("x")
    found = rest(capsys)
    assert found["files"] == ["left"]
    assert git(typed.here, "log", "-1", "--format=%s") == "chore(login): miscellaneous changes"
    assert git(typed.here, "rev-parse", "HEAD") == found["commit"]


def test_a_push_that_failed_is_made_up_for(
    typed: Typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(typed.here, "one", "1")
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    git(typed.here, "remote", "set-url", "origin", str(tmp_path / "origin.git"))
    git(typed.here, "config", "branch.login.remote", "origin")
    git(typed.here, "config", "branch.login.merge", "refs/heads/login")
    found = rest(capsys, "--push")
    assert found["detail"] == "No uncommitted changes; pushed to origin login"
    assert git(tmp_path / "origin.git", "rev-parse", "login") == git(typed.here, "rev-parse", "HEAD")


def test_without_a_repository_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Nothing is committed here: " in str(rest(capsys)["detail"])
