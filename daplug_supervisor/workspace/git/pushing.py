"""Sending a branch to where it comes from: never by force, and nobody is asked for anything."""

from __future__ import annotations

import os
import re

from daplug_supervisor.workspace.git import running as git

_PATIENCE = 180.0
_SECRET = re.compile(r"://[^/@\s]+@")
_REMEDIES = (
    (re.compile(r"remote rejected|declined"), "the remote does not want it: see what it says to git push"),
    (re.compile(r"rejected|fetch first|non-fast-forward"), "get what is new there (git pull --rebase), then push"),
    (re.compile(r"[Aa]uthentication|could not read (?:User|Pass)|Permission denied|terminal prompts"),
     "see that git push works without being asked for anything (an ssh agent, a credential helper)"),
    (re.compile(r"did not end within|resolve host|timed out|[Cc]onnection|unable to access"),
     "see whether the remote can be reached, then push"),
)  # fmt: skip
_REMEDY = "push by hand to see more (git push)"


class PushError(git.GitError):
    """What is committed could not be pushed; nothing is lost, and it may be tried again."""

    code = "push"


def push(repository: git.Repository, commit: str) -> str:
    """Push the branch that is checked out to its upstream; returns what to say of it. Done twice, it is done once.

    Args:
        repository: the checkout.
        commit: what must arrive at least.

    Raises:
        PushError: it could not be; the message has the remedy.
    """
    own = repository.own
    remote, ref = _upstream(own, commit)
    try:
        git.run(
            repository.top, *git.within(own, repository.top), "-c", "core.askPass=", "push", "--no-verify",
            "--no-force", "--no-follow-tags", "--recurse-submodules=no", "--", remote, f"HEAD:{ref}",
            environ=_environment(own), patience=_PATIENCE,
        )  # fmt: skip
    except git.GitError as error:
        whole = f"{error}\n{error.said}"
        remedy = next((told for pattern, told in _REMEDIES if pattern.search(whole)), _REMEDY)
        said = _SECRET.sub("://", str(error))
        raise PushError(
            f"{commit[:12]} is committed, but not pushed to {remote}: {said} ({remedy})"
        ) from error
    return f"pushed to {remote} {ref.removeprefix('refs/heads/')}"


def _upstream(own: str, commit: str) -> tuple[str, str]:
    """The remote, and the branch there."""
    branch = git.asked(own, "symbolic-ref", "--quiet", "--short", "HEAD")
    if not branch:
        raise PushError(
            f"{commit[:12]} is committed, but not pushed: HEAD is on no branch (git switch to one)"
        )
    remote = git.asked(own, "config", f"branch.{branch}.remote")
    ref = git.asked(own, "config", f"branch.{branch}.merge")
    if not remote or remote == "." or not ref.startswith("refs/heads/"):
        raise PushError(
            f"{commit[:12]} is committed, but not pushed: branch {branch} has no upstream "
            f"(once: git push --set-upstream origin {branch})"
        )
    return remote, ref


def _environment(own: str) -> dict[str, str]:
    """Have ssh fail rather than ask."""
    given = {
        name: os.environ[name]
        for name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO")
        if name in os.environ
    }
    told = given.get("GIT_SSH_COMMAND") or git.asked(own, "config", "core.sshCommand")
    if told or "GIT_SSH" not in given:
        given["GIT_SSH_COMMAND"] = f"{told or 'ssh'} -o BatchMode=yes"
    return given
