"""The page of a segmentation: Dice by the number of labelled images, differences, masks to look at. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barlow.formats import count, duration, number, text
from barlow.report.charts import Line, Mark, line_chart
from barlow.report.evidence import image_tag
from barlow.report.page import contents, write_page
from barlow.report.sections import grid, section, table

NAMES = {
    "pretrained": "pretrained encoder, all fine-tuned",
    "scratch": "same network from scratch",
    "frozen": "pretrained encoder, frozen",
    "pixels": "pixel classifier",
}
COLORS = {"pretrained": "c1", "scratch": "c2", "frozen": "c3", "pixels": "c4"}
COLUMNS = {
    "dice": "Dice per image",
    "iou": "IoU per image",
    "set_iou": "IoU over the set",
    "accuracy": "right pixels",
    "hausdorff": "Hausdorff, px",
    "hausdorff95": "95% of it, px",
}
IGNORED = 255
PALETTE = np.array(
    [(20, 24, 32), (66, 165, 245), (255, 167, 38), (102, 187, 106), (171, 71, 188), (255, 238, 88), (236, 64, 122),
     (38, 198, 218)], dtype=np.uint8,
)  # fmt: skip
"""Colours of classes, repeated where there are more."""
UNKNOWN = (120, 120, 120)


def write_segmentation_page(path: Path, summary: Mapping[str, Any], shown: Mapping[str, Path]) -> Path:
    """Write the page; `shown` has the folder with the pictures of each arm."""
    parts = [_curve(summary), _figures(summary), _differences(summary), _pictures(summary, shown), _record(summary)]
    title = f"Segmentation of {Path(summary['data']).name} with few masks"
    notes = "".join(f"<li>{text(note)}</li>" for note in (*_said(summary), *summary["notes"]))
    lead = (
        f"{summary['backbone']}, {count(summary['settings']['seeds'], 'seed')}, "
        f"{summary['settings']['steps']} steps of fine-tuning, scored on {count(summary['num_test'], 'image')} that "
        "no arm was trained on."
    )
    header = f'<header><h1>{text(title)}</h1><p class="lead">{text(lead)}</p><ul class="said">{notes}</ul>'
    return write_page(path, title, f"{header}{contents(parts)}</header>{''.join(parts)}")


def _said(summary: Mapping[str, Any]) -> list[str]:
    """What the differences from scratch say, in words that claim no more than their intervals."""
    found = []
    for one in summary["differences"]:
        if one["minus"] != "scratch" or one["figure"] != "dice" or one["mean"] is None:
            continue
        about = f"With {one['labels']} labelled images, pretraining changes Dice by {100 * one['mean']:+.1f} points"
        if one["low"] is None:
            found.append(f"{about}: one seed, which decides nothing.")
            continue
        told = "better" if one["low"] > 0 else "worse" if one["high"] < 0 else "the two cannot be told apart"
        found.append(f"{about} (95%: {100 * one['low']:+.1f} to {100 * one['high']:+.1f}): {told}.")
    return found


def _curve(summary: Mapping[str, Any]) -> str:
    lines = []
    for arm, name in NAMES.items():
        rows = [row for row in summary["rows"] if row["arm"] == arm and row["dice"]["mean"] is not None]
        labels = np.array([float(_num_labels(row, summary)) for row in rows])
        order = np.argsort(labels)
        dice = np.array([float(row["dice"]["mean"]) for row in rows])
        lines.append(Line(name, labels[order], dice[order], COLORS[arm]))
    bars = {name: found["dice"] for name, found in summary["bars"].items() if found["dice"] is not None}
    best = max(bars, key=lambda name: bars[name], default="")
    floor = Mark(best, float(bars[best])) if best else None
    reading = (
        f"Mean Dice per image on the test images, over {', '.join(summary['scored_classes'])}, by the number of "
        "labelled training images; the dashed line needs no labelled image."
    )
    chart = line_chart("Dice", lines, x_name="labelled images", floor=floor, height=300)
    return section("labels", "How many masks it takes", reading, chart)


def _num_labels(row: Mapping[str, Any], summary: Mapping[str, Any]) -> int:
    return int(summary["num_train"] if row["labels"] == "all" else row["labels"])


def _figures(summary: Mapping[str, Any]) -> str:
    head = ["", "labels", *COLUMNS.values()]
    rows = [
        [text(NAMES[row["arm"]]), text(row["labels"]), *(_with_std(row[name], name) for name in COLUMNS)]
        for row in summary["rows"]
    ]
    rows += [
        [text(name), "0", *(_shown(found[figure], figure) for figure in COLUMNS)]
        for name, found in summary["bars"].items()
    ]
    said = "".join(f"<li>{text(what)}.</li>" for what in summary["definitions"].values())
    reading = "Means over seeds ± standard deviation between them. What each figure is:"
    return section("figures", "All figures", reading, f'<ul class="said">{said}</ul>', table(head, rows))


def _with_std(found: Mapping[str, Any], name: str) -> str:
    shown = _shown(found["mean"], name)
    return shown if found["std"] is None else f"{shown} ± {_plain(found['std'], name)}"


def _shown(value: float | None, name: str) -> str:
    return "–" if value is None else _plain(value, name)


def _plain(value: float, name: str) -> str:
    return number(value) if name.startswith("hausdorff") else f"{value:.3f}"


def _differences(summary: Mapping[str, Any]) -> str:
    rows = []
    for one in summary["differences"]:
        if one["mean"] is None:
            continue
        interval = "one seed" if one["low"] is None else f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
        about = f"{NAMES[one['arm']]} minus {NAMES[one['minus']]}"
        rows.append(
            [text(about), text(one["labels"]), text(COLUMNS[one["figure"]]), f"{100 * one['mean']:+.1f}", interval]
        )
    reading = (
        "Points (hundredths), arms of the same seed beside each other: the same labelled images, windows and first "
        "weights of the decoder. Intervals of 95% by Student's t over the seeds; the pretraining was one run."
    )
    head = ["", "labels", "figure", "difference", "95%"]
    return section("differences", "Differences, paired by seed", reading, table(head, rows) if rows else "")


def _pictures(summary: Mapping[str, Any], shown: Mapping[str, Path]) -> str:
    cards = []
    for place in range(1, 100):
        found = {arm: folder / f"shown-{place}.npz" for arm, folder in shown.items()}
        there = {arm: _arrays(path) for arm, path in found.items() if path.is_file()}
        if not there:
            break
        first = next(iter(there.values()))
        drawn = [("image", _picture(first["image"])), ("mask", coloured(first["truth"]))]
        drawn += [(arm, coloured(arrays["predicted"])) for arm, arrays in there.items()]
        figures = (
            f"<figure>{image_tag(picture, f'{name} {place}')}<figcaption>{text(name)}</figcaption></figure>"
            for name, picture in drawn
        )
        cards.append(f'<div class="neighbours">{"".join(figures)}</div>')
    names = ", ".join(f"{_colour_name(place)} {name}" for place, name in enumerate(summary["classes"]))
    reading = (
        "Test images, their masks, and what each arm made of them with the most labels, seed 0. "
        f"{names}; grey: not labelled."
    )
    return section("masks", "Masks", reading, grid(*cards, kind="cards wide"))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("image", "truth", "predicted")}


def _picture(image: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(image, 0, -1) if len(image) in (3, 4) else image[0]


def coloured(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a mask of classes (H, W) in the colours of the page, (H, W, 3)."""
    pixels: NDArray[np.uint8] = PALETTE[mask % len(PALETTE)]
    pixels[mask == IGNORED] = UNKNOWN
    return pixels


def _colour_name(place: int) -> str:
    names = ("dark:", "blue:", "orange:", "green:", "violet:", "yellow:", "pink:", "cyan:")
    return names[place % len(names)]


def _record(summary: Mapping[str, Any]) -> str:
    settings, seconds = summary["settings"], summary["seconds"]
    rows: list[Sequence[str]] = [
        ["run", text(summary["run"])],
        ["data", text(summary["data"])],
        ["images", text(f"{summary['num_train']} for training, {summary['num_test']} for the test, split by a fixed "
                        "seed or as the folder is")],
        ["model", text(f"{summary['model']['arm']}, {summary['model']['labels']} labels, seed 0: model/; its masks "
                       "of the test images: masks/")],
        *([text(name), text(_as_words(value))] for name, value in settings.items()),
        ["measured", text(f"{count(len(seconds), 'cell')}, {duration(sum(seconds.values()))} of computing in all")],
        ["versions", text(", ".join(f"{name} {value}" for name, value in summary["versions"].items()))],
    ]  # fmt: skip
    reading = "The same command goes on where it stopped and keeps what is measured."
    return section("record", "How this was made", reading, table([], rows, numeric=False))


def _as_words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
