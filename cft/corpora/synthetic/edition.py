"""The version of the generator."""

# Changes whenever the same seed would yield other texts: manifests and caches carry it.
GENERATOR_VERSION = "1"
