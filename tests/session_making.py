"""For tests: a small ``.tasker`` session on the disk, with a capability map, a physical map and a state machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

INDEX = {
    "version": "1.0",
    "spec_slug": "login",
    "primary_machine": "M1",
    "machines": [
        {
            "id": "M1",
            "name": "Login",
            "level": "steel_thread",
            "files": {"states": "M1.states.json", "transitions": "M1.transitions.json"},
        }
    ],
    "invariants": [{"id": "I1", "rule": "an address has an @"}, {"id": "I2", "rule": "no empty password"}],
}
STATES = {
    "machine_id": "M1",
    "initial_state": "S1",
    "terminal_states": ["S2"],
    "states": [{"id": "S1", "name": "out", "type": "normal"}, {"id": "S2", "name": "in", "type": "success"}],
}
TRANSITIONS = {
    "machine_id": "M1",
    "transitions": [
        {
            "id": "TR1",
            "from_state": "S1",
            "to_state": "S2",
            "trigger": {"type": "event", "name": "login"},
            "guards": [{"condition": "address is valid", "invariant_id": "I1"}],
        },
        {
            "id": "TR2",
            "from_state": "S1",
            "to_state": "S1",
            "trigger": "wrong password",
            "is_failure_path": True,
        },
    ],
}
CAPABILITIES = {
    "version": "1.0",
    "domains": [
        {
            "id": "D1",
            "name": "Accounts",
            "capabilities": [
                {
                    "id": "C1",
                    "name": "Login",
                    "spec_ref": {"quote": "users log in", "location": "1.2"},
                    "behaviors": [
                        {
                            "id": "B1",
                            "name": "check address",
                            "type": "input",
                            "description": "refuse without @",
                        },
                        {"id": "B2", "name": "check password", "type": "process"},
                    ],
                }
            ],
        }
    ],
}
PLACES = {
    "version": "1.0",
    "file_mapping": [
        {"behavior_id": "B1", "files": [{"path": "src/address.py", "action": "create", "layer": "domain"}]},
        {"behavior_id": "B2", "files": [{"path": "src/password.py", "action": "create", "layer": "data"}]},
    ],
}


def task(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    """A task as a planner writes it."""
    return {
        "id": name,
        "name": f"Do {name}",
        "phase": 1,
        "behaviors": ["B1"],
        "files": [{"path": f"src/{name.lower()}.py", "action": "create", "purpose": "it"}],
        "acceptance_criteria": [
            {
                "criterion": f"{name} is there as it should be",
                "verification": f"test -e src/{name.lower()}.py",
            }
        ],
        "dependencies": {"tasks": list(needs), "external": []},
        **more,
    }


def tasks() -> list[dict[str, Any]]:
    """Three: T001, T002 that needs it, T003 on its own."""
    machine = {"transitions_covered": ["TR1"], "guards_enforced": ["I1"], "states_reached": ["S2"]}
    return [
        task(
            "T001",
            behaviors=["B1", "B2"],
            files=[{"path": "src/address.py", "action": "create", "purpose": "addresses"}],
            context={"domain": "Accounts", "steel_thread": True},
            constraints={"language": "python"},
            state_machine=machine,
            acceptance_criteria=[
                {"criterion": "TR1: login leads in", "verification": "test -e src/address.py"},
                {
                    "criterion": "Guard I1 refuses an address without @",
                    "verification": "grep -q @ src/address.py",
                },
            ],
        ),
        task("T002", "T001"),
        task("T003"),
    ]


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def session(target: Path, *given: dict[str, Any], machines: bool = True, **state: Any) -> Path:
    """Make a session in a directory, and return its ``.tasker``."""
    home = target / ".tasker"
    for one in given or tasks():
        write(home / "tasks" / f"{one['id']}.json", one)
    write(home / "artifacts" / "capability-map.json", CAPABILITIES)
    write(home / "artifacts" / "physical-map.json", PLACES)
    if machines:
        write(home / "artifacts" / "fsm" / "index.json", INDEX)
        write(home / "artifacts" / "fsm" / "M1.states.json", STATES)
        write(home / "artifacts" / "fsm" / "M1.transitions.json", TRANSITIONS)
    write(home / "inputs" / "spec.md", "# Login\n")
    write(home / "inputs" / "constraints.md", "Python only.\n")
    set_state(home, **state)
    return home


def set_state(home: Path, statuses: dict[str, str] | None = None, **more: Any) -> None:
    """Write ``state.json``: the status of tasks, and what else is wanted in it."""
    known = {path.stem: "pending" for path in (home / "tasks").iterdir()} | (statuses or {})
    state = {
        "version": "2.0",
        "phase": {"current": "ready", "completed": []},
        "target_dir": str(home.parent),
        "tasks": {name: {"id": name, "status": status} for name, status in known.items()},
        **more,
    }
    write(home / "state.json", state)
