"""Execution: where candidates are evaluated. Results never depend on it."""
