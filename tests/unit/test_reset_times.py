"""When a provider says that one may try again: every form that was seen, and what may not happen with any text."""

import time as clock
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from daplug_supervisor.workers.reset_times import FURTHEST, stated
from daplug_supervisor.workers.zones import local

if not available_timezones():
    pytest.skip("this system has no time zones", allow_module_level=True)

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 21, 1, 0, tzinfo=NEW_YORK)  # 06:00 UTC, a Saturday


def seconds(text: str, now: datetime = NOW) -> float | None:
    """How long to wait, for whoever lives in New York."""
    at = stated(text, now.timestamp(), NEW_YORK)
    return None if at is None else at - now.timestamp()


def until(year: int, month: int, day: int, hour: int, minute: int, zone: str = "America/New_York") -> float:
    """The end of a minute, from `NOW`."""
    at = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    return at.timestamp() + 60 - NOW.timestamp()


MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        # codex, of today: github.com/openai/codex/issues/26668
        ("try again at 1:22 AM.", until(2026, 11, 21, 1, 22)),
        ("purchase more credits or try again at 12:59 AM.", MINUTE),  # just over: now
        ("try again at 12:05 AM.", until(2026, 11, 22, 0, 5)),
        ("or try again at Nov 22nd, 2026 1:22 AM.", until(2026, 11, 22, 1, 22)),
        ("or try again at Nov 1st, 2026 1:22 AM.", None),  # over
        ("or try again at Jul 5th, 2027 8:19 PM.", None),  # too far to be believed
        # codex, of before: issues/3899, 3257, 3124
        ("try again in 5 days 22 hours 11 minutes.", 5 * DAY + 22 * HOUR + 11 * MINUTE),
        ("try again in 3 hours 5 minutes", 3 * HOUR + 5 * MINUTE),
        ("Try again in 1 hour.", HOUR),
        ("try again in less than a minute.", MINUTE),
        ("Rate limit reached. Please try again in 1h2m3.5s.", HOUR + 2 * MINUTE + 3.5),
        ("Please try again in 20s. Visit", 20.0),
        ("Please try again in 756ms.", 0.756),
        ("Please try again in 1.898s.", 1.898),
        ('"plan_type":"free","resets_in_seconds":602705', 602705.0),
        (f'"resets_at": {int(NOW.timestamp()) + 3600}, "x"', HOUR),
        # headers
        ("Retry-After: 120", 120.0),
        ('"retry-after": "2", "server": "x"', 2.0),
        ('"retry-after":"2","retry-after-ms":"2000"', 2.0),
        ('\\"retry-after\\": \\"7\\"', 7.0),
        ("retry-after: Sat, 21 Nov 2026 06:10:00 GMT", 600.0),
        # gemini: issues/13004, 25103, 22643
        ("Your quota will reset after 8h44m7s.", 8 * HOUR + 44 * MINUTE + 7),
        ("Your quota will reset after 5s.. Retrying after 6173ms...", 5.0),
        ("quota will reset after 12h3m", 12 * HOUR + 3 * MINUTE),
        ("Your quota will reset after 0s.", 0.0),
        ('"retryDelay": "34s"', 34.0),
        ('"retryDelay":"34.074824224s"', 34.074824224),
        ("Suggested retry after 2s.]", 2.0),
        ("Please retry in 44.3s.", 44.3),
        ("Access resets at 10:57 PM GMT-3.", until(2026, 11, 21, 20, 57)),
        # claude: issues/15064, 54698, 74079, 12789, 55876, 77108
        (f"Claude AI usage limit reached|{int(NOW.timestamp()) + 7200}", 2 * HOUR),
        (f"limit reached|{int(NOW.timestamp()) + 7200}000", 2 * HOUR),
        ("Your limit will reset at 9am (America/Chicago).", until(2026, 11, 21, 9, 0, zone="America/Chicago")),
        ("You've hit your limit · resets 1:30am (Asia/Dhaka)", until(2026, 11, 22, 1, 30, zone="Asia/Dhaka")),
        ("session limit · resets 5pm", until(2026, 11, 21, 17, 0)),
        ("5-hour limit reached ∙ resets 10:30am", until(2026, 11, 21, 10, 30)),
        ("Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade", until(2026, 11, 22, 10, 0, zone="Asia/Seoul")),
        ("resets Nov 25 at 9pm (America/New_York)", until(2026, 11, 25, 21, 0)),
        ("resets Nov 25, 9am", until(2026, 11, 25, 9, 0)),
        ("Weekly limit reached ∙ resets Mon 12:00 AM", until(2026, 11, 23, 0, 0)),
        ('"resetsAt":' + str(int(NOW.timestamp()) + 60) + "}", MINUTE),
        # others
        ("Usage limit reached for 5 hour. Your limit will reset at 2026-11-21 03:14:06", 2 * HOUR + 14 * MINUTE + 6),
        ('"reset_at": "2026-11-21T08:00:00Z"', 2 * HOUR),
        ("resets 2026-11-22 00:00 UTC", 18 * HOUR),
        ("until 2026-11-21T08:00:00.5+01:00", HOUR + 0.5),
        ("resets at 15:00", until(2026, 11, 21, 15, 0)),
        ("resets at 15:00 UTC", until(2026, 11, 21, 15, 0, zone="UTC")),
        # nothing is stated
        ("", None),
        ("try again later", None),
        ("try again in a moment", None),
        ("try again at 25:99 PM", None),
        ("resets 3", None),
        ("resets Feb 31, 9am", None),
        ("resets 3pm (Nowhere/Atall)", None),
        ("try again in 9 days", None),
        ("try again in 999999999999 days", None),
        ("Retry-After: -5", None),
        ('"date":"Sat, 21 Nov 2026 08:52:36 GMT"', None),
        ("limit reached|9999999999", None),
        ("I will retry after 429 errors", None),
        ("the build resets at every commit", None),
    ],
)  # fmt: skip
def test_stated_times(text: str, wait: float | None) -> None:
    assert seconds(text) == (None if wait is None else pytest.approx(wait))


def test_the_most_exact_form_counts() -> None:
    text = f'resets 3pm "resetsAt": {int(NOW.timestamp()) + 100}'
    assert seconds(text) == pytest.approx(100)
    assert seconds("limit reached|1 or try again in 5 minutes") == pytest.approx(300)


def test_a_time_of_day_that_comes_twice_is_the_next_of_the_two() -> None:
    before = datetime(2026, 11, 1, 0, 30, tzinfo=NEW_YORK)  # the clocks are set back at two
    between = datetime(2026, 11, 1, 1, 45, tzinfo=NEW_YORK)
    assert seconds("try again at 1:15 AM", before) == 46 * MINUTE
    assert seconds("try again at 1:15 AM", between) == 31 * MINUTE


def test_a_time_of_day_that_is_left_out_is_within_the_hour_after() -> None:
    before = datetime(2027, 3, 14, 1, 0, tzinfo=NEW_YORK)  # two to three is left out
    wait = seconds("try again at 2:30 AM", before)
    assert wait is not None
    assert 30 * MINUTE <= wait <= 2 * HOUR


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_clock_that_says_nothing_sensible_gives_no_time(now: float) -> None:
    assert stated("try again in 5 minutes, at 1:22 AM", now, UTC) is None


NOWS = st.floats(0, 3.9e9)
ZONES = st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"])


@given(NOWS, ZONES, st.integers(0, 23), st.integers(0, 59))
@example(0.0, "UTC", 0, 0)
def test_a_time_of_day_is_ahead_and_within_a_day(now: float, name: str, hour: int, minute: int) -> None:
    zone = ZoneInfo(name)
    half = f"{hour % 12 or 12}:{minute:02} {'AM' if hour < 12 else 'PM'}"
    at = stated(f"try again at {half}", now, zone)
    assert at is not None
    assert now < at <= now + DAY + 2 * HOUR + MINUTE
    then = datetime.fromtimestamp(at - 60, zone)
    day = datetime.combine(then.date(), datetime.min.time(), zone)
    odd = day.utcoffset() != (day + timedelta(days=1)).utcoffset()  # that time may not come
    assert odd or at == pytest.approx(now + MINUTE) or (then.hour, then.minute) == (hour, minute)


@given(NOWS, st.integers(0, 7), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_is_added(now: float, days: int, hours: int, minutes: int, secs: int) -> None:
    assume(days + hours + minutes + secs)
    whole = days * DAY + hours * HOUR + minutes * MINUTE + secs
    words = f"{days} days {hours} hours {minutes} minutes {secs} seconds"
    for text in (
        f"try again in {words}",
        f"reset after {days}d{hours}h{minutes}m{secs}s",
        f"Retry-After: {whole:.0f}",
    ):
        assert stated(text, now, UTC) == pytest.approx(now + whole)


PIECES = st.sampled_from(
    ["try again ", "at ", "in ", "resets ", "reset after ", "retry-after", ": ", '"', "\\", "Nov ", "Mon ", "31st, ",
     "2026 ", "9999999999", "1:22", " AM", "pm", " (", "UTC", "America/New_York", "../../etc/passwd", ")", "h", "ms",
     "2026-02-30T25:61", "Z", "limit reached|", "1" * 30, "\x00", "\u0661", "\ud800", "9" * 400, " days", "-3"]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join), NOWS, ZONES)
def test_no_text_raises_or_leads_far(text: str, now: float, name: str) -> None:
    at = stated(text, now, ZoneInfo(name))
    assert at is None or now <= at <= now + FURTHEST


@pytest.mark.parametrize(
    "piece", ["try again in 1 hour ", "resets Nov ", "1h", "retry ", "9", " ", '"\\', "reset at "]
)
def test_a_long_text_takes_no_time(piece: str) -> None:
    before = clock.process_time()
    stated(piece * 20_000, NOW.timestamp(), NEW_YORK)
    stated(f"try again in {piece * 20_000}", NOW.timestamp(), NEW_YORK)
    assert clock.process_time() - before < 5


def test_the_zone_of_a_machine() -> None:
    assert local("Asia/Kathmandu") == ZoneInfo("Asia/Kathmandu")
    assert local(":Asia/Kathmandu") == ZoneInfo("Asia/Kathmandu")
    assert local("") is UTC
    now = datetime.now().astimezone()
    for unnamed in (None, "no-such-zone", "../../etc/passwd", "CET-1CEST"):
        assert now.astimezone(local(unnamed)) == now
