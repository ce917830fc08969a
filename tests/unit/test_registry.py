import importlib.metadata
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.errors import SupervisorError, UsageError
from daplug_supervisor.testing import check_worker
from daplug_supervisor.workers import registry
from daplug_supervisor.workers.cli.worker import CliWorker
from daplug_supervisor.workers.command import CommandWorker
from daplug_supervisor.workers.executor import ExecutorWorker
from daplug_supervisor.workers.settings import Settings

SETTINGS = Settings(target="/repo")
ROOT = Path(__file__).parents[2]


def install(
    monkeypatch: pytest.MonkeyPatch, place: Path, points: str, source: str = "", name: str = "their-package"
) -> None:
    """Put a package with entry points on the path, as an installer would."""
    metadata = place / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[daplug_supervisor.workers]\n{points}\n")
    (place / "their_module.py").write_text(source)
    monkeypatch.delitem(sys.modules, "their_module", raising=False)
    monkeypatch.syspath_prepend(str(place))


def test_the_built_in_names_load_without_scanning_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(**_: object) -> None:
        raise AssertionError("entry points were scanned")

    monkeypatch.setattr(registry, "entry_points", scan)
    assert isinstance(registry.load("cli", SETTINGS), CliWorker)
    assert isinstance(registry.load("command", SETTINGS), CommandWorker)
    assert isinstance(registry.load("executor", SETTINGS), ExecutorWorker)


def test_the_package_names_its_own_workers() -> None:
    points = importlib.metadata.entry_points(group=registry.GROUP)
    assert {point.name for point in points} >= set(registry.BUILT_IN)
    assert points["cli"].load() is CliWorker
    assert points["command"].load() is CommandWorker
    assert points["executor"].load() is ExecutorWorker
    assert set(registry.known()) >= set(registry.BUILT_IN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "executer",
            r"there is no worker 'executer'; did you mean 'executor'\? Known workers: .*command, executor",
        ),
        ("qqq", r"there is no worker 'qqq'\. Known workers: "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.load(name, SETTINGS)


def test_an_example_worker_is_found_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "worker"))
    install(monkeypatch, tmp_path, "script = script_worker:ScriptWorker", name="example-script-worker")
    worker = registry.load("script", SETTINGS)
    bundle = Bundle(
        run="r",
        task="t",
        number=1,
        token="secret",
        directory="/state",
        target="/repo",
        cwd="/repo",
        spec=Task(prompt="1"),
        assignment=Assignment("mine", "script", "mine", None, None),
        prompt_file="/state/prompt.md",
        options={"script": "/opt/agent"},
    )
    check_worker(worker, bundle)
    assert worker.command(bundle).argv == ("/opt/agent", "/state/prompt.md")
    assert "script" in registry.known()
    assert worker.problems([Assignment("mine", "script", "mine", "codex", None)]) == [
        "provider mine: this worker has no models; remove `cli`"
    ]


def test_the_example_s_metadata_names_its_class() -> None:
    text = (ROOT / "examples" / "worker" / "pyproject.toml").read_text()
    assert '[project.entry-points."daplug_supervisor.workers"]\nscript = "script_worker:ScriptWorker"' in text
    assert "ScriptWorker" in runpy.run_path(str(ROOT / "examples" / "worker" / "script_worker.py"))


def test_the_guide_shows_the_example_as_it_is_and_its_check_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "howto" / "workers.md").read_text()
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "worker"))
    shown: dict[str, Any] = {}
    exec(guide.rpartition("```python\n")[2].partition("```")[0], shown)
    shown["test_contract"]()
    for name in ("pyproject.toml", "script_worker.py"):
        assert (ROOT / "examples" / "worker" / name).read_text().strip() in guide


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nosuch_module_at_all",
            "cannot be loaded: ModuleNotFoundError: No module named 'nosuch_module_at_",
        ),
        ("", "cannot be loaded: AttributeError: "),
        ("Theirs = 3", "cannot be loaded: TypeError: 'int' object is not callable"),
        ("class Theirs: pass", r"cannot be loaded: TypeError: Theirs\(\) takes no arguments"),
        ("def Theirs(settings): raise OSError('no\\nroom')", "cannot be loaded: OSError: no room"),
        (
            "def Theirs(settings): return 3",
            "is not a worker: it has no problems, command, outcome, output_wanted",
        ),
        (
            "class Theirs:\n def __init__(self, _): self.output_wanted = 0\n command = outcome = len",
            "is not a worker: it has no problems$",
        ),
    ],
)
def test_a_broken_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, message: str
) -> None:
    install(monkeypatch, tmp_path, "theirs = their_module:Theirs", source)
    blame = r"the worker 'theirs' of their-package \(their_module:Theirs\) "
    with pytest.raises(UsageError, match=blame + message):
        registry.load("theirs", SETTINGS)


def test_an_error_of_ours_passes_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = "from daplug_supervisor.errors import BusyError\ndef Theirs(_): raise BusyError('licence')"
    install(monkeypatch, tmp_path, "theirs = their_module:Theirs", source)
    with pytest.raises(SupervisorError, match=r"^licence$"):
        registry.load("theirs", SETTINGS)


def test_a_name_claimed_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "a", "theirs = a:A", name="package-a")
    install(monkeypatch, tmp_path / "b", "theirs = b:B", name="package-b")
    with pytest.raises(UsageError, match=r"more than one package: package-a \(a:A\), package-b \(b:B\)"):
        registry.load("theirs", SETTINGS)


def test_an_entry_point_without_a_distribution_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("theirs", "nosuch_module_at_all:A", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    with pytest.raises(UsageError, match="of an unknown distribution"):
        registry.load("theirs", SETTINGS)
