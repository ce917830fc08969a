"""Groups of prompts, and who runs them: what may be typed, and what is said of what may not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daplug_supervisor.core.plan import Loop, Provider, Retry, Task
from daplug_supervisor.errors import PlanError, UsageError
from daplug_supervisor.formats.prompts import models
from daplug_supervisor.formats.prompts.batch import Batch, Item, make_plan
from daplug_supervisor.formats.prompts.files import Prompt
from daplug_supervisor.formats.prompts.groups import Chosen, choose, parse, written
from daplug_supervisor.formats.prompts.hints import said
from daplug_supervisor.formats.prompts.models import Registry, Who, mixture

FILES = ("001-first", "002-second", "003-third", "005-fix", "api/005-api", "api/007-more")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "prompts" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    (tmp_path / "a,b -> c.md").write_text("# odd\n")
    return tmp_path


def names(chosen: Chosen) -> list[list[str]]:
    return [[prompt.path.stem for prompt in phase] for phase in chosen.phases]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("001", [["001-first"]]),
        ("001,002 -> api/005 -> 003", [["001-first", "002-second"], ["005-api"], ["003-third"]]),
        ("001,002->api/005->003", [["001-first", "002-second"], ["005-api"], ["003-third"]]),
        ("1 2|->|api/005->3", [["001-first", "002-second"], ["005-api"], ["003-third"]]),
        ("1|2|->3", [["001-first", "002-second"], ["003-third"]]),
        ("001-003|->|api/7, api/5", [["001-first", "002-second", "003-third"], ["007-more", "005-api"]]),
        ("second -> FIRST", [["002-second"], ["001-first"]]),
        ("001,,1,001-002", [["001-first", "002-second"]]),
        ("a,b -> c.md|->|1", [["a,b -> c"], ["001-first"]]),
    ],
)
def test_groups(root: Path, words: str, expected: list[list[str]]) -> None:
    assert names(choose(words.split("|"), root)) == expected


def test_every_prompt_needs_all_of_the_phase_before(root: Path) -> None:
    chosen = choose(["1,2 -> 3 -> api/5"], root)
    needs = {path.stem: [one.stem for one in before] for path, before in chosen.needs().items()}
    assert needs == {
        "001-first": [],
        "002-second": [],
        "003-third": ["001-first", "002-second"],
        "005-api": ["003-third"],
    }


def test_a_prompt_that_is_named_again_runs_once(root: Path) -> None:
    chosen = choose(["1,2 -> 1,3"], root)
    assert names(chosen) == [["001-first", "002-second"], ["003-third"]]
    assert chosen.notes == ("column 8: 001-first is in phase 1 already, and runs once",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "name at least one prompt"),
        (",", "name at least one prompt"),
        ("001 ->", "column 5: there is no prompt after '->'; try: 001"),
        ("-> 001", "column 1: there is no prompt before '->'; try: 001"),
        ("001 -> -> 2", "column 8: there is no prompt between two '->'; try: 001 -> 2"),
        ("->", "column 1: there is no prompt before '->'; try: 001,002 -> 003"),
        ("001 => 002", "column 5: '=>' is not an arrow; try: 001 -> 002"),
        ("001|=>|002", "column 5: '=>' is not an arrow; try: 001,002 -> 003"),
        ("001-->002", "column 4: '-->' is not an arrow; try: 001 -> 002"),
        ("001 > 002", "column 5: '>' is not an arrow; try: 001 -> 002"),
        ("001 \u2192 002", "column 5: '\u2192' is not an arrow; try: 001 -> 002"),
        ("001|-|003", "column 5: '-' stands alone; in a shell an arrow needs quotes"),
        ("001,0O2 -> 003", "column 5: there is no prompt '0O2'; there are: .*; try: 001,002 -> 003"),
        ("001 -> 001-004", "column 8: there is no prompt '004'; .*; try: 001 -> 001,002,003"),
        ("5", "column 1: prompt '5' is ambiguous: 005-fix, api/005-api; try: 005"),
        ("005", "column 1: prompt '005' is ambiguous: 005-fix, api/005-api; try: 005-fix"),
        ("1 -> nowhere/3", "column 6: there is no folder 'prompts/nowhere'"),
        ("0-999999", "column 1: .* a range of more than 1000 prompts"),
        ("1 -> 1", "column 6: phase 2 is empty: a prompt runs once, and all of '1' is in an earlier phase; try: 1"),
        ("\x1b[1m -> 1", r"column 1: there is no prompt '\\x1b\[1m'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_what_would_do(root: Path, words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose(words.split("|"), root)


def test_without_prompts_there_is_no_example(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    with pytest.raises(UsageError, match=r"column 1: there is no prompt '1'; there are no prompts$"):
        choose(["1"], tmp_path)


def test_long_words_take_no_long_time() -> None:
    for word in ("-" * 100_000, "1" * 100_000, "=" * 100_000, "a/" * 50_000, "1 " * 50_000, "-> " * 3):
        with contextlib.suppress(UsageError):
            assert written(parse([word], lambda _: False))


# --- plans ------------------------------------------------------------------------------------------------------


def prompt(path: str, folder: str = "") -> Prompt:
    return Prompt(Path(path).name[:3], folder, Path(path).stem[4:], Path(path), "T")


def test_a_plan_of_prompts() -> None:
    shared = Task(timeout=60.0, retry=Retry(1), loop=Loop(5), worktree=True, base="main", sandbox="strict")
    first, second = prompt("/r/prompts/001-x.md"), prompt("/r/prompts/api/010-y.md", "api")
    plan = make_plan(
        [Item(first), Item(second, (first.path,), Who("gemini", "agy"))],
        Batch(
            who=(Who("codex", "opencode", "high"),),
            fallback=(Who("gemini"), Who("glm5")),
            parallel=2,
            options={"sandbox_net": "off"},
            task=shared,
            timeout=9.0,
        ),
    )
    reserve = ("gemini", "glm5")
    more: dict[str, Any] = {"options": {"sandbox_net": "off"}}
    assert plan.providers == {
        "codex-opencode": Provider("codex", 2, cli="opencode", variant="high", fallback=reserve, **more),
        "gemini-agy": Provider("gemini", 2, cli="agy", fallback=reserve, **more),
        "gemini": Provider("gemini", 2, **more),
        "glm5": Provider("glm5", 2, **more),
    }
    assert plan.timeout == 9.0
    about: dict[str, Any] = {"title": "T"}
    assert plan.tasks == {
        "001-x": msgspec.structs.replace(shared, prompt=str(first.path), provider="codex-opencode", **about),
        "api-010-y": msgspec.structs.replace(
            shared, prompt=str(second.path), provider="gemini-agy", needs=("001-x",), **about
        ),
    }


def test_a_mixture_gives_each_prompt_to_each_model_in_worktrees() -> None:
    first, second = prompt("/r/prompts/001-x.md"), prompt("/r/prompts/002-y.md")
    who = (Who("codex"), Who("codex", "opencode"))
    plan = make_plan([Item(first), Item(second, (first.path,))], Batch(who=who))
    assert {name: (task.provider, task.needs) for name, task in plan.tasks.items()} == {
        "001-x-moa-codex": ("codex", ()),
        "001-x-moa-codex-opencode": ("codex-opencode", ()),
        "002-y-moa-codex": ("codex", ("001-x-moa-codex", "001-x-moa-codex-opencode")),
        "002-y-moa-codex-opencode": ("codex-opencode", ("001-x-moa-codex", "001-x-moa-codex-opencode")),
    }
    assert all(task.worktree for task in plan.tasks.values())
    assert all(not provider.fallback for provider in plan.providers.values())


def test_ids_are_unique_and_fit() -> None:
    paths = [
        "/a/001-x.md",
        "/b/001-X.md",
        "/c/001-x.md",
        f"/d/{'y' * 80}.md",
        f"/e/{'y' * 80}.md",
        "/f/\xfc.md",
    ]
    plan = make_plan([Item(prompt(path)) for path in paths], Batch(who=(Who("a/b"),)))
    assert list(plan.tasks) == ["001-x", "001-X-2", "001-x-3", "y" * 64, "y" * 62 + "-2", "prompt"]
    assert plan.providers == {"a-b": Provider("a/b")}
    long = make_plan([Item(prompt(f"/d/{'y' * 80}.md"))], Batch(who=(Who("a"), Who("b" * 60))))
    assert all(len(name) <= 64 for name in long.tasks)
    assert len(long.tasks) == 2


def test_impossible_plans() -> None:
    with pytest.raises(PlanError, match="no tasks"):
        make_plan([], Batch(who=(Who("codex"),)))
    with pytest.raises(PlanError, match="add cli: claude"):
        make_plan([Item(prompt("/a/001-x.md"))], Batch(who=(Who("claude"),)))


# --- models -----------------------------------------------------------------------------------------------------

REGISTRY = models.read_registry(
    msgspec.json.encode(
        {
            "schema_version": 1,
            "models": [
                {"name": name, "model_id": family, "default_cli": cli, "routing": {"cli_overrides": able}}
                for name, family, cli, able in (
                    ("codex", "openai:x", "codex", ["codex", "opencode"]),
                    ("codex-spark", "openai:s", "codex", []),
                    ("gemini", "google:g", "gemini", ["agy", "gemini"]),
                    ("glm5", "zai:glm", "opencode", ["opencode"]),
                    ("claude", "anthropic:c", "subagent", ["claude"]),
                )
            ],
        }
    )
)


def test_models_are_named_as_in_daplug() -> None:
    assert models.parse(" codex:CC ") == Who("codex", "claude")
    for text in ("", ":codex", "-x", "a b", "x" * 81, "codex:", "codex:vim", "\x1b"):
        with pytest.raises(UsageError):
            models.parse(text)


def test_a_mixture_of_models() -> None:
    found = mixture("codex, codex:opencode,gemini,codex,", REGISTRY, "high")
    assert found == (Who("codex", None, "high"), Who("codex", "opencode", "high"), Who("gemini"))
    assert mixture("some,other", Registry(), "low") == (Who("some", None, "low"), Who("other", None, "low"))
    assert mixture("claude:claude,codex", REGISTRY) == (Who("claude", "claude"), Who("codex"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("codex", "at least two different models"),
        ("codex,codex", "at least two different models"),
        ("", "at least two"),
        ("codex,claude", "only inside a Claude session; take cc-sonnet"),
        ("codex,cdex", "unknown model 'cdex': did you mean codex?"),
        ("codex,gemini:codex", "gemini does not run in codex, only in agy, gemini"),
        ("codex,codex-spark:opencode", "only in codex"),
        ("codex,gemini:vim", "no such CLI"),
    ],
)
def test_a_mixture_is_refused_as_daplug_refuses_it(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mixture(text, REGISTRY)


def test_efforts() -> None:
    assert REGISTRY.takes(Who("codex"), "high")
    assert not REGISTRY.takes(Who("codex"), "low")
    assert REGISTRY.takes(Who("codex", "opencode"), "low")
    assert not REGISTRY.takes(Who("codex-spark"), "high")
    assert not REGISTRY.takes(Who("unknown"), "high")
    assert models.fitted(Who("glm5"), REGISTRY, None) == Who("glm5")


def test_a_registry_of_the_future_is_none() -> None:
    for data in (b"", b"[]", b'{"models": 3}', b"[" * 100_000):
        assert models.read_registry(data) == Registry()


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("", None, ""),
        ("model_hint: gemini", Who("gemini"), "runs with gemini, as its front matter says"),
        ("model_hint: codex:opencode", Who("codex", "opencode", "high"), "runs with codex-opencode"),
        ("cli_hint: OpenCode", Who("codex", "opencode", "high"), "runs with codex-opencode"),
        ("model-hint: claude", Who("claude", "claude"), "runs with claude-claude"),
        ("model_hint: cdex", None, "its hint is not followed: unknown model"),
        ("model_hint: a b", None, "is no model, and not followed"),
        ("model_hint: codex\ncli_hint: vim", None, "is no CLI, and not followed"),
    ],
)
def test_hints_in_the_front_matter(text: str, expected: Who | None, note: str) -> None:
    found, told = models.hinted(said(f"---\n{text}\n---\n# T\n"), Who("codex", None, "high"), REGISTRY)
    assert found == expected
    assert note in told
