"""Trained models with versions and aliases in a folder: which one is live, which is better, and going back."""
