"""The page of a report: well formed, self-contained, and safe whatever plans, agents and providers say."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path

import pytest
from build import Provider, World, plan, result, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from report_example import example, write

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Criterion, Origin
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.views.colours import ENDS, SIGNS, end_class
from daplug_supervisor.views.evaluation.figures import Planning
from daplug_supervisor.views.html import page as html_view
from daplug_supervisor.views.html.head import verdict
from daplug_supervisor.views.html.markup import Safe, el, escaped
from daplug_supervisor.views.html.page import page
from daplug_supervisor.views.html.style import STYLE
from daplug_supervisor.views.report.contents import Report, report
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.work import MOST_FILES, Overlap, WorkLeft, WorktreeRow

VOID = {"meta", "br", "hr"}
KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "footer",
        "section",
        "h1",
        "h2",
        "h3",
    ),
    *(
        "p",
        "blockquote",
        "strong",
        "span",
        "code",
        "pre",
        "ul",
        "li",
        "i",
        "dl",
        "dt",
        "dd",
        "div",
        "details",
        "summary",
        "br",
    ),
    *(
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "g",
        "rect",
        "path",
        "text",
        "line",
        "a",
    ),
}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed where it has to be, and nothing is there that we do not make."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.classes: Counter[str] = Counter()
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        self.tags[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name != "style"
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "class":
                self.classes.update((value or "").split())
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "<" not in data or self.stack[-1] != "style"
        if self.stack[-1:] != ["style"]:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def headings(self) -> list[str]:
        return [word for word in self.words if word.strip()]


def read(run: Run, made: Report, now: float) -> Page:
    return Page(page(run, made, now))


def shown(world: World, **more: object) -> Page:
    made = report(world.run, world.at, **more)  # type: ignore[arg-type]
    return read(world.run, made, world.at)


def test_the_example_is_whole(tmp_path: Path) -> None:
    run, made, now = example()
    found = read(run, made, now)
    for words in (
        "Needs a person", "Claimed by agents, and not so", "Flags", "Landed", "Attempts by provider", "Dependencies",
        "Tasks", "Criteria", "Files", "Learnings", "Decisions", "Issues that agents found", "What recurs", "Providers",
        "Next steps that agents suggest", "Changed outside their worktrees meanwhile, as daplug saw it",
        "Hooks that failed", "Uncommitted work in worktrees", "daplug-supervise task retry auth-mfa",
        "daplug/run/web-shop-1", "It calls passed: tests pass.", "READY_WITH_NOTES",
        "daplug-supervise task approve api-docs", "Its agent asks:", "AA: contrast 4.5, as now", "delegated (2/3)",
        "Said by people", "Restoring has to be tried in CI", "Divided and edited",
    ):  # fmt: skip
        assert words in found.text, words
    assert sum(name.startswith("t") for name in found.ids) == 43
    assert len(set(found.ids)) == len(found.ids)
    assert found.tags["svg"] == 3
    assert found.classes["node"] == 43
    assert found.classes["part-of"] == 3
    assert found.classes["bar"] == made.attempts.total
    write(tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text() == page(run, made, now), "the same each time"


def test_the_example_in_text_fits_and_says_the_same() -> None:
    _, made, _ = example()
    text = report_text(made)
    assert max(map(len, text.splitlines())) <= 100
    order = [
        "Waits for your review",
        "Asked by agents",
        "Failures",
        "Delegated, and waits for a person",
        "Claimed by agents, and not so",
        "Flags",
        "Said by people",
        "Divided among parts",
        "Edited while it ran",
        "Landed",
        "Learnings",
        "What recurs",
        "Numbers",
        "Next",
    ]
    lines = text.splitlines()
    assert [lines.index(name) for name in order] == sorted(lines.index(name) for name in order)
    assert "  auth-mfa #1, #2 and #3 (claude) claims success; found: 1 of 3 criteria failed:" in text
    assert "criteria               102 of 117 verified" in text
    assert "fix rounds             10 rounds in 6 tasks" in text


def test_nothing_is_asked_for_from_elsewhere() -> None:
    run, made, now = example()
    text = page(run, made, now)
    found = Page(text)
    for tag, name, value in found.attributes:
        assert name not in ("src", "srcset", "action", "data", "poster", "background"), (tag, name)
        if name == "href":
            assert re.fullmatch(r"#t\d+", value), value
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert f"default-src &#x27;none&#x27;; style-src &#x27;sha256-{digest}&#x27;" in text
    assert f"<style>{STYLE}</style>" in text, "the hash is that of what is there"


def test_links_lead_somewhere_and_pictures_have_names() -> None:
    run, made, now = example()
    found = read(run, made, now)
    ids = set(found.ids)
    assert all(value[1:] in ids for _, name, value in found.attributes if name == "href")
    svgs = [value for tag, name, value in found.attributes if tag == "svg" and name == "aria-label"]
    assert len(svgs) == found.tags["svg"]
    assert all(svgs)
    regions = [value for tag, name, value in found.attributes if tag == "div" and name == "role"]
    assert set(regions) == {"region"}
    assert found.tags["h1"] == 1
    assert [value for tag, name, value in found.attributes if tag == "html" and name == "lang"] == ["en"]
    assert found.tags["caption"] == found.tags["table"]


def test_every_class_has_a_look_in_both_schemes() -> None:
    for name in (*SIGNS, *ENDS):
        assert f".{name}{{" in STYLE.replace(".fix,", ".fix{"), name
    light, dark = (
        set(re.findall(r"(--[a-z]+):", part)) for part in re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)[:2]
    )
    assert light - dark == {"--mono"}
    assert {end_class(kind) for kind in OutcomeKind} == set(ENDS) - {"now"}


def luminance(colour: str) -> float:
    whole = colour if len(colour) == 6 else "".join(one * 2 for one in colour)
    parts = [int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_words_can_be_read_on_what_is_behind_them(scheme: int) -> None:
    block = re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z]+):#([0-9a-f]{3,6})", block))
    words = [
        "text",
        "dim",
        "accent",
        "done",
        "failed",
        "stuck",
        "blocked",
        "cancelled",
        "skipped",
        "running",
        "waiting",
    ]
    pairs = [(one, behind) for one in words for behind in ("card", "page")]
    pairs += [("dim", "soft"), ("text", "soft")]
    for one, other in pairs:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (one, other)
    for bar in ("done", "failed", "limit", "running", "fix", "cut"):
        low, high = sorted((luminance(colours["on"]), luminance(colours[bar])))
        assert (high + 0.05) / (low + 0.05) >= (3 if bar in ("fix", "cut") else 4.5), bar


def test_a_run_of_nothing() -> None:
    found = shown(World(plan({})))
    assert "nothing to do" in found.text
    assert "Nothing does." in found.text
    assert found.tags["svg"] == 1, "the bar of the head"
    assert "Tasks" not in found.headings


def test_all_done() -> None:
    found = shown(World(plan({"a": ()})).done("a").say(ev.RunFinished()))
    assert "All done" in found.headings
    assert "Nothing does." in found.text


def test_verdicts() -> None:
    def word(world: World, **more: object) -> str:
        return verdict(report(world.run, world.at, **more))[0]  # type: ignore[arg-type]

    assert word(World(plan({"a": ()})).failed("a").say(ev.RunFinished())) == "Needs a person"
    world = World(plan({"a": ()})).say(ev.TaskCancelled("a", "no"), ev.RunFinished())
    assert word(world) == "Not all done"
    halting = World(plan({"a": ()})).say(ev.HaltRequested("enough", "command"))
    assert word(halting) == "Halting"
    assert word(halting.say(ev.Halted())) == "Halted"
    begun = World(plan({"a": ()})).begin("a")
    assert word(begun) == "Under way"
    assert word(begun, live=False) == "Interrupted"


def test_a_halt_is_told_and_drawn() -> None:
    world = (
        World(plan({"a": (), "b": ()}))
        .done("a")
        .begin("b")
        .tick(5)
        .say(ev.HaltRequested("<b>enough", "command", ("b",)))
    )
    found = shown(world)
    assert "not yet halted. At work then: b." in found.text
    assert found.classes["halted"] == 1
    world.say(ev.RetryScheduled("b", result("interrupted")), ev.Halted())
    assert "Nothing was at work then." not in shown(world).text
    idle = World(plan({"a": ()})).done("a").tick(90).say(ev.HaltRequested("late", "timeout"), ev.Halted())
    assert "Nothing was at work then." in shown(idle).text
    early = World(plan({"a": ()})).say(ev.HaltRequested("early", "command"), ev.Halted(), ev.Resumed())
    assert shown(early.done("a")).classes["halted"] == 0
    late = World(plan({"a": ()})).say(ev.HaltRequested("early", "command")).tick(5).done("a")
    assert shown(late).classes["halted"] == 0, "before anything ran there is no place for it"


def test_where_it_came_from_and_what_it_cost() -> None:
    of = plan({"todo-1": (), "todo-2": (), "state-begin": ()}, origin=Origin("checklist", "specs/x/PLAN.md"))
    world = World(of).done("todo-1").begin("todo-2").tick(3)
    done = Outcome(OutcomeKind.COMPLETED, usage=Usage(input=5, output=None, cost=None))
    world.say(
        ev.AttemptExited("todo-2", Result(done, Exit(0))),
        ev.VerificationPassed("todo-2"),
        ev.Landed("todo-2"),
    )
    found = shown(world, planning=Planning("BLOCKED"))
    assert "specs/x/PLAN.md (pr): 2 items, 2 done" in found.text
    assert "Planning: BLOCKED" in found.text
    assert "at least 5 tokens" in found.text
    priced = World(plan({"a": ()})).begin("a")
    only = Outcome(OutcomeKind.COMPLETED, usage=Usage(cost=2.0))
    priced.say(ev.AttemptExited("a", Result(only, Exit(0))), ev.VerificationPassed("a"), ev.Landed("a"))
    assert "$2.00" in shown(priced).text


def test_many_failures_are_folded_and_cut() -> None:
    world = World(plan({f"t{number}": () for number in range(70)}))
    for number in range(70):
        world.failed(f"t{number}")
    found = shown(world)
    assert "40 tasks more" in found.text
    assert "And 20 tasks more: see the table of tasks." in found.text


def test_a_large_run_still_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(
        plan({f"t{number}": (f"t{number - 40}",) if number >= 40 else () for number in range(5000)})
    )
    for number in range(4000):
        world.done(f"t{number}", seconds=1.0)
    made = report(world.run, world.at)
    text = page(world.run, made, world.at)
    assert len(text.encode()) < 3_000_000
    found = Page(text)
    assert found.classes["stages"] == 1
    assert found.classes["node"] == 0
    assert "3000 more tasks in report.json" in found.text
    assert "and 65 more stages" in found.text
    assert len(report_text(made).splitlines()) < 200


def test_what_is_left_out_is_counted() -> None:
    files = tuple(f"f{number:03}" for number in range(300))
    world = World(plan({"a": (), "b": ()})).begin("a").begin("b").tick(5)
    for name in ("a", "b"):
        world.say(
            ev.AttemptExited(name, result()),
            ev.VerificationPassed(name),
            ev.Landed(name, "c0ffee" * 7, files),
        )
    found = shown(world)
    assert "and 100 more, in report.json" in found.text
    assert found.classes["beside"] == 1
    assert "git -C /target log --stat -n 1" in found.text
    apart = World(plan({"a": (), "b": ()})).done("a").done("b")
    made = report(apart.run, apart.at, left=WorkLeft((), (Overlap(("a", "b"), 1, ("x",)),)))
    assert read(apart.run, made, apart.at).classes["cross"] == 0, "nobody was beside anybody"
    many = World(plan({f"t{number}": () for number in range(20)}, {"codex": Provider(parallel=20)}))
    for number in range(20):
        many.begin(f"t{number}")
    for number in range(20):
        many.tick(1).say(
            ev.AttemptExited(f"t{number}", result()),
            ev.VerificationPassed(f"t{number}"),
            ev.Landed(f"t{number}", "", ("x",)),
        )
    assert "4 more tasks not shown" in shown(many).text


def test_criteria_of_a_failure() -> None:
    criterion = Criterion(run="make test")
    world = World(plan({"a": task(accept=(criterion, criterion)), "b": task("a")})).begin("a").tick(1)
    findings = (
        Finding(0, "make test", detail="exit code 1", blame="environment", claimed="PASS"),
        Finding(1, "again", detail="exit code 2", blame="code"),
    )
    failed = Result(Outcome(OutcomeKind.VERIFY_FAILED, "2 of 2"), Exit(0), findings)
    world.say(ev.TaskFailed("a", failed))
    found = shown(world, printed={"a": {0: ["<b>boom"]}})
    assert "After 1 attempt 2 criteria do not hold: look at what was found" in found.text
    assert "Blocks 1 task." in found.text
    assert "exit code 1 (the place, not the work). The agent says PASS." in found.text
    assert "What the criteria printed" in found.text
    assert "<b>boom" in found.text, "as text"
    made = report(world.run, world.at)
    bare = replace(
        made, failures=(replace(made.failures[0], remedy="", criteria=made.failures[0].criteria[:1]),)
    )
    assert "After 1 attempt 1 criterion does not hold." in read(world.run, bare, world.at).text


# --- hostile words ------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><script>1</script>",
    "' onload='x",
    "<!-- -->",
    "]]>&lt;&amp;&#60;script&#62;",
    "\x1b[31mred\x1b]8;;http://x\x07",
    "a\u202eb\u2066c\u200b\u00ad\ufeff\x00\x7f\x85",
    "\ud800\udfff",
    "e" + "\u0301" * 50,
    "javascript:alert(1)",
    "{{7*7}} ${x} `x`",
    "line\nbreak\r\n\ttab",
]
words = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=40), st.text("<>&\"'/=\x00\x1b\u202e a", max_size=20)
)


def night(texts: list[str]) -> tuple[World, dict[str, object]]:
    """A run in which whoever can say something says this."""
    said = cycle(texts)

    def text() -> str:
        return next(said)

    provider = "p" + text()
    criterion = Criterion(run="true" + text(), name=text())
    specs = {
        name: task(*needs, title=text(), provider=provider, accept=(criterion,), worktree=True)
        for name, needs in {"a": (), "b": ("a",), "c": ("a",), "d": ("c",), "e": ()}.items()
    }
    world = World(plan(specs, {provider: Provider(parallel=5)}))
    finding = Finding(0, text(), detail=text(), blame="code", claimed="PASS")
    claim: dict[str, object] = {
        "result": {
            "status": "success",
            "learnings": [text()],
            "issues": [text()],
            "decisions": [text()],
            "outputs": {text(): text()},
        },
        "suggested_next_steps": [text()],
        "original_checkout_warnings": [text()],
    }
    names = (text(), text())
    world.begin("a").begin("e").tick(5)
    done = Result(Outcome(OutcomeKind.COMPLETED, text(), claim=claim), Exit(0))
    for name in ("a", "e"):
        world.say(ev.AttemptExited(name, done))
        world.say(ev.VerificationPassed(name, (Finding(0, text(), claimed="FAIL"),), (text(),)))
        world.say(ev.StepDone(name, "commit", text()), ev.Landed(name, text(), names))
    failed = Result(
        Outcome(OutcomeKind.VERIFY_FAILED, text(), claim=claim),
        Exit(3, error=text()),
        (finding,),
        "",
        (text(),),
    )
    world.begin("b").tick(1).say(ev.TaskStuck("b", failed, text()))
    limit = Result(Outcome(OutcomeKind.QUOTA, text()), Exit(1))
    world.begin("c").tick(1).say(ev.RetryScheduled("c", limit, uses_try=False))
    world.tick(50).begin("c").tick(1).say(ev.TaskFailed("c", result("failed", text(), 1)))
    world.say(ev.HookRan("post_run", text(), 1, text()), ev.HaltRequested(text(), "command", (text(),)))
    row = WorktreeRow("b", "stuck", "/x" + text(), text(), 1, 2, 2, names)
    left = WorkLeft((row,), (Overlap(("a", "b"), 2, names),))
    return world, {
        "tails": {"b": [text()], "c": [text()]},
        "printed": {"b": {0: [text()]}},
        "left": left,
        "planning": Planning(text(), text(), (text(),)),
    }


CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(words, min_size=1, max_size=12))
def test_no_hostile_word_gets_through(texts: list[str]) -> None:
    world, more = night(texts)
    made = report(world.run, world.at, **more)  # type: ignore[arg-type]
    drawn = page(world.run, made, world.at)
    drawn.encode()
    assert not CONTROL.search(drawn)
    found = Page(drawn)
    calm, more = night(["calm"])
    usual = shown(calm, **more)
    assert found.tags["svg"] == usual.tags["svg"]
    assert not [name for _, name, _ in found.attributes if name in ("src", "srcdoc", "onerror", "onload")]
    assert all(re.fullmatch(r"#t\d+", value) for _, name, value in found.attributes if name == "href")
    text = report_text(made)
    text.encode()
    assert not CONTROL.search(text)


def test_every_payload_alone() -> None:
    for payload in HOSTILE:
        world, more = night([payload])
        found = shown(world, **more)
        assert set(found.tags) <= KNOWN
        assert not CONTROL.search(found.text)


def test_markup() -> None:
    assert (
        el("p", "<", Safe("<br>"), class_="a&b", data_l=None, x=1.25, y=3.0)
        == '<p class="a&amp;b" x="1.2" y="3">&lt;<br></p>'
    )
    assert el("meta", http_equiv="x") == '<meta http-equiv="x">'
    assert escaped(Safe("<i>")) == "<i>"
    assert escaped('"\x1b') == "&quot;\\x1b"


def test_those_that_need_a_person_are_in_the_table_however_long_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(html_view, "MOST_ROWS", 2)
    world = World(plan({f"t{number}": () for number in range(5)})).done("t0").failed("t4")
    found = shown(world)
    assert found.ids == ["t4", "t0"]
    assert "3 more tasks in report.json" in found.text
    assert MOST_FILES
