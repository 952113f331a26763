"""Checkpoints of a run: their files, when they are written, and continuing from one."""
