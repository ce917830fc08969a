"""Finds daplug's executor.py: where the user said, where Claude Code installed it, or beside the target."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from daplug_supervisor.errors import UsageError

if TYPE_CHECKING:
    from daplug_supervisor.workers.settings import Settings

VARIABLE = "DAPLUG_EXECUTOR"
WITHIN = Path("skills", "prompt-executor", "scripts", "executor.py")
"""Where executor.py is in a checkout of daplug, and in the installed plugin."""

PLUGIN = "daplug@cruzanstx"
MANIFEST = Path(".claude", "plugins", "installed_plugins.json")
"""Below the home directory: where Claude Code keeps what is installed, and where."""

HOW = (
    "give its path with --executor PATH (executor.py itself or a checkout of daplug), "
    f"or set {VARIABLE} to that path, or install the Claude plugin {PLUGIN}, "
    "or put a checkout of daplug beside the target directory; "
    "or do without daplug: give the provider `worker: cli`"
)


class _Install(msgspec.Struct):
    installPath: str  # noqa: N815 - the manifest's own spelling


class _Manifest(msgspec.Struct):
    plugins: dict[str, list[msgspec.Raw]]


def find(settings: Settings) -> Path:
    """The absolute path of executor.py.

    A place that the user named is the only one looked at: another version must not be run in its stead.

    Raises:
        UsageError: it is not there, or not anywhere; the message says how to provide it.
    """
    for source, path in (("--executor", settings.executor), (VARIABLE, settings.environ.get(VARIABLE))):
        if path:
            named = _in(_expanded(path))
            if named is None:
                raise UsageError(f"{source}: there is no executor.py at {path!r}: {HOW}")
            return named
    found = _installed(settings) or _in(Path(settings.target).parent / "daplug")
    if found is None:
        raise UsageError(f"daplug's executor.py was not found: {HOW}")
    return found


def _in(place: Path) -> Path | None:
    """executor.py, if `place` is that file or a checkout of daplug."""
    for path in (place, place / WITHIN):
        if os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises for names that are too long)
            return path.absolute()
    return None


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises where there is no such user)


def _installed(settings: Settings) -> Path | None:
    home = settings.environ.get("HOME")
    if not home:
        return None
    try:
        manifest = msgspec.json.decode((Path(home) / MANIFEST).read_bytes(), type=_Manifest)
        installs = [msgspec.json.decode(raw, type=_Install) for raw in manifest.plugins.get(PLUGIN, [])]
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # not there, or in a shape of the future: as good as not installed
        return None
    places = (_in(_expanded(install.installPath)) for install in installs)
    return next((place for place in places if place is not None), None)
