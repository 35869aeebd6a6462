"""How often the intervals of an audit hold the truth, on made-up features whose B and W are known.

    python benchmarks/calibration.py [--draws 100] [--out calibration.json] [--only ties] [--page]

Every world is drawn anew as often as asked, and every figure that has an error is held to the truth: value +- 2 errors,
and both ends of what has a range. Draws are kept in the file as they are made, so that a killed call goes on; `--page`
writes `docs/calibration.md` from it. On one core 100 draws take about ten minutes.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from barlow.audits.estimated_losses import complete_loss
from barlow.audits.layers import layer_share
from barlow.audits.loss import loss_taken_apart, with_waterline
from barlow.audits.observation import Observation, observation_of_features, sign_flips
from barlow.audits.quantities import POWER_LAW, quantities
from barlow.audits.spectra import spectra
from barlow.figures import NUM_ERRORS, Measured
from barlow.theory.intraclass import lidar
from barlow.theory.moments import Moments
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, participation_ratio
from barlow.theory.water_filling import water_filling

PAGE = Path(__file__).parent.parent / "docs" / "calibration.md"
BATCH = 64
LARGE = 20_000
"""Samples behind truths that have no closed form."""
WANTED = 0.9


@dataclass(frozen=True)
class World:
    """Features whose truth is known: T = diag(scale^2), B = diag(rho scale^2).

    Attributes:
        tails: degrees of freedom of Student's t, per image and per view; 0: Gaussian.
        noisy: a tenth of the images has noise nine times as strong as the others.
        unequal: images have 2, 3, 4 or 8 views.
        weight: lambda of the loss.
    """

    title: str
    rho: Tensor
    scale: Tensor
    n: int
    k: int
    tails: int = 0
    noisy: bool = False
    unequal: bool = False
    weight: float = 0.05

    @property
    def d(self) -> int:
        """Number of features."""
        return len(self.rho)


def _falling(high: float, low: float, d: int) -> Tensor:
    return torch.linspace(high, low, d, dtype=torch.float64)


def _groups(*groups: tuple[int, float]) -> Tensor:
    return torch.cat([torch.full((size,), value, dtype=torch.float64) for size, value in groups])


def _power(d: int) -> Tensor:
    return torch.arange(1, d + 1, dtype=torch.float64)


FALLING, ONE = _falling(0.95, 0.05, 32), torch.ones(32, dtype=torch.float64)
DOMINANT = torch.cat([30 * ONE[:1], ONE[:23]])
POWER: dict[str, Any] = {"rho": 0.9 * _power(64) ** -0.5, "scale": _power(64) ** -0.5}
WORLDS: Mapping[str, World] = {
    "falling": World("32 from .95 to .05, K 8", FALLING, ONE, 500, 8),
    "two_views": World("32 from .95 to .05, K 2", FALLING, ONE, 500, 2),
    "heavy_tails": World("the same, Student's t of 5", FALLING, ONE, 500, 4, tails=5),
    "few_images": World("the same, n 100", FALLING, ONE, 100, 4),
    "unequal_views": World("the same, 2 to 8 views an image", FALLING, ONE, 500, 4, unequal=True),
    "uneven_noise": World("the same, a tenth of the images 9 times as noisy", FALLING, ONE, 500, 4, noisy=True),
    "ties_and_zeros": World("16 x .5, 16 x 0, lambda .005", _groups((16, 0.5), (16, 0.0)), ONE, 500, 4, weight=0.005),
    "zeros": World("8 x .9 and 24 x 0", _groups((8, 0.9), (24, 0.0)), ONE, 500, 4),
    "zeros_heavy": World("the same, lambda 1", _groups((8, 0.9), (24, 0.0)), ONE, 500, 4, weight=1.0),
    "ties": World("32 x .95", _groups((32, 0.95)), ONE, 500, 4),
    "nearly_invariant": World("32 x .999", _groups((32, 0.999)), ONE, 500, 4),
    "ones": World("8 x 1 and 24 x .5", _groups((8, 1.0), (24, 0.5)), ONE, 500, 4),
    "power_law": World("64 of a power law, n 1000", n=1000, k=4, **POWER),
    "power_law_few": World("64 of a power law, n 200", n=200, k=4, **POWER),
    "dominant": World("24 x .99, one 30 times as large", _groups((24, 0.99)), DOMINANT, 500, 4),
    "too_few": World("48 from .95 to .05, n 100: refused", _falling(0.95, 0.05, 48), torch.ones(48).double(), 100, 4),
    "nothing": World("24 x 0, K 2", _groups((24, 0.0)), ONE[:24], 300, 2),
    "nothing_uneven": World("32 x 0, uneven noise", _groups((32, 0.0)), ONE, 500, 4, noisy=True),
}  # fmt: skip
VIEWS = (2, 3, 4, 8)
"""Of unequal views, by fifth of twenty images."""


def draw(world: World, seed: int, n: int = 0) -> Tensor:
    """Return (n, K, d) features; K is the largest where they are unequal."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, views = n or world.n, max(VIEWS) if world.unequal else world.k
    image, noise = normal(n, 1, world.d), normal(n, views, world.d)
    if world.tails:
        for part in (image, noise):
            squares = normal(*part.shape[:2], world.tails).square().sum(dim=2, keepdim=True)
            part /= (squares / (world.tails - 2)).sqrt()
    if world.noisy:
        loud = torch.rand(n, 1, 1, generator=generator) < 0.1
        noise *= torch.where(loud, 9.0, 1.0).double() / math.sqrt(0.1 * 81 + 0.9)
    return (image * world.rho.sqrt() + noise * (1 - world.rho).sqrt()) * world.scale


def observed(world: World, seed: int) -> Observation:
    """Return what an audit would see of one draw, z = h."""
    h = draw(world, seed)
    if not world.unequal:
        seen = observation_of_features(h)
        return replace(seen, z_a=seen.h_a, z_b=seen.h_b)
    moments, flips = Moments(world.d), sign_flips(world.d)
    for place, part in enumerate(h.split(20)):
        for sums in (moments, flips):
            sums.add(part[:, : VIEWS[place % len(VIEWS)]])
    h_a, h_b = h[:, 0].float(), h[:, 1].float()
    return Observation(moments, None, h_a, h_b, h_a, h_b, world.k, flips=flips, dtype=h.dtype)


Held = dict[str, Any]


def measure(world: World, seed: int) -> Held:
    """Return (value, low, high) of every figure of one draw: NaN where it has no interval."""
    seen = observed(world, seed)
    known = spectra(seen.moments, seen.flips, seen.dtype)
    measured, spectrum = quantities(seen, known)
    found: Held = {name: _interval(one) for name, _, one in measured.measured()}
    low, high = known.band
    found["correlations"] = [known.plug_in.value.tolist(), low.tolist(), high.tolist()]
    same: Any = {"width": world.d, "redundancy_weight": world.weight}
    spectrum = with_waterline(spectrum, known, **same)
    for name, one in (("outputs used", spectrum.num_active_range), ("waterline", spectrum.waterline_range)):
        found[name] = [one.value, one.low, one.high]
    proven, low_end, _ = known.between_rank
    found["directions proven"] = [proven, low_end, world.d]  # below the edge there may be more: only a lower end
    of_loss: Any = {"redundancy_weight": world.weight, "normalization": "pearson"}
    assert seen.z_a is not None
    assert seen.z_b is not None
    complete = complete_loss(seen.z_a, seen.z_b, num_blocks=seen.moments.num_blocks, **of_loss)
    loss = loss_taken_apart(seen.z_a, seen.z_b, known, batch_size=BATCH, complete=complete, start=None, **of_loss)
    for name, of in (("complete loss", loss.complete), ("loss of a batch", loss.batch), ("limit", loss.limit)):
        found[name] = _interval(of)
    for name, of in (("projector gap", loss.parts.projector_gap), ("sampling bias", loss.parts.sampling_bias)):
        found[name] = _interval(of)
    layer = layer_share("h", torch.stack([seen.h_a, seen.h_b], dim=1))
    found["layer: augmentation share"] = _interval(Measured(layer.augmentation_share, layer.error))
    found["layer: feature correlation"] = _interval(Measured(layer.mean_correlation, layer.mean_correlation_error))
    return found


def _interval(one: Measured | None) -> list[float]:
    if one is None or one.error is None:
        return [math.nan if one is None else one.value, math.nan, math.nan]
    return [one.value, one.value - NUM_ERRORS * one.error, one.value + NUM_ERRORS * one.error]


def truths(world: World) -> dict[str, Any]:
    """Return what is true of a world; what has no closed form is of many images, or the mean of all draws."""
    rho = world.rho.sort(descending=True).values
    variances = world.scale.square()
    between, within = world.rho * variances, (1 - world.rho) * variances
    views = fmean(VIEWS) if world.unequal else world.k
    spectrum = variances.sort(descending=True).values
    slope = alpha_req(spectrum)
    filling = water_filling(rho, world.d, world.weight)
    complete = float((1 - world.rho).square().sum())
    roots = spectrum.sqrt() / spectrum.sqrt().sum()
    return {
        "augmentation_share": float(within.sum() / variances.sum()),
        "mean_correlation": float(rho.mean()),
        "view_information": float(-torch.log1p(-rho.clamp(max=1 - 1e-12).square()).sum() / 2),
        "effective_rank": effective_rank(spectrum),
        "participation_ratio": participation_ratio(spectrum),
        "rank_me": float(torch.special.entr(roots).sum().exp()),
        "lidar": lidar((between + within / views).diag(), within.diag()),
        "condition_number": condition_number(spectrum),
        "alpha": slope.alpha if slope.r_squared >= POWER_LAW else math.nan,
        "alpha_r_squared": slope.r_squared,
        "correlations": rho.tolist(),
        "outputs used": filling.num_active,
        "waterline": filling.waterline,
        "directions proven": int((rho > 0).sum()),
        "complete loss": complete,
        "limit": filling.loss,
        "projector gap": complete - filling.loss,
        "layer: augmentation share": float(within.sum() / variances.sum()),
        "layer: feature correlation": float(rho.mean()),
        "skew_share": 0.0,
        "view_index_share": 0.0,
        "view_scale": 1.0,
        **_of_many(world),
    }


def _of_many(world: World) -> dict[str, float]:
    """Alignment and uniformity of many images."""
    h = torch.nn.functional.normalize(draw(world, 10**6, LARGE)[:, :2], dim=2)
    near = float((h[:, 0] - h[:, 1]).square().sum(dim=1).mean())
    half = LARGE // 2
    apart = [(h[:half, 0].roll(shift, 0) - h[half:, 0]).square().sum(dim=1) for shift in range(100)]
    return {"alignment": near, "uniformity": float(torch.cat(apart).mul(-2).exp().mean().log())}


def coverage(draws: Sequence[Held], truth: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the share of draws whose interval holds the truth; None for a figure that is shown without one.

    Figures of a sample, such as its asymmetry or the loss of one batch size, are held to the mean of all draws.
    """
    found: dict[str, float | None] = {}
    for name in draws[0]:
        true = truth.get(name, fmean(one[name][0] for one in draws) if name != "correlations" else None)
        held = [share for one in draws if (share := _held(one[name], true)) is not None]
        if true is not None and not (isinstance(true, float) and math.isnan(true)):
            found[name] = fmean(held) if len(held) > len(draws) / 2 else None
    return found


def _held(interval: Sequence[Any], true: Any) -> float | None:
    _, low, high = interval
    if isinstance(true, list):
        known = list(zip(low, high, true, strict=False))
        return fmean(_within(one, two, three) for one, two, three in known)
    return None if math.isnan(low) else _within(low, high, true)


def _within(low: float, high: float, true: float) -> float:
    slack = 1e-9 * (1 + abs(true))
    return float(low - slack <= true <= high + slack)


def run(names: Sequence[str], draws: int, out: Path | None, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Return the coverage of every figure by world, drawing what the file does not have yet."""
    kept: dict[str, list[Held]] = json.loads(out.read_text()) if out is not None and out.exists() else {}
    found = {}
    for name in names:
        of_world = kept.setdefault(name, [])
        while len(of_world) < draws:
            of_world.append(measure(WORLDS[name], len(of_world)))
            if out is not None and (len(of_world) % 10 == 0 or len(of_world) == draws):
                aside = out.with_suffix(".part")
                aside.write_text(json.dumps(kept))
                aside.replace(out)
        found[name] = coverage(of_world[:draws], truths(WORLDS[name]))
        shown = [f"{figure} {share:.0%}" for figure, share in found[name].items() if share is not None]
        told(f"{name}: {', '.join(shown)}")
    return found


def table(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return the coverage in percent, a row for each figure and a column for each world."""
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    lines = [f"| figure | {' | '.join(found)} | all |", f"|---|{'--:|' * (len(found) + 1)}"]
    for name in names:
        shares = [one.get(name) for one in found.values()]
        known = [share for share in shares if share is not None]
        if known:
            cells = ["" if share is None else f"{share:.0%}"[:-1] for share in shares]
            lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {fmean(known):.0%} |")
    return "\n".join(lines)


def page(found: Mapping[str, Mapping[str, float | None]], draws: int) -> str:
    """Return the page: what was simulated, how often the truth lies within, and what is shown without an interval."""
    shares = [share for one in found.values() for share in one.values() if share is not None]
    under = [
        f"`{world}`, {figure.replace('_', ' ')}: {share:.0%}"
        for world, one in found.items()
        for figure, share in one.items()
        if share is not None and share < WANTED - 2 * math.sqrt(WANTED * (1 - WANTED) / draws)
    ]
    worlds = "\n".join(
        f"| `{name}` | {world.title} | {world.n} | {'2 to 8' if world.unequal else world.k} | {world.d} |"
        for name, world in WORLDS.items()
        if name in found
    )
    below = "\n".join(f"- {one}" for one in under) or "- none"
    return TEXT.format(
        draws=draws, worlds=worlds, table=table(found), mean=f"{fmean(shares):.0%}", below=below, num=len(shares),
        draws_error=f"{200 * math.sqrt(0.95 * 0.05 / draws):.0f}",
    )  # fmt: skip


TEXT = """# Calibration: how often an interval of the audit holds the truth

Written by `python benchmarks/calibration.py --draws {draws} --page`; do not edit.

An audit shows a number with an interval of about 95%: value ± 2 errors. Here features are made up whose
between-image covariance B and augmentation covariance W are known, so that every figure has a truth; each of {num}
pairs of a figure and a world is drawn {draws} times. **On average {mean} of the intervals hold the truth.** A cell of
95% is known to about ±{draws_error} points from so many draws.

| world | features (intraclass correlations) | images | views | features |
|---|---|--:|--:|--:|
{worlds}

## Percent of intervals that hold the truth

An empty cell is a figure that is shown without an interval there, or that has no truth.

{table}

Below 90% by more than the draws explain:

{below}

## What is shown without an interval, and why

- **Fewer than 3 images per direction** (`too_few`): condition number, effective rank, participation ratio, RankMe,
  LiDAR, alpha, mean correlation and view information. The correction for chance is of first order and cannot be
  trusted there; the page says so, and asks for more images.
- **Alpha where R² is below 0.9**: no power law, so that there is no exponent to be right about.
- **View information where a correlation is within 1/n of 1**: so many images cannot tell it from 1, where the
  information is infinite. What is shown is a lower bound.
- **Outputs used and waterline** jump where correlations are equal or 0. They have a range instead of an error: from
  the lowest to the highest over all spectra that the images allow (both estimates, both ends of the band, ties,
  nothing below the null edge).
- **Counts and sizes**: rank, directions above the null edge, the null edge itself; "directions proven" above is the
  lower end of the rank of B.

Not simulated: figures of a trained run that need a second network (fall of the loss, the projector's share) and the
effects of single transforms. Their errors are jackknives of means and ratios of means, as those of the augmentation
share are.

How the estimates are corrected, and why so: [decisions/0015-calibration.md](decisions/0015-calibration.md).
"""


def main() -> None:
    """Print the table, or write the page from what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("calibration.json"))
    parser.add_argument("--only", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = run(args.only, args.draws, args.out)
    print(table(found))
    if args.page:
        PAGE.write_text(page(found, args.draws), encoding="utf-8")


if __name__ == "__main__":
    main()
