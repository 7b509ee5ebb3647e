"""Schedules: the file's come and go with the file; all else about them is for people to say.

What was deployed last stands in a variable on the server. So an entry that the file has changed is
told from one that a person has edited, switched or deleted in the UI, and schedules that people
made there are none of this code's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from deployments.deploy.plan import Planned

SCHEDULES = "cft_schedules"  # the variable: entries by deployment and slug


def schedules_deployed(client: SyncPrefectClient) -> dict[str, Any]:
    """Entries that were deployed last, by deployment and slug."""
    found = client.read_variable_by_name(SCHEDULES)
    return dict(found.value) if found and isinstance(found.value, dict) else {}


def schedules_of(plan: Iterable[Planned]) -> dict[str, Any]:
    """Entries of the file, by deployment and slug."""
    return {one.full_name: {entry["slug"]: entry for entry in one.schedules} for one in plan}


def ensure_schedules(
    client: SyncPrefectClient, found: DeploymentResponse, one: Planned, last: Mapping[str, Any]
) -> bool:
    """Carry over to a deployment what the file has changed since it was deployed last.

    Args:
        client: of the server.
        found: the deployment there.
        one: the deployment in the file.
        last: entries that were deployed last, by slug. Without it, what is there is a person's.

    Returns:
        Whether anything was written.
    """
    there = {schedule.slug: schedule for schedule in found.schedules if schedule.slug}
    written = False
    for entry in one.schedules:
        slug = entry["slug"]
        if last.get(slug) == entry or (slug in there and slug not in last):
            continue
        schedule, parameters = schedule_of(entry), entry.get("parameters", {})
        if slug in there:
            client.update_deployment_schedule(
                found.id, there[slug].id, schedule=schedule, parameters=parameters
            )
        else:
            made = DeploymentScheduleCreate(schedule=schedule, parameters=parameters, slug=slug)
            client.create_deployment_schedules(found.id, [made])
        written = True
    for slug in last.keys() - {entry["slug"] for entry in one.schedules}:
        if slug in there:
            client.delete_deployment_schedule(found.id, there[slug].id)
            written = True
    return written


def schedule_of(entry: dict[str, Any]) -> CronSchedule | IntervalSchedule:
    """The schedule of an entry in the file: ``cron``, or ``interval`` in seconds."""
    timezone = entry.get("timezone", "UTC")
    if "cron" in entry:
        return CronSchedule(cron=entry["cron"], timezone=timezone)
    return IntervalSchedule(
        interval=entry["interval"], anchor_date=entry["anchor_date"], timezone=timezone
    )
