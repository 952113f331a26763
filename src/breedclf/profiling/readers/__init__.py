"""Readers of foreign formats: SageMaker's output folders and reports, and PyTorch traces."""
