"""Study: any backbone and a linear projector make C the identity (equations 4 to 6). Expressible, and reached?

For three networks that nobody has trained, S = E ybar ybar^T over n images and all K^2 pairs of their K views:

    symmetric, PSD      the sum over pairs against the factored form                    C5
    C = I               P = diag(l)^-1/2 U^T for D <= rank S; `raw_floor` above         C6
    rank S, cond S      whether random features span their space                        C7
    Adam on P           on the complete loss itself, where only the condition of S is in the way;
                        on batches, as training has it; and, as a control, on whitened
                        features, S = I                                                 C7
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from barlow.studies.cells import Cell, Figures
from barlow.studies.diagonalization_findings import conclude
from barlow.studies.features import Network, load_material, random_network, two_halves, view_features
from barlow.studies.matrix_loss import matrix_loss
from barlow.studies.study import Settings, Study
from barlow.theory.complete import complete_cross_correlation, two_pipeline_cross_correlation
from barlow.theory.floors import raw_floor
from barlow.theory.projectors import raw_projector
from barlow.theory.spectrum import condition_number, numerical_rank
from barlow.theory.symmetry import skew_share

NETWORKS: tuple[Network, ...] = ("resnet", "mlp", "pixels")
WEIGHT = 0.02
"""lambda, that of the small recipes."""
RATES = (0.01, 0.03, 0.1, 0.3)
"""Steps of Adam in units of the root mean square of the first P, so that the scale of features does not matter."""
BATCH = 256
"""Pairs of views in a step on batches."""


def _cells(settings: Settings) -> list[Cell]:
    quick = settings.form == "quick"
    return [
        Cell(
            f"{network}-seed{seed}",
            _measure,
            {
                "data": settings.data,
                "data_root": settings.data_root,
                "network": network,
                "seed": seed,
                "most_images": 600 if quick else 5000,
                "num_views": 8,
                "widths": [16, 32, 64, 256],
                "descended": [32, 64],
                "steps": [10, 30, 100, 300, 1000, *([] if quick else [3000])],
            },
        )
        for seed in range(settings.seeds)
        for network in NETWORKS
    ]


def _measure(
    work: Path,
    *,
    data: str,
    data_root: str,
    network: Network,
    seed: int,
    most_images: int,
    num_views: int,
    widths: list[int],
    descended: list[int],
    steps: list[int],
) -> Figures:
    material = load_material(data, data_root)
    represent = random_network(network, material, seed)
    own, others = two_halves(material, most_images, seed)
    h = view_features(represent, material, own, num_views=num_views, seed=seed)
    unseen = view_features(represent, material, others, num_views=num_views, seed=seed + 1)
    plain = view_features(represent, material, own, num_views=0, seed=seed)
    s, s_unseen = complete_cross_correlation(h), complete_cross_correlation(unseen)
    values = torch.linalg.eigvalsh(s).flip(0)
    return {
        "num_images": len(h),
        "num_features": h.shape[2],
        "rank": numerical_rank(values.clamp(min=0)),
        "condition": condition_number(values.clamp(min=0)),
        "symmetry": _symmetry(h, s) | {"skew_with_plain_view": skew_share(two_pipeline_cross_correlation(h, plain))},
        "closed_form": [_closed_form(h, s, s_unseen, width) for width in widths],
        "descents": [one for width in descended for one in _descents(h, s, s_unseen, width, steps, seed)],
    }


def _symmetry(h: Tensor, s: Tensor) -> Figures:
    """The mean over all n K^2 ordered pairs, summed pair by pair, beside the mean of ybar ybar^T."""
    num_images, num_views, _ = h.shape
    pairs = sum((h[:, a].T @ h[:, b] for a in range(num_views) for b in range(num_views)), torch.zeros_like(s))
    pairs = pairs / (num_images * num_views**2)
    size = float(pairs.norm())
    return {
        "asymmetry": float((pairs - pairs.T).norm()) / size,
        "least_eigenvalue": float(torch.linalg.eigvalsh((pairs + pairs.T) / 2)[0]) / size,
        "difference_of_forms": float((pairs - s).norm()) / size,
    }


def _closed_form(h: Tensor, s: Tensor, s_unseen: Tensor, width: int) -> Figures:
    """The loss of the closed-form projector, measured on embeddings: nothing of S goes in but the weights."""
    projector = raw_projector(s, width, WEIGHT)
    return {
        "width": width,
        "loss": float(matrix_loss(complete_cross_correlation(h, projector.weight), WEIGHT)),
        "floor": raw_floor(width, projector.rank, WEIGHT),
        "unseen": float(matrix_loss(projector.weight @ s_unseen @ projector.weight.T, WEIGHT)),
    }


def _descents(h: Tensor, s: Tensor, s_unseen: Tensor, width: int, steps: list[int], seed: int) -> list[Figures]:
    """The three ways to descend: on the complete loss, on batches, on the complete loss of whitened features."""
    generator = torch.Generator().manual_seed(seed)
    num_images, num_views, _ = h.shape

    def complete(weight: Tensor) -> Tensor:
        return weight @ s @ weight.T

    def batch(weight: Tensor) -> Tensor:
        images = torch.randint(num_images, (BATCH,), generator=generator)
        a, b = torch.randint(num_views, (2, BATCH), generator=generator)
        return (h[images, a] @ weight.T).T @ (h[images, b] @ weight.T) / BATCH

    rank = numerical_rank(torch.linalg.eigvalsh(s).clamp(min=0))
    white = torch.eye(rank, dtype=s.dtype)
    found = []
    for kind, stepped, matrix in (
        ("complete", complete, s),
        ("batches", batch, s),
        ("whitened", lambda weight: weight @ weight.T, white),
    ):
        one = _descend(stepped, matrix, width, steps, seed)
        final = one.pop("final")
        unseen = None if kind == "whitened" else float(matrix_loss(final @ s_unseen @ final.T, WEIGHT))
        found.append({"kind": kind, "width": width, "floor": raw_floor(width, rank, WEIGHT), "unseen": unseen} | one)
    return found


def _descend(stepped: Callable[[Tensor], Tensor], s: Tensor, width: int, steps: list[int], seed: int) -> Figures:
    """Adam on P from a random start whose outputs have mean square 1, for every rate: complete loss after k steps."""
    start = torch.randn(width, len(s), dtype=s.dtype, generator=torch.Generator().manual_seed(seed))
    start *= (width / float(torch.einsum("ij,jk,ik->", start, s, start))) ** 0.5
    losses, finals = {}, {}
    for rate in RATES:
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=rate * float(start.square().mean().sqrt()))
        curve = []
        for step in range(max(steps) + 1):
            if step in steps:
                now = weight.detach()
                curve.append(float(matrix_loss(now @ s @ now.T, WEIGHT)))
            optimizer.zero_grad()
            matrix_loss(stepped(weight), WEIGHT).backward()
            optimizer.step()
        losses[rate], finals[rate] = curve, now
    best = min(RATES, key=lambda rate: losses[rate][-1])
    return {
        "steps": steps,
        "losses": {str(rate): curve for rate, curve in losses.items()},
        "best": [min(curve[place] for curve in losses.values()) for place in range(len(steps))],
        "rate": best,
        "final": finals[best],
    }


STUDY = Study(
    "A linear projector on an untrained backbone",
    "The paper says: the cross-correlation of distorted images is symmetric whatever the network's weights, so a "
    "linear layer can always diagonalise it and scale it to the identity, even on a random backbone (section 2, "
    "equations 4 to 6). Hence the loss without normalisation asks nothing of the backbone.",
    _cells,
    conclude,
)
