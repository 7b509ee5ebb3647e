"""A model hub on 127.0.0.1: the calls that a client makes, with faults on demand.

Large files live on a second address, as on the real hub, and are reached by a redirect.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = 4096  # bytes from which on a file is stored by its SHA-256, outside git


def git_id(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    files: dict[str, bytes]
    gated: bool = False
    revisions: dict[str, str] = field(default_factory=dict)
    files_at: dict[str, dict[str, bytes]] = field(default_factory=dict)  # other commits

    def __post_init__(self) -> None:
        parts = sorted((name, git_id(content)) for name, content in self.files.items())
        self.sha = hashlib.sha1(repr(parts).encode()).hexdigest()
        self.revisions = {"main": self.sha, self.sha: self.sha, **self.revisions}

    def at(self, commit: str) -> dict[str, bytes]:
        return self.files_at.get(commit, self.files)

    @classmethod
    def of(cls, folder: Path, **more: object) -> "Repository":
        files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        return cls(files, **more)  # type: ignore[arg-type]


@dataclass
class Request:
    method: str
    path: str
    first: int | None  # byte that a Range header asks for
    token: str | None
    storage: bool  # came to the second address


class Hub:
    """Repositories by name, what was asked for, and what shall go wrong."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.cut_after: dict[str, list[int]] = {}  # file: bytes after which a connection breaks
        self.stall_after: dict[str, int] = {}  # file: bytes after which nothing more comes
        self.flip: set[str] = set()  # files whose first byte is wrong on the way
        self.ignore_range = False
        self.token = "hf_secret"
        self.released = threading.Event()
        self.url = self.storage_url = ""

    def of(self, name: str) -> list[Request]:
        """Requests for the bytes of a file."""
        return [
            one for one in self.requests
            if one.method == "GET" and one.path.endswith(f"/{name}")
            and (one.storage or name != "model.safetensors")
        ]  # fmt: skip

    @contextlib.contextmanager
    def serving(self) -> Iterator["Hub"]:
        servers = [self._server(storage) for storage in (False, True)]
        self.url, self.storage_url = (f"http://127.0.0.1:{s.server_port}" for s in servers)
        # Another host than the hub's, or the client would hand it the token with good reason.
        self.storage_url = self.storage_url.replace("127.0.0.1", "localhost")
        threads = [threading.Thread(target=s.serve_forever, args=(0.05,)) for s in servers]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.released.set()
            for server, thread in zip(servers, threads, strict=True):
                server.shutdown()
                thread.join()
                server.server_close()

    def _server(self, storage: bool) -> ThreadingHTTPServer:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub, Handler.storage = hub, storage
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    storage: bool

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else None
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append(Request(self.command, path, first, token, self.storage))
        parts = path.strip("/").split("/")
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            self._describe("/".join(parts[2:4]), "/".join(parts[5:]) or "main")
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), first, token)
        else:
            self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, name: str, revision: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:  # the hub does not tell strangers what exists
            return self._refuse(401, "RepoNotFound")
        if revision not in repository.revisions:
            return self._refuse(404, "RevisionNotFound")
        siblings = []
        for file, content in repository.at(repository.revisions[revision]).items():
            one = {"rfilename": file, "size": len(content), "blobId": git_id(content)}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(one)
        info = {"id": name, "sha": repository.revisions[revision], "siblings": siblings}
        body = json.dumps(info).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _resolve(
        self, name: str, revision: str, file: str, first: int | None, token: str | None
    ) -> None:
        repository = self.hub.repositories[name]
        files = repository.at(revision)
        if file not in files:
            return self._refuse(404, "EntryNotFound")
        content = files[file]
        if len(content) >= LARGE and not self.storage:
            if repository.gated and token != self.hub.token:
                return self._refuse(403 if token else 401, "GatedRepo")
            self.send_response(302)
            self.send_header("Location", self.hub.storage_url + self.path)
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if repository.gated and not self.storage and token != self.hub.token:
            return self._refuse(403 if token else 401, "GatedRepo")
        start = 0 if first is None or self.hub.ignore_range else first
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", revision)
        self.send_header("ETag", f'"{git_id(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            if file in self.hub.flip:
                content = bytes([content[0] ^ 1]) + content[1:]
            self._send(file, content, start)
        return None

    def _send(self, file: str, content: bytes, start: int) -> None:
        cuts = self.hub.cut_after.get(file)
        if cuts:
            self.wfile.write(content[start : cuts.pop(0)])
            self.close_connection = True
        elif file in self.hub.stall_after:
            self.wfile.write(content[start : self.hub.stall_after[file]])
            self.wfile.flush()
            self.hub.released.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(content[start:])


def serve() -> contextlib.AbstractContextManager[Hub]:
    """A hub that runs while the block does."""
    return Hub().serving()
