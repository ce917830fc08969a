"""A model on loopback that answers the four provider CLIs, and misbehaves when it is told to.

The first part of a base URL, ``http://127.0.0.1:PORT/KEY``, is a key. Each key plays a scenario of its own, which can
be changed at any time: by `Model.play`, or by ``POST /scenario`` with ``{"key": ..., "scenario": ...}``.

- text: a last word, at once. tool: a tool call that writes the file which the prompt names, then a last word. sleep: a
  tool call that takes 297 s.
- 429: with Retry-After 2. 429long: with 3600. 429-N, 500-N: N times, then tool.
- quota-N: used up for N seconds from any request on; or until the time N (seconds since the epoch), then tool.
- 500, 503, 401, 400ctx (the context is too long).
- hold: no answer before the scenario is another. hang: no answer. hangs: none after the first event of one.
- drop: the connection is closed. cut: the same after the first event.

`Model.stop` refuses connections.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from answers import APIS, Api, Body, Part
from refusals import EPOCH, refusal
from replies import LINE, Call, Turn, Work, call, done_by, file_of, folder_of, last_word

_LOOK = 0.05


class Asked(NamedTuple):
    """A request: when, by whom, about which file; what was answered, and whether a tool was called.

    `offered`: there were tools to call, which there are not where a CLI asks for itself, for a title say.
    """

    at: float
    key: str
    file: str
    answer: str
    called: bool
    offered: bool


class Model:
    """The server, in threads of this process. A context: all its connections end with it.

    Attributes:
        asked: the requests that were answered, or that never will be.
        held: the keys that wait for an answer.
        begun: by file, what each conversation about it began with.
        latest: by file, the latest request about it.
    """

    def __init__(self, scenario: str = "tool", port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.held: set[str] = set()
        self.begun: dict[str, list[str]] = {}
        self.latest: dict[str, str] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._default = scenario
        self._scenarios: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        # Looks often whether it is to end.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections, and end those that there are."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.ending.set()
            server.shutdown()
            self._thread.join()
            server.server_close()

    def url(self, key: str) -> str:
        return f"http://127.0.0.1:{self.port}/{key}"

    def play(self, scenario: str, key: str = "") -> None:
        """Change the scenario of a key, or of all."""
        with self._lock:
            self._counts.clear()
            if key:
                self._scenarios[key] = scenario
            else:
                self._default = scenario
                self._scenarios.clear()

    def scenario(self, key: str) -> str:
        return self._scenarios.get(key, self._default)

    def count(self, key: str) -> int:
        """The requests of a key in its present scenario, this one included."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key]

    def tell(self, file: str, *turns: Turn) -> None:
        """What the tool calls about a file write: one turn for each conversation, the last of which is repeated."""
        self._turns[file] = list(turns)

    def turn(self, file: str, raw: str, *, begins: bool) -> Turn | None:
        """The turn of the latest conversation about a file, which may begin now; None if nothing was told."""
        with self._lock:
            begun = self.begun.setdefault(file, [])
            if begins:
                begun.append(raw)
            turns = self._turns.get(file)
            return turns[min(max(1, len(begun)), len(turns)) - 1] if turns else None

    def about(self, file: str) -> list[Asked]:
        """The requests that were about a file."""
        return [asked for asked in self.asked if asked.file == file]

    def called(self, file: str) -> int:
        """How often an agent was told to write a file."""
        return sum(asked.called for asked in self.about(file))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: Model) -> None:
        self.model = model
        self.ending = threading.Event()
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 20

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._json(200, {})

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": "mock-model", "object": "model"}], "models": []})

    def do_POST(self) -> None:
        raw = self._read()
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        path = self.path.partition("?")[0]
        if path == "/scenario":
            self.server.model.play(body["scenario"], body.get("key", ""))
            return self._json(200, {})
        if path.endswith(("count_tokens", ":countTokens")):
            return self._json(200, {"input_tokens": 1, "totalTokens": 1})
        api = next((api for api in APIS if path.endswith(api.ends)), None)
        if api is None:
            return self._json(200, {})
        with contextlib.suppress(OSError):  # the client is gone
            self._play(api, path.split("/")[1], body, raw.decode("utf-8", "replace"))
        return None

    def _read(self) -> bytes:
        raw = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def _play(self, api: Api, key: str, body: Body, raw: str) -> None:
        model = self.server.model
        while model.scenario(key) == "hold":
            model.held.add(key)
            if not self._there():
                return
        base, _, number = model.scenario(key).partition("-")
        over = base in ("429", "500", "503") and number and model.count(key) > int(number)
        if over or (base == "quota" and EPOCH < int(number) <= time.time()):
            base = "tool"
        file = file_of(raw)
        model.latest[file] = raw
        wanted = base in ("tool", "sleep") and bool(file)
        made = self._call(api, body, raw, sleep=base == "sleep") if wanted else None
        model.asked.append(Asked(time.time(), key, file, base, made is not None, bool(api.tools(body))))
        refused = refusal(base, number, api.ends)
        if refused is not None:
            self._json(refused.status, api.refusal(refused), refused.headers)
        elif base == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif base == "hang":
            self._hang()
        elif base in ("hangs", "cut"):
            self._stream([api.begins(body)])
            if base == "hangs":
                self._hang()
        elif body.get("stream") or "stream" in self.path:
            self._stream(api.stream(body, made or last_word(raw)))
        else:
            self._json(200, api.whole(body, made or last_word(raw)))

    def _call(self, api: Api, body: Body, raw: str, *, sleep: bool) -> Call | None:
        """The tool call that comes next in a conversation; None if it is time for the last word."""
        answered, tools = api.answered(body), api.tools(body)
        work = Work(file_of(raw), folder_of(raw), f"{LINE}\n", more=True)
        turn = self.server.model.turn(work.file, raw, begins=bool(tools) and not answered)
        if turn is None:
            return None if answered else call(tools, work, sleep=sleep)
        left = list(turn.items())[answered:]
        return call(tools, done_by(*left[0], work.folder, raw)) if left else None

    def _hang(self) -> None:
        while self._there():
            pass

    def _there(self) -> bool:
        """Whether client and server are still there, a moment later."""
        if self.server.ending.wait(_LOOK):
            return False
        self.connection.settimeout(0.001)
        try:
            return len(self.connection.recv(1, socket.MSG_PEEK)) > 0
        except TimeoutError:
            return True
        except OSError:
            return False

    def _json(self, status: int, said: Any, headers: Mapping[str, str] = {}) -> None:
        data = json.dumps(said).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers})
        self.wfile.write(data)

    def _stream(self, parts: Iterable[Part]) -> None:
        self._head(200, {"Content-Type": "text/event-stream"})
        for part in parts:
            data = part.data if isinstance(part.data, str) else json.dumps(part.data)
            event = f"event: {part.name}\n" if part.name else ""
            self.wfile.write(f"{event}data: {data}\n\n".encode())
            self.wfile.flush()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        # One request a connection: no thread waits for another one when the server ends.
        self.send_header("Connection", "close")
        self.end_headers()


def main() -> None:
    """For trying a CLI by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="?", default="tool")
    parser.add_argument("--port", type=int, default=18080)
    given = parser.parse_args()
    with Model(given.scenario, given.port) as model:
        print(f"listening on {model.url('KEY')}")
        seen = 0
        while True:
            time.sleep(_LOOK)
            for asked in model.asked[seen:]:
                print(*asked, flush=True)
                seen += 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
