"""Bring a Prefect server to what cft needs, and change nothing where it stands already."""
