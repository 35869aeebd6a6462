"""Graph Barlow Twins and CCA-SSG on Cora, over seeds, beside every bar; and a made graph of 170,000 nodes.

    python benchmarks/graphs.py cora --data-root DATA            # 10 seeds of each method, kept one by one
    python benchmarks/graphs.py peer --data-root DATA            # graphssl's Barlow Twins; needs: pip install graphssl
    python benchmarks/graphs.py tune --data-root DATA            # candidates by validation accuracy alone
    python benchmarks/graphs.py large                            # sampled training: memory, and time a node by size
    python benchmarks/graphs.py show                             # the table of docs/graphs.md

Each seed is one `Recipe` trained by the library's own loop; probes are those of `barlow evaluate`. Results go to
`benchmarks/graphs.json` one by one, so a stopped call goes on.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from barlow import Recipe
from barlow.data.parts import Parts
from barlow.evaluation.features import Features, extract
from barlow.evaluation.own_parts import evaluate_own_parts
from barlow.evaluation.scores import calibrate
from barlow.graphs.data.graph import Graph, tidy
from barlow.graphs.data.source import NodeSource
from barlow.graphs.modality import GRAPHS, load
from barlow.graphs.supervised import supervised_gcn
from barlow.recipes import recipe_for, with_numbers
from barlow.runs.build import build_backbone, build_method, build_plan, build_run_optimizer, build_views, fitted
from barlow.seams import Source, Views
from barlow.training.engine import build_fabric
from barlow.training.journal import Journal
from barlow.training.machine import Machine
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress

KEPT = Path(__file__).with_suffix(".json")
SEEDS = 10
METHODS = ("gbt-cora", "cca_ssg-cora")
CONTROL = {"modality_options": {"feature_mask": 0.0, "edge_drop": 0.0}}
CANDIDATES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "100 epochs": {"epochs": 100},
    "rate 3e-3": {"learning_rate": 3e-3},
    "rate 5e-4": {"learning_rate": 5e-4},
    "columns .3": {"modality_options": {"feature_mask": 0.3}},
    "edges .6": {"modality_options": {"edge_drop": 0.6}},
    "width 512": {"width": 512},
}


def trained(recipe: Recipe, source: NodeSource, *, untrained: bool = False) -> tuple[torch.nn.Module, float]:
    """Train one recipe with the library's loop, without figures on the way; return it and the seconds of CPU."""
    recipe, facts = fitted(GRAPHS, recipe, source)
    machine = Machine(quiet=True, accelerator="cpu")
    fabric = build_fabric(recipe, machine)
    torch.manual_seed(recipe.seed)
    views, network = build_views(GRAPHS, recipe, facts), build_backbone(GRAPHS, recipe, facts)
    if untrained:
        return calibrate(network, source, views.plain), 0.0
    width = width_of(network, views, source)
    method = build_method(recipe, network, width)
    plan = build_plan(recipe, num_samples=len(source), num_features=width, checkpoint_minutes=1000)
    optimizer = build_run_optimizer(recipe, method, fabric)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        pretrain(
            source, views, method, optimizer, plan, fabric=fabric, folder=Path(folder), journal=journal,
            progress=StepProgress(plan.epochs, unit="nodes", quiet=True),
        )  # fmt: skip
    return network.eval(), time.process_time() - started


def width_of(network: torch.nn.Module, views: Views, source: Source) -> int:
    """Return d."""
    with torch.no_grad():
        batch = next(iter(source.batches([0, 1], 2)))
        width: int = network.eval()(views.plain(batch.samples)).shape[1]
    network.train()
    return width


def features(network: torch.nn.Module, source: NodeSource) -> Features:
    """Return h of all nodes."""
    return extract(network, source, plain=lambda batch: batch, batch_size=len(source))


def on_validation(found: Features, parts: Parts) -> float:
    """Return the validation accuracy of the probe alone: candidates are chosen by it, and test labels stay unseen."""
    row = evaluate_own_parts({"h": found}, parts, per_class=())["rows"][0]
    return float(row["chosen"]["linear"]["validation_accuracy"])


def note(name: str, make: Callable[[], dict[str, Any]]) -> None:
    """Compute a row, keep it in the file and print it; nothing where it is kept already."""
    kept = read()
    if name in kept:
        return
    began = time.process_time()
    kept[name] = make() | {"cpu_seconds": round(time.process_time() - began, 1)}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(name, summary_of(kept[name]), flush=True)


def cora_with_parts(data_root: str) -> tuple[NodeSource, Parts]:
    """Return Cora as the recipes read it, and its public split."""
    source = load("cora", recipe=recipe_for("gbt-cora", "cora"), data_root=data_root)
    assert isinstance(source, NodeSource)
    assert source.parts is not None
    return source, source.parts


def peer(data_root: str, seeds: int) -> None:
    """Train Barlow Twins of graphssl 0.2.0 in its own loop with the numbers that it publishes for Cora; our probe."""
    models: Any = import_module("graphssl.models")
    training: Any = import_module("graphssl.training")
    from torch_geometric.data import Data

    source, parts = cora_with_parts(data_root)
    graph = Data(x=raw_features(source).h, edge_index=source.graph.edges)
    encoder = {"name": "gcn", "hidden_dim": 256, "num_layers": 2, "norm_type": "batch", "pool": False}
    augment = [{"name": "edge_drop", "p": 0.5}, {"name": "feat_mask", "p": 0.1}]
    for seed in range(seeds):

        def one(seed: int = seed) -> dict[str, Any]:
            torch.manual_seed(seed)
            model = models.BarlowTwins({"encoder": encoder, "augment": augment}, in_channels=graph.x.shape[1])
            optimizer = torch.optim.AdamW(model.student_parameters(), lr=5e-4)
            started = time.process_time()
            training.DINOTrainer(device="cpu").train(model, [graph], optimizer, num_epochs=300)
            seconds = time.process_time() - started
            with torch.inference_mode():
                h = model.eval()(graph).float()
            found = replace(raw_features(source), h=h)
            return probed(found, parts) | {"train_seconds": round(seconds, 1)}

        note(f"graphssl Barlow Twins {seed}", one)


def raw_features(source: NodeSource, bar: str = "raw features") -> Features:
    """Return the values of one of the bars."""
    return extract(GRAPHS.bars[bar], source, plain=lambda batch: batch)


def probed(found: Features, parts: Parts, draws: int = 10, **how: Any) -> dict[str, Any]:
    """Return the row of one kind of features."""
    return dict(evaluate_own_parts({"h": found}, parts, draws=draws, **how)["rows"][0])


def cora(data_root: str, seeds: int) -> None:
    """Every bar once (or over seeds where it has chance in it), then the methods seed by seed."""
    recipe = recipe_for("gbt-cora", "cora")
    source, parts = cora_with_parts(data_root)

    for seed in range(seeds):
        for name in METHODS:

            def one(name: str = name, seed: int = seed) -> dict[str, Any]:
                network, seconds = trained(replace(recipe_for(name, "cora"), seed=seed), source)
                return probed(features(network, source), parts) | {"train_seconds": round(seconds, 1)}

            note(f"{name} {seed}", one)
    for bar in GRAPHS.bars:
        note(bar, partial(probed, raw_features(source, bar), parts))
    for seed in range(3):

        def bare(seed: int = seed) -> dict[str, Any]:
            return probed(features(trained(replace(recipe, seed=seed), source, untrained=True)[0], source), parts, 5)

        def control(seed: int = seed) -> dict[str, Any]:
            still = with_numbers(replace(recipe, seed=seed), CONTROL)
            return probed(features(trained(still, source)[0], source), parts, per_class=())

        def taught(seed: int = seed) -> dict[str, Any]:
            def predict(labels: Tensor, train: Tensor, validation: Tensor, number: int) -> Tensor:
                return supervised_gcn(source, labels, train, validation, 100 * seed + number)

            bars = evaluate_own_parts({}, parts, predictors={"supervised": predict}, draws=10 if seed == 0 else 1)
            return dict(bars["rows"][0])

        note(f"untrained {seed}", bare)
        note(f"no augmentation {seed}", control)
        note(f"supervised GCN {seed}", taught)


def tune(data_root: str, seeds: int) -> None:
    """Print the validation accuracy of each candidate."""
    for name in METHODS:
        recipe = recipe_for(name, "cora")
        source = load("cora", recipe=recipe, data_root=data_root)
        assert isinstance(source, NodeSource)
        assert source.parts is not None
        for what, change in CANDIDATES.items():
            found = []
            for seed in range(seeds):
                network, seconds = trained(replace(with_numbers(recipe, change), seed=100 + seed), source)
                found.append(on_validation(features(network, source), source.parts))
            print(f"{name}: {what}: {fmean(found):.4f} {[round(one, 3) for one in found]} {seconds:.0f} s", flush=True)


def made_graph(num_nodes: int, num_edges: int, *, classes: int = 40, width: int = 128, seed: int = 0) -> NodeSource:
    """A stochastic block model: four of five edges stay in a block; features are the block's mean and noise."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(classes, (num_nodes,), generator=generator)
    order = block.argsort()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), block.bincount(minlength=classes).cumsum(0)])
    source = torch.randint(num_nodes, (num_edges // 2,), generator=generator)
    sizes = (starts[1:] - starts[:-1])[block[source]]
    inside = order[starts[block[source]] + (torch.rand(len(source), generator=generator) * sizes).long()]
    anywhere = torch.randint(num_nodes, (len(source),), generator=generator)
    target = torch.where(torch.rand(len(source), generator=generator) < 0.8, inside, anywhere)
    means = torch.randn(classes, width, generator=generator)
    x = 0.5 * means[block] + torch.randn(num_nodes, width, generator=generator)
    return NodeSource(Graph(x, tidy(torch.stack([source, target]), num_nodes).edges), name=f"made-{num_nodes}")


def large(steps: int = 40) -> None:
    """Train by sampled neighbours on graphs of three sizes; print time a node, and the most memory of the process."""
    for num_nodes, num_edges in ((20_000, 140_000), (60_000, 420_000), (170_000, 1_200_000)):
        source = made_graph(num_nodes, num_edges)
        recipe = with_numbers(recipe_for("gbt"), {"modality_options": {"fanout": "10-10", "normalise": "none"}})
        recipe = replace(recipe, batch_size=512, epochs=steps * 512 / num_nodes)
        network, took = trained(recipe, source.sampled((10, 10)))
        each = took / (steps * 512)
        began = time.process_time()
        features(network, source)
        took = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{num_nodes:,} nodes, {source.graph.edges.shape[1]:,} edges: {1e3 * each:.2f} ms of CPU a node in "
            f"training, features of all in {took:.1f} s, most memory so far {peak:.2f} GB", flush=True,
        )  # fmt: skip


def read() -> dict[str, Any]:
    """Return what is kept."""
    return dict(json.loads(KEPT.read_text(encoding="utf-8"))) if KEPT.exists() else {}


def summary_of(row: dict[str, Any]) -> str:
    """Return a row in short."""
    few = " ".join(f"{point['per_class']}: {point['mean']:.3f}" for point in row.get("labels_per_class", ()))
    return f"{row['linear']:.3f} | {few} | {row['cpu_seconds']} s of CPU"


def show() -> None:
    """Print the table: mean and deviation over seeds, the least, and labels a class."""
    kept = read()
    names = [*METHODS, "graphssl Barlow Twins", "raw features", "A²X", "untrained", "supervised GCN", "no augmentation"]
    print("| features (seeds) | test | least | 1 a class | 2 | 5 |\n|---|--:|--:|--:|--:|--:|")
    for name in names:
        rows = [row for key, row in kept.items() if key == name or key.rsplit(" ", 1)[0] == name]
        if not rows:
            continue
        test = [row["linear"] for row in rows]
        cells = [f"{fmean(test):.3f}" + (f" ± {stdev(test):.3f}" if len(test) > 1 else ""), f"{min(test):.3f}"]
        for k in (1, 2, 5):
            points = [
                p["mean"]
                for row in rows
                for p in row.get("labels_per_class", ())
                if p["per_class"] == k and p["draws"] > 1
            ]
            cells.append(f"{fmean(points):.3f}" if points else "")
        print(f"| {name} ({len(rows)}) | {' | '.join(cells)} |")


def main() -> None:
    """Read the words and do one of the five."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cora", "peer", "tune", "large", "show"))
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--seeds", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "cora":
        cora(asked.data_root, asked.seeds or SEEDS)
    elif asked.what == "peer":
        peer(asked.data_root, asked.seeds or SEEDS)
    elif asked.what == "tune":
        tune(asked.data_root, asked.seeds or 2)
    elif asked.what == "large":
        large()
    else:
        show()


if __name__ == "__main__":
    main()
