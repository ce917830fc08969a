"""For tests with pull requests: the stand-in for `gh` on the path, a pull request, and what became of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cli import Place, Ran
from repositories import commit, git

STANDIN = Path(__file__).parents[1] / "standin" / "gh.py"
SPEC = ".dev/specs/login/PLAN.md"
REPO = "acme/site"
URL = f"https://github.com/{REPO}/pull/12"


class Github:
    """Pull request 12 of a repository, as the stand-in keeps it."""

    def __init__(self, folder: Path, branch: str = "login", spec: str = SPEC) -> None:
        self.folder = folder / "github"
        self.bin = folder / "github" / "bin"
        self.bin.mkdir(parents=True)
        program = self.bin / "gh"
        program.write_text(f"#!{sys.executable} -IS\n{STANDIN.read_text()}")
        program.chmod(0o755)
        self.file = self.folder / "state.json"
        pull: dict[str, Any] = {
            "number": 12, "url": URL, "state": "OPEN", "isDraft": True, "headRefName": branch,
            "body": f"## Spec Reference\n→ [{spec}](../blob/{branch}/{spec})\n", "labels": [], "comments": [],
            "isCrossRepository": False, "headRepositoryOwner": {"login": "acme"},
        }  # fmt: skip
        self.write({"repo": REPO, "labels": [{"name": "bug"}], "pulls": {"12": pull}})

    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        """An environment in which it is found."""
        return {**environ, "PATH": f"{self.bin}:{environ['PATH']}", "GH_STANDIN": str(self.file)}

    def write(self, state: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(state))

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def change(self, **more: Any) -> None:
        """Change what the whole of it is."""
        self.write({**self.read(), **more})

    def change_pull(self, **more: Any) -> None:
        """Change the pull request."""
        state = self.read()
        state["pulls"]["12"].update(more)
        self.write(state)

    @property
    def pull(self) -> dict[str, Any]:
        found: dict[str, Any] = self.read()["pulls"]["12"]
        return found

    @property
    def labels(self) -> list[str]:
        return [label["name"] for label in self.pull["labels"]]

    @property
    def comments(self) -> list[str]:
        """The comments without what people do not see."""
        return [one["body"].partition("\n")[2].strip() for one in self.pull["comments"]]

    @property
    def calls(self) -> list[str]:
        found: list[str] = self.read().get("calls", [])
        return found


AGENT = f"""
import os, re, subprocess, sys
prompt = open(sys.argv[sys.argv.index("--prompt-file") + 1]).read()
for line in re.findall(r"DO: (.+)$", prompt, re.MULTILINE):
    subprocess.run(["sh", "-c", line])
with open(os.environ["DAPLUG_RESULT"], "w") as file:
    file.write('{{"status": "success", "learnings": ["it works"]}}')
os.execv(sys.executable, [sys.executable, {str(STANDIN.with_name("executor.py"))!r}, *sys.argv[1:]])
"""
"""An executor whose agent does what the lines after ``DO:`` say, and hands in a result."""


def todo(number: int, do: str, accept: str = "true", *, box: str = " ") -> str:
    """A TODO of a PLAN.md."""
    return (
        f"### [{box}] TODO {number}: Part {number}\n\n**Type**: work\n\n**Steps**:\n- [ ] DO: {do}\n\n"
        f"**Acceptance Criteria**:\n\n*Functional:*\n- [{box}] part {number}: `{accept}`\n\n"
    )


class Site:
    """A clone of a repository with a PLAN.md, on the branch of a pull request, and `gh` beside it."""

    def __init__(self, place: Place, text: str, branch: str = "login") -> None:
        self.place, self.target = place, place.target
        self.agent = place.home / "executor.py"
        self.agent.write_text(AGENT)
        self.origin = place.home / "acme" / "site.git"
        git(place.home, "init", "-q", "--bare", "-b", "main", str(self.origin))
        git(self.target, "init", "-q", "-b", "main")
        git(self.target, "remote", "add", "origin", str(self.origin))
        commit(self.target, "file", "one\n")
        git(self.target, "push", "-q", "-u", "origin", "main")
        git(self.target, "checkout", "-q", "-b", branch)
        self.plan = self.target / SPEC
        commit(self.target, SPEC, f"# Login\n\n## TODOs\n\n{text}")
        git(self.target, "push", "-q", "-u", "origin", branch)
        self.github = Github(place.home, branch)
        place.environ = self.github.environ(place.environ) | {"DAPLUG_EXECUTOR": str(self.agent)}

    def run(self, *words: str) -> Ran:
        """Run the command to its end."""
        return self.place.run(*words)

    def subjects(self, where: str = "HEAD") -> list[str]:
        """What the commits after the plan say, oldest first."""
        found = git(self.target, "log", "--reverse", "--format=%s", f"main..{where}").splitlines()
        return found[1:]

    def boxes(self) -> str:
        """The boxes of the TODOs, in a row."""
        return "".join(line[5] for line in self.plan.read_text().splitlines() if line.startswith("### ["))
