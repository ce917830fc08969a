"""``finish``: the last steps of a PLAN.md, which are commands that its run starts."""

from __future__ import annotations

import re
from pathlib import Path

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data, width
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.checklist_report import Rest
from daplug_supervisor.views.text import clean

_NO_GIT = re.compile("not a git repository|git is not installed")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def finish() -> None:
    """The last steps of a PLAN.md. Its run takes them by itself; each of them may be taken again."""


@finish.command("commit-rest")
@click.option("--name", required=True, help="The plan's name, for the commit's message.")
@click.option("--push", is_flag=True, help="Push it, too.")
@options.as_json
def commit_rest(*, name: str, push: bool, as_json: bool) -> int:
    """Commit what is left uncommitted in the working directory: context files, and whatever else changed."""
    from daplug_supervisor.workspace.git import commits  # noqa: PLC0415 (not for --help)
    from daplug_supervisor.workspace.git import running as git  # noqa: PLC0415 (not for --help)

    here = options.here()
    try:
        made = commits.rest(here, f"chore({name}): miscellaneous changes", push=push)
    except git.GitError as error:
        if push or not _NO_GIT.search(str(error)):
            raise
        made = commits.Committed(detail=f"Nothing is committed here: {error}")
    said = [f"committed {made.commit}" if made.commit else "", made.detail]
    if push and not made.commit:
        said.append(_pushed(here))
    data = Rest(made.commit or None, made.files, "; ".join(filter(None, said[1:])))
    print_data(data, clean("; ".join(filter(None, said))), as_json=as_json)
    return 0


def _pushed(here: Path) -> str:
    """What is committed is pushed also if nothing was left: an earlier attempt may have failed in between."""
    from daplug_supervisor.workspace.git import pushing  # noqa: PLC0415
    from daplug_supervisor.workspace.git import running as git  # noqa: PLC0415

    repository = git.checkout(here)
    head = git.commit(repository.own, "HEAD")
    return pushing.push(repository, head) if head else ""


@finish.command()
@click.argument("run", required=False, envvar="DAPLUG_RUN")
@options.as_json
@options.state_dir
def report(run: str | None, *, as_json: bool, state_dir: Path | None) -> int:
    """Show what became of the PLAN.md of RUN (the latest unfinished one, else the latest)."""
    from daplug_supervisor.cli.reading import load_run  # noqa: PLC0415
    from daplug_supervisor.cli.specs.run import boxes_of, is_of_checklist, left_files  # noqa: PLC0415
    from daplug_supervisor.views.checklist_report import checklist_report, checklist_text  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    if not is_of_checklist(found):
        raise NotPossibleError(
            f"run {found.id} was made of no PLAN.md: 'daplug-supervise report' tells of it"
        )
    full = checklist_report(found, boxes_of(found)[0], left_files(directory, found))
    print_data(full, mask()(checklist_text(full, width())), as_json=as_json)
    return 0
