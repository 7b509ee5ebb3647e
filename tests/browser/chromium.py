"""The system's Chromium without a window, driven by Playwright: one page and all that it asks."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, NAMES)), reason="no Chromium here (apt install chromium)"
)
SIZE = (1280, 800)
PATIENCE = 60_000.0  # ms; servers share two cores with what is tested
_FLAGS = (
    "--no-sandbox",  # root in a container has no user namespace to make one of
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
)


@dataclass
class Browser:
    """One page.

    Attributes:
        page: as Playwright drives it.
        requests: addresses that it asked for.
        messages: what it complained about on its console.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def fonts(self, selector: str) -> dict[str, int]:
        """Fonts that the first match was really drawn with, and how many glyphs each gave."""
        session = self.page.context.new_cdp_session(self.page)
        try:
            for domain in ("DOM", "CSS"):
                session.send(f"{domain}.enable")
            root = session.send("DOM.getDocument")["root"]["nodeId"]
            found = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})
            fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": found["nodeId"]})
        finally:
            session.detach()
        return {one["familyName"]: int(one["glyphCount"]) for one in fonts["fonts"]}

    def screenshot(self, path: Path, width: int, height: int) -> Path:
        """The page as a PNG file of that size."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.screenshot(path=path)
        return path


@contextlib.contextmanager
def browser(size: tuple[int, int] = SIZE) -> Iterator[Browser]:
    """A browser with an empty profile, ended with the block."""
    path = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            width, height = size
            page = chromium.new_page(
                viewport={"width": width, "height": height}, device_scale_factor=1, locale="en-GB"
            )
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            opened = Browser(page)
            page.on("request", lambda request: opened.requests.append(request.url))
            page.on("console", lambda message: _heard(opened, message.type, message.text))
            page.on("pageerror", lambda error: opened.messages.append(str(error)))
            yield opened
        finally:
            chromium.close()


def _heard(opened: Browser, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        opened.messages.append(text)
