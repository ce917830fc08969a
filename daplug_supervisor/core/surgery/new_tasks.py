"""Tasks that are created while a plan runs: what is their own, and what they take over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import (
    COMMAND,
    FOR_AGENTS,
    LOCAL,
    Criterion,
    Id,
    Name,
    Provider,
    Seconds,
    Task,
    Text,
)
from daplug_supervisor.errors import NotPossibleError

Priority = Annotated[int, Meta(ge=-1000, le=1000)]


class NewTask(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task to be created: what is its own; all else it takes over from its parent, or else from the plan.

    `text` is what its agent is told or, with `command`, a line for the shell.
    """

    id: Id
    text: Text
    command: bool = False
    title: str = ""
    needs: tuple[Id, ...] = ()
    parent: Id | None = None
    provider: Id | None = None
    model: Text | None = None
    priority: Priority | None = None
    timeout: Seconds | None = None
    accept: tuple[Criterion, ...] = ()
    files: tuple[Text, ...] = ()
    inputs: dict[Name, str] = field(default_factory=dict)
    outputs: tuple[Name, ...] = ()
    estimate: Seconds | None = None


class Known(Struct, frozen=True):
    """What a run itself does not say: providers that plans need not declare, and the run that knows a task ('')."""

    providers: Mapping[str, Provider] = field(default_factory=dict)
    elsewhere: Callable[[str], str] = lambda _name: ""


_OWN: Final = (
    "title", "prompt", "instructions", "command", "needs", "accept", "inputs", "outputs", "result", "commit", "review",
    "estimate", "estimate_tokens", "parent", "delegate",
)  # fmt: skip
"""What a part does not take over from its parent. Its budget it does, or dividing work would be a way around it."""

_PLACE: Final = ("worktree", "cwd", "base", "land", "priority")
"""What a part takes over from a parent of another kind."""


def spec_of(run: Run, new: NewTask, parent: str | None, known: Known) -> tuple[Task, Provider | None]:
    """The whole task, and its provider if the plan has none of that name yet."""
    above = run.spec(parent) if parent is not None else None
    base = _inherited(run, above, command=new.command)
    provider = new.provider or base.provider
    if provider is None:
        raise NotPossibleError(f"nothing says which provider runs task {new.id}: name one with --provider")
    own = {name: value for name in ("priority", "timeout") if (value := getattr(new, name)) is not None}
    if new.files:
        own["files"] = new.files
    other = provider != base.provider
    spec = replace(
        base,
        title=new.title,
        instructions=None if new.command else new.text,
        command=("/bin/sh", "-c", new.text) if new.command else None,
        needs=tuple(dict.fromkeys(new.needs)),
        parent=parent,
        delegate=max(0, above.delegate - 1) if above else base.delegate,
        provider=provider,
        model=new.model or (None if other else base.model),
        cli=None if other else base.cli,
        variant=None if other else base.variant,
        accept=new.accept or base.accept,
        inputs=new.inputs,
        outputs=new.outputs,
        estimate=new.estimate if new.estimate is not None else base.estimate,
        **own,
    )
    return spec, provided_by(run, provider, known, command=new.command)


def _inherited(run: Run, above: Task | None, *, command: bool) -> Task:
    """What a new task takes over: of its parent, if that is of the same kind, else of the plan."""
    if above is not None and (above.command is not None) == command:
        return replace(above, **_plain(_OWN))
    base = run.plan.created or Task()
    if command:
        base = replace(base, **_plain(FOR_AGENTS))
        base = replace(base, provider=LOCAL)
    elif base.provider is None or _runs_commands(run, base.provider):
        base = replace(base, provider=next(_agents(run), None))
    if above is None:
        return base
    return replace(base, **_plain(_OWN), **{name: getattr(above, name) for name in _PLACE})


def _runs_commands(run: Run, name: str) -> bool:
    found = run.plan.providers.get(name)
    return found is not None and found.worker == COMMAND


def _plain(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(Task(), name) for name in names}


def _agents(run: Run) -> Iterator[str]:
    return (name for name, provider in run.plan.providers.items() if provider.worker != COMMAND)


def provided_by(run: Run, name: str, known: Known, *, command: bool) -> Provider | None:
    """The provider of that name, if the plan does not have it yet.

    Raises:
        NotPossibleError: so it is.
    """
    there = run.plan.providers.get(name)
    found = there or known.providers.get(name)
    if found is None:
        raise NotPossibleError(
            f"run {run.id} has no provider {name!r}; it has {', '.join(run.plan.providers)}"
        )
    if (found.worker == COMMAND) != command:
        what = "runs commands, no agents" if found.worker == COMMAND else "runs agents, no commands"
        raise NotPossibleError(f"provider {name} {what}")
    return None if there else found
