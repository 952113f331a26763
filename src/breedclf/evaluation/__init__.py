"""Evaluation: metrics, the evaluation of a model on a split, and its HTML report."""
