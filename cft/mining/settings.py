"""Settings of a mining job; each is a flag of ``cft data mine``."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from cft.errors import CftError
from cft.recipe import Settings


class MiningSettings(Settings):
    """Which candidates become the hard negatives of a row."""

    method: Literal["encoder", "bm25"] = Field(
        "encoder", description="What scores a candidate: cosines of an encoder, or shared words."
    )
    num_negatives: int = Field(3, ge=1, le=64, description="Hard negatives of each row.")
    margin: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="A candidate's score is at most (1 - margin) times that of the positive.",
    )
    range_min: int = Field(
        0, ge=0, description="Pass over so many of the best candidates below the margin."
    )
    range_max: int = Field(100, ge=1, le=10_000, description="Take none behind this rank.")
    sampling: Literal["top", "random"] = Field(
        "top", description="Which of these ranks to take: the first, or any by the seed."
    )
    same_script: bool = Field(
        True,
        description="Candidates share the script of the positive: a translation is told from "
        "other translations.",
    )
    shard_size: int = Field(
        16_384, ge=1, description="Candidates in memory at once, and rows between two savings."
    )
    batch_tokens: int = Field(8192, ge=64, description="Tokens encoded at once.")
    seed: int = Field(42, ge=0, description="Seed of random ranks and of the random texts.")

    @model_validator(mode="after")
    def _window_holds_them(self) -> Self:
        if self.range_max - self.range_min < self.num_negatives:
            raise ValueError(
                f"ranks {self.range_min} to {self.range_max} hold fewer than num_negatives "
                f"({self.num_negatives}) candidates"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """The settings that the result depends on, by name."""
        return self.model_dump(exclude={"shard_size", "batch_tokens"})


def mining_settings(values: Mapping[str, Any]) -> MiningSettings:
    """Settings from plain values; None stands for the default.

    Raises:
        CftError: naming the field, what is wrong and the value that was given.
    """
    try:
        return MiningSettings.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"{one['loc'][0]}: {one['msg']} (got {one['input']!r})" if one["loc"] else one["msg"]
            for one in error.errors()
        )
        raise CftError(f"cft data mine: {problems}; give another value") from None
