"""The seven pictures of docs/seven-pictures.md, each from real runs on the built-in digits, seed 0.

python examples/seven_pictures.py docs/pictures          about three minutes on two cores; runs are kept in runs/seven
python examples/seven_pictures.py docs/pictures 5        the fifth alone
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import barlow
from barlow.evaluation.scores import calibrate
from barlow.report.evidence import coloured, film_bytes
from barlow.report.run_folder import RunFiles, read_run
from barlow.runs.build import untrained_backbone
from barlow.theory.intraclass import intraclass_correlations

WEIGHT, WIDTH = 0.02, 32
"""lambda and D of the linear projectors."""
ARMS: dict[str, dict[str, Any]] = {
    "pearson": {},
    "linear-pearson": {"projector": f"linear-{WIDTH}"},
    "linear-none": {"projector": f"linear-{WIDTH}", "normalization": "covariance"},
    "no-redundancy-term": {"redundancy_weight": 0.0},
}
"""Runs: the recipe for digits, and what is changed in it."""
EPOCHS = 24
BLUE, ORANGE, GREY = "#0b6bbe", "#b4530a", "#5a626c"
Line = tuple[str, str, Sequence[float], Sequence[float]]
"""Name, colour, x, y."""


@cache
def trained(arm: str) -> barlow.Run:
    return barlow.pretrain("digits", labels="none", epochs=EPOCHS, out=f"runs/seven/{arm}", **ARMS[arm])


def files(arm: str) -> RunFiles:
    return read_run(Path(trained(arm).folder))


@cache
def features(arm: str, untrained: bool = False) -> Tensor:
    """Eight views of 600 digits as features h, (600, 8, d)."""
    run, source = trained(arm), barlow.load_source("digits")
    network: Any = run.backbone
    if untrained:
        network = calibrate(untrained_backbone(run.modality, run.recipe, run.facts), source, run.views.plain)
    generator, view = torch.Generator().manual_seed(0), run.views.studied
    samples = next(source.batches(list(range(600)), 600)).samples
    with torch.inference_mode():
        return torch.stack([network.eval()(view.apply(samples, view.sample(samples, generator))) for _ in range(8)], 1)


def spectrum(h: Tensor) -> Tensor:
    moments = barlow.Moments(h.shape[2])
    moments.add(h)
    found = moments.covariances()
    return intraclass_correlations(found.between, found.total).clipped


def c_over_a_run(to: Path) -> str:
    moments = files("pearson").moments()
    (to / "1-correlation.gif").write_bytes(film_bytes([matrix for _, matrix in moments]))
    first, last = (np.diagonal(moments[place][1]).mean() for place in (0, -1))
    return f"mean of the diagonal {first:.2f} after {moments[0][0]:.0f} epochs, {last:.2f} at the end"


def two_terms(to: Path) -> str:
    run = files("pearson")
    parts = {name: run.curve("step", "parts", name) for name in ("on_diagonal", "off_diagonal")}
    floor = barlow.batch_floor(num_samples=128, num_features=256, redundancy_weight=WEIGHT)
    names = zip(parts.items(), ("invariance", "redundancy"), (BLUE, ORANGE), strict=True)
    lines: list[Line] = [(called, colour, x.tolist(), y.tolist()) for (_, (x, y)), called, colour in names]
    x = lines[0][2]
    lines.append(("floor of both together", GREY, [x[0], x[-1]], [floor, floor]))
    draw(to / "2-two-terms.svg", lines, "epoch", "part of the loss", log_y=True)
    return f"invariance ends at {lines[0][3][-1]:.1f}, redundancy at {lines[1][3][-1]:.1f}; floor {floor:.2f}"


def normalisation(to: Path) -> str:
    lines: list[Line] = []
    for arm, called, colour in (("linear-pearson", "Pearson", BLUE), ("linear-none", "no normalisation", ORANGE)):
        x, y = files(arm).curve("probe", "figures", "invariance_share")
        lines.append((called, colour, x.tolist(), (1 - y).tolist()))
    draw(to / "3-normalisation.svg", lines, "epoch", "augmentation in the variance of h")
    return ", ".join(f"{name} ends at {y[-1]:.2f}" for name, _, _, y in lines)


def duality(to: Path) -> str:
    a, b = (features("pearson")[:64, view].double() for view in (0, 1))
    a, b = ((z - z.mean(0)) / z.std(0, correction=0).clamp(min=1e-9) for z in (a, b))
    c, grams = a.T @ b / len(a), (a @ a.T) * (b @ b.T) / len(a) ** 2
    pictures = [c.numpy(), (grams / grams.abs().max()).numpy()]
    beside(to / "4-duality.png", pictures)
    return f"sum of the squares of C {float(c.square().sum()):.6f}, sum over pairs of samples {float(grams.sum()):.6f}"


def best_projector(to: Path) -> str:
    lines: list[Line] = []
    for called, colour, h in (
        ("trained", BLUE, features("pearson")),
        ("untrained", ORANGE, features("pearson", untrained=True)),
    ):
        rho = spectrum(h)
        lines.append((called, colour, list(range(1, len(rho) + 1)), rho.tolist()))
    filled = barlow.water_filling(lines[0][3], WIDTH, WEIGHT)
    used = [float(g) for g in filled.budget if g > 0]
    scale = max(used)
    lines.append(("budget of the best projector", GREY, list(range(1, len(used) + 1)), [g / scale for g in used]))
    draw(to / "5-spectrum.svg", lines, "direction, most invariant first", "intraclass correlation")
    return f"{len(used)} directions get a share of {WIDTH} outputs; least loss {filled.loss:.3f}"


def redundancy_weight(to: Path) -> str:
    rho = spectrum(features("pearson")).tolist()
    weights = np.geomspace(1e-4, 1, 25).tolist()
    found = [barlow.water_filling(rho, WIDTH, weight) for weight in weights]
    used = [float((one.budget > 0).sum()) for one in found]
    draw(to / "6-lambda.svg", [("directions in use", BLUE, weights, used)], "lambda", f"of {WIDTH}", log_x=True)
    return f"directions in use: {used[0]:.0f} at lambda 0.0001, {used[-1]:.0f} at 1"


def collapse(to: Path) -> str:
    ends = [files(arm).moments()[-1][1] for arm in ("pearson", "no-redundancy-term")]
    beside(to / "7-collapse.png", ends)
    off = [np.abs(end[~np.eye(len(end), dtype=bool)]).mean() for end in ends]
    return f"mean size off the diagonal {off[0]:.2f} with the redundancy term, {off[1]:.2f} without"


PICTURES: tuple[Callable[[Path], str], ...] = (
    c_over_a_run, two_terms, normalisation, duality, best_projector, redundancy_weight, collapse,
)  # fmt: skip


def beside(path: Path, matrices: Sequence[np.ndarray[Any, Any]], side: int = 256, gap: int = 24) -> None:
    """Matrices in [-1, 1] side by side."""
    picture = Image.new("RGB", (len(matrices) * (side + gap) - gap, side), "white")
    for place, matrix in enumerate(matrices):
        one = Image.fromarray(coloured(matrix)).resize((side, side), Image.Resampling.NEAREST)
        picture.paste(one, (place * (side + gap), 0))
    picture.quantize(64).save(path, optimize=True)


def draw(
    path: Path, lines: Sequence[Line], x_name: str, y_name: str, *, log_x: bool = False, log_y: bool = False
) -> None:
    """Lines over one axis, their names at the end, as SVG; large enough to be read at 390 pixels."""
    width, height, left, right, top, bottom = 640, 360, 62, 16, 56, 48
    xs, ys = [x for line in lines for x in line[2]], [y for line in lines for y in line[3]]
    ys = ys if log_y else [0.0, *ys]
    across, up = axis(xs, log_x), axis(ys, log_y)

    def at(x: float, y: float) -> str:
        return f"{left + across(x) * (width - left - right):.1f},{top + (1 - up(y)) * (height - top - bottom):.1f}"

    marks = []
    for place, (value_x, value_y) in enumerate(zip(ticks(xs, log_x), ticks(ys, log_y), strict=True)):
        x, y = float(at(value_x, min(ys)).split(",")[0]), float(at(min(xs), value_y).split(",")[1])
        anchor = ("start", "middle", "end")[place]
        marks.append(f'<text x="{x:.0f}" y="{height - 28}" text-anchor="{anchor}">{value_x:.3g}</text>')
        marks.append(f'<text x="{left - 8}" y="{y + 5:.0f}" text-anchor="end">{value_y:.3g}</text>')
        marks.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2ded5"/>')
    for place, (name, colour, x_values, y_values) in enumerate(lines):
        points = " ".join(at(x, y) for x, y in zip(x_values, y_values, strict=True))
        marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        start = left + place * (width - left) / max(2, len(lines))
        marks.append(f'<text x="{start:.0f}" y="18" fill="{colour}" font-weight="600">{name}</text>')
    marks.append(f'<text x="{width - right}" y="{height - 8}" text-anchor="end" fill="#5a626c">{x_name}</text>')
    marks.append(f'<text x="4" y="{top - 16}" fill="#5a626c" font-size="14">{y_name}</text>')
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="15"><rect width="{width}" height="{height}" fill="#fff"/>{"".join(marks)}</svg>\n',
        encoding="utf-8",
    )


def axis(values: Sequence[float], log: bool) -> Callable[[float], float]:
    """Value -> its place from 0 to 1."""
    low, high = (np.log(max(value, 1e-9)) if log else value for value in (min(values), max(values)))
    return lambda value: float(((np.log(max(value, 1e-9)) if log else value) - low) / ((high - low) or 1.0))


def ticks(values: Sequence[float], log: bool) -> tuple[float, float, float]:
    low, high = max(min(values), 1e-9) if log else min(values), max(values)
    return low, float(np.sqrt(low * high)) if log else (low + high) / 2, high


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(PICTURES, start=1):
        if not sys.argv[2:] or str(number) in sys.argv[2:]:
            print(f"{number} {picture.__name__.replace('_', ' ')}: {picture(folder)}")
