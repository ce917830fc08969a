"""A made-up night of 40 tasks and the parts of one, the same each time: `make report-example` writes its report.

The core decides; here is written how each attempt ends.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, Start, decide, wake_at
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, State
from daplug_supervisor.core.plan import Commit, Criterion, Plan, Provider, Task
from daplug_supervisor.core.results import Blame, Exit, Finding, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import apply
from daplug_supervisor.views.evaluation.figures import Planning
from daplug_supervisor.views.html.page import page
from daplug_supervisor.views.report.contents import Report, report
from daplug_supervisor.views.work import WorkLeft, WorktreeRow
from daplug_supervisor.workspace.git.changes import Where

K = OutcomeKind
BEGINS = 1795211103.0  # 2026-11-20 21:45:03Z
LOOK = 25.0
"""Seconds that the criteria of a task take."""

TESTS = Criterion(run="make test", name="tests pass")
TYPES = Criterion(run=("mypy", "src"), name="types", category="static")
LINT = Criterion(run=("ruff", "check", "src"), name="lint", category="static")
STARTS = Criterion(run="./smoke.sh", name="starts and answers", category="runtime", timeout=60.0)

# id, title, needs, provider, minutes, files
_TASKS = """
survey|Survey the code base and its tests||claude|14|docs/survey.md
schema|Schema of users, orders and stock|survey|codex|22|src/db/schema.sql src/db/__init__.py
settings|Settings from the environment|survey|gemini|9|src/settings.py
logging|Structured logging|survey|gemini|11|src/log.py src/app.py
errors|One error type for the whole API|survey|claude|13|src/errors.py
ci|Run the checks in CI|survey|gemini|8|.github/workflows/ci.yml Makefile
migrate|Migrations, forwards and back|schema|codex|26|src/db/migrate.py src/db/schema.sql
models|Models and their queries|schema|codex|31|src/db/models.py src/db/__init__.py
fixtures|Seed data and fixtures|schema models|gemini|12|tests/fixtures.py
auth-tokens|Access and refresh tokens|models settings|claude|34|src/auth/tokens.py tests/test_tokens.py
auth-login|Log in, log out|auth-tokens errors|claude|28|src/auth/login.py src/app.py
auth-oauth|Log in with OAuth|auth-login|codex|41|src/auth/oauth.py src/app.py
auth-mfa|A second factor|auth-login|claude|37|src/auth/mfa.py
auth-audit|Audit log of logins|auth-login logging|gemini|15|src/auth/audit.py src/log.py
api-users|Users: read, change, delete|models errors auth-tokens|codex|27|src/api/users.py src/app.py
api-orders|Orders: place, cancel, list|models errors auth-tokens|codex|33|src/api/orders.py src/app.py
api-stock|Stock: reserve and release|models errors|codex|29|src/api/stock.py
api-search|Search over orders|api-orders|claude|24|src/api/search.py
api-limits|Rate limits for each key|auth-tokens settings|codex|18|src/api/limits.py src/app.py
api-docs|OpenAPI description|api-users api-orders api-stock|gemini|14|docs/openapi.yaml
pay-core|Payments: reserve, capture, refund|api-orders|claude|44|src/pay/core.py src/pay/__init__.py
pay-webhooks|Webhooks, each exactly once|pay-core|codex|32|src/pay/webhooks.py
pay-retry|Try again what a bank refused for now|pay-core|codex|25|src/pay/retry.py src/pay/core.py
pay-report|A day's payments as CSV|pay-core fixtures|gemini|13|src/pay/report.py
jobs|A queue for slow work|models logging|codex|27|src/jobs/queue.py src/app.py
jobs-mail|Mails from the queue|jobs|gemini|16|src/jobs/mail.py
jobs-export|Export of an account|jobs api-users|claude|21|src/jobs/export.py
jobs-clean|Delete what has expired|jobs|gemini|10|src/jobs/clean.py
ui-shell|Frame, navigation, dark mode|settings|claude|29|web/shell.tsx web/theme.css
ui-login|Pages for logging in|ui-shell auth-login|claude|23|web/login.tsx
ui-orders|Pages for orders|ui-shell api-orders|codex|30|web/orders.tsx web/theme.css
ui-admin|Pages for the staff|ui-shell api-users|codex|26|web/admin.tsx
ui-a11y|Reachable by keyboard and screen reader|ui-login ui-orders ui-admin|claude|22|web/shell.tsx web/theme.css
perf|A hundred orders a second|api-orders jobs|codex|35|bench/orders.py src/api/orders.py
backup|Back up, and restore|migrate|gemini|17|ops/backup.sh
deploy|Deploy without a break|ci migrate api-limits|codex|28|ops/deploy.sh .github/workflows/ci.yml
alerts|Alerts that matter|deploy logging|gemini|12|ops/alerts.yaml
docs-user|Guide for users|ui-a11y api-docs|claude|19|docs/guide.md
docs-ops|Guide for operators|deploy backup alerts|gemini|15|docs/operations.md
release|Notes and the version|docs-user docs-ops perf pay-report|claude|9|CHANGELOG.md pyproject.toml
"""

_QUESTION = """\
Which level is wanted: WCAG 2.2 AA or AAA?

- AA: contrast 4.5, as now
- AAA: contrast 7; then the orange of the brand has to be darker
"""
_FAILS = "exit code 1 instead of 0"
_HOW: dict[str, list[tuple[str, str]]] = {
    "migrate": [
        ("verify", f"tests pass: {_FAILS}: FAILED tests/test_migrate.py::test_back - AssertionError")
    ],
    "auth-tokens": [("verify", f"types: {_FAILS}: src/auth/tokens.py:41: error: Missing return statement")],
    "api-orders": [
        ("verify", f"tests pass: {_FAILS}: FAILED tests/test_orders.py::test_cancel - assert 409 == 200"),
        ("verify", f"tests pass: {_FAILS}: FAILED tests/test_orders.py::test_list - assert 3 == 2"),
    ],
    "auth-mfa": [("lie", f"tests pass: {_FAILS}: ERROR: file or directory not found: tests/test_mfa.py")] * 5,
    "pay-webhooks": [("conflict", "src/app.py changed on both sides")] * 2,
    "jobs-mail": [("crashed", "killed by signal 9 (out of memory)"), ("ok", "")],
    "ui-admin": [("silent", "no sign of work for 15m 00s; last line: Thinking..."), ("ok", "")],
    "api-search": [("lost", "the machine was started again")],
    "deploy": [("place", "starts and answers: exit code 7 instead of 0: curl: (7) connection refused")] * 4,
    "ui-orders": [("verify", f"lint: {_FAILS}: web/orders.tsx is not formatted")],
    "perf": [("timeout", "no end after 1h 00m"), ("ok", "")],
    "ui-a11y": [
        ("asks", _QUESTION),
    ],
    "jobs-export": [("delegates", "")],
    "export-mail": [("crashed", "killed by signal 9 (out of memory)")] * 3,
}
"""How the attempts of some tasks end, one after another; the rest succeed."""

_PARTS = """
export-query|Read all rows of an account, in pieces||codex|12|src/jobs/export_query.py
export-archive|A zip file of them|export-query|codex|14|src/jobs/export_archive.py
export-mail|Mail a link that ends after a day|export-archive|gemini|9|src/jobs/export_mail.py
"""
"""What the agent of jobs-export makes of its task, before it hands it over."""

_OF = "jobs-export"
_REVIEWS = {
    "backup": ["Restoring has to be tried in CI as well, not only backing up.", ""],
    "api-docs": list[str](),
}
"""What a person says of work that waits for a review, '' to approve it. Nobody looks at the last one before morning."""

_LIMITS = {"codex": (3.1, 1.4), "claude": (5.2, 0.8)}
"""When the limit of a provider is reached (hours from the beginning), and for how long."""

_SAID = {
    "survey": {
        "learnings": ["Tests run with `make test` only; pytest alone misses the fixtures."],
        "decisions": ["New code goes below src/, one package for each domain."],
    },
    "models": {"learnings": ["Money is kept in cents, as int; never as float."]},
    "settings": {"issues": ["DEBUG is on by default in docker-compose.yml (not changed: out of scope)."]},
    "api-stock": {"decisions": ["Reservations expire after 15 minutes, as the survey proposes."]},
    "auth-login": {"issues": ["The old login page still sets a cookie without SameSite."]},
    "ui-shell": {"learnings": ["The theme has to be set before the first paint, or it flickers."]},
}


def _plan(tasks: str = _TASKS) -> tuple[Plan, dict[str, tuple[float, tuple[str, ...]]]]:
    """The plan, and for each task its minutes and files."""
    specs: dict[str, Task] = {}
    work: dict[str, tuple[float, tuple[str, ...]]] = {}
    for line in tasks.strip().splitlines():
        name, title, needs, provider, minutes, files = line.split("|")
        accept = [TESTS, *([TYPES, LINT] if "src/" in files or "web/" in files else [])]
        accept += [STARTS] if name.startswith(("api-", "deploy", "pay-core")) else []
        specs[name] = Task(
            title=title,
            instructions=title,
            needs=tuple(needs.split()),
            provider=provider,
            worktree=True,
            accept=tuple(accept),
            commit=Commit(),
            files=tuple(files.split()),
            timeout=3600.0,
            review="human" if name in _REVIEWS else None,
            ask=name.startswith("ui-"),
            delegate=int(name == _OF),
        )
        work[name] = float(minutes), tuple(files.split())
    providers = {
        "codex": Provider(parallel=3, worker="codex"),
        "claude": Provider(parallel=2, worker="claude"),
        "gemini": Provider(parallel=2, worker="gemini"),
    }
    return Plan("web-shop", specs, providers), work


class Night:
    """Events of one run, made by the decisions of the core and by what is written above."""

    def __init__(self) -> None:
        plan, self.work = _plan()
        self.state, self.now, self.seq = State(), BEGINS, 0
        self.chance = Random(5)
        self.ahead: list[tuple[float, int, str, Result]] = []
        self.ends = {name: list(found) for name, found in _HOW.items()}
        self.words = {name: list(said) for name, said in _REVIEWS.items()}
        self.limits = {
            name: (BEGINS + at * 3600, BEGINS + (at + hours) * 3600) for name, (at, hours) in _LIMITS.items()
        }
        self.say(ev.RunSubmitted(plan, "/home/sam/web-shop", "plan.yaml"), ev.RunStarted())
        dearer = replace(plan.tasks["release"], priority=5)
        self.say(ev.TaskChanged("release", dearer, "priority 5 instead of 0"))

    @property
    def run(self) -> Run:
        return self.state.runs["web-shop-1"]

    def say(self, *events: ev.Event) -> None:
        for event in events:
            self.seq += 1
            apply(self.state, ev.Entry(self.seq, "web-shop-1", self.now, event))

    def play(self) -> Run:
        """To its end."""
        while not isinstance(decision := decide(self.run, self.now), Finish):
            if isinstance(decision, Start):
                self.begin(decision.task, decision.provider)
                continue
            waits = [at for at in (wake_at(self.run, self.now), *(each[0] for each in self.ahead[:1])) if at]
            self.now = min(waits)
            while self.ahead and self.ahead[0][0] <= self.now:
                _, _, name, result = heappop(self.ahead)
                self.end(name, result)
        self.say(ev.HookRan("post_run", "", 1, "exit code 1: notify.sh: no webhook is set"), ev.RunFinished())
        return self.run

    def begin(self, name: str, provider: str) -> None:
        known = self.run.tasks[name].attempt
        number = known.number + 1 if known else 1
        self.say(ev.AttemptStarted(name, number, f"{name}-{number}", provider))
        self.say(ev.AttemptSpawned(name, 1000 + self.seq, 1, "boot"))
        seconds = self.work[name][0] * 60 * self.chance.uniform(0.75, 1.3) / (1 if number == 1 else 2.2)
        start, until = self.limits.get(provider, (0.0, 0.0))
        if self.now < start <= self.now + seconds or start < self.now < until:
            met = max(start - self.now, 20.0) + self.chance.uniform(1, 90)
            limit = Outcome(
                K.QUOTA,
                "usage limit reached, resets at the time stated",
                retry_at=until,
                usage=self.cost(met),
            )
            heappush(
                self.ahead, (self.now + met, self.seq, name, Result(limit, Exit(1, seconds=met, cpu=met / 9)))
            )
            return
        how, detail = self.ends[name].pop(0) if self.ends.get(name) else ("ok", "")
        heappush(self.ahead, (self.now + seconds, self.seq, name, self.result(name, how, detail, seconds)))

    def cost(self, seconds: float) -> Usage:
        return Usage(
            input=int(seconds * 900),
            cached=int(seconds * 700),
            output=int(seconds * 35),
            cost=seconds * 0.0011,
        )

    def result(self, name: str, how: str, detail: str, seconds: float) -> Result:
        """What an attempt ends as."""
        own = {
            "crashed": K.CRASHED,
            "silent": K.SILENT,
            "lost": K.LOST,
            "timeout": K.TIMEOUT,
            "asks": K.NEEDS_INPUT,
            "delegates": K.DELEGATED,
        }
        usage = self.cost(seconds)
        if how in own:
            code = {"crashed": -9, "timeout": -15, "silent": -15}.get(how)
            return Result(
                Outcome(own[how], detail, usage=usage), Exit(code, seconds=seconds, cpu=seconds / 9)
            )
        claims: dict[str, Any] = {"status": "success", **_SAID.get(name, {})}
        claim: dict[str, Any] = {"result": claims}
        if name == "pay-report":
            claim["suggested_next_steps"] = ["Tag v2.0.0 once pay-webhooks is in."]
        if name == "ui-shell":
            claim["original_checkout_warnings"] = ["web/theme.css was changed outside the worktree"]
        done = Outcome(K.COMPLETED, usage=usage, claim=claim)
        return Result(
            done,
            Exit(0, seconds=seconds, cpu=seconds / 9),
            tree=f"{name}{how}{self.seq}",
            flags=(how, detail),
        )

    def end(self, name: str, result: Result) -> None:
        """An attempt ends; if it claims success, we look."""
        if result.outcome.kind is K.DELEGATED:
            self.hand_over(name, result)
            return
        if result.outcome.kind is not K.COMPLETED:
            self.say(*after_attempt(self.run, self.run.tasks[name], result, self.now))
            return
        how, detail = result.flags
        self.say(ev.AttemptExited(name, Result(result.outcome, result.exit)))
        findings = tuple(self.findings(name, how, detail))
        if how in ("verify", "lie", "place"):
            failed = Outcome(
                K.VERIFY_FAILED,
                f"1 of {len(findings)} criteria failed: {detail}",
                claim=result.outcome.claim,
                usage=result.outcome.usage,
            )
            flags = ("it changed tests/test_mfa.py, which a criterion reads",) if how == "lie" else ()
            # A lie leaves the files as they were.
            tree = name if how == "lie" else result.tree
            found = Result(failed, result.exit, findings, tree, flags)
            self.say(*after_attempt(self.run, self.run.tasks[name], found, self.now))
            return
        flags = ("it also changed src/app.py, which is not among its files",) if name == "jobs" else ()
        if name in _REVIEWS:
            self.say(ev.ReviewRequested(name, findings, flags))
            self.review(name)
            return
        self.say(ev.VerificationPassed(name, findings, flags))
        if how == "conflict":
            outcome = Outcome(K.CONFLICT, detail, usage=result.outcome.usage)
            self.say(*after_attempt(self.run, self.run.tasks[name], Result(outcome, result.exit), self.now))
            return
        self.land(name)

    def hand_over(self, name: str, result: Result) -> None:
        """A task is divided among parts that its agent has created."""
        parts, work = _plan(_PARTS)
        self.work |= work
        for part, spec in parts.tasks.items():
            self.say(ev.TaskAdded(part, replace(spec, parent=name)))
        self.say(ev.DelegationRequested(name), ev.Delegated(name, result, "refs/daplug/work/1a2b3c"))

    def review(self, name: str) -> None:
        """What a person says of it, if somebody is awake."""
        words = self.words[name].pop(0) if self.words[name] else None
        if words:
            self.say(ev.Rejected(name, words, "sam"))
        elif words == "":
            self.say(ev.Approved(name, "sam"))
            self.land(name)

    def land(self, name: str) -> None:
        """The work comes home."""
        files = self.work[name][1]
        commit = f"{self.chance.getrandbits(160):040x}"
        self.say(
            ev.StepDone(name, "context"),
            ev.StepDone(name, "commit", commit),
            ev.StepDone(name, "merge", "daplug/run/web-shop-1"),
        )
        self.say(ev.Landed(name, commit, files))

    def findings(self, name: str, how: str, detail: str) -> Iterator[Finding]:
        """What the criteria of a task show."""
        label, _, said = detail.partition(": ")
        blame: Blame = "environment" if how == "place" else "code"
        for number, one in enumerate(self.run.spec(name).accept):
            fails = how in ("verify", "lie", "place") and one.label == label
            claimed = "PASS" if how == "lie" or name in ("api-orders", "survey") else ""
            yield Finding(
                number,
                one.label,
                one.category,
                1 if fails else 0,
                LOOK / 4,
                said if fails else "",
                blame if fails else "",
                claimed,
            )


PRINTED = {
    "auth-mfa": {
        0: [
            "collecting ... collected 0 items",
            "ERROR: file or directory not found: tests/test_mfa.py",
            "make: *** [test] Error 4",
        ]
    },
    "deploy": {3: ["curl: (7) Failed to connect to 127.0.0.1 port 8080: connection refused"]},
}
TAILS = {
    "auth-mfa": ["I have added the second factor and all tests pass.", "Done."],
    "pay-webhooks": ["Auto-merging src/app.py", "CONFLICT (content): Merge conflict in src/app.py"],
    "deploy": ["Deployment script written, shellcheck is clean."],
}


def example() -> tuple[Run, Report, float]:
    """The run, its report and when that was made."""
    night = Night()
    run = night.play()
    stuck = [task for task in run.tasks.values() if task.status in (Status.STUCK, Status.FAILED)]
    rows = tuple(
        WorktreeRow(
            task.id, task.status.value, f"/home/sam/web-shop/.worktrees/web-shop-1-{task.id}",
            f"daplug/web-shop-1-{task.id}", 1, 2, 2, run.spec(task.id).files[:2],
        )
        for task in stuck[:1]
    )  # fmt: skip
    planning = Planning("READY_WITH_NOTES", "The payments need a sandbox account.")
    seen = {
        name: Where(
            f"/home/sam/web-shop/.worktrees/web-shop-1-{name}", f"daplug/web-shop-1-{name}", "8c1f09e2a7"
        )
        for name in _REVIEWS
    }
    made = report(
        run, night.now + 60, tails=TAILS, printed=PRINTED, left=WorkLeft(rows), planning=planning, seen=seen
    )
    return run, made, night.now + 60


def write(path: Path) -> None:
    """The page of the example."""
    run, made, now = example()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(run, made, now), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
