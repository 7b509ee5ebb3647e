"""What a suite leaves: figures, per-item arrays, vectors and details, saved as one folder."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cft.errors import CftError, problems_of
from cft.evaluation.figures import Evaluation, Figure
from cft.files import whole_folder, write_atomic, write_json

FIGURES = "evaluation.json"
ARRAYS = "items.npz"
DETAILS = "details.json"
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
class SuiteResult:
    """One encoder on one suite: the evaluation with the arrays that it was computed from.

    ``details`` is what a person reads and no figure needs (failures, nearest neighbours, names of
    items): plain JSON, described by the suite that makes it.

    ``items`` (P pairs, S graded pairs, T triplets, N distinct texts, D dimensions; a section
    without items has no key):

    - ``pairs/sanskrit_id``, ``pairs/english_id`` int64 [P], ``pairs/cosine`` float64 [P];
      ``pairs/cosine_back``, of the English as query, differs where prompts do
    - ``pairs/sanskrit_length``, ``pairs/english_length`` (characters) int64 [P]
    - ``sa_en/rank``, ``en_sa/rank`` float64 [P]; and for both ways, of Q distinct queries and M
      distinct documents: ``sa_en/query_id`` int64 [Q], ``sa_en/document_id``,
      ``sa_en/document_length``, ``sa_en/occurrences`` (k-occurrences) int64 [M] and
      ``sa_en/neighbours`` (rows of the documents, the nearest first) int64 [Q, K] with
      ``sa_en/neighbour_cosine`` float32 [Q, K]
    - ``sts/a_id``, ``sts/b_id`` int64 [S], ``sts/score``, ``sts/cosine`` float64 [S],
      ``sts/languages`` (``sa-sa``, ``sa-en`` or ``en-en``) str [S]
    - ``triplet/anchor_id``, ``triplet/positive_id``, ``triplet/negative_id`` int64 [T],
      ``triplet/positive``, ``triplet/negative`` (cosines) float64 [T], ``triplet/category`` str [T]
    - ``texts/id`` int64 [N], ``texts/vector`` float32 [N, D]: all texts as documents, with
      ``texts/language`` str [N] and, each text among the others, ``texts/neighbours``,
      ``texts/occurrences``, ``texts/document_id`` and ``texts/document_length`` as above
    - ``drift/cosine``, ``drift/neighbours`` float64 [N], where a base was given
    - ``separation/a_id``, ``separation/b_id`` int64 [L], ``separation/cosine`` float64 [L],
      ``separation/similar`` bool [L]: L labelled pairs
    - ``cases/query_id`` int64 [C], ``cases/relevant`` int64 [E, 2] (case, document),
      ``cases_sa/rank``, ``cases_en/rank`` float64 [C]: C retrieval cases
    """

    evaluation: Evaluation
    items: dict[str, np.ndarray]
    similarities: Similarities | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.evaluation.suite

    @property
    def model(self) -> str:
        """Name of the encoder."""
        return self.evaluation.model

    @property
    def revision(self) -> str:
        """Digest of the encoder's weights; empty where it has none."""
        return self.evaluation.revision

    @property
    def figures(self) -> dict[str, Figure]:
        """Figures with their intervals, by metric name."""
        return self.evaluation.figures

    @property
    def contaminated(self) -> bool:
        """Whether the encoder was trained on texts of the suite."""
        return self.evaluation.contaminated

    def save(self, folder: Path) -> Path:
        """Write the folder whole or not at all; the same evaluation again is no error.

        Raises:
            CftError: the folder holds another evaluation, or anything else.
        """
        figures = self.evaluation.model_dump_json(indent=2) + "\n"
        there = folder / FIGURES
        if there.exists():
            kept = load_result(folder).evaluation.model_copy(update={"seconds": 0.0})
            if kept != self.evaluation.model_copy(update={"seconds": 0.0}):
                raise CftError(f"{there}: holds another evaluation; save to a new folder")
            return folder
        require_free(folder)
        if folder.is_dir():
            folder.rmdir()  # empty; what is there already would stand
        arrays = dict(self.items)
        if self.similarities is not None:
            for field in dataclasses.fields(Similarities):
                arrays[f"similarities/{field.name}"] = getattr(self.similarities, field.name)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with whole_folder(folder) as beside:
            write_atomic(beside / ARRAYS, buffer.getvalue())
            if self.details:
                write_json(beside / DETAILS, self.details)
            write_atomic(beside / FIGURES, figures)
        return folder


def require_free(folder: Path) -> None:
    """Nothing is in the way of a result: to be asked before the work is done.

    Raises:
        CftError: the place is a file, or a folder that holds anything.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CftError(f"{folder}: not an empty folder; name another for the result")


def load_result(folder: Path) -> SuiteResult:
    """Read what :meth:`SuiteResult.save` wrote; nothing is unpickled.

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
    return SuiteResult(evaluation, arrays, similarities, _details(folder / DETAILS))


def _details(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        details = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CftError(
            f"{path}: not valid JSON ({error}); delete the folder and evaluate again"
        ) from None
    if not isinstance(details, dict):
        raise CftError(f"{path}: not an object; delete the folder and evaluate again")
    return details


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
