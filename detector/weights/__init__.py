"""Detectors from files that others wrote."""
