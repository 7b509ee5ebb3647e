"""Settings of the gate: what a challenger must show before it replaces the champion."""

from typing import Literal

from pydantic import Field

from cft.recipe.base import Settings

GateSuite = Literal["held-out", "trika"]
GateSlice = Literal["sa_en", "en_sa", "siva_sutra", "spanda_karika"]
GateMetric = Literal["mrr", "recall_at_1", "recall_at_3", "recall_at_5"]


class Floor(Settings):
    """A figure that no champion may fall below, the first one included."""

    suite: GateSuite = Field("trika", description="Suite of the figure.")
    metric: str = Field(
        "triplet/accuracy",
        min_length=1,
        examples=["mean/mrr", "sts/spearman", "triplet/accuracy"],
        description="Name of the figure, as in every table.",
    )
    at_least: float = Field(0.5, ge=-1, le=1, description="The least value that passes.")


class SliceRule(Settings):
    """A part of a suite that a good mean may not hide."""

    suite: GateSuite = Field("trika", description="Suite of the slice.")
    slice: GateSlice = Field(
        "sa_en",
        description="A direction of retrieval (Sanskrit to English, English to Sanskrit), or a "
        "text of the Trika suite in both directions.",
    )
    metric: GateMetric = Field("mrr", description="Retrieval metric of the slice.")
    tolerated_loss: float = Field(
        0.0,
        ge=0,
        le=1,
        description="A loss is tolerated while its 95% interval reaches this far or less.",
    )


class GateRecipe(Settings):
    """The gate: floors, comparison with the champion, slices."""

    suites: list[GateSuite] = Field(
        ["held-out", "trika"],
        min_length=1,
        description="Suites that both are compared on: the texts that the challenger's data held "
        "out, and the embedded Trika verses.",
    )
    floors: list[Floor] = Field(
        [
            Floor(suite="held-out", metric="mean/mrr", at_least=0.05),
            Floor(suite="held-out", metric="triplet/accuracy", at_least=0.5),
            Floor(suite="trika", metric="triplet/accuracy", at_least=0.5),
        ],
        description="Least values, champion or not.",
    )
    slices: list[SliceRule] = Field(
        [
            SliceRule(suite="held-out", slice="sa_en"),
            SliceRule(suite="held-out", slice="en_sa"),
            SliceRule(suite="trika", slice="sa_en"),
            SliceRule(suite="trika", slice="en_sa"),
            SliceRule(suite="trika", slice="siva_sutra"),
            SliceRule(suite="trika", slice="spanda_karika"),
        ],
        description="Slices in which the challenger may not be worse.",
    )
    tolerated_loss: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The same for the primary metrics: zero refuses every distinguishable loss.",
    )
    required_improvement: float = Field(
        0.0,
        ge=0,
        le=1,
        description="On one primary metric the whole 95% interval of the gain lies above this.",
    )
    bootstrap_samples: int = Field(
        2000, ge=100, le=1_000_000, description="Resamples behind every paired interval."
    )
    intervals: Literal["percentile", "bca"] = Field(
        "percentile", description="How 95% intervals are read; bca corrects for bias and skew."
    )
    seed: int = Field(0, ge=0, description="Seed of the resampling.")
