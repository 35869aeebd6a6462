"""Made-up figures of audits: of a backbone trained with the Pearson loss, of a poor one, and of one without a run."""

from typing import Any

import numpy as np

from barlow.figures import Change, Quantities, described

TRAINED = "runs/digits-pearson"
POOR = "runs/digits-untrained"
FEATURES = 64
WIDTH = 32
WEIGHT = 0.005
BATCH = 256


def figures() -> dict[str, Any]:
    """Return a full set of figures, with every part that an audit can have."""
    rho = 0.97 * np.exp(-np.arange(FEATURES) / 26.0)
    return {
        "subject": _subject(TRAINED),
        "settings": _settings(),
        "warnings": [],
        "quantities": _quantities(0.476, 0.136, 38.2),
        "spectrum": _spectrum(rho, waterline=0.392, active=25),
        "loss": _loss([("floor", 0.0), ("backbone limit", 2.5), ("projector gap", -0.81), ("sampling bias", 0.13)]),
        "floors": _floors(rho),
        "advice": {"redundancy_weight_for_all": 0.0123, "width_for_all": 24},
        "augmentations": _augmentations(1.0),
        "layers": _layers(0.476, 0.082),
        "projector_share": {
            "start": 24.63,
            "end": 1.69,
            "linear": {"loss": 7.53, "share": 0.745, "error": 0.006},
            "mlp": {"loss": 3.78, "share": 0.909, "error": 0.005},
        },
        "verdicts": [verdict("good"), verdict("warning"), verdict("note"), *_more_verdicts()],
    }


def poor_figures() -> dict[str, Any]:
    """Return those of an untrained backbone, audited on too few samples, with warnings."""
    rho = 0.31 * np.exp(-np.arange(FEATURES) / 9.0)
    found = figures()
    found["subject"] = _subject(POOR)
    found["settings"] |= {"num_images": 300, "num_views": 2}
    found["warnings"] = [
        "300 samples for 64 features: wanted at least 960; the spectrum is not to be trusted.",
        "The backbone has BatchNorm in training mode; it was put into evaluation mode for the audit.",
    ]
    found["quantities"] = _quantities(0.853, 0.067, 46.1) | {"null_edge": {"value": 0.352, "error": None}}
    found["quantities"]["num_above_edge"]["value"] = 0.0
    found["spectrum"] = _spectrum(rho, waterline=0.0, active=32) | {"edge": 0.352, "num_above_edge": 0}
    found["loss"] = _loss([("floor", 0.0), ("backbone limit", 7.53), ("projector gap", 15.2), ("sampling bias", 0.13)])
    found["augmentations"] = _augmentations(2.1)
    found["layers"] = _layers(0.853, 0.79)
    found["verdicts"] = [verdict("warning")]
    found["projector_share"] = None
    found["advice"] = {"redundancy_weight_for_all": None, "width_for_all": None}
    return found


def feature_figures() -> dict[str, Any]:
    """Return those of precomputed features: no recipe, no projector, no loss, no pipeline."""
    found = figures()
    found["subject"] = {"name": "features.npy", "kind": "features", "data": "", "recipe": {}, "versions": {}}
    found["settings"] |= {"width": None, "redundancy_weight": None, "batch_size": None, "normalization": None}
    water = [name for name in found["spectrum"] if name.startswith(("waterline", "num_active"))]
    found["spectrum"] |= {"budget": [], **dict.fromkeys(water)}
    found |= {"loss": None, "floors": {}, "advice": {}, "augmentations": [], "layers": [], "projector_share": None}
    for name in ("augmentation_share_z", "asymmetry_z", "skew_share"):
        del found["quantities"][name]
    found["quantities"]["alpha"]["error"] = None
    return found


def changes() -> tuple[Change, ...]:
    """Return rows of a comparison."""
    share = described(Quantities)["augmentation_share"].title
    crop = "effect in context of random_crop"
    return (
        Change("quantity", "augmentation_share", share, True, 0.853, 0.476, -0.377, 0.006, True, True),
        Change("quantity", "effective_rank", "effective rank", False, 46.1, 38.2, -7.9, 5.1, False, True),
        Change("quantity", "rank", "rank", False, 64.0, 64.0, 0.0, None, None, True),
        Change("augmentation", "total effect of crop", crop, True, 0.272, 0.571, 0.299, None, None, False),
    )


def verdict(level: str, **given: Any) -> dict[str, Any]:
    """Return one verdict."""
    found = {
        "good": {
            "name": "solved_augmentations",
            "sentence": "Solved: brightness (0.8% [0.6, 1.0] of the variance).",
            "value": 0.008,
            "low": 0.006,
            "high": 0.010,
            "advice": "Nothing is left to learn from it at this strength.",
        },
        "warning": {
            "name": "projector_share",
            "sentence": "91% [90, 92] of the fall of the loss is within reach of a projector with hidden layers on "
            "your untrained backbone: the loss curve says little about the backbone.",
            "value": 0.909,
            "low": 0.899,
            "high": 0.919,
            "advice": "Judge the backbone by a probe beside its untrained twin and by its invariance spectrum.",
        },
        "note": {
            "name": "waterline",
            "sentence": "At λ = 0.005 only 25 of 32 outputs are used at the optimum.",
            "value": 25.0,
            "low": None,
            "high": None,
            "advice": "Raise λ above 0.0123 or cut D to 24.",
        },
    }[level]
    return {"level": level, **found, **given}


def _more_verdicts() -> list[dict[str, Any]]:
    said = "48% [46.8, 48.4] of the variance of the backbone is still augmentation; 27% of all variance is shift."
    advice = "Train longer, or strengthen what is in the way: shift; or leave it, if the task needs it."
    return [
        verdict("note", name="augmentation_share", sentence=said, value=0.476, low=0.468, high=0.484, advice=advice),
        verdict("note", name="a_level_of_the_future", advice="") | {"level": "splendid"},
    ]


def _subject(name: str) -> dict[str, Any]:
    recipe = {"method": "barlow_twins", "backbone": "resnet18", "projector": "128-32", "epochs": 30, "source": ""}
    versions = {"barlow": "0.1.0", "torch": "2.15.0", "python": "3.11.7"}
    return {"name": name, "kind": "run", "data": "digits", "recipe": recipe, "versions": versions}


def _settings() -> dict[str, Any]:
    sizes = {"num_images": 1438, "num_views": 8, "num_features": FEATURES, "width": WIDTH}
    loss = {"redundancy_weight": WEIGHT, "batch_size": BATCH, "normalization": "pearson"}
    return {**sizes, **loss, "seed": 0, "seconds": 72.4, "exact": False}


def _quantities(share: float, mean: float, rank: float) -> dict[str, dict[str, float | None]]:
    found: dict[str, tuple[float, float | None]] = {
        "augmentation_share": (share, 0.004),
        "augmentation_share_z": (share / 6, 0.002),
        "mean_correlation": (mean, 0.002),
        "view_information": (21.4 * mean, 0.31),
        "rank": (64.0, None),
        "condition_number": (676.0, 41.0),
        "effective_rank": (rank, 0.4),
        "participation_ratio": (0.6 * rank, 0.3),
        "rank_me": (1.1 * rank, 0.5),
        "lidar": (0.3 * rank, 0.4),
        "alpha": (1.21, 0.03),
        "alpha_r_squared": (0.94, 0.01),
        "alignment": (0.31, 0.004),
        "uniformity": (-2.7, 0.02),
        "asymmetry": (0.021, None),
        "asymmetry_expected": (0.019, None),
        "asymmetry_z": (1.1, None),
        "skew_share": (0.004, 0.004),
        "null_edge": (0.057, None),
        "num_above_edge": (57.0, None),
        "a_quantity_of_the_future": (3.0, 0.1),
    }
    return {name: {"value": value, "error": error} for name, (value, error) in found.items()}


def _spectrum(rho: np.ndarray[Any, np.dtype[np.float64]], waterline: float, active: int) -> dict[str, Any]:
    place = np.arange(len(rho))
    budget = np.clip(rho - waterline, 0.0, None) / rho**2 * (place < active)
    return {
        "plug_in": rho.tolist(),
        "error": (0.01 + 0.02 * (1 - rho)).tolist(),
        "cross_fit": (rho - 0.02 - 0.03 * rho * (1 - rho)).tolist(),
        "cross_fit_error": (0.02 + 0.02 * (1 - rho)).tolist(),
        "edge": 0.057,
        "num_above_edge": int((rho > 0.057).sum()),
        "between_rank": {"value": 49, "low": 46, "high": 52},
        "num_directions": len(rho),
        "eigenvalues": (3.0 * np.exp(-place / 10.0)).tolist(),
        "budget": (WIDTH * budget / budget.sum()).tolist(),
        "waterline": waterline,
        "waterline_error": 0.004,
        "waterline_cross_fit": 0.95 * waterline,
        "waterline_cross_fit_error": 0.01,
        "num_active": float(active),
        "num_active_error": 0.5,
        "num_active_cross_fit": float(active - 2),
        "num_active_cross_fit_error": 1.0,
    }


def _loss(parts: list[tuple[str, float]]) -> dict[str, Any]:
    total = sum(value for _, value in parts)
    limit = parts[0][1] + parts[1][1]
    return {
        "normalization": "pearson",
        "num_pairs": 1438,
        "start": 24.63,
        "start_error": 0.3,
        "batch": total,
        "batch_error": 0.04,
        "batch_measured_at": BATCH,
        "complete": total - 0.13,
        "complete_error": 0.03,
        "fall": 1 - (total - 0.13) / 24.63,
        "fall_error": 0.002,
        "limit": limit,
        "limit_error": 0.05,
        "limit_cross_fit": 1.12 * limit,
        "limit_cross_fit_error": 0.1,
        "floor": parts[0][1],
        "parts": [{"name": name, "value": value, "error": None if name == "floor" else 0.04} for name, value in parts],
    }


def _floors(rho: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    def free(width: float, rank: float, weight: float) -> float:
        extra = weight * max(0.0, width / rank - 1.0)
        return width * extra / (1.0 + extra)

    def pearson(width: float, weight: float) -> float:
        unused = float(((1 - rho[: int(width)]) ** 2).sum())
        return unused * float(weight**0.5) + free(width, FEATURES, weight)

    widths, weights = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192], np.geomspace(1e-4, 1.0, 13).tolist()
    return {
        "width": [
            {
                "x": x,
                "raw": free(x, FEATURES, WEIGHT),
                "batch": free(x, BATCH - 1, WEIGHT),
                "pearson": pearson(x, WEIGHT),
            }
            for x in widths
        ],
        "redundancy_weight": [
            {"x": x, "raw": free(WIDTH, FEATURES, x), "batch": None, "pearson": pearson(WIDTH, x)} for x in weights
        ],
        "batch_size": [{"x": x, "batch": free(WIDTH, x - 1, WEIGHT)} for x in (4, 8, 16, 32, 64, 128, 256, 512)],
    }


def _augmentations(size: float) -> list[dict[str, Any]]:
    found = []
    for name, total, marginal in (
        ("brightness", 0.008, 0.004),
        ("random_resized_crop", 0.272, 0.61),
        ("rotation", 0.057, 0.048),
        ("gaussian_blur", 0.031, 0.022),
        ("solarize", 0.102, 0.11),
    ):
        curve = [[m, size * total * m**2] for m in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)]
        one = {"name": name, "marginal": size * marginal, "marginal_error": 0.05 * size * marginal}
        one |= {"total_effect": size * total, "total_effect_error": 0.04 * size * total}
        found.append(one | {"curve": [] if name == "solarize" else curve})
    return found


def _layers(h: float, z: float) -> list[dict[str, Any]]:
    shares = {"layer1": 0.91, "layer2": (0.91 + h) / 2, "h": h, "projector.0": (h + z) / 2, "projector.3": z, "z": z}
    return [
        {
            "name": name,
            "augmentation_share": share,
            "error": 0.004,
            "mean_correlation": None if name == "layer1" else 0.1 + 0.2 * (1 - share),
            "effective_rank": 20.0 + 30.0 * share,
        }
        for name, share in shares.items()
    ]
