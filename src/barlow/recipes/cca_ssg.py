"""CCA-SSG: the published recipes for citation graphs, and the one for a graph of any kind."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.graphs import any_graph, cora as gbt_cora
from barlow.recipes.recipe import EVERY, Recipe

ZHANG = (
    "Zhang et al. 2021 (arXiv 2106.12484) and the settings of the official code: Adam 1e-3 without decay or schedule, "
    "two layers of 512. Differs: BatchNorm and PReLU between them, as in G-BT, where theirs is a ReLU; here the rate "
    "warms up and falls"
)


def cora() -> Recipe:
    """Cora: 50 epochs, masks .1 and .4."""
    return replace(
        gbt_cora(),
        name="cca_ssg-cora",
        method="cca_ssg",
        source=ZHANG,
        backbone="gcn2-flat",
        width=512,
        options={"decorrelation_weight": 1e-3},
        weight_decay=0.0,
    )


def citeseer() -> Recipe:
    """Citeseer: one layer, 20 epochs, edges dropped only."""
    return replace(
        cora(),
        name="cca_ssg-citeseer",
        backbone="gcn1",
        epochs=20,
        warmup_epochs=2.0,
        options={"decorrelation_weight": 5e-4},
        modality_options={"feature_mask": 0.0, "edge_drop": 0.4, "fanout": "all"},
    )


def pubmed() -> Recipe:
    """PubMed: 100 epochs, masks .3 and .5."""
    return replace(
        cora(),
        name="cca_ssg-pubmed",
        epochs=100,
        warmup_epochs=10.0,
        options={"decorrelation_weight": 5e-4},
        modality_options={"feature_mask": 0.3, "edge_drop": 0.5, "fanout": "all"},
    )


def any_graph_of() -> Recipe:
    """A graph of any kind."""
    return replace(
        cora(),
        name="cca_ssg-gbt",
        source="ours: the numbers of cca_ssg-cora, with sampled neighbours from 30,000 nodes on",
        modality_options=any_graph().modality_options,
        batch_size=EVERY,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: as `small-grey`, but for loss and head."""
    return replace(
        barlow_twins.small_grey(),
        name="cca_ssg-small-grey",
        method="cca_ssg",
        source="ours: untuned",
        options={"decorrelation_weight": 1e-3},
    )
