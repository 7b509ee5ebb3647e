"""The Python environment of a job on its host: built once per content, whole or absent."""
