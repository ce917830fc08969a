"""The supervisor's own log: JSON lines in the state directory. The library only emits; here it is written."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.views.text import harmless_json


class _StructuredHandler(logging.Handler):
    """Renders records with structlog, which is imported with the first one: most runs have nothing to log."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._mask = Mask.of(os.environ)

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line."""
        import structlog  # noqa: PLC0415

        values = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            values["exc_info"] = record.exc_info  # type: ignore[assignment]
        for processor in (
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ):
            values = processor(None, "", values)  # type: ignore[assignment]
        for name, text in values.items():
            values[name] = self._mask(str(text))
        line = structlog.processors.JSONRenderer()(None, "", values)
        text = line if isinstance(line, str) else line.decode()
        # Nothing may fail because it cannot be logged.
        with contextlib.suppress(OSError), open(self._path, "ab", opener=_private) as file:
            file.write(harmless_json(text).encode() + b"\n")


def _private(path: str, flags: int) -> int:
    # Not through a link: whoever could write here before we closed the directory may have left one.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def log_to(path: Path) -> None:
    """Send what this package logs to a file, and nowhere else."""
    logger = logging.getLogger("daplug_supervisor")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(_StructuredHandler(path))
    logger.setLevel(logging.INFO)
    logger.propagate = False
