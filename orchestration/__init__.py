"""Trains what a table still lacks: the plan, Ray's trials, MLflow's records, the `atss` command."""
