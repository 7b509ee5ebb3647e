"""The evaluation set: held-out texts in one JSON file, whatever corpus they came from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cft.errors import CftError, problems_of
from cft.files import write_json
from cft.recipe import Settings


class EvalPair(Settings):
    """A verse and its translation: a row of the retrieval pool, in both directions."""

    sanskrit: str = Field(min_length=1, description="The verse.")
    english: str = Field(min_length=1, description="Its translation.")


class EvalSts(Settings):
    """Two texts and how close their meanings are."""

    a: str = Field(min_length=1, description="One text.")
    b: str = Field(min_length=1, description="The other text.")
    score: float = Field(
        ge=0, le=5, description="0 unrelated to 5 the same, or 1 similar and 0 dissimilar."
    )


class EvalTriplet(Settings):
    """An anchor that should lie closer to its positive than to its negative."""

    anchor: str = Field(min_length=1, description="The query.")
    positive: str = Field(min_length=1, description="A text of like meaning.")
    negative: str = Field(min_length=1, description="A text of unlike meaning.")
    category: str = Field(min_length=1, description="Kind of triplet, such as cross_lingual.")


class EvalSet(Settings):
    """Held-out texts that no training row may touch."""

    name: str = Field(min_length=1, description="Name in tables and in MLflow.")
    pairs: list[EvalPair] = Field(
        [], description="Cross-lingual retrieval: texts are distinct on both sides."
    )
    sts: list[EvalSts] = Field([], description="Semantic textual similarity.")
    triplets: list[EvalTriplet] = Field([], description="Triplet accuracy and margin.")
    sources: dict[str, Any] = Field({}, description="What each part was made of.")

    def labelled_texts(self) -> Iterator[tuple[str, str]]:
        """Every text with its place in the set, such as ``("pairs[3].english", text)``."""
        for part in ("pairs", "sts", "triplets"):
            for row, one in enumerate(getattr(self, part)):
                for field in type(one).model_fields:
                    if field not in ("score", "category"):
                        yield f"{part}[{row}].{field}", getattr(one, field)

    def save(self, path: Path) -> None:
        """Write the set as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "EvalSet":
        """Read a set that :meth:`save` wrote.

        Raises:
            CftError: the file is missing, is not JSON, or an entry has a wrong or unknown field.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CftError(f"{path}: no such evaluation set; prepare the data first") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CftError(f"{path}: not valid JSON ({error}); prepare the data again") from None
        except ValidationError as error:
            raise CftError(f"{path}: {problems_of(error)}; mend the entry") from None
