"""What the study of the normalisation concludes: the predictions' verdicts, tables over arms, curves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from barlow.report.study_page import Curve, Findings, Plot, Table
from barlow.studies.cells import Finished
from barlow.studies.predictions import Arms, predictions

NO_ARM = ("solved", "waterline", "last_norm")
"""Cells that are no arms of the grid."""
SPREAD_SHOWN = ("backbone_limit", "few_labels")
COLORS = ("c1", "c2", "c3")


def conclude(cells: Sequence[Finished]) -> Findings:
    """Return the verdicts with the tables and curves that they rest on.

    Args:
        cells: of the study, in order.
    """
    arms = by_arm(cells)
    parts = [_backbones(arms), _losses(arms), _rates(arms), _asymmetry(arms), _waterline(arms)]
    return Findings(predictions(arms), [part for part in parts if part is not None])


def by_arm(cells: Sequence[Finished]) -> Arms:
    """Return figures by arm, in the order of the seeds.

    Args:
        cells: named <arm>-seed<number>.
    """
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: int(cell.arguments["seed"])):
        found[cell.name.rsplit("-seed", 1)[0]].append(cell.figures)
    order = [cell.name.rsplit("-seed", 1)[0] for cell in cells]
    return {name: found[name] for name in dict.fromkeys(order)}


def _grid(arms: Arms) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {name: figures for name, figures in arms.items() if name not in NO_ARM}


def _backbones(arms: Arms) -> Table:
    keys = {
        "backbone_limit": "L*_P(h)",
        "share_h": "share of augmentation",
        "mean_rho": "mean rho",
        "effective_rank": "effective rank",
        "few_labels": "100 labels",
        "linear": "all labels",
        "knn": "neighbours",
    }
    rows: list[list[str | float]] = []
    grid = _grid(arms)
    states = [("untrained", "start", next(iter(grid.values())))]
    states += [(name, "end", figures) for name, figures in grid.items() if not name.endswith("frozen")]
    if "solved" in arms:
        states.append(("raw, projector solved", "end", arms["solved"]))
    several = len(states[0][2]) > 1
    for name, when, figures in states:
        rows.append([name])
        for key in keys:
            values = [one[when][key] for one in figures]
            rows[-1] += [fmean(values), stdev(values)] if several and key in SPREAD_SHOWN else [fmean(values)]
    head = [""]
    for key, title in keys.items():
        head += [title, "sd"] if several and key in SPREAD_SHOWN else [title]
    reading = (
        "On test images with all 54 views. L*_P(h): least Pearson loss of a linear projector on this backbone; share "
        "of augmentation: tr W / tr T; accuracies: 100 labels, all labels, 20 neighbours; sd: over seeds."
    )
    return Table("Backbones", reading, head, rows)


def _losses(arms: Arms) -> Table:
    rows: list[list[str | float]] = [
        [name]
        + [
            fmean(one[when][key] for one in figures)
            for key in ("own_loss", "pearson_loss")
            for when in ("start", "end")
        ]
        + [fmean(one[when]["share_z"] for one in figures) for when in ("start", "end")]
        for name, figures in _grid(arms).items()
    ]
    head = ["", "own, start", "own, end", "Pearson, start", "Pearson, end", "share in z, start", "share in z, end"]
    reading = (
        "Complete losses of z on test images, evaluation mode, mean over seeds. D = 32 is the loss of z = 0. Share of "
        "augmentation in the variance of z. Own losses of different normalisations are different things."
    )
    return Table("Losses", reading, head, rows)


def _rates(arms: Arms) -> Table:
    grid = _grid(arms)
    tried = list(next(iter(grid.values()))[0]["validation"])
    rows: list[list[str | float]] = [
        [
            name,
            ", ".join(f"{one['rate']:g}" for one in figures),
            *(fmean(one["validation"][rate] for one in figures) for rate in tried),
            fmean(one["gradient_ratio"] for one in figures),
        ]
        for name, figures in grid.items()
    ]
    head = ["", "chosen, by seed", *(f"loss at {rate}" for rate in tried), "gradients"]
    reading = (
        "Own complete loss on validation images at each rate, by which the rate was chosen; gradients: that of the "
        "backbone over that of the projector at the end."
    )
    return Table("Learning rates and gradients", reading, head, rows)


def _asymmetry(arms: Arms) -> Plot | None:
    name = "pearson-linear-trained"
    if name not in arms:
        return None
    curves = []
    for color, (when, label) in zip(COLORS, (("start", "untrained"), ("end", "trained")), strict=False):
        found = arms[name][0][when]["asymmetry"]
        curves.append(Curve(label, found["sizes"], found["measured"], color))
        curves.append(Curve(f"{label}, formula", found["sizes"], found["expected"], color, dashed=True))
    reading = "Pearson, linear, one seed; root mean square of |C - C^T| over batches of N pairs. P8."
    return Plot("Asymmetry of a batch", reading, "N", curves, log_x=True, log_y=True)


def _waterline(arms: Arms) -> Plot | None:
    if "waterline" not in arms:
        return None
    found = arms["waterline"][0]["found"]
    curves = []
    for color, width in zip(COLORS, dict.fromkeys(one["width"] for one in found), strict=False):
        own = [one for one in found if one["width"] == width]
        weights = [one["weight"] for one in own]
        curves.append(Curve(f"D = {width}", weights, [one["active"] for one in own], color))
        curves.append(Curve("", weights, [one["predicted"] for one in own], color, dashed=True))
    reading = "Directions in use after descent on an untrained backbone, one seed; dashed: above the waterline. P7."
    return Plot("Directions in use", reading, "lambda", curves, log_x=True)
