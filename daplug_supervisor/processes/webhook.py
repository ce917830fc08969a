"""One POST of JSON, bounded in time. Where it goes is a secret: of an address only scheme and host are ever said."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Mapping
from http.client import HTTPException
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from urllib.request import Request

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_OK, _ELSEWHERE = range(200, 300), range(300, 400)
_PASSING = frozenset({408, 425, 429, *range(500, 600)})
_NOT_REFUSED = "cannot be used as an address: it must begin with http:// or https://"


class PostError(Exception):
    """It was not taken. `passing`: another try may help."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def resolved(written: str, environ: Mapping[str, str]) -> str:
    """The address that a plan means: as it is written, or as a variable has it (``$NAME``).

    Raises:
        PostError: there is none that could be used.
    """
    variable = _VARIABLE.fullmatch(written)
    name = (variable[1] or variable[2]) if variable else ""
    address = environ.get(name, "").strip() if variable else written
    if variable and not address:
        raise PostError(f"the variable {name} is not set")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not address.isprintable() or " " in address:
        raise PostError(f"{f'what {name} says' if name else 'it'} {_NOT_REFUSED}")
    return address


def shown(address: str) -> str:
    """Scheme and host of an address: all of it that may be said."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}"


def post(address: str, body: bytes, seconds: float) -> None:
    """Send JSON, and wait for the status of the answer; the rest of it is not read, and redirects are not followed.

    Raises:
        PostError: it was not taken in this time, or not at all.
    """
    answers: SimpleQueue[PostError | None] = SimpleQueue()

    def send() -> None:
        try:
            answers.put(_send(address, body, seconds))
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not hurt a run, nor say the address)
            answers.put(_said(error))

    # A thread that nobody waits for longer than this: names may take minutes to be looked up, answers for ever.
    threading.Thread(target=send, name="webhook", daemon=True).start()
    try:
        wrong = answers.get(timeout=seconds)
    except Empty:
        raise PostError(f"no answer within {seconds:.3g} s", passing=True) from None
    if wrong is not None:
        raise wrong


def _send(address: str, body: bytes, seconds: float) -> PostError | None:
    from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener  # noqa: PLC0415 (slow to import)

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            """Nobody but the one that the plan names gets to know what happens here."""

    parts = urlsplit(address)
    opener = build_opener(Stay, *([ProxyHandler({})] if _is_loopback(parts.hostname or "") else []))
    with opener.open(_request(parts, body), timeout=seconds) as answer:
        status = answer.status
    return None if status in _OK else _refused(status)


def _request(parts: SplitResult, body: bytes) -> Request:
    from base64 import b64encode  # noqa: PLC0415 (as above)
    from urllib.request import Request  # noqa: PLC0415

    headers = {"Content-Type": "application/json", "User-Agent": "daplug-supervisor"}
    login, _, host = parts.netloc.rpartition("@")
    if login:
        headers["Authorization"] = f"Basic {b64encode(unquote(login).encode()).decode()}"
    url = parts._replace(netloc=host, fragment="").geturl()
    return Request(url, data=body, headers=headers, method="POST")  # noqa: S310 (http and https only, see `resolved`)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(status: int) -> PostError:
    more = ", and redirects are not followed" if status in _ELSEWHERE else ""
    return PostError(f"it answered {status}{more}", passing=status in _PASSING)


def _said(error: Exception) -> PostError:
    """What went wrong, in words of ours: those of the libraries may quote the address."""
    status = getattr(error, "code", None)
    if isinstance(status, int):
        return _refused(status)
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return PostError("no answer in time", passing=True)
    if isinstance(reason, socket.gaierror):
        return PostError("its host is not known", passing=True)
    if isinstance(reason, OSError):
        return PostError(reason.strerror or type(reason).__name__, passing=True)
    if isinstance(error, HTTPException):
        return PostError("it did not answer as a web server does", passing=True)
    return PostError(f"it could not be sent ({type(error).__name__})")
