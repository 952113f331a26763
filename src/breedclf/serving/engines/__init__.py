"""Inference engines: torch and OpenVINO."""
