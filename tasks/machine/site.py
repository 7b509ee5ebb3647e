"""A host that is ready to train: its driver, our code, an environment, and the inputs of a job.

All of it is named by its content and stays: the second job of the same recipe sends nothing.
"""

import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cft.errors import CftError
from cft.files import digest_folder
from cft.recipe import LaunchRecipe
from cft.training.launch import ALONE, Machines
from cft.training.spec import TrainSpec
from tasks.machine.busy import jobs_on
from tasks.machine.driver.ensure import ensure_driver
from tasks.machine.driver.report import DriverReport
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.environment.ensure import Contents, ensure_environment
from tasks.machine.environment.settings import EnvironmentSettings, project_requirements
from tasks.machine.job import Job
from tasks.machine.settings import BASE
from tasks.machine.ssh.connection import Connection
from tasks.machine.transfer.client import push
from tasks.machine.transfer.code import project_code, ship_code

if TYPE_CHECKING:  # it brings torch, which takes seconds and only training needs
    from tasks.machine.ssh_machine import SshMachine

logger = logging.getLogger("cft.machine")

IMPORTS = ("torch", "transformers", "peft", "accelerate", "safetensors", "pyarrow", "pydantic")
IMPORTS_OF = {"notebook": ("jupyterlab", "ipykernel")}


@dataclass(frozen=True)
class Site:
    """A host on which training can start.

    Attributes:
        base: our folder there, absolute.
        code: folder of the code.
        python: interpreter of the environment.
        device: ``cuda`` or ``cpu``.
        accelerators: GPUs, or on a CPU the ranks that suit it.
        driver: what was found of it; None on a CPU.
    """

    base: str
    code: str
    python: str
    device: str
    accelerators: int
    driver: DriverReport | None = None

    def ranks(self, launch: LaunchRecipe) -> int:
        """Ranks of a job: what the recipe says, else one per GPU, or two on a CPU.

        Raises:
            CftError: more are asked for than there are GPUs.
        """
        if self.device == "cuda" and (launch.num_processes or 0) > self.accelerators:
            raise CftError(
                f"launch.num_processes: {launch.num_processes} ranks on {self.accelerators} GPUs; "
                "ask for at most one rank per GPU"
            )
        return launch.num_processes or self.accelerators


def make_ready(
    connection: Connection,
    launch: LaunchRecipe,
    driver: DriverSettings,
    environment: EnvironmentSettings,
    *,
    base: str = BASE,
    python: str | None = None,
    extras: tuple[str, ...] = (),
    say: Callable[[str], None] = logger.info,
) -> Site:
    """Make a host ready to train.

    Args:
        connection: to the host.
        launch: of the recipe: whether GPUs are wanted.
        driver: what may be done about its driver.
        environment: where environments lie there and how they are made.
        base: our folder there; ``~/`` is the user's home.
        python: an interpreter that has all that training imports, in place of an environment.
        extras: of the project, which an environment that is built has besides: ``notebook``.
        say: told what goes on.

    Raises:
        CftError: it cannot be made ready; says why.
    """
    host = connection.settings.address
    place = f'"$HOME"{shlex.quote(base[1:])}' if base.startswith("~/") else shlex.quote(base)
    asked = connection.run(f"mkdir -p {place} && cd {place} && pwd -P && nproc", timeout=120)
    if not asked.ok:
        raise CftError(f"{host}: {base} cannot be made there ({asked.last_words})")
    base, cores = asked.stdout.split("\n")[-3:-1]
    report, device, count = None, "cpu", min(2, int(cores))
    if launch.device in ("auto", "cuda"):
        report = ensure_driver(
            connection, driver, jobs_running=lambda: jobs_on(connection, base), on_line=say
        )
        if launch.device == "cuda" or report.gpus:
            report.require_ready()
            device, count = "cuda", len(report.gpus)
    code = ship_code(connection, project_code(), base)
    say(f"{host}: {device}, code in {code}")
    if python is None:
        made = ensure_environment(connection, contents_for(extras), environment, on_line=say)
        say(f"{host}: environment {made.key}{' was there' if made.cached else ' built'}")
        python = made.python
    return Site(base, code, python, device, count, report)


def contents_for(extras: tuple[str, ...] = ()) -> Contents:
    """What training imports, and what the extras bring, in the versions that run here."""
    import cft

    root = Path(cft.__file__).resolve().parents[1]
    constraints = root / "constraints.txt"
    try:
        text = constraints.read_text(encoding="utf-8")
    except OSError:
        raise CftError(
            f"{constraints}: no such file; run from a checkout, or name the host's own python"
        ) from None
    requirements = project_requirements(root / "pyproject.toml", *extras)
    imports = IMPORTS + tuple(name for extra in extras for name in IMPORTS_OF.get(extra, ()))
    return Contents(text, requirements, imports)


def put(connection: Connection, base: str, path: Path) -> str:
    """Bring a folder to the host, unless its content is there; returns where it is.

    Args:
        connection: to the host.
        base: our folder there, absolute.
        path: folder here, complete and never changed again.
    """
    target = f"{base}/data/{path.name}-{digest_folder(path)}"
    whole = shlex.quote(f"{target}.whole")
    if connection.run(f"test -f {whole}", timeout=60).ok:
        return target
    push(connection, path, target)
    done = connection.run(f"sync; touch {whole}", timeout=300)
    if done.exit_code not in (0, None):  # without the mark it is only looked at again
        raise CftError(f"{connection.settings.address}: {done.last_words}")
    return target


def training_job(
    machine: "SshMachine",
    site: Site,
    run: Path,
    spec: TrainSpec,
    slot: Path | None = None,
    machines: Machines = ALONE,
) -> Job:
    """The job that trains a run directory on the host; its inputs are brought there first.

    Args:
        machine: of the host.
        site: what was made there.
        run: its mirror here.
        spec: what to do.
        slot: what the job must have to itself, where it uses GPUs.
        machines: this host among several that train the run together.
    """
    connection = machine.connection
    inputs = {
        name: put(connection, site.base, Path(value))
        for name in ("store", "backbone", "init_adapter")
        if (value := getattr(spec, name)) is not None
    }
    launch = spec.recipe.launch.model_copy(update={"device": site.device})
    recipe = spec.recipe.model_copy(update={"launch": launch})
    there = spec.model_copy(update={**inputs, "recipe": recipe})
    share = [json.dumps(asdict(machines))] if machines.count > 1 else []
    return Job(
        run,
        [site.python, "-m", "cft.training.launcher", machine.folder_of(run), *share],
        {"PYTHONPATH": site.code, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
        slot if site.device == "cuda" else None,
        {"spec.json": there.model_dump_json(indent=2) + "\n"},
    )
