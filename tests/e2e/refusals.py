"""What the mock model answers instead of a success, for each scenario that is one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

EPOCH = 1_000_000_000
"""Numbers above it are times, those below it are seconds from now."""

_SOON = {"retry-after-ms": "200"}
"""For CLIs that cannot be told how often to try again: so they are at least quick."""


class Refusal(NamedTuple):
    """An answer that is no success. `resets_at`: a quota is used up until then."""

    status: int
    kind: str
    words: str
    headers: Mapping[str, str] = {}
    resets_at: int = 0


def refusal(scenario: str, number: str, api: str) -> Refusal | None:
    """What a scenario answers, None if it answers as it should, or not at all."""
    anthropic = api == "/messages"
    limit = "rate_limit_error" if anthropic else "rate_limit_exceeded"
    if scenario in ("429", "429long"):
        wait = "2" if scenario == "429" else "3600"
        return Refusal(429, limit, f"MOCK rate limit reached, try again in {wait}s", {"Retry-After": wait})
    if scenario == "quota":
        resets_at = int(number) if int(number) > EPOCH else int(time.time()) + int(number)
        found = _quota(limit, resets_at)
        return found._replace(headers=_SOON) if api == "/chat/completions" else found
    long = "prompt is too long: 300000 tokens > 200000 maximum"
    return {
        "500": Refusal(500, "api_error" if anthropic else "server_error", "MOCK internal error", _SOON),
        "503": Refusal(503, "overloaded_error" if anthropic else "server_error", "MOCK overloaded", _SOON),
        "401": Refusal(401, "authentication_error" if anthropic else "invalid_api_key", "MOCK invalid key"),
        "400ctx": Refusal(400, "invalid_request_error" if anthropic else "context_length_exceeded", long),
    }.get(scenario)


def _quota(kind: str, resets_at: int) -> Refusal:
    unified = "anthropic-ratelimit-unified"
    headers = {
        "Retry-After": str(max(1, resets_at - int(time.time()))),
        f"{unified}-status": "rejected",
        f"{unified}-reset": str(resets_at),
        f"{unified}-representative-claim": "five_hour",
    }
    return Refusal(429, kind, "The usage limit has been reached", headers, resets_at)
