"""Sums over images and views (`barlow.theory.moments`): time to add them up, and to make error bars of them.

    python benchmarks/moments.py [--images 20000] [--views 8] [--features 512] [--batch 512] [--threads 2]

Features are random float32 numbers, drawn before the clock starts, as a backbone would leave them. The first row is the
time of the matrix products alone, n (K + 1) rows times d^2 in float64: what BLAS needs in any case.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from barlow.theory.moments import ROWS, Covariances, Moments
from barlow.theory.standard_errors import jackknife


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def products(rows: int, num_features: int) -> None:
    """Multiply as many float64 rows as the sums do, and nothing else."""
    sums = torch.zeros(num_features, num_features, dtype=torch.float64)
    chunk = torch.randn(ROWS, num_features, dtype=torch.float64)
    for start in range(0, rows, ROWS):
        part = chunk[: min(ROWS, rows - start)]
        sums.addmm_(part.T, part)


def all_batches(moments: Moments, h: Tensor, batch: int) -> None:
    """Add images as a loop over batches would."""
    for part in h.split(batch):
        moments.add(part)


def top_share(covariances: Covariances) -> float:
    """Return a statistic as the audit has them: one eigendecomposition."""
    return float(torch.linalg.eigvalsh(covariances.between)[-1] / covariances.total.trace())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    h = torch.randn(args.images, args.views, args.features, generator=torch.Generator().manual_seed(0))
    whole, batched = Moments(args.features), Moments(args.features)
    print(f"{args.images} images x {args.views} views x {args.features} features, {args.threads} threads")
    rows = {
        "matrix products alone": lambda: products(args.images * (args.views + 1), args.features),
        "one call": lambda: whole.add(h),
        f"batches of {args.batch}": lambda: all_batches(batched, h, args.batch),
        "merge": lambda: whole.merge(batched),
        "covariances": whole.covariances,
        "jackknife of an eigenvalue, 20 blocks": lambda: jackknife(whole, top_share),
    }
    for name, work in rows.items():
        print(f"{name:40s} {seconds(work):7.2f} s")


if __name__ == "__main__":
    main()
