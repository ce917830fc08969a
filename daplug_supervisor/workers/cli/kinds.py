"""What the worker needs of each CLI: how it is started, and what its output says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from daplug_supervisor.core.results import OutcomeKind, Usage

Event = Mapping[str, object]
"""One JSON object that a CLI printed, of any shape."""


class Request(Struct, frozen=True):
    """What a CLI is asked to run with; '' leaves it to the CLI's own settings.

    `sandbox` is what the task says; `also_writable` are directories that the agent has to write to beside its own.
    """

    model: str = ""
    effort: str = ""
    sandbox: bool | str = False
    also_writable: tuple[str, ...] = ()


class Fault(Struct, frozen=True):
    """An error that a CLI reports. `text` is all of it, to be searched; `said` is what people are shown."""

    said: str
    text: str


class Reading(Struct, frozen=True):
    """What a CLI's events say of an attempt.

    `done`: its last word is that it has ended well; `text`: the agent's last words; `faults`: errors, the one that
    ended it last; `denied`: the tools that the agent asked for and was not allowed; `stopped`: why it ended before
    its time, if it says so, and what that is worth.
    """

    done: bool = False
    text: str = ""
    usage: Usage | None = None
    faults: tuple[Fault, ...] = ()
    denied: tuple[str, ...] = ()
    stopped: str = ""
    stopped_as: OutcomeKind = OutcomeKind.NO_RESULT


class Cli(Struct, frozen=True):
    """One CLI. `aliases` maps each flag that stands in for one of ours to ours; `refused` are not for users."""

    name: str
    npm: str
    flags: Callable[[Request], list[str]]
    read: Callable[[Iterable[Event]], Reading]
    account: Callable[[str], str]
    aliases: Mapping[str, str]
    refused: frozenset[str]
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    efforts: frozenset[str] = frozenset()
    sandbox: bool = False
