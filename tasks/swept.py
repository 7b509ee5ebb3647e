"""Whether anything ends a rented machine at its caps when the process that rented it cannot."""

from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from cft.errors import one_line
from cft.home import Home
from tasks.notify.bounded import within

DEPLOYMENT = "sweep/machines"
MACHINE, LAMBDA, DOCUMENT = "cft-machine", "cft-lambda", "default"  # blocks, as `cft deploy` makes
API_SECONDS = 10.0
NO_SERVER = "no Prefect server is configured"


def unswept(home: Home) -> str | None:
    """Why nothing sweeps the machines of a state folder, as far as its Prefect server says.

    Args:
        home: the state folder.

    Returns:
        None where the deployment of the sweep is switched on and served, with a key and with this
        state folder.
    """
    url = PREFECT_API_URL.value()
    if not url:  # a temporary server has no schedules
        return NO_SERVER
    try:
        return within(API_SECONDS, _unswept, home)
    except ObjectNotFound:
        return f"{url} has no deployment {DEPLOYMENT}"
    except Exception as error:  # then nothing is known
        return f"{url} does not say whether it sweeps ({one_line(error)})"


def _unswept(home: Home) -> str | None:
    with get_client(sync_client=True, httpx_settings={"timeout": API_SECONDS}) as client:
        found = client.read_deployment_by_name(DEPLOYMENT)
        if found.paused or not any(one.active for one in found.schedules):
            return f"the deployment {DEPLOYMENT} is switched off"
        pool = str(found.work_pool_name)
        if not any(one.status == "ONLINE" for one in client.read_workers_for_work_pool(pool)):
            return f"no worker serves {DEPLOYMENT} in the pool {pool}"
        swept = _block(client, MACHINE).get("home")
        if swept and Path(swept).expanduser().resolve() != home.path.resolve():
            return f"{DEPLOYMENT} sweeps the state folder {swept} and leaves {home.path} alone"
        if not _block(client, LAMBDA).get("api_key"):
            return f"the block {LAMBDA} has no key for {DEPLOYMENT}"
    return None


def _block(client: SyncPrefectClient, kind: str) -> dict[str, Any]:
    try:
        # The key itself is nobody's business here; stars stand in its place.
        document = client.read_block_document_by_name(DOCUMENT, kind, include_secrets=False)
    except ObjectNotFound:
        return {}
    return dict(document.data)
