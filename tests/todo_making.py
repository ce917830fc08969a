"""For tests of a PLAN.md: examples, and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daplug_supervisor.core.plan import Plan
from daplug_supervisor.formats.imported import Imported
from daplug_supervisor.formats.todos import checklist
from daplug_supervisor.formats.todos.checklist import Finalize

FINALIZE = Finalize(
    rest=("true", "rest"), report=("true", "report"), begin=("true", "begin"), complete=("true", "complete")
)

EXAMPLE = """\
# Three parts

## Dependency Graph

| TODO | Requires (Inputs) | Produces (Outputs) | Type |
|------|-------------------|--------------------|------|
| 1 | - | `config_path` (file) | work |
| 2 | `todo-1.config_path` | `api_module` (file) | work |
| 3 | - | - | work |

## Commit Strategy

| After TODO | Message | Files | Condition |
|------------|---------|-------|-----------|
| 1 | `feat(config): add it` | `config/*`, `src/config.py` | always |
| 3 | `feat: utils` | `src/utils.py` | `test -s src/utils.py` |

---

## TODOs

### [ ] TODO 1: Config setup

**Type**: `work`

**Required Tools**: (none)

**Inputs**: (none - first task)

**Outputs**:
- `config_path` (file): `./config/app.json` - The configuration

**Steps**:
- [ ] Write the file
- [ ] File exists

**Must NOT do**:
- Do not touch the API

**References**:
- `src/types.py:10-30` - What it holds

**Acceptance Criteria**:

*Functional:*
- [ ] File exists: `./config/app.json`
- [ ] It names the service: `grep -q service config/app.json`
- [ ] Reads well

*Static:*
- [ ] `python3 -m json.tool config/app.json` → valid JSON

*Runtime:*
- [ ] `python3 -m app --version` prints "1.0"

---

### [ ] TODO 2: API

**Type**: work

**Inputs**:
- `config_path` (file): `${todo-1.outputs.config_path}` - Made by TODO 1

**Outputs**:
- `api_module` (file): `src/api.py`

**Steps**:
- [ ] Read `${todo-1.outputs.config_path}`

**Acceptance Criteria**:

*Functional:*
- [ ] File exists: `./config/app.json`

### [ ] TODO 3: Utils

**Type**: verification (read-only)

**Steps**:
- [ ] Look
"""


def project(folder: Path, text: str | bytes = EXAMPLE, name: str = "three-parts") -> Path:
    """A PLAN.md in a project."""
    path = folder / ".dev" / "specs" / name / "PLAN.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes = EXAMPLE, **options: Any) -> Imported:
    """The plan of a PLAN.md in a project."""
    options.setdefault("finalize", FINALIZE)
    return checklist.read(project(folder, text), folder, **options)


def plan(folder: Path, text: str | bytes = EXAMPLE, **options: Any) -> Plan:
    return read(folder, text, **options).plan
