"""An ntfy server on 127.0.0.1 that keeps what is published to it, with faults on demand.

It takes what the real one takes (https://docs.ntfy.sh/publish/#publish-as-json): a JSON object
posted to the root, with the rest in it or in headers; actions in their JSON or short form.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.processes import until

PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}


@dataclass(frozen=True)
class Notification:
    """One published message, as a phone would show it."""

    topic: str
    title: str
    message: str
    priority: int
    tags: list[str]
    click: str | None
    actions: list[dict[str, str]]
    headers: dict[str, str]

    @property
    def token(self) -> str | None:
        """The bearer token that came with it."""
        given = self.headers.get("authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None

    def url_of(self, label: str) -> str:
        """Where a button leads."""
        (found,) = [one["url"] for one in self.actions if one["label"] == label]
        return found


@dataclass
class Sink:
    """What was published, and how the next requests are answered.

    Attributes:
        statuses: of the next answers in turn; then 200.
        down: every answer is 503 while it is set.
        hang: no answer comes at all while it is set.
        trickle: a byte of an answer now and then, and never the end.
        token: the only token that is let in, where there is one.
    """

    url: str = ""
    received: list[Notification] = field(default_factory=list)
    requests: int = 0
    statuses: list[int] = field(default_factory=list)
    down: bool = False
    hang: bool = False
    trickle: bool = False
    token: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def titled(self, text: str) -> list[Notification]:
        """Notifications whose title holds ``text``."""
        return [one for one in list(self.received) if text in one.title]

    def wait_for(self, text: str, seconds: float = 30.0) -> Notification:
        """The first notification whose title holds ``text``."""
        return until(lambda: next(iter(self.titled(text)), None), seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: Sink

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        sink = self.sink
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sink.requests += 1
        if sink.hang:
            sink.ended.wait(60)
            return
        if sink.trickle:
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not sink.ended.wait(0.2):
                    self.wfile.write(b".")
                    self.wfile.flush()
            return
        status = 503 if sink.down else sink.statuses.pop(0) if sink.statuses else 200
        if sink.token and self.headers.get("Authorization") != f"Bearer {sink.token}":
            status = 401
        if status == 200:
            try:
                sink.received.append(parsed(self.path, dict(self.headers.items()), body))
            except (ValueError, KeyError) as error:
                return self._answer(400, {"code": 40024, "http": 400, "error": str(error)})
            return self._answer(200, {"id": "x", "time": int(time.time()), "event": "message"})
        self._answer(status, {"code": status * 100 + 1, "http": status, "error": "refused"})

    do_PUT = do_POST

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def parsed(path: str, headers: dict[str, str], body: bytes) -> Notification:
    """A request as the server understands it.

    Raises:
        ValueError: it does not.
    """
    if path != "/":
        raise ValueError(f"published to {path}: a message that became a file")
    known = {name.lower(): value for name, value in headers.items()}
    content = json.loads(body)
    tags = content.get("tags") or [tag for tag in known.get("x-tags", "").split(",") if tag]
    return Notification(
        topic=content["topic"],
        title=content.get("title", ""),
        message=content["message"],
        priority=content.get("priority") or PRIORITIES[known.get("x-priority", "default")],
        tags=tags,
        click=known.get("x-click"),
        actions=actions_of(known.get("x-actions", "")),
        headers=known,
    )


def actions_of(header: str) -> list[dict[str, str]]:
    """Buttons: a JSON array, or ``view, LABEL, URL`` with semicolons between them."""
    if header.startswith("["):
        return json.loads(header)
    found = []
    for one in filter(None, header.split(";")):
        action, label, url = (part.strip() for part in one.split(","))
        found.append({"action": action, "label": label, "url": url})
    return found


@contextlib.contextmanager
def serve_ntfy(port: int = 0) -> Iterator[Sink]:
    """A sink that runs while the block does."""
    sink = Sink()
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"sink": sink}))
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield sink
    finally:
        sink.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
