"""Published ImageNet accuracy of well-known weights of timm, which its package doesn't contain."""

from __future__ import annotations

SOURCE = "timm results-imagenet.csv of 2025-10-30"
"""In the repository of timm, folder `results`: https://github.com/huggingface/pytorch-image-models."""

TOP1_PERCENT: dict[str, float] = {
    "beit_base_patch16_224.in22k_ft_in22k_in1k": 85.238,
    "caformer_s18.sail_in1k": 83.664,
    "convnext_atto.d2_in1k": 75.672,
    "convnext_base.fb_in22k_ft_in1k": 85.814,
    "convnext_large.fb_in22k_ft_in1k": 86.612,
    "convnext_nano.in12k_ft_in1k": 82.306,
    "convnext_small.in12k_ft_in1k": 85.164,
    "convnext_tiny.fb_in1k": 82.066,
    "convnext_tiny.in12k_ft_in1k": 84.192,
    "convnextv2_atto.fcmae_ft_in1k": 76.644,
    "convnextv2_base.fcmae_ft_in22k_in1k": 86.752,
    "convnextv2_nano.fcmae_ft_in22k_in1k": 82.038,
    "convnextv2_tiny.fcmae_ft_in22k_in1k": 83.904,
    "deit3_small_patch16_224.fb_in1k": 81.382,
    "deit_tiny_patch16_224.fb_in1k": 72.19,
    "efficientnet_b0.ra_in1k": 77.698,
    "eva02_base_patch14_448.mim_in22k_ft_in22k_in1k": 88.678,
    "eva02_small_patch14_336.mim_in22k_ft_in1k": 85.77,
    "eva02_tiny_patch14_336.mim_in22k_ft_in1k": 80.648,
    "hgnetv2_b4.ssld_stage2_ft_in1k": 83.7,
    "maxvit_tiny_tf_224.in1k": 83.426,
    "mobilenetv3_large_100.ra_in1k": 75.784,
    "mobilenetv4_conv_medium.e500_r256_in1k": 79.916,
    "mobilenetv4_conv_small.e2400_r224_in1k": 73.756,
    "regnety_040.ra3_in1k": 82.308,
    "repvit_m1_1.dist_300e_in1k": 80.826,
    "resnet101.a1h_in1k": 81.95,
    "resnet18.a1_in1k": 71.504,
    "resnet50.a1_in1k": 80.382,
    "resnet50.tv_in1k": 76.156,
    "swin_tiny_patch4_window7_224.ms_in1k": 81.388,
    "swinv2_tiny_window8_256.ms_in1k": 81.824,
    "tf_efficientnet_lite0.in1k": 74.846,
    "tf_efficientnet_lite2.in1k": 77.47,
    "tf_efficientnetv2_s.in21k_ft_in1k": 83.348,
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": 85.108,
    "vit_small_patch16_224.augreg_in21k_ft_in1k": 81.402,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": 75.452,
}
"""Top-1 accuracy in percent at the image size of training, by timm's name with tag."""
