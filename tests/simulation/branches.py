"""Git as far as a simulation needs it: worktrees of tasks, and the branch that their work lands on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio.lowlevel

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.supervisor import scheduler
from daplug_supervisor.supervisor.attempts import acceptance, places, preparation
from daplug_supervisor.workspace.git import commits, messages, run_branch, worktrees
from daplug_supervisor.workspace.git.run_branch import Joined, Joining
from daplug_supervisor.workspace.git.worktrees import Worktree

if TYPE_CHECKING:
    from simulated import Simulation

STRANGER = "somebody else"


class Branch:
    """The branch of a run: the attempts whose work is on it. A commit is how many were on it before.

    Attributes:
        landed: the attempts, in order.
        committed: those whose work was committed in a shared checkout.
    """

    def __init__(self) -> None:
        self.landed: list[str] = []
        self.committed: list[str] = []
        self._bases: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._joined: dict[str, int] = {}
        self._moved: set[str] = set()

    def fork(self) -> Branch:
        """Another one that was the same until now."""
        return copy.deepcopy(self)

    def on(self, run: str, task: str, number: int) -> int:
        """What is below the work of an attempt at this moment."""
        attempt = f"{run}/{task}#{number}"
        return self._joined.get(attempt, self._bases.get(f"{run}-{task}", 0))

    def alone(self, run: str, task: str, number: int) -> bool:
        """Whether the work of an attempt is where it was made."""
        attempt = f"{run}/{task}#{number}"
        return self._joined.get(attempt) in (None, self._kept.get(attempt))

    async def worktree(self, bundle: Bundle, _run: object) -> Worktree:
        """In place of `find_worktree`."""
        await anyio.lowlevel.checkpoint()
        name = f"{bundle.run}-{bundle.task}"
        base = self._bases.setdefault(name, len(self.landed))
        path = f"{bundle.target}/.worktrees/{name}"
        return Worktree(path, name, "/nowhere", path, str(base))

    def rebase(self, _target: Path, *, owner: str, name: str, base: str) -> None:
        """In place of `worktrees.rebase`."""
        del owner
        self._bases[name] = int(base)

    def join(self, place: Joining) -> Joined:
        """In place of `run_branch.join`."""
        attempt = place.attempt
        if attempt in self.landed:
            return Joined(
                attempt, (place.task,), moved=False, conflicts=(), tip=str(self.landed.index(attempt))
            )
        base = self._kept.setdefault(attempt, int(place.base))
        tip = self._joined[attempt] = len(self.landed)
        return Joined(attempt, (place.task,), moved=tip != base, conflicts=(), tip=str(tip))

    def settle(self, simulation: Simulation, joined: Joined) -> bool:
        """In place of `run_branch.settle`: what gets on the branch was looked at as it is there."""
        if joined.commit in self.landed:
            return True
        (task,) = joined.files
        if task in simulation.story.moved and task not in self._moved:
            self._moved.add(task)
            self.landed.append(STRANGER)
        if str(len(self.landed)) != joined.tip:
            return False
        simulation.world.landing(joined.commit, int(joined.tip))
        self.landed.append(joined.commit)
        return True

    def commit(self, _target: Path, **what: Any) -> SimpleNamespace:
        """In place of `commits.commit`."""
        attempt = what["trailers"][messages.ATTEMPT]
        again = attempt in self.committed
        if not again:
            self.committed.append(attempt)
        return SimpleNamespace(commit=attempt, detail="there already" if again else "", files=())


@contextmanager
def without_git(simulation: Simulation) -> Iterator[None]:
    """While it lasts, the supervisor finds a simulation's branch where it looks for git."""
    branch = simulation.branch
    fakes: list[tuple[object, str, object]] = [
        (acceptance, "fingerprint", lambda place, *_: simulation.world.trees.get(str(place), "")),
        (preparation, "find_worktree", branch.worktree),
        (places, "find_worktree", branch.worktree),
        (places, "changed_since", lambda *_: ()),
        (scheduler, "work_of", lambda *_: {}),
        (worktrees, "rebase", branch.rebase),
        (run_branch, "join", branch.join),
        (run_branch, "settle", lambda _, __, joined: branch.settle(simulation, joined)),
        (commits, "commit", branch.commit),
    ]
    with ExitStack() as stack:
        for where, name, fake in fakes:
            stack.enter_context(mock.patch.object(where, name, fake))
        yield
