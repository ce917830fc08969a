"""What an attempt hands in goes into prompts, inputs, environments, reports and views, and is data in all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli import STANDIN, Place, opened, plan_of, sh
from hostile import harmful
from payloads import CANARY, headings, outside_fences, payloads
from promises import Proof
from walking import said

from daplug_supervisor.core.acceptance import Verification
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.instructions.earlier import Earlier
from daplug_supervisor.core.instructions.passing import Wisdom
from daplug_supervisor.core.instructions.sections import SECTIONS, Told, compose, filled
from daplug_supervisor.core.instructions.template import as_text, fill
from daplug_supervisor.core.plan import Assignment, Criterion, Loop, Provider, Retry, Task
from daplug_supervisor.core.results import Finding

place = pytest.fixture(opened)

FEW, ALL = 300, 10_000
AT_ONCE = 20
"""Payloads in one result."""

TOLD_BEFORE = "An earlier attempt at this task ended without success: "


def nothing_was_run(*folders: Path) -> None:
    """Whatever was run would have left a file of this name."""
    for folder in (Path("/"), Path("/etc"), Path("/tmp")):
        assert not (folder / CANARY).exists()
    assert [path for folder in folders for path in folder.rglob(f"*{CANARY}*")] == []


# --- prompts


def bundle(text: str, payload: str) -> Bundle:
    spec = Task(instructions=text, provider="p", accept=(Criterion("true"),), files=("a",), outputs=("o",))
    who = Assignment("p", "cli", "m", None, None)
    return Bundle(
        "r", "t", 2, "tok", "/s/2", "/t", "/t", spec, who, "/s/2/prompt.md", inputs={"i": payload}, outbox="/t/out"
    )  # fmt: skip


def prompts(payload: str) -> Iterator[str]:
    """Prompts with a payload wherever one can get."""
    text, named = filled("Use ${a.outputs.x} now.", {"a": {"x": payload}})
    found = Finding(0, payload, "functional", 1, 1.0, payload, "code")
    everything = Verification((found,), (payload,), (payload,))
    for earlier in (
        Earlier(payload),
        Earlier(payload, everything, last_fix=True, tried=(payload,)),
        Earlier(payload, merging=True),
    ):
        for checklist in (False, True):
            wisdom = Wisdom(payload, payload, payload)
            yield compose(text, Told(bundle(text, payload), wisdom, earlier, named, checklist))


ORDINARY = ["Inputs", "What has to hold", "Limits", "What earlier tasks found", "Result", "Earlier attempt"]
BELOW = ["What we run", "Result", "Dependencies", "Inherited Wisdom", "Earlier attempt"]


@pytest.mark.promise("P25")
def test_no_payload_gets_out_of_its_place_in_a_prompt(proof: Proof) -> None:
    """No heading of its own, no end of a fence, no line among our own, nothing that is not to be seen."""
    for payload in payloads(proof.pick(FEW, ALL)):
        for prompt in prompts(payload):
            found = headings(prompt)
            if found[0] == "## TASK":
                assert [line[3:] for line in found if line.startswith("## ")] == list(SECTIONS)
                assert [line[4:] for line in found if line.startswith("### ")] == BELOW
            else:
                assert [line[3:] for line in found] == ORDINARY
            ours = [
                line for line in outside_fences(prompt) if CANARY in line and not line.startswith(TOLD_BEFORE)
            ]
            assert ours in ([], [f"Use {payload} now."]), (payload[:200], ours)
            assert not ours or not set(payload) & set(" \n`$;&|<>\"'*()!\\")
            assert harmful(prompt, "\n\t") == set()
        proof.count("fuzz inputs")


@pytest.mark.promise("P25")
def test_what_a_payload_names_is_never_filled_in(proof: Proof) -> None:
    values = {"a": {"x": "", "CANARY": "SECRET"}, "b": {"plain": "SECRET", "outputs": "SECRET"}}
    for payload in payloads(proof.pick(FEW, ALL), seed=1):
        values["a"]["x"] = payload
        assert fill("<${a.outputs.x}>", values) == f"<{as_text(payload)}>"
        proof.count("fuzz inputs")


# --- through the whole program

AGENT = (
    "import json, os; task = os.environ['DAPLUG_TASK']; given = json.load(open(os.environ['DAPLUG_INPUTS'])); "
    "json.dump([given, dict(os.environ)], open(task + '.saw', 'w'))"
)
HAND_IN = 'cat "$DAPLUG_TASK.json"; cp "$DAPLUG_TASK.json" "$DAPLUG_RESULT"; cat "$DAPLUG_TASK.txt"'


def result(number: int, some: list[str]) -> dict[str, Any]:
    """A result with payloads wherever there can be text; every third task says that it has failed, of every third the
    files are not there.
    """
    lines = [one[:2000] for one in some]
    criteria = [
        {"id": one, "category": one, "description": one, "status": one, "reason": one} for one in lines
    ]
    said: dict[str, Any] = {
        "outputs": {f"o{n}": one for n, one in enumerate(some)} | dict.fromkeys(lines, 1),
        "acceptance_criteria": criteria, "learnings": lines, "issues": lines, "decisions": lines, "notes": lines[0],
    }  # fmt: skip
    if number % 3 == 1:
        said |= {
            "status": "failed",
            "error": {"category": "test", "message": lines[-1], "retryable": number % 2 == 0},
        }
    if number % 3 == 2:
        said["files"] = {"created": lines, "modified": lines, "deleted": lines}
    return said


def hostile_plan(place: Place, batches: list[list[str]]) -> Any:
    """Tasks that hand in payloads, commands and agents that are given them."""
    tasks: dict[str, Task] = {}
    names = [f"o{n}" for n in range(AT_ONCE)]
    for number, some in enumerate(batches):
        (place.target / f"t{number}.json").write_text(json.dumps(result(number, some)))
        (place.target / f"t{number}.txt").write_text("\n".join(some), errors="replace")
        once: dict[str, Any] = {"retry": Retry(1), "fix_rounds": 0, "outputs": tuple(names)}
        tasks[f"t{number}"] = sh(HAND_IN, **once)
        if number % 3:
            continue
        inputs = {name: f"${{t{number}.outputs.{name}}}" for name in names}
        argv = (sys.executable, "-I", "-c", AGENT)
        tasks[f"c{number}"] = Task(command=argv, provider="p", needs=(f"t{number}",), inputs=inputs)
        if number % 15 == 0:
            text = "STUB: ok\n" + "".join(f"- {value}\n" for value in inputs.values())
            how: dict[str, Any] = {"provider": "codex", "needs": (f"t{number}",), "loop": Loop(1)}
            tasks[f"a{number}"] = Task(instructions=text, inputs=inputs, **how)
    return plan_of(tasks, {"p": Provider(worker="command", parallel=4), "codex": Provider(parallel=2)})


LOOKS = [
    ["status"], ["report"], ["events"], ["task", "list"], ["provider", "list"],
    *(["task", verb, f"t{number}"] for verb in ("show", "why", "logs") for number in range(6)),
    *(["task", "logs", f"t{number}", "--stderr"] for number in range(6)),
]  # fmt: skip
"""Everything that shows what there is of a run."""


class Page(HTMLParser):
    """What a browser would make of a page."""

    INERT = frozenset(
        {"title", "id", "class", "href", "aria-label", "aria-labelledby", "aria-describedby", "for", "lang"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shown = 0
        self.within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {
            "script",
            "iframe",
            "img",
            "object",
            "embed",
            "link",
            "base",
            "form",
            "math",
            "plaintext",
        }
        self.within.append(tag)
        assert CANARY.lower() not in tag
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert CANARY.lower() not in name, (tag, name)
            assert name != "href" or (value or "").startswith("#"), value
            assert CANARY not in (value or "") or name in self.INERT, (tag, name, value)

    def handle_data(self, data: str) -> None:
        if CANARY in data:
            self.shown += 1
            assert self.within[-1] not in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop() != tag:
            pass

    def handle_comment(self, data: str) -> None:
        assert CANARY not in data

    def handle_pi(self, data: str) -> None:
        assert CANARY not in data

    def unknown_decl(self, data: str) -> None:
        assert CANARY not in data


def what_commands_were_given(place: Place, batches: list[list[str]]) -> None:
    for number in range(0, len(batches), 3):
        given, environ = json.loads((place.target / f"c{number}.saw").read_text())
        wanted = {f"o{n}": as_text(one) for n, one in enumerate(batches[number])}
        assert given == wanted
        variables = {key: value for key, value in environ.items() if key.startswith("DAPLUG_INPUT_")}
        fit = {f"DAPLUG_INPUT_{name.upper()}": text for name, text in wanted.items() if "\0" not in text}
        assert variables == fit
        assert {key for key in environ if CANARY in key} == set()
        assert environ["DAPLUG_RUN"] == "p-1"
        assert "LD_PRELOAD" not in environ or CANARY not in environ["LD_PRELOAD"]


def what_agents_were_told(place: Place, batches: list[list[str]]) -> None:
    for number in range(0, len(batches), 15):
        prompt = (place.state / "runs" / "p-1" / f"a{number}" / "1" / "prompt.md").read_text()
        assert headings(prompt)[0] == "## Inputs"
        assert set(headings(prompt)) <= {f"## {name}" for name in ORDINARY}
        ours = [line[2:] for line in outside_fences(prompt) if CANARY in line]
        assert set(ours) <= set(batches[number]), "only what is a word by itself"
        assert not any(set(line) & set(" `$;&|<>\"'*()!\\") for line in ours)
        assert harmful(prompt, "\n\t") == set()


@pytest.mark.promise("P25", "P26")
def test_no_payload_is_more_than_text_anywhere_in_the_program(place: Place, proof: Proof) -> None:
    given = list(payloads(proof.pick(FEW, ALL), seed=2))
    batches = [given[at : at + AT_ONCE] for at in range(0, len(given), AT_ONCE)]
    plan = place.write(hostile_plan(place, batches))
    process = place.start(plan, "--executor", str(STANDIN))
    out, err = process.communicate(timeout=proof.pick(60, 600))
    assert process.returncode == 1, err[-3000:]
    assert (harmful(out), harmful(err)) == (set(), set())
    statuses = place.statuses()
    assert {status for name, status in statuses.items() if not int(name[1:]) % 3} == {"done"}
    assert {status for name, status in statuses.items() if int(name[1:]) % 3} <= {"failed", "stuck"}
    what_commands_were_given(place, batches)
    what_agents_were_told(place, batches)
    for words in LOOKS:
        assert harmful(said(place, *words)) == set(), words
        as_json = said(place, *words, "--json")
        assert harmful(as_json) == set(), words
        for document in as_json.splitlines() if words == ["events"] else [as_json]:
            json.loads(document)
    pages = [path.read_text() for path in place.state.rglob("report.html")]
    assert pages
    for text in (*pages, said(place, "report", "--html")):
        page = Page()
        page.feed(text)
        page.close()
        assert page.shown
    nothing_was_run(place.target, place.home)
    proof.count("fuzz inputs", len(given))
    place.nothing_left()
