"""``cft train``: one stage of training, in the foreground, without an orchestrator."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cft.cli.options import (
    Leaf,
    RecipeCommand,
    apply_flags,
    default_in,
    leaves,
    options_for,
)
from cft.errors import CftError
from cft.recipe import LaunchRecipe, ModelRecipe, NanoRecipe, Recipe, TrainRecipe

_STAGE = "stage1"  # whose flags the command offers; they change the stage that is trained
_NANO = {f"nano.{name}" for name in NanoRecipe.model_fields}
LEAVES: tuple[Leaf, ...] = (
    *leaves(TrainRecipe, (_STAGE,)),
    *(one for one in leaves(ModelRecipe, ("model",)) if ".".join(one.path[1:]) not in _NANO),
    *leaves(LaunchRecipe, ("launch",)),
)
ALIASES = {
    "--batch-size": ["--per-device-train-batch-size"],
    "--backbone": ["--model-name-or-path"],
}
_OWN, _SECOND = default_in(Recipe()), default_in(Recipe(stage1=Recipe().stage2))


def _default(leaf: Leaf) -> str | None:
    """Of both stages, where they differ: the flags are those of the one that is trained."""
    own, second = _OWN(leaf), _SECOND(leaf)
    return own if own == second else f"{own}; of stage2 {second}"


MACHINES = ("num_machines", "machine_rank", "main_process_ip", "main_process_port")


@click.command(cls=RecipeCommand)
@click.option(
    "--train-data-path", type=click.Path(path_type=Path), metavar="PATH",
    help="A tokenised store, prepared data, or triplets as .csv, .tsv, .jsonl or .parquet.",
)  # fmt: skip
@click.option(
    "--adapter-path", "--init-adapter", "adapter", metavar="DIR",
    type=click.Path(path_type=Path),
    help="Adapter to start from: its weights, with a fresh optimiser.",
)  # fmt: skip
@click.option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR",
    help="The run directory.  [default: train/output/<YYYYMMDDHHMMSS>]",
)  # fmt: skip
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN_DIR",
    help="Go on with a run from its newest checkpoint, with the settings that it has.",
)  # fmt: skip
@click.option(
    "--recipe", metavar="NAME|FILE", help="Start from this recipe instead of the defaults."
)
@click.option(
    "--stage", type=click.Choice(["stage1", "stage2"]), default="stage1", show_default=True,
    help="Whose settings (and, of prepared data, whose triplets) to take.",
)  # fmt: skip
@click.option("--num-machines", type=int, metavar="N", help="Machines.  [default: 1]")
@click.option("--machine-rank", type=int, metavar="N", help="Which one this is, from 0.")
@click.option("--main-process-ip", metavar="IP", help="Address of machine 0.")
@click.option("--main-process-port", type=int, metavar="N", help="Its free port. [default: 29500]")
@click.option("--gradient-accumulation-steps", type=int, hidden=True)
@options_for(LEAVES, ALIASES, _default)
@click.pass_context
def train_command(ctx: click.Context, **flags: Any) -> None:
    """Train one stage: LoRA and InfoNCE, on all visible GPUs, or on two processes of a CPU.

    Writes a run directory: spec.json, events.jsonl, a log, checkpoints, and in the end adapter.
    An adapter or a store that is given brings its own LoRA shape and text contract; a flag or
    recipe that contradicts them is an error. Exit code 0: trained, 2: bad input, 1: anything else.

    \b
    Examples
      cft train --model-name-or-path pretrained/sarvam-1 --train-data-path triplets.csv --bf16
      cft train --stage stage2 --recipe sarvam --adapter-path train/output/20260101120000/adapter \\
                --model-name-or-path pretrained/sarvam-1 --train-data-path STORE
      cft train --resume train/output/20260101120000
    On two machines, with the same store on both
      cft train ... --output-dir run --num-machines 2 --machine-rank 0 --main-process-ip 10.0.0.1
      cft train ... --output-dir run --num-machines 2 --machine-rank 1 --main-process-ip 10.0.0.1
    """
    from cft.cli.trainable import new_run, resumed_run
    from cft.training.foreground import train_in_foreground
    from cft.training.launch import Machines

    if (steps := flags["gradient_accumulation_steps"]) not in (None, 1):
        raise CftError(
            f"--gradient-accumulation-steps: {steps}: accumulated batches do not see each other's "
            "negatives; give --global-batch-size the whole batch, and --micro-batch-tokens what "
            "fits the memory at once"
        )
    count = flags["num_machines"]
    machines = Machines(
        count=1 if count is None else count,
        rank=flags["machine_rank"] or 0,
        main_ip=flags["main_process_ip"] or "",
        main_port=flags["main_process_port"] or 29500,
    )
    if folder := flags["resume"]:
        _require_nothing_else(ctx)
        run, spec = resumed_run(folder)
        if machines.count == 1 and run.adapter.is_dir():
            click.echo(f"trained already; adapter in {run.adapter}", err=True)
            return
    else:
        run, spec = _new(flags, machines, new_run)
    click.echo(
        f"{spec.stage}: {spec.world_size} processes on {machines.count} machine(s), "
        f"run directory {run.path}",
        err=True,
    )
    sys.exit(train_in_foreground(run, spec, machines))


def _new(flags: dict[str, Any], machines: Any, new_run: Any) -> Any:
    from cft.cli.recipes import find_recipe
    from cft.cli.trainable import adopt
    from cft.recipe import Recipe

    if flags["train_data_path"] is None:
        raise CftError("--train-data-path: missing; give a store, prepared data or triplets")
    if flags["output_dir"] is None and machines.count > 1:
        raise CftError("--output-dir: missing; with several machines name the run directory")
    output = flags["output_dir"] or _named_by_time()
    stage = flags["stage"]
    if flags["recipe"]:
        base = find_recipe(flags["recipe"])  # says everything: what contradicts it is an error
    else:
        base = adopt(Recipe(name="train"), flags["train_data_path"], flags["adapter"])
    chosen = [
        Leaf((stage, *one.path[1:]), one.flag, one.field) if one.path[0] == _STAGE else one
        for one in LEAVES
    ]
    values = {
        new.parameter: flags[offered.parameter] for new, offered in zip(chosen, LEAVES, strict=True)
    }
    recipe = apply_flags(base, values, chosen)
    return new_run(
        recipe, stage, data=flags["train_data_path"], adapter=flags["adapter"], output=output,
        machines=machines,
    )  # fmt: skip


def _named_by_time() -> Path:
    while (folder := Path(f"train/output/{datetime.now():%Y%m%d%H%M%S}")).exists():
        time.sleep(0.1)  # another run began within this second
    return folder


def _require_nothing_else(ctx: click.Context) -> None:
    """A resumed run has its settings; a flag that were ignored would mislead."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in {"resume", *MACHINES}:
            raise CftError(
                f"{parameter.opts[0]}: a resumed run has its settings already; leave it out, or "
                "start a new run"
            )
