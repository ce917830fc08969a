"""What a process that is not does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from daplug_supervisor.core.results import Exit


@dataclass(frozen=True)
class Script:
    """What an attempt does once its gate is open.

    `seconds` is how long it takes by itself (`math.inf`: for ever), `exit` how it ends then; `after_term` is how
    long it goes on after it was asked to end (None: it does not listen, and is killed when its grace is over).
    `works` is for how long it uses the processor; after that it hangs.
    """

    seconds: float = 1.0
    exit: Exit = field(default_factory=lambda: Exit(0))
    after_term: float | None = 0.0
    stdout: bytes = b""
    stderr: bytes = b""
    works: float = math.inf
