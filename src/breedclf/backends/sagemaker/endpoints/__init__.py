"""Endpoints and batch transforms on SageMaker."""
