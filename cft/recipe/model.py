"""Settings of the backbone, of the text contract and of the adapter."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cft.recipe.base import FlagPrefix, Settings


class NanoRecipe(Settings):
    """The nano backbone that is trained on the spot when no backbone is given."""

    vocab_size: int = Field(3072, ge=512, le=65536, description="Pieces of its BPE tokenizer.")
    hidden_size: int = Field(256, ge=32, multiple_of=16, description="Width of the model.")
    num_layers: int = Field(2, ge=1, le=64, description="Decoder layers.")
    num_heads: int = Field(4, ge=1, le=64, description="Attention heads.")
    max_steps: int = Field(240, ge=1, description="Pre-training optimiser steps.")
    batch_tokens: int = Field(4096, ge=128, description="Tokens of one pre-training step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate.")
    seed: int = Field(7, ge=0, description="Seed of initialisation and order.")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        # Found out by the model itself, after a corpus and a tokenizer have been made for it.
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be an even number for each of num_heads "
                f"({self.num_heads}); 1, 2, 4 or 8 heads suit every width"
            )
        if self.num_heads % max(self.num_heads // 2, 1):
            raise ValueError(
                f"num_heads ({self.num_heads}) must be even, as two share their keys and values"
            )
        return self


class LoraRecipe(Settings):
    """The adapter."""

    r: int = Field(8, ge=1, le=1024, description="Rank of the update.")
    alpha: int = Field(32, ge=1, description="Scale: the update is multiplied by alpha / r.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: list[str] = Field(
        ["q_proj", "v_proj"], min_length=1, description="Linear layers that get an adapter."
    )
    init: Literal["gaussian", "kaiming"] = Field(
        "gaussian", description="Initialisation of A (B starts at zero)."
    )


class ModelRecipe(Settings):
    """The backbone and the text contract that travels with its adapter."""

    backbone: str | None = Field(
        None,
        description="Folder of a local causal LM. Empty: a nano backbone trained on the "
        "training texts.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python files that lie in the backbone's folder. Read them first."
    )
    nano: Annotated[NanoRecipe, FlagPrefix("nano-")] = Field(
        NanoRecipe(), description="The nano backbone."
    )
    max_length: int = Field(150, ge=4, le=32768, description="Tokens of a text, EOS included.")
    pooling: Literal["last", "mean"] = Field(
        "last", description="Which hidden states become the embedding: the EOS token or the mean."
    )
    attention: Literal["causal", "bidirectional"] = Field(
        "causal", description="What a token sees: the texts before it or the whole text."
    )
    query_prompt: str = Field("", description="Put before every anchor and query.")
    document_prompt: str = Field("", description="Put before every positive, negative, document.")
    lora: Annotated[LoraRecipe, FlagPrefix("lora-")] = Field(
        LoraRecipe(), description="The adapter."
    )
