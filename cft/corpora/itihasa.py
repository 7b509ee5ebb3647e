"""Read a folder of line-aligned files: ``{train,dev,test}.{sn,en}``, with chapters where known.

``train.sn`` and ``train.en`` hold one verse and one translation a line. A file
``train.chapters.tsv`` beside them gives for each line the chapter, the number of the verse and
the title of the chapter. The format is that of the Itihasa corpus (Aralikatte et al., 2021,
"Itihasa: A large-scale corpus for Sanskrit to English translation").
"""

import logging
import time
from pathlib import Path

from cft.corpora.base import ParallelCorpus, VersePair
from cft.corpora.filters import fit_pairs
from cft.errors import CftError
from cft.files import digest_file
from cft.text import normalise

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")


def load_itihasa(folder: Path, num_rows: int | None = None) -> ParallelCorpus:
    """Read and filter the corpus.

    Args:
        folder: holds ``train.sn`` and ``train.en``; other splits and chapters where known.
        num_rows: read only the first rows of the training split; None for all.

    Raises:
        CftError: a file is missing or has no partner, line counts differ, a line is not UTF-8, a
            chapter is not named, or no training row passes the filters.
    """
    started = time.perf_counter()
    folder = Path(folder)
    if not folder.is_dir():
        raise CftError(f"{folder}: no such folder; name one that holds train.sn and train.en")
    source: dict[str, str] = {}
    dropped: dict[str, int] = {}
    splits: dict[str, list[VersePair]] = {}
    for split in SPLITS:
        files = [folder / f"{split}.sn", folder / f"{split}.en"]
        absent = [path for path in files if not path.is_file()]
        if len(absent) == 2 and split != "train":
            continue
        if absent:
            other = files[0] if absent[0] == files[1] else files[1]
            raise CftError(
                f"{absent[0]}: no such file; every split needs one file for each language, "
                f"line by line beside {other.name}"
            )
        limit = num_rows if split == "train" else None
        splits[split] = fit_pairs(_read_split(folder, split, limit, source), dropped)
        if not splits[split]:
            raise CftError(
                f"{files[0]}: none of its rows passes the filters ({_counts(dropped)}); "
                "give sentences with translations of at least two words"
            )
    rows = sum(map(len, splits.values()))
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d verse pairs (%s dropped) in %.1f s, %.0f pairs/s",
        folder.name, rows, _counts(dropped), seconds, rows / seconds,
    )  # fmt: skip
    return ParallelCorpus(name="itihasa", splits=splits, source=source, dropped=dropped)


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file, without their ends; a byte-order mark is ignored.

    Raises:
        CftError: the file is missing or empty, or a line is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise CftError(f"{path}: no such file; name one that exists") from None
    try:
        # Only \n ends a line: str.splitlines would also cut at a stray U+2028 inside a verse.
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise CftError(
            f"{path}:{number}: not valid UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        ) from None
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise CftError(f"{path}: the file is empty; give one text on each line")
    return lines


def _read_split(
    folder: Path, split: str, limit: int | None, source: dict[str, str]
) -> list[VersePair]:
    paths = [folder / f"{split}.sn", folder / f"{split}.en"]
    sanskrit, english = (read_lines(path) for path in paths)
    if len(sanskrit) != len(english):
        raise CftError(
            f"{paths[0]}: {len(sanskrit)} lines, but {paths[1].name} has {len(english)}; "
            "line n of one must translate line n of the other"
        )
    chapters: list[str] | None = None
    chapter_path = folder / f"{split}.chapters.tsv"
    if chapter_path.is_file():
        paths.append(chapter_path)
        chapters = [line.split("\t", 1)[0].strip() for line in read_lines(chapter_path)]
        if len(chapters) != len(sanskrit):
            raise CftError(
                f"{chapter_path}: {len(chapters)} lines, but {paths[0].name} has "
                f"{len(sanskrit)}; name the chapter of every line, or remove the file"
            )
        if "" in chapters:
            raise CftError(
                f"{chapter_path}:{chapters.index('') + 1}: the first column, the chapter, is "
                "empty; name the chapter"
            )
    source.update({path.name: digest_file(path) for path in paths})
    rows = range(len(sanskrit) if limit is None else min(limit, len(sanskrit)))
    return [
        VersePair(
            sanskrit=normalise(sanskrit[row]),
            english=normalise(english[row]),
            chapter=chapters[row] if chapters else None,
            row=row,
        )
        for row in rows
    ]


def _counts(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in dropped.items())
