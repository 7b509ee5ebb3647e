"""JupyterLab on another machine, for some hours."""

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from cft.recipe import LaunchRecipe
from flows.forms_machines import NotebookSettings
from flows.hooks import hooks
from tasks.notebook import serve_notebook
from tasks.provision import machine_log, provision, reached
from tasks.steps import Steps


@flow(name="notebook", flow_run_name="notebook on {settings.machine.kind}", **hooks())
def notebook(
    settings: NotebookSettings = NotebookSettings(),  # noqa: B008 (shown in the form)
) -> dict[str, Any]:
    """Serve JupyterLab on a machine through a tunnel that heals, until its time is over.

    A rented machine is given back then, whatever happened.

    Args:
        settings: the machine, the folder and the hours.

    Returns:
        How it ended. The address, with its token, stands in `notebook.url` in the run directory
        while it serves.

    Raises:
        CftError: the machine is this one, or cannot be made ready.
    """
    machine = settings.machine
    if machine.kind == "local":
        raise CftError(
            "machine: a flow serves another machine's notebook; choose ssh or lambda, or run "
            "`cft notebook --machine local`"
        )
    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    here = home.runs / job
    log, link = machine_log(here), here / "notebook.url"
    launch = LaunchRecipe(device=settings.device)
    gpu = settings.device != "cpu"
    try:
        with reached(machine, home, job, log, gpu=gpu) as (host, entry):
            place = steps.do(
                "provision", provision, machine, host, entry, launch, str(log), ("notebook",)
            )
            folder = settings.folder or f"{place.site.base}/notebooks"
            served = (place, folder, str(link), settings.port, settings.hours, settings.keep)
            ended = steps.do("notebook", serve_notebook, *served)
    finally:
        link.unlink(missing_ok=True)
    result = {"flow_run_id": job, "ended": ended, "steps": steps.to_json()}
    write_json(here / "result.json", result)
    return result
