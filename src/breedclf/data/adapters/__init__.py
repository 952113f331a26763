"""Labeled images from other places than folders: arrays in memory, Hugging Face datasets, torch datasets."""
