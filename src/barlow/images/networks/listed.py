"""Networks for images, a line on each: those that people begin with, and by a word in their names all others."""

from barlow.images.networks.libraries import architectures

NETWORKS = {
    "resnet10": "512 features; half a resnet18, in minutes on a CPU at 64 pixels; --width 16: 128 features, seconds",
    "resnet18": "512 features; the usual small network; --width sets the channels of its first stage",
    "resnet34": "512 features; resnet18 with twice the blocks; takes --width too",
    "resnet50": "2048 features; the network of the papers; a GPU, or weights to start from",
    "mobilenetv3_small_100": "1024 features; few multiplications, for small machines",
    "efficientnet_b0": "1280 features; accurate for its size, slow to train",
    "convnext_atto": "320 features; a small ConvNeXt: AdamW, LayerNorm inside",
    "convnext_tiny": "768 features; a ConvNeXt as large as resnet50",
    "vit_tiny_patch16_224": "192 features; a small transformer, for its one --image-size",
    "vit_small_patch16_224": "384 features; a transformer as large as resnet50, for its one --image-size",
    "unet:16": "256 features; encoder of a U-Net with 16 channels at first, for barlow segment",
}
"""Name -> its features and what it is for."""


def networks_listed(word: str = "") -> dict[str, str]:
    """Return name -> a line for the usual networks; with a word every network of timm and torchvision that has it."""
    if not word:
        return NETWORKS
    found = {name: line for name, line in NETWORKS.items() if word in name}
    for library, prefix in (("timm", ""), ("torchvision", "torchvision:")):
        for name in architectures(library):
            if word in name:
                found.setdefault(f"{prefix}{name}", library)
    return found
