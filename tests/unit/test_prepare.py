"""The prepared folder: whole, repeatable, honest, and readable by what follows."""

import functools
import json
from pathlib import Path

import pytest

from cft.corpora import synthetic
from cft.corpora.base import GradedPair, VersePair
from cft.corpora.evalset import EvalSet
from cft.errors import CftError
from cft.files import digest_folder
from cft.recipe import DataRecipe
from cft.text import text_id
from cft.triplets import prepare as module
from cft.triplets.examination import make_evalset, retrieval_pairs
from cft.triplets.manifest import contamination_note
from cft.triplets.prepare import (
    EVALUATION_SET,
    load_manifest,
    load_triplets,
    prepare,
    training_texts,
)
from cft.triplets.splits import EpicSplit, VerseSplit

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module", autouse=True)
def _generated_once():
    """The same corpora as ever, but each generated once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("epic", "verses"):
            patch.setattr(synthetic, name, functools.cache(getattr(synthetic, name)))
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return prepare(DataRecipe(), tmp_path_factory.mktemp("prepared") / "data")


def all_texts(folder: Path) -> set[str]:
    parts = [load_triplets(folder, stage) for stage in ("stage1", "stage2")]
    return {text for part in parts for text in part.texts()} | set(training_texts(folder))


def test_the_embedded_corpora_make_a_whole_folder(prepared: Path):
    assert sorted(path.name for path in prepared.iterdir()) == [
        "eval.json",
        "manifest.json",
        "stage1.arrow",
        "stage2.arrow",
        "texts.arrow",
    ]
    manifest = load_manifest(prepared)
    evalset = EvalSet.load(prepared / EVALUATION_SET)
    stage1, stage2 = load_triplets(prepared, "stage1"), load_triplets(prepared, "stage2")
    assert len(stage1) == manifest["stage1"]["rows"] > 5000
    assert stage1.kinds() == manifest["stage1"]["kinds"]
    assert stage2.kinds() == manifest["stage2"]["kinds"] == manifest["stage2"]["strategies"]
    assert set(stage2.kinds()) == {"A", "B", "C", "D"}
    assert manifest["evaluation"]["pairs"] == len(evalset.pairs) == 400
    assert len(evalset.sts) > 50
    assert {one.category for one in evalset.triplets} == {"cross_lingual", "mono"}
    assert len({one.score for one in evalset.sts}) > 3
    assert manifest["epic"]["chapters"] > 100
    assert "same chapter" in manifest["epic"]["neighbour_rule"]


def test_no_evaluation_text_is_trained_on(prepared: Path):
    trained = {text_id(text) for text in all_texts(prepared)}
    held_out = [text for _, text in EvalSet.load(prepared / EVALUATION_SET).labelled_texts()]
    assert len(held_out) > 900
    assert not trained & {text_id(text) for text in held_out}


def test_training_texts_are_interlinear_and_in_order(prepared: Path):
    texts = training_texts(prepared)
    assert len(set(texts)) == len(texts)
    rows = {text: row for row, text in enumerate(texts)}
    cross = load_triplets(prepared, "stage1")
    gaps = [
        rows[positive] - rows[anchor]
        for anchor, positive, kind in zip(cross.anchor, cross.positive, cross.kind, strict=True)
        if kind == "cross_lingual"
    ]
    assert set(gaps) == {1}


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(
    prepared: Path, tmp_path: Path
):
    again = prepare(DataRecipe(), tmp_path / "again")
    assert digest_folder(again) == digest_folder(prepared)
    other = prepare(DataRecipe(seed=1), tmp_path / "other")
    assert digest_folder(other) != digest_folder(prepared)


def test_settings_are_obeyed(tmp_path: Path):
    recipe = DataRecipe(
        num_rows=500, triplet_types="mono_sa", strategies=["C"], eval_pairs=50, min_distance=30
    )
    folder = prepare(recipe, tmp_path / "data")
    assert set(load_triplets(folder, "stage1").kinds()) == {"mono_sa"}
    assert set(load_triplets(folder, "stage2").kinds()) == {"C"}
    assert len(EvalSet.load(folder / EVALUATION_SET).pairs) == 50
    assert load_manifest(folder)["epic"]["rows"]["train"] == 500


def test_a_leak_stops_the_run_and_leaves_nothing(tmp_path: Path, monkeypatch):
    real = module.epic_triplets

    def leaking(pairs, *args):
        epic, _ = module.load_corpora(DataRecipe())
        return real([*pairs, *epic.splits["test"][:1]], *args)

    monkeypatch.setattr(module, "epic_triplets", leaking)
    with pytest.raises(CftError, match=r"training rows hold its texts \(stage1\.\w+ row \d+ is "):
        prepare(DataRecipe(eval_pairs=5000), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_leak_into_the_backbone_texts_is_one_too(tmp_path: Path, monkeypatch):
    epic, _ = module.load_corpora(DataRecipe())
    planted = epic.splits["test"][0].english
    real = module._documents
    monkeypatch.setattr(module, "_documents", lambda pairs: [*real(pairs), planted])
    with pytest.raises(CftError, match=r"\(training_texts row \d+ is pairs\[\d+\].english"):
        prepare(DataRecipe(eval_pairs=5000), tmp_path / "data")


def test_all_verses_are_trained_on_only_where_a_leak_is_allowed(prepared: Path, tmp_path: Path):
    with pytest.raises(CftError, match=r"stage2\.\w+ row \d+ is .*--allow-leak, which marks"):
        prepare(DataRecipe(all_verses=True), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    folder = prepare(DataRecipe(all_verses=True, allow_leak=True), tmp_path / "data")
    manifest = load_manifest(folder)
    assert manifest["contaminated"] is True
    (leak,) = manifest["leaks"]
    assert manifest["contaminated_rows"] == leak["rows"] > 50
    assert leak["named"][0].startswith("stage2.anchor row ")
    note = contamination_note(manifest)
    assert note is not None
    assert f"{leak['rows']} training rows" in note
    # What is evaluated stays the same: only the training differs.
    assert (folder / EVALUATION_SET).read_bytes() == (prepared / EVALUATION_SET).read_bytes()
    clean = load_manifest(prepared)
    assert clean["contaminated"] is False
    assert (clean["contaminated_rows"], clean["leaks"]) == (0, [])
    assert contamination_note(clean) is None


def test_named_evaluation_sets_are_guarded_too(prepared: Path, tmp_path: Path):
    trained = load_triplets(prepared, "stage1").anchor[7]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"text_a": trained, "text_b": "anything", "label": 1}]))
    recipe = DataRecipe(eval_sets=[str(path)])
    with pytest.raises(CftError, match=r"set mine\.json: \d+ training rows .* is \[0\]\.text_a"):
        prepare(recipe, tmp_path / "data")
    allowed = recipe.model_copy(update={"allow_leak": True})
    manifest = load_manifest(prepare(allowed, tmp_path / "data"))
    assert [one["evalset"] for one in manifest["leaks"]] == ["mine.json"]
    assert manifest["guarded"]["mine.json"]["texts"] == 2
    assert str(tmp_path) not in json.dumps(manifest)
    path.write_text(json.dumps([{"text_a": "unseen", "text_b": "anything", "label": 1}]))
    assert load_manifest(prepare(recipe, tmp_path / "clean"))["contaminated"] is False


def test_stage_1_may_train_on_nli(tmp_path: Path):
    path = tmp_path / "nli.tsv"
    lines = [f"A man walks {n}.\tSomeone walks {n}.\tNobody walks {n}." for n in range(300)]
    path.write_text("\n".join(["sent0\tsent1\thard_neg", *lines, lines[0]]))
    folder = prepare(DataRecipe(nli=str(path)), tmp_path / "data")
    stage1 = load_triplets(folder, "stage1")
    assert stage1.kinds() == {"nli": 300}
    assert (stage1.anchor[4], stage1.positive[4]) == ("A man walks 4.", "Someone walks 4.")
    assert load_triplets(folder, "stage2").kinds().keys() == {"A", "B", "C", "D"}
    manifest = load_manifest(folder)
    assert manifest["nli"]["dropped"]["duplicate"] == 1
    assert set(manifest["nli"]["source"]) == {"nli.tsv"}
    assert str(tmp_path) not in json.dumps(manifest)
    # A nano backbone has to know their words.
    assert set(stage1.texts()) <= set(training_texts(folder))


def test_refusals_of_a_corpus_too_small(tmp_path: Path):
    with pytest.raises(CftError, match="150 training rows leave no hard negative at distance 100"):
        prepare(DataRecipe(num_rows=150), tmp_path / "data")
    (tmp_path / "in").mkdir()
    for name, text in (("sn", "रामः वनं {} गच्छति\n"), ("en", "Rama goes {} times\n")):
        for split, count in (("train", 250), ("test", 9)):
            lines = [text.format(f"{split} {n}") for n in range(count)]
            (tmp_path / "in" / f"{split}.{name}").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(CftError, match="9 held-out pairs with distinct texts, fewer than 10"):
        prepare(DataRecipe(itihasa=str(tmp_path / "in")), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_is_not_there_is_named(prepared: Path, tmp_path: Path):
    with pytest.raises(CftError, match="stage 'stage3': unknown; name one of stage1, stage2"):
        load_triplets(prepared, "stage3")
    with pytest.raises(CftError, match=r"texts\.arrow: cannot be mapped"):
        training_texts(tmp_path)
    with pytest.raises(CftError, match=r"manifest\.json: no such manifest"):
        load_manifest(tmp_path)
    with pytest.raises(CftError, match=r"eval\.json: no such evaluation set"):
        EvalSet.load(tmp_path / "eval.json")


def test_retrieval_pairs_have_distinct_texts_on_both_sides():
    held_out = [VersePair(f"sa {n // 2}", f"en {n // 3}", None, n) for n in range(60)]
    pairs = retrieval_pairs(held_out, 400, seed=0)
    assert len(pairs) >= 20
    assert len({pair.sanskrit for pair in pairs}) == len({pair.english for pair in pairs})
    assert len({pair.sanskrit for pair in pairs}) == len(pairs)
    assert retrieval_pairs(held_out, 5, seed=0) == retrieval_pairs(held_out, 5, seed=0)
    assert len(retrieval_pairs(held_out, 5, seed=0)) == 5


def test_evaluation_triplets_take_their_negatives_from_other_groups():
    verses = [VersePair(f"sa {n}", f"en {n}", None, n) for n in range(6)]
    group_of = {text: v.row // 2 for v in verses for text in (v.sanskrit, v.english)}
    split = VerseSplit(
        train=[],
        held_out=verses,
        train_similarity=[],
        held_out_similarity=[("sa 0", "sa 1"), ("sa 2", "en 2"), ("en 4", "en 5")],
        held_out_dissimilarity=[("sa 0", "sa 5"), ("a recipe", "sa 0")],
        held_out_graded=[1],
        group_of=group_of,
        rule="",
    )
    epic = EpicSplit([], [VersePair(f"p {n}", f"q {n}", None, n) for n in range(12)], "", {})
    plain = make_evalset("x", epic, split, [], 400, 0)
    mono = [one for one in plain.triplets if one.category == "mono"]
    assert [(one.anchor, one.positive) for one in mono] == [("sa 0", "sa 1"), ("en 4", "en 5")]
    assert mono[0].negative == "sa 5"  # its dissimilar partner in the same language
    assert mono[1].negative.startswith("en ")
    assert len(plain.triplets) == 2 + 6
    for one in plain.triplets:
        assert group_of[one.negative] not in {group_of[one.anchor], group_of[one.positive]}
    assert [(one.a, one.score) for one in plain.sts] == [
        ("sa 0", 1),
        ("sa 2", 1),
        ("en 4", 1),
        ("sa 0", 0),
        ("a recipe", 0),
    ]
    scored = [GradedPair("a", "b", 1), GradedPair("c", "d", 4)]
    graded = make_evalset("x", epic, split, scored, 400, 0)
    assert [(one.a, one.b, one.score) for one in graded.sts] == [("c", "d", 4)]


def test_an_evaluation_set_survives_its_file(prepared: Path, tmp_path: Path):
    evalset = EvalSet.load(prepared / EVALUATION_SET)
    evalset.save(tmp_path / "eval.json")
    assert EvalSet.load(tmp_path / "eval.json") == evalset
    (tmp_path / "eval.json").write_text('{"name": "x", "sts": [{"a": "b"}]}', encoding="utf-8")
    with pytest.raises(CftError, match=r"eval\.json: sts\.0\.b: Field required \(2 problems\)"):
        EvalSet.load(tmp_path / "eval.json")


if REAL.is_dir():

    def test_real_data_is_held_out_too(tmp_path: Path):
        recipe = DataRecipe(
            itihasa=str(REAL / "itihasa"), vbt=str(REAL / "vbt" / "vbt.json"), num_rows=2000
        )
        folder = prepare(recipe, tmp_path / "data")
        manifest = load_manifest(folder)
        evalset = EvalSet.load(folder / EVALUATION_SET)
        assert len(evalset.pairs) == 400
        assert {one.score for one in evalset.sts} == {0, 1}
        assert manifest["epic"]["held_out_rule"] == "the corpus's own dev split"
        assert manifest["verses"]["source"].keys() == {"vbt.json"}
        assert str(REAL) not in (folder / "manifest.json").read_text(encoding="utf-8")
        trained = all_texts(folder)
        assert not trained & {text for _, text in evalset.labelled_texts()}
