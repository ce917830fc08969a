"""What providers do through a simulated night, and what that makes of an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal

from daplug_supervisor.core.results import OutcomeKind

MINUTE, HOUR = 60.0, 3600.0
SOON = 20.0
"""What a provider states that tells everybody to come back soon."""

K = OutcomeKind

PATIENCE = {
    "codex": (8.0, 30.0),
    "opencode": (35.0, 95.0),
    "gemini": (150.0, 250.0),
    "claude": (170.0, 185.0),
}
"""For how many seconds each CLI tries again by itself, before it gives up on a limit or an outage."""

Said = Literal["", "truly", "soon"]
SAID: tuple[Said, ...] = ("", "truly", "soon")

AT_ONCE = (1.0, 9.0)
"""Seconds after which a CLI gives up on what no retry can help."""


@dataclass(frozen=True)
class Spell:
    """A provider does not work from `begin` to `end`.

    `states`: it says itself when that is over; ``soon`` is what many say: in 20 seconds, whenever they are asked.
    """

    provider: str
    kind: OutcomeKind
    begin: float
    end: float
    states: Said = ""

    def stated(self, now: float) -> float | None:
        """The time that it names to whom it turns away now."""
        if self.states == "soon":
            return now + SOON
        return self.end if self.states else None


@dataclass(frozen=True)
class Fate:
    """What becomes of an attempt: after how many seconds it ends, the spell that it met, and when it begins to hang."""

    seconds: float
    met: Spell | None = None
    works: float = inf


class Weather:
    """The spells of a night."""

    def __init__(self, spells: tuple[Spell, ...] = ()) -> None:
        self.spells = tuple(sorted(spells, key=lambda spell: (spell.begin, spell.end, spell.provider)))

    def of(self, provider: str) -> list[Spell]:
        """Those of a provider, the earliest first."""
        return [spell for spell in self.spells if spell.provider == provider]

    def closed(self, provider: str, now: float) -> Spell | None:
        """The spell that a provider is in."""
        return next((spell for spell in self.of(provider) if spell.begin <= now < spell.end), None)

    def fate(self, name: str, provider: str, begin: float, work: float) -> Fate:
        """What becomes of the attempt `name` that would take `work` seconds.

        It meets the first spell that its CLI's own retries do not carry it over.
        """
        for spell in self.of(provider):
            onset = max(begin, spell.begin)
            if onset >= spell.end or onset >= begin + work:
                continue
            if spell.kind is K.SILENT:
                return Fate(inf, spell, onset - begin)
            patience = _patience(spell, Random(f"{name} {spell.begin}"))
            if onset + patience < spell.end:
                return Fate(onset + patience - begin, spell)
        return Fate(work)

    def earliest_end(self, provider: str, begin: float, work: float) -> float:
        """The earliest end of work that begins then or later and is not interrupted; `inf` if there is none."""
        for spell in self.of(provider):
            if begin + work <= spell.begin:
                break
            begin = max(begin, spell.end)
        return begin + work

    def capacity(self, provider: str, slots: int, until: float) -> float:
        """The seconds of work that a provider can do by a time."""
        done, reached = 0.0, 0.0
        for spell in self.of(provider):
            done += max(0.0, min(spell.begin, until) - reached)
            reached = max(reached, min(spell.end, until))
        return slots * (done + max(0.0, until - reached))


def _patience(spell: Spell, chance: Random) -> float:
    """Seconds after which an attempt has found out."""
    if spell.kind in (K.QUOTA, K.AUTH):
        return chance.uniform(*AT_ONCE)
    return chance.uniform(*PATIENCE[spell.provider])


def bad_night(chance: Random) -> Weather:
    """The night of the tests. It begins at 22:00, and times are seconds since then.

    codex and opencode share an account. Its quota is used up between 23:40 and 0:40; it says "try again at 1:22 AM".
    """
    spells = _bursts(chance)
    used_up = chance.uniform(100, 160) * MINUTE
    reset = 3 * HOUR + 22 * MINUTE
    spells += [Spell(name, K.QUOTA, used_up, reset, states="truly") for name in ("codex", "opencode")]
    down = chance.uniform(4.0, 6.0) * HOUR
    spells.append(Spell("opencode", K.OUTAGE, down, down + 40 * MINUTE))
    down = chance.uniform(0.5, 1.2) * HOUR
    spells.append(Spell("gemini", K.OUTAGE, down, down + 40 * MINUTE))
    hangs = chance.uniform(2.0, 6.0) * HOUR
    spells.append(Spell("claude", K.SILENT, hangs, hangs + 50 * MINUTE))
    expires = chance.uniform(4.5, 5.5) * HOUR
    spells.append(Spell("gemini", K.AUTH, expires, inf))
    return Weather(_apart(spells))


def _bursts(chance: Random) -> list[Spell]:
    """Short limits: two to four on each provider; some say when they are over."""
    found = []
    for name in PATIENCE:
        for _ in range(chance.randint(2, 4)):
            begin = chance.uniform(0.1, 9.0) * HOUR
            end = begin + chance.uniform(2, 8) * MINUTE
            found.append(Spell(name, K.RATE_LIMITED, begin, end, chance.choice(SAID)))
            if name in ("codex", "opencode"):
                other = "opencode" if name == "codex" else "codex"
                found.append(Spell(other, K.RATE_LIMITED, begin, end, found[-1].states))
    return found


def _apart(spells: list[Spell]) -> tuple[Spell, ...]:
    """Those that do not overlap an earlier one of the list's longer kinds: what is closed cannot close."""
    kept: list[Spell] = []
    for spell in sorted(spells, key=lambda spell: spell.kind is K.RATE_LIMITED):
        others = [one for one in kept if one.provider == spell.provider]
        if all(spell.end + 5 * MINUTE < one.begin or spell.begin > one.end + 5 * MINUTE for one in others):
            kept.append(spell)
    return tuple(kept)
