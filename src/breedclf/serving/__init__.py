"""Serves a model over HTTP: a pure core that converts requests to predictions, and thin adapters around it."""
