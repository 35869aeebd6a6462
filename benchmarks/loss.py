"""A loss, forward and backward: ours beside lightly's and the official formula, in one run.

    python benchmarks/loss.py [barlow_twins | vicreg] [--at N D] [--repeats 5] [--threads 2]

Needs lightly (pip install lightly). Float32, the three interleaved repeat by repeat, so that a machine that slows down
slows all of them. The time is the median; the ratio is the median of the ratios of each repeat, with their smallest and
largest. Memory is the growth of a fresh process's largest resident size over what inputs and imports took.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

LAMBDA = 0.0051
GRID = [(n, d) for d in (512, 2048, 8192) for n in (128, 256, 1024, 2048, 4096)]
MEMORY_AT = (256, 8192)

Loss = Callable[[Tensor, Tensor], Tensor]


def ours() -> Loss:
    """Return this library's loss."""
    from barlow import barlow_twins_loss

    return lambda z_a, z_b: barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA).total


def direct() -> Loss:
    """Return this library's loss with C built, for the memory table."""
    from barlow import barlow_twins_loss

    return lambda z_a, z_b: barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, form="direct").total


def lightly() -> Loss:
    """Return lightly's module."""
    from lightly.loss import BarlowTwinsLoss

    return BarlowTwinsLoss(lambda_param=LAMBDA)  # type: ignore[no-any-return]


def official() -> Loss:
    """Return the formula of the official code, written from its description: BN without affine, C/N, sum of squares."""

    def loss(z_a: Tensor, z_b: Tensor) -> Tensor:
        n, d = z_a.shape
        norm = torch.nn.functional.batch_norm
        c = (norm(z_a, None, None, training=True).T @ norm(z_b, None, None, training=True)).div_(n)
        on = c.diagonal().add(-1).pow(2).sum()
        rest = c.flatten()[:-1].view(d - 1, d + 1)[:, 1:].flatten().pow(2).sum()
        return on + LAMBDA * rest

    return loss


def our_vicreg(form: Literal["auto", "direct"] = "auto") -> Loss:
    """Return this library's VICReg in the official convention."""
    from barlow.methods.vicreg import vicreg_loss

    return lambda z_a, z_b: vicreg_loss(z_a, z_b, form=form).total


def lightly_vicreg() -> Loss:
    """Return lightly's module."""
    from lightly.loss import VICRegLoss

    return VICRegLoss()  # type: ignore[no-any-return]


def official_vicreg() -> Loss:
    """Return the formula of the official code, written from its description: D x D covariances, sum of squares."""

    def loss(z_a: Tensor, z_b: Tensor) -> Tensor:
        n, d = z_a.shape
        total = 25 * torch.nn.functional.mse_loss(z_a, z_b)
        for z in (z_a, z_b):
            centred = z - z.mean(dim=0)
            covariance = centred.T @ centred / (n - 1)
            total = total + covariance.flatten()[:-1].view(d - 1, d + 1)[:, 1:].flatten().pow(2).sum() / d
            total = total + 12.5 * torch.relu(1 - torch.sqrt(centred.var(dim=0) + 1e-4)).mean()
        return total

    return loss


LOSSES: dict[str, dict[str, Callable[[], Loss]]] = {
    "barlow_twins": {"ours": ours, "lightly": lightly, "official": official, "direct": direct},
    "vicreg": {
        "ours": our_vicreg,
        "lightly": lightly_vicreg,
        "official": official_vicreg,
        "direct": partial(our_vicreg, "direct"),
    },
}


def seconds(loss: Loss, z_a: Tensor, z_b: Tensor) -> float:
    """Return the time of one forward and backward pass."""
    z_a.grad = z_b.grad = None
    started = time.perf_counter()
    loss(z_a, z_b).backward()
    return time.perf_counter() - started


def compare(method: str, n: int, d: int, repeats: int) -> dict[str, list[float]]:
    """Return the times of each loss at one size, repeat by repeat, after one pass that is not counted."""
    z_a, z_b = (torch.randn(n, d).requires_grad_() for _ in range(2))
    losses = {name: LOSSES[method][name]() for name in ("ours", "lightly", "official")}
    values = {name: float(loss(z_a, z_b).detach()) for name, loss in losses.items()}
    if max(values.values()) > 1.001 * min(values.values()):
        raise AssertionError(f"the losses differ: {values}")
    times: dict[str, list[float]] = {name: [] for name in losses}
    for repeat in range(repeats + 1):
        for name, loss in losses.items():
            elapsed = seconds(loss, z_a, z_b)
            if repeat:
                times[name].append(elapsed)
    return times


def extra_memory(method: str, name: str, n: int, d: int) -> float:
    """Return the growth of the largest resident size in MB by one pass, measured in a process of its own."""
    command = [sys.executable, __file__, method, "--memory-of", name, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def measure_memory(method: str, name: str, n: int, d: int) -> float:
    """Return the growth in this process; a pass at a small size first, so that libraries are loaded."""
    loss = LOSSES[method][name]()
    seconds(loss, torch.randn(8, 16, requires_grad=True), torch.randn(8, 16, requires_grad=True))
    z_a, z_b = (torch.randn(n, d).requires_grad_() for _ in range(2))
    before = largest_resident_size()
    seconds(loss, z_a, z_b)
    return largest_resident_size() - before


def largest_resident_size() -> float:
    """Return the largest resident size of this program so far in MB, from Linux's /proc.

    Not getrusage: its figure starts at that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", nargs="?", choices=LOSSES, default="barlow_twins")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--at", nargs=2, type=int, metavar=("N", "D"), help="one size instead of the whole table")
    parser.add_argument("--memory-of", nargs=3, metavar=("LOSS", "N", "D"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if flags.memory_of:
        name, n, d = flags.memory_of
        print(measure_memory(flags.method, name, int(n), int(d)))
        return
    print("| N | D | ours, ms | lightly, ms | official, ms | faster than lightly | faster than official |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for n, d in [flags.at] if flags.at else GRID:
        times = compare(flags.method, n, d, flags.repeats)
        cells = [f"{1e3 * statistics.median(times[name]):.1f}" for name in ("ours", "lightly", "official")]
        for rival in ("lightly", "official"):
            ratios = [b / a for a, b in zip(times["ours"], times[rival], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {n} | {d} | {' | '.join(cells)} |", flush=True)
    n, d = flags.at or MEMORY_AT
    print(
        f"\nLargest extra memory at N={n}, D={d} (z_a, z_b and their gradients are {4 * n * d * 4 / 2**20:.0f} MB):\n"
    )
    print("| loss | MB |\n|---|--:|")
    for name in ("ours", "direct", "lightly", "official"):
        print(f"| {name} | {extra_memory(flags.method, name, n, d):.0f} |", flush=True)


if __name__ == "__main__":
    main()
