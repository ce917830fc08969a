"""``gc``: removing what runs that are over have left."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, width
from daplug_supervisor.cli.reading import reading
from daplug_supervisor.core.plan import parse_duration
from daplug_supervisor.views.text import clean, number, wrap
from daplug_supervisor.workspace.files import StateDirectory
from daplug_supervisor.workspace.gc import Item

_KIB = 1024


class Cleaned(Struct, frozen=True):
    """What was looked at, in the order of looking. `size` is what was (or would be) freed, in bytes."""

    dry_run: bool
    size: int
    items: tuple[Item, ...]


def _age(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write 14d, 12h, 0s") from None


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option(
    "--older-than",
    default="14d",
    show_default=True,
    callback=_age,
    metavar="AGE",
    help="Remove attempts' files of runs that have been over for so long.",
)
@click.option(
    "--save", is_flag=True, help="Save unmerged work under refs/daplug/snapshots/, and remove it too."
)
@options.as_json
@options.state_dir
def gc(*, dry_run: bool, older_than: float, save: bool, as_json: bool, state_dir: Path | None) -> int:
    """Remove worktrees of finished runs whose work is merged, and old files of attempts.

    What is unmerged or uncommitted stays unless it is saved; the journal, the reports and other people's branches
    and worktrees stay in any case.
    """
    directory = options.directory(state_dir)
    found = _cleaned(directory, older_than, save=save, dry_run=dry_run)
    print_data(found, _text(found), as_json=as_json)
    return 0


def _cleaned(directory: StateDirectory, older_than: float, *, save: bool, dry_run: bool) -> Cleaned:
    from daplug_supervisor.supervisor.clock import SystemClock  # noqa: PLC0415
    from daplug_supervisor.supervisor.closing.cleaning import Wanted, clean_up, over  # noqa: PLC0415

    directory.require()
    with ExitStack() as stack:
        if not dry_run:
            stack.callback(directory.lock().release)
        journal = stack.enter_context(reading(directory))
        runs = {mark.run: over(journal.read(mark.run, mark.first_seq - 1)) for mark in journal.runs()}
        wanted = Wanted(older_than, save, dry_run)
        items = tuple(clean_up(directory, runs, SystemClock().now(), wanted))
    return Cleaned(dry_run, sum(item.size for item in items if item.removed), items)


def _text(found: Cleaned) -> str:
    if not found.items:
        return "There is nothing to remove."
    goes = "would remove" if found.dry_run else "removed"
    lines: list[str] = []
    for item in found.items:
        whose = f"{item.what} of {item.run}/{item.task}" if item.run else f"{item.what} {item.path}"
        lines.append(clean(f"{goes if item.removed else 'kept'}: {whose}, {_size(item.size)}"))
        lines += wrap(item.why, width(), "  ")
    count = sum(item.removed for item in found.items)
    return "\n".join([*lines, "", f"{goes} {number(count, 'thing')}, {_size(found.size)}"])


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004
