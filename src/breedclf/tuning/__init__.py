"""Hyperparameter search: search spaces, strategies, stopping rules, and the study on disk."""
