"""Every form of graph is read to the same nodes; what is odd is handled or named, what is wrong refused."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from barlow.data.labels import UNKNOWN
from barlow.graphs.data.load import load_graph, looks_like_graph, looks_like_graphs
from barlow.graphs.data.pickled import read_pickle
from barlow.graphs.data.source import GraphSource, NodeSource
from barlow.graphs.data.sparse import SparseMatrix
from barlow.images.data.load import looks_like_images
from barlow.modalities import modality_for
from tests.graphs.small import blocks, masks, write_archive, write_planetoid, write_tu


def nodes(data: Any, **how: Any) -> NodeSource:
    source = load_graph(data, **how)
    assert isinstance(source, NodeSource)
    return source


def test_cora_has_the_sizes_and_the_public_split_of_the_literature(shared_data: Path) -> None:
    source = nodes("cora", data_root=shared_data)
    assert (len(source), source.graph.num_features, source.graph.edges.shape[1]) == (2708, 1433, 10556)
    assert isinstance(source.graph.x, SparseMatrix)
    torch.testing.assert_close(source.graph.x.dense().sum(dim=1), torch.ones(2708))
    assert source.parts is not None
    (split,) = source.parts.splits
    assert [len(part) for part in (split.train, split.validation, split.test)] == [140, 500, 1000]
    assert source.parts.labels.values is not None
    assert source.parts.labels.values[split.train].bincount().tolist() == [20] * 7
    assert source.labels is not None
    assert (source.labels[split.test] == UNKNOWN).all()


def test_cora_equals_that_of_pyg(shared_data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torch_geometric.datasets", reason="PyG is not installed")
    import shutil

    shutil.copytree(shared_data / "Planetoid" / "Cora" / "raw", tmp_path / "Cora" / "raw")
    theirs = datasets.Planetoid(tmp_path, "Cora")[0]
    ours, of_theirs = nodes("cora", data_root=shared_data, normalise="none"), nodes(theirs, normalise="none")
    assert torch.equal(ours.graph.dense_x(), of_theirs.graph.dense_x())
    assert torch.equal(ours.graph.edges, of_theirs.graph.edges)
    assert ours.parts is not None
    assert of_theirs.parts is not None
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(ours.parts.splits[0], part), getattr(of_theirs.parts.splits[0], part))


def test_planetoid_with_gaps_and_tests_in_any_order(tmp_path: Path) -> None:
    source = nodes(write_planetoid(tmp_path / "Toy"), normalise="none")
    dense = torch.arange(44).reshape(11, 4) % 5
    dense[8] = 0
    assert torch.equal(source.graph.dense_x(), dense.float())
    assert source.parts is not None
    assert source.parts.labels.values is not None
    assert source.parts.labels.values.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, UNKNOWN, 0, 1]
    assert source.parts.splits[0].train.tolist() == [0, 1, 2]
    assert source.parts.splits[0].validation.tolist() == [3, 4, 5, 6]
    assert source.parts.splits[0].test.tolist() == [7, 9, 10]
    assert any("1 nodes have no neighbours" in note for note in source.notes)
    assert source.name == "Toy"


@pytest.mark.parametrize("harm", [b"cos\nsystem\n(S'true'\ntR.", pickle.dumps(Path("x")), b"nonsense"])
def test_a_pickle_that_names_anything_but_numbers_is_refused(tmp_path: Path, harm: bytes) -> None:
    path = tmp_path / "ind.toy.x"
    path.write_bytes(harm)
    with pytest.raises(ValueError, match="is no file of Planetoid"):
        read_pickle(path)
    with (tmp_path / "objects").open("wb") as file:
        pickle.dump(np.array([SimpleNamespace()], dtype=object), file, protocol=2)
    with pytest.raises(ValueError, match="is no file of Planetoid"):
        read_pickle(tmp_path / "objects")


def test_an_archive_an_object_and_a_pair_are_the_same_graph(tmp_path: Path) -> None:
    x, edges, y = blocks()
    data = SimpleNamespace(x=x, edge_index=edges, y=y)
    of_file = nodes(write_archive(tmp_path / "a.npz"))
    for other in (nodes(data), nodes((x, edges)), nodes((x.numpy(), edges.numpy()), labels=y)):
        assert torch.equal(other.graph.edges, of_file.graph.edges)
        assert torch.equal(other.graph.dense_x(), of_file.graph.dense_x())
    assert nodes((x, edges)).labels is None
    assert nodes(data).parts is not None
    assert nodes(data).parts.name.startswith("20 random splits of 10/10/80%")  # type: ignore[union-attr]
    assert of_file.parts is not None
    assert of_file.parts.name == "split of the data"


def test_csr_parts_and_the_form_of_amazon_and_coauthor(tmp_path: Path) -> None:
    import scipy.sparse

    x, edges, y = blocks(30, width=70)
    sparse = scipy.sparse.csr_matrix(x.numpy() * (torch.rand(30, 70).numpy() < 0.1))
    links = scipy.sparse.csr_matrix((np.ones(edges.shape[1]), edges.numpy()), shape=(30, 30))
    parts = {
        f"{name}_{key}": getattr(matrix, key)
        for name, matrix in (("adj", links), ("attr", sparse))
        for key in ("data", "indices", "indptr", "shape")
    }
    np.savez(tmp_path / "amazon_electronics_photo.npz", labels=y.numpy(), **parts)
    source = nodes("amazon-photo", data_root=tmp_path, normalise="none")
    assert isinstance(source.graph.x, SparseMatrix)
    np.testing.assert_allclose(source.graph.x.dense().numpy(), sparse.toarray())
    assert torch.equal(source.graph.edges, nodes((x, edges)).graph.edges)


def test_wikics_has_twenty_splits_and_one_test_part(tmp_path: Path) -> None:
    x, edges, y = blocks(30)
    links: list[list[int]] = [edges[1][edges[0] == one].tolist() for one in range(30)]
    rest = np.arange(30) < 20
    train = [[bool(one) for one in rest & (np.arange(30) % 4 == k)] for k in range(2)]
    held = [[bool(one) for one in rest & (np.arange(30) % 4 == k + 2)] for k in range(2)]
    content = {
        "features": x.tolist(), "labels": y.tolist(), "links": links, "train_masks": train, "val_masks": held,
        "stopping_masks": held, "test_mask": [bool(one) for one in ~rest],
    }  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(content))
    source = nodes(tmp_path / "data.json")
    assert source.parts is not None
    assert [split.test.tolist() for split in source.parts.splits] == [list(range(20, 30))] * 2
    assert source.parts.splits[1].train.tolist() == [1, 5, 9, 13, 17]


def test_a_folder_of_graphs(tmp_path: Path) -> None:
    source = load_graph(write_tu(tmp_path / "TOY"))
    assert isinstance(source, GraphSource)
    assert len(source) == 24
    assert source.graphs[0].num_nodes == 4
    assert source.graphs[0].edges.T.tolist() == [[1, 0], [3, 0], [0, 1], [2, 1], [1, 2], [3, 2], [0, 3], [2, 3]]
    assert source.graphs[1].edges.shape[1] == 8  # a star of five
    assert source.parts is not None
    assert source.parts.labels.values is not None
    assert source.parts.labels.values.tolist() == [1, 0] * 12
    assert len(source.parts.splits) == 10
    tested = torch.cat([split.test for split in source.parts.splits])
    assert sorted(tested.tolist()) == list(range(24))
    batch = next(source.batches([3, 1], 2)).samples
    assert len(batch) == 2
    assert batch.graph.num_nodes == 7 + 5


def test_odd_edges_are_tidied_and_said() -> None:
    edges = torch.tensor([[0, 0, 1, 2, 2], [1, 1, 0, 2, 3]])
    source = nodes((torch.ones(5, 3), edges))
    assert source.graph.edges.T.tolist() == [[1, 0], [0, 1], [3, 2], [2, 3]]
    said = " ".join(source.notes)
    for words in (
        "1 self-loops",
        "1 edges came more than once",
        "1 edges had one direction only",
        "1 nodes have no neigh",
    ):
        assert words in said
    kept = nodes((torch.ones(5, 3), edges), direction="kept")
    assert kept.graph.edges.T.tolist() == [[1, 0], [0, 1], [2, 3]]


def test_a_node_whose_features_are_no_numbers_is_blank_to_others_and_no_sample() -> None:
    x, edges, _ = blocks(400)
    x[7, 3] = torch.nan
    source = nodes((x, edges))
    assert list(source.bad) == [7]
    assert source.graph.dense_x().isfinite().all()
    (batch,) = source.batches([6, 7, 8], 3)
    assert batch.indices.tolist() == [6, 8]
    x[:20] = torch.inf
    with pytest.raises(ValueError, match="20 of 400 samples cannot be read"):
        nodes((x, edges))


def test_labels_may_be_missing_and_labels_of_several_columns_are_left_out() -> None:
    x, edges, y = blocks(60)
    y[:30] = UNKNOWN
    source = nodes(SimpleNamespace(x=x, edge_index=edges, y=y))
    assert source.parts is not None
    assert all(int(split.test.min()) >= 30 for split in source.parts.splits)
    half = masks(60) | {"val_mask": np.zeros(60, dtype=bool)}
    without = nodes(SimpleNamespace(x=x, edge_index=edges, y=y, **half))
    assert without.parts is not None
    assert without.parts.name.startswith("20 random splits")
    assert any(
        "validation part of the split of the data is empty, so nodes are split at random" in n for n in without.notes
    )
    few = nodes(SimpleNamespace(x=x[:3], edge_index=edges[:, :0], y=y[30:33]))
    assert few.parts is None
    several = nodes(SimpleNamespace(x=x, edge_index=edges, y=torch.ones(60, 4)))
    assert several.parts is None
    assert any("labels of 4 columns" in note for note in several.notes)


def test_what_is_wrong_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    x, edges, _ = blocks(10)
    with pytest.raises(ValueError, match="edge_index: node 10 is not among the 10 nodes"):
        nodes((x, torch.tensor([[0], [10]])))
    with pytest.raises(ValueError, match=r"x: got shape \(10,\), wanted \(n, F\)"):
        nodes(SimpleNamespace(x=x[:, 0], edge_index=edges))
    with pytest.raises(ValueError, match="data: a graph without x, wanted features"):
        nodes(SimpleNamespace(x=None, edge_index=edges))
    with pytest.raises(ValueError, match="normalise: got 'row', wanted rows or none; did you mean 'rows'"):
        nodes((x, edges), normalise="row")
    with pytest.raises(ValueError, match="data_root: cora is read from a folder, wanted --data-root"):
        nodes("cora")
    with pytest.raises(ValueError, match=r"has no cora; looked for Planetoid/Cora"):
        nodes("cora", data_root=tmp_path)
    with pytest.raises(ValueError, match=r"is not there, .* one of the names cora.*did you mean 'citeseer'"):
        nodes("Citesser")


def test_graphs_are_told_from_images(tmp_path: Path) -> None:
    x, edges, _ = blocks(10)
    archive, folder = write_archive(tmp_path / "a.npz", 30), write_tu(tmp_path / "TOY")
    assert looks_like_images(folder)  # which takes any folder, and is asked later
    np.savez(tmp_path / "images.npz", images=np.zeros((4, 8, 8), dtype=np.uint8))
    for data, name in (
        ("cora", "graphs"), (archive, "graphs"), ((x, edges), "graphs"), (write_planetoid(tmp_path / "P"), "graphs"),
        (folder, "graph-sets"), ([SimpleNamespace(x=x, edge_index=edges)] * 3, "graph-sets"),
        (tmp_path / "images.npz", "images"), (tmp_path, "images"), ("digits", "images"),
        (torch.zeros(4, 3, 8, 8), "images"), ([tmp_path / "a.png"], "images"),
    ):  # fmt: skip
        assert modality_for(data).name == name, data
    assert not looks_like_graph(np.zeros((3, 4)))
    assert not looks_like_graphs([])
