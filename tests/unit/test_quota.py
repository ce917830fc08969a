"""What daplug's settings say about looking at quotas, and what cclimits says."""

from __future__ import annotations

import json

import pytest

from daplug_supervisor.formats.prompts import quota
from daplug_supervisor.formats.prompts.models import Registry, Who, read_registry

CONFIG = "# Notes\n<daplug_config>\npreferred_agent: codex\nai_usage_awareness: {}  # yes\n</daplug_config>\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], False),
        (["", CONFIG.format("enabled")], True),
        ([CONFIG.format("disabled"), CONFIG.format("enabled")], False),
        (["ai_usage_awareness: enabled"], False),
        (["<daplug_config>\nworktree_dir: x\n</daplug_config>\nai_usage_awareness: enabled"], False),
    ],
)
def test_whether_quotas_are_to_be_looked_at(files: list[str], expected: bool) -> None:
    assert quota.wanted(files) is expected


def test_what_is_used() -> None:
    said = {
        "claude": {"five_hour": {"used": "15.2%"}, "seven_day": {"used": 42}},
        "codex": {"primary_window": {"used": 101.0}, "plan": "pro", "used": None},
        "zai": {"token_quota": {"percentage": 7, "used": 10_000}},
        "gemini": {"error": "no credentials"},
        "odd": [1],
    }
    expected = {"claude": 42.0, "codex": 101.0, "zai": 7.0}
    assert quota.used(json.dumps(said).encode()) == expected
    assert quota.used(json.dumps({"tools": said}).encode()) == expected
    deep = b'{"a":' * 50 + b'{"used": 5}' + b"}" * 50
    for other in (
        b"",
        b"[]",
        b"3",
        b'{"tools": 3}',
        deep,
        b"[" * 100_000,
        b'{"a": {"used": true, "b": "nan"}}',
    ):
        assert max(quota.used(other).values(), default=0.0) <= 1.0


def test_who_has_nothing_left_comes_last() -> None:
    chain = (Who("codex"), Who("gemini"), Who("kimi"))
    registry = Registry()
    assert quota.ordered(chain, {}, registry) == (chain, [])
    found, notes = quota.ordered(chain, {"codex": 100.0, "gemini": 93.0}, registry)
    assert [who.model for who in found] == ["gemini", "kimi", "codex"]
    assert notes == ["quota: codex has used 100 %, and comes last", "quota: gemini has used 93 %"]
    assert quota.ordered(chain[:1], {"codex": 100.0}, registry) == (
        chain[:1],
        ["quota: codex has used 100 %"],
    )


def test_whose_subscription_a_model_uses() -> None:
    registry = read_registry(
        b'{"models": [{"name": "odd", "model_id": "zai:x"}, {"name": "own", "model_id": "x:y"}]}'
    )
    assert [quota.tool(Who(name), registry) for name in ("odd", "own", "cc-opus", "else")] == [
        "zai",
        "",
        "claude",
        "",
    ]
