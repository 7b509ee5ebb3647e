"""A headless Chromium of the system, driven over its DevTools protocol: one page, all requests."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")


def binary() -> str:
    """The browser's program.

    Raises:
        FileNotFoundError: none is installed.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError("no Chromium; install the packages chromium and fonts-noto-core")


class Page:
    """The one page of a browser; ``requests`` are the addresses that it asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.number, self.requests = socket, 0, []
        self.messages: list[str] = []
        self.loaded = False

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._heard(answer)

    def _heard(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] == "Page.loadEventFired":
            self.loaded = True
        elif event["method"] == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])

    def open(self, address: str) -> None:
        """Go to an address and wait until everything on it is loaded."""
        for domain in ("Page", "Network", "Log", "DOM", "CSS"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=address)
        while not self.loaded:
            self._heard(json.loads(self.socket.recv(timeout=60)))

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as plain data."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']['text']}")
        return found["result"].get("value")

    def fonts(self, selector: str) -> dict[str, int]:
        """Fonts that the first match was really drawn with, and how many glyphs each gave."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        fonts = self.send("CSS.getPlatformFontsForNode", nodeId=node)["fonts"]
        return {one["familyName"]: int(one["glyphCount"]) for one in fonts}

    def screenshot(self, path: Path, width: int = 1200, height: int | None = None) -> Path:
        """The page as a PNG file; whole, unless a height is given."""
        self.send("Emulation.setScrollbarsHidden", hidden=True)
        height = height or int(self.value("document.documentElement.scrollHeight"))
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        shot = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@contextlib.contextmanager
def browser(profile: Path, width: int = 1200) -> Iterator[Page]:
    """A browser with an empty profile, ended with the block."""
    command = [
        binary(),
        "--headless=new",
        "--no-sandbox",  # root in a container has no user namespace to make one of
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--window-size={width},900",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(profile, process), max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The web socket of the browser's first page, as soon as it is there."""
    import urllib.request

    written = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            port = int(written.read_text().splitlines()[0])
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise RuntimeError(f"Chromium gave no DevTools address (exit code {process.poll()})")
