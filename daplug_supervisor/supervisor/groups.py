"""The one error that a group of errors is about, for callers who know nothing of task groups."""

from __future__ import annotations

from daplug_supervisor.errors import SupervisorError


def one_of(group: BaseExceptionGroup[BaseException], body: BaseException | None) -> BaseException:
    """The one error of ours in a group; else what the body raised, if that is all; else the group itself."""
    found = _leaves(group)
    ours = [error for error in found if isinstance(error, SupervisorError)]
    if ours:
        return ours[0]
    raised = _leaves(body)
    return body if body is not None and all(error in raised for error in found) else group


def _leaves(error: BaseException | None) -> list[BaseException]:
    """The errors in a group, or the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [] if error is None else [error]
