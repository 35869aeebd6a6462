"""Barlow Twins loss, forward and backward: ours beside lightly's and the official formula, in one run.

    python benchmarks/loss.py [--repeats 5] [--threads 2]        needs: pip install lightly

Float32, the three interleaved repeat by repeat, so that a machine that slows down slows all of them. The time is the
median; the ratio is the median of the ratios of each repeat, with their smallest and largest. Memory is the growth of a
fresh process's largest resident size over what inputs and imports took.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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


LOSSES: dict[str, Callable[[], Loss]] = {"ours": ours, "lightly": lightly, "official": official, "direct": direct}


def seconds(loss: Loss, z_a: Tensor, z_b: Tensor) -> float:
    """Return the time of one forward and backward pass."""
    z_a.grad = z_b.grad = None
    started = time.perf_counter()
    loss(z_a, z_b).backward()
    return time.perf_counter() - started


def compare(n: int, d: int, repeats: int) -> dict[str, list[float]]:
    """Return the times of each loss at one size, repeat by repeat, after one pass that is not counted."""
    z_a, z_b = (torch.randn(n, d).requires_grad_() for _ in range(2))
    losses = {name: LOSSES[name]() for name in ("ours", "lightly", "official")}
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


def extra_memory(name: str, n: int, d: int) -> float:
    """Return the growth of the largest resident size in MB by one pass, measured in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def measure_memory(name: str, n: int, d: int) -> float:
    """Return the growth in this process; a pass at a small size first, so that libraries are loaded."""
    loss = LOSSES[name]()
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
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-of", nargs=3, metavar=("LOSS", "N", "D"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if flags.memory_of:
        name, n, d = flags.memory_of
        print(measure_memory(name, int(n), int(d)))
        return
    print("| N | D | ours, ms | lightly, ms | official, ms | faster than lightly | faster than official |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for n, d in GRID:
        times = compare(n, d, flags.repeats)
        cells = [f"{1e3 * statistics.median(times[name]):.1f}" for name in ("ours", "lightly", "official")]
        for rival in ("lightly", "official"):
            ratios = [b / a for a, b in zip(times["ours"], times[rival], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {n} | {d} | {' | '.join(cells)} |", flush=True)
    n, d = MEMORY_AT
    print(
        f"\nLargest extra memory at N={n}, D={d} (z_a, z_b and their gradients are {4 * n * d * 4 / 2**20:.0f} MB):\n"
    )
    print("| loss | MB |\n|---|--:|")
    for name in ("ours", "direct", "lightly", "official"):
        print(f"| {name} | {extra_memory(name, n, d):.0f} |", flush=True)


if __name__ == "__main__":
    main()
