"""A PLAN.md as data: TODOs and their fields, tables, what is no TODO."""

from __future__ import annotations

import pytest
from todo_making import EXAMPLE

from daplug_supervisor.formats.todos.criteria import Expected, judged
from daplug_supervisor.formats.todos.markdown import Open, bare, cells, lines, spans
from daplug_supervisor.formats.todos.sections import Checklist, Todo, parse
from daplug_supervisor.formats.todos.tables import CommitRow


def one(text: str) -> Todo:
    found = parse(text)
    assert len(found.todos) == 1, found
    return found.todos[0]


def told(found: Checklist) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in found.problems]


def test_the_example() -> None:
    found = parse(EXAMPLE)
    assert found.problems == ()
    assert [(todo.id, todo.name, todo.kind, todo.ticked) for todo in found.todos] == [
        ("todo-1", "TODO 1: Config setup", "work", False),
        ("todo-2", "TODO 2: API", "work", False),
        ("todo-3", "TODO 3: Utils", "verification", False),
    ]
    first = found.todos[0]
    assert first.text("steps") == "- [ ] Write the file\n- [ ] File exists"
    assert first.text("must not do") == "- Do not touch the API"
    assert first.text("inputs") == "(none - first task)"
    assert (first.inputs.found, list(first.outputs.found)) == ({}, ["config_path"])
    assert first.outputs.found["config_path"].text == "./config/app.json"
    assert found.todos[1].inputs.found["config_path"].text == "${todo-1.outputs.config_path}"
    assert EXAMPLE[first.box - 1 : first.box + 2] == "[ ]"
    assert all(EXAMPLE[item.box - 1 : item.box + 2] == "[ ]" for item in first.criteria)
    assert [(item.name, item.category, item.run, item.expected) for item in first.criteria] == [
        ("File exists: ./config/app.json", "functional", ("test", "-e", "./config/app.json"), Expected()),
        ("It names the service", "functional", "grep -q service config/app.json", Expected()),
        ("Reads well", "functional", None, Expected()),
        (
            "python3 -m json.tool config/app.json → valid JSON",
            "static",
            "python3 -m json.tool config/app.json",
            Expected(vague=True),
        ),
        (
            'python3 -m app --version prints "1.0"',
            "runtime",
            "python3 -m app --version",
            Expected(output="1.0"),
        ),
    ]
    assert [(row.number, [each[:2] for each in row.requires], row.produces) for row in found.graph.rows] == [
        ("1", [], ("config_path",)),
        ("2", [("1", "config_path")], ("api_module",)),
        ("3", [], ()),
    ]
    assert found.commits == (
        CommitRow("1", 15, "feat(config): add it", ("config/*", "src/config.py"), "always"),
        CommitRow("3", 16, "feat: utils", ("src/utils.py",), "test -s src/utils.py"),
    )


@pytest.mark.parametrize(
    ("text", "name", "run", "expected"),
    [
        ("`tsc --noEmit` passes", "tsc --noEmit passes", "tsc --noEmit", Expected()),
        ("`make`", "make", "make", Expected()),
        ("Types hold: `tsc --noEmit`", "Types hold", "tsc --noEmit", Expected()),
        ("All tests pass — `npm test`", "All tests pass", "npm test", Expected()),
        ("The tests pass (`npm test`)", "The tests pass", "npm test", Expected()),
        ("Run: `npm test`", "Run: npm test", "npm test", Expected()),
        ("Run `npm test`.", "Run npm test.", "npm test", Expected()),
        ("`f` → exit code 2", "f → exit code 2", "f", Expected(2)),
        ("`f` → exit 0 (as it should)", "f → exit 0 (as it should)", "f", Expected(0)),
        ("`f` exits with code 3.", "f exits with code 3.", "f", Expected(3)),
        ("`f` exits 3", "f exits 3", "f", Expected(3)),
        ("`f x` (a note)", "f x (a note)", "f x", Expected()),
        ("`head -1 a` → `id,name`", "head -1 a → id,name", "head -1 a", Expected(output="id,name")),
        (
            "`wc -l < a` -> 11 (header too)",
            "wc -l < a -> 11 (header too)",
            "wc -l < a",
            Expected(output="11"),
        ),
        ("`f x` outputs 'hi'", "f x outputs 'hi'", "f x", Expected(output="hi")),
        ("`f x` → no errors", "f x → no errors", "f x", Expected(vague=True)),
        ("`a.py` exists", "a.py exists", ("test", "-e", "a.py"), Expected()),
        ("Directory `src` exists", "Directory src exists", ("test", "-e", "src"), Expected()),
        ("File exists: `a b` - the file", "File exists: a b - the file", ("test", "-e", "a b"), Expected()),
        ("``a `b` c`` passes", "a `b` c passes", "a `b` c", Expected()),
        # What cannot be looked at by running something.
        ("It reads well", "It reads well", None, Expected()),
        ("File exists: `a`, `b`", "File exists: a, b", None, Expected()),
        ("Has the fields: `name`", "Has the fields: name", None, Expected()),
        ("Has what is needed: `a`, `b`", "Has what is needed: a, b", None, Expected()),
        ("`package.json` contains `react`", "package.json contains react", None, Expected()),
        ("The `variant` prop works", "The variant prop works", None, Expected()),
        ("`grep x y` → no matches", "grep x y → no matches", None, Expected()),
        ("`grep -c x y` → 0", "grep -c x y → 0", None, Expected()),
        ("`f` fails", "f fails", None, Expected()),
        ("`f` exits 999", "f exits 999", None, Expected()),
        ("`f` is nice", "f is nice", None, Expected()),
        ("`f` prints what it should", "f prints what it should", None, Expected()),
        ("` `", "", None, Expected()),
        ("a" * 5000 + ": `true`", "a" * 200 + "…", None, Expected()),
    ],
)
def test_what_a_criterion_runs(text: str, name: str, run: object, expected: Expected) -> None:
    assert judged(text) == (name, run, expected)


def test_names_of_criteria_are_unique_and_items_may_take_several_lines() -> None:
    found = one(
        "### [ ] TODO 1: t\n**Acceptance Criteria**:\nwords\n- [ ] `a`\n- [X] `a`\n* [ ] it holds:\n  `make\n  test`\n"
        "\n- `b`\n  - `not one`\n  - [ ] `c`\n- [ ] (no tests)\n- [] `d`\n  ```\n  - [ ] `in a fence`\n  ```\n- [ ]\n"
    )
    assert [(item.name, item.run, item.ticked, item.box >= 0) for item in found.criteria] == [
        ("a", "a", False, True),
        ("a (2)", "a", True, True),
        ("it holds", "make test", False, True),
        ("b", "b", False, False),
        ("c", "c", False, True),
        ("d", "d", False, False),
    ]


def test_groups_are_written_in_many_ways() -> None:
    found = one(
        "### [ ] TODO 1: t\n#### Acceptance Criteria\n- [ ] `a`\n**Static:**\n- [ ] `b`\n_Runtime_\n- [ ] `c`\n"
        "*Cleanup (required):*\n- [ ] `d`\n- **Static**:\n  - [ ] `e`\nRuntime tests:\n- [ ] `f`\n"
        "What follows holds as well:\n- [ ] `g`\n#### Functional\n- [ ] `h`\n**Risk**: LOW\n- [ ] `i`\n"
    )
    assert [(item.run, item.category) for item in found.criteria] == [
        ("a", "functional"), ("b", "static"), ("c", "runtime"), ("d", "functional"), ("e", "static"),
        ("f", "runtime"), ("g", "runtime"), ("h", "functional"),
    ]  # fmt: skip
    assert found.fields["risk"].text == "LOW\n- [ ] `i`"


def test_fields_are_written_in_many_ways() -> None:
    found = one(
        "### [ ] TODO 1: t\nBefore all.\n__Type__: work\nSteps:\n- a\n**bold** words\n#### Must NOT do\n- b\n"
        "**Must NOT**: c\n**References:** d\n**Inputs**: x: 1\n- `y`\n- z: 2 - two\n  - deep: 3\n"
        "**Outputs**: `o`\n- words of a person\n- `p` - it\n- q (file)\n- none\n- Report - on it\n\n---\n"
        f"{'x' * 20_000}\n"
    )
    assert found.text("") == "Before all."
    assert found.text("steps") == "- a\n**bold** words"
    assert found.text("must not do") == "c\n- b"
    assert found.text("references") == "d"
    assert {name: value.text for name, value in found.inputs.found.items()} == {"x": "1", "z": "2"}
    assert list(found.outputs.found) == ["o", "p", "q"]
    assert found.text("no such", "references") == "d"


def test_what_is_no_todo() -> None:
    found = parse(
        "\ufeff### [x] TODO 1: first\r\n"
        "```\n### [ ] TODO 9: in a fence\n```\n"
        "~~~~ md\n### [ ] TODO 9: in another\n~~~\n### [ ] TODO 9: still\n~~~~\n"
        "- ```\n  ### [ ] TODO 9: in a list\n  ```\n"
        "<!-- ### [ ] TODO 9: in a comment\n### [ ] TODO 9: in it\n-->\n<!-- one line -->\n"
        "`` ` ``` no fence, for it goes on ```\n"
        "The words ### [ ] TODO 9: in a line\n"
        "### [X] TODO Final: last"
    )
    assert [(todo.number, todo.title, todo.ticked) for todo in found.todos] == [
        ("1", "first", True), ("Final", "last", True),
    ]  # fmt: skip
    assert found.problems == ()


def test_what_looks_like_a_todo_is_told() -> None:
    found = parse(
        "# [ ] TODO 1: a\n### TODO 2: b\n###[ ] TODO 3: c\n### [] TODO 4: d\n### [ ] TODO 5 - e\n## TODOs\n"
        "### [ ] todo 6: f\n    ### [ ] TODO 7: indented, and so code\n"
    )
    assert found.todos == ()
    assert [line for line, _ in told(found)] == [1, 2, 3, 4, 5, 7, 8]
    assert "looks like a TODO, but is none" in found.problems[0].message
    assert found.problems[0].remedy == "write '### [ ] TODO 1: title'"


@pytest.mark.parametrize(("text", "what"), [("x\n```\n", "code block"), ("x\n<!--\n", "comment")])
def test_what_never_ends_is_told(text: str, what: str) -> None:
    assert told(parse(text + "### [ ] TODO 1: swallowed\n")) == [
        (2, f"the {what} that begins here never ends")
    ]


def test_numbers_are_unique_without_regard_to_case() -> None:
    found = parse("### [ ] TODO a: x\n### [x] TODO 1: x\n### [ ] TODO A: y\n### [ ] TODO 1: y\n")
    assert told(found) == [
        (3, "TODO A is there already, in line 1"),
        (4, "TODO 1 is there already, in line 2"),
    ]


def test_there_are_not_too_many() -> None:
    found = parse("### [ ] TODO 1: x\n" * 2001)
    assert told(found)[0] == (2001, "more than 2000 TODOs")
    assert len(found.problems) == 1000


def test_a_type_that_nobody_knows_and_names_that_are_there_twice() -> None:
    found = parse("### [ ] TODO 1: x\n**Type**: play\n**Inputs**:\n- `a`: 1\n- `a`: 2\n")
    assert told(found) == [(2, "type 'play' is not known"), (5, "'a' is there already, in line 4")]


def tables(*rows: str, name: str = "Dependency Graph") -> Checklist:
    return parse(f"## {name}\n\n" + "\n".join(rows) + "\n")


def test_what_a_todo_requires_is_written_in_many_ways() -> None:
    found = tables(
        "| TODO | Requires |",
        "|---|:-:|",
        "| 1 | - |",
        "| TODO 2 | (none) |",
        "| todo-3 | `${todo-1.outputs.a}`, TODO 2 (b) and todo_Final |",
        "| **4** | 1, 2 |",
        "| Final | all outputs |",
        "| 5 | the library |",
        "| - | |",
        "| 6",
        "after it",
        "| 7 | 1 |",
    )
    assert found.problems == ()
    assert [
        (row.number, [one.number for one in row.requires], row.all, row.unclear) for row in found.graph.rows
    ] == [
        ("1", [], False, ""),
        ("2", [], False, ""),
        ("3", ["1", "2", "Final"], False, ""),
        ("4", ["1", "2"], False, ""),
        ("Final", [], True, ""),
        ("5", [], False, "the library"),
        ("6", [], False, ""),
    ]
    assert found.graph.rows[2].requires[0].output == "a"


def test_a_table_that_is_none_says_nothing() -> None:
    assert tables("| TODO | Requires |", "| 1 | 2 |").graph.rows == ()
    assert tables("nothing").graph.rows == ()
    assert tables("words", "| TODO | Requires |").graph.rows == ()


@pytest.mark.parametrize(
    ("cell", "when"),
    [("always", "always"), ("`always`", "always"), ("-", "always"), ("Never.", "never"), ("if tests pass", "always"),
     ("`a \\| b`", "a | b"), ("if `test -e x`", "test -e x"), ("", "always")],
)  # fmt: skip
def test_conditions(cell: str, when: str) -> None:
    rows = ("| After TODO | Message | Condition |", "|--|--|--|", f"| 1 | `m` | {cell} |")
    found = tables(*rows, name="4. Commit Strategy (all)")
    assert (found.commits[0].when, found.problems) == (when, ())


def test_files_of_a_commit() -> None:
    rows = (
        "| After TODO | Message | Files |", "|--|--|--|", "| 1 | m  `x` | a.py, b/, a.py |", "| 2 | - | all files |",
        "| 3 | m | `x, y` and `z` |",
    )  # fmt: skip
    found = tables(*rows, name="Commit Strategy")
    assert [(row.message, row.files) for row in found.commits] == [
        ("m x", ("a.py", "b/")), ("", ()), ("m", ("x, y", "z")),
    ]  # fmt: skip


def test_what_is_wrong_in_the_tables() -> None:
    rows = (
        "| After TODO | Message | Files | Condition |",
        "|--|--|--|--|",
        "| - | m | | |",
        "| 1, 2 | m | | |",
        "| 1 | m | `/etc/x`, `../y`, `-z`, `:(top)` | when the moon is full |",
        "| 1 | m | | `a` or `b` |",
    )
    assert told(tables(*rows, name="Commit Strategy")) == [
        (6, "'1, 2' names no TODO"),
        (7, "nobody can tell when 'when the moon is full' holds"),
        (7, "'/etc/x' is no path within the repository"),
        (7, "'../y' is no path within the repository"),
        (7, "'-z' is no path within the repository"),
        (7, "':(top)' is no path within the repository"),
        (8, "nobody can tell when '`a` or `b`' holds"),
        (8, "TODO 1 has a row already, in line 7"),
    ]
    assert told(tables("| A | B |", "|--|--|")) == [
        (3, "the table has no column TODO"), (3, "the table has no column Requires"),
    ]  # fmt: skip


def test_pieces_of_markdown() -> None:
    assert [(span.start, span.end, span.text) for span in spans("a `b` ``c`d`` `e")] == [
        (2, 5, "b"),
        (6, 13, "c`d"),
    ]
    assert bare("`a` and `b`") == "a and b"
    assert cells("| a \\| b | c") == ["a | b", "c"]
    state = Open()
    assert [(line.number, line.at, line.text) for line in lines("a\r\n\nb", state)] == [
        (1, 0, "a"),
        (2, 3, ""),
        (3, 4, "b"),
    ]
    assert (state.what, list(lines(""))) == ("", [])
