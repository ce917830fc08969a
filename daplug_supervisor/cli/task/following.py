"""Printing what attempts write, as it grows: masked, with control characters shown and not obeyed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

import click

from daplug_supervisor.core.secrets import Lines
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.text import clean
from daplug_supervisor.workspace.files import open_output


def copy(path: Path, offset: int, masked: Lines | None) -> int:
    """Print a file from an offset on, and return the new offset. Without a mask it is printed as it is.

    Raises:
        NotPossibleError: it cannot be read.
    """
    try:
        with open_output(path) as file, open_output(path) as same:
            while (begin := _next_data(same, offset)) is not None:
                if begin > offset:
                    click.echo(f"[... {begin - offset} bytes left out ...]")
                file.seek(begin)
                offset = _copy_piece(file, begin, _end_of_data(same, begin), masked)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NotPossibleError(f"{path}: {error.strerror}") from error
    sys.stdout.flush()
    return offset


def near_end(path: Path, most: int) -> int:
    """Where a line begins that is at most `most` bytes before the end of a file; 0 if there is no more than that."""
    try:
        with open_output(path) as file:
            begin = max(0, file.seek(0, os.SEEK_END) - most)
            file.seek(begin)
            return begin and begin + len(file.readline(most))
    except OSError:
        return 0


def _copy_piece(file: BinaryIO, offset: int, end: int, masked: Lines | None) -> int:
    while chunk := file.readline(min(65536, end - offset)):
        if masked is None:
            sys.stdout.buffer.write(chunk)
        else:
            click.echo(clean(masked(chunk.decode("utf-8", "replace").rstrip("\r\n"))))
        offset += len(chunk)
    return offset


def _next_data(file: BinaryIO, offset: int) -> int | None:
    """Where there is something from an offset on, or None: the middle of a long log that still grows is a hole."""
    try:
        found = os.lseek(file.fileno(), offset, os.SEEK_DATA)
    except OSError:
        return None
    return found if found < os.fstat(file.fileno()).st_size else None


def _end_of_data(file: BinaryIO, offset: int) -> int:
    return os.lseek(file.fileno(), offset, os.SEEK_HOLE)
