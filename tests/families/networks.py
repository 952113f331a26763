"""The smallest networks with attention that torchvision can build."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

SIDE_PX = 32
WITH_ATTENTION = {
    "vit": partial(
        VisionTransformer, image_size=SIDE_PX, patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    ),
    "swin": partial(SwinTransformer, patch_size=[4, 4], embed_dim=8, depths=[2], num_heads=[2], window_size=[2, 2]),
}


def with_attention(name: str) -> nn.Module:
    """A ViT or a Swin for images of SIDE_PX, with random weights and 5 outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = WITH_ATTENTION[name](num_classes=5)
        *_, head = (module for module in network.modules() if isinstance(module, nn.Linear))
        nn.init.normal_(head.weight)  # torchvision's is zero or small
    return network.eval()
