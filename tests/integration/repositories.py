"""For tests with real git: repositories, and what of a worktree can still be reached."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgSign=false")


def git(folder: Path, *words: str) -> str:
    """What git says, run as a person would."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *IDENTITY, *words], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, (words, done.stderr)
    return done.stdout.strip()


def commit(folder: Path, name: str, text: str) -> str:
    """Commit one file, and return the commit."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    git(folder, "add", "--", name)
    git(folder, "commit", "-qm", f"change {name}")
    return git(folder, "rev-parse", "HEAD")


def new_repository(folder: Path) -> Path:
    """A repository with one file."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "file", "one\n")
    return folder


def snapshots(repository: Path) -> list[str]:
    """The refs of all snapshots."""
    return git(repository, "for-each-ref", "--format=%(refname)", "refs/daplug/snapshots/").split()


def reachable(repository: Path, content: str) -> bool:
    """Whether a file with this content is in a checkout, or in a commit that a ref leads to."""
    wanted = f"{content}\n"
    for folder in (repository, *(repository / ".worktrees").glob("*")):
        for path in folder.rglob("*"):
            if ".git" not in path.parts and path.is_file() and path.read_text(errors="replace") == wanted:
                return True
    listed = git(repository, "rev-list", "--objects", "--all").splitlines()
    blob = subprocess.run(
        ["git", "hash-object", "--stdin"],
        cwd=repository,
        input=wanted,
        text=True,
        capture_output=True,
        check=True,
    )
    return any(line.split()[0] == blob.stdout.strip() for line in listed)
