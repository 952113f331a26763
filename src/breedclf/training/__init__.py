"""Fine-tuning: one run from settings to a model directory, its loop, checkpoints and callbacks."""
