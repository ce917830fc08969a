"""The JSON Schema says what the loader accepts."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import yaml

from daplug_supervisor.core.plan import Defaults, Loop, Plan, PlanFile, Provider, Retry, Task
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.formats.plans.schema import DIALECT, SCHEMAS, json_schema, schema_of

EXAMPLES = [
    "tasks: {a: {command: [x]}}",
    """
version: 1
name: all
timeout: 1h30m
on_failure: halt
providers:
  codex: {model: codex, parallel: 2, cli: codex, variant: high, fallback: [gemini], env: {A: b}}
  mine: {options: {x: [1]}}
defaults: {provider: codex, timeout: 90, retry: {attempts: 2, backoff: 5s, max_backoff: 2.5}, sandbox: dev}
tasks:
  a:
    title: A
    prompt: 5
    loop: {max_iterations: 2, completion_marker: DONE}
    sandbox: true
    on_conflict: reuse
    labels: [x]
  b: {blocked_by: [a], instructions: text, timeout: null, priority: -3, estimate: 45m}
  c: {needs: [a, b], command: [make, all], cwd: /, owner: me, grace: 0}
""",
]
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def fits(value: Any, schema: Any, definitions: Any) -> Any:  # noqa: PLR0911 - one return a keyword
    """Whether a value fits the part of JSON Schema that we use."""
    if "$ref" in schema:
        return fits(value, definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "anyOf" in schema:
        return any(fits(value, one, definitions) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "type" not in schema:
        return True
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return False
    if isinstance(value, str):
        return (
            len(value) >= schema.get("minLength", 0)
            and re.search(schema.get("pattern", ""), value) is not None
        )
    if isinstance(value, list):
        return all(fits(one, schema["items"], definitions) for one in value)
    if isinstance(value, dict):
        return fits_object(value, schema, definitions)
    return schema.get("minimum", value) <= (value or 0) <= schema.get("maximum", value) if value else True


def fits_object(value: Any, schema: Any, definitions: Any) -> Any:
    required = all(key in value for key in schema.get("required", ()))
    one_of = sum(all(key in value for key in one["required"]) for one in schema.get("oneOf", ()))
    neither = "not" in schema and all(key in value for key in schema["not"]["required"])
    if not required or neither or ("oneOf" in schema and one_of != 1):
        return False
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, one in value.items():
        if key not in known and other is False:
            return False
        if not fits(one, known.get(key, other if isinstance(other, dict) else {}), definitions):
            return False
    return True


def accepted(value: Any) -> Any:
    schema = json_schema()
    return fits(value, schema, schema["$defs"])


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_fit_the_schema_and_load(text: Any) -> None:
    assert accepted(yaml.safe_load(text))
    assert planyaml.loads(text.encode(), file="x.yaml", default_name="x", processors=1).tasks


@pytest.mark.parametrize("plan", [PlanFile, Plan])
def test_a_complete_plan_is_a_plan_file_too(plan: Any) -> None:
    read = planyaml.loads(EXAMPLES[1].encode(), file="x.yaml", default_name="x", processors=1)
    again = msgspec.json.encode(msgspec.convert(msgspec.to_builtins(read), plan))
    assert accepted(json.loads(again))
    assert planyaml.loads(again, file="x.json", default_name="x", processors=1) == read


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "tasks: {a: {}}",
        "tasks: {a: {comand: [x]}}",
        "tasks: {a: {command: x}}",
        "tasks: {a: {command: [x], prompt: y}}",
        "tasks: {a: {command: [x], needs: [], blocked_by: []}}",
        "tasks: {a: {command: [x], timeout: soon}}",
        "tasks: {a: {command: [x], timeout: [1]}}",
        "tasks: {a: {command: [x], on_conflict: maybe}}",
        "providers: {p: {parallel: 0.5}}\ntasks: {a: {command: [x]}}",
    ],
)
def test_what_the_loader_refuses_does_not_fit(text: Any) -> None:
    assert not accepted(yaml.safe_load(text))


def test_every_field_is_described_by_its_struct() -> None:
    schema = json_schema()
    assert schema["$schema"] == DIALECT
    json.dumps(schema)
    for struct in (PlanFile, Defaults, Task, Provider, Retry, Loop):
        definition = schema["$defs"][struct.__name__]
        aliases = {"blocked_by"} if struct is Task else set()
        assert definition["properties"].keys() == {*struct.__struct_fields__, *aliases}
        assert definition["additionalProperties"] is False
        assert definition["description"]


@pytest.mark.parametrize("name", ["plan", *SCHEMAS])
def test_every_form_has_a_schema(name: str) -> None:
    found = schema_of(name)
    assert found["$schema"] == DIALECT
    assert found["title"].startswith("daplug-supervisor ")
    json.dumps(found)
