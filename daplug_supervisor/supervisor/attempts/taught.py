"""The result of an agent that was taught to write it as the users of a ``.tasker`` directory do."""

from __future__ import annotations

from pathlib import Path

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.claims import MOST_BYTES, Claim, ClaimError
from daplug_supervisor.core.tasker.records import DIRECTORY, result_name
from daplug_supervisor.formats.tasker import claim as tasker_claim
from daplug_supervisor.workspace.folders import read_below


def taught(bundle: Bundle, cwd: str) -> Claim | str | None:
    """What it claims, or why it is refused; None if there is none. `cwd` is where the attempt worked."""
    name = f"{DIRECTORY}/bundles/{result_name(bundle.task)}"
    for place in dict.fromkeys((cwd, bundle.target)):
        try:
            data = read_below(Path(place), name, MOST_BYTES)
            if data is not None:
                return tasker_claim.read(data, bundle.task)
        except OSError as error:
            return f"its result {name} cannot be read: {error.strerror or error}"
        except ClaimError as error:
            return f"its result {name} is refused: {error}"
    return None
