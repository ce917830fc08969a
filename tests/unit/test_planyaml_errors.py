"""Everything wrong with a plan file is said, with its place and a remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats import checks, findings
from daplug_supervisor.formats.plans import nodes, planjson, planyaml

A = "tasks: {a: {command: [x]}}"


def loads(text: Any, file: Any = "plan.yaml", name: Any = "plan", processors: Any = 4) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return planyaml.loads(data, file=file, default_name=name, processors=processors)


def problems(text: Any, file: Any = "plan.yaml") -> Any:
    with pytest.raises(PlanError) as caught:
        loads(text, file)
    for problem in caught.value.problems:
        assert problem.message
        assert problem.file == file
        assert str(problem).isprintable()
    return caught.value.problems


# Text; then line, column, field and a part of the message and of the remedy of each problem, in file order.
WRONG = [
    ("", [(1, 1, "", "is empty", "begin with")]),
    ("# nothing\n", [(1, 1, "", "is empty", "")]),
    ("---\n...\n", [(1, 1, "", "is empty", "")]),
    ("[a]", [(1, 1, "", "expected a mapping, found a list", "begin with")]),
    ("5", [(1, 1, "", "found 5", "")]),
    ("*x", [(1, 1, "", "aliases", ""), (1, 1, "", "expected a mapping", "")]),
    ("name: x", [(1, 1, "tasks", "no tasks", "")]),
    ("tasks: {}", [(1, 1, "tasks", "no tasks", "")]),
    ("tasks:", [(1, 7, "tasks", "expected a mapping, found nothing", "by their ids")]),
    ("tasks:\n- id: a", [(1, 1, "tasks", "found a list", "by their ids")]),
    ("a: [", [(1, 5, "", "not valid YAML", "check indentation")]),
    ("a:\n\tb: 1", [(2, 1, "", "not valid YAML", "spaces, not tabs")]),
    (f"%YAML 1.1\n---\n{A}", [(1, 1, "", "directives", "remove")]),
    (f"{A}\n---\n{A}", [(2, 1, "", "second document", "one plan")]),
    ("tasks: {a: &x {command: [x]}}", [(1, 12, "tasks.a", "anchors", "defaults")]),
    ("tasks: {a: {command: [x], env: *x}}", [(1, 32, "tasks.a.env", "aliases", "defaults")]),
    (
        "tasks:\n  a:\n    <<: *b\n",
        [(3, 5, "tasks.a", "merges", "defaults"), (3, 9, "tasks.a.<<", "aliases", "")],
    ),
    ("tasks:\n a: {command: [x]}\n a: {}", [(3, 2, "tasks.a", "written twice", "first on line 2")]),
    (
        "x: 1\nx: 2\nx: 3",
        [
            (1, 1, "x", "unknown field", "known: tasks"),
            (1, 1, "tasks", "no tasks", ""),
            (2, 1, "x", "twice", ""),
            (3, 1, "x", "twice", ""),
        ],
    ),
    (f"? [a]\n: b\n{A}", [(1, 3, "", "key that is not text", "plain words")]),
    (f"taks: 1\n{A}", [(1, 1, "taks", "unknown field 'taks'", "did you mean tasks?")]),
    ("tasks: {a: {comand: [x]}}", [(1, 13, "tasks.a.comand", "unknown field", "did you mean command?")]),
    (
        "tasks: {a: {command: [x], blockd_by: [b], retry: {zzz: 1}}}",
        [
            (1, 27, "tasks.a.blockd_by", "unknown field", "did you mean blocked_by?"),
            (1, 51, "tasks.a.retry.zzz", "unknown field", "known: attempts, backoff, max_backoff"),
        ],
    ),
    (f"defaults: {{needs: []}}\n{A}", [(1, 12, "defaults.needs", "unknown field", "")]),
    ("tasks: {a: 5}", [(1, 12, "tasks.a", "expected a mapping, found 5", "")]),
    (
        "tasks: {a: , b: {command: [x], needs: [a]}}",
        [(1, 12, "tasks.a", "found nothing", "leave the field out, or give it a value")],
    ),
    (
        "tasks: {a: {command: 'x \\y '}}",
        [(1, 22, "tasks.a.command", "expected a list", '["sh", "-c", "x \\\\y "]')],
    ),
    ("tasks: {a: {command: []}}", [(1, 13, "tasks.a.command", "not empty, found an empty list", "")]),
    ("tasks: {a: {command: [x, ~]}}", [(1, 26, "tasks.a.command.1", "expected text, found nothing", "")]),
    (
        "tasks: {a: {command: [x], needs: b}}",
        [(1, 34, "tasks.a.needs", "expected a list", "write needs: [b]")],
    ),
    ("tasks: {a: {command: [x], needs: ['b c']}}", [(1, 35, "tasks.a.needs.0", "expected an id", "Letters")]),
    (
        "tasks: {a: {command: [x], needs: [], blocked_by: []}}",
        [(1, 38, "tasks.a.blocked_by", "same thing", "keep needs")],
    ),
    (
        "tasks: {a: {command: [x], title: []}}",
        [(1, 27, "tasks.a.title", "expected text, found an empty", "")],
    ),
    (
        "tasks: {a: {command: [x], title: {}}}",
        [(1, 27, "tasks.a.title", "expected text, found a mapping", "")],
    ),
    ("tasks: {a: {command: [x], cwd: ''}}", [(1, 32, "tasks.a.cwd", "text that is not empty, found ''", "")]),
    ("tasks: {a: {command: [x], worktree: on}}", [(1, 37, "tasks.a.worktree", "found on", "write true")]),
    (
        "tasks: {a: {command: [x], worktree: 'true'}}",
        [(1, 37, "tasks.a.worktree", "'true'", "take the quotes")],
    ),
    (
        "tasks: {a: {prompt: x, provider: codex, sandbox: No, variant: big}}",
        [
            (1, 50, "tasks.a.sandbox", "true or false or one of balanced, dev, strict", "write false"),
            (1, 63, "tasks.a.variant", "one of high, low, medium, none, xhigh, found big", ""),
        ],
    ),
    ("tasks: {a: {command: [x], on_conflict: true}}", [(1, 40, "tasks.a.on_conflict", "one of", "")]),
    ("tasks: {a: {command: [x], priority: 1.5}}", [(1, 37, "tasks.a.priority", "from -1000 to 1000", "")]),
    ("tasks: {a: {command: [x], priority: true}}", [(1, 37, "tasks.a.priority", "whole number", "")]),
    (
        "tasks: {a: {command: [x], retry: {attempts: '3'}}}",
        [(1, 45, "tasks.a.retry.attempts", "'3'", "quotes")],
    ),
    (
        "tasks: {a: {command: [x], retry: {attempts: " + "9" * 6000 + "}}}",
        [(1, 45, "tasks.a.retry.attempts", "whole number from 1 to 100, found 9999", "")],
    ),
    (
        "tasks: {a: {command: [x], loop: {completion_marker: 'a b'}}}",
        [(1, 53, "tasks.a.loop.completion_marker", "text like ^[A-Za-z0-9", "")],
    ),
    *(
        (
            f"tasks: {{a: {{command: [x], timeout: {bad}}}}}",
            [(1, 36, "tasks.a.timeout", "duration", "90s, 45m")],
        )
        for bad in ("1:30", "5 m", "m", "-1", "-1s", ".nan", ".inf", "367d", "true", "٣s", "1h30")
    ),
    ("tasks: {a: {command: [x], timeout: [1]}}", [(1, 27, "tasks.a.timeout", "duration", "90s, 45m")]),
    ("tasks: {'a b': {command: [x]}}", [(1, 9, "tasks.a b", "'a b' is not an id", "Letters, digits")]),
    ('tasks: {"a\\n": {command: [x]}}', [(1, 9, "tasks.a\\n", "'a\\n' is not an id", "")]),
    ('tasks: {"\\e[1m\u202e": 1}', [(1, 9, "tasks.\\x1b[1m\\u202e", "is not an id", "")]),
    (
        "tasks: {a: {command: [x]}, A: {command: [x]}}",
        [(1, 28, "tasks.A", "A and a differ only by case", "without regard")],
    ),
    (
        f"providers: {{p: {{}}, P: {{}}}}\n{A}",
        [(1, 20, "providers.P", "P and p differ only by case", "without regard")],
    ),
    (
        "tasks: {build: {command: [x]}, b: {command: [x], needs: [biuld, b, build, build]}}",
        [
            (1, 58, "tasks.b.needs.0", "unknown task 'biuld'", "did you mean build?"),
            (1, 65, "tasks.b.needs.1", "cannot need itself", ""),
            (1, 75, "tasks.b.needs.3", "needs 'build' twice", ""),
        ],
    ),
    (
        "tasks: {a: {command: [x], parent: a}}",
        [(1, 35, "tasks.a.parent", "a task cannot be a part of itself", "remove it")],
    ),
    (
        "tasks: {a: {command: [x], blocked_by: [zz]}}",
        [(1, 40, "tasks.a.blocked_by.0", "unknown", "known: a")],
    ),
    (
        (
            "tasks: {a: {command: [x], needs: [c]}, b: {command: [x], needs: [a]},"
            " c: {command: [x], needs: [b]}, d: {command: [x], needs: [e]}, e: {command: [x], needs: [d]}}"
        ),
        [
            (1, 27, "tasks.a.needs", "a -> c -> b -> a", "remove one"),
            (1, 120, "tasks.d.needs", "d -> e -> d", "remove one"),
        ],
    ),
    (
        "tasks: {a: {prompt: x, provider: codx}}",
        [(1, 34, "tasks.a.provider", "'codx'", "did you mean codex?")],
    ),
    (
        "defaults: {provider: zz}\ntasks: {a: {prompt: x}, b: {prompt: x}}",
        [(1, 22, "defaults.provider", "unknown provider 'zz'", "known: local, codex, opencode")],
    ),
    (
        f"providers: {{p: {{fallback: [p, opencod, codex, codex]}}}}\n{A}",
        [
            (1, 28, "providers.p.fallback.0", "own fallback", ""),
            (1, 31, "providers.p.fallback.1", "unknown provider", "did you mean opencode?"),
            (1, 47, "providers.p.fallback.3", "twice", ""),
        ],
    ),
    (
        f"providers: {{p: {{fallback: [local]}}, q: {{fallback: r}}}}\n{A}",
        [
            (1, 28, "providers.p.fallback.0", "cannot take over", "same worker"),
            (1, 51, "providers.q.fallback", "expected a list", "write fallback: [r]"),
        ],
    ),
    ("tasks: {a: {prompt: x}}", [(1, 9, "tasks.a", "no provider", "one of local, codex")]),
    (
        "providers: {p: {}, q: {}}\ntasks: {a: {prompt: x}}",
        [(2, 9, "tasks.a", "no provider", "gemini, claude, p, q")],
    ),
    ("tasks: {a: {}}", [(1, 9, "tasks.a", "nothing to be done", "prompt, instructions, command")]),
    (
        "tasks: {a: {prompt: x, command: [y]}}",
        [(1, 24, "tasks.a.command", "prompt and command exclude", "keep one")],
    ),
    (
        "tasks: {a: {command: [x], model: m, cli: c, require_diff: true, loop: {max_iterations: 1}}}",
        [
            (1, 34, "tasks.a.model", "for agents", "remove model"),
            (1, 42, "tasks.a.cli", "for agents", "remove cli"),
            (1, 59, "tasks.a.require_diff", "for agents", ""),
            (1, 65, "tasks.a.loop", "for agents", ""),
        ],
    ),
    (
        "tasks: {a: {command: [x], provider: codex}}",
        [(1, 37, "tasks.a.provider", "a command cannot run", "local")],
    ),
    (
        "tasks: {a: {prompt: x, provider: local}}",
        [(1, 34, "tasks.a.provider", "an agent's task cannot", "another")],
    ),
    (
        "tasks: {a: {prompt: x, provider: codex, model: claude}}",
        [(1, 48, "tasks.a.model", "without a cli", "add cli: claude, or use model cc-sonnet")],
    ),
    (
        "providers: {claude: {}}\ntasks: {a: {prompt: x}, b: {prompt: x}, c: {prompt: x, cli: claude}}",
        [(1, 13, "providers.claude.model", "without a cli", "add cli: claude")],
    ),
    (
        "providers: {codex: {fallback: [m]}, m: {model: claude}}\ntasks: {a: {prompt: x, provider: codex}}",
        [(1, 48, "providers.m.model", "without a cli", "")],
    ),
    (
        "providers: {c: {worker: cli, options: {arg: 1, args: --x}}}\ntasks: {a: {prompt: x}}",
        [
            (1, 45, "providers.c.options.arg", "unknown option 'arg'", "takes args"),
            (1, 54, "providers.c.options.args", "not a list of flags", "write args: [--flag=value]"),
        ],
    ),
    (
        "providers: {c: {worker: cli, options: {args: [--x, 1]}}}\ntasks: {a: {prompt: x}}",
        [(1, 40, "providers.c.options.args", "not a list of flags", "")],
    ),
    (
        "tasks: {a: {command: [x], env: {A=B: 1, '': 2}}}",
        [
            (1, 38, "tasks.a.env.A=B", "'A=B' cannot name", "no '='"),
            (1, 45, "tasks.a.env.", "'' cannot name", ""),
        ],
    ),
    ("version: 2\nnew: 1\n&a b: c", [(1, 10, "version", "newer version", "upgrade")]),
    (f"version: 0\n{A}", [(1, 10, "version", "expected 1, found 0", "")]),
    (f"version: '1'\n{A}", [(1, 10, "version", "expected 1, found '1'", "take the quotes away")]),
    (f"version: true\n{A}", [(1, 10, "version", "expected 1, found true", "")]),
    (f"version: [1]\n{A}", [(1, 1, "version", "expected 1, found a list", "")]),
    ("a: \0", [(1, 4, "", "control character '\\x00'", "remove it")]),
    ("a: \x1b[1m", [(1, 4, "", "control character '\\x1b'", '"\\u001b"')]),
    (b"a: 1\nb: \xc3\xa9\xff", [(2, 5, "", "not UTF-8", "save the file as UTF-8")]),
    ('tasks: {a: {command: ["x\\0"]}}', [(1, 23, "tasks.a.command.0", "NUL", "")]),
    ('tasks: {a: {command: [x], env: {"x\\0": y}}}', [(1, 33, "tasks.a.env.x\\x00", "NUL", "")]),
    (
        "tasks: {a: {title: !!python/object/apply:os.system ['id'], command: [x]}}",
        [
            (1, 13, "tasks.a.title", "expected text", ""),
            (1, 20, "tasks.a.title", "python/object", "remove it"),
        ],
    ),
    (
        "tasks: !x {a: {command: [!y z, !!int no, !!binary aa]}}",
        [
            (1, 8, "tasks", "tag '!x'", ""),
            (1, 26, "tasks.a.command.0", "tag '!y'", ""),
            (1, 32, "tasks.a.command.1", "tag 'tag:yaml.org,2002:int'", ""),
            (1, 42, "tasks.a.command.2", "binary", ""),
        ],
    ),
    (
        f'providers: {{p: {{options: {{a: .inf, b: [{2**63}], c: "\\0", d: *e}}}}}}\n{A}',
        [
            (1, 30, "providers.p.options.a", ".inf is too large", "quotes"),
            (1, 40, "providers.p.options.b.0", "too large", "quotes"),
            (1, 65, "providers.p.options.c", "NUL", ""),
            (1, 74, "providers.p.options.d", "aliases", ""),
        ],
    ),
    (
        "tasks:\n  a:\n    command: [x]\n    accept:\n      - name: n\n      - run: []\n      - {run: {}}\n      - 7\n",
        [
            (5, 9, "tasks.a.accept.0", "has no run", "add run"),
            (6, 9, "tasks.a.accept.1.run", "expected a list that is not empty", ""),
            (7, 10, "tasks.a.accept.2.run", "expected text that is not empty or a list", ""),
            (8, 9, "tasks.a.accept.3", "expected a mapping, found 7", ""),
        ],
    ),
    ("[" * 200_000, [(1, 21, "0." * 19 + "0", "more than 20 levels", "")]),
    ("- " * 200_000, [(1, 41, "0." * 19 + "0", "more than 20 levels", "")]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[repr(text)[:50] for text, _ in WRONG])
def test_wrong_plans(text: Any, expected: Any) -> None:
    found = problems(text)
    assert [(one.line, one.column, one.field) for one in found] == [place[:3] for place in expected]
    for problem, (*_, message, remedy) in zip(found, expected, strict=True):
        assert message in problem.message
        assert remedy in problem.remedy


WRONG_JSON = [
    ('{"tasks": {"a": {"command": ["x"]},\n "a": {}}}', [(2, 2, "tasks.a", "written twice")]),
    ('{"tasks": NaN}', [(1, 11, "tasks", "NaN is not JSON")]),
    ("NaN]]>", [(1, 4, "", "not valid JSON: Extra data")]),
    ('{"tasks": {"a": {"command": ["\\u0000"]}}}', [(1, 30, "tasks.a.command.0", "NUL")]),
    ('{"tasks": {"a": {"command": ["\\ud800"]}}}', [(1, 30, "tasks.a.command.0", "surrogate")]),
    ('{"tasks": {"a": {"command": ["x"], "needs": ["b"]}}}', [(1, 46, "tasks.a.needs.0", "unknown task")]),
    (
        '{"tasks": {"a": {"command": ["x"], "needs": [], "blocked_by": []}}}',
        [(1, 49, "tasks.a.blocked_by", "same")],
    ),
    ('{"tasks": {"a": {"command": ["x"], "timeout": "x"}}}', [(1, 47, "tasks.a.timeout", "duration")]),
    ('{"tasks": {"a b": {"command": ["x"]}}}', [(1, 12, "tasks.a b", "not an id")]),
    ('{"tasks": {"a": {"command": ["x"], "x": 1}}}', [(1, 36, "tasks.a.x", "unknown field")]),
    (
        '{"tasks": [1, {"a": 2}], "timeout": "1x"}',
        [(1, 2, "tasks", "a mapping"), (1, 37, "timeout", "duration")],
    ),
    ('{"tasks": {"a": 5}}', [(1, 17, "tasks.a", "expected a mapping")]),
    ('{"name": "x"}', [(1, 1, "tasks", "no tasks")]),
    (
        '{"defaults": {"env": {"A": "b"}}, "tasks": {"a": {"command": ["x"],\n"env": null}}}',
        [(2, 8, "tasks.a.env", "expected a mapping, found nothing")],
    ),
    ('{"version": 9, "tasks": {}}', [(1, 13, "version", "newer")]),
    ('{"providers": 1, "tasks": {"a": {"command": ["x"]}}}', [(1, 15, "providers", "a mapping")]),
    (
        f'{{"providers": {{"p": {{"options": {{"n": {2**64}}}}}}}, "tasks": {{"a": {{"command": ["x"]}}}}}}',
        [(1, 39, "providers.p.options.n", "too large")],
    ),
    (
        '{"providers": {"p": {"options": {"n": '
        + "[" * 30
        + "]" * 30
        + '}}}, "tasks": {"a": {"command": ["x"]}}}',
        [(1, 55, "providers.p.options.n" + ".0" * 16, "20 levels")],
    ),
    ("[1]", [(1, 1, "", "expected a mapping")]),
    ("5", [(1, 1, "", "expected a mapping, found 5")]),
    ("", [(1, 1, "", "not valid JSON")]),
    ('{"tasks": {}} x', [(1, 15, "", "not valid JSON: Extra data")]),
    ('{"a":\n{"b" 1}}', [(2, 6, "", "not valid JSON: Expecting ':' delimiter")]),
    ("[" * 200_000, [(1, 21, "", "more than 20 levels")]),
    ('{"a":' * 200_000, [(1, 101, "", "more than 20 levels")]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_JSON, ids=[repr(text)[:50] for text, _ in WRONG_JSON])
def test_wrong_json_plans(text: Any, expected: Any) -> None:
    found = problems(text, "plan.json")
    assert [(one.line, one.column, one.field) for one in found] == [place[:3] for place in expected]
    for problem, (*_, message) in zip(found, expected, strict=True):
        assert message in problem.message


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MAX_VALUES", 10)
    assert "more than 10 keys and values" in problems("tasks: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")[0].message
    # A JSON plan that is too large for a tree: the first problems, where they most likely are.
    monkeypatch.setattr(planjson, "MAX_VALUES", 10)
    wrong: dict[str, Any] = {"tasks": {"a": {"command": ["x"], "needs": ["b"]}, "c": {"command": ["x"]}}}
    (problem,) = problems(json.dumps(wrong, indent=1), "plan.json")
    assert (problem.line, problem.field) == (7, "tasks.a.needs.0")
    wrong["tasks"]["c"]["command"] = 5
    (problem,) = problems(json.dumps(wrong, indent=1), "plan.json")
    assert (problem.line, problem.field) == (12, "tasks.c.command")
    assert "Expected `array | null`" in problem.message
    wrong["providers"] = {"codex": {"parallel": "many"}}
    (problem,) = problems(json.dumps(wrong), "plan.json")
    assert (problem.line, problem.field) == (1, "providers.parallel")
    twice = '{"tasks": {"a": {}, "a": {"c": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}}}'
    (problem,) = problems(twice, "plan.json")
    assert (problem.line, problem.message) == (1, "'a' is written twice")


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planjson, "MAX_PARTS", 5)
    monkeypatch.setattr(planjson, "MAX_VALUES", 5)
    (problem,) = problems(json.dumps({"tasks": {name: {} for name in "abcdefgh"}}), "plan.json")
    assert "more than 5 commas and braces" in problem.message
    monkeypatch.setattr(planjson, "MAX_PARTS", 500)
    monkeypatch.setattr(planjson, "MAX_TASKS", 3)
    (problem,) = problems(json.dumps({"tasks": {name: {} for name in "abcdefgh"}}, indent=1), "plan.json")
    assert (problem.line, problem.field) == (6, "tasks.d")
    assert "8 tasks: at most 3" in problem.message


def test_secrets_and_outputs_of_tasks_are_refused() -> None:
    found = problems("tasks:\n  a: {command: [x, '${b.outputs.c}', '${HOME}'], env: {A_TOKEN: abcdefgh}}\n")
    assert [(one.line, one.field) for one in found] == [(2, "tasks.a.command.1"), (2, "tasks.a.env.A_TOKEN")]
    found = problems("tasks:\n  a:\n    command: [x, ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8]\n")
    assert [(one.line, one.column, one.message) for one in found] == [(3, 18, "holds a GitHub token")]


def test_too_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_TASKS", 1)
    (problem,) = problems("tasks: {a: {command: [x]}, b: {command: [x]}}")
    assert "2 tasks: at most 1" in problem.message


def test_too_many_problems_end_with_a_hint() -> None:
    for text in ("\n".join(f"x{n}: 1" for n in range(2000)), "x: 1\n" * 2000):
        found = problems(text)
        assert len(found) == findings.MAX_PROBLEMS + 1
        assert "there may be more" in found[-1].message


def test_suggestions_stay_cheap() -> None:
    names = [f"t{n:05}" for n in range(3000)]
    tasks = {name: {"command": ["x"]} for name in names}
    tasks["last"] = {"command": ["x"], "needs": [f"t{n:05}x" for n in range(60)]}
    found = problems(json.dumps({"tasks": tasks}), "plan.json")
    assert "did you mean t00000?" in found[0].remedy
    assert found[-1].remedy == "known: " + ", ".join(names[:20]) + " and 2981 more"
    assert findings.choice("x", [], findings.Nearest([])) == "there are none"


def test_a_long_cycle_is_shortened() -> None:
    tasks = {f"t{n}": {"command": ["x"], "needs": [f"t{(n + 1) % 500}"]} for n in range(500)}
    (problem,) = problems(json.dumps({"tasks": tasks}), "plan.json")
    assert "t0 -> t1 -> " in problem.message
    assert "-> t10 -> (489 more) -> t0" in problem.message


def test_many_cycles_are_reported_up_to_a_limit() -> None:
    tasks = {f"t{n}": {"command": ["x"], "needs": [f"t{n ^ 1}"]} for n in range(60)}
    assert len(problems(json.dumps({"tasks": tasks}), "plan.json")) == 10


def test_a_mistake_is_reported_once() -> None:
    text = "tasks: {a: {promt: x}, b: {command: 5, needs: [a]}, c: {prompt: [], provider: {}, timeout: x}}"
    assert [one.field for one in problems(text)] == [
        "tasks.a.promt",
        "tasks.b.command",
        "tasks.c.prompt",
        "tasks.c.provider",
        "tasks.c.timeout",
    ]


def test_hostile_texts_are_escaped_everywhere() -> None:
    with pytest.raises(PlanError) as caught:
        loads('"\\e[31m\\u202e": 1\ntasks: {a: {timeout: "\\e]0;x\\a"}}', file="a\nb\x1b.yaml")
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
    assert str(caught.value).startswith("a\\nb\\x1b.yaml:1:1: ")


def test_without_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert loads("name: x\ntasks: {a: {command: [x]}}").name == "x"
    for text, expected in WRONG:
        if len(text) < 1000:
            found = [(one.line, one.field) for one in problems(text)]
            assert found == [(place[0], place[2]) for place in expected]
