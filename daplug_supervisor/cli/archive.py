"""``archive``: what an execution was made of and what came of it, kept with checksums."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data, print_harmless, width
from daplug_supervisor.cli.reading import load_run, reading
from daplug_supervisor.core.tasker.records import DIRECTORY
from daplug_supervisor.errors import NotPossibleError, StateDirectoryError, UsageError
from daplug_supervisor.views.text import clean, clock, number, table
from daplug_supervisor.workspace import archive as archives
from daplug_supervisor.workspace.archive import Manifest, Restored
from daplug_supervisor.workspace.files import StateDirectory

_MOST_SHOWN = 40


class ArchiveMade(Struct, frozen=True):
    """An archive that was made; `left_out` are files that were not taken, and why."""

    id: str
    path: str
    run: str
    files: int
    size: int
    left_out: tuple[str, ...] = ()


class ArchiveRow(Struct, frozen=True):
    """An archive. `created_at` is UTC seconds, `size` bytes; `state` is where the run stood then."""

    id: str
    path: str
    project: str
    run: str
    state: str
    created_at: float
    files: int
    size: int


def _target(function: options.Decorated) -> options.Decorated:
    return click.option(
        "--target",
        type=click.Path(path_type=Path, file_okay=False),
        help="The directory that has .tasker.  [default: the working directory]",
    )(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def archive() -> None:
    """Keep executions: in .tasker/archive for .tasker sessions, else in the state directory's archive."""


@archive.command()
@click.argument("project", required=False, default="")
@options.chosen_run
@options.as_json
@options.state_dir
def execution(project: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Archive a run: bundles, results, findings, logs, reports and its state, under PROJECT/execution/TIME."""
    from daplug_supervisor.cli.inspect import now  # noqa: PLC0415 (slow to import)
    from daplug_supervisor.supervisor.closing.execution import archive_base, archive_run, session_of  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    try:
        made = archive_run(directory, found, now(found), mask(), project)
    except OSError as error:
        raise UsageError(f"it cannot be archived: {error.filename or ''}: {error.strerror}") from error
    path = str(archive_base(directory, session_of(found)) / made.id)
    row = ArchiveMade(made.id, path, made.run, len(made.files), made.size, made.left_out)
    print_data(
        row, clean(f"{made.id}: {number(row.files, 'file')} of run {made.run} in {path}"), as_json=as_json
    )
    print_harmless("\n".join(f"left out: {one}" for one in made.left_out))
    return 0


@archive.command("list")
@click.option("--project", default="", help="Only of this one.")
@_target
@options.as_json
@options.state_dir
def list_archives(*, project: str, target: Path | None, as_json: bool, state_dir: Path | None) -> int:
    """List archives, oldest first."""
    rows = [
        ArchiveRow(
            one.id,
            str(base / one.id),
            one.project,
            one.run,
            one.state,
            one.created_at,
            len(one.files),
            one.size,
        )
        for base in _bases(target, options.directory(state_dir))
        for one in archives.listing(base, project)
    ]
    cells = [
        (row.id, row.run, row.state, clock(row.created_at), str(row.files), str(row.size)) for row in rows
    ]
    text = table(cells, ("ID", "RUN", "STATE", "MADE", "FILES", "BYTES"), width())
    print_data(rows, text if rows else "There are no archives.", as_json=as_json)
    return 0


@archive.command()
@click.argument("name", metavar="ID")
@click.option("--project", default="", help="Whose it is, if ID is its time alone.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@_target
@options.as_json
@options.state_dir
def restore(
    name: str, *, project: str, dry_run: bool, target: Path | None, as_json: bool, state_dir: Path | None
) -> int:
    """Put the files of archive ID back where they were, for looking at. What is newer there stays.

    Exit 1 if some of them are damaged, or could not be put back.
    """
    directory = options.directory(state_dir)
    base, found = _chosen(_bases(target, directory), name, project)
    _refuse_unfinished(directory, found.run)
    roots = {"state": directory.path, **({} if base.parent.name != DIRECTORY else {"tasker": base.parent})}
    try:
        rows = archives.restore(base, found, roots, dry_run=dry_run)
    except OSError as error:
        raise UsageError(f"it cannot be restored: {error.filename or ''}: {error.strerror}") from error
    print_data(rows, _restored_text(rows, dry_run=dry_run), as_json=as_json)
    return 1 if any(row.became in ("damaged", "refused") for row in rows) else 0


def _refuse_unfinished(directory: StateDirectory, run: str) -> None:
    """Files of a run that goes on are its own: nothing is put among them.

    Raises:
        NotPossibleError: it is not over.
    """
    with suppress(StateDirectoryError), reading(directory) as journal:
        if any(mark.run == run and not mark.finished for mark in journal.runs()):
            raise NotPossibleError(
                f"run {run} is not over: its files are in use; look into the archive instead"
            )


def _restored_text(rows: tuple[Restored, ...], *, dry_run: bool) -> str:
    counts = Counter(row.became for row in rows)
    words = ", ".join(f"{count} {word}" for word, count in counts.items()) or "nothing to restore"
    odd = [row for row in rows if row.why]
    lines = [f"{'would be: ' if dry_run else ''}{words}"]
    lines += [clean(f"  {row.became}: {row.to}: {row.why}", width()) for row in odd[:_MOST_SHOWN]]
    return "\n".join(lines + ([f"  and {len(odd) - _MOST_SHOWN} more"] if len(odd) > _MOST_SHOWN else []))


def _bases(target: Path | None, directory: StateDirectory) -> list[Path]:
    """Where there may be archives."""
    session = (target or options.here()).absolute() / DIRECTORY
    return [place for place in (session / archives.NAME, directory.path / archives.NAME) if place.is_dir()]


def _chosen(bases: list[Path], name: str, project: str) -> tuple[Path, Manifest]:
    """The archive that is meant: by its id, or by its time if that is clear.

    Raises:
        NotPossibleError: there is none, or more than one.
    """
    found = [
        (base, one)
        for base in bases
        for one in archives.listing(base, project)
        if name in (one.id, one.id.rpartition("/")[2])
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotPossibleError(f"{name} may be {' or '.join(one.id for _, one in found)}: give the whole id")
    raise NotPossibleError(f"there is no archive {name!r} here (archive list shows them)")
