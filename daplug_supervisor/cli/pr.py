"""``pr``: the state of the pull request that a run works for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data
from daplug_supervisor.core import pulls
from daplug_supervisor.core.pulls import Pull, Step, Who
from daplug_supervisor.workspace import github

_WORDS = {
    "comment": "commented",
    "add": "labelled",
    "remove": "no longer labelled",
    "ready": "ready for review",
}

Change = Callable[[Pull], tuple[Step, ...]]


class Changed(Struct, frozen=True):
    """What a verb changed in a pull request: `changed` has one line for each, and none if all was so already."""

    verb: pulls.Verb
    pull: int
    url: str
    changed: tuple[str, ...]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def pr() -> None:
    """Say what state a pull request is in. Runs do that by themselves; each of these may be said again."""


def _of_run(function: options.Decorated) -> options.Decorated:
    return click.option(
        "--run", "run", envvar="DAPLUG_RUN", help="The run that says so.  [default: you, by hand]"
    )(function)


@pr.command()
@click.argument("pull")
@_of_run
@options.as_json
@options.state_dir
def begin(pull: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """A run works for PULL (number or URL) from now on. Exit 3 if another one does, or if it is blocked."""
    from daplug_supervisor.cli.specs.run import place  # noqa: PLC0415 (imports the supervisor)

    here = options.here()
    who = _who(run, state_dir)
    before, steps = github.begin(pull, who, place(here), here)
    _tell("begin", before, steps, as_json=as_json)
    return 0


@pr.command()
@click.argument("pull")
@click.option("--reason", default="", help="Why, for the comment.")
@_of_run
@options.as_json
@options.state_dir
def pause(pull: str, *, reason: str, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """PULL is blocked: its run has stopped, and a person is needed."""
    who, told = _who(run, state_dir), mask()(reason)
    return _change(
        "pause", pull, lambda now: pulls.pause(now, who, told, by_hand=run is None), as_json=as_json
    )


@pr.command()
@click.argument("pull")
@_of_run
@options.as_json
@options.state_dir
def complete(pull: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """The work for PULL is done: it is ready for review. Exit 3 if it is blocked, or another run's."""
    who = _who(run, state_dir)
    return _change(
        "complete", pull, lambda now: pulls.complete(now, who, by_hand=run is None), as_json=as_json
    )


@pr.command("continue")
@click.argument("pull")
@_of_run
@options.as_json
@options.state_dir
def go_on(pull: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """PULL is no longer blocked: a run may begin again."""
    who = _who(run, state_dir)
    return _change("continue", pull, lambda now: pulls.release(now, who), as_json=as_json)


def _change(verb: pulls.Verb, pull: str, wanted: Change, *, as_json: bool) -> int:
    before, steps = github.change(pull, wanted, options.here())
    _tell(verb, before, steps, as_json=as_json)
    return 0


def _who(run: str | None, state_dir: Path | None) -> Who:
    """The run that speaks, told from others of its name; or a person, who is nobody's run."""
    if run is None:
        return Who(pulls.BY_HAND, os.urandom(6).hex())
    from daplug_supervisor.cli.reading import load_run  # noqa: PLC0415 (a person needs no journal)
    from daplug_supervisor.cli.specs.run import who  # noqa: PLC0415

    return who(load_run(options.directory(state_dir), run))


def _tell(verb: pulls.Verb, pull: Pull, steps: tuple[Step, ...], *, as_json: bool) -> None:
    done = tuple(_words(step) for step in steps)
    text = f"PR #{pull.number}: {', '.join(done) or 'nothing to change'}"
    print_data(Changed(verb, pull.number, pull.url, done), text, as_json=as_json)


def _words(step: Step) -> str:
    return f"{_WORDS[step.kind]}{f' {step.text}' if step.kind in ('add', 'remove') else ''}"
