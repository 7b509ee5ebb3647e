"""How long the texts of a dataset are: as its store counted them, or counted now on a sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cft.mining.dataset import Dataset
from cft.model.text_contract import TextContract
from cft.text import normalise, text_ids
from cft.triplets.manifest import token_lengths

SAMPLE_ROWS = 5000  # of every part: tens of thousands of texts, tokenised in seconds


@dataclass(frozen=True)
class Lengths:
    """Histograms over the same bins.

    Attributes:
        unit: ``tokens``, or ``words`` where no tokenizer is known.
        counted: which texts were counted.
        summaries: by role, as :func:`cft.triplets.manifest.token_lengths` gives them.
    """

    unit: str
    counted: str
    summaries: dict[str, dict[str, Any]]

    @property
    def edges(self) -> list[int]:
        """Bin n counts the lengths from ``edges[n]`` up to, not including, ``edges[n + 1]``."""
        return max((one["histogram"]["edges"] for one in self.summaries.values()), key=len)

    @property
    def histograms(self) -> dict[str, list[int]]:
        """Counts of each role over :attr:`edges`."""
        return {name: one["histogram"]["counts"] for name, one in self.summaries.items()}


def lengths_of(
    dataset: Dataset, tokenizer: Any = None, contract: TextContract | None = None, seed: int = 0
) -> Lengths:
    """Lengths that the dataset's store has counted, else of a sample of its texts.

    Args:
        dataset: any.
        tokenizer: counts tokens under ``contract``; None counts words between spaces.
        contract: given with a tokenizer.
        seed: of the sample.
    """
    stored = dataset.manifest.get("store", {}).get("token_lengths", {})
    stored = {role: one for role, one in stored.items() if "histogram" in one}
    if stored:
        return Lengths("tokens", "all texts of the store", stored)
    samples = [part.sample(SAMPLE_ROWS, seed) for part in dataset.parts]
    texts = [text for sample in samples for text in sample.texts()]
    _, first_U = np.unique(text_ids(texts), return_index=True)
    texts = [normalise(texts[row]) for row in first_U.tolist()]
    rows = sum(map(len, samples))
    counted = f"the {len(texts):,} distinct texts of {rows:,} rows"
    if tokenizer is None or contract is None:
        words_U = np.array([text.count(" ") + 1 for text in texts])
        return Lengths("words", counted, {"text": token_lengths(words_U, int(words_U.max()))})
    tokens_U = np.array([len(one) for one in contract.tokenize(tokenizer, texts)])
    return Lengths("tokens", counted, {"text": token_lengths(tokens_U, contract.max_length)})
