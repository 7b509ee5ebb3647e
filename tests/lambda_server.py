"""Lambda Cloud's API on 127.0.0.1, with faults on demand; whoever asks too often is refused."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

from tests.lambda_account import EPOCH, NO_CAPACITY, UNKNOWN, Fault, LambdaAccount, Seen, error

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: LambdaAccount

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/api/v1/_clock":
            self.cloud.clock.sleep(float(query["sleep"][0]))
            return self._send(200, repr(self.cloud.clock.now()).encode(), {})
        try:
            self._handle(parts.path.removeprefix("/api/v1"), query)
        except OSError:  # whoever asked has gone
            self.close_connection = True
        except Exception as error:
            self.cloud.crashes.append(repr(error))
            raise

    do_POST = do_GET

    def _handle(self, path: str, query: dict[str, list[str]]) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = json.loads(data) if data else None
        except ValueError:
            body = data
        cloud = self.cloud
        with cloud.lock:
            given = self.headers.get("Authorization", "")
            seen = Seen(cloud.clock.now(), self.command, path, body, given)
            earlier = cloud.requests[-1:], cloud.launches()[-1:]
            cloud.requests.append(seen)
            cloud.hook(seen)
            if given not in (f"Bearer {cloud.key}", f"Basic {basic(cloud.key)}"):
                said = "API key was invalid, expired, or deleted." if given else "No API key."
                return self._json(*error(401, "global/invalid-api-key", said))
            if cloud.paced and (wait := _wait(seen, *earlier)):
                limited = error(429, "global/rate-limited", "Slow down.")
                return self._json(*limited, {"Retry-After": str(wait)})
            fault = cloud.fault_of(seen)
            if fault is None:
                return self._json(*cloud.answer(seen, query))
            status, content = 0, None
            if fault.what == "terminate-noop":
                for name in body["instance_ids"]:
                    cloud.machines[name].noop = True
            if fault.after or fault.what in ("terminate-noop", "repeat-token"):
                status, content = cloud.answer(seen, query)
        self._fail(fault, status, content)

    def _fail(self, fault: Fault, status: int, content: Any) -> None:
        cloud = self.cloud
        match fault.what:
            case "429":
                after = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                self._json(*error(429, "global/rate-limited", "Slow down."), after)
            case "500":
                self._json(*error(500, "global/internal-error", "Something failed."))
            case "error":
                self._json(*error(fault.status, fault.code, fault.message))
            case "capacity":
                self._json(*error(400, NO_CAPACITY, "Not enough capacity."))
            case "terminate-404":
                self._json(*error(404, UNKNOWN, "Specified instance does not exist."))
            case "html":
                self._send(fault.status, HTML, {"Content-Type": "text/html"})
            case "garbage":
                self._send(200, b'{"data": [', {})
            case "redirect":
                self._send(301, b"", {"Location": fault.message})
            case "repeat-token":
                self._json(200, content | {"page_token": "page-0"})
            case "terminate-noop":
                self._json(status, content)
            case "timeout":
                cloud.over.wait(30)
                self.close_connection = True
            case "trickle":
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not cloud.over.wait(0.05):
                        self.wfile.write(b".")
                        self.wfile.flush()
            case "drop":
                self.close_connection = True
            case other:
                raise AssertionError(f"no such fault: {other}")

    def _json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), headers or {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)


def _wait(seen: Seen, earlier: list[Seen], launches: list[Seen]) -> int:
    """Seconds that a request came too early; 0 when it did not."""
    late = [1.0 - (seen.time - one.time) for one in earlier]
    late += [12.0 - (seen.time - one.time) for one in launches if seen.launch]
    return max(0, *(int(one) + 1 if one > 0 else 0 for one in late), 0)


def basic(key: str) -> str:
    """The other way of authentication: the key as a user without a password."""
    return base64.b64encode(f"{key}:".encode()).decode()


@contextlib.contextmanager
def serve_lambda(cloud: LambdaAccount | None = None) -> Iterator[LambdaAccount]:
    """An account that is served while the block runs."""
    cloud = cloud or LambdaAccount()
    handler = type("Handler", (_Handler,), {"cloud": cloud})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_port}/api/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield cloud
    finally:
        cloud.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class RemoteClock:
    """The clock of a server in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def now(self) -> float:
        return self._asked(0.0)

    def time(self) -> float:
        return EPOCH + self.now()

    def sleep(self, seconds: float) -> None:
        self._asked(seconds)

    def _asked(self, seconds: float) -> float:
        request = Request(f"{self.url}/_clock?sleep={seconds!r}", method="GET")
        with urlopen(request, timeout=30) as answer:
            return float(answer.read())
