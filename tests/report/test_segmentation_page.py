"""The page of a segmentation: it says what its intervals allow, shows masks in colours, and escapes what data say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barlow.report.segmentation_page import IGNORED, PALETTE, UNKNOWN, coloured, write_segmentation_page

FIGURES = ("dice", "iou", "set_dice", "set_iou", "accuracy", "hausdorff", "hausdorff95")
ARMS = ("pretrained", "scratch", "frozen", "pixels")


def row(arm: str, labels: str, dice: float) -> dict[str, Any]:
    figures: dict[str, dict[str, float | None]] = {
        name: {"mean": dice, "std": 0.0123, "least": dice - 0.02} for name in FIGURES
    }
    figures["hausdorff"] = {"mean": 23.456, "std": None, "least": 20.0}
    return {"arm": arm, "labels": labels, "num_labels": 5, **figures}


def difference(labels: str, mean: float, low: float | None, high: float | None) -> dict[str, Any]:
    record = {"arm": "pretrained", "minus": "scratch", "labels": labels, "figure": "dice", "num_seeds": 5}
    return {**record, "mean": mean, "low": low, "high": high}


def made() -> dict[str, Any]:
    dice = {"pretrained": 0.88, "scratch": 0.86, "frozen": 0.79, "pixels": 0.87}
    return {
        "data": "/data/nuclei & more",
        "run": "/runs/nuclei",
        "backbone": "unet:16",
        "classes": ["background", "<b>nucleus</b>"],
        "scored_classes": ["<b>nucleus</b>"],
        "num_test": 67,
        "num_train": 267,
        "notes": ["2 images have no mask of the same name: images/a.png, images/c.png"],
        "rows": [row(arm, n, dice[arm] - 0.05 * (n == "5")) for arm in ARMS for n in ("5", "20", "all")],
        "differences": [
            difference("5", 0.031, 0.012, 0.05),
            difference("20", 0.004, -0.01, 0.018),
            difference("all", -0.02, None, None),
        ],
        "bars": {"Otsu": dict.fromkeys(FIGURES, 0.861), "all foreground": dict.fromkeys(FIGURES, None)},
        "definitions": {"dice": "Dice per image: 2 |P and G| / (|P| + |G|)"},
        "seconds": {"bars": 12.0, "pretrained-5-seed0": 70.0},
        "settings": {"seeds": 5, "steps": 600, "labels": ("5", "20", "all")},
        "versions": {"barlow": "0.1.0"},
        "model": {"arm": "pretrained", "labels": "all", "seed": 0},
    }


def shown(folder: Path) -> dict[str, Path]:
    y, x = np.mgrid[:60, :80]
    truth = ((y - 30) ** 2 + (x - 40) ** 2 < 300).astype(np.uint8)
    truth[:5] = IGNORED
    for arm in ARMS[:3]:
        (folder / arm).mkdir(parents=True)
        for place in (1, 2):
            predicted = np.roll(truth == 1, 3 * place, 1).astype(np.uint8)
            image = np.stack([np.uint8(60 + 100 * (truth == 1))] * 3)
            np.savez(folder / arm / f"shown-{place}.npz", image=image, truth=truth, predicted=predicted)
    return {arm: folder / arm for arm in ARMS[:3]}


def test_the_page_is_complete_and_says_no_more_than_its_intervals(tmp_path: Path) -> None:
    page = write_segmentation_page(tmp_path / "segmentation.html", made(), shown(tmp_path / "work")).read_text()
    assert "pretraining changes Dice by +3.1 points (95%: +1.2 to +5.0): better." in page
    assert "pretraining changes Dice by +0.4 points (95%: -1.0 to +1.8): the two cannot be told apart." in page
    assert "pretraining changes Dice by -2.0 points: one seed, which decides nothing." in page
    assert page.count("<img") == 2 * (2 + 3)
    for title in (
        "How many masks it takes",
        "All figures",
        "Differences, paired by seed",
        "Masks",
        "How this was made",
    ):
        assert f"<h2>{title}</h2>" in page
    assert "Otsu: 0.861" in page
    assert "0.880 ± 0.012" in page
    assert "2 images have no mask of the same name" in page


def test_names_from_the_data_are_text(tmp_path: Path) -> None:
    page = write_segmentation_page(tmp_path / "segmentation.html", made(), {}).read_text()
    assert "<b>nucleus" not in page
    assert "nuclei &amp; more" in page
    assert "<h2>Masks</h2>" not in page


def test_every_class_has_a_colour_and_pixels_without_a_label_are_grey() -> None:
    mask = np.array([[0, 1, len(PALETTE), IGNORED]], dtype=np.uint8)
    assert coloured(mask)[0].tolist() == [*PALETTE[[0, 1, 0]].tolist(), list(UNKNOWN)]


@pytest.mark.parametrize("name", ["pretrained", "pixels"])
def test_an_arm_that_was_not_asked_for_is_left_out(tmp_path: Path, name: str) -> None:
    summary = made()
    summary["rows"] = [one for one in summary["rows"] if one["arm"] != name]
    summary["differences"] = []
    page = write_segmentation_page(tmp_path / "segmentation.html", summary, {}).read_text()
    assert "<h2>All figures</h2>" in page
    assert "Differences, paired by seed" not in page
