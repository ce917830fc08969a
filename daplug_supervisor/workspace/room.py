"""Room on the disk: how much is left where everything durable is kept, and how little is too little."""

from __future__ import annotations

import errno
import os

LITTLE = 16 << 20
"""Bytes below which nothing is started: what runs already still needs room for its output, and we for its end."""

_FEW = 64
"""The same for files, where a file system has a fixed number of them."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a write says for which there is no room now, and may be later."""


def lack(directory: str) -> str:
    """What there is too little of; empty if there is room, or if the file system does not tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return ""
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and free < LITTLE:
        return f"the disk of {directory} has {free / (1 << 20):.1f} MiB left"
    if found.f_files and found.f_favail < _FEW:
        return f"the disk of {directory} has room for {found.f_favail} more files only"
    return ""


def notice(directory: str) -> str:
    """`lack` in a sentence that says what follows and what to do; empty if there is room."""
    found = lack(directory)
    least = f"{LITTLE >> 20} MiB"
    return (
        found and f"{found}: nothing is started until there are {least}; what runs goes on; free some space"
    )
