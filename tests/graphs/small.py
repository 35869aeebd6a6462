"""Small graphs with known structure, as objects and as files of every form that is read."""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from barlow.graphs.data.graph import Graph, tidy

CLASSES = 3


def blocks(n: int = 90, *, seed: int = 0, width: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Features, edges of one direction and classes: neighbours are mostly of one class, features say a little of it."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    source = torch.randint(n, (4 * n,), generator=generator)
    other = torch.randint(n // CLASSES, (4 * n,), generator=generator) * CLASSES + y[source]
    anywhere = torch.randint(n, (4 * n,), generator=generator)
    target = torch.where(torch.rand(4 * n, generator=generator) < 0.9, other, anywhere)
    x = torch.rand(n, width, generator=generator) + 0.5 * torch.nn.functional.one_hot(y, width)
    return x, torch.stack([source, target]), y


def graph(n: int = 90, **how: int) -> Graph:
    x, edges, _ = blocks(n, **how)
    return Graph(x, tidy(edges, n).edges)


def masks(n: int) -> dict[str, np.ndarray]:
    """Of every ten nodes two to fit on, three to choose on and five to test on."""
    place = np.arange(n) // CLASSES % 10
    return {"train_mask": place < 2, "val_mask": (place >= 2) & (place < 5), "test_mask": place >= 5}


def write_archive(path: Path, n: int = 90, **more: np.ndarray) -> Path:
    x, edges, y = blocks(n)
    arrays: dict[str, Any] = {"x": x.numpy(), "edge_index": edges.numpy(), "y": y.numpy(), **masks(n), **more}
    np.savez(path, **arrays)
    return path


def write_planetoid(folder: Path, name: str = "toy") -> Path:
    """Ten nodes of which 7 are known, tests 7 to 10 in another order, and number 8 is missing, as in Citeseer."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    dense = np.arange(44, dtype=np.float32).reshape(11, 4) % 5
    y = np.eye(3)[np.arange(11) % 3]
    index = [9, 7, 10]
    links: dict[int, list[int]] = defaultdict(list)
    for one in range(11):
        if one != 8:
            links[one] = [other for other in ((one + 1) % 11, (one + 3) % 11) if other != 8]
    links[8] = []
    parts = {
        "x": scipy.sparse.csr_matrix(dense[:3]), "y": y[:3],
        "allx": scipy.sparse.csr_matrix(dense[:7]), "ally": y[:7],
        "tx": scipy.sparse.csr_matrix(dense[index]), "ty": y[index], "graph": links,
    }  # fmt: skip
    for part, value in parts.items():
        with (raw / f"ind.{name}.{part}").open("wb") as file:
            pickle.dump(value, file, protocol=2)
    (raw / f"ind.{name}.test.index").write_text("".join(f"{one}\n" for one in index))
    return folder


def write_tu(folder: Path, num_graphs: int = 24, name: str = "TOY") -> Path:
    """Rings and stars of 4 to 7 nodes, told by their class."""
    folder.mkdir(parents=True)
    edges, owners, labels, kinds, start = [], [], [], [], 1
    for k in range(num_graphs):
        size, ring = 4 + k % 4, k % 2 == 0
        pairs = [(i, (i + 1) % size) for i in range(size)] if ring else [(0, i) for i in range(1, size)]
        edges += [(start + a, start + b) for a, b in pairs] + [(start + b, start + a) for a, b in pairs]
        owners += [k + 1] * size
        kinds += [i % 2 for i in range(size)]
        labels.append(1 if ring else -1)
        start += size
    (folder / f"{name}_A.txt").write_text("".join(f"{a}, {b}\n" for a, b in edges))
    (folder / f"{name}_graph_indicator.txt").write_text("".join(f"{one}\n" for one in owners))
    (folder / f"{name}_graph_labels.txt").write_text("".join(f"{one}\n" for one in labels))
    (folder / f"{name}_node_labels.txt").write_text("".join(f"{one}\n" for one in kinds))
    return folder
