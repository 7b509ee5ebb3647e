"""Settings of the data."""

from typing import Literal

from pydantic import Field

from cft.recipe.base import Settings

HUB = "hub"  # in place of a path: fetched from the hub


class DataRecipe(Settings):
    """Which texts, and how they become triplets."""

    itihasa: str | None = Field(
        None,
        description="Folder of {train,dev,test}.{sn,en} line-aligned files, with "
        "train.chapters.tsv where known, or `hub`. Empty: the embedded synthetic epic.",
    )
    vbt: str | None = Field(
        None,
        description="VBT corpus: a JSON file or a vbt_corpus.py, read as literals. "
        "Empty: the embedded synthetic verses.",
    )
    nli: str | None = Field(
        None,
        description="English NLI triplets that stage 1 trains on in place of the epic: a CSV or "
        "TSV with sent0, sent1 and hard_neg, or `hub`.",
    )
    num_rows: int | None = Field(
        None, ge=1, description="Read only the first N training rows (verses, NLI rows)."
    )
    triplet_types: Literal["cross_lingual", "mono_sa", "both"] = Field(
        "both", description="Which stage-1 triplets to build."
    )
    min_distance: int = Field(
        100, ge=1, description="A stage-1 hard negative is at least so many rows away."
    )
    strategies: list[Literal["A", "B", "C", "D"]] = Field(
        ["A", "B", "C", "D"],
        min_length=1,
        description="Stage-2 strategies: A similarity pairs, B pairs within a theme, "
        "C Sanskrit to English, D English to Sanskrit.",
    )
    n_negs: int = Field(
        3, ge=1, le=64, description="Hard negatives drawn for each strategy-A pair."
    )
    vbt_held_out: float = Field(
        0.3, gt=0, lt=1, description="Share of the VBT verses, by whole themes, kept unseen."
    )
    eval_pairs: int = Field(
        400, ge=10, description="Held-out verse pairs in the retrieval pool, at most."
    )
    all_verses: bool = Field(
        False,
        description="Stage 2 also trains on the held-out verses. The leak guard stops such a run "
        "unless a leak is allowed.",
    )
    eval_sets: list[str] = Field(
        ["trika"],
        description="Further evaluation sets whose texts may not be trained on: JSON files, Python "
        "modules of plain data, or `trika` for the embedded one.",
    )
    allow_leak: bool = Field(
        False,
        description="Go on although training rows hold texts of an evaluation set; the run and "
        "its model are marked as contaminated.",
    )
    seed: int = Field(42, ge=0, description="Seed of every draw in the data.")
