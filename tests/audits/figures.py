"""Made-up figures of an audit in which nothing is wrong, and a way to change one thing in them."""

import copy
from collections.abc import Mapping
from typing import Any

NEUTRAL: Mapping[str, Any] = {
    "subject": {
        "name": "runs/digits",
        "kind": "run",
        "data": "digits",
        "recipe": {"views": "byol-iid", "projector": "linear-32"},
        "versions": {"barlow": "0.1.0"},
    },
    "settings": {
        "num_images": 4000,
        "num_views": 8,
        "num_features": 64,
        "width": 32,
        "redundancy_weight": 0.05,
        "batch_size": 256,
        "normalization": "pearson",
        "seed": 0,
        "seconds": 41.0,
        "exact": False,
        "num_available": 60_000,
    },
    "warnings": [],
    "quantities": {
        "augmentation_share": {"value": 0.42, "error": 0.01},
        "augmentation_share_z": {"value": 0.3, "error": 0.01},
        "mean_correlation": {"value": 0.4, "error": 0.01},
        "view_information": {"value": 9.0, "error": 0.2},
        "rank": {"value": 64, "error": None},
        "condition_number": {"value": 500.0, "error": 20.0},
        "effective_rank": {"value": 24.0, "error": 0.4},
        "participation_ratio": {"value": 15.0, "error": 0.3},
        "rank_me": {"value": 40.0, "error": 0.5},
        "lidar": {"value": 11.0, "error": 0.5},
        "alpha": {"value": 1.1, "error": 0.02},
        "alpha_r_squared": {"value": 0.98, "error": 0.005},
        "alignment": {"value": 0.4, "error": 0.01},
        "uniformity": {"value": -3.2, "error": 0.02},
        "asymmetry": {"value": 0.05, "error": 0.01},
        "asymmetry_expected": {"value": 0.05, "error": 0.001},
        "asymmetry_z": {"value": 0.4, "error": None},
        "skew_share": {"value": 0.025, "error": 0.005},
        "view_index_share": {"value": 0.001, "error": 0.002},
        "view_scale": {"value": 1.01, "error": 0.01},
        "duplicates": {"value": 0.0, "error": None},
        "error_factor": {"value": 1.0, "error": None},
        "null_edge": {"value": 0.04, "error": None},
        "num_above_edge": {"value": 55.0, "error": None},
    },
    "spectrum": {
        "plug_in": [round(0.95 - 0.0145 * k, 4) for k in range(64)],
        "error": [0.01] * 64,
        "cross_fit": [round(0.94 - 0.0145 * k, 4) for k in range(64)],
        "cross_fit_error": [0.01] * 64,
        "low": [round(0.92 - 0.0145 * k, 4) for k in range(64)],
        "high": [round(0.97 - 0.0145 * k, 4) for k in range(64)],
        "edge": 0.04,
        "num_above_edge": 55,
        "between_rank": {"value": 55, "low": 53, "high": 57},
        "num_directions": 64,
        "eigenvalues": [round(4.0 / (1 + k), 4) for k in range(64)],
        "budget": [1.0] * 32,
        "waterline": 0.3,
        "waterline_error": None,
        "waterline_cross_fit": 0.29,
        "waterline_cross_fit_error": None,
        "waterline_range": {"value": 0.29, "low": 0.27, "high": 0.32},
        "num_active": 32.0,
        "num_active_error": None,
        "num_active_cross_fit": 32.0,
        "num_active_cross_fit_error": None,
        "num_active_range": {"value": 32.0, "low": 32.0, "high": 32.0},
    },
    "loss": {
        "normalization": "pearson",
        "num_pairs": 4000,
        "start": 22.7,
        "start_error": 0.2,
        "batch": 3.5,
        "batch_error": 0.05,
        "batch_measured_at": 256,
        "complete": 3.2,
        "complete_error": 0.04,
        "fall": 1 - 3.2 / 22.7,
        "fall_error": 0.002,
        "limit": 2.45,
        "limit_error": 0.045,
        "limit_cross_fit": None,
        "limit_cross_fit_error": None,
        "floor": 0.0,
        "parts": [
            {"name": "floor", "value": 0.0, "error": None},
            {"name": "backbone limit", "value": 2.4, "error": 0.02},
            {"name": "projector gap", "value": 0.8, "error": 0.03},
            {"name": "sampling bias", "value": 0.3, "error": 0.03},
        ],
    },
    "floors": {"width": [], "redundancy_weight": [], "batch_size": []},
    "advice": {"redundancy_weight_for_all": 0.02, "width_for_all": 32},
    "augmentations": [
        {
            "name": "shift",
            "marginal": 0.3,
            "marginal_error": 0.01,
            "total_effect": 0.27,
            "total_effect_error": 0.01,
            "curve": [],
        },
        {
            "name": "contrast",
            "marginal": 0.1,
            "marginal_error": 0.01,
            "total_effect": 0.12,
            "total_effect_error": 0.01,
            "curve": [],
        },
    ],
    "layers": [
        {"name": "h", "augmentation_share": 0.42, "error": 0.01, "mean_correlation": 0.4, "effective_rank": 24.0},
        {"name": "z", "augmentation_share": 0.3, "error": 0.01, "mean_correlation": 0.5, "effective_rank": 20.0},
    ],
    "projector_share": {
        "start": 22.7,
        "end": 3.2,
        "linear": {"loss": 14.0, "share": 0.4, "error": 0.02},
        "mlp": {"loss": 13.8, "share": 0.41, "error": 0.02},
    },
    "verdicts": [],
}
"""A trained backbone without fault: what it lacks is no verdict's business."""


def neutral(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the figures with some changed: `{"loss.batch": 3.0, "augmentations.0.total_effect": 0.5}`."""
    figures: dict[str, Any] = copy.deepcopy(dict(NEUTRAL))
    for place, value in (changes or {}).items():
        *keys, last = place.split(".")
        part: Any = figures
        for key in keys:
            part = part[int(key)] if isinstance(part, list) else part[key]
        part[int(last) if isinstance(part, list) else last] = copy.deepcopy(value)
    return figures


def quantity(name: str, value: float, error: float | None) -> dict[str, Any]:
    """Return the change of one quantity."""
    return {f"quantities.{name}": {"value": value, "error": error}}
