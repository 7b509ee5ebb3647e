"""The HTML page: whole, self-contained, nothing unescaped, and what it says follows from arrays."""

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cft.cli.eval.report import command
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.comparison import compare
from cft.evaluation.report import html
from cft.evaluation.report.page import report_page, write_report
from cft.evaluation.report.texts import ReportText, report_texts, texts_of
from cft.evaluation.suites import sanskrit_sts
from cft.evaluation.suites.trika import run as run_trika
from cft.text import text_id
from tests.lexical import RECIPE, TrigramEncoder, evaluation_set
from tests.report import answering, lexical, trika

VOID = {"meta", "link", "img", "br"}


class Parsed(HTMLParser):
    """Checks that every element is closed, and keeps attributes, headings and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.addresses, self.ids, self.headings = [], [], [], []
        self.words = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster", "background"):
                self.addresses.append(value)
            elif name == "id":
                self.ids.append(value)
            assert not name.startswith("on")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        self.words += data


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    results = {"base": lexical(), "tuned": answering()}
    return write_report(
        results,
        report_texts(trika()),
        tmp_path_factory.mktemp("report"),
        differences={"tuned": compare(lexical(), answering(), RECIPE)},
        facts={"Registered": "cft-embedder <3>"},
        notes=["Mind the gap."],
    )


@pytest.fixture(scope="module")
def parsed(report) -> Parsed:
    return Parsed(report.read_text(encoding="utf-8"))


def test_the_page_has_every_part_and_links_to_each(parsed):
    assert parsed.headings == [
        *("Figures", "Differences", "Plots", "Failures", "Neighbours and hubs", "The run")
    ]
    inside = [one[1:] for one in parsed.addresses if one.startswith("#")]
    assert inside == parsed.ids
    for said in ("Mind the gap.", "cft-embedder <3>", "129 verse pairs", "do not overlap"):
        assert said in parsed.words


def test_the_page_needs_nothing_but_itself(report, parsed):
    page = report.read_text(encoding="utf-8")
    assert all(one.startswith(("#", "data:")) for one in parsed.addresses)
    assert "<script" not in page
    assert re.findall(r"url\(|@import|https?://", page) == []
    assert "default-src 'none'" in page


def test_pictures_in_the_page_are_the_files_beside_it(report, parsed):
    inside = [
        base64.b64decode(one.partition("base64,")[2])
        for one in parsed.addresses
        if one.startswith("data:image/png")
    ]
    files = {path.stem: path.read_bytes() for path in (report.parent / "plots").iterdir()}
    assert set(files) == {
        *("headlines", "similarities", "heatmap", "ranks", "map", "lengths", "graded")
    }
    assert sorted(inside) == sorted(files.values())


def test_every_figure_and_difference_is_in_the_tables(parsed):
    words = parsed.words
    for result in (lexical(), answering()):
        for figure in result.figures.values():
            assert f"{figure.value:z.3f} [{figure.low:z.3f}, {figure.high:z.3f}]" in words
    mrr = compare(lexical(), answering(), RECIPE)["mean/mrr"]
    assert (
        f"{mrr.value:+z.3f} [{mrr.low:+z.3f}, {mrr.high:+z.3f}] p {mrr.p_adjusted:.3f} better"
        in words
    )


def test_failures_name_the_verse_and_what_was_put_before_it(parsed):
    result, verses = lexical(), trika().sources["verses"]
    ranks = result.items["sa_en/rank"]
    missed = int((ranks > 1).sum())
    assert f"{missed} of 129 queries do not find their own text first." in parsed.words
    assert "All 129 queries find their own text first." in parsed.words
    worst = int(ranks.argmax())
    assert verses[worst]["id"] in parsed.words
    assert f"{ranks[worst]:g}" in parsed.words
    assert all(pair.sanskrit in parsed.words for pair in trika().pairs)


def text_of_page(results, texts=None, facts=None, notes=()):
    return report_page(results, texts or {}, [], differences={}, facts=facts or {}, notes=notes)


def test_markup_in_names_and_texts_stays_text():
    nasty = '<script>alert("x")</script> & <img src=http://evil.example/x>'
    result = lexical()
    evaluation = result.evaluation.model_copy(update={"model": nasty, "revision": nasty})
    renamed = dataclasses.replace(result, evaluation=evaluation)
    texts = {
        one: dataclasses.replace(text, label=nasty, text=nasty + text.text)
        for one, text in report_texts(trika()).items()
    }
    page = text_of_page({nasty: renamed}, texts, {nasty: nasty}, [nasty])
    parsed = Parsed(page)
    assert "<script" not in page
    assert parsed.words.count(nasty) > 129
    assert all(one.startswith(("#", "data:")) for one in parsed.addresses)


def test_a_contaminated_model_is_called_so():
    evaluation = answering().evaluation.model_copy(update={"contaminated": True})
    results = {
        "base": lexical(),
        "tuned": dataclasses.replace(answering(), evaluation=evaluation),
    }
    words = Parsed(text_of_page(results)).words
    assert "Contaminated: tuned was trained on texts of this suite." in words


def test_a_result_of_figures_alone_is_a_page_without_texts(tmp_path: Path):
    bare = dataclasses.replace(lexical(), items={}, similarities=None)
    path = write_report({"only": bare}, {}, tmp_path)
    assert Parsed(path.read_text(encoding="utf-8")).headings == ["Figures", "Plots", "The run"]
    assert [one.name for one in (tmp_path / "plots").iterdir()] == ["headlines.png"]


def test_nothing_to_report_is_an_error_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(CftError, match="no evaluations; evaluate a model first"):
        write_report({}, {}, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_many_models_are_drawn_some_at_a_time(tmp_path: Path):
    items = {name: lexical().items[name] for name in ("sa_en/rank", "en_sa/rank")}
    ranked = dataclasses.replace(lexical(), items=items, similarities=None)
    results = {f"model {number}": ranked for number in range(4)}
    write_report(results, {}, tmp_path)
    names = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert names == {"headlines", "ranks", "ranks-2"}


def test_texts_carry_their_verse_their_work_and_their_language():
    texts = report_texts(trika())
    first = trika().pairs[0]
    expected = ReportText("SS_1_1", "Śiva Sūtra", "Sanskrit", first.sanskrit)
    assert texts[text_id(first.sanskrit)] == expected
    assert texts[text_id(first.english)].language == "English"
    assert {one.group for one in texts.values()} == {"Śiva Sūtra", "Spanda Kārikā"}
    for _, text in trika().labelled_texts():
        assert texts[text_id(text)].text == text
    unnamed = report_texts(evaluation_set())
    assert unnamed[text_id(evaluation_set().pairs[3].sanskrit)].label == "pair 4"


@pytest.mark.parametrize(("text", "language"), [("चैतन्यमात्मा", "sa"), ("Awareness", "en")])
def test_a_text_carries_its_language(text, language):
    assert html.verse(text) == f'<span lang="{language}" class="{language}">{text}</span>'


def test_the_vectors_of_a_map_are_joined_by_text_and_not_by_row(tmp_path: Path):
    whole = lexical()
    items = {name: whole.items[name] for name in ("texts/id", "texts/vector")}
    result = dataclasses.replace(whole, items=items, similarities=None)
    order = np.random.default_rng(0).permutation(len(result.items["texts/id"]))
    moved = {name: array[order] for name, array in items.items()}
    shuffled = dataclasses.replace(result, items=moved)
    texts = report_texts(trika())
    write_report({"a": result, "b": result}, texts, tmp_path / "same")
    write_report({"a": result, "b": shuffled}, texts, tmp_path / "shuffled")
    first, second = (tmp_path / name / "plots" / "map.png" for name in ("same", "shuffled"))
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The labelled-pairs suite on verses with their own English and with another's."""
    verses = trika().pairs[:14]
    pairs = [{"text_a": one.sanskrit, "text_b": one.english, "label": 1} for one in verses]
    pairs += [
        {"text_a": one.sanskrit, "text_b": other.english, "label": 0}
        for one, other in pairwise(verses)
    ]
    documents = [{"sanskrit": one.sanskrit, "english": one.english} for one in verses]
    cases = [{"query": "what is the self", "relevant": [0]}, {"query": "bondage", "relevant": [1]}]
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    retrieval = json.dumps({"documents": documents, "cases": cases})
    (folder / "pairs_retrieval.json").write_text(retrieval, encoding="utf-8")
    asked = sanskrit_sts.read_sanskrit_sts(folder / "pairs.json")
    return sanskrit_sts.run(TrigramEncoder(), asked, RECIPE, model="trigrams")


def test_labelled_pairs_show_the_worst_of_both_kinds_first(labelled, tmp_path: Path):
    path = write_report({"trigrams": labelled}, texts_of(labelled), tmp_path)
    page = path.read_text(encoding="utf-8")
    parsed = Parsed(page)
    assert parsed.headings == ["Figures", "Plots", "Pairs", "Retrieval cases", "The run"]
    names = {one.stem for one in (tmp_path / "plots").iterdir()}
    assert names == {"headlines", "separation", "map"}
    pairs = labelled.details["pairs"]
    part = page[page.index('id="pairs"') : page.index('id="cases"')]
    written = [float(one) for one in re.findall(r'<td class="n">(-?[\d.]+)</td>', part)]
    expected = [
        *sorted(one["cosine"] for one in pairs if one["label"]),
        *sorted((one["cosine"] for one in pairs if not one["label"]), reverse=True),
    ]
    assert written == pytest.approx(expected, abs=6e-4)
    assert "what is the self" in parsed.words


def test_details_name_the_texts_of_either_suite(labelled):
    texts = texts_of(labelled)
    case = texts[text_id("what is the self")]
    assert (case.label, case.group, case.language) == ("case 1", "queries", "English")
    first = trika().pairs[0]
    assert texts[text_id(first.sanskrit)].group == "similar pairs"
    corpus = load_trika()
    result = run_trika(TrigramEncoder(), corpus, RECIPE, model="trigrams")
    assert texts_of(result) == report_texts(corpus.to_evalset())
    assert texts_of(lexical()) == {}


def test_the_verb_shows_saved_results_on_one_page(labelled, tmp_path: Path):
    for name in ("one", "two"):
        labelled.save(tmp_path / name)
    result = CliRunner().invoke(command, [str(tmp_path / "one"), str(tmp_path / "two")])
    assert result.exit_code == 0, result.output
    page = tmp_path / "one-report" / "report.html"
    assert result.output.strip().endswith(str(page))
    words = Parsed(page.read_text(encoding="utf-8")).words
    assert "trigrams (two) − trigrams (one)" in words
    again = CliRunner().invoke(command, [str(tmp_path / "one")] * 2)
    assert isinstance(again.exception, CftError)
    assert "one result named twice; name each once" in str(again.exception)
