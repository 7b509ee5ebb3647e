"""What an evaluation leaves: figures, per-item arrays and vectors, saved as one folder."""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cft.errors import CftError, problems_of
from cft.evaluation.figures import Evaluation
from cft.files import whole_folder, write_atomic

FIGURES = "evaluation.json"
ARRAYS = "items.npz"
HEAT_MAP_PAIRS = 40
NEGATIVES = 20_000  # enough for a smooth histogram at a few hundred bins


@dataclasses.dataclass(frozen=True)
class Similarities:
    """Cross-lingual cosines for plots.

    Attributes:
        positives: each Sanskrit verse with its own English, ``[P]``.
        negatives: Sanskrit verses with English that is not theirs, a seeded sample, ``[M]``.
        matrix: the first pairs in the order of the evaluation set, Sanskrit by English, ``[H, H]``.
    """

    positives: np.ndarray
    negatives: np.ndarray
    matrix: np.ndarray


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """An evaluation with the arrays that it was computed from.

    ``items`` (P pairs, S graded pairs, T triplets, N distinct texts, D dimensions; a section
    without items has no key):

    - ``pairs/sanskrit_id``, ``pairs/english_id`` int64 [P], ``pairs/cosine`` float64 [P]
    - ``sa_en/rank``, ``en_sa/rank`` float64 [P]
    - ``sts/a_id``, ``sts/b_id`` int64 [S], ``sts/score``, ``sts/cosine`` float64 [S]
    - ``triplet/anchor_id``, ``triplet/positive_id``, ``triplet/negative_id`` int64 [T],
      ``triplet/positive``, ``triplet/negative`` (cosines) float64 [T], ``triplet/category`` str [T]
    - ``texts/id`` int64 [N], ``texts/vector`` float32 [N, D]: all texts as documents
    """

    evaluation: Evaluation
    items: dict[str, np.ndarray]
    similarities: Similarities | None

    def save(self, folder: Path) -> Path:
        """Write the folder whole or not at all; the same evaluation again is no error.

        Raises:
            CftError: the folder holds another evaluation.
        """
        figures = self.evaluation.model_dump_json(indent=2) + "\n"
        there = folder / FIGURES
        if there.exists():
            kept = load_result(folder).evaluation.model_copy(update={"seconds": 0.0})
            if kept != self.evaluation.model_copy(update={"seconds": 0.0}):
                raise CftError(f"{there}: holds another evaluation; save to a new folder")
            return folder
        arrays = dict(self.items)
        if self.similarities is not None:
            for field in dataclasses.fields(Similarities):
                arrays[f"similarities/{field.name}"] = getattr(self.similarities, field.name)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with whole_folder(folder) as beside:
            write_atomic(beside / ARRAYS, buffer.getvalue())
            write_atomic(beside / FIGURES, figures)
        return folder


def load_result(folder: Path) -> EvaluationResult:
    """Read what :meth:`EvaluationResult.save` wrote; nothing is unpickled.

    Raises:
        CftError: a file is missing, truncated or not an evaluation.
    """
    try:
        evaluation = Evaluation.model_validate_json((folder / FIGURES).read_bytes())
        with np.load(folder / ARRAYS, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CftError(f"{error.filename}: no such evaluation; evaluate the model first") from None
    except ValidationError as error:
        raise CftError(
            f"{folder / FIGURES}: {problems_of(error)}; delete the folder and evaluate again"
        ) from None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        raise CftError(
            f"{folder / ARRAYS}: not readable ({error}); delete the folder and evaluate again"
        ) from None
    names = [f"similarities/{field.name}" for field in dataclasses.fields(Similarities)]
    similarities = None
    if all(name in arrays for name in names):
        similarities = Similarities(*(arrays.pop(name) for name in names))
    return EvaluationResult(evaluation, arrays, similarities)


def cross_lingual_similarities(
    sanskrit_PD: np.ndarray,
    english_PD: np.ndarray,
    sanskrit_id_P: np.ndarray,
    english_id_P: np.ndarray,
    seed: int,
) -> Similarities:
    """Cosines of right and wrong pairs; unit rows in, at most :data:`NEGATIVES` wrong pairs out.

    A wrong pair is drawn uniformly among pairs of rows; those that share a text with a right
    answer are left out.
    """
    pairs = len(sanskrit_PD)
    if pairs * pairs <= NEGATIVES:
        row_M, column_M = (grid.ravel() for grid in np.divmod(np.arange(pairs * pairs), pairs))
    else:
        drawn_M = np.random.default_rng(seed).choice(pairs * pairs, NEGATIVES, replace=False)
        row_M, column_M = np.divmod(np.sort(drawn_M), pairs)
    right = set(zip(sanskrit_id_P.tolist(), english_id_P.tolist(), strict=True))
    wrong_M = np.array(
        [
            pair not in right
            for pair in zip(
                sanskrit_id_P[row_M].tolist(), english_id_P[column_M].tolist(), strict=True
            )
        ],
        dtype=bool,
    )
    row_M, column_M = row_M[wrong_M], column_M[wrong_M]
    shown = slice(0, HEAT_MAP_PAIRS)
    return Similarities(
        positives=np.einsum("pd,pd->p", sanskrit_PD, english_PD),
        negatives=np.einsum("md,md->m", sanskrit_PD[row_M], english_PD[column_M]),
        matrix=sanskrit_PD[shown] @ english_PD[shown].T,
    )
