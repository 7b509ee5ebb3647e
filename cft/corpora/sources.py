"""Where the sources of a recipe lie: ``hub`` becomes a folder or file of this machine."""

from pathlib import Path

from cft.corpora.itihasa_hub import fetch_itihasa
from cft.corpora.nli import FILE_NAME, published_address
from cft.download import download, pinned
from cft.home import Home
from cft.recipe import HUB, DataRecipe


def from_hub(recipe: DataRecipe) -> bool:
    """Whether a source of the recipe is fetched from the hub."""
    return HUB in (recipe.itihasa, recipe.nli)


def local_sources(recipe: DataRecipe, home: Home | None = None) -> DataRecipe:
    """The recipe with what it takes from the hub fetched, and named by its place.

    What was fetched before is taken as it is, without any network.

    Raises:
        CftError: a source cannot be fetched.
    """
    home = home or Home.from_environment()
    found = {}
    if recipe.itihasa == HUB:
        found["itihasa"] = str(fetch_itihasa(home.sources / "itihasa"))
    if recipe.nli == HUB:
        found["nli"] = str(nli_file(None, None, home))
    return recipe.model_copy(update=found)


def nli_file(given: Path | None, address: str | None, home: Home) -> Path:
    """A local file of NLI triplets: the one that is given, else the published one, downloaded.

    Raises:
        CftError: it cannot be downloaded.
    """
    if given is not None:
        return given
    if address is not None:
        name = address.partition("?")[0].rpartition("/")[2] or FILE_NAME
        return download(address, home.sources / name)
    target = home.sources / FILE_NAME
    # What one mirror has sent, another need not send again.
    return target if pinned(target) else download(published_address(), target)
