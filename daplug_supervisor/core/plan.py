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
Review = Literal["human"]
Trouble = Literal["needs_person", "finished", "halted", "limited", "over_budget"]
"""What a person may be told of, each once an episode."""

Category = Literal["functional", "static", "runtime"]
"""What a criterion looks at: what the work does, how it is written, how it runs."""

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(?!\n)$"
Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        description="Letters, digits, '_', '-'; starts with a letter or '_'; at most 64 characters.",
    ),
]

WEBHOOK_PATTERN = r"^(https?://[^\s\x00-\x1f]+|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})(?!\n)$"

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


class Criterion(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What has to hold when a task is done: a command that we run ourselves, in the directory of the attempt.

    `run` is a line for the shell, or a program and its arguments. It holds if that exits with `expect_exit`, and if
    what it prints contains `expect_output`. `name` is what to call it.
    """

    run: Text | Annotated[tuple[str, ...], Meta(min_length=1)]
    name: str = ""
    expect_exit: Annotated[int, Meta(ge=0, le=255)] = 0
    expect_output: Text | None = None
    timeout: Seconds = 600.0
    category: Category = "functional"

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments."""
        return ("/bin/sh", "-c", self.run) if isinstance(self.run, str) else self.run

    @property
    def line(self) -> str:
        """The command, as a person would write it."""
        return self.run if isinstance(self.run, str) else " ".join(self.run)

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.line


class Commit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The one commit that keeps a task's work.

    `message` is its subject, and may have a body; ``<task>: <title>`` unless given. `files` are what it takes (paths
    and git's patterns, from the target directory): `Task.files` unless given. `when`: ``always``, or a line for the
    shell that must succeed. `push` sends it on.
    """

    message: str = ""
    files: tuple[Text, ...] = ()
    when: Text = "always"
    push: bool = False


class Hooks(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Commands of the user, run without a shell: after each task that ended, and after the run. They decide nothing."""

    post_task: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    post_run: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    timeout: Seconds = 60.0


class Notify(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How people are told that a run needs them, or is over: by a command of theirs, a webhook, their desktop.

    `command` is run without a shell, with the words in its environment and as JSON on its standard input; `webhook`
    gets the JSON by POST (``$NAME``: the address is in a variable, for it may be a secret). `on` is what they are
    told of.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    webhook: Annotated[str, Meta(pattern=WEBHOOK_PATTERN)] | None = None
    desktop: bool = False
    on: tuple[Trouble, ...] = ("needs_person", "finished", "halted", "limited", "over_budget")
    timeout: Seconds = 30.0

    @property
    def wanted(self) -> bool:
        """Whether anybody is told."""
        return bool(self.command or self.webhook or self.desktop)


class Origin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The foreign plan that a plan was made of, and which is kept up to date as the run goes on.

    `path` is from the target directory: a PLAN.md (``checklist``), or the directory ``.tasker``.
    """

    format: Literal["checklist", "tasker"]
    path: Text


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
    ready before each attempt begins its work. `accept` is what has to hold in the end. `inputs` are handed to it, and
    may name what earlier tasks hand on; `outputs` are what it hands on itself, in a result, which `result` asks for.
    `files` are those that it may change. `land`: whether the work in its own worktree goes to the run's branch;
    `rollback`: whether its files in a shared checkout are put back when it fails. `parent` is the task of which this
    one is a part; `delegate`: how deep it may divide its work among tasks that it creates (0: not at all). `review`:
    who looks at the proven work before it lands; `ask`: whether its agent may ask a person something.
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
    accept: tuple[Criterion, ...] = ()
    fix_rounds: Annotated[int, Meta(ge=0, le=10)] = 3
    inputs: dict[Name, str] = field(default_factory=dict)
    outputs: tuple[Name, ...] = ()
    result: bool = False
    files: tuple[Text, ...] = ()
    commit: Commit | None = None
    land: bool = True
    rollback: bool = False
    parent: Id | None = None
    delegate: Annotated[int, Meta(ge=0, le=5)] = 0
    review: Review | None = None
    ask: bool = False
    cwd: Text | None = None
    env: dict[str, str] = field(default_factory=dict)
    estimate: Seconds | None = None
    estimate_tokens: Annotated[int, Meta(ge=1)] | None = None
    owner: str = ""
    labels: tuple[str, ...] = ()

    @property
    def wants_result(self) -> bool:
        """Whether an attempt must hand in a result."""
        return self.result or bool(self.outputs)

    @property
    def wants_outbox(self) -> bool:
        """Whether an attempt has something to write for us."""
        return self.wants_result or self.delegate > 0 or self.ask


FOR_AGENTS = (
    "provider", "model", "cli", "variant", "loop", "sandbox", "require_diff", "budget", "accept", "result", "commit",
    "delegate", "review", "ask",
)  # fmt: skip
"""Fields of a task that commands do not take over from what is said for all."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a run executes: providers and tasks, with all defaults already written into the tasks.

    `on_failure`: ``continue`` leaves the dependents of a failed task blocked and goes on with the rest; ``halt``
    starts nothing more. `timeout` bounds the whole run, in seconds; when it is over nothing more is started.
    `pass_env` names what all attempts get of the supervisor's environment, beside `core.environment.ALLOWED`.
    `origin` is the foreign plan that it was made of, `saved_outputs` what tasks handed on that were done before.
    `stages`: ``barrier`` starts no task of a stage before all of the stages before it are done; ``dag`` looks at the
    needs of each task only. `created` is what tasks take over that are created while it runs, and have no parent.
    """

    name: Id
    tasks: dict[Id, Task]
    providers: dict[Id, Provider] = field(default_factory=dict)
    version: Literal[1] = VERSION
    on_failure: Literal["continue", "halt"] = "continue"
    timeout: Seconds | None = None
    budget: Budget | None = None
    pass_env: tuple[VariableName, ...] = ()
    hooks: Hooks = Hooks()
    notify: Notify = Notify()
    stages: Literal["dag", "barrier"] = "dag"
    created: Task | None = None
    origin: Origin | None = None
    saved_outputs: dict[str, dict[str, Any]] = field(default_factory=dict)


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
    accept: tuple[Criterion, ...] | UnsetType = UNSET
    fix_rounds: Annotated[int, Meta(ge=0, le=10)] | UnsetType = UNSET
    result: bool | UnsetType = UNSET
    commit: Commit | UnsetType = UNSET
    land: bool | UnsetType = UNSET
    rollback: bool | UnsetType = UNSET
    delegate: Annotated[int, Meta(ge=0, le=5)] | UnsetType = UNSET
    review: Review | UnsetType = UNSET
    ask: bool | UnsetType = UNSET
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
    hooks: Hooks = Hooks()
    notify: Notify = Notify()
    stages: Literal["dag", "barrier"] = "dag"
    created: Task | None = None


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
