"""The attempts of a run over its time, as a picture: a row for each slot of a provider, a bar for each attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from msgspec import Struct

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.results import RULES, OutcomeKind
from daplug_supervisor.views.colours import ENDS, end_class
from daplug_supervisor.views.derived import state_word
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.text import clean, clock, columns, duration

MOST_BARS = 1500
MOST_LANES = 60
_LEFT, _WIDTH, _TOP = 118.0, 1040.0, 26.0
_LANE, _GAP, _BETWEEN = 18.0, 4.0, 14.0
_LETTER, _NAME = 6.3, 16
_LEAST = 2.0
_TICKS = 10
_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
)  # fmt: skip
_MINUTE, _DAY = 60, 86_400
_HELD = ("rest", "stop")


class Bar(Struct, frozen=True):
    """An attempt: of which task, from when to when, in which of `colours.ENDS`, and what to say of it."""

    task: str
    number: int
    at: float
    ended_at: float
    end: str
    words: str


class Rest(Struct, frozen=True):
    """A time in which a provider was given nothing after a limit or an outage."""

    at: float
    until: float
    reason: str


class Row(Struct, frozen=True):
    """A provider: its attempts in as many lanes as were at work at once, and its rests."""

    provider: str
    lanes: tuple[tuple[Bar, ...], ...]
    rests: tuple[Rest, ...]


def rows(run: Run, now: float) -> tuple[Row, ...]:
    """What each provider did. Providers that did nothing are left out."""
    bars: dict[str, list[Bar]] = {name: [] for name in run.pools}
    held: dict[str, list[Rest]] = {}
    for task in run.tasks.values():
        for past in task.past:
            if past.of_children:
                continue
            outcome = past.result.outcome
            words = f"{state_word(task, outcome.kind.value)}{f': {outcome.detail}' if outcome.detail else ''}"
            end = end_class(outcome.kind)
            bar = Bar(task.id, past.number, past.at, past.ended_at, end, words)
            bars.setdefault(past.provider, []).append(bar)
            if RULES[OutcomeKind(outcome.kind)].follow in _HELD:
                held.setdefault(past.provider, []).append(Rest(past.ended_at, past.ended_at, bar.words))
        attempt = task.attempt
        if attempt and not any(past.number == attempt.number for past in task.past):
            alive = task.changed_at if task.status.value == "cancelled" else now
            words, end = ("cancelled", "cut") if alive != now else ("at work", "now")
            bars.setdefault(attempt.provider, []).append(
                Bar(task.id, attempt.number, attempt.at, max(alive, attempt.at), end, words)
            )
    return tuple(
        Row(name, _lanes(found), _rests(found, held.get(name, ()))) for name, found in bars.items() if found
    )


def _lanes(bars: Iterable[Bar]) -> tuple[tuple[Bar, ...], ...]:
    """As few lanes as there were attempts at once: each takes the first one that is free."""
    lanes: list[list[Bar]] = []
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for bar in sorted(bars, key=lambda one: (one.at, one.ended_at, one.task, one.number)):
        while busy and busy[0][0] <= bar.at:
            heappush(free, heappop(busy)[1])
        if not free:
            lanes.append([])
            heappush(free, len(lanes) - 1)
        lane = heappop(free)
        lanes[lane].append(bar)
        heappush(busy, (bar.ended_at, lane))
    return tuple(map(tuple, lanes))


def _rests(bars: Sequence[Bar], held: Iterable[Rest]) -> tuple[Rest, ...]:
    """From the end of an attempt that met a limit until the provider was next given a task."""
    starts = sorted(bar.at for bar in bars)
    found: list[Rest] = []
    for one in sorted(held, key=lambda rest: rest.at):
        until = next((at for at in starts if at >= one.at), None)
        if until is not None and until > one.at and not (found and found[-1].until > one.at):
            found.append(Rest(one.at, until, one.reason))
    return tuple(found)


# --- the picture --------------------------------------------------------------------------------------------


class Scale(Struct, frozen=True):
    """From times to places."""

    start: float
    end: float

    def x(self, at: float) -> float:
        """Where a time is."""
        return _LEFT + (at - self.start) / (self.end - self.start) * _WIDTH


def timeline(run: Run, now: float, places: dict[str, int]) -> Safe:
    """The picture, empty if nothing ran; `places` says where in the table of tasks a task is, for links."""
    found = rows(run, now)
    if not found:
        return Safe("")
    ended = run.finished_at or (run.halt.halted_at if run.halt else None) or now
    bars = [bar for row in found for lane in row.lanes for bar in lane]
    start = min(bar.at for bar in bars)
    scale = Scale(start, max(ended, start + 1.0, *(bar.ended_at for bar in bars)))
    parts, y, left, brief = list[Safe](), _TOP, MOST_LANES, len(bars) > MOST_BARS
    for row in found:
        shown = row.lanes[: max(1, left)]
        left -= len(shown)
        parts.append(_provider(row, shown, y, scale, places, brief=brief))
        y += len(shown) * (_LANE + _GAP) - _GAP + _BETWEEN
    bottom = y - _BETWEEN + 6
    drawing = joined([*_axis(scale, bottom), *_halt(run, scale, bottom), *parts])
    label = f"Timeline of {len(bars)} attempts by {len(found)} providers, {duration(scale.end - scale.start)} in all"
    size = f"0 0 {_LEFT + _WIDTH + 12:g} {bottom + 4:g}"
    return el(
        "svg", el("title", label), drawing, viewBox=size, role="img", class_="timeline", aria_label=label
    )


def ends_of(run: Run, now: float) -> dict[str, int]:
    """How many attempts are drawn in each of `colours.ENDS`."""
    found = dict.fromkeys(ENDS, 0)
    for row in rows(run, now):
        for lane in row.lanes:
            for bar in lane:
                found[bar.end] += 1
    return found


def _provider(
    row: Row, lanes: Sequence[Sequence[Bar]], y: float, scale: Scale, places: dict[str, int], *, brief: bool
) -> Safe:
    height = len(lanes) * (_LANE + _GAP) - _GAP
    parts = [
        el("text", clean(row.provider, _NAME), x=_LEFT - 10, y=y + height / 2 + 4, class_="who"),
        el("rect", x=_LEFT, y=y - 3, width=_WIDTH, height=height + 6, rx=4, class_="band"),
    ]
    for rest in row.rests:
        x, end = scale.x(rest.at), scale.x(rest.until)
        told = f"given nothing for {duration(rest.until - rest.at)}, until {clock(rest.until)[11:16]}: {rest.reason}"
        mark = el(
            "rect",
            el("title", told),
            x=x,
            y=y - 3,
            width=max(_LEAST, end - x),
            height=height + 6,
            class_="rest",
        )
        parts.append(mark)
    for place, lane in enumerate(lanes):
        at = y + place * (_LANE + _GAP)
        parts += _brief(lane, at, scale) if brief else [_bar(bar, at, scale, places) for bar in lane]
    if len(lanes) < len(row.lanes):
        more = f"and {len(row.lanes) - len(lanes)} more at once"
        parts.append(el("text", more, x=_LEFT + 6, y=y + height + 12, class_="note"))
    return el("g", *parts)


def _bar(bar: Bar, y: float, scale: Scale, places: dict[str, int]) -> Safe:
    x = scale.x(bar.at)
    width = max(_LEAST, scale.x(bar.ended_at) - x)
    told = f"{bar.task}#{bar.number} {bar.words}"
    took = f"{clock(bar.at)[11:19]} to {clock(bar.ended_at)[11:19]}, {duration(bar.ended_at - bar.at)}"
    parts = [
        el("title", f"{told}\u00a0({took})"),
        el("rect", x=x, y=y, width=width, height=_LANE, rx=min(3.0, width / 2)),
    ]
    room = int((width - 8) / _LETTER)
    name = clean(bar.task)
    if columns(name) <= room:
        parts.append(el("text", name, x=x + 4, y=y + 13))
    drawn = el("g", *parts, class_=f"bar {bar.end}")
    place = places.get(bar.task)
    return drawn if place is None else el("a", drawn, href=f"#t{place}")


def _brief(lane: Sequence[Bar], y: float, scale: Scale) -> list[Safe]:
    """Many attempts: one path for all of a lane that ended alike, without words."""
    paths: dict[str, list[str]] = {}
    for bar in lane:
        x = scale.x(bar.at)
        width = max(0.6, scale.x(bar.ended_at) - x)
        paths.setdefault(bar.end, []).append(f"M{x:.1f} {y:g}h{width:.1f}v{_LANE:g}h-{width:.1f}z")
    return [el("path", d="".join(found), class_=f"bar {end}") for end, found in paths.items()]


def _axis(scale: Scale, bottom: float) -> list[Safe]:
    span = scale.end - scale.start
    step = next((one for one in _STEPS if span / one <= _TICKS), None) or _DAY * (
        1 + int(span / _DAY / _TICKS)
    )
    at = scale.start - scale.start % step + step
    found = []
    while at <= scale.end:
        x, shown = scale.x(at), clock(at)
        text = (
            shown[:10]
            if step >= _DAY or at % _DAY == 0
            else shown[11:16]
            if step >= _MINUTE
            else shown[11:19]
        )
        found.append(el("line", x1=x, x2=x, y1=18, y2=bottom, class_="grid"))
        found.append(el("text", text, x=x, y=12, class_="tick"))
        at += step
    return found


def _halt(run: Run, scale: Scale, bottom: float) -> list[Safe]:
    if run.halt is None or not scale.start <= run.halt.requested_at <= scale.end:
        return []
    x = scale.x(run.halt.requested_at)
    told = f"halt requested {clock(run.halt.requested_at)}: {run.halt.reason}"
    return [el("line", el("title", told), x1=x, x2=x, y1=14, y2=bottom, class_="halted")]
