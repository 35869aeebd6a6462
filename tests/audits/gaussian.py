"""Gaussian features whose B and W are known, and their audit: what it says can be held to the truth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from barlow.audits.loss import advice, with_waterline
from barlow.audits.objective import Objective, losses
from barlow.audits.observation import observation_of_features
from barlow.audits.quantities import quantities
from barlow.audits.spectra import doubts, spectra
from barlow.audits.verdicts.table import verdicts
from barlow.figures import Figures, Settings, Verdict
from barlow.methods.barlow_twins import Normalization


def gaussian_views(
    rho: Sequence[float], *, n: int = 1000, k: int = 4, seed: int = 0, scale: Sequence[float] = (), mean: float = 0.0
) -> Tensor:
    """Return (n, k, d) features: T = diag(scale^2), B = diag(rho scale^2), W the rest; `scale` is 1 without values."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.tensor(rho)
    image = torch.randn(n, 1, len(rho), generator=generator) * share.sqrt()
    augmentation = torch.randn(n, k, len(rho), generator=generator) * (1 - share).sqrt()
    features: Tensor = mean + (image + augmentation) * torch.tensor(list(scale) or [1.0] * len(rho))
    return features


def figures_of(
    features: Tensor,
    projector: Tensor | None = None,
    *,
    width: int = 0,
    weight: float = 0.02,
    batch_size: int = 64,
    normalization: Normalization | str = "pearson",
) -> dict[str, Any]:
    """Return the figures of an audit of h = `features` and z = P h with a (D, d) projector; P = I without one."""
    seen = observation_of_features(features)
    z_a, z_b = (h if projector is None else h @ projector.T for h in (seen.h_a, seen.h_b))
    seen, width = replace(seen, z_a=z_a, z_b=z_b), width or z_a.shape[1]
    known = spectra(seen.moments, seen.flips, seen.dtype)
    measured, spectrum = quantities(seen, known)
    n, k, d = features.shape
    loss, _ = losses(Objective(normalization, weight, batch_size, None), seen, None, known, mlp=False)
    figures = Figures(
        settings=Settings(n, k, d, width, weight, batch_size, normalization),
        warnings=doubts(known, n),
        quantities=measured,
        spectrum=with_waterline(spectrum, known, width=width, redundancy_weight=weight),
        advice=advice(spectrum.plug_in, width=width, redundancy_weight=weight),
        loss=loss,
    )
    return dict(figures.to_json())


def named(figures: dict[str, Any], name: str) -> Verdict | None:
    """Return the verdict of a name."""
    return next((verdict for verdict in verdicts(figures) if verdict.name == name), None)
