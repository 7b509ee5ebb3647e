"""The bricks of a page that needs nothing but itself: escaped text, tables, inline pictures.

A :class:`Safe` string is markup; every other string is text and is escaped where it enters markup,
so that a verse or the name of a model can never become markup by accident.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from cft.evaluation.report.style import STYLE
from cft.text import has_devanagari

# The page may draw its own pictures and its own style, and fetch nothing at all.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'"


_SCALE = 0.58  # 150 dots an inch become letters of the size of the text around


class Safe(str):
    """Markup, put into a page as it is."""


def escaped(value: object) -> Safe:
    """A value as markup: :class:`Safe` strings stay, all else is escaped."""
    return value if isinstance(value, Safe) else Safe(html.escape(str(value)))


def element(name: str, *content: object, **attributes: str) -> Safe:
    """``element("td", "a < b", klass="x")`` -> ``<td class="x">a &lt; b</td>``."""
    written = "".join(
        f' {"class" if key == "klass" else key}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Safe(f"<{name}{written}>{joined(content)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Safe:
    """Parts one after the other, each escaped unless it is markup."""
    return Safe(between.join(escaped(part) for part in parts))


def verse(text: str) -> Safe:
    """A text of the corpus in its language, which chooses the font and how lines may break."""
    sanskrit = has_devanagari(text)
    return element("span", text, lang="sa" if sanskrit else "en", klass="sa" if sanskrit else "en")


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Iterable[int] = (),
    klass: str = "",
) -> Safe:
    """A table that scrolls by itself where the window is narrow.

    Args:
        head: titles of the columns.
        rows: cells, as many as titles.
        numbers: columns that hold numbers and are set flush right.
        klass: class of the table.
    """
    right = set(numbers)

    def line(kind: str, cells: Sequence[object]) -> Safe:
        return element(
            "tr",
            *(
                element(kind, cell, klass="n" if place in right else "")
                for place, cell in enumerate(cells)
            ),
        )

    body = joined((line("td", row) for row in rows), "\n")
    whole = element(
        "table", element("thead", line("th", head)), element("tbody", body), klass=klass
    )
    return element("div", whole, klass="scroll")


def picture(path: Path, caption: str) -> Safe:
    """A PNG file inside the page, with its caption as its description."""
    content = path.read_bytes()
    # The header of a PNG file: width and height, shown at one scale, so that all letters are alike.
    width = round(int.from_bytes(content[16:20], "big") * _SCALE)
    data = base64.b64encode(content).decode()
    image = Safe(
        f'<img alt="{html.escape(caption)}" width="{width}" src="data:image/png;base64,{data}">'
    )
    return element("figure", image, element("figcaption", caption))


def folded(title: object, content: object, opened: bool = False) -> Safe:
    """Content behind a line that opens and closes it."""
    whole = element("details", element("summary", title), content)
    return Safe(whole.replace("<details>", "<details open>", 1)) if opened else whole


def section(title: str, *content: object, anchor: str = "") -> Safe:
    """A part of the page under its heading."""
    return element("section", element("h2", title), *content, id=anchor)


def page(title: str, *content: object) -> str:
    """The whole document, which loads nothing from anywhere."""
    body = joined(content, "\n")
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # A browser asks for a favicon of its own accord unless the page has one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
