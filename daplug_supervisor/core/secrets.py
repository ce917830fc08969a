"""What looks like a secret, and texts without any: for the journal, for views and for our own log.

Two things are known: the values of variables whose names say that they are secret, and the shapes of well-known
tokens. Whatever is made of an agent's output passes through a `Mask` before it is kept or shown. A secret of no
known shape that is in no variable of ours cannot be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from msgspec.json import encode

from daplug_supervisor.core.plan import Plan, Provider, Task

STARS: Final = "***"

_SHORTEST = 8
"""Characters of a value that is worth masking: shorter ones would mask words of every text."""

_SHORTEST_LITERAL = 16
"""Characters of a value that cannot be in a plan by chance."""

_PART = 6
"""Characters of a value that was cut by the end of a text, or by its beginning."""

# Expressions are texts here: compiling them costs milliseconds, and most runs have nothing to mask.
_SUSPECT = (
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSW",
    "PASSPHRASE",
    "CREDENTIAL",
    "WEBHOOK",
    "COOKIE",
    "_PAT",
    "_DSN",
)
_SURE = r"(?:^|_)(?:(?:API)?KEY|TOKEN|PASS|PAT)$|(?:^|_)(?:SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(?:_|$)"
_PLACE = ("_FILE", "_PATH", "_DIR", "_SOCK", "_CREDENTIALS")
_ADDRESS_WITH_LOGIN = r"://[^\s/:@]*:([^\s/@]+)@"

# Where a token may begin. Looking for one costs time in proportion to the text only because it begins nowhere else.
_EDGE = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
_TOKENS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # what it is, how it begins (found quickly, whatever the size of the text), what it looks like
    ("an API key", ("sk-",), r"sk-[A-Za-z0-9_-]{20,}"),
    ("a Stripe key", ("sk_live_", "rk_live_", "sk_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
    ("a GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
    ("a GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}"),
    ("an AWS key", ("AKIA", "ASIA"), r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("a Slack token", ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("a Google key", ("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    ("an npm token", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    ("a PyPI token", ("pypi-",), r"pypi-[A-Za-z0-9_-]{30,}"),
    ("a Hugging Face token", ("hf_",), r"hf_[A-Za-z0-9]{30,}"),
    ("a web token", ("eyJ",), r"eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
)
_SIGNS = (
    *(begin for _, begins, _ in _TOKENS for begin in begins),
    *("PRIVATE KEY-----", "earer", "BEARER", "asic", "BASIC", "://"),
    *("KEY=", "TOKEN=", "SECRET=", "PASSWORD=", "PASSWD=", "CREDENTIALS="),
)
"""Of these there is one in every text that holds a secret of a known shape. To look for them is ten times quicker."""

_SURELY_API_KEY = r"sk-(?:ant|proj|or|svcacct)-[A-Za-z0-9_-]{16,}"
_KEY_BEGINS = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
_KEY_ENDS = r"-----END [A-Z0-9 ]*PRIVATE KEY-----"
# Whatever a key may be written with, line breaks in JSON too, but not the line that ends it.
_KEY = rf"{_KEY_BEGINS}(?:[\sA-Za-z0-9+/=\\:,]|-(?!-))*(?:{_KEY_ENDS})?"
_END_OF_KEY = rf"(?m:(?:^[A-Za-z0-9+/=]+[^\S\n]*\n){{0,200}}{_KEY_ENDS})"
_LINE_OF_KEY = r"\s*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: .*)\s*"
_CARRIED = (
    r"(?P<before>\b(?:[Bb]earer|[Bb]asic|BEARER|BASIC)\s+)(?!auth(?:entication|orization)\b)[A-Za-z0-9._~+/=-]{12,}"
    r"|(?P<name>\b[A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)=)(?P<quote>['\"]?)[^\s'\"]{8,}(?P=quote)"
    r"|(?P<user>://[^\s/:@]*:)[^\s/@]+(?=@)"
)


def is_suspect(name: str) -> bool:
    """Whether the name of a variable says that it may hold a secret."""
    upper = name.upper()
    return any(word in upper for word in _SUSPECT)


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable surely holds a secret: by its name, unless its value is a place, a number or very short."""
    long = len(value) >= _SHORTEST and not value.isdecimal()
    return long and re.search(_SURE, name.upper()) is not None and not _is_place(name, value)


def _is_place(name: str, value: str) -> bool:
    return name.upper().endswith(_PLACE) and value.startswith(("/", "~", "./"))


def tokens(text: str) -> Iterator[tuple[int, str]]:
    """Where a text holds a well-known token (its offset), and what that is. Linear, and quick where there is none."""
    for what, begins, shape in (*_TOKENS, ("a private key", ("-----BEGIN ",), _KEY)):
        if any(begin in text for begin in begins):
            for found in re.finditer(shape if shape is _KEY else _EDGE + shape, text):
                if not _is_example(found[0]):
                    yield found.start(), what


def _is_example(token: str) -> bool:
    """Tokens of documents, ``AKIAIOSFODNN7EXAMPLE``, ``ghp_xxxx...``, and words that only begin like one."""
    words = token.startswith("sk-") and not any(character.isdecimal() for character in token)
    return words or "EXAMPLE" in token.upper() or len(set(token)) < 10  # noqa: PLR2004


def secrets_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The values in an environment that are to be masked, each with the name of its variable."""
    found: dict[str, str] = {}
    for name, value in environ.items():
        if len(value) >= _SHORTEST and is_suspect(name) and not _is_place(name, value):
            found.setdefault(value, name)
        if "@" in value and "://" in value:
            for password in re.findall(_ADDRESS_WITH_LOGIN, value):
                if len(password) >= _SHORTEST:
                    found.setdefault(password, name)
    return found


def in_plan(plan: Plan, text: str, environ: Mapping[str, str]) -> list[str]:
    """Which secrets a plan holds (`text`, as JSON), in words: well-known tokens, and values of variables."""
    found = dict.fromkeys(what for _, what in tokens(text))
    for value, name in secrets_of(environ).items():
        by_chance = len(value) < _SHORTEST_LITERAL or value.isalpha() or value.isdecimal()
        if not by_chance and (value in text or encode(value).decode()[1:-1] in text):
            found[f"the value of {name}"] = None
    holders: list[Provider | Task] = [*plan.providers.values(), *plan.tasks.values()]
    for one in holders:
        found.update(
            (f"a value for {name}", None) for name, value in one.env.items() if looks_secret(name, value)
        )
    return list(found)


def _forms(value: str) -> set[str]:
    """How a value may be written: as it is, in JSON, in an address, on one line, and each of its lines."""
    import json  # noqa: PLC0415 (slow to import, as is urllib; runs in which nothing fails do without them)
    from urllib.parse import quote  # noqa: PLC0415

    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value)
    forms = {value, value.strip(), escaped, " ".join(value.split()), quote(value, safe="", errors="replace")}
    for ascii_only in (True, False):
        forms.add(json.dumps(value, ensure_ascii=ascii_only)[1:-1])
    lines = value.splitlines()
    forms.update(line.strip() for line in lines if len(lines) > 1)
    return {form for form in forms if len(form) >= _SHORTEST}


class Mask:
    """Writes ``***`` in place of secrets.

    Args:
        values: secrets whose text is known, beside the shapes that are always looked for.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = tuple(values)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Mask:
        """One that knows the secrets of an environment."""
        return cls(secrets_of(environ))

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        if not text:
            return text
        known, shapes, carried = self._patterns
        if known is not None:
            text = self._without_parts(known.sub(STARS, text))
        if not any(sign in text for sign in _SIGNS):
            return text
        return carried.sub(_stars_behind, shapes.sub(STARS, text))

    @cached_property
    def _written(self) -> list[str]:
        """All forms of all values, the longest first."""
        forms = {form for value in self._values for form in _forms(value)}
        return sorted(forms, key=lambda form: (-len(form), form))

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str] | None, re.Pattern[str], re.Pattern[str]]:
        known = re.compile("|".join(map(re.escape, self._written))) if self._written else None
        # Here a token may stand right behind other text; but many words have the beginning of an API key in them.
        (_, _, api_key), *others = _TOKENS
        shapes = "|".join(
            (_EDGE + api_key, _SURELY_API_KEY, *(shape for _, _, shape in others), _KEY, _END_OF_KEY)
        )
        return known, re.compile(shapes), re.compile(_CARRIED)

    def _without_parts(self, text: str) -> str:
        """The text without a part of a value that was cut off by its end or its beginning."""
        text, dots = (text[:-1], "…") if text.endswith("…") else (text, "")
        for form in self._written:
            for length in range(len(form) - 1, _PART - 1, -1):
                if text.endswith(form[:length]):
                    text = text[:-length] + STARS
                if text.startswith(form[-length:]):
                    text = STARS + text[length:]
        return text + dots

    def within(self, data: Any) -> Any:
        """Plain data (as JSON has it) with every text masked."""
        if isinstance(data, str):
            return self(data)
        if isinstance(data, dict):
            return {self(str(key)): self.within(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.within(value) for value in data]
        return data


def _stars_behind(match: re.Match[str]) -> str:
    return (match["before"] or match["name"] or match["user"]) + STARS


class Lines:
    """A `Mask` for one line after another: a private key is several of them."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._in_key = False

    def __call__(self, line: str) -> str:
        """The next line, without secrets."""
        before = ""
        if self._in_key:
            if re.fullmatch(_LINE_OF_KEY, line):
                return STARS
            end = re.search(_KEY_ENDS, line)
            if end is not None:
                before, line = STARS, line[end.end() :]
        begins = list(re.finditer(_KEY_BEGINS, line))
        self._in_key = bool(begins) and not re.search(_KEY_ENDS, line[begins[-1].end() :])
        return before + self._mask(line)
