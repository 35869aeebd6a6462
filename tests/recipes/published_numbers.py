"""The numbers of the published recipes, one by one, against what papers and official code print.

The sections in the comments are those of the papers and configurations named; the names in the rows are the recipe's
fields and the method's options. A rate stands as its source states it, times what our conventions make of it.
"""

import pytest

ETA = 0.02 / 0.001
"""solo-learn's LARS has a trust coefficient of 0.02, ours the official 0.001: 20 times the rate takes its steps."""
STEPS = 500 / (50_000 // 512)
"""W-MSE warms up for 500 steps, on CIFAR at a batch of 512 this many epochs."""

OFFICIAL_LARS: dict[str, object] = {"optimizer": "lars", "momentum": 0.9, "warmup_epochs": 10.0}
CLIPPED_LARS: dict[str, object] = {"lars_trust": 0.02, "lars_clip": True, "bias_learning_rate": 0.0}  # eta, clip_lr

NUMBERS: dict[str, dict[str, object]] = {
    # Zbontar et al. 2021, sections 2.2 and 4.1; facebookresearch/barlowtwins, main.py
    "imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "image_size": 224,
        "views": "byol",
        "zero_init": True,  # main.py: zero_init_residual
        "epochs": 1000,
        "batch_size": 2048,
        "learning_rate": 0.2 * 2048 / 256,  # section 2.2
        "bias_learning_rate": 0.0048 * 2048 / 256 / 32,  # section 2.2; tuned under a gradient of 1/32
        "weight_decay": 1e-6 * 32,  # main.py (paper: 1.5e-6); the same
        "final_learning_rate": 0.001,  # section 2.2: by a factor of 1000
        "redundancy_weight": 0.0051,  # main.py (paper: 5e-3)
        "projector": "8192-8192-8192",  # section 2.2
        "projector_bias": False,  # main.py
    },
    # solo-learn, scripts/pretrain/cifar/barlow.yaml
    "cifar": {
        **OFFICIAL_LARS,
        "backbone": "resnet18",
        "views": "cifar",
        "epochs": 1000,
        "batch_size": 256,
        **CLIPPED_LARS,
        "learning_rate": 0.3 * 0.1,  # its loss is scaled by 0.1
        "weight_decay": 1e-4 / 0.1,
        "redundancy_weight": 0.0051,
        "projector": "2048-2048-2048",
        "projector_bias": True,
    },
    # Chen et al. 2020, sections 2.2 and 4.2; google-research/simclr
    "simclr-imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "views": "simclr",
        "epochs": 1000,
        "batch_size": 4096,
        "learning_rate": 0.3 * 4096 / 256,  # section 2.2
        "weight_decay": 1e-6,  # section 2.2
        "final_learning_rate": 0.0,  # section 2.2: cosine without restarts
        "temperature": 0.1,  # section 5.1
        "projector": "2048-128",  # section 4.2: one hidden layer, 128 dimensions
        "projector_bias": False,
    },
    # google-research/simclr, README for CIFAR-10
    "simclr-cifar": {
        **OFFICIAL_LARS,
        "backbone": "resnet18",
        "views": "simclr-cifar",
        "epochs": 1000,
        "batch_size": 512,
        "learning_rate": 1.0 * 512 / 256,
        "weight_decay": 1e-4,
        "final_learning_rate": 0.0,
        "temperature": 0.5,
        "projector": "512-512-128",  # num_proj_layers=3
    },
    # Caron et al. 2020; facebookresearch/swav, scripts/swav_800ep_pretrain.sh
    "swav-imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "views": "swav",
        "zero_init": False,
        "epochs": 800,
        "batch_size": 4096,  # 64 on each of 64
        "learning_rate": 4.8,
        "warmup_start": 0.3 / 4.8,  # --start_warmup
        "weight_decay": 1e-6,
        "exclude_biases": False,  # LARC over all parameters
        "final_learning_rate": 0.0048 / 4.8,
        "num_prototypes": 3000,
        "temperature": 0.1,
        "epsilon": 0.05,
        "queue_length": 0,
        "freeze_prototypes": 1.0,  # 313 steps
        "projector": "2048-128",
        "projector_bias": True,
    },
    # facebookresearch/swav, scripts/swav_400ep_bs256_pretrain.sh
    "swav-imagenet-256": {
        "epochs": 400,
        "batch_size": 256,
        "learning_rate": 0.6,
        "final_learning_rate": 0.0006 / 0.6,
        "warmup_epochs": 0.0,
        "weight_decay": 1e-6,
        "exclude_biases": False,
        "num_prototypes": 3000,
        "queue_length": 3840,
        "queue_start": 15.0,
        "freeze_prototypes": 1.0,  # 5005 steps
    },
    # solo-learn, scripts/pretrain/cifar/swav.yaml
    "swav-cifar": {
        **OFFICIAL_LARS,
        "views": "cifar-strong",
        "epochs": 1000,
        "batch_size": 256,
        **CLIPPED_LARS,
        "learning_rate": 0.6,
        "weight_decay": 1e-6,
        "num_prototypes": 3000,
        "temperature": 0.1,
        "epsilon": 0.05,
        "queue_length": 3840,
        "queue_start": 50.0,
        "freeze_prototypes": 2.0,
        "projector": "2048-128",
    },
    # Chen & He 2021, section 3 (baseline settings); facebookresearch/simsiam
    "simsiam-imagenet": {
        "backbone": "resnet50",
        "views": "simsiam",
        "optimizer": "sgd",
        "momentum": 0.9,
        "epochs": 100,
        "batch_size": 512,
        "learning_rate": 0.05 * 512 / 256,
        "constant_part": "predictor",  # --fix-pred-lr of its README
        "weight_decay": 1e-4,
        "exclude_biases": False,
        "warmup_epochs": 0.0,
        "final_learning_rate": 0.0,
        "projector": "2048-2048-2048",
        "bottleneck": 512,
    },
    # Chen & He 2021, appendix D
    "simsiam-cifar": {
        "backbone": "resnet18",
        "views": "simsiam-cifar",
        "optimizer": "sgd",
        "momentum": 0.9,
        "epochs": 800,
        "batch_size": 512,
        "learning_rate": 0.03 * 512 / 256,
        "weight_decay": 5e-4,
        "exclude_biases": False,
        "constant_part": "",
        "warmup_epochs": 0.0,
        "projector": "2048-2048",
        "bottleneck": 512,
    },
    # Bardes et al. 2022, section 4.2; facebookresearch/vicreg, main_vicreg.py
    "vicreg-imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "views": "byol",
        "zero_init": True,
        "epochs": 1000,
        "batch_size": 2048,
        "learning_rate": 0.2 * 2048 / 256,
        "bias_learning_rate": 0.0,  # one rate for all
        "weight_decay": 1e-6,
        "final_learning_rate": 0.001,
        "invariance_weight": 25.0,
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "convention": "official",
        "projector": "8192-8192-8192",
        "projector_bias": True,
    },
    # solo-learn, scripts/pretrain/cifar/vicreg.yaml
    "vicreg-cifar": {
        **OFFICIAL_LARS,
        "views": "cifar-vicreg",
        "epochs": 1000,
        "batch_size": 256,
        **CLIPPED_LARS,
        "learning_rate": 0.3,
        "weight_decay": 1e-4,
        "invariance_weight": 25.0,
        "variance_weight": 2 * 25.0,  # the sum over both views there, their mean here
        "covariance_weight": 1.0,
        "projector": "2048-2048-2048",
        "projector_bias": True,
    },
    # Bardes et al. 2022 (VICRegL); facebookresearch/VICRegL, README for ResNet-50 and main_vicregl.py
    "vicregl-imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "views": "vicregl",
        "epochs": 300,
        "batch_size": 2048,
        "learning_rate": 0.2 * 2048 / 256,
        "weight_decay": 1e-6,
        "alpha": 0.75,
        "matches": 20,
        "matches_back": 4,
        "feature_matches": 0,  # --l2_all_matches=1, the default: all positions
        "feature_matches_back": 0,
        "invariance_weight": 25.0,
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "projector": "8192-8192-8192",
        "local_projector": "512-512-512",
    },
    # Ermolov et al. 2021; htdt/self-supervised, README for ImageNet-100
    "wmse-imagenet": {
        "backbone": "resnet18",
        "views": "wmse",
        "batch_size": 512,
        "epochs": 240,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "weight_decay": 1e-6,
        "exclude_biases": False,
        "w_size": 256,
        "iterations": 1,
        "projector": "1024-128",
        "projector_bias": True,
    },
    # htdt/self-supervised, README for CIFAR-10, W-MSE 2
    "wmse-cifar": {
        "backbone": "resnet18",
        "views": "wmse-cifar",
        "epochs": 1000,
        "batch_size": 512,
        "optimizer": "adam",
        "learning_rate": 3e-3,
        "weight_decay": 1e-6,
        "exclude_biases": False,
        "warmup_epochs": pytest.approx(STEPS, rel=0.05),
        "w_size": 128,
        "projector": "1024-64",
    },
    # the same, W-MSE 4
    "wmse-cifar-4": {
        "views": "wmse-cifar-4",
        "optimizer": "adam",
        "exclude_biases": False,
        "epochs": 1000,
        "batch_size": 256,
        "learning_rate": 3e-3,
        "warmup_epochs": pytest.approx(STEPS / 2, rel=0.05),
        "w_size": 128,
        "projector": "1024-64",
    },
    # Grill et al. 2020, section 3.3; google-deepmind/deepmind-research, byol/configs/byol.py
    "byol-imagenet": {
        **OFFICIAL_LARS,
        "backbone": "resnet50",
        "views": "byol",
        "epochs": 1000,
        "batch_size": 4096,
        "learning_rate": 0.2 * 4096 / 256,
        "weight_decay": 1.5e-6,
        "final_learning_rate": 0.0,
        "momentum_of_target": 0.996,
        "predictor_width": 4096,
        "projector": "4096-256",
    },
    # solo-learn, scripts/pretrain/cifar/byol.yaml
    "byol-cifar": {
        **OFFICIAL_LARS,
        **CLIPPED_LARS,
        "learning_rate": 1.0,
        "weight_decay": 1e-5,
        "views": "cifar",
        "epochs": 1000,
        "batch_size": 256,
        "momentum_of_target": 0.99,
        "predictor_width": 4096,
        "projector": "4096-256",
    },
    # Balestriero & LeCun 2025; rbalestr-lab/lejepa, README and minimal example
    "sigreg-cifar": {
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "weight_decay": 5e-4,  # for a ResNet
        "sigreg_weight": 0.02,
        "num_directions": 256,
    },
}
