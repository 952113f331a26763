"""Backbones: the networks of torchvision and timm as one kind of value."""
