"""cft: contrastive fine-tuning of small causal language models into sentence embedders."""

from importlib.metadata import version

__version__ = version("cft")
