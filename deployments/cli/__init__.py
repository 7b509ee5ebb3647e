"""Verbs that run flows or deploy them.

They live here, above the flows, and register with ``cft`` as entry points; the orchestrator is
imported only when one of them runs, after its environment is set.
"""

from deployments.cli.deploying import deploy_command
from deployments.cli.evaluating import baselines_command, evaluate_command
from deployments.cli.machines import machines_command
from deployments.cli.notebook import notebook_command
from deployments.cli.notifying import notify_command
from deployments.cli.recipes import recipe_folder
from deployments.cli.registry import promote_command, retrain_command, rollback_command
from deployments.cli.stack import doctor, down, status, up
from deployments.cli.training import pilot, prepare_command, two_stage_command
from deployments.cli.upkeep import reconcile_command

__all__ = [
    "baselines_command",
    "deploy_command",
    "doctor",
    "down",
    "evaluate_command",
    "machines_command",
    "notebook_command",
    "notify_command",
    "pilot",
    "prepare_command",
    "promote_command",
    "recipe_folder",
    "reconcile_command",
    "retrain_command",
    "rollback_command",
    "status",
    "two_stage_command",
    "up",
]
