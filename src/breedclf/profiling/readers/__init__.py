"""Readers of what others recorded: SageMaker's output folders and reports, and PyTorch's traces."""
