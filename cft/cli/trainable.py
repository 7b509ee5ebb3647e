"""From data, backbone and adapter to a run directory that can be launched."""

from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.files import PARTIAL, abandoned, digest_file, digest_json
from cft.model.identity import backbone_digest
from cft.model.lora import adapter_recipe, require_adapter
from cft.model.text_contract import CONTRACT_FILE, TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe, Recipe
from cft.tracking.lineage import code_version
from cft.tracking.run_directory import RunDirectory
from cft.training.launch import Machines, world_size_for
from cft.training.spec import TrainSpec
from cft.triplets.files import triplet_batches
from cft.triplets.manifest import load_manifest
from cft.triplets.store import build_store, require_fit
from cft.triplets.store_files import TOKENS, TRIPLETS
from cft.triplets.stream import stage_batches

_SHARED = set(TextContract.model_fields) & set(ModelRecipe.model_fields)


def adopt(base: Recipe, data: Path, adapter: Path | None) -> Recipe:
    """The recipe with the text contract of a store and the shape of an adapter in its place.

    Raises:
        CftError: the adapter or the contract cannot be read.
    """
    model = base.model
    for folder in (data, adapter):
        if folder is not None and (folder / CONTRACT_FILE).is_file():
            contract = TextContract.load(folder)
            model = model.model_copy(update={one: getattr(contract, one) for one in _SHARED})
    if adapter is not None:
        same = {"init": model.lora.init, "dropout": model.lora.dropout}
        shape = adapter_recipe(adapter).model_dump() | same
        model = model.model_copy(update={"lora": LoraRecipe.model_validate(shape)})
    return base.model_copy(update={"model": model})


def new_run(
    recipe: Recipe, stage: str, *, data: Path, adapter: Path | None, output: Path,
    machines: Machines,
) -> tuple[RunDirectory, TrainSpec]:  # fmt: skip
    """Check everything that can be checked without ranks, and write the run directory.

    Raises:
        CftError: what is missing or contradicts, or the run directory belongs to another run.
    """
    run = RunDirectory(output.absolute())
    if machines.count == 1 and _in_use(run):
        on = f", or go on with `--resume {output}`" if run.spec.is_file() else ""
        raise CftError(f"{output}: not empty; name another --output-dir{on}")
    backbone = _backbone(recipe.model.backbone)
    tokenizer = load_tokenizer(backbone, recipe.model.trust_remote_code)
    contract = TextContract.of(recipe.model, tokenizer, backbone_digest(backbone))
    if adapter is not None:
        require_adapter(adapter, recipe.model.lora)
        contract.require_same(TextContract.load(adapter), str(adapter))
    world_size = world_size_for(recipe.launch, machines)
    store = _store(data, stage, contract, tokenizer, run, machines)
    require_fit(store, contract, lambda: tokenizer)
    digest = _digest_of(store)
    spec = TrainSpec(
        recipe=recipe,
        stage=stage,
        store=str(store),
        backbone=str(backbone),
        init_adapter=str(adapter.absolute()) if adapter else None,
        world_size=world_size,
        data_digest=digest,
        store_digest=digest,
        code=code_version(),
    )
    if machines.count > 1 and run.spec.exists() and TrainSpec.load(run.spec) != spec:
        raise CftError(
            f"{run.spec}: this run was begun with other settings or data; name another --output-dir"
        )
    spec.save(run.spec)
    return run, spec


def resumed_run(folder: Path) -> tuple[RunDirectory, TrainSpec]:
    """A run directory that was begun before.

    Raises:
        CftError: there is none, or what it trains on is gone or is other data by now.
    """
    run = RunDirectory(folder.absolute())
    spec = TrainSpec.load(run.spec)
    for place in (spec.store, spec.backbone):
        if not Path(place).is_dir():
            raise CftError(f"{place}: gone, but {run.spec} trains on it; put it back")
    if spec.store_digest and _digest_of(Path(spec.store)) != spec.store_digest:
        raise CftError(
            f"{spec.store}: not the data that {run.spec} began with; put them back, or start a new "
            "run"
        )
    return run, spec


def _in_use(run: RunDirectory) -> bool:
    """Whether anything lies there but a store that a killed process left half-written.

    The next writer of the store removes that; while its own writer lives, the run is another's.
    """
    if not run.path.exists():
        return False
    halves = {path for path in run.path.glob(f".*{PARTIAL}") if abandoned(path)}
    return any(path not in halves for path in run.path.iterdir())


def _digest_of(store: Path) -> str:
    """Which rows a store holds and how they became tokens; rows are ids, which texts decide."""
    files = [store / one for one in (TRIPLETS, CONTRACT_FILE)]
    return digest_json([digest_file(one) if one.is_file() else None for one in files])


def _backbone(given: str | None) -> Path:
    if given is None:
        raise CftError(
            "--model-name-or-path: missing; give the folder of a causal LM "
            "(`cft model fetch sarvam-1` downloads one)"
        )
    path = Path(given).expanduser().absolute()
    if not path.is_dir():
        raise CftError(
            f"--model-name-or-path: {given}: no such folder; give the folder of a causal LM "
            "(`cft model fetch sarvam-1` downloads one to pretrained/sarvam-1)"
        )
    return path


def _store(
    data: Path, stage: str, contract: TextContract, tokenizer: Any, run: RunDirectory,
    machines: Machines,
) -> Path:  # fmt: skip
    """The tokenised store of the data: as it is given, or made inside the run directory."""
    if not data.exists():
        raise CftError(f"--train-data-path: {data}: does not exist; give a folder or a file")
    if (data / TOKENS).is_file():
        return data.absolute()
    if machines.count > 1:
        raise CftError(
            f"--train-data-path: {data}: not tokenised; with several machines give each the same "
            "store (a run on one machine leaves one in RUN_DIR/store)"
        )
    manifest: dict[str, Any] = {}
    if data.is_file():
        triplets = triplet_batches(data)
        manifest = {"sources": {data.name: digest_file(data)}}
    elif (data / f"{stage}.arrow").is_file():
        triplets, manifest = stage_batches(data, stage), load_manifest(data)
    else:
        raise CftError(
            f"--train-data-path: {data}: neither a tokenised store nor prepared data with a "
            f"{stage}.arrow; give one of them, or a file of triplets"
        )
    return build_store(run.path / "store", triplets, contract, tokenizer, manifest)
