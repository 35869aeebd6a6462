"""A graph goes the whole way: pretrained, resumed, evaluated, audited, embedded, shown; by one command."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import barlow
from barlow.audits.observation import observe
from barlow.audits.subjects import Networks
from barlow.cli import main
from barlow.evaluation import own_parts
from barlow.evaluation.finetune import FinetuneNumbers, finetune_early
from barlow.graphs import readings, supervised
from barlow.graphs.data.load import SAMPLED_FROM
from barlow.graphs.data.source import NodeSource
from barlow.graphs.modality import GRAPHS, fanout_of, fit, load, names, smoothed_features
from barlow.graphs.networks.encoders import encoder
from barlow.graphs.networks.network import GraphNetwork
from barlow.graphs.readings import clustering, link_prediction
from barlow.methods.table import METHODS
from barlow.recipes import EVERY, RECIPES, Recipe, recipe_for, recipe_for_graph, with_numbers
from barlow.runs import classifier
from barlow.training.machine import Machine
from barlow.training.order import Share, draw_views
from tests.graphs.small import blocks, graph, write_archive, write_tu

QUIET = Machine(quiet=True, accelerator="cpu")
SMALL: dict[str, Any] = {"width": 16, "epochs": 6}


@pytest.fixture(scope="module", autouse=True)
def in_little_time() -> Iterator[None]:
    """One draw of few labels, two penalties, a few epochs of the supervised network: the way is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_parts, "DRAWS", 1)
        patch.setattr(own_parts, "REGULARISATIONS", (1.0, 64.0))
        patch.setattr(supervised, "EPOCHS", 3)
        patch.setattr(readings, "STARTS", 1)
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("graph") / "toy.npz", 240)


@pytest.fixture(scope="module")
def folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "toy"
    with pytest.raises(SystemExit) as left:
        main(["pretrain", str(archive), "--out", str(out), "--width", "16", "--epochs", "6", "--quiet"])
    assert left.value.code == 0
    return out


def test_one_command_ends_with_every_bar_and_a_page(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    rows = {row["features"]: row for row in summary["evaluation"]["rows"]}
    assert list(rows) == ["trained", "untrained", "raw features", "A²X", "supervised GCN"]
    assert rows["A²X"]["linear"] > rows["raw features"]["linear"]
    assert [point["per_class"] for point in rows["supervised GCN"]["labels_per_class"]] == [1, 2, 5]
    assert 0 < rows["trained"]["readings"]["clusters, NMI"] <= 1
    page = (folder / "report.html").read_text()
    for words in ("The graph", "edges within a class", "Accuracy over labels a class", "240 nodes, coloured by class"):
        assert words in page, words
    with np.load(folder / "evidence.npz") as evidence:
        assert evidence["graph_layout"].shape == (240, 2)
        assert 0.5 < float(evidence["graph_homophily"]) < 1


def test_a_run_is_opened_embedded_and_evaluated_from_its_folder(folder: Path, archive: Path) -> None:
    run = barlow.open_run(folder)
    h = run.embed(archive)
    assert h.shape == (240, 16)
    x, edges, _ = blocks(240)
    torch.testing.assert_close(run.embed((x, edges)), h)
    score = run.evaluate(keep=False)
    assert score.linear == run.summary["evaluation"]["rows"][0]["linear"]
    with pytest.raises(ValueError, match="has 5 features a node, wanted 12 as the network was trained on"):
        run.embed((torch.rand(9, 5), torch.tensor([[0], [1]])))
    with pytest.raises(ValueError, match="brings a split of its own"):
        run.evaluate(sgd_linear=True, keep=False)


def test_a_killed_run_goes_on_to_the_same_weights(
    folder: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from barlow.training import pretrain as loop

    whole = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    step, taken = loop._descend, []

    def dies(*given: object, **named: object) -> None:
        taken.append(1)
        if len(taken) == 4:
            raise RuntimeError("killed")
        step(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_descend", dies)
    how = {"out": tmp_path / "run", "machine": replace(QUIET, checkpoint_minutes=0.0), **SMALL}
    with pytest.raises(RuntimeError, match="killed"):
        barlow.pretrain(archive, **how)
    monkeypatch.setattr(loop, "_descend", step)
    run = barlow.resume(tmp_path / "run", machine=QUIET)
    assert run.finished
    again = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    weights = {name: value for name, value in whole["method"].items() if isinstance(value, torch.Tensor)}
    assert weights
    assert all(torch.equal(again["method"][name], value) for name, value in weights.items())


def test_an_audit_takes_edges_and_columns_for_its_transforms(folder: Path) -> None:
    found = barlow.audit(folder, num_images=120, num_views=3, quiet=True).figures
    assert {effect["name"] for effect in found["augmentations"]} == {"columns", "edges"}
    assert all(effect["total_effect_error"] > 0 for effect in found["augmentations"])
    assert found["subject"]["kind"] == "run"


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("vicregl", "speakers")])
def test_every_method_takes_a_step_on_a_graph(method: str) -> None:
    from barlow.runs.build import build_backbone, build_method, build_views, fitted

    source = NodeSource(graph(96), name="g")
    asked = with_numbers(recipe_for_graph(method), {"width": 16})
    asked = replace(asked, options={**asked.options, **({"queue_length": 0} if method == "swav" else {})})
    names(asked)
    recipe, facts = fitted(GRAPHS, asked, source)
    network = build_backbone(GRAPHS, recipe, facts)
    built = build_method(recipe, network, 16)
    built.start_step(0.0, 1)
    (batch,) = source.batches(range(96), 96)
    terms = built(build_views(GRAPHS, recipe, facts).draw(batch.samples, torch.Generator().manual_seed(0)))
    terms.total.backward()
    assert terms.total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_what_graphs_do_not_have_is_refused_before_data_are_read() -> None:
    recipe = recipe_for("gbt")
    with pytest.raises(
        ValueError, match=r"modality_options: graphs have no 'edge_drp', they have .*did you mean 'edge_drop'"
    ):
        names(with_numbers(recipe, {"modality_options": {"edge_drp": 0.1}}))
    with pytest.raises(ValueError, match=r"edge_drop: got 1\.5"):
        names(with_numbers(recipe, {"modality_options": {"edge_drop": 1.5}}))
    with pytest.raises(ValueError, match="backbone: got 'gcn4', wanted one of gcn1"):
        names(with_numbers(recipe, {"backbone": "gcn4"}))
    with pytest.raises(ValueError, match="method: vicregl matches positions"):
        names(recipe_for("vicregl", "cora"))


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name]().views == "graph"])
def test_every_recipe_of_graphs_is_one_that_can_be_built(name: str) -> None:
    recipe = RECIPES[name]()
    names(recipe)
    network = encoder(recipe.backbone, 20, min(recipe.width, 32))
    assert recipe.batch_size in (EVERY, 128)
    assert recipe.projector == "none"
    assert network(graph(30, width=20)).shape[0] == 30
    if recipe.method == "barlow_twins":
        features = 3 * recipe.width if recipe.backbone == "gin" else recipe.width
        assert recipe.options["redundancy_weight"] == pytest.approx(1 / features)


def test_large_graphs_are_sampled_and_small_ones_are_not() -> None:
    recipe = recipe_for("gbt")
    assert fanout_of(recipe, SAMPLED_FROM) == ()
    assert fanout_of(recipe, SAMPLED_FROM + 1) == (10, 10)
    facts = {"noun": "node", "num_nodes": 50_000, "num_samples": 50_000}
    large = fit(replace(recipe, batch_size=50_000), facts)
    assert (large.batch_size, large.modality_options["fanout"]) == (512, "10-10")
    small = fit(replace(recipe, batch_size=900), {"noun": "node", "num_nodes": 900, "num_samples": 900})
    assert (small.batch_size, small.modality_options["fanout"]) == (900, "all")


def test_sampled_training_runs_through_the_same_command_and_shows_what_it_does(archive: Path, tmp_path: Path) -> None:
    run = barlow.pretrain(
        archive, out=tmp_path / "run", machine=QUIET, **{**SMALL, "epochs": 1}, batch_size=48, labels="none",
        precision="bf16-mixed", modality_options={"fanout": "3-3"},
    )  # fmt: skip
    assert run.finished
    assert "neighbours are sampled in training, 3-3" in (run.folder / "journal.jsonl").read_text()
    with pytest.raises(ValueError, match="fanout: got 3 for a network of 2 layers, wanted 2 numbers"):
        barlow.pretrain(archive, out=tmp_path / "x", machine=QUIET, modality_options={"fanout": "3"}, **SMALL)


def test_whole_graphs_go_the_same_way(tmp_path: Path) -> None:
    data = write_tu(tmp_path / "TOY", 60)
    run = barlow.pretrain(data, out=tmp_path / "run", machine=QUIET, width=8, epochs=2, batch_size=30)
    assert run.facts["noun"] == "graph"
    rows = {row["features"]: row for row in run.summary["evaluation"]["rows"]}
    assert list(rows) == ["trained", "untrained", "raw features", "A²X"]
    assert run.summary["evaluation"]["split"] == "10 folds"
    assert run.embed(data).shape == (60, 24)
    assert "Nodes of a graph" in (tmp_path / "run" / "report.html").read_text()


def test_processes_draw_the_masks_that_one_would() -> None:
    source = NodeSource(graph(), name="g")
    (batch,) = source.batches(range(90), 90)
    views = GRAPHS.views(recipe_for("gbt"), {})  # type: ignore[misc]
    whole = draw_views(views, Share(batch.samples, torch.arange(90), 90), seed=1, step=3)
    part = draw_views(views, Share(batch.samples[1::2], torch.arange(1, 90, 2), 90), seed=1, step=3)
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one.graph.edges, other.graph.edges)
        assert torch.equal(one.graph.x, other.graph.x)


def test_errors_are_over_batches_where_masks_are_of_the_batch() -> None:
    """The stated error of a share of variance against its spread over seeds: a factor of 1.5 at most."""
    source = NodeSource(graph(400, width=24), name="g")
    torch.manual_seed(0)
    network = GraphNetwork(encoder("gcn2", 24, 8)).eval()
    views = barlow.Views((barlow.GraphView(0.5, 0.2),) * 2)
    shares, errors = [], []
    for seed in range(24):
        seen = observe(Networks(network, None), source, views, num_images=400, num_views=2, seed=seed)
        assert seen.by_batch
        assert seen.moments.block_sizes == [20] * 20
        value, error = barlow.jackknife(seen.moments, lambda c: float(c.within.trace() / c.total.trace()))
        shares.append(value)
        errors.append(error)
    spread = float(torch.tensor(shares).std())
    stated = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert 1 / 1.5 < stated / spread < 1.5 * 1.2  # nodes of a batch differ too, which no seed shows
    by_node = over_nodes(network, source, views)
    assert by_node < 0.6 * spread


def over_nodes(network: GraphNetwork, source: NodeSource, views: barlow.Views) -> float:
    """The error that blocks of nodes would state, masks or no masks."""
    (batch,) = source.batches(range(400), 400)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        h = torch.stack([network(view) for view in views.draw(batch.samples, generator)], dim=1)
    moments = barlow.Moments(8)
    moments.add(h)
    return barlow.jackknife(moments, lambda c: float(c.within.trace() / c.total.trace()))[1]


def test_hidden_edges_are_out_of_the_graph_and_are_predicted_by_what_knows_the_classes(archive: Path) -> None:
    recipe = with_numbers(recipe_for("gbt"), {"modality_options": {"hidden_edges": 0.2}})
    source, whole = load(archive, recipe=recipe), load(archive, recipe=recipe_for("gbt"))
    assert isinstance(source, NodeSource)
    assert isinstance(whole, NodeSource)
    assert 2 * source.hidden.shape[1] + source.graph.edges.shape[1] == whole.graph.edges.shape[1]
    assert source.hidden.shape[1] == pytest.approx(0.1 * whole.graph.edges.shape[1], rel=0.2)
    _, _, y = blocks(240)
    told = torch.nn.functional.one_hot(y, 5).float() + 0.01 * torch.randn(240, 5)
    assert link_prediction(told, source.hidden, source.graph) > 0.75
    assert link_prediction(torch.randn(240, 5), source.hidden, source.graph) == pytest.approx(0.5, abs=0.15)
    assert clustering(told, y) > 0.95
    assert clustering(torch.randn(240, 5), y) < 0.2
    again = load(archive, facts={"hidden_edges": 0.2})
    assert isinstance(again, NodeSource)
    assert torch.equal(again.graph.edges, source.graph.edges)


def test_a_pyg_data_object_and_a_module_of_ones_own(tmp_path: Path) -> None:
    x, edges, y = blocks(60)
    data = SimpleNamespace(x=x, edge_index=edges, y=y)

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(12, 8)

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
            h: torch.Tensor = self.linear(x.index_add(0, edge_index[1], x[edge_index[0]]))
            return h

    run = barlow.pretrain(data, backbone=barlow.GraphNetwork(Mean()), out=tmp_path / "run", machine=QUIET, epochs=2)
    assert run.finished
    assert run.summary["evaluation"]["split"].startswith("20 random splits")
    assert run.backbone.num_features == 8


def test_the_snippet_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text(encoding="utf-8")
    pretrain = barlow.pretrain
    monkeypatch.setattr(barlow, "pretrain", lambda data, **how: pretrain(data, **{**how, "epochs": 1}, machine=QUIET))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(page.split("```py\n")[1].split("```")[0], "docs/graphs.md", "exec"), names)
    assert names["h"].shape == (300, 256)


def test_the_bar_is_what_neighbourhoods_say() -> None:
    source = NodeSource(graph(20), name="g")
    (batch,) = source.batches([2, 0], 2)
    adjacency = torch.zeros(20, 20)
    adjacency[source.graph.edges[1], source.graph.edges[0]] = 1
    adjacency += torch.eye(20)
    root = adjacency.sum(dim=1).rsqrt()
    matrix = root[:, None] * adjacency * root
    torch.testing.assert_close(smoothed_features(batch.samples), (matrix @ matrix @ source.graph.dense_x())[[2, 0]])


def test_a_recipe_is_that_of_graphs_for_data_without_a_name() -> None:
    assert recipe_for_graph(None, "graph.npz").name == "gbt"
    assert recipe_for_graph("cca_ssg", "graph.npz").name == "cca_ssg-gbt"
    assert recipe_for("cca_ssg", "cora").name == "cca_ssg-cora"
    assert recipe_for(None, "cora").name == "gbt-cora"
    assert isinstance(recipe_for_graph("simclr", "graph.npz"), Recipe)
    assert recipe_for_graph("simclr", "graph.npz").views == "graph"


def test_nodes_have_neighbours_copies_and_a_classifier(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes without edges and with the same features are one node twice, and the most alike."""
    run = barlow.open_run(folder)
    x, edges, _ = blocks(240)
    twice = torch.cat([x, x[:1], x[:1]])  # nodes 240 and 241, which no edge touches
    of = run.sampled((twice, edges))
    assert [240, 241] in [list(group) for group in of.duplicates().groups]
    names = list(of.embeddings.names)
    found = of.similar(names[240], number=3)
    assert found.names[0][0] == names[241]
    assert of.similar("240", number=3).names == found.names  # a number alone will do
    assert float(found.similarities[0, 0]) == pytest.approx(1, abs=1e-4)
    own = run.sampled()
    assert own.outliers().ranked  # a node has no looks, and is ranked by its neighbours and its class alone
    made = own.classify(tmp_path / "model")
    assert list(made.scores) == ["trained", "untrained", "raw features", "A²X"]
    assert made.scores["trained"]["accuracy"] > 0.5
    quick = (FinetuneNumbers(epochs=4, batch_size=256, learning_rate=0.05, head_learning_rate=0.1),)
    monkeypatch.setattr(classifier, "finetune_early", partial(finetune_early, candidates=quick))
    tuned = own.classify(tmp_path / "tuned", finetune=True)
    assert tuned.scores["fine-tuned"]["accuracy"] > 0.5
    told = barlow.predict(tuned.folder, run.own_data()).classes
    assert own.embeddings.labels is not None
    known = own.embeddings.labels >= 0  # those of the test part are not among the source's labels
    assert float((told == own.embeddings.labels)[known].float().mean()) > 0.5
