"""Which environment variables an attempt gets: those of a list, and those that its plan names in `pass_env`.

A shell often holds what is no agent's business: tokens of other services, passwords of databases. So nothing is
handed on that is not on the list. What the agents' own programs log in with is on it, because without it they could
not work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final

from daplug_supervisor.core.secrets import is_suspect

ALLOWED: Final = (
    # who and where
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TMPDIR", "TMP", "TEMP", "XDG_*", "EDITOR", "PAGER",
    # language, time, terminal
    "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "TERMINFO", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "CI",
    # the loader, and how many processors
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "OMP_NUM_THREADS", "CUDA_*", "NVIDIA_*",
    # the network
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "ftp_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "HTTPLIB2_CA_CERTS", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    # git and ssh
    "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GIT_PAGER", "GIT_AUTHOR_*", "GIT_COMMITTER_*", "GIT_SSH", "GIT_SSH_COMMAND",
    "GIT_EDITOR", "GIT_TERMINAL_PROMPT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH", "GNUPGHOME", "GPG_TTY",
    # toolchains
    "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_*", "MAMBA_*", "PYENV_*", "PYTHON*", "PIP_*", "UV_*", "POETRY_*",
    "PDM_*", "NODE_*", "NVM_*", "NPM_CONFIG_*", "npm_config_*", "PNPM_HOME", "YARN_*", "COREPACK_*", "BUN_*", "DENO_*",
    "VOLTA_*", "FNM_*", "CARGO_*", "RUSTUP_*", "RUSTC_*", "RUSTFLAGS", "RUST_*", "GO*", "CGO_*", "JAVA_HOME", "JDK_*",
    "JAVA_OPTS", "MAVEN_*", "M2_HOME", "GRADLE_*", "ANDROID_*", "RBENV_*", "GEM_*", "BUNDLE_*", "RUBY*", "PERL5LIB",
    "PHP_*", "COMPOSER_*", "DOTNET_*", "NIX_*", "ASDF_*", "MISE_*", "SDKMAN_*", "HOMEBREW_*", "CC", "CXX", "CFLAGS",
    "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CMAKE_*", "CCACHE_*", "PKG_CONFIG_*", "DOCKER_HOST", "DOCKER_CONFIG",
    "PLAYWRIGHT_*",
)  # fmt: skip
"""Names, and beginnings of names (with a ``*``), of what every attempt gets, unless a name says that it is a secret."""

AGENTS: Final = (
    "OPENAI_*", "CODEX_*", "ANTHROPIC_*", "CLAUDE_*", "CLAUDECODE", "GEMINI_*", "GOOGLE_*", "OPENCODE_*",
    "OPENROUTER_*", "ZAI_*", "ZHIPU_*", "GLM_*", "DEEPSEEK_*", "MISTRAL_*", "GROQ_*", "XAI_*", "KIMI_*", "MOONSHOT_*",
    "QWEN_*", "DASHSCOPE_*", "SYNTHETIC_*", "LMSTUDIO_*", "OLLAMA_*", "AZURE_OPENAI_*", "VERTEX_*", "API_TIMEOUT_MS",
    "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "IS_SANDBOX", "MCP_*",
    # our own
    "DAPLUG_*",
)  # fmt: skip
"""The families of the agents' own programs, handed on with what they log in with; and our own."""

OF_ONE_ATTEMPT: Final = (
    "DAPLUG_OUTBOX",
    "DAPLUG_RESULT",
    "DAPLUG_INPUTS",
    "DAPLUG_INPUT_*",
    "DAPLUG_REMARKS",
)
"""What an attempt is given for itself: what a supervisor that runs within one starts is told something else."""

_NOBODYS = frozenset({"_", "PWD", "OLDPWD", "SHLVL", "LS_COLORS", "LINES", "COLUMNS"})
"""What a shell keeps for itself: not handed on, and not worth telling anybody."""


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is this name, or its beginning followed by ``*``."""
    names, beginnings = _sorted(tuple(patterns))
    return name in names or name.startswith(beginnings)


def is_handed_on(name: str, patterns: Iterable[str] = ()) -> bool:
    """Whether an attempt gets a variable; `patterns` are those of its plan."""
    if matches(name, OF_ONE_ATTEMPT):
        return matches(name, patterns)
    return matches(name, (*AGENTS, *patterns)) or (matches(name, ALLOWED) and not is_suspect(name))


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that every attempt gets."""
    return {name: value for name, value in environ.items() if is_handed_on(name)}


def named(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """The part of an environment that a plan names."""
    patterns = tuple(patterns)
    return {name: value for name, value in environ.items() if matches(name, patterns)} if patterns else {}


def logins(environ: Iterable[str], wanted: Collection[str]) -> tuple[str, ...]:
    """The names of what only agents have a use for, but for those that are `wanted`: criteria run what agents wrote."""
    return tuple(
        name
        for name in environ
        if matches(name, AGENTS) and not name.startswith("DAPLUG_") and name not in wanted
    )


def held_back(names: Iterable[str], patterns: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of what an attempt does not get, sorted."""
    patterns = tuple(patterns)
    others = (name for name in names if name not in _NOBODYS and not matches(name, OF_ONE_ATTEMPT))
    return tuple(sorted(name for name in others if not is_handed_on(name, patterns)))


@cache
def _sorted(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Whole names, and beginnings."""
    beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return frozenset(pattern for pattern in patterns if not pattern.endswith("*")), beginnings
