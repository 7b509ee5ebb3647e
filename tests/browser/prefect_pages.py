"""What a person does on the pages of Prefect's UI."""

import re
from collections.abc import Mapping

from playwright.sync_api import Page, expect

MINUTES_OF_A_RUN = 40  # the whole pilot on a machine with other work


def log_in(page: Page, address: str, auth: str) -> None:
    """Open the UI of a server that asks for ``user:password``."""
    page.goto(address)
    page.locator("input[type=password]").fill(auth)
    page.get_by_role("button", name="Login").click()
    page.get_by_role("button", name="Not now").click()  # praise of another UI
    expect(page.get_by_role("button", name="Deployments")).to_be_visible()


def open_deployments(page: Page, address: str, search: str = "") -> None:
    """The list of deployments, those that hold ``search``."""
    page.goto(f"{address}/deployments")
    expect(page.get_by_text(re.compile(r"\d+ Deployments?"))).to_be_visible()
    if search:
        page.get_by_placeholder("Search deployments").fill(search)
        expect(page.locator("tbody tr").filter(has_not_text=search)).to_have_count(0)


def open_custom_run(page: Page, flow: str, name: str) -> None:
    """From the list of deployments to the form of one."""
    page.locator("tr", has_text=flow).get_by_role("link", name=name, exact=True).click()
    page.locator("button.run-menu__run-button").click()
    page.get_by_role("button", name="Custom run").click()
    expect(page.get_by_text("Run Name")).to_be_visible()


def fill_form(page: Page, values: Mapping[tuple[str, ...], object]) -> None:
    """Fill fields of the form that the server made of the flow's parameters, by their labels."""
    for labels, value in values.items():
        place = page.locator("form")
        for label in labels:
            heading = f'.schema-form-property__label:text-is("{label} (Optional)")'
            place = place.locator(f".schema-form-property:has(> .p-label__header {heading})")
        field = place.locator("input")
        field.fill(str(value))
        expect(field).to_have_value(str(value))


def submit(page: Page) -> str:
    """Send the form; id of the flow run that it made."""
    with page.expect_response(lambda one: one.url.endswith("/create_flow_run")) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.ok, answer.value.text()
    return str(answer.value.json()["id"])


def watch(page: Page, flow_run: str) -> str:
    """How the deployment's page, where the form led back to, says that a flow run ended.

    Not on the page of the run: its moving graph would take a core from what it shows.
    """
    own = page.locator(".state-list-item", has=page.locator(f"a[href$='{flow_run}']"))
    over = own.locator(".state-badge", has_text=re.compile("Completed|Failed|Crashed|Cancelled"))
    over.first.wait_for(timeout=MINUTES_OF_A_RUN * 60_000)
    return over.first.inner_text().strip()


def open_run(page: Page, address: str, flow_run: str) -> None:
    """The page of a flow run."""
    page.goto(f"{address}/runs/flow-run/{flow_run}")
    expect(page.locator("#artifacts")).to_be_visible()


def open_artifact(page: Page, key: str) -> None:
    """From the page of a flow run to one of its artifacts."""
    page.locator("#artifacts").click()
    # The cards are made when they come into view.
    page.locator("#artifacts-content .p-virtual-scroller__bottom").last.scroll_into_view_if_needed()
    page.locator(".artifact-card", has_text=key).click()
    expect(page).to_have_url(re.compile("/artifacts/artifact/"))
    expect(page.get_by_role("table")).to_be_visible()


def rows(page: Page) -> list[list[str]]:
    """Cells of the table on the page, without its heading."""
    found = page.locator("table tbody tr").all()
    return [[cell.strip() for cell in one.locator("td").all_inner_texts()] for one in found]
