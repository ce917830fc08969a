"""The JSON Schemas of plans, bundles and results: made from the structs, so that they cannot differ from them."""

from __future__ import annotations

from typing import Any

import msgspec

from daplug_supervisor.core.acceptance import Verification
from daplug_supervisor.core.claims import Claim
from daplug_supervisor.core.plan import DURATION_FIELDS, PlanFile
from daplug_supervisor.core.tasker.bundle import TaskBundle
from daplug_supervisor.core.tasker.records import TaskResult

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCHEMAS: dict[str, tuple[type, str]] = {
    "result": (Claim, "what an attempt hands in"),
    "verification": (Verification, "what was found of an attempt's work"),
    "bundle": (TaskBundle, "bundle of a .tasker task"),
    "task-result": (TaskResult, "result of a .tasker task"),
}
"""What there are schemas of beside plans: the struct, and what it is."""

_BLOCKED_BY = "Another name for needs."


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a plan file: durations may be text, `blocked_by` may stand for `needs`."""
    schema = msgspec.json.schema(PlanFile)
    definitions = schema["$defs"]
    for definition in definitions.values():
        for name in DURATION_FIELDS & definition["properties"].keys():
            definition["properties"][name] = _duration(definition["properties"][name])
    task = definitions["Task"]
    needs, prompt = task["properties"]["needs"], task["properties"]["prompt"]
    # An editor reads 012 as a number; the loader takes it as it is written.
    for text in (needs["items"], prompt["anyOf"][0]):
        text["type"] = ["string", "integer"]
    task["properties"]["blocked_by"] = {**needs, "description": _BLOCKED_BY}
    task["not"] = {"required": ["needs", "blocked_by"]}
    # What created tasks take over does not say what is to be done.
    definitions["Created"] = dict(task)
    schema["$defs"]["PlanFile"]["properties"]["created"]["anyOf"][0]["$ref"] = "#/$defs/Created"
    task["oneOf"] = [{"required": [field]} for field in ("prompt", "instructions", "command")]
    return {"$schema": DIALECT, "title": "daplug-supervisor plan", **schema}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one of `SCHEMAS`, or of plans."""
    if name == "plan":
        return json_schema()
    form, title = SCHEMAS[name]
    return {"$schema": DIALECT, "title": f"daplug-supervisor {title}", **msgspec.json.schema(form)}


def _duration(field: dict[str, Any]) -> dict[str, Any]:
    """A duration that may be text: for msgspec it is a number only."""
    kinds = field.get("anyOf", [field])
    number = next(kind for kind in kinds if kind.get("type") == "number")
    number["type"] = ["number", "string"]
    return field
