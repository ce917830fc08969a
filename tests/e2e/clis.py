"""The real provider CLIs: installed from npm once, and set up to talk to the mock model."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from model import Model

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "e2e"
SMALL = ("codex", "claude")
"""Those that are installed for the plain tests too."""

ALL = ("codex", "claude", "gemini", "opencode")
OLD_CODEX = "codex-daplug"
"""An older codex, which takes the flags that daplug's executor.py gives it."""

NEW, OLD = "programs", "old-programs"
"""The folders with the CLIs, and with what daplug needs before them."""

_QUICK = ["--no-audit", "--no-fund", "--no-package-lock", "--no-update-notifier", "--loglevel=error"]
_IMPATIENT = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]


class NotInstalledError(Exception):
    """Why there are no CLIs."""


def install(*, everything: bool) -> Path:
    """The folder that has them; they are installed if they are not there, once for all processes.

    Raises:
        NotInstalledError: that did not work.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotInstalledError("npm is not there")
    try:
        return _installed(everything=everything)
    except OSError as error:
        raise NotInstalledError(f"they cannot be installed: {error}") from error


def _installed(*, everything: bool) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_bytes()
    digest = sha256(wanted).hexdigest()[:16]
    every, small = (FOLDER / f"installed-{digest}-{which}" for which in ("all", "small"))
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not every.exists() and (everything or not small.exists()):
            for old in FOLDER.glob("installed-*"):
                old.unlink()
            _npm(wanted, everything=everything)
            (every if everything else small).touch()
    return FOLDER


def _npm(wanted: bytes, *, everything: bool) -> None:
    (FOLDER / "package.json").write_bytes(wanted)
    command = ["npm", "install", *_QUICK, *_IMPATIENT, *([] if everything else ["--omit=dev"])]
    how: dict[str, Any] = {"cwd": FOLDER, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        done = subprocess.run(command, timeout=240, check=False, **how)
    except subprocess.TimeoutExpired:
        raise NotInstalledError("npm install did not end in time") from None
    if done.returncode:
        raise NotInstalledError(f"npm install failed: {done.stderr.strip()[-500:]}")
    # Two versions of codex would both be called so in npm's own folder of programs.
    for package in json.loads(wanted)["dependencies"] | json.loads(wanted)["devDependencies"]:
        _link(FOLDER / "node_modules" / package, FOLDER / (OLD if package == OLD_CODEX else NEW))


def _link(package: Path, folder: Path) -> None:
    about = package / "package.json"
    for name, program in (json.loads(about.read_text())["bin"] if about.exists() else {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(package / program)


def environment(folder: Path, home: Path, model: Model) -> dict[str, str]:
    """What the CLIs are run with: nothing of this machine's own settings, and the mock model as the only provider."""
    node = Path(str(shutil.which("node"))).parent
    return {
        "PATH": f"{folder / NEW}:{node}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "OPENAI_API_KEY": "mock-key",
        "GEMINI_API_KEY": "mock-key",
        "GOOGLE_GEMINI_BASE_URL": model.url("gemini"),
        "ANTHROPIC_API_KEY": "mock-key",
        "ANTHROPIC_BASE_URL": model.url("claude"),
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }


def set_up(home: Path, model: Model) -> None:
    """The CLIs' own settings in a home; they try again once, where they can be told how often."""
    (home / "tmp").mkdir(parents=True)
    _write(
        home / ".gitconfig", "[user]\nname = nobody\nemail = nobody@localhost\n[init]\ndefaultBranch = main\n"
    )
    _write(home / ".codex" / "config.toml", _CODEX.format(url=model.url("codex")))
    _write(home / ".gemini" / "settings.json", json.dumps(_GEMINI))
    options = {"baseURL": f"{model.url('opencode')}/v1", "apiKey": "mock-key"}
    provider = {**_MOCK, "options": options}
    # The second name is of the model that daplug asks opencode for.
    zai = {**provider, "models": {"glm-4.7": _MOCK["models"]["mock-model"]}}
    settings = {**_OPENCODE, "provider": {"mock": provider, "zai": zai}}
    _write(home / ".config" / "opencode" / "opencode.json", json.dumps(settings))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


_CODEX = """
model = "gpt-5.5"
model_provider = "mock"
[model_providers.mock]
name = "mock"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
request_max_retries = 1
stream_max_retries = 1
stream_idle_timeout_ms = 3000
"""

_GEMINI = {
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 2},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
}

_OPENCODE = {
    "autoupdate": False,
    "share": "disabled",
    "snapshot": False,
    "model": "mock/mock-model",
    "small_model": "mock/mock-model",
    "permission": {"*": "allow", "external_directory": "allow", "doom_loop": "allow"},
}

_MOCK: dict[str, Any] = {
    "npm": "@ai-sdk/openai-compatible",
    "name": "Mock",
    "models": {"mock-model": {"name": "Mock model", "limit": {"context": 200000, "output": 8192}}},
}
