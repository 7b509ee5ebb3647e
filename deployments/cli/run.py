"""How a verb runs its flow."""

from importlib import import_module

from cft.home import Home
from cft.imports import importing
from cft.recipe import Settings


def flow(name: str, *settings: Settings) -> None:
    """Run the flow of the module ``flows.<name>`` in this process and print its result.

    Its environment is set first: Prefect and MLflow read theirs once, on import.
    """
    from flows.environment import prepare_environment

    prepare_environment(Home.from_environment())
    with importing():
        module = import_module(f"flows.{name}")
    module.run_and_show(*settings)
