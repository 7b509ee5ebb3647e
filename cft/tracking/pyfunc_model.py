"""The embedder as an MLflow model: code and an adapter, the backbone by reference.

MLflow copies this file into the logged model and runs it when the model is loaded. The result is
the same float32 vectors as :meth:`cft.model.encoder.Encoder.encode`. Pass ``params={"prompt":
...}`` to put something else before the texts than the contract's own prompt.
"""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from cft.errors import CftError


class Embedding:
    """Texts in, unit vectors out.

    A base of its own: MLflow asks `predict` of its direct subclasses for type hints and takes
    them for the signature, where they cannot hold the prompt.
    """

    def load_context(self, context: Any) -> None:
        """Load the backbone from where the reference says, then the adapter from the artifact.

        Raises:
            CftError: the backbone is not there any more, or is not the one that was trained.
        """
        from cft.model.encoder import Encoder
        from cft.model.identity import backbone_digest

        config = context.model_config
        backbone = Path(config["backbone"])
        if not backbone.is_dir():
            raise CftError(
                f"{backbone}: the backbone of this model is gone; put it back{_again(config)}, or "
                'load with model_config={"backbone": FOLDER}'
            )
        if (found := backbone_digest(backbone)) != config["backbone_digest"]:
            raise CftError(
                f"{backbone}: this backbone has digest {found}, the model was trained on "
                f"{config['backbone_digest']}; give the folder of that backbone"
            )
        self.encoder = Encoder.load(
            backbone,
            Path(context.artifacts["adapter"]),
            device=config.get("device", "auto"),
            # Never stored with a model: whoever loads it decides whether code may run.
            trust_remote_code=config.get("trust_remote_code") is True,
        )

    def predict(self, context, model_input, params=None):
        """Embed texts.

        Args:
            context: unused; what it holds was loaded already.
            model_input: N texts, as a list or as a table of one column.
            params: ``prompt``: put before each text; empty for the contract's own.

        Returns:
            float32 ``[N, D]``, each row of unit norm.
        """
        texts = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        prompt = (params or {}).get("prompt") or None
        return self.encoder.encode(list(texts), prompt=prompt, progress=False)


def _again(config: Any) -> str:
    """How to fetch the backbone, where it was fetched."""
    if not config.get("backbone_revision"):
        return ""
    return f" (cft model fetch {config['backbone_repo']} --revision {config['backbone_revision']})"


class EmbedderModel(Embedding, PythonModel):
    """The model that MLflow loads."""


set_model(EmbedderModel())
