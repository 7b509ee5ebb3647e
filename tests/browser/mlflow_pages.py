"""What a person does on the pages of MLflow's UI."""

import re
from collections.abc import Sequence

from playwright.sync_api import Locator, Page, expect


def open_home(page: Page, address: str) -> None:
    """The first page; what would cover others is closed, and the parts for training are chosen."""
    page.goto(address)
    page.get_by_text("Model training", exact=True).first.click()
    assistant = page.locator('[data-component-id="mlflow.assistant.chat_panel.close"]')
    assistant.click()
    expect(assistant).to_have_count(0)


def open_run(page: Page, address: str, experiment: str, run: str, tab: str = "") -> None:
    """A run's page, or one of its tabs."""
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run}" + (f"/{tab}" if tab else ""))


def charts(page: Page, title: str, at_least: int = 1) -> Locator:
    """The drawn charts of the metrics whose names hold ``title``."""
    page.get_by_placeholder("Search metric charts").fill(title)
    drawn = page.locator(".js-plotly-plot")
    expect(drawn.nth(at_least - 1)).to_be_visible()
    return drawn


def chart(page: Page, title: str) -> Locator:
    """The one drawn chart."""
    drawn = charts(page, title)
    expect(drawn).to_have_count(1)
    return drawn


def curve(drawn: Locator) -> tuple[list[float], list[float]]:
    """Steps and values that a chart shows."""
    first = drawn.evaluate("one => [[...one.data[0].x], [...one.data[0].y]]")
    return list(map(float, first[0])), list(map(float, first[1]))


def open_artifact(page: Page, parts: Sequence[str]) -> None:
    """Unfold the folders of a run's artifacts and choose a file."""
    for part in parts:
        page.get_by_text(part, exact=True).first.click()


def open_version(page: Page, address: str, model: str, version: str) -> None:
    """From the list of registered models to one version."""
    page.goto(f"{address}/#/models")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()  # what is new
    page.get_by_role("link", name=model, exact=True).click()
    page.get_by_role("link", name=f"Version {version}", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile(f"Version {version}"))).to_be_visible()
