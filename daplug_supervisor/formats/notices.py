"""What a plan says of how people are told: checked when it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daplug_supervisor.core.addresses import holds_secret
from daplug_supervisor.formats.findings import Finding
from daplug_supervisor.formats.references import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daplug_supervisor.core.plan import Plan


def check(plan: Plan) -> Iterator[Finding]:
    """Everything wrong with `notify`."""
    notify = plan.notify
    for index, word in enumerate(notify.command or ()):
        yield from refused(("notify", "command", index), word)
    if notify.webhook and holds_secret(notify.webhook):
        message = "the address holds a secret, and would be kept in the journal"
        yield Finding(("notify", "webhook"), message, "put it into the environment, and write webhook: $NAME")
    twice = [one for index, one in enumerate(notify.on) if one in notify.on[:index]]
    if twice:
        yield Finding(("notify", "on"), f"names {twice[0]} twice", "keep one")
    if not notify.timeout:
        yield Finding(("notify", "timeout"), "nothing can be told in no time", "write 30s")
    if not notify.wanted and notify != type(notify)():
        remedy = "add command, webhook or desktop: true"
        yield Finding(("notify",), "says what to tell, but not how", remedy, because=(("notify",),))
