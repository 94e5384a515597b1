"""Runs what a table still lacks: the plan, Ray's trials, MLflow's records, and the `atss` command."""
