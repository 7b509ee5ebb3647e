"""``cft deploy``."""

import os
from pathlib import Path

import click

from cft.errors import CftError
from cft.home import Home

API = "PREFECT_API_URL"


@click.command()
@click.option("--api", metavar="URL", help=f"The Prefect server.  [default: {API}]")
@click.option(
    "--only", multiple=True, metavar="FLOW/NAME", help="These deployments alone; may be repeated."
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="State folder of the runs.  [default: CFT_HOME, else as deployed before, else ~/.cft]",
)
@click.option(
    "--heartbeat-seconds",
    type=click.IntRange(min=30),
    default=60,
    show_default=True,
    metavar="N",
    help="Between two signs of life of a run; after three that are missing it counts as dead.",
)
@click.option(
    "--skip-missed",
    is_flag=True,
    help="Cancel what each schedule has left while no worker was there, but its newest run.",
)
def deploy_command(
    api: str | None,
    only: tuple[str, ...],
    home: Path | None,
    heartbeat_seconds: int,
    skip_missed: bool,
) -> None:
    """Bring a Prefect server to all that cft has: work pools, blocks, automations, deployments.

    What is there and right is left alone; what a person has switched in the UI stays switched, and
    schedules that were made, edited or deleted there stay so.
    MLFLOW_TRACKING_URI (with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD) says where runs
    track, CFT_NTFY_URL, CFT_NTFY_TOPIC and CFT_NTFY_TOKEN where pushes go, LAMBDA_API_KEY whose
    machines are rented. They are kept in blocks and need not be given again.

    \b
    Examples
      cft deploy --api http://127.0.0.1:4200/api
      cft deploy --only two-stage/pilot --only retrain/weekly
    """
    from deployments.deploy.wanted import Wanted
    from flows.environment import prepare_environment

    wanted = Wanted.from_environment(home, only, heartbeat_seconds, skip_missed)
    if api:
        os.environ[API] = api
    prepare_environment(Home.from_environment())
    require_server()

    from deployments.deploy.apply import deploy
    from deployments.deploy.show import show

    show(deploy(wanted))


def require_server() -> None:
    """Raise a :class:`CftError` where no server is named or it does not answer."""
    import httpx
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    url = PREFECT_API_URL.value()
    how = (
        "run `cft up`, which starts and deploys one here, or give the address of yours by --api or "
        f"{API} (such as http://127.0.0.1:4200/api)"
    )
    if not url:
        raise CftError(f"{API}: no Prefect server is named; {how}")
    user, _, word = (PREFECT_API_AUTH_STRING.value() or "").partition(":")
    try:
        # Not /health: a server that asks for credentials answers that without any.
        httpx.get(f"{url}/admin/version", auth=(user, word) if user else None).raise_for_status()
    except httpx.HTTPError as error:
        raise CftError(
            f"{API}: {url} does not answer as a Prefect server ({error}); {how}"
        ) from None
