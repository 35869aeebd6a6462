"""Graphs: the published recipes of Graph Barlow Twins, and ours for graphs of any kind."""

from dataclasses import replace
from typing import Any

from barlow.recipes.recipe import EVERY, Recipe

BIELAK = (
    "Bielak, Kajdanowicz & Chawla 2022 (arXiv 2106.02466) and the official code (its dvc.lock for the masks): no "
    "projector, lambda 1/d, AdamW with weight decay 1e-5 on every parameter, warm-up from 0, cosine to 0, features "
    "divided by the sum of their row. Masks were searched for by labelled validation accuracy. Differs: variances "
    "divide by N, not N - 1"
)


def _published(
    name: str, *, width: int, epochs: int, warmup: int, rate: float, mask: float, drop: float, **more: Any
) -> Recipe:
    """A row of the paper's table: the whole graph in each step unless `more` says otherwise."""
    made = Recipe(
        name=f"gbt-{name}",
        source=BIELAK,
        views="graph",
        modality_options={"feature_mask": mask, "edge_drop": drop, "fanout": "all"},
        backbone="gcn2",
        width=width,
        projector="none",
        options={"redundancy_weight": 1 / width},
        epochs=epochs,
        batch_size=EVERY,
        learning_rate=rate,
        weight_decay=1e-5,
        exclude_biases=False,
        warmup_epochs=float(warmup),
        final_learning_rate=0.0,
        precision="32-true",
    )
    return replace(made, **more)


def cora() -> Recipe:
    """Cora and graphs like it in half a minute on a core."""
    return _published(
        "cora", width=256, epochs=50, warmup=5, rate=1e-3, mask=0.1, drop=0.4,
        source="ours, after Bielak et al. 2022: chosen on the 500 validation nodes of Cora, see docs/graphs.md",
    )  # fmt: skip


def any_graph() -> Recipe:
    """A graph of any kind: the whole of it in each step, or sampled neighbours where it is large."""
    return replace(
        cora(), name="gbt", modality_options={"feature_mask": 0.1, "edge_drop": 0.4},
        source="ours: the numbers of gbt-cora, with sampled neighbours from 30,000 nodes on",
    )  # fmt: skip


def any_graphs() -> Recipe:
    """Many graphs, such as molecules: GIN, summed over nodes."""
    return replace(
        cora(),
        name="gbt-sets",
        source="ours, untuned: GIN of three layers as in InfoGraph and GraphCL, summed, with the loss of gbt",
        modality_options={"feature_mask": 0.1, "edge_drop": 0.2},
        backbone="gin",
        width=64,
        options={"redundancy_weight": 1 / 192},
        epochs=20,
        batch_size=128,
    )


def wikics() -> Recipe:
    """WikiCS: 11,701 pages."""
    return _published("wikics", width=256, epochs=1000, warmup=100, rate=5e-4, mask=0.1, drop=0.2)


def amazon_computers() -> Recipe:
    """Amazon-CS: 13,752 products."""
    return _published("amazon-computers", width=128, epochs=1000, warmup=100, rate=5e-4, mask=0.1, drop=0.4)


def amazon_photo() -> Recipe:
    """Amazon-Photo: 7,650 products."""
    return _published("amazon-photo", width=256, epochs=1000, warmup=100, rate=1e-4, mask=0.5, drop=0.0)


def coauthor_cs() -> Recipe:
    """Coauthor-CS: 18,333 authors."""
    return _published("coauthor-cs", width=256, epochs=1000, warmup=100, rate=1e-5, mask=0.1, drop=0.5)


def coauthor_physics() -> Recipe:
    """Coauthor-Physics: 34,493 authors."""
    return _published("coauthor-physics", width=128, epochs=1000, warmup=100, rate=1e-5, mask=0.4, drop=0.1)


def ogbn_arxiv() -> Recipe:
    """ogbn-arxiv, 169,343 papers: three layers, the whole graph in each step."""
    return _published(
        "ogbn-arxiv", width=256, epochs=500, warmup=100, rate=1e-3, mask=0.0, drop=0.2, backbone="gcn3",
        modality_options={"feature_mask": 0.0, "edge_drop": 0.2, "fanout": "all", "normalise": "none"},
    )  # fmt: skip


def ppi() -> Recipe:
    """PPI, proteins of 24 tissues: attention with skips, numbers only."""
    return _published(
        "ppi", width=512, epochs=500, warmup=50, rate=5e-3, mask=0.1, drop=0.1, backbone="gat",
        modality_options={"feature_mask": 0.1, "edge_drop": 0.1, "fanout": "all", "normalise": "none"},
        source=f"{BIELAK}. Differs: there one tissue a step; its labels are many a node, which no probe here scores",
    )  # fmt: skip


GRAPH_RECIPES = {
    "gbt": any_graph,
    "gbt-cora": cora,
    "gbt-sets": any_graphs,
    "gbt-wikics": wikics,
    "gbt-amazon-computers": amazon_computers,
    "gbt-amazon-photo": amazon_photo,
    "gbt-coauthor-cs": coauthor_cs,
    "gbt-coauthor-physics": coauthor_physics,
    "gbt-ogbn-arxiv": ogbn_arxiv,
    "gbt-ppi": ppi,
}
"""Recipes of Graph Barlow Twins by name."""

MADE_FOR = {
    "cora": "gbt-cora",
    "citeseer": "gbt",
    "pubmed": "gbt",
    **{
        name.removeprefix("gbt-"): name
        for name in GRAPH_RECIPES
        if name.count("-") and name not in ("gbt-cora", "gbt-sets", "gbt-ppi")
    },
}
"""Data sets by name and the recipe that each gets."""
