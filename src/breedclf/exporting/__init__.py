"""A model folder as one file for other runtimes (ONNX, torch.export), compared with the model folder's own answers."""
