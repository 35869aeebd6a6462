"""Every method learns: its small recipe against the same network untrained, three seeds, on part of Fashion-MNIST.

    python benchmarks/learns.py --data-root ../shared/data

4 epochs on the first 6,000 training pictures, at width 32 (VICRegL keeps the network of its recipe); probes are fitted
on those pictures with settings chosen on them, and scored on the first 5,000 test pictures. A method has learnt if it
is above its own untrained network in every seed. Runs are kept under benchmarks/runs/learns/ and go on where they
stopped.
"""

import argparse
import statistics
from pathlib import Path

import barlow
from barlow.data.subsets import subset
from barlow.images.data.load import load_source
from barlow.methods.table import METHODS
from barlow.recipes import recipe_for

DATA, TRAIN, TEST = "fashion-mnist", 6_000, 5_000
EPOCHS, WIDTH, SEEDS = 4, 32, (0, 1, 2)
OWN_NETWORK = ("vicregl",)
PROTOCOLS = {"few_labels": "10 labels per class", "linear": "linear, all labels", "knn": "kNN"}


def gains(method: str, seed: int, flags: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return (trained, untrained) accuracy in percent by protocol."""
    train = subset(load_source(DATA, data_root=flags.data_root), range(TRAIN))
    test = subset(load_source(DATA, data_root=flags.data_root, split="test"), range(TEST))
    recipe = recipe_for(method, DATA)
    width = recipe.width if method in OWN_NETWORK else WIDTH
    run = barlow.pretrain(
        train, test=test, recipe=recipe, epochs=EPOCHS, width=width, seed=seed, out=flags.out / f"{method}-{seed}",
        machine=barlow.Machine(quiet=True),
    )  # fmt: skip
    if not run.finished:
        raise SystemExit("stopped; the same command goes on")
    rows = {row["features"]: row for row in run.summary["evaluation"]["rows"]}

    def percent(features: str, protocol: str) -> float:
        value = rows[features][protocol]
        return 100 * float(value["mean"] if isinstance(value, dict) else value)

    return {protocol: (percent("trained", protocol), percent("untrained", protocol)) for protocol in PROTOCOLS}


def cell(pairs: list[tuple[float, float]]) -> str:
    """Return trained and untrained means, and the smallest gain over seeds."""
    trained, untrained = (statistics.mean(side) for side in zip(*pairs, strict=True))
    least = min(one - other for one, other in pairs)
    return f"{trained:.1f} | {untrained:.1f} | {least:+.1f}"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "learns")
    flags = parser.parse_args()
    found: dict[str, list[dict[str, tuple[float, float]]]] = {}
    for seed in SEEDS:
        for method in flags.methods:
            found.setdefault(method, []).append(gains(method, seed, flags))
            print(f"{method}, seed {seed}: {found[method][-1]}", flush=True)
    titles = " | ".join(f"{title}: trained | untrained | least gain" for title in PROTOCOLS.values())
    print(f"\n| method | {titles} |\n|---|{'--:|' * (3 * len(PROTOCOLS))}")
    for method, results in found.items():
        cells = " | ".join(cell([result[protocol] for result in results]) for protocol in PROTOCOLS)
        print(f"| {method} | {cells} |")


if __name__ == "__main__":
    main()
