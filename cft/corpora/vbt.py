"""Read a small domain corpus in the shape of the Vijnanabhairava Tantra (VBT): JSON or Python.

JSON: ``verses`` (``sanskrit``, ``english``, optionally ``theme``), ``similarity_pairs`` and
``dissimilarity_pairs`` whose members are ``{"verse": i}``, ``{"translation": i}`` or
``{"text": "..."}``, and ``retrieval_cases`` (``query``, ``relevant_verses``); indices from 0.
Python: ``VBT_CORPUS``, ``VBT_TRANSLATIONS``, ``VBT_SIMILARITY_PAIRS``, ``VBT_DISSIMILARITY_PAIRS``
and ``VBT_RETRIEVAL_TEST_CASES``, read as literals and never executed.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from cft.corpora.base import VerseCorpus, VersePair
from cft.corpora.literals import read_literals
from cft.errors import CftError, problems_of
from cft.files import digest_file
from cft.recipe import Settings
from cft.text import normalise

log = logging.getLogger(__name__)

MODULE_NAME, JSON_NAME = "vbt_corpus.py", "vbt.json"


class _Verse(Settings):
    sanskrit: str
    english: str
    theme: str | None = None


class _Member(Settings):
    verse: int | None = None
    translation: int | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a member is one of verse, translation and text")
        return self


class _Case(Settings):
    query: str
    relevant_verses: list[int]


class _File(Settings):
    verses: list[_Verse] = Field(min_length=1)
    similarity_pairs: list[tuple[_Member, _Member]] = Field([])
    dissimilarity_pairs: list[tuple[_Member, _Member]] = Field([])
    retrieval_cases: list[_Case] = Field([])


def load_vbt(path: Path) -> VerseCorpus:
    """Read the corpus from a JSON file, a Python module, or a folder that holds either.

    Raises:
        CftError: the file is missing or malformed, a text is empty, or an index is out of range.
    """
    path = Path(path)
    if path.is_dir():
        inside = [path / name for name in (MODULE_NAME, JSON_NAME) if (path / name).is_file()]
        if not inside:
            raise CftError(f"{path}: holds neither {MODULE_NAME} nor {JSON_NAME}; name the file")
        path = inside[0]
    if not path.is_file():
        raise CftError(f"{path}: no such file; name a VBT corpus, JSON or {MODULE_NAME}")
    corpus = _from_module(path) if path.suffix == ".py" else _from_json(path)
    log.info(
        "%s: %d verses, %d similarity pairs, %d dissimilarity pairs, %d retrieval cases",
        path.name,
        len(corpus.verses),
        len(corpus.similarity_pairs),
        len(corpus.dissimilarity_pairs),
        len(corpus.retrieval_cases),
    )
    return corpus


def _from_json(path: Path) -> VerseCorpus:
    try:
        file = _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CftError(f"{path}: not valid JSON in UTF-8 ({error}); mend the file") from None
    except ValidationError as error:
        raise CftError(f"{path}: {problems_of(error)}; mend the entry") from None
    sanskrit = [verse.sanskrit for verse in file.verses]
    english = [verse.english for verse in file.verses]

    def resolved(name: str, pairs: Sequence[tuple[_Member, _Member]]) -> list[tuple[str, str]]:
        return [
            (
                _resolve(path, f"{name}[{row}][0]", a, sanskrit, english),
                _resolve(path, f"{name}[{row}][1]", b, sanskrit, english),
            )
            for row, (a, b) in enumerate(pairs)
        ]

    return _corpus(
        path,
        sanskrit,
        english,
        [verse.theme for verse in file.verses],
        {
            name: resolved(name, getattr(file, name))
            for name in ("similarity_pairs", "dissimilarity_pairs")
        },
        [(case.query, case.relevant_verses) for case in file.retrieval_cases],
    )


def _resolve(
    path: Path, place: str, member: _Member, sanskrit: list[str], english: list[str]
) -> str:
    if member.text is not None:
        return member.text
    index = member.verse if member.verse is not None else member.translation
    if index is None or not 0 <= index < len(sanskrit):
        raise CftError(
            f"{path}: {place}: index {index} is out of range, the file has {len(sanskrit)} verses "
            "numbered from 0; mend the index"
        )
    return sanskrit[index] if member.verse is not None else english[index]


def _from_module(path: Path) -> VerseCorpus:
    names = read_literals(path)

    def field(name: str, required: bool) -> list[Any]:
        if name not in names and required:
            raise CftError(f"{path}: {name} is not assigned; assign a list of strings to it")
        value = names.get(name, [])
        if not isinstance(value, list | tuple):
            raise CftError(f"{path}: {name}: not a list; assign a list to it")
        return list(value)

    def checked(name: str, what: str, ok: Any, required: bool = False) -> list[Any]:
        entries = field(name, required)
        for row, entry in enumerate(entries):
            if not ok(entry):
                raise CftError(f"{path}: {name}[{row}]: not {what}; mend the entry")
        return entries

    def is_pair(one: Any) -> bool:
        return (
            isinstance(one, list | tuple)
            and len(one) == 2
            and all(isinstance(text, str) for text in one)
        )

    def is_case(one: Any) -> bool:
        return (
            isinstance(one, list | tuple)
            and len(one) == 2
            and isinstance(one[0], str)
            and isinstance(one[1], list | tuple)
            and all(type(index) is int for index in one[1])
        )

    def is_text(one: Any) -> bool:
        return isinstance(one, str)

    sanskrit = checked("VBT_CORPUS", "a string", is_text, required=True)
    english = checked("VBT_TRANSLATIONS", "a string", is_text, required=True)
    if len(sanskrit) != len(english):
        raise CftError(
            f"{path}: VBT_CORPUS has {len(sanskrit)} entries and VBT_TRANSLATIONS "
            f"{len(english)}; entry n of one must translate entry n of the other"
        )
    return _corpus(
        path,
        sanskrit,
        english,
        [None] * len(sanskrit),
        {
            "similarity_pairs": checked("VBT_SIMILARITY_PAIRS", "a pair of strings", is_pair),
            "dissimilarity_pairs": checked("VBT_DISSIMILARITY_PAIRS", "a pair of strings", is_pair),
        },
        [
            (query, list(indices))
            for query, indices in checked(
                "VBT_RETRIEVAL_TEST_CASES", "(query, [verse numbers])", is_case
            )
        ],
    )


def _corpus(
    path: Path,
    sanskrit: list[str],
    english: list[str],
    themes: Sequence[str | None],
    pairs: dict[str, list[tuple[str, str]]],
    cases: list[tuple[str, list[int]]],
) -> VerseCorpus:
    def text(place: str, raw: str) -> str:
        normal = normalise(raw)
        if not normal:
            raise CftError(f"{path}: {place}: empty text; fill it or remove the entry")
        return normal

    if not sanskrit:
        raise CftError(f"{path}: no verses; give at least two")
    verses = [
        VersePair(text(f"verse {row}", sanskrit[row]), text(f"translation {row}", english[row]),
                  themes[row], row)
        for row in range(len(sanskrit))
    ]  # fmt: skip
    for row, (_, indices) in enumerate(cases):
        for index in indices:
            if not 0 <= index < len(verses):
                raise CftError(
                    f"{path}: retrieval case {row}: verse {index} is out of range, there are "
                    f"{len(verses)} numbered from 0; mend the index"
                )
    normal = {
        name: [
            (text(f"{name}[{row}][0]", a), text(f"{name}[{row}][1]", b))
            for row, (a, b) in enumerate(entries)
        ]
        for name, entries in pairs.items()
    }
    return VerseCorpus(
        name="vbt",
        verses=verses,
        similarity_pairs=normal["similarity_pairs"],
        dissimilarity_pairs=normal["dissimilarity_pairs"],
        graded_pairs=[],
        retrieval_cases=[
            (text(f"retrieval case {row}", query), indices)
            for row, (query, indices) in enumerate(cases)
        ],
        source={path.name: digest_file(path)},
        dropped={},
    )
