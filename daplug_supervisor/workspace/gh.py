"""Running `gh`: without a shell or questions, in bounded time, with bounded output."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from daplug_supervisor.errors import SupervisorError

PATIENCE = 60.0
"""Seconds that one call may take."""

_MOST_BYTES = 16 << 20
_MOST_SAID = 64 << 10
LONGEST_LINE = 300
_NEEDS_LOGIN = 4
"""What `gh` exits with if it is not logged in."""

_SETTINGS = {
    "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "GH_NO_EXTENSION_UPDATE_NOTIFIER": "1", "GH_PAGER": "cat",
    "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
}  # fmt: skip
_UNWANTED = ("GH_FORCE_TTY", "GH_DEBUG", "DEBUG", "CLICOLOR_FORCE", "GH_EDITOR", "GH_BROWSER")


class GithubError(SupervisorError):
    """`gh` could not do it; the message is its own."""

    code = "github"


class NoGithubError(GithubError):
    """There is no `gh` here, or it is not logged in."""


class MissingError(GithubError):
    """There is nothing of that name."""


class ThereError(GithubError):
    """Somebody else has made it meanwhile."""


def is_here() -> bool:
    """Whether there is a `gh`."""
    return shutil.which("gh") is not None


def run(folder: Path, *words: str, stdin: str = "") -> bytes:
    """What `gh` prints.

    Raises:
        GithubError: it failed, or did not end in time, or prints too much.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _UNWANTED} | _SETTINGS
    program = shutil.which("gh")
    if program is None:
        raise NoGithubError(
            "there is no gh here, which pull requests need: install it from https://cli.github.com"
        )
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode("utf-8", "backslashreplace"))
        given.seek(0)
        try:
            process = subprocess.Popen(
                [program, *words], cwd=folder, env=environ, stdin=given, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, process_group=0,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise GithubError(f"gh cannot be started: {error}") from error
    with process:
        try:
            out, said = _outputs(process, f"gh {words[0]} {words[1] if words[0] == 'pr' else ''}".rstrip())
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise _error(process.returncode, said.decode("utf-8", "replace"), out.decode("utf-8", "replace"))
    return out


def _outputs(process: subprocess.Popen[bytes], name: str) -> tuple[bytes, bytes]:
    """What a process prints, both ways, until it has ended."""
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    found: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    end = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for stream in found:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise GithubError(f"{name} did not end within {PATIENCE:g} s")
            for key, _ in ready:
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                data = os.read(key.fd, _MOST_SAID)
                if not data:
                    selector.unregister(stream)
                elif stream is process.stdout or len(found[stream]) < _MOST_SAID:
                    found[stream] += data
            if len(found[process.stdout]) > _MOST_BYTES:
                raise GithubError(f"{name} prints more than {_MOST_BYTES >> 20} MiB")
    try:
        process.wait(max(0.1, end - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise GithubError(f"{name} did not end within {PATIENCE:g} s") from error
    return bytes(found[process.stdout]), bytes(found[process.stderr])


def _error(code: int, said: str, out: str) -> GithubError:
    told = line(next((line for line in said.splitlines() if line.strip()), f"exit code {code}"))
    if code == _NEEDS_LOGIN or "gh auth login" in said:
        return NoGithubError(f"gh is not logged in, which pull requests need: 'gh auth login' ({told})")
    if "HTTP 404" in said:
        return MissingError(f"gh: {told}")
    if "already_exists" in said + out or "already exists" in said:
        return ThereError(f"gh: {told}")
    return GithubError(f"gh: {told.removeprefix('gh: ')}")


def line(text: str) -> str:
    """The beginning of a text, fit to be quoted in a message."""
    return "".join(one if one.isprintable() else " " for one in text[:LONGEST_LINE]).strip()
