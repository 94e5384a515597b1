"""Results in one file that anybody can check: written, opened, verified."""
