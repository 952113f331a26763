"""Exports a model as a single file (ONNX, torch.export), and compares its predictions with the original model's."""
