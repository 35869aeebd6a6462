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

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss, normalize
from barlow.studies.cells import Cell, Figures
from barlow.studies.duality_findings import conclude
from barlow.studies.features import load_material, random_network, two_halves, view_features
from barlow.studies.study import Settings, Study
from barlow.theory.moments import Moments
from barlow.theory.projectors import pearson_projector

Kind = Literal["gaussian", "start", "optimum"]
"""gaussian: independent features whose two views correlate by CORRELATION. start: a random linear projector on an
untrained ResNet. optimum: on the same, the linear projector with the least complete Pearson loss."""

KINDS: tuple[Kind, ...] = ("gaussian", "start", "optimum")
NORMALIZATIONS: tuple[Normalization, ...] = ("pearson", "sample_cosine", "covariance")
"""The official one; the one that makes all samples equally long; none."""
CORRELATION = 0.6
WEIGHT = 0.02
NUM_VIEWS = 8


def _cells(settings: Settings) -> list[Cell]:
    quick = settings.form == "quick"
    return [
        Cell(
            f"{kind}-seed{seed}",
            _measure,
            {
                "data": settings.data,
                "data_root": settings.data_root,
                "kind": kind,
                "seed": seed,
                "widths": [32, 128],
                "batches": [16, 64, 256] if quick else [16, 32, 64, 128, 256, 512],
                "draws": 20 if quick else 100,
                "most_images": 600 if quick else 5000,
            },
        )
        for seed in range(settings.seeds)
        for kind in KINDS
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
) -> Figures:
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
    material = load_material(data, data_root)
    own, _ = two_halves(material, most_images, seed)
    network = random_network("resnet", material, seed)
    return view_features(network, material, own, num_views=NUM_VIEWS, seed=seed)


def _projector(h: Tensor, width: int, kind: Kind, generator: torch.Generator) -> Tensor:
    if kind == "start":
        weight: Tensor = torch.randn(width, h.shape[2], dtype=h.dtype, generator=generator) / h.shape[2] ** 0.5
        return weight
    moments = Moments(h.shape[2], num_blocks=1)
    moments.add(h)
    covariances = moments.population()
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


def _identities(z_a: Tensor, z_b: Tensor) -> Figures:
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


def _same_samples(pairs: list[tuple[Tensor, Tensor]]) -> Figures:
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


STUDY = Study(
    "Features or samples: two sides of one sum",
    "The paper calls Barlow Twins feature-contrastive, and takes from Garrido et al. (2023) that feature- and "
    "sample-contrastive losses agree in their off-diagonal terms; it looks at the diagonal ones itself. The duality is "
    "an identity between sums of squares that leaves diagonal terms over: here are both, and what those terms do.",
    _cells,
    conclude,
)
