"""A registered embedder, fetched to be loaded: its adapter, and where its backbone is."""

import re
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from cft.errors import CftError

_BY_ALIAS = re.compile(r"models:/(?P<name>[^/@]+)@(?P<alias>[^/@]+)")


@dataclass(frozen=True)
class RegisteredEmbedder:
    """One version of a registered model."""

    name: str  # NAME/VERSION, whichever alias was asked for
    adapter: Path
    backbone: Path


def fetch_embedder(reference: str, tracking_uri: str, folder: Path) -> RegisteredEmbedder:
    """Copy the adapter of a registered version into ``folder``; the code in it is not run.

    Args:
        reference: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/m-…``.
        tracking_uri: of the tracking store that holds the registry.
        folder: an existing folder.

    Raises:
        CftError: no such model, version or alias, or one that is no embedder, or one that leads
            out of its own folder.
    """
    try:
        name = reference.removeprefix("models:/")
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        if found := _BY_ALIAS.fullmatch(reference):
            # Resolved first: an alias may move between two questions.
            version = client.get_model_version_by_alias(found["name"], found["alias"]).version
            name = f"{found['name']}/{version}"
        # MLflow would look a models:/ URI up in the registry of its own global settings.
        if "/" in name:
            place = client.get_model_version_download_uri(*name.split("/", 1))
        else:
            place = client.get_logged_model(name).artifact_location
        _refuse_links(place, reference)
        got = Path(download_artifacts(place, dst_path=str(folder), tracking_uri=tracking_uri))
        flavour = Model.load(str(got)).flavors["python_function"]
        adapter = got / flavour["artifacts"]["adapter"]["path"]
        backbone = Path(flavour["config"]["backbone"])
    except MlflowException as error:
        text = " ".join(str(error).split())[:160]
        raise CftError(
            f"{reference}: not found in the registry at {tracking_uri} ({text}); give a "
            "registered model as models:/NAME@ALIAS or models:/NAME/VERSION"
        ) from None
    except (KeyError, TypeError) as error:
        raise CftError(
            f"{reference}: a registered model, but no embedder (it has no {error}); "
            "give a version that training registered"
        ) from None
    if not adapter.resolve().is_relative_to(got.resolve()):
        raise CftError(
            f"{reference}: names an adapter outside of it; somebody has changed this model, so "
            "register it again"
        )
    return RegisteredEmbedder(name, adapter, backbone)


def _refuse_links(place: str, reference: str) -> None:
    """A store in a folder is copied as it is: what a link in it leads to would be copied too."""
    if not is_local_uri(place):
        return  # a server resolves none
    for path in Path(local_file_uri_to_path(place)).rglob("*"):
        if path.is_symlink():
            raise CftError(
                f"{reference}: {path} is a link; nothing of this model is copied, so put a file in "
                "its place or remove it"
            )
