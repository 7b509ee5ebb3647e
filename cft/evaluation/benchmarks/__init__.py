"""Public benchmarks and baselines: tasks of mteb, our own suites as such tasks, other models."""
