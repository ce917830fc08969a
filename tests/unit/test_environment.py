"""Which variables are handed on, and what looks like a secret."""

from __future__ import annotations

import json

import pytest

from daplug_supervisor.core import environment
from daplug_supervisor.core.plan import Plan, Provider, Task, pass_env
from daplug_supervisor.core.secrets import STARS, Lines, Mask, in_plan, looks_secret, secrets_of, tokens

GIVEN = {
    "PATH": "/bin", "LC_ALL": "C", "http_proxy": "x", "ANTHROPIC_API_KEY": "k", "CARGO_HOME": "/c", "PWD": "/",
    "CARGO_REGISTRY_TOKEN": "t", "MYAPP_URL": "u", "MYAPP": "v", "DAPLUG_X": "1",
}  # fmt: skip


def test_what_is_on_the_list_is_handed_on_unless_it_is_a_secret_of_others() -> None:
    got = environment.handed_on(GIVEN)
    assert got.keys() == GIVEN.keys() - {"CARGO_REGISTRY_TOKEN", "MYAPP_URL", "MYAPP", "PWD"}
    assert environment.held_back(GIVEN) == ("CARGO_REGISTRY_TOKEN", "MYAPP", "MYAPP_URL")
    assert environment.held_back(GIVEN, ["MYAPP_*", "CARGO_REGISTRY_TOKEN"]) == ("MYAPP",)


def test_what_is_of_one_attempt_is_not_handed_on_by_a_supervisor_within_it() -> None:
    given = {
        "DAPLUG_RESULT": "/x",
        "DAPLUG_OUTBOX": "/",
        "DAPLUG_INPUTS": "/y",
        "DAPLUG_INPUT_A": "v",
        "DAPLUG_X": "1",
    }
    assert environment.handed_on(given) == {"DAPLUG_X": "1"}
    assert environment.held_back(given) == ()
    assert environment.is_handed_on("DAPLUG_INPUT_A", ["DAPLUG_INPUT_A"])


def test_what_a_plan_names_is_handed_on_too() -> None:
    assert environment.named(GIVEN, ()) == {}
    assert environment.named(GIVEN, ("MYAPP_*", "NONE")) == {"MYAPP_URL": "u"}
    plan = Plan("p", {}, {"q": Provider(pass_env=("B",))}, pass_env=("A_*",))
    assert pass_env(plan, "q") == ("A_*", "B")


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("MY_API_KEY", "abcdefgh", True),
        ("SECRET_KEY_BASE", "abcdefgh", True),
        ("DB_PASSWORD", "abcdefgh", True),
        ("DB_PASSWORD", "short", False),
        ("MAX_TOKENS", "abcdefgh", False),
        ("API_KEY", "123456789", False),
        ("TLS_KEY_FILE", "/etc/ssl/key.pem", False),
        ("MY_CREDENTIALS", "~/credentials", False),
        ("MY_CREDENTIALS", "abcdefgh", True),
        ("KEYBOARD", "abcdefgh", False),
    ],
)
def test_variables_that_surely_hold_a_secret(name: str, value: str, secret: bool) -> None:
    assert looks_secret(name, value) is secret


def test_the_secrets_of_an_environment() -> None:
    environ = {
        "A_TOKEN": "abcdefgh",
        "B_TOKEN": "abc",
        "DB": "postgres://me:password1@host/x",
        "DB2": "postgres://me:pw@host/x",
        "KEY_PATH": "/home/me/key.pem",
        "PLAIN": "abcdefghi",
    }
    assert secrets_of(environ) == {"abcdefgh": "A_TOKEN", "password1": "DB"}


def test_tokens_but_not_those_of_documents() -> None:
    real = "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    text = f"x {real}\nAKIAIOSFODNN7EXAMPLE sk-only-words-that-look-like-it ghp_{'x' * 36} task-{'a1' * 20}"
    assert list(tokens(text)) == [(2, "a GitHub token")]
    assert list(tokens(json.dumps(f"a\n{real}"))) == [(4, "a GitHub token")]


def test_what_a_plan_holds() -> None:
    task = Task(command=("curl", "-u", "the-value-of-it-1"), env={"A_PASSWORD": "abcdefgh"}, provider="p")
    plan = Plan("p", {"a": task}, {"p": Provider()})
    environ = {"A_TOKEN": "the-value-of-it-1", "B_TOKEN": "developmentdevelopment", "C_TOKEN": "curl"}
    text = json.dumps(["the-value-of-it-1", "developmentdevelopment"])
    assert in_plan(plan, text, environ) == ["the value of A_TOKEN", "a value for A_PASSWORD"]


def test_masking() -> None:
    mask = Mask.of({"A_TOKEN": "abcdefgh12345678"})
    assert mask("") == ""
    assert mask("is abcdefgh12345678!") == f"is {STARS}!"
    assert mask("cut at abcdefgh1…") == f"cut at {STARS}…"
    assert mask("12345678 is its end") == f"{STARS} is its end"
    assert (
        mask("Bearer abcdefabcdefabc, A_KEY=12345678 http://u:p@h")
        == f"Bearer {STARS}, A_KEY={STARS} http://u:{STARS}@h"
    )
    assert mask.within({"abcdefgh12345678": ["abcdefgh12345678", 1, None]}) == {STARS: [STARS, 1, None]}
    assert mask.within(("a", 1.5)) == ["a", 1.5]
    assert Mask()("nothing is known") == "nothing is known"


def test_a_key_of_several_lines() -> None:
    lines = Lines(Mask())
    text = ["a", "-----BEGIN PRIVATE KEY-----", "MIIE", "-----END PRIVATE KEY-----b", "MIIE"]
    assert [lines(line) for line in text] == ["a", STARS, STARS, f"{STARS}b", "MIIE"]
    text = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIE",
        "this is no key.",
        "-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY-----",
    ]
    assert [lines(line) for line in text] == [STARS, STARS, "this is no key.", STARS]
    assert Mask()("MIIE\n-----END PRIVATE KEY-----") == STARS


def test_criteria_get_nothing_that_agents_log_in_with() -> None:
    names = {"OPENAI_API_KEY": "x", "CLAUDE_CODE_X": "y", "DAPLUG_X": "z", "PATH": "p", "GEMINI_API_KEY": "w"}
    assert environment.logins(names, {"GEMINI_API_KEY"}) == ("OPENAI_API_KEY", "CLAUDE_CODE_X")
