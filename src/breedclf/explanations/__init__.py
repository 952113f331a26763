"""Explanations: how much each place of an image speaks for a class."""
