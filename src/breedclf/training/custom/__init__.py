"""Your own loss, sampler and metrics in a training run: loaded and checked before it, called by the loop."""
