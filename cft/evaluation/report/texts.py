"""The texts behind the numbers of a suite: what a report calls them and how it colours them."""

import dataclasses
from collections.abc import Mapping

from cft.corpora.evalset import EvalSet
from cft.evaluation.result import SuiteResult
from cft.text import has_devanagari, text_id

SANSKRIT, ENGLISH = "Sanskrit", "English"
_WORKS = {"siva_sutra": "Śiva Sūtra", "spanda_karika": "Spanda Kārikā", "vbt": "Vijñānabhairava"}


@dataclasses.dataclass(frozen=True)
class ReportText:
    """A text of an evaluation set.

    Attributes:
        label: short name, such as ``SS_1_1``.
        group: the work that it belongs to; colours the map.
        language: ``Sanskrit`` or ``English``; shapes the points of the map.
        text: the text itself.
    """

    label: str
    group: str
    language: str
    text: str


def report_texts(evalset: EvalSet) -> dict[int, ReportText]:
    """Every text of the set by its id; a text of a retrieval pair carries the verse's own name.

    ``sources["verses"][n]`` names pair n where the corpus has names; elsewhere its number does.
    """
    found: dict[int, ReportText] = {}
    named = evalset.sources.get("verses")
    verses = named if isinstance(named, list) and len(named) == len(evalset.pairs) else []
    for row, pair in enumerate(evalset.pairs):
        place: Mapping[str, str] = verses[row] if verses else {}
        label = place.get("id", f"pair {row + 1}")
        group = work(place.get("text", evalset.name))
        for side, text in ((SANSKRIT, pair.sanskrit), (ENGLISH, pair.english)):
            found.setdefault(text_id(text), ReportText(label, group, side, text))
    for place_name, text in evalset.labelled_texts():
        language = SANSKRIT if has_devanagari(text) else ENGLISH
        found.setdefault(text_id(text), ReportText(place_name, evalset.name, language, text))
    return found


def texts_of(result: SuiteResult) -> dict[int, ReportText]:
    """The texts that a suite kept in the details of its result, by id; none for other suites."""
    found: dict[int, ReportText] = {}

    def add(label: str, group: str, text: str) -> None:
        language = SANSKRIT if has_devanagari(text) else ENGLISH
        found.setdefault(text_id(text), ReportText(label, group, language, text))

    for one in result.details.get("verses", ()):
        for side in ("sanskrit", "english"):
            add(one["id"], work(one["text"]), one[side])
    for row, one in enumerate(result.details.get("pairs", ())):
        for side in ("text_a", "text_b"):
            add(
                f"pair {row + 1}",
                "similar pairs" if one["label"] else "dissimilar pairs",
                one[side],
            )
    for row, one in enumerate(result.details.get("cases", ())):
        add(f"case {row + 1}", "queries", one["query"])
    return found


def work(name: str) -> str:
    """Title of a work: ``siva_sutra`` -> ``Śiva Sūtra``; unknown names with spaces."""
    return _WORKS.get(name, name.replace("_", " "))
