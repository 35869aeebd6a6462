"""A made-up run folder with curves, pictures and figures as a real run leaves them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barlow.recipes import Recipe
from barlow.training.plan import steps_of

STEPS_PER_EPOCH = 20
FLOOR = 70.9
DIGITS = Recipe(name="custom", backbone="resnet18", width=16, views="small-grey", epochs=30, batch_size=256)


def records(
    recipe: Recipe = DIGITS,
    *,
    data_name: str = "digits",
    floor: float | None = FLOOR,
    labels: bool = True,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the journal of a whole run."""
    rng = np.random.default_rng(seed)
    total = steps_of(recipe.epochs, STEPS_PER_EPOCH)
    first: dict[str, Any] = {
        "event": "start",
        "time": 1.7e9,
        "recipe": asdict(recipe),
        "data": {
            "name": data_name,
            "num_samples": 1438,
            "image_shape": [1, 28, 28],
            "num_classes": 10 if labels else 0,
        },
        "versions": {"barlow": "0.1.0", "torch": "2.15.0", "python": "3.11.7"},
        "device": "cpu",
        "batch_floor": floor,
        "num_parameters": 2_801_234,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "total_steps": total,
    }
    found = [first]
    for step in range(1, total + 1):
        share = step / total
        on = 30 + 900 * np.exp(-9 * share) + rng.normal() * 2
        off = 52 + 260 * np.exp(-5 * share) + rng.normal() * 3
        loss = float(on + off)
        limits = {} if floor is None else {"floor": floor, "excess": loss - floor}
        warm = min(1.0, step / 60)
        found.append(
            {
                "event": "step",
                "time": 1.7e9 + 0.12 * step,
                "step": step,
                "epoch": step / STEPS_PER_EPOCH,
                "loss": loss,
                "parts": {"on_diagonal": float(on), "off_diagonal": float(off)},
                "learning_rate": 1e-3 * warm * 0.5 * (1 + float(np.cos(np.pi * share))),
                "samples_per_second": 2100.0,
                **limits,
            }
        )
        if step % (2 * STEPS_PER_EPOCH) == 0:
            figures = {"effective_rank": 12 + 25 * share**0.5, "invariance_share": 0.6 + 0.28 * share**0.4}
            figures |= {"knn_accuracy": 0.85 + 0.11 * share**0.5} if labels else {}
            found.append(
                {
                    "event": "probe",
                    "time": 1.7e9 + 0.12 * step,
                    "step": step,
                    "epoch": step / STEPS_PER_EPOCH,
                    "figures": figures,
                }
            )
    return [*found, {"event": "finish", "time": 1.7e9 + 72.3, "step": total, "seconds": 72.3}]


def summary(*, labels: bool = True) -> dict[str, Any]:
    """Return the final figures."""
    row = {"num_features": 128, "knn": 0.958, "linear": 0.979}
    rows = [
        {"features": "untrained", **row, "knn": 0.921, "linear": 0.948, "few_labels": few(0.859, 0.013)},
        {"features": "trained", **row, "few_labels": few(0.931, 0.008)},
        {
            "features": "raw pixels",
            "num_features": 784,
            "knn": 0.951,
            "linear": 0.962,
            "few_labels": few(0.890, 0.011),
        },
    ]
    evaluation = {
        "classes": [str(digit) for digit in range(10)],
        "train_samples": 1438,
        "test_samples": 359,
        "rows": rows,
    }
    return {
        "evaluation": evaluation if labels else {},
        "label_free": {
            "effective_rank": 36.9,
            "effective_rank_untrained": 9.2,
            "invariance_share": 0.88,
            "invariance_share_untrained": 0.61,
        },
        "audit": {},
        "timing": {"pretrain_seconds": 72.3, "samples_per_second": 2113.0, "evaluation_seconds": 6.4},
    }


def few(mean: float, std: float) -> dict[str, float]:
    return {"mean": mean, "std": std, "per_class": 10, "draws": 5}


def pictures(rng: np.random.Generator, *shape: int, side: int = 28, channels: int = 1) -> NDArray[np.uint8]:
    """Return pictures of soft random strokes, (*shape, side, side, channels)."""
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    amount = int(np.prod(shape))
    angle, shift = (
        rng.uniform(0, np.pi, (amount, 1, 1, channels)),
        rng.uniform(-0.4, 0.4, (amount, 1, 1, channels)),
    )
    distance = np.cos(angle) * across[..., None] + np.sin(angle) * down[..., None] - shift
    bend = 0.5 * rng.normal(size=(amount, 1, 1, channels)) * across[..., None] * down[..., None]
    light = np.exp(-(((distance + bend) / 0.2) ** 2)) * np.exp(-(across**2 + down**2))[..., None]
    return (255 * light).astype(np.uint8).reshape(*shape, side, side, channels)


def evidence(*, side: int = 28, channels: int = 1, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return the arrays of evidence.npz."""
    rng = np.random.default_rng(seed)
    originals = pictures(rng, 8, side=side, channels=channels)
    noisy = [np.clip(np.roll(originals, move, axis=(1, 2)) * gain, 0, 255) for move, gain in ((2, 0.8), (-3, 1.1))]
    queries = pictures(rng, 6, side=side, channels=channels)
    found = np.stack([np.roll(queries, move, axis=2) for move in range(1, 6)], axis=1)
    features, samples = 256, 4096
    matrix = rng.normal(scale=0.03, size=(features, features)) + np.diag(rng.beta(18, 2, features))
    counts, edges = np.histogram(matrix[~np.eye(features, dtype=bool)], bins=80, range=(-0.15, 0.15))
    return {
        "originals": originals,
        "views_a": noisy[0].astype(np.uint8),
        "views_b": noisy[1].astype(np.uint8),
        "neighbour_queries": queries,
        "neighbour_images": found,
        "neighbour_similarities": 1 - np.sort(rng.uniform(0.01, 0.3, (6, 5)), axis=1),
        "correlation_diagonal": np.diag(matrix),
        "offdiagonal_edges": edges,
        "offdiagonal_counts": counts,
        "correlation_num_samples": np.array(samples),
        "correlation_block": matrix[:64, :64].astype(np.float32),
        "eigenvalues": np.exp(-np.arange(128) / 22.0),
        "eigenvalues_untrained": 4.0 * np.exp(-np.arange(128) / 6.0),
    }


def write_run(
    folder: Path,
    *,
    journal: Sequence[Mapping[str, Any]] | None = None,
    figures: Mapping[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    recipe: Recipe = DIGITS,
) -> Path:
    """Write a run folder; without arguments everything a finished run has."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = records(recipe) if journal is None else journal
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe)), encoding="utf-8")
    (folder / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in journal), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary() if figures is None else figures), encoding="utf-8")
    shown: Any = evidence() if arrays is None else dict(arrays)
    np.savez(folder / "evidence.npz", **shown)
    return folder


def unfinished_run(folder: Path) -> Path:
    """Write what a run leaves that was killed while it wrote a journal line."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) for record in records(replace(DIGITS, epochs=30))[:200]]
    (folder / "recipe.json").write_text(json.dumps(asdict(DIGITS)), encoding="utf-8")
    (folder / "journal.jsonl").write_text("\n".join(lines) + '\n{"event": "step", "ste', encoding="utf-8")
    return folder
