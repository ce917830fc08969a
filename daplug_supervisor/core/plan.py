"""The plan: what the user wants done. These structs are the schema of plan files, JSON plans and the journal.

Durations are seconds (float). Plan files may also write them as ``90s``, ``45m``, ``1h30m``; `parse_duration`
turns those into seconds before a struct is made, so inside the program there is one form.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

VERSION: Final = 1
MAX_TASKS = 200_000
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?!\n)$"
COMMAND = "command"
"""The worker that runs plain commands: no agent, and so no provider behind it that could be limited."""

LOCAL = "local"
"""The built-in provider: plain commands, as many at once as there are processors."""

Id = Annotated[
    str,
    Meta(
        pattern=ID_PATTERN,
        description="Letters, digits, '.', '_', '-'; starts with a letter or digit; at most 64 characters.",
    ),
]
Seconds = Annotated[
    float,
    Meta(
        ge=0,
        le=366 * 86400,
        description="Seconds, or text such as 90s, 45m, 1h30m.",
        extra_json_schema={"type": ["number", "string"], "pattern": r"^(\d+(\.\d+)?[smhd])+$"},
    ),
]
Text = Annotated[str, Meta(min_length=1)]
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*\*?(?!\n)$"
VariableName = Annotated[
    str,
    Meta(
        pattern=VARIABLE_PATTERN,
        description="An environment variable's name, or the beginning of some followed by '*'.",
    ),
]
Count = Annotated[int, Meta(ge=1, le=10_000)]
OnConflict = Literal["error", "reuse", "increment", "remove"]

DURATION_FIELDS = frozenset(
    {"timeout", "idle_timeout", "setup_timeout", "backoff", "max_backoff", "estimate", "grace"}
)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


def parse_duration(text: str) -> float:
    """Seconds of a text such as ``90s``, ``45m`` or ``1h30m``.

    Raises:
        ValueError: the text is not a duration.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a task is tried, and how long it waits between tries (see `core.retry`)."""

    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    backoff: Seconds = 30.0
    max_backoff: Seconds = 900.0


class Loop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """daplug's verification loop: how many iterations one attempt may take, and the marker that ends it.

    Without `completion_marker` each attempt gets a random one, so that a marker quoted in a log proves nothing.
    """

    max_iterations: Count = 3
    completion_marker: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,80}(?!\n)$")] | None = None


class Budget(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be spent before a person is asked: tokens, US dollars, tries. None is no limit.

    Nothing is started once one of them is reached; what runs may finish. Only what a CLI reports can be counted.
    """

    tokens: Annotated[int, Meta(ge=1)] | None = None
    cost: Annotated[float, Meta(gt=0)] | None = None
    attempts: Annotated[int, Meta(ge=1)] | None = None


class Provider(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pool: how many attempts at once, which worker runs them, and with which model.

    `model` defaults to the provider's name; `fallback` names the providers that take over a task that this one
    cannot get further with; providers with the same `account` share its limits; `pass_env` names variables of the
    supervisor's environment that its attempts get too; `options` is passed to the worker as it is.
    """

    model: Text | None = None
    parallel: Count = 3
    worker: Id = "executor"
    cli: Text | None = None
    variant: Literal["none", "low", "medium", "high", "xhigh"] | None = None
    fallback: tuple[Id, ...] = ()
    account: Text | None = None
    env: dict[str, str] = field(default_factory=dict)
    pass_env: tuple[VariableName, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


class Task(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node of the plan. Exactly one of `prompt`, `instructions` and `command` says what is to be done.

    `prompt` names a daplug prompt (number, folder/number or path); `instructions` is the prompt's text itself;
    `command` is a program and its arguments, run without a shell. `setup` is one that gets the task's directory
    ready before each attempt begins its work.
    """

    title: str = ""
    prompt: Text | None = None
    instructions: Text | None = None
    command: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    needs: tuple[Id, ...] = ()
    provider: Id | None = None
    model: Text | None = None
    cli: Text | None = None
    variant: Literal["none", "low", "medium", "high", "xhigh"] | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    grace: Seconds = 10.0
    retry: Retry = Retry()
    fallback: bool = True
    budget: Budget | None = None
    loop: Loop = Loop()
    worktree: bool = False
    base: Text | None = None
    on_conflict: OnConflict = "error"
    setup: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    setup_timeout: Seconds = 900.0
    sandbox: bool | Literal["strict", "balanced", "dev"] = False
    require_diff: bool = False
    cwd: Text | None = None
    env: dict[str, str] = field(default_factory=dict)
    estimate: Seconds | None = None
    owner: str = ""
    labels: tuple[str, ...] = ()


class Plan(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a run executes: providers and tasks, with all defaults already written into the tasks.

    `on_failure`: ``continue`` leaves the dependents of a failed task blocked and goes on with the rest; ``halt``
    starts nothing more. `timeout` bounds the whole run, in seconds; when it is over nothing more is started.
    `pass_env` names what all attempts get of the supervisor's environment, beside `core.environment.ALLOWED`.
    """

    name: Id
    tasks: dict[Id, Task]
    providers: dict[Id, Provider] = field(default_factory=dict)
    version: Literal[1] = VERSION
    on_failure: Literal["continue", "halt"] = "continue"
    timeout: Seconds | None = None
    budget: Budget | None = None
    pass_env: tuple[VariableName, ...] = ()


class Defaults(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What tasks take over unless they say otherwise. `retry`, `loop` and `env` are taken over key by key."""

    provider: Id | UnsetType = UNSET
    model: Text | UnsetType = UNSET
    cli: Text | UnsetType = UNSET
    variant: Literal["none", "low", "medium", "high", "xhigh"] | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=-1000, le=1000)] | UnsetType = UNSET
    timeout: Seconds | UnsetType = UNSET
    idle_timeout: Seconds | UnsetType = UNSET
    grace: Seconds | UnsetType = UNSET
    retry: Retry | UnsetType = UNSET
    fallback: bool | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET
    loop: Loop | UnsetType = UNSET
    worktree: bool | UnsetType = UNSET
    base: Text | UnsetType = UNSET
    on_conflict: OnConflict | UnsetType = UNSET
    setup: Annotated[tuple[str, ...], Meta(min_length=1)] | UnsetType = UNSET
    setup_timeout: Seconds | UnsetType = UNSET
    sandbox: bool | Literal["strict", "balanced", "dev"] | UnsetType = UNSET
    require_diff: bool | UnsetType = UNSET
    cwd: Text | UnsetType = UNSET
    env: dict[str, str] | UnsetType = UNSET
    estimate: Seconds | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET


class PlanFile(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A plan as it is written: a `Plan` with `defaults`, and with durations that may be text."""

    tasks: dict[Id, Task]
    name: Id | UnsetType = UNSET
    version: Literal[1] = VERSION
    providers: dict[Id, Provider] = field(default_factory=dict)
    defaults: Defaults = Defaults()
    on_failure: Literal["continue", "halt"] = "continue"
    timeout: Seconds | None = None
    budget: Budget | None = None
    pass_env: tuple[VariableName, ...] = ()


class Assignment(Struct, frozen=True):
    """Who runs an attempt, after the plan, the provider and a possible fallback have been put together."""

    provider: str
    worker: str
    model: str
    cli: str | None
    variant: str | None


def assignment(plan: Plan, task: Task, provider: str) -> Assignment:
    """Who runs `task` in the pool `provider`. A task's own model counts only in the provider that it names."""
    pool = plan.providers[provider]
    own = provider == task.provider
    return Assignment(
        provider=provider,
        worker=pool.worker,
        model=(task.model if own else None) or pool.model or provider,
        cli=(task.cli if own else None) or pool.cli,
        variant=(task.variant if own else None) or pool.variant,
    )


def pass_env(plan: Plan, provider: str) -> tuple[str, ...]:
    """The variables, by name or beginning, that a plan has handed on to the attempts of a pool."""
    return (*plan.pass_env, *plan.providers[provider].pass_env)
