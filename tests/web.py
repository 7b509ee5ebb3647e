"""A web server on 127.0.0.1 that sends files by name, with faults on demand."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """A file and how it is sent.

    Attributes:
        cuts: bytes of the body after which each answer in turn breaks off; then none does.
        stall: bytes of the body after which nothing more comes, until the server ends.
        declared: the size that is told in place of the true one.
        ranges: whether the server goes on in mid-file.
        tagged: whether it sends an entity tag.
        headers: sent on top of the others.
        status: of every answer, where it is not the usual one.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    stall: int | None = None
    declared: int | None = None
    ranges: bool = True
    tagged: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


@dataclass
class Web:
    """Files by path, and the first byte that each request for one has asked for."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, int | None]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.web.tokens.add(self.headers.get("Authorization"))
        page = self.web.pages.get(name)
        if page is None or page.status:
            self.send_response(404 if page is None else page.status or 500)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        tag = f'"{hashlib.md5(page.content).hexdigest()}"'
        first, last = self._range(page, tag)
        if last != 0:
            self.web.asked.append((name, first))
        content = page.content[first or 0 : None if last is None else last + 1]
        size = len(page.content) if page.declared is None else page.declared
        self.send_response(200 if first is None else 206)
        if first is None:
            self.send_header("Content-Length", str(size))
        else:
            end = (size if last is None else last + 1) - 1
            self.send_header("Content-Range", f"bytes {first}-{end}/{size}")
            self.send_header("Content-Length", str(end - first + 1))
        if page.tagged:
            self.send_header("ETag", tag)
        for header, value in page.headers.items():
            self.send_header(header, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(page, content, probe=last == 0)

    def _range(self, page: Page, tag: str) -> tuple[int | None, int | None]:
        asked = self.headers.get("Range")
        if not asked or not page.ranges or self.headers.get("If-Range") not in (None, tag):
            return None, None
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), int(last) if last else None

    def _send(self, page: Page, content: bytes, probe: bool) -> None:
        if not probe and page.cuts:
            self.wfile.write(content[: page.cuts.pop(0)])
        elif not probe and page.stall is not None:
            self.wfile.write(content[: page.stall])
            self.wfile.flush()
            self.web.released.wait(60)
        else:
            self.wfile.write(content)
            self.close_connection = page.declared is not None
            return
        self.close_connection = True


@contextlib.contextmanager
def serve_web() -> Iterator[Web]:
    """A web server that runs while the block does."""
    web = Web()
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield web
    finally:
        web.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
