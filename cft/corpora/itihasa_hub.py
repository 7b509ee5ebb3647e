"""Fetch the Itihasa corpus from the hub into a folder of line-aligned files.

On the hub it is a repository with a loading script, which no library runs any more. Its plain
files are taken where it has them (with chapters, where it has those), else the parquet files that
the hub itself converted it to.
"""

import logging
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cft.errors import CftError
from cft.files import PARTIAL, fsync_folder, write_atomic, write_json
from cft.hub import (
    PARTS,
    RemoteFile,
    RemoteRepository,
    describe,
    download,
    endpoint,
    hub_errors,
    keep_only,
    owned,
    require_room,
)

log = logging.getLogger(__name__)

REPOSITORY = "rahular/itihasa"
PARQUET = "refs/convert/parquet"
SOURCE_FILE = "source.json"

_PLAIN = re.compile(r"(?:.*/)?(train|dev|validation|test)\.(sn|en|chapters\.tsv)")
_SHARD = re.compile(
    r"(?:.*/)?(?:partial-)?(train|dev|validation|test)/[^/]+\.parquet"
    r"|(?:.*/)?[\w-]*?(train|dev|validation|test)(?:-\d+-of-\d+)?\.parquet"
)
_SPLIT = {"validation": "dev"}


def fetch_itihasa(target: Path, repo: str = REPOSITORY) -> Path:
    """Fetch the corpus and return ``target``, which appears whole or not at all.

    A download that broke off is continued by the next call; a folder that was fetched before is
    left as it is, without any network. ``source.json`` pins repository, commit and digests.

    Raises:
        CftError: no network, no access, no room, or a repository that holds no such corpus.
    """
    if target.exists():
        if not (target / SOURCE_FILE).is_file():
            raise CftError(f"{target}: exists, but was not fetched; remove it or name it --itihasa")
        log.info("%s is there already", target)
        return target
    started = time.perf_counter()
    partial = target.with_name(f"{target.name}{PARTIAL}")
    with owned(partial):
        remote, chosen = _chosen(repo)
        files = [file for parts in chosen.values() for file in parts]
        require_room(repo, files, partial)
        keep_only(partial, files)
        for file in files:
            download(remote, file, partial)
        with hub_errors(repo, remote.sha):
            _lay_out(partial, chosen)
            write_json(partial / SOURCE_FILE, _source(remote, files))
            shutil.rmtree(partial / PARTS)
            partial.replace(target)
            fsync_folder(target.parent)
    seconds, size = time.perf_counter() - started, sum(file.size for file in files)
    log.info(
        "%s: %d files, %.1f MB of %s at %s in %.1f s, %.1f MB/s",
        target, len(files), size / 1e6, repo, remote.sha[:12], seconds, size / 1e6 / seconds,
    )  # fmt: skip
    return target


def _chosen(repo: str) -> tuple[RemoteRepository, dict[str, list[RemoteFile]]]:
    """The commit to read, and its files by the name that they get here."""
    remote = describe(repo, "main", "dataset")
    plain = {
        f"{_SPLIT.get(found[1], found[1])}.{found[2]}": [file]
        for name, file in sorted(remote.files.items())
        if (found := _PLAIN.fullmatch(name))
    }
    if {"train.sn", "train.en"} <= plain.keys():
        return remote, plain
    remote = describe(repo, PARQUET, "dataset")
    shards: dict[str, list[RemoteFile]] = {}
    for name, file in sorted(remote.files.items()):
        if found := _SHARD.fullmatch(name):
            split = found[1] or found[2]
            shards.setdefault(f"{_SPLIT.get(split, split)}.parquet", []).append(file)
    if "train.parquet" not in shards:
        raise CftError(
            f"{repo}: neither train.sn and train.en nor a parquet export of them; name another "
            "repository, or a local folder by --itihasa"
        )
    return remote, shards


def _lay_out(partial: Path, chosen: dict[str, list[RemoteFile]]) -> None:
    """Bring what was downloaded into ``{split}.{sn,en}``; what it was made of is removed."""
    for name, files in chosen.items():
        if name.endswith(".parquet"):
            split = name.removesuffix(".parquet")
            tables = [_translations(partial / file.name) for file in files]
            for side in ("sn", "en"):
                lines = [line for table in tables for line in table[side]]
                write_atomic(partial / f"{split}.{side}", "".join(f"{line}\n" for line in lines))
        elif files[0].name != name:
            (partial / files[0].name).replace(partial / name)
    for folder in [one for one in partial.iterdir() if one.is_dir() and one.name != PARTS]:
        shutil.rmtree(folder)
    for shard in partial.glob("*.parquet"):
        shard.unlink()


def _translations(path: Path) -> dict[str, list[str]]:
    """Both sides of a parquet file: a struct ``translation`` of ``sn`` and ``en``, or columns."""
    try:
        table = pq.read_table(path)
        if "translation" in table.column_names:
            column = table["translation"].combine_chunks()
            sides = {side: column.field(side).to_pylist() for side in ("sn", "en")}
        else:
            sides = {side: table[side].to_pylist() for side in ("sn", "en")}
    except (pa.ArrowException, KeyError) as error:
        text = " ".join(str(error).split())[:160]
        raise CftError(
            f"{path.name}: not a parquet file of Sanskrit (sn) and English (en) ({text}); "
            "name a local folder by --itihasa"
        ) from None
    # A line break inside a text would shift every line below it; an empty side stays a line.
    return {side: [" ".join((one or "").split()) for one in texts] for side, texts in sides.items()}


def _source(remote: RemoteRepository, files: list[RemoteFile]) -> dict:
    return {
        "repo": remote.repo,
        "revision": remote.sha,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "endpoint": endpoint(),
        "files": {file.name: {"size": file.size, "digest": file.digest} for file in files},
    }
