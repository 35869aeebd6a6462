"""What pretraining is worth: three seeds of a recipe, beside the untrained network and raw pixels.

    python benchmarks/features.py digits
    python benchmarks/features.py fashion-mnist --data-root ../shared/data

Every run is kept under benchmarks/runs/ and goes on where it stopped, so the same command finishes an interrupted
table. Hyper-parameters of the probes are chosen on training data, for every arm alike; the last epoch counts.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import barlow

SEEDS = (0, 1, 2)
PROTOCOLS = {"knn": "kNN", "linear": "linear, all labels", "few_labels": "linear, 10 labels per class"}


def accuracy(row: dict[str, Any], protocol: str) -> float:
    """Return one accuracy in percent."""
    value = row[protocol]
    return 100 * float(value["mean"] if isinstance(value, dict) else value)


def with_spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.1f}"


def main() -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--recipe", default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs")
    flags = parser.parse_args()
    summaries = []
    for seed in flags.seeds:
        out = flags.out / f"{flags.data}-{flags.recipe or 'default'}-{seed}"
        run = barlow.pretrain(flags.data, recipe=flags.recipe, data_root=flags.data_root, out=out, seed=seed)
        if not run.finished:
            raise SystemExit("stopped; the same command goes on")
        summaries.append(run.summary)
    arms = [row["features"] for row in summaries[0]["evaluation"]["rows"]]
    print(f"| features | {' | '.join(PROTOCOLS.values())} |\n|---|{'--:|' * len(PROTOCOLS)}")
    for place, arm in enumerate(arms):
        rows = [summary["evaluation"]["rows"][place] for summary in summaries]
        cells = [with_spread([accuracy(row, protocol) for row in rows]) for protocol in PROTOCOLS]
        print(f"| {arm} | {' | '.join(cells)} |")
    seconds = [summary["timing"]["pretrain_seconds"] for summary in summaries]
    print(f"\npretraining {with_spread(seconds)} s per seed, seeds {', '.join(map(str, flags.seeds))}")


if __name__ == "__main__":
    main()
