"""Secrets: agents get only what they are meant to have, and what they print is kept and shown without them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, STANDIN, Place, finish, kill, opened, plan_of, sh, until
from promises import Proof
from walking import calls, said

from daplug_supervisor import Loop, Provider, Retry, Supervisor, Task, UsageError
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.environment import handed_on, held_back
from daplug_supervisor.core.secrets import Mask

place = pytest.fixture(opened)

KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n{KEY[::-1]}\n-----END PRIVATE KEY-----"

KNOWN = {
    "SERVICE_API_KEY": "canary-0-7f3a9c1e5b",
    "DB_PASSWORD": "canary 1 with spaces 8d2f",
    "CI_TOKEN": "canary-2-0a1b2c3d4e",
    "CLIENT_SECRET": 'canary-3-"quoted"-back\\slash-55',
    "VAULT_PASSPHRASE": "canary-4-p\u00e4ssw\u00f6rt-6c7d8e",
    "DEPLOY_CREDENTIALS": "canary-5-first-line-91\ncanary-5-second-line-92",
    "AWS_SECRET_ACCESS_KEY": "/canary-6/+wJalrXUtnFEMIK7MDENGbPxRfiCYz",
    "DATABASE_URL": "postgres://u:canary-7-4f5e6d@db.example.org/x",
    "HOOK_WEBHOOK": "https://hooks.example.org/canary-8-aa11bb22cc",
    "SESSION_COOKIE": "canary-9-%2Fescaped&and=more",
}
"""Known by the names of their variables."""

SHAPED = {
    "api key": "sk-ant-api03-canary10AbCdEfGhIjKl0123456789",
    "github": "ghp_canary11AbCdEfGhIjKlMnOpQrStUvWxYz01",
    "aws": "AKIACANARY12QWERTYU3",
    "slack": "xoxb-123456789012-canary13abcdef",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiIxNCJ9.c2lnbmF0dXJlY2FuYXJ5MTQ",
    "bearer": "Authorization: Bearer canary15.abcdefghijkl",
    "assigned": "UNKNOWN_SERVICE_TOKEN=canary-16-abcdefgh",
    "in an address": "https://somebody:canary-17-pw@git.example.org/x.git",
    "google": "AIzaSyCanary18AbCdEfGhIjKlMnOpQrStUvWxY",
    "private key": PEM,
}
"""Known by what they look like."""


def traces() -> dict[str, bytes]:
    """What gives each canary away, wherever it is found."""
    found = {}
    for name, value in (KNOWN | SHAPED).items():
        inner = next((word for word in value.replace("\n", " ").split() if "anary" in word.lower()), value)
        found[name] = inner.encode()
    return found | {
        "DATABASE_URL": b"canary-7-4f5e6d",
        "DB_PASSWORD": b"spaces 8d2f",
        "CLIENT_SECRET": b"slash-55",
        "VAULT_PASSPHRASE": b"6c7d8e",
        "DEPLOY_CREDENTIALS": b"canary-5",
        "bearer": b"canary15",
        "assigned": b"canary-16",
        "in an address": b"canary-17",
        "jwt": b"c2lnbmF0dXJlY2FuYXJ5MTQ",
        "private key": KEY[:30].encode(),
        "HOOK_WEBHOOK": b"canary-8",
        "SESSION_COOKIE": b"canary-9",
    }


def check_none(data: bytes, where: object) -> None:
    for name, trace in traces().items():
        if trace in data:
            at = data.index(trace)
            raise AssertionError(f"{name} in {where}: {data[max(0, at - 200) : at + 80]!r}")


def prepared(place: Place, most: int) -> Any:
    """A plan whose agents print every canary, last, first and in the middle, and fail with it."""
    (place.target / "prompts").mkdir()
    tasks: dict[str, Task] = {}
    every = list(KNOWN.values()) + list(SHAPED.values())
    for number, value in enumerate(every[:: len(every) // most]):
        (place.target / f"said-{number}").write_text(value)
        one_line = value.replace("\n", " ")
        prompt = place.target / "prompts" / f"{number:03}-x.md"
        mode = ("error {}", "retry {}", "retry not allowed: {}")[number % 3].format(
            one_line.replace(",", "_")
        )
        prompt.write_text(f"STUB: {mode}\n")
        say = f"cat said-{number}; echo; "
        tasks[f"out{number}"] = sh(f"{say} exit 3", retry=Retry(attempts=2, backoff=0.01))
        tasks[f"err{number}"] = sh(f"{say} cat said-{number} >&2; exit 3", retry=Retry(attempts=1))
        # So long that it is cut within the secret.
        tasks[f"cut{number}"] = sh(
            f"printf %0270d 0; printf 'x '; cat said-{number}; exit 3", retry=Retry(attempts=1)
        )
        how: dict[str, Any] = {"provider": "codex", "retry": Retry(2, 0.01), "loop": Loop(1)}
        tasks[f"agent{number}"] = Task(prompt=f"{number:03}", **how)
    (place.target / "said-all").write_text("\n".join(every))
    tasks["last"] = sh(f"{MARKING} cat said-*; {HOLD} cat said-*; exit 1", retry=Retry(attempts=1))
    pools = {"p": Provider(worker="command", parallel=6), "codex": Provider(parallel=2)}
    return plan_of(tasks, pools)


@pytest.mark.promise("P27")
def test_none_of_twenty_canaries_gets_anywhere(place: Place, proof: Proof) -> None:
    plan = prepared(place, proof.pick(4, len(KNOWN | SHAPED)))
    place.environ |= KNOWN
    process = place.start(place.write(plan), "--executor", str(STANDIN))
    seen: set[int] = set()
    while process.poll() is None:
        for pid in place.processes():
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"--as-agent" not in argv:  # which the stand-in starts in its own way
                check_none(argv, f"the command line of {pid}")
            seen.add(pid)
        if len(place.events(ev.TaskFailed, ev.TaskStuck)) >= len(plan.tasks) - 1:
            place.go()
        time.sleep(0.05)
    assert len(seen) > 10
    ran = finish(process)
    assert ran.code == 1, ran.err
    check_none((ran.out + ran.err).encode(), "what was said while it ran")
    agent_files = {"stdout.log", "stderr.log", "prompt.md"}
    looked = 0
    for path in place.state.rglob("*"):
        if path.is_file() and path.name not in agent_files:
            check_none(path.read_bytes(), path)
            looked += 1
    assert looked > len(plan.tasks)
    printed = 0
    for words in calls(list(plan.tasks)):
        text = said(place, *words)
        check_none(text.encode("utf-8", "surrogateescape"), words)
        assert "Traceback" not in text, words
        printed += len(text)
    assert printed > 10_000
    kept = (place.state / "runs" / "p-1" / "out0" / "1" / "stdout.log").read_bytes()
    assert KNOWN["SERVICE_API_KEY"].encode() in kept, "raw output is the agent's own"
    assert "***" in place.run("task", "logs", "out0").out
    assert KNOWN["SERVICE_API_KEY"] in place.run("task", "logs", "out0", "--raw").out
    proof.count("injected faults", len(KNOWN | SHAPED))
    place.nothing_left()


@pytest.mark.promise("P27")
def test_nor_into_what_a_killed_supervisor_leaves(place: Place, proof: Proof) -> None:
    """The journal's files as they are in the middle, write-ahead log and all; and the log of a worker that fails."""
    (place.target / "said").write_text("\n".join([*(KNOWN | SHAPED).values(), KNOWN["CI_TOKEN"]]))
    tasks = {
        "a": sh("cat said >&2; tail -n 1 said; exit 1", retry=Retry(attempts=1)),
        "b": sh(MARKING + "cat said; " + HOLD),
    }
    place.environ |= KNOWN
    process = place.start(place.write(plan_of(tasks)))
    place.started("b")
    until(lambda: place.events(ev.TaskFailed), "a's end")
    kill(process)
    files = [path for path in place.state.iterdir() if path.is_file()]
    assert {"journal.db", "journal.db-wal"} <= {path.name for path in files}
    for path in files:
        check_none(path.read_bytes(), path)
    proof.count("kills")
    place.go()
    assert place.run("plan.json").code == 1
    for path in place.state.iterdir():
        if path.is_file():
            check_none(path.read_bytes(), path)


TAKES = {
    "an API key in a command": {"command": ["curl", "-H", SHAPED["api key"]]},
    "a token in a title": {"command": ["x"], "title": f"push with {SHAPED['github']}"},
    "a key in a prompt": {"instructions": f"use\n{PEM}", "provider": "codex"},
    "a secret in env": {"command": ["x"], "env": {"MY_API_KEY": "abcdefgh1234"}},
    "a web token in env": {"command": ["x"], "env": {"INNOCENT": SHAPED["jwt"]}},
    "the value of a variable": {"command": ["curl", "-u", KNOWN["CI_TOKEN"]]},
}


@pytest.mark.promise("P27")
@pytest.mark.parametrize("what", TAKES)
def test_a_plan_that_holds_a_secret_is_refused(place: Place, what: str, proof: Proof) -> None:
    place.environ |= KNOWN
    ran = place.run(place.write(json.dumps({"name": "p", "tasks": {"a": TAKES[what]}}, indent=1)))
    assert ran.code == 2, ran
    assert "pass_env" in ran.err
    check_none((ran.out + ran.err).encode(), "the refusal")
    assert "abcdefgh1234" not in ran.err
    for path in place.state.rglob("*") if place.state.exists() else ():
        if path.is_file():
            check_none(path.read_bytes(), path)
    if what != "the value of a variable":  # which is known only where it runs
        assert "plan.json:" in ran.err
    proof.count("injected faults")


async def test_an_embedding_program_is_refused_too(tmp_path: Path) -> None:
    environ = dict(os.environ) | KNOWN
    for task in (
        sh(f"echo {SHAPED['github']}"),
        sh("x", env={"A_PASSWORD": "abcdefgh1"}),
        sh(KNOWN["CI_TOKEN"]),
    ):
        async with Supervisor(tmp_path, environ=environ) as supervisor:
            with pytest.raises(UsageError, match="pass_env"):
                await supervisor.submit(plan_of({"a": task}), fresh=True)
    check_none((tmp_path / "journal.db").read_bytes(), "the journal")


SHOW = [sys.executable, "-I", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]


def shown(place: Place, task: str, run: str = "p-1") -> dict[str, str]:
    found: dict[str, str] = json.loads((place.state / "runs" / run / task / "1" / "stdout.log").read_text())
    return found


@pytest.mark.promise("P27")
def test_agents_get_the_environment_by_a_list(place: Place) -> None:
    more = {
        "MYAPP_URL": "http://x",
        "MYAPP_MODE": "fast",
        "OTHER": "1",
        "OPENAI_API_KEY": "sk-given",
        "LC_TIME": "C",
    }
    place.environ |= (
        KNOWN | more | {"NODE_AUTH_TOKEN": "held-back-1", "CARGO_HOME": "/cargo", "https_proxy": "http://y"}
    )
    tasks = {
        "plain": Task(command=tuple(SHOW), provider="p"),
        "more": Task(command=tuple(SHOW), provider="q", env={"MYAPP_MODE": "slow"}),
    }
    pools = {"p": Provider(worker="command"), "q": Provider(worker="command", pass_env=("OTHER", "CI_TOKEN"))}
    plan = place.write(plan_of(tasks, pools, pass_env=("MYAPP_*",)))
    text = place.run("check", plan).out
    checked = place.run("check", plan, "--json").json()
    assert {"DB_PASSWORD", "NODE_AUTH_TOKEN"} <= set(checked["held_back"])
    assert not {"OTHER", "MYAPP_URL", "CI_TOKEN", "PATH", "OPENAI_API_KEY"} & set(checked["held_back"])
    assert "DB_PASSWORD" in text
    check_none(text.encode(), "check")
    assert place.run(plan).code == 0
    plain, further = shown(place, "plain"), shown(place, "more")
    for name in (
        "PATH",
        "HOME",
        "TERM",
        "LC_TIME",
        "CARGO_HOME",
        "https_proxy",
        "OPENAI_API_KEY",
        "MYAPP_URL",
    ):
        assert plain[name] == further[name] == place.environ[name]
    assert not set(plain) & {*KNOWN, "OTHER", "NODE_AUTH_TOKEN"}
    assert (plain["MYAPP_MODE"], further["MYAPP_MODE"]) == ("fast", "slow")
    assert (further["OTHER"], further["CI_TOKEN"]) == ("1", KNOWN["CI_TOKEN"])
    assert set(further) & set(KNOWN) == {"CI_TOKEN"}
    assert set(held_back(plain)) <= {"MYAPP_URL", "MYAPP_MODE"}
    assert "held back" in place.run("task", "show", "plain").out
    detail = place.run("task", "show", "more", "--json").json()
    assert "DB_PASSWORD" in detail["held_back"]
    assert detail["pass_env"] == ["MYAPP_*", "OTHER", "CI_TOKEN"]


def test_a_prompt_without_a_plan_is_handed_variables_by_an_option(place: Place) -> None:
    (place.target / "prompts").mkdir()
    (place.target / "prompts" / "001-a.md").write_text("STUB: ok\n")
    words = ("run-prompt", "001", "-m", "glm5", "--executor", str(STANDIN))
    assert place.run(*words, "--pass-env", "CI_TOKEN", "--pass-env", "A_*").code == 0
    (submitted,) = place.events(ev.RunSubmitted)
    assert submitted.plan.pass_env == ("CI_TOKEN", "A_*")
    refused = place.run(*words, "--fresh", "--pass-env", "*")
    assert (refused.code, "pass_env" in refused.err) == (2, True)
    assert place.run("status").code == 0


def test_whoever_misses_a_variable_is_told_its_name(place: Place) -> None:
    place.environ |= {"MY_BUILD_HOST": "secret-host-value"}
    line = 'echo "${MY_BUILD_HOST?is not set}"'
    ran = place.run(place.write(plan_of({"a": sh(line, retry=Retry(attempts=1))})))
    assert ran.code == 1
    assert "not handed on: MY_BUILD_HOST; see pass_env" in " ".join(ran.out.split())
    assert "secret-host-value" not in ran.out + ran.err


async def test_an_embedding_program_says_what_the_environment_is(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "MINE": "1", "OTHER": "2"}
    plan = plan_of({"a": Task(command=tuple(SHOW), provider="p")}, pass_env=("MINE",))
    async with Supervisor(tmp_path / "s", environ=environ) as supervisor:
        handle = await supervisor.submit(plan)
        await handle.wait()
        found = json.loads(Path(supervisor.directory.attempt("p-1", "a", 1), "stdout.log").read_text())
    expected = handed_on(environ) | {"MINE": "1", "DAPLUG_RUN": "p-1", "DAPLUG_TASK": "a"}
    assert {
        name: value for name, value in found.items() if name not in ("DAPLUG_SUP_ATTEMPT", "LC_CTYPE")
    } == expected


@pytest.mark.promise("P27")
def test_what_is_known_is_masked_however_it_is_written(proof: Proof) -> None:
    mask = Mask.of(KNOWN)
    for name, value in (KNOWN | SHAPED).items():
        for text in (
            value,
            f"a {value} b",
            json.dumps({"x": value}),
            json.dumps([value], ensure_ascii=False),
        ):
            assert traces()[name].decode() not in mask(text), (name, text)
            proof.count("fuzz inputs")
    for harmless in (
        "exit code 3: boom",
        "401: Missing bearer or basic authentication in header",
        "task-force-one",
        "KEY",
        "sk-",
        "a token of thanks",
        "12345678",
        "",
    ):
        assert mask(harmless) == harmless
