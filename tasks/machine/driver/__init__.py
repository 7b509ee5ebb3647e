"""Whether a host's GPUs can be used, and what to do when they cannot."""
