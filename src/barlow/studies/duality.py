"""Study: feature-contrastive equals sample-contrastive up to diagonal terms (Garrido et al. 2023), and what they do.

Z (N x D): the Gram matrices of features Z^T Z and of samples K = Z Z^T have one norm, so with f_ij = (Z^T Z)_ij

    sum_{i != j} f_ij^2 + sum_i |z_:i|^4  =  sum_{n != m} K_nm^2 + sum_n |z_n|^4                            one view
    sum_ij C_ij^2 = (1/N^2) sum_nm K^A_nm K^B_nm                                                            two views

The pairs n = m of the second are (1/N^2) sum_n |a_n|^2 |b_n|^2: no comparison of samples, and all of the noise that a
batch adds to the squares. Without them (bias="removed") the off-diagonal term is a repulsion between different samples
alone. Measured: both identities in value and gradient; the share of the pairs n = m; the cosines between the gradients
of the loss, and of its off-diagonal term, with and without them, at a random start and at the optimum of a linear
projector.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss, normalize
from barlow.report.study_page import Conclusion, Curve, Finding, Plot, Table
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.images import load_sampled
from barlow.studies.outcomes import held_if
from barlow.studies.study import Settings, Study
from barlow.theory.moments import population_covariances
from barlow.theory.projectors import pearson_projector

Kind = Literal["gaussian", "start", "optimum"]
"""gaussian: independent features whose two views correlate by CORRELATION. start: a random linear projector on an
untrained ResNet. optimum: on the same, the linear projector with the least complete Pearson loss."""

NORMALIZATIONS: dict[Normalization, str] = {
    "pearson": "Pearson",
    "sample_cosine": "sample cosine",
    "covariance": "centred only",
}
"""The official one; the one that makes all samples equally long; none. With their names on the page."""
CORRELATION = 0.6
WEIGHT = 0.02
NUM_VIEWS = 8


def _cells(settings: Settings) -> list[Cell]:
    quick = settings.form == "quick"
    sizes = {
        "widths": [32, 128],
        "batches": [16, 64, 256] if quick else [16, 32, 64, 128, 256, 512],
        "draws": 20 if quick else 100,
        "most_images": 600 if quick else 5000,
    }
    return [
        Cell(f"{kind}-seed{seed}", _measure, {**settings.data_arguments, "kind": kind, "seed": seed, **sizes})
        for seed in range(settings.seeds)
        for kind in get_args(Kind)
    ]


def _measure(
    work: Path,
    *,
    data: str,
    data_root: str,
    kind: Kind,
    seed: int,
    widths: list[int],
    batches: list[int],
    draws: int,
    most_images: int,
) -> Metrics:
    generator = torch.Generator().manual_seed(seed)
    h = None if kind == "gaussian" else _features(data, data_root, seed, most_images)
    rows = []
    for width in widths:
        z = None if h is None else h @ _projector(h, width, kind, generator).T
        for batch in batches:
            pairs = [_pair(z, batch, width, generator) for _ in range(draws)]
            rows.append({"width": width, "batch": batch, **_identities(*pairs[0]), **_same_samples(pairs)})
    return {"rows": rows}


def _features(data: str, data_root: str, seed: int, most_images: int) -> Tensor:
    images = load_sampled(data, data_root)
    own, _ = images.two_halves(most_images, seed)
    return images.features(images.untrained_network("resnet", seed), own, num_views=NUM_VIEWS, seed=seed)


def _projector(h: Tensor, width: int, kind: Kind, generator: torch.Generator) -> Tensor:
    if kind == "start":
        weight: Tensor = torch.randn(width, h.shape[2], dtype=h.dtype, generator=generator) / h.shape[2] ** 0.5
        return weight
    covariances = population_covariances(h)
    return pearson_projector(covariances.between, covariances.total, width, WEIGHT).weight


def _pair(z: Tensor | None, batch: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two views of a batch: drawn with replacement from all images and views, or from the Gaussian."""
    if z is None:
        shared, a, b = torch.randn(3, batch, width, dtype=torch.float64, generator=generator)
        own = (1 - CORRELATION) ** 0.5
        return CORRELATION**0.5 * shared + own * a, CORRELATION**0.5 * shared + own * b
    images = torch.randint(len(z), (batch,), generator=generator)
    views = torch.randint(z.shape[1], (2, batch), generator=generator)
    return z[images, views[0]], z[images, views[1]]


def _identities(z_a: Tensor, z_b: Tensor) -> Metrics:
    """Relative differences of the two sides, in value and in gradient."""
    z = normalize(z_a, "pearson").requires_grad_()
    f, k = z.T @ z, z @ z.T
    features = f.square().sum() - f.diagonal().square().sum()
    samples = k.square().sum() - k.diagonal().square().sum()
    left, right = features + z.norm(dim=0).pow(4).sum(), samples + z.norm(dim=1).pow(4).sum()
    a, b = (normalize(view, "pearson").requires_grad_() for view in (z_a, z_b))
    squares = (a.T @ b / len(a)).square().sum()
    products = ((a @ a.T) * (b @ b.T)).sum() / len(a) ** 2
    return {
        "one_view": _difference(left, right),
        "one_view_gradient": _gradient_difference(left, right, [z]),
        "two_views": _difference(squares, products),
        "two_views_gradient": _gradient_difference(squares, products, [a, b]),
        "removed": _without_same_samples(z_a, z_b),
        "cosine_of_contrasts": _cosine(_gradient(features, [z]), _gradient(samples, [z])),
    }


def _without_same_samples(z_a: Tensor, z_b: Tensor) -> float:
    """bias="removed" beside a plain sum over pairs of different samples."""
    a, b = normalize(z_a, "pearson"), normalize(z_b, "pearson")
    terms = barlow_twins_loss(z_a, z_b, redundancy_weight=1.0, bias="removed").parts["off_diagonal"]
    n = len(a)
    kernel = (a @ a.T) * (b @ b.T) - (a * b) @ (a * b).T  # i != j only
    pairs = (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
    scale = float((a.T @ b / n).square().sum())
    return float((terms - pairs).abs()) / scale


def _same_samples(pairs: list[tuple[Tensor, Tensor]]) -> Metrics:
    """Mean share of the pairs n = m in the off-diagonal squares; cosine of the gradients with and without them."""
    found: dict[str, list[float]] = {}
    for z_a, z_b in pairs:
        for name in NORMALIZATIONS:
            a, b = normalize(z_a, name), normalize(z_b, name)
            p, c = a * b, a.T @ b / len(a)
            rest = c.square().sum() - c.diagonal().square().sum()
            own = ((a.square().sum(1) * b.square().sum(1)).sum() - p.square().sum()) / len(a) ** 2
            kept = _loss_gradients(z_a, z_b, name, "kept")
            removed = _loss_gradients(z_a, z_b, name, "removed")
            found.setdefault(f"share_{name}", []).append(float(own / rest))
            found.setdefault(f"cosine_{name}", []).append(_cosine(kept[0], removed[0]))
            found.setdefault(f"off_diagonal_{name}", []).append(_cosine(kept[1], removed[1]))
    return {name: sum(values) / len(values) for name, values in found.items()}


def _loss_gradients(z_a: Tensor, z_b: Tensor, normalization: Normalization, bias: Bias) -> tuple[Tensor, Tensor]:
    """Gradients of the whole loss and of its off-diagonal term."""
    a, b = z_a.clone().requires_grad_(), z_b.clone().requires_grad_()
    terms = barlow_twins_loss(a, b, redundancy_weight=WEIGHT, normalization=normalization, bias=bias)
    return _gradient(terms.total, [a, b]), _gradient(terms.parts["off_diagonal"], [a, b])


def _gradient(value: Tensor, inputs: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, inputs, retain_graph=True)])


def _difference(left: Tensor, right: Tensor) -> float:
    return float((left - right).detach().abs() / right.detach().abs())


def _gradient_difference(left: Tensor, right: Tensor, inputs: list[Tensor]) -> float:
    one, other = _gradient(left, inputs), _gradient(right, inputs)
    return float((one - other).norm() / other.norm())


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    return Conclusion(
        [
            _identity(cells),
            _contrasts(cells),
            _noise(cells),
            *(_direction(cells, name) for name in NORMALIZATIONS),
        ],
        [_identity_table(cells), _pair_table(cells), _shares(cells), _cosines(cells)],
    )


STUDY = Study(
    "Features or samples: two sides of one sum",
    "The paper calls Barlow Twins feature-contrastive, and takes from Garrido et al. (2023) that feature- and "
    "sample-contrastive losses agree in their off-diagonal terms; it looks at the diagonal ones itself. The duality is "
    "an identity between sums of squares that leaves diagonal terms over: here are both, and what those terms do.",
    _cells,
    _conclude,
)


EXACT = 1e-10
"""Relative difference that is rounding in float64: sums of N D^2 products of order 1 in two different orders."""
SAME = 0.99
"""Cosine of two gradients that still counts as one direction: an angle of 8 degrees."""
NOISE_SHARE = 0.1
"""How far the share of the pairs n = m may be from 1 where nothing but noise is off the diagonal."""

IDENTITIES = ("one_view", "one_view_gradient", "two_views", "two_views_gradient", "removed")
TITLES = {"gaussian": "Gaussian features", "start": "random projector", "optimum": "optimal linear projector"}

Row = Mapping[str, Any]
"""What was measured on one kind of features, whose title it has as "where", at one D and N."""


def _rows(cells: Sequence[Finished]) -> list[Row]:
    return [row | {"where": TITLES[cell.arguments["kind"]]} for cell in cells for row in cell.metrics["rows"]]


def _first_seed(cells: Sequence[Finished]) -> list[Row]:
    return _rows([cell for cell in cells if cell.arguments["seed"] == cells[0].arguments["seed"]])


def _place(row: Row) -> str:
    return f"{row['where']}, N = {row['batch']}, D = {row['width']}"


def _identity(cells: Sequence[Finished]) -> Finding:
    rows = _rows(cells)
    worst = {name: max(row[name] for row in rows) for name in IDENTITIES}
    return Finding(
        "Duality",
        "Feature contrast plus its diagonal equals sample contrast plus its diagonal, in value and gradient, and the "
        "loss without the pairs n = m is a sum over pairs of different samples.",
        held_if(max(worst.values()) < EXACT),
        f"the largest relative differences over {len(rows)} cases are {worst['one_view']:.0e} (one view), "
        f"{worst['one_view_gradient']:.0e} (its gradient), {worst['two_views']:.0e} and "
        f"{worst['two_views_gradient']:.0e} (two views), {worst['removed']:.0e} (pairs n != m).",
    )


def _contrasts(cells: Sequence[Finished]) -> Finding:
    rows = sorted(_rows(cells), key=lambda row: float(row["cosine_of_contrasts"]))
    cosines = [row["cosine_of_contrasts"] for row in rows]
    return Finding(
        "Duality",
        f"The diagonal terms do not matter: the two off-diagonal sums push standardised embeddings in one direction "
        f"(cosine of their gradients at least {SAME}).",
        held_if(cosines[0] >= SAME),
        f"the cosine is {cosines[0]:.3f} ({_place(rows[0])}) to {cosines[-1]:.3f} ({_place(rows[-1])}), in "
        f"{sum(cosine >= SAME for cosine in cosines)} of {len(cosines)} cases above {SAME}. Standardising makes the "
        "columns equally long, not the rows, and sum |z_n|^4 remains.",
    )


def _noise(cells: Sequence[Finished]) -> Finding:
    """For independent features nothing but noise is off the diagonal, so that the pairs n = m are all of it."""
    shares = [row["share_pearson"] for row in _rows(cells) if row["where"] == TITLES["gaussian"]]
    others = [row["share_pearson"] for row in _rows(cells) if row["where"] != TITLES["gaussian"]] or [float("nan")]
    statement = (
        f"For uncorrelated features the off-diagonal term is nothing but the pairs n = m (to {100 * NOISE_SHARE:g}%)."
    )
    if not shares:
        return Finding("Noise", statement, "undecided", "no Gaussian features were measured.")
    return Finding(
        "Noise",
        statement,
        held_if(all(abs(share - 1) < NOISE_SHARE for share in shares)),
        f"their share is {min(shares):.3f} to {max(shares):.3f} of the sum of squares at every N and D; on features "
        f"of images it is {min(others):.3f} to {max(others):.3f}, falling with N.",
    )


def _direction(cells: Sequence[Finished], name: Normalization) -> Finding:
    rows, metric = _rows(cells), f"cosine_{name}"
    low = min(rows, key=lambda row: float(row[metric]))
    largest = max(row["batch"] for row in rows)
    late = [row[metric] for row in rows if row["batch"] == largest]
    term = [row[f"off_diagonal_{name}"] for row in rows]
    return Finding(
        "n = m",
        f"Dropping the pairs n = m leaves the direction of the gradient as it is ({NORMALIZATIONS[name]}, cosine at "
        f"least {SAME}).",
        held_if(low[metric] >= SAME),
        f"the cosine is {low[metric]:.3f} at worst ({_place(low)}), "
        f"and {min(late):.3f} to {max(late):.3f} at N = {largest}; of the off-diagonal term alone it is "
        f"{min(term):.3f} to {max(term):.3f}.",
    )


def _identity_table(cells: Sequence[Finished]) -> Table:
    keys = ("where", "width", "batch", *IDENTITIES, "cosine_of_contrasts")
    return Table(
        "The identities",
        "Relative differences of the two sides, first seed; the last column is the cosine between the gradients of "
        "the off-diagonal sums of Z^T Z and of Z Z^T.",
        ["", "D", "N", "one view", "gradient", "two views", "gradient", "pairs n != m", "cosine of contrasts"],
        [[row[key] for key in keys] for row in _first_seed(cells)],
    )


def _pair_table(cells: Sequence[Finished]) -> Table:
    columns = {
        f"{what}_{name}": f"{name_on_page}: {title}"
        for name, name_on_page in NORMALIZATIONS.items()
        for what, title in (("share", "share"), ("cosine", "cosine"), ("off_diagonal", "off-diagonal cosine"))
    }
    by_case: dict[tuple[str, int, int], list[Row]] = {}
    for row in _rows(cells):
        by_case.setdefault((row["where"], row["width"], row["batch"]), []).append(row)
    return Table(
        "What the pairs n = m do",
        "Share of the pairs n = m in the sum of off-diagonal squares; cosines between the gradients of the loss, and "
        "of its off-diagonal term alone, with and without them. Means over draws and seeds.",
        ["", "D", "N", *columns.values()],
        [[*case, *(fmean(row[key] for row in rows) for key in columns)] for case, rows in by_case.items()],
    )


def _shares(cells: Sequence[Finished]) -> Plot:
    reading = "Pearson, the largest D, first seed. What is not the pairs n = m is correlation that more samples keep."
    curves = _curves(cells, "share_pearson")
    return Plot("Share of the pairs n = m", reading, "batch size N", curves, log_x=True, y_name="Share")


def _cosines(cells: Sequence[Finished]) -> Plot:
    reading = "Pearson, the largest D, first seed: 1 means that dropping the pairs n = m changes no direction."
    curves = _curves(cells, "cosine_pearson")
    return Plot("Cosine of the gradients", reading, "batch size N", curves, log_x=True, y_name="Cosine")


def _curves(cells: Sequence[Finished], metric: str) -> list[Curve]:
    rows = _first_seed(cells)
    width = max(row["width"] for row in rows)
    curves = []
    for color, title in zip(("c1", "c2", "c3"), TITLES.values(), strict=True):
        own = [row for row in rows if row["where"] == title and row["width"] == width]
        curves.append(Curve(title, [row["batch"] for row in own], [row[metric] for row in own], color))
    return curves
