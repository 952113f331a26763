"""The networks: backbones with their weights, stages to fine-tune, fused operations for CPUs."""
