"""Finding what a person names in a run; what is not there is told with what may have been meant."""

from __future__ import annotations

from difflib import get_close_matches

from daplug_supervisor.core.model import Pool, Run, TaskState
from daplug_supervisor.errors import NotPossibleError


def find_task(run: Run, name: str) -> TaskState:
    """The task of that id.

    Raises:
        NotPossibleError: there is none; the message names the nearest.
    """
    task = run.tasks.get(name)
    if task is None:
        near = get_close_matches(name, run.tasks, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NotPossibleError(f"run {run.id} has no task {name!r}{hint}")
    return task


def find_provider(run: Run, name: str) -> Pool:
    """The pool of that name.

    Raises:
        NotPossibleError: there is none; the message names those that there are.
    """
    pool = run.pools.get(name)
    if pool is None:
        raise NotPossibleError(f"run {run.id} has no provider {name!r}; it has {', '.join(run.pools)}")
    return pool
