"""Graphs as modalities: nodes of one graph, and many graphs; all that the core knows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from barlow.data.bad_samples import ANY, MOST_BAD
from barlow.errors import did_you_mean, unknown
from barlow.graphs.data.graph import Graph, Graphs, Nodes
from barlow.graphs.data.load import PLACES, SAMPLED_FROM, load_graph, looks_like_graph, looks_like_graphs
from barlow.graphs.data.sampling import read_fanout
from barlow.graphs.data.source import GraphSource, NodeSource, facts_of
from barlow.graphs.networks.encoders import ENCODERS, LAYERS, encoder
from barlow.graphs.networks.layers import smoothing
from barlow.graphs.networks.network import POOLS, GraphNetwork, pooled
from barlow.graphs.portrait import portrait
from barlow.graphs.readings import readings
from barlow.graphs.supervised import supervised_gcn
from barlow.graphs.views.masking import GraphView
from barlow.recipes import OWN, Recipe, recipe_for_graph, recipe_for_graphs
from barlow.seams import Facts, Modality, Source, Views

VIEWS = {"graph": "2: some columns of the features blank, some edges gone; --modality-options feature_mask edge_drop"}
"""Pipelines by name: their numbers are options of the modality."""
OPTIONS: Mapping[str, int | float | str] = {
    "feature_mask": 0.1,
    "edge_drop": 0.4,
    "feature_mask_b": -1.0,
    "edge_drop_b": -1.0,
    "undirected": 0,
    "fanout": "auto",
    "hidden_edges": 0.0,
    "normalise": "rows",
    "direction": "both",
    "pool": "sum",
}
"""What `--modality-options` may say of graphs, and what holds where it does not. Probabilities of view b below 0 are
those of view a; `undirected` 1 drops both directions of an edge together; `fanout` is neighbours per layer ("10-10"),
"all" the whole graph, and auto the whole graph up to 30,000 nodes; `hidden_edges` is a share of the edges that the
network never sees, to be predicted; `pool` reads whole graphs: sum, mean or max."""
READING = ("normalise", "direction", "hidden_edges")
"""Options that say how a graph is read: other graphs of a run are read so too."""
SAMPLED, SAMPLED_BATCH = 10, 512
"""Neighbours per layer and nodes a step, as in Bielak et al. (2022), where fanout is auto and the graph is large."""
SMOOTHING_STEPS = 2
"""k of the bar A^k X: as far as the usual network looks."""


def options_of(recipe: Recipe) -> dict[str, Any]:
    """Return all options of graphs, those of the recipe and the defaults. ValueError: one that graphs do not have."""
    for name, value in recipe.modality_options.items():
        if name not in OPTIONS:
            raise ValueError(
                f"modality_options: graphs have no {name!r}, they have {', '.join(OPTIONS)}"
                f"{did_you_mean(name, OPTIONS)}"
            )
        if isinstance(OPTIONS[name], (int, float)) and not isinstance(value, (int, float)):
            raise ValueError(f"modality_options: {name}: got {value!r}, wanted a number")
    return {**OPTIONS, **recipe.modality_options}


# --- data


def load(data: Any, *, recipe: Recipe | None = None, facts: Facts | None = None, labels: Any = "auto",
         data_root: Any = None, min_samples: int = 1, **_: Any) -> Source:  # fmt: skip
    """Load a graph or graphs as `load_graph` does, read as those of the run were."""
    if isinstance(data, (NodeSource, GraphSource)):
        return data
    options = options_of(recipe) if recipe is not None else dict(OPTIONS)
    reading = {name: (facts or {}).get(name, options[name]) for name in READING}
    source = load_graph(
        data, labels=labels, data_root=data_root, most_bad=MOST_BAD if facts is None or recipe is not None else ANY,
        normalise=reading["normalise"], direction=reading["direction"],
    )  # fmt: skip
    if isinstance(source, NodeSource):
        fanout = () if recipe is None else fanout_of(recipe, len(source))
        source = source.sampled(fanout).without(float(reading["hidden_edges"]))
    if len(source) < min_samples:
        raise ValueError(f"data: got {len(source)} samples, wanted at least {min_samples}")
    return source


def fanout_of(recipe: Recipe, num_nodes: int) -> tuple[int, ...]:
    """Return the neighbours per layer of a recipe on a graph of so many nodes; none: the whole graph."""
    asked = options_of(recipe)["fanout"]
    if asked != "auto":
        return read_fanout(asked)
    layers = {"gcn1": 1, "gcn2": 2, "gcn2-flat": 2}.get(recipe.backbone, 3)
    return (SAMPLED,) * layers if num_nodes > SAMPLED_FROM else ()


def facts(source: Source) -> Facts:
    """Return sizes of the graph and a digest of its edges and features, and how it was read."""
    return {**facts_of(source), **getattr(source, "reading", {})}


def suits(source: Source, facts: Facts) -> None:
    """Refuse nodes with another number of features than the network of a run takes."""
    wanted = facts.get("num_features")
    has = facts_of_width(source)
    if wanted and has and has != wanted:
        raise ValueError(
            f"data: {source.name} has {has} features a node, wanted {wanted} as the network was trained on"
        )


def facts_of_width(source: Any) -> int:
    """Return F, 0 where it cannot be told."""
    if isinstance(source, NodeSource):
        return source.graph.num_features
    return source.graphs[0].num_features if isinstance(source, GraphSource) else 0


# --- from a recipe to views and a network


def fit(recipe: Recipe, facts: Facts) -> Recipe:
    """Settle whether neighbours are sampled, and the batch where they are."""
    if facts.get("noun") != "node" or options_of(recipe)["fanout"] != "auto":
        return recipe
    fanout = fanout_of(recipe, int(facts["num_nodes"]))
    options = {**recipe.modality_options, "fanout": "-".join(map(str, fanout)) or "all"}
    whole = recipe.batch_size >= int(facts["num_samples"])
    return replace(
        recipe, modality_options=options, batch_size=SAMPLED_BATCH if fanout and whole else recipe.batch_size
    )


def views(recipe: Recipe, facts: Facts) -> Views:
    """Build the two pipelines; one object twice where both are drawn alike."""
    options = options_of(recipe)
    first = GraphView(float(options["feature_mask"]), float(options["edge_drop"]), bool(options["undirected"]))
    other: dict[str, Any] = {
        name: float(value)
        for name, value in (("feature_mask", options["feature_mask_b"]), ("edge_drop", options["edge_drop_b"]))
        if value >= 0
    }
    return Views((first, replace(first, **other) if other else first))


def backbone(recipe: Recipe, facts: Facts) -> GraphNetwork:
    """Build the network that the recipe names; its weights follow from torch's generator."""
    return GraphNetwork(encoder(recipe.backbone, int(facts["num_features"]), recipe.width), options_of(recipe)["pool"])


def names(recipe: Recipe) -> None:
    """Refuse views, networks and options that do not exist, before data are read."""
    options = options_of(recipe)
    if not recipe.views.startswith(OWN) and recipe.views not in VIEWS:
        raise unknown("views", recipe.views, VIEWS)
    if not recipe.backbone.startswith(OWN) and recipe.backbone not in ENCODERS:
        raise unknown("backbone", recipe.backbone, ENCODERS)
    if options["pool"] not in POOLS:
        raise unknown("pool", options["pool"], POOLS)
    if options["fanout"] != "auto":
        read_fanout(options["fanout"])
    views(recipe, {})
    if recipe.method == "vicregl":
        raise ValueError(
            "method: vicregl matches positions of feature maps, which graphs do not have; wanted another one"
        )


def check(recipe: Recipe, network: nn.Module, views: Views, samples: Any, on_cpu: bool) -> None:
    """Refuse neighbours that are sampled to fewer steps than the network looks."""
    depth = getattr(getattr(network, "encoder", None), "depth", 0)
    fanout = () if not isinstance(samples, Nodes) else fanout_of(recipe, samples.graph.num_nodes)
    if fanout and depth and len(fanout) != depth:
        raise ValueError(
            f"fanout: got {'-'.join(map(str, fanout))} for a network of {depth} layers, wanted {depth} numbers"
        )


def notes(recipe: Recipe, source: Source) -> Sequence[str]:
    """Say whether neighbours are sampled."""
    fanout = fanout_of(recipe, len(source)) if isinstance(source, NodeSource) else ()
    if not fanout:
        return []
    return [
        f"neighbours are sampled in training, {'-'.join(map(str, fanout))} of them a layer; features take all of them"
    ]


# --- what stands beside the features


def raw_features(view: Nodes | Graphs) -> Float[Tensor, "n f"]:
    """Return the features that the samples came with; of a graph those of its nodes, added up."""
    if isinstance(view, Graphs):
        return pooled(view.graph.dense_x(), view.owner, view.number, "sum")
    x = view.graph.x
    return x[view.seeds] if isinstance(x, Tensor) else x.take(view.seeds).dense()


def smoothed_features(view: Nodes | Graphs) -> Float[Tensor, "n f"]:
    """Return A^2 X, A = D^-1/2 (A + I) D^-1/2: what neighbourhoods say without a parameter, the bar to beat."""
    h = smoothed(view.graph)
    return pooled(h, view.owner, view.number, "sum") if isinstance(view, Graphs) else h[view.seeds]


def smoothed(graph: Graph, steps: int = SMOOTHING_STEPS) -> Float[Tensor, "m f"]:
    """Return A^k X of every node, known once for a graph."""
    key = "smoothed", steps
    if key not in graph._known:
        h, matrix = graph.dense_x(), smoothing(graph)
        for _ in range(steps):
            h = matrix @ h
        graph._known[key] = h
    found: Tensor = graph._known[key]
    return found


def listed(what: str, word: str) -> Mapping[str, str]:
    """Return views or networks by name, a line on each; those with the word in it."""
    return {name: line for name, line in (LAYERS if what == "networks" else VIEWS).items() if word in name}


def example(recipe: Recipe, facts: Facts) -> Tensor:
    """Refuse: a graph is no tensor that an ONNX file could take."""
    raise ValueError("to: got onnx, but a graph network takes a graph, which such a file has no form for; wanted embed")


GRAPHS = Modality(
    name="graphs",
    noun="node",
    load=load,
    accepts=looks_like_graph,
    named=tuple(PLACES),
    facts=facts,
    suits=suits,
    recipe=recipe_for_graph,
    fit=fit,
    views=views,
    backbone=backbone,
    names=names,
    check=check,
    notes=notes,
    bars={"raw features": raw_features, "A²X": smoothed_features},
    predictors={"supervised GCN": supervised_gcn},
    readings=readings,
    portrait=portrait,
    example=example,
    listed=listed,
    reading=READING,
)
"""One graph: its nodes are the samples."""

GRAPH_SETS = replace(
    GRAPHS,
    name="graph-sets",
    noun="graph",
    accepts=looks_like_graphs,
    named=(),
    recipe=recipe_for_graphs,
    predictors={},
    readings=None,
)
"""Many graphs, each a sample."""
