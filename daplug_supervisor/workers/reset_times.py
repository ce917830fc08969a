"""When a provider says that one may try again, read out of what its CLI prints.

Pure: what "now" and "here" are is passed in. A time too far ahead is not believed, and no text makes this raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

FURTHEST: Final = 8 * 86400.0
"""Seconds ahead beyond which a stated time is not believed."""

LATE: Final = 600.0
"""Seconds for which a time of day that is just over means now, and not tomorrow."""

_SOON = 60.0
_LONGEST = 16 << 10
_LATEST = 4e9

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = (
    r"\d{1,9}(?:\.\d{1,9})?\s?(?:milliseconds?|ms|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)\b"
)
_PARTS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(milliseconds?|ms|[dhms])")
# A number of a clock form ends with a letter, so "1h2m3.5s" has no word ends inside.
_DURATION = rf"(?:\d{{1,9}}(?:\.\d{{1,9}})?[dhms]){{1,4}}(?![\w])|{_PART}(?:,?\s(?:and\s)?{_PART}){{0,3}}"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(
    r"(?:again at|resets?(?: at)?|reset at|available at|until)\s+"
    rf"(?:(?P<weekday>{'|'.join(_DAYS)})[a-z]{{0,6}},?\s+(?:at\s+)?)?"
    rf"(?:(?P<month>{'|'.join(_MONTHS)})[a-z]{{0,6}}\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s*"
    r"(?:(?P<year>\d{4}),?\s*)?(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?::\d\d)?\s?(?P<half>[ap])?\.?(?(half)m\b\.?)"
    r"(?:\s*\(?(?P<zone>[A-Z][A-Za-z_]+(?:/[A-Za-z_+-]+){1,2}|(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?)\)?)?",
    re.IGNORECASE,
)
_ISO = r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)\s?(Z|UTC|GMT|[+-]\d\d:?\d\d)?"
_KEY = r"\\?\"?\s{0,2}[:=]\s{0,2}\\?\"?"


class _Here(NamedTuple):
    now: float
    zone: tzinfo


def stated(text: str, now: float, zone: tzinfo) -> float | None:
    """The time (UTC, seconds) at which a text says that one may try again, at least `now`; None if it says none.

    `now` is when the text was written; `zone` is that of the machine, for times that name none.
    """
    if not 0 <= now <= _LATEST:
        return None
    for pattern, read in _FORMS:
        for found in pattern.finditer(text[:_LONGEST]):
            try:
                at = read(found, _Here(now, zone))
            except (ValueError, OverflowError, OSError, LookupError):  # no such day, no such zone
                continue
            if at is not None and now <= at <= now + FURTHEST:
                return at
    return None


def _epoch(found: re.Match[str], here: _Here) -> float:
    del here
    digits = found[1]
    return float(digits) / (1000 if len(digits) == 13 else 1)  # noqa: PLR2004 (milliseconds)


def _seconds(found: re.Match[str], here: _Here) -> float:
    return here.now + float(found[1])


def _milliseconds(found: re.Match[str], here: _Here) -> float:
    return here.now + float(found[1]) / 1000


def _duration(found: re.Match[str], here: _Here) -> float:
    parts = _PARTS.findall(found[1].lower())
    return here.now + sum(
        float(number) * _UNITS["ms" if unit[:2] in {"ms", "mi"} and unit != "m" else unit[0]]
        for number, unit in parts
    )


def _less_than_a_minute(found: re.Match[str], here: _Here) -> float:
    del found
    return here.now + _SOON


def _iso(found: re.Match[str], here: _Here) -> float:
    zone = found[2]
    at = datetime.fromisoformat(found[1])
    return at.replace(tzinfo=here.zone if zone is None else _offset(zone)).timestamp()


def _http_date(found: re.Match[str], here: _Here) -> float:
    del here
    return datetime.strptime(found[1], "%d %b %Y %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _clock(found: re.Match[str], here: _Here) -> float | None:
    """A time of day, with or without a date. To the minute, so it is over when that minute is."""
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if not half and found["minute"] is None:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    named = found["zone"]
    zone = here.zone if named is None else _zone(named)
    at = time(hour, int(found["minute"] or 0))
    ends = [each + 60 for day in _days(found, here, zone) for each in _moments(day, at, zone)]
    ahead = [end for end in ends if end > here.now]
    just = [end for end in ends if here.now - LATE <= end <= here.now]
    return here.now + _SOON if just else min(ahead, default=None)


def _days(found: re.Match[str], here: _Here, zone: tzinfo) -> Iterator[date]:
    today = datetime.fromtimestamp(here.now, zone).date()
    if found["month"]:
        month, day = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
        years = [int(found["year"])] if found["year"] else [today.year, today.year + 1]
        yield from (date(year, month, day) for year in years)
    else:
        week = (today + timedelta(days=n) for n in range(-1, 9))
        yield from (
            day for day in week if not found["weekday"] or _DAYS[day.weekday()] == found["weekday"].lower()
        )


def _moments(day: date, at: time, zone: tzinfo) -> Iterator[float]:
    """When it is that time on that day: twice, where the clocks are set back."""
    for fold in (0, 1):
        yield datetime.combine(day, at.replace(fold=fold), zone).timestamp()


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if "/" in name else _offset(name[3:])


def _offset(text: str) -> tzinfo:
    """``+02:00``, ``-3``, ``Z``, or nothing."""
    found = re.fullmatch(r"([+-])(\d{1,2}):?(\d\d)?", text)
    if not found:
        return UTC
    ahead = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    return timezone(ahead if found[1] == "+" else -ahead)


_AGAIN = r"(?:again|retry(?:ing)?|resets?|available|wait|continue)"
_TEXTS: Final[tuple[tuple[str, Callable[[re.Match[str], _Here], float]], ...]] = (
    (r"limit reached\s?\|\s?(\d{13}|\d{10})\b", _epoch),
    (rf"\bresets?_?at{_KEY}(\d{{13}}|\d{{10}})\b", _epoch),
    (rf"\bretry-after-ms{_KEY}(\d{{1,12}})\b", _milliseconds),
    (rf"\b(?:retry[-_]after|resets?_in_seconds){_KEY}(\d{{1,9}}(?:\.\d{{1,9}})?)(?![\w.])", _seconds),
    (rf"\bretry-after{_KEY}[a-z]{{3}}, (\d\d [a-z]{{3}} \d{{4}} \d\d:\d\d:\d\d) GMT", _http_date),
    (rf"\bretryDelay{_KEY}({_DURATION})", _duration),
    (rf"\b{_AGAIN}\s+(?:in|after)\s+(?:about\s+)?({_DURATION})", _duration),
    (rf"\b{_AGAIN}\s+in\s+less than a minute", _less_than_a_minute),
    (rf"\b(?:resets?_?(?:at|time)?|again at|until|available at)(?:{_KEY}|\s(?:at\s)?){_ISO}", _iso),
)
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Here], float | None]], ...]] = (
    *((re.compile(pattern, re.IGNORECASE), read) for pattern, read in _TEXTS),
    (_CLOCK, _clock),
)
"""The forms that are known, the most exact first."""
