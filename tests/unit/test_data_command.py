"""``cft data itihasa``, ``vbt`` and ``vbt-eval``: files that are whole, honest and say how."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cft.cli import app
from cft.cli.data import VERBS
from cft.errors import CftError
from cft.recipe import DataRecipe
from cft.text import text_id, wording_ids
from cft.triplets.files import read_triplets
from cft.triplets.leaks import find_leaks, guarded_sets

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CHAPTERS, ROWS_EACH = 8, 40


@pytest.fixture
def epic(tmp_path) -> Path:
    """A corpus of chapters in shuffled order, with a dev split that shares texts with train."""
    folder = tmp_path / "epic"
    folder.mkdir()
    order = [3, 0, 6, 1, 7, 2, 5, 4]
    rows = [(chapter, verse) for chapter in order for verse in range(ROWS_EACH)]
    lines = {
        "train.sn": [f"रामः {c} वने {v} चरति ॥" for c, v in rows],
        "train.en": [f"Rama walks in wood {c} for the {v}th time." for c, v in rows],
        "train.chapters.tsv": [f"page {c}\t{v}\tTitle" for c, v in rows],
        "dev.sn": ["सीता जलं पिबति ॥", "रामः 3 वने 5 चरति ॥", "हनुमान् 9 गच्छति ॥"],
        "dev.en": [
            "Sita drinks some water.",
            "He walked there.",
            "Rama walks in wood 0 for the 7th time.",
        ],
    }
    for name, texts in lines.items():
        (folder / name).write_text("".join(f"{one}\n" for one in texts), encoding="utf-8")
    return folder


@pytest.fixture
def vbt(tmp_path) -> Path:
    verses = [{"sanskrit": f"धारणा {n} ॥", "english": f"Practice {n}."} for n in range(40)]
    chained = [[{"verse": n}, {"verse": n + 1}] for n in range(0, 24) if n % 3 != 2]
    content = {
        "verses": verses,
        "similarity_pairs": [*chained, [{"verse": 30}, {"text": "Like breath."}]],
        "dissimilarity_pairs": [[{"verse": n}, {"translation": 39 - n}] for n in range(20)],
        "retrieval_cases": [
            {"query": f"On practice {n}", "relevant_verses": [n, n + 1]} for n in range(0, 38, 2)
        ],
    }
    path = tmp_path / "vbt.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def manifest_of(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.name}.manifest.json").read_text(encoding="utf-8"))


def chapter_and_verse(text: str) -> tuple[int, int]:
    numbers = [int(part.removesuffix("th")) for part in text.split() if part[0].isdigit()]
    return numbers[0], numbers[1]


def test_chapters_are_obeyed_where_they_are_known(epic, tmp_path):
    out = tmp_path / "out" / "t.csv"
    result = data("itihasa", "--itihasa", epic, "--output_csv", out, "--min_distance", "50")
    assert result.exit_code == 0, result.output
    rows = read(out)
    assert list(rows[0]) == ["sent0", "sent1", "hard_neg"]
    mono = [row for row in rows if row["sent1"].startswith("राम")]
    for row in mono:
        anchor, positive = chapter_and_verse(row["sent0"]), chapter_and_verse(row["sent1"])
        assert positive == (anchor[0], anchor[1] + 1)
        assert chapter_and_verse(row["hard_neg"])[0] != anchor[0]
    # Two rows share a side with dev; each takes a verse and two neighbourhoods with it.
    assert len(rows) - len(mono) == CHAPTERS * ROWS_EACH - 2
    assert len(mono) == CHAPTERS * (ROWS_EACH - 1) - 4
    manifest = manifest_of(out)
    assert manifest["dropped"]["shares_a_side_with_held_out"] == 2
    assert manifest["chapters"] == CHAPTERS
    assert manifest["rows"] == len(rows)
    assert "negatives from other chapters" in result.output
    dev = {text_id(line) for side in ("sn", "en")
           for line in (epic / f"dev.{side}").read_text(encoding="utf-8").splitlines()}  # fmt: skip
    assert not dev & {text_id(text) for row in rows for text in row.values()}


def test_the_rule_of_the_original_system_where_chapters_are_unknown_or_when_asked(epic, tmp_path):
    asked, unknown = tmp_path / "asked.csv", tmp_path / "unknown.csv"
    base = ("itihasa", "--itihasa", epic, "--min-distance", 50)
    assert data(*base, "--output-csv", asked, "--rule", "rows").exit_code == 0
    (epic / "train.chapters.tsv").unlink()
    assert data(*base, "--output-csv", unknown).exit_code == 0
    assert asked.read_bytes() == unknown.read_bytes()
    for out in (asked, unknown):
        assert manifest_of(out)["chapters"] is None
        assert "by distance alone" in manifest_of(out)["neighbour_rule"]
    # A positive crosses the border of two chapters wherever two of them meet.
    mono = [row for row in read(asked) if row["sent1"].startswith("राम")]
    crossing = [
        row for row in mono
        if chapter_and_verse(row["sent0"])[0] != chapter_and_verse(row["sent1"])[0]
    ]  # fmt: skip
    assert len(crossing) == CHAPTERS - 1
    refused = data(*base, "--rule", "chapters")
    assert "not every row names its chapter" in str(refused.exception)


def test_the_whole_corpus_gives_two_triplets_a_row(epic, tmp_path):
    out = tmp_path / "t.csv"
    asked = ("--splits", "train", "dev", "--rule", "rows", "--min_distance", 50)
    assert data("itihasa", "--itihasa", epic, "--output_csv", out, *asked).exit_code == 0
    pairs = CHAPTERS * ROWS_EACH + 3
    assert len(read(out)) == 2 * pairs - 2  # the last verse of a split has no next one
    assert manifest_of(out)["splits"] == {"train": CHAPTERS * ROWS_EACH, "dev": 3}
    refused = data("itihasa", "--itihasa", epic, "--splits", "test")
    assert "the corpus has train, dev" in str(refused.exception)


def test_settings_of_the_epic_are_obeyed(epic, tmp_path):
    first, again, other = (tmp_path / name for name in ("1.csv", "2.csv", "3.csv"))
    base = ("itihasa", "--itihasa", epic, "--triplet_types", "mono_sa", "--num_rows", 160,
            "--min_distance", 60)  # fmt: skip
    for path, seed in ((first, 1), (again, 1), (other, 2)):
        assert data(*base, "--seed", seed, "--output_csv", path).exit_code == 0
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    assert manifest_of(first)["kinds"].keys() == {"mono_sa"}
    assert manifest_of(first)["splits"] == {"train": 160}
    # The defaults are those of the original system.
    defaults = DataRecipe()
    assert (defaults.min_distance, defaults.seed, defaults.triplet_types) == (100, 42, "both")
    assert (defaults.n_negs, defaults.strategies) == (3, ["A", "B", "C", "D"])


def test_verses_that_are_evaluated_are_not_trained_on(epic, vbt, tmp_path):
    csv_file, eval_file = tmp_path / "t.csv", tmp_path / "e.json"
    made = data("vbt", "--vbt", vbt, "--itihasa", epic, "--output_csv", csv_file)
    assert made.exit_code == 0, made.output
    evaluated = data("vbt-eval", "--vbt", vbt, "--output", eval_file)
    assert evaluated.exit_code == 0, evaluated.output
    pairs = json.loads(eval_file.read_text(encoding="utf-8"))
    assert {frozenset(one) for one in pairs} == {frozenset(("text_a", "text_b", "label"))}
    assert {one["label"] for one in pairs} == {0, 1}
    retrieval = json.loads((tmp_path / "e_retrieval.json").read_text(encoding="utf-8"))
    assert retrieval["cases"]
    for case in retrieval["cases"]:
        number = int(case["query"].split()[-1])
        documents = [retrieval["documents"][one]["english"] for one in case["relevant"]]
        assert documents == [f"Practice {number}.", f"Practice {number + 1}."]
    rows = read(csv_file)
    columns = {name: wording_ids(row[name] for row in rows) for name in rows[0]}
    guarded = guarded_sets([str(eval_file), str(tmp_path / "e_retrieval.json")])
    assert find_leaks(guarded, columns) == []
    assert manifest_of(csv_file)["held_out_verses"] == len(retrieval["documents"])
    # On all verses there is nothing left that is unseen, and the file says so.
    everything = tmp_path / "all.csv"
    base = ("vbt", "--vbt", vbt, "--itihasa", epic)
    assert data(*base, "--output_csv", everything, "--all_verses").exit_code == 0
    assert manifest_of(everything)["contaminates_every_evaluation_on_these_verses"]
    trained = {name: wording_ids(row[name] for row in read(everything)) for name in rows[0]}
    assert find_leaks(guarded, trained)


def test_counts_of_the_strategies_are_shown(epic, vbt, tmp_path):
    out = tmp_path / "t.csv"
    asked = ("--strategies", "A", "C", "--n_negs", 5, "--all-verses", "--output_csv", out)
    result = data("vbt", "--vbt", vbt, "--itihasa", epic, *asked)
    assert result.exit_code == 0, result.output
    pairs = len(json.loads(vbt.read_text(encoding="utf-8"))["similarity_pairs"])
    assert f"{pairs * 5 + 40} triplets of 40 verses" in result.output
    assert manifest_of(out)["strategies"] == {"A": pairs * 5, "C": 40}
    assert "B pairs within a domain" not in result.output
    assert "domains: 8, of 3, 3, 3, 3, 3, 3, 3, 3 verses" in result.output
    assert "verses in no domain: 16; held out: 0" in result.output
    # As many different negatives for each pair as asked for; the epic's own texts.
    by_pair: dict[tuple[str, str], set[str]] = {}
    for row in read(out)[: pairs * 5]:
        by_pair.setdefault((row["sent0"], row["sent1"]), set()).add(row["hard_neg"])
    assert {len(one) for one in by_pair.values()} == {5}
    assert all("राम" in one or "Rama" in one for group in by_pair.values() for one in group)


def test_a_folder_with_the_module_is_read_as_literals(epic, tmp_path):
    folder = tmp_path / "sa-embedding"
    folder.mkdir()
    lines = ["VBT_CORPUS = [" + ", ".join(f"'धारणा {n} ॥'" for n in range(12)) + "]",
             "VBT_TRANSLATIONS = [" + ", ".join(f"'Practice {n}.'" for n in range(12)) + "]",
             "VBT_SIMILARITY_PAIRS = [(VBT_CORPUS[0], VBT_CORPUS[1])]"]  # fmt: skip
    module = folder / "vbt_corpus.py"
    module.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "t.csv"
    base = ("vbt", "--itihasa", epic, "--all-verses", "--output_csv", out)
    assert data(*base, "--sa_embedding_path", folder).exit_code == 0
    assert manifest_of(out)["strategies"] == {"A": 3, "B": 0, "C": 12, "D": 12}
    module.write_text("\n".join([*lines, "print('run')"]), encoding="utf-8")
    refused = data(*base, "--sa_embedding_path", folder)
    assert f"{module}:4: " in str(refused.exception)
    assert "run" not in refused.stdout
    for wrong in ((), ("--vbt", module, "--sa-embedding-path", folder)):
        assert "give either" in str(data(*base, *wrong).exception)


def test_a_tsv_has_tabs_and_is_read_as_one(epic, tmp_path):
    for name in ("out.csv", "out.tsv"):
        made = data("itihasa", "--itihasa", epic, "--output_csv", tmp_path / name)
        assert made.exit_code == 0, made.output
    assert (tmp_path / "out.tsv").read_text().startswith("sent0\tsent1\thard_neg\n")
    assert read_triplets(tmp_path / "out.tsv") == read_triplets(tmp_path / "out.csv")


def test_nothing_half_written_is_left(epic, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("what stood there before")
    refused = data("itihasa", "--itihasa", epic, "--output_csv", out, "--min_distance", 10_000)
    assert isinstance(refused.exception, CftError)
    assert out.read_text() == "what stood there before"
    other = data("itihasa", "--itihasa", epic, "--output_csv", tmp_path / "out.jsonl")
    assert "out.jsonl: unknown kind of file; name a .csv or .tsv" in str(other.exception)
    below = data("itihasa", "--itihasa", epic, "--min_distance", 50, "--output_csv", out / "t.csv")
    assert "cannot be written" in str(below.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"epic", "out.csv"}


@pytest.mark.parametrize("verb", ["itihasa", "vbt", "vbt-eval", "nli"])
def test_every_verb_helps_with_examples(verb):
    result = data(verb, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert verb in VERBS


if REAL.is_dir():

    def test_the_real_counts(tmp_path):
        base = ("--vbt", REAL / "vbt" / "vbt.json", "--itihasa", REAL / "itihasa")
        out = tmp_path / "vbt.csv"
        assert data("vbt", *base, "--all-verses", "--output_csv", out).exit_code == 0
        manifest = manifest_of(out)
        # 59 pairs with three different negatives each, and both directions of 168 verses.
        assert manifest["strategies"] == {"A": 177, "B": 28, "C": 168, "D": 168}
        assert (manifest["domains"], manifest["rows"]) == (29, 541)
        assert data("vbt", *base, "--output_csv", out).exit_code == 0
        assert manifest_of(out)["held_out_verses"] == 51

    def test_the_real_epic_by_both_rules(tmp_path):
        base = ("itihasa", "--itihasa", REAL / "itihasa")
        honest, whole = tmp_path / "honest.csv", tmp_path / "whole.csv"
        assert data(*base, "--output_csv", honest).exit_code == 0
        assert (
            data(*base, "--output_csv", whole, "--splits", "train,dev", "--rule", "rows").exit_code
            == 0
        )
        assert manifest_of(honest)["rows"] == 147_635
        # Three of them stand there in another print.
        assert manifest_of(honest)["dropped"]["shares_a_side_with_held_out"] == 14
        # Two for each of the 81,309 pairs, less those that the filters drop.
        assert manifest_of(whole)["rows"] == 162_074
