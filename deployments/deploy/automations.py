"""Automations: what the server does when nobody else can.

A flow run whose host is gone, or whose process and worker were both killed, runs no hook. Its
heartbeats stop, and that the server sees: it ends the run as Crashed, so that its slot is free and
a person can retry it, and pushes that it died.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from deployments.deploy.change import CREATED, UNCHANGED, UPDATED, Change

UNSEEN_DEATH = "cft: runs that died unseen"
TAG = "cft"
MISSED = 3  # heartbeats; fewer would take a slow host for a dead one
HEARTBEAT = "prefect.flow-run.heartbeat"
# After these nobody waits for a heartbeat. Suspended is how a run waits for a person.
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")
MESSAGE = "No sign of life: its process and its worker are gone. Retry it: it goes on where it was."
SUBJECT = "{{ flow.name }} {{ flow_run.name }}: died unseen"
BODY = "No sign of life for SECONDS s: its process and its worker are gone. Retry it in the UI; \
it goes on where it was.\n{{ flow_run|ui_url }}"


def unseen_death(heartbeat_seconds: int, webhook: UUID | None) -> AutomationCore:
    """The automation.

    Args:
        heartbeat_seconds: between two signs of life of a run.
        webhook: the block that pushes. None: nothing is pushed.
    """
    seconds = MISSED * heartbeat_seconds
    actions: list[Any] = [ChangeFlowRunState(state=StateType.CRASHED, message=MESSAGE)]
    if webhook:
        body = BODY.replace("SECONDS", str(seconds))
        actions.append(SendNotification(block_document_id=webhook, subject=SUBJECT, body=body))
    return AutomationCore(
        name=UNSEEN_DEATH,
        description="Ends runs of cft whose heartbeats stopped as Crashed, and pushes it.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{end}" for end in ENDS)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.id": f"prefect.tag.{TAG}",
                "prefect.resource.role": "tag",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=actions,
    )


def ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> Change:
    """Make an automation, or change it; one that a person switched off stays off."""
    found = client.read_automations_by_name(wanted.name)
    if not found:
        return Change("automation", wanted.name, CREATED, str(client.create_automation(wanted)))
    here = found[0]
    if _content(here) == _content(wanted):
        return Change("automation", wanted.name, UNCHANGED, str(here.id))
    client.update_automation(here.id, wanted.model_copy(update={"enabled": here.enabled}))
    return Change("automation", wanted.name, UPDATED, str(here.id))


def _content(automation: AutomationCore) -> dict[str, Any]:
    content = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
    for name in ("after", "expect", "for_each"):
        content["trigger"][name] = sorted(content["trigger"][name])
    return content
