"""Fetching a backbone from the hub into a folder that is whole, pinned and ends texts in EOS."""

import json
import logging
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from cft.errors import CftError
from cft.files import PARTIAL, fsync_folder, write_json
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
from cft.model.pickled import INDEX, WEIGHTS, convert_pickles
from cft.model.source import SOURCE_FILE
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe

logger = logging.getLogger("cft.model")

KNOWN = {"sarvam-1": "sarvamai/sarvam-1", "minicpm-2b": "openbmb/MiniCPM-2B-dpo-bf16"}
FOLDER = Path("pretrained")

_TOKENIZER = re.compile(
    r"(config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    r"|tokenizer\.model|(vocab|merges)\.txt|chat_template\.jinja|LICEN[CS]E(\.\w+)?"
)
_WEIGHTS = re.compile(
    r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|generation_config\.json"
)
_CODE = re.compile(r"\w+\.py")
_SAMPLES = ["", "a", "धर्मक्षेत्रे कुरुक्षेत्रे ॥", "a text that is long. " * 100, "</s> <eos> a"]


def fetch_model(
    name: str,
    output: Path | None = None,
    *,
    revision: str | None = None,
    tokenizer_only: bool = False,
    trust_remote_code: bool = False,
) -> Path:
    """Download a backbone and return its folder, which appears whole or not at all.

    A download that broke off is continued by the next call. ``source.json`` in the folder pins
    what was fetched; a folder that holds it already is left as it is, without any network.
    Where a repository has pickled weights alone, they are rewritten as safetensors.

    Args:
        name: one of :data:`KNOWN`, or ``OWNER/NAME`` on the hub.
        output: the folder. Empty: ``pretrained/<name>``.
        revision: branch, tag or commit. Empty: ``main``.
        tokenizer_only: leave the weights out: enough to prepare data.
        trust_remote_code: fetch the repository's own Python files as well.

    Raises:
        CftError: no such repository, no access, no network, no room, no weights that can be read
            without running code, code that was not asked for, or a tokenizer without EOS.
    """
    repo = KNOWN.get(name, name)
    if repo.count("/") != 1:
        raise CftError(f"{name}: unknown; name one of {', '.join(KNOWN)}, or OWNER/NAME")
    target = output or FOLDER / name.rsplit("/", 1)[-1]
    if _stands(target, repo, revision, tokenizer_only):
        logger.info("%s is there already (%s)", target, repo)
        return target
    started = time.perf_counter()
    # Two names: a tokenizer alone must not take the place of half-fetched weights.
    kind = ".tokenizer" if tokenizer_only else ""
    partial = target.with_name(f"{target.name}{kind}{PARTIAL}")
    with owned(partial):
        model = describe(repo, revision or "main")
        files = _selection(model, tokenizer_only, trust_remote_code)
        rewritten = sum(file.size for file in files if WEIGHTS.fullmatch(file.name))
        require_room(repo, files, partial, rewritten)
        keep_only(partial, files)
        for file in files:
            download(model, file, partial)
            if file.name == "config.json":  # before the weights: they would be fetched in vain
                _require_known_code(partial, repo, trust_remote_code)
        with hub_errors(repo, model.sha):
            converted = convert_pickles(partial)
            _finish(partial, model, files, converted, revision, tokenizer_only, trust_remote_code)
            for pickled in (*converted, INDEX):
                (partial / pickled).unlink(missing_ok=True)
            _publish(partial, target)
    seconds = time.perf_counter() - started
    size = sum(file.size for file in files)
    logger.info(
        "%s: %d files, %.1f MB of %s at %s in %.1f s, %.1f MB/s",
        target, len(files), size / 1e6, repo, model.sha[:12], seconds, size / 1e6 / seconds,
    )  # fmt: skip
    return target


def _stands(target: Path, repo: str, revision: str | None, tokenizer_only: bool) -> bool:
    """Whether ``target`` holds what is asked for; a bare tokenizer may grow into a model."""
    if not target.exists():
        return False
    try:
        source: dict[str, Any] = json.loads((target / SOURCE_FILE).read_text(encoding="utf-8"))
        held = source["repo"], {source["revision"], source["requested"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise CftError(
            f"{target}: exists, but was not fetched; remove it or name another folder by --output"
        ) from None
    if held[0] != repo or (revision is not None and revision not in held[1]):
        raise CftError(
            f"{target}: holds {held[0]} at {source['revision'][:12]}; remove it or name another "
            "folder by --output"
        )
    return tokenizer_only or not source["tokenizer_only"]


def _selection(model: RemoteRepository, tokenizer_only: bool, code: bool) -> list[RemoteFile]:
    """The files to fetch, small ones first. Only names without a folder are looked at."""
    if "config.json" not in model.files:
        raise CftError(f"{model.repo}: no config.json, so no transformers model; name another")
    wanted = [_TOKENIZER]
    if not tokenizer_only:
        wanted.append(_weights(model))
    if code:
        wanted.append(_CODE)
    chosen = [one for one in model.files if any(kind.fullmatch(one) for kind in wanted)]
    files = sorted((model.files[one] for one in chosen), key=lambda one: one.size)
    return sorted(files, key=lambda one: one.name != "config.json")


def _weights(model: RemoteRepository) -> re.Pattern[str]:
    """Names of the weight files: safetensors, else the pickles that can be rewritten as such."""
    if any(one.endswith(".safetensors") for one in model.files if _WEIGHTS.fullmatch(one)):
        return _WEIGHTS
    if any(WEIGHTS.fullmatch(one) for one in model.files):
        return re.compile(f"{WEIGHTS.pattern}|{re.escape(INDEX)}|generation_config\\.json")
    raise CftError(
        f"{model.repo}: no weights in a format of transformers at this revision; name another "
        "--revision (a conversion is often under refs/pr/N) or another repository"
    )


def _require_known_code(folder: Path, repo: str, trusted: bool) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "auto_map" in config and config.get("model_type") not in CONFIG_MAPPING and not trusted:
        raise CftError(
            f"{repo}: its architecture ({config.get('model_type')}) is Python code in the "
            "repository; read that code, then give --trust-remote-code"
        )


def _finish(
    partial: Path, model: RemoteRepository, files: list[RemoteFile], converted: list[str],
    revision: str | None, tokenizer_only: bool, trust_remote_code: bool,
) -> None:  # fmt: skip
    """Ask for EOS, prove that every text gets it, and pin the source."""
    path = partial / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, settings | {"add_eos_token": True})
    tokenizer = load_tokenizer(partial, trust_remote_code)
    contract = TextContract.of(ModelRecipe(), tokenizer)
    for sample, ids in zip(_SAMPLES, contract.tokenize(tokenizer, _SAMPLES), strict=True):
        if ids[-1] != tokenizer.eos_token_id or (ids[:-1] == tokenizer.eos_token_id).any():
            raise CftError(
                f"{model.repo}: its tokenizer does not end {sample[:20]!r} in one EOS; "
                "use another backbone"
            )
    write_json(
        partial / SOURCE_FILE,
        {
            "repo": model.repo,
            "revision": model.sha,
            "requested": revision or "main",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "endpoint": endpoint(),
            "tokenizer_only": tokenizer_only,
            "trust_remote_code": trust_remote_code,
            "changed": {"tokenizer_config.json": "add_eos_token: true"}
            | dict.fromkeys(converted, "rewritten as safetensors"),
            "files": {file.name: {"size": file.size, "digest": file.digest} for file in files},
        },
    )


def _publish(partial: Path, target: Path) -> None:
    """Rename the folder; a tokenizer that stood there makes way for the whole model."""
    shutil.rmtree(partial / PARTS)
    fsync_folder(partial)
    old = target.with_name(f".{target.name}.removed{PARTIAL}")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.replace(old)
    partial.replace(target)
    fsync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
