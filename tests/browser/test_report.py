"""The report as a browser shows it: nothing fetched, nothing refused, Devanagari shaped."""

from pathlib import Path

import pytest
from PIL import Image

from cft.evaluation.report.page import write_report
from cft.evaluation.report.texts import report_texts
from tests.browser.chromium import Browser, browser, needs_chromium
from tests.report import answering, lexical, trika

pytestmark = [pytest.mark.browser, needs_chromium]

# Width in pixels of a text in the font of the page's Sanskrit.
WIDTH = """(() => {
  const one = document.createElement("span");
  one.className = "sa"; one.style.whiteSpace = "nowrap"; one.textContent = %r;
  document.body.append(one);
  const width = one.getBoundingClientRect().width;
  one.remove();
  return width;
})()"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    results = {"base": lexical(), "tuned": answering()}
    return write_report(results, report_texts(trika()), tmp_path_factory.mktemp("page")).as_uri()


@pytest.fixture(scope="module")
def page(address):
    with browser((1200, 900)) as page:
        page.page.goto(address)
        yield page


def test_nothing_but_the_page_itself_is_asked_for(page: Browser, address: str):
    assert page.requests[0] == address
    assert all(one.startswith("data:") for one in page.requests[1:])
    assert page.messages == []


def test_every_picture_is_decoded(page: Browser):
    sizes = page.page.evaluate("[...document.images].map(one => [one.complete, one.naturalWidth])")
    assert len(sizes) == 7
    assert all(complete and width > 400 for complete, width in sizes)


def test_devanagari_comes_from_a_devanagari_font_and_is_shaped(page: Browser):
    fonts = page.fonts("details[open] span.sa")
    assert fonts
    assert all("Devanagari" in name or "Sanskrit" in name for name in fonts), fonts
    # A conjunct is narrower than its letters held apart by a zero-width non-joiner.
    for joined in ("क्ष", "ज्ञ", "त्र", "श्र"):
        apart = joined.replace("\u094d", "\u094d\u200c")
        assert page.page.evaluate(WIDTH % joined) < page.page.evaluate(WIDTH % apart)
    # A vowel sign has no width of its own above its letter, and no dotted circle.
    assert page.page.evaluate(WIDTH % "के") == pytest.approx(page.page.evaluate(WIDTH % "क"), abs=1)


def test_the_page_is_light_and_wide_tables_do_not_widen_it(page: Browser, tmp_path: Path):
    assert (
        page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    for width in (1200, 420):
        shot = page.screenshot(tmp_path / f"{width}.png", width, 900)
        across = page.page.evaluate("document.documentElement.scrollWidth")
        assert across <= width
        with Image.open(shot) as image:
            assert image.size == (width, 900)
            assert image.convert("L").getpixel((width - 2, 450)) > 240
