"""The seams: samples of every kind reach a device, each batch once."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.evaluation.features import extract
from barlow.runs.evidence import figures_during_training, gather_evidence
from barlow.seams import (
    Batch,
    OnDevice,
    Params,
    RandomSource,
    Samples,
    Source,
    Terms,
    Views,
    check_backbone,
    seeded_batches,
    to_device,
)

META = torch.device("meta")


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Nodes:
    """Samples that are no tensor, and count how often they are moved."""

    moves = 0

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, positions: Any) -> "Nodes":
        return Nodes(self.values[positions])

    def to(self, device: torch.device) -> "Nodes":
        Nodes.moves += 1
        return Nodes(self.values.to(device))


class NodeSource(ArraySource):
    """Batches of nodes, counted."""

    asked = 0

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(order, batch_size):
            NodeSource.asked += 1
            yield Batch(Nodes(batch.samples), batch.indices)


class Noise:
    """One view: the values of the nodes plus noise."""

    def sample(self, batch: Nodes, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.values.shape, generator=generator)}}

    def apply(self, batch: Nodes, params: Params) -> Tensor:
        return batch.values + 0.3 * params["noise"]["value"]


def nodes(n: int = 40) -> NodeSource:
    return NodeSource(torch.randn(n, 6, generator=torch.Generator().manual_seed(1)), labels=torch.arange(n) % 2)


def moves_per_batch(work: Any) -> float:
    """Return how often a batch is moved while `work` is done with a source on a device."""
    Nodes.moves = NodeSource.asked = 0
    work(OnDevice(nodes(), torch.device("cpu")))
    return Nodes.moves / NodeSource.asked


def test_tensors_lists_tuples_and_whatever_can_move_itself_reach_a_device() -> None:
    one, two = torch.ones(2), torch.zeros(3)
    assert to_device(one, META).device == META
    moved = to_device([one, two], META)
    assert isinstance(moved, list)
    assert [part.device for part in moved] == [META, META]
    pair = to_device(Pair(one, two), META)
    assert isinstance(pair, Pair)
    assert pair.right.device == META
    assert to_device({"x": (one, "name")}, META)["x"][0].device == META
    assert to_device(Nodes(one), META).values.device == META
    assert to_device("as it is", META) == "as it is"
    assert isinstance(one, Samples)
    assert isinstance(Nodes(one), Samples)


def test_a_source_on_a_device_is_the_same_source_elsewhere() -> None:
    plain = ArraySource(torch.arange(12.0).view(6, 2), labels=torch.arange(6))
    there = OnDevice(plain, META)
    assert isinstance(there, Source)
    assert isinstance(there, RandomSource)
    assert (len(there), there.name, there.describe(3)) == (6, plain.name, plain.describe(3))
    for batches in (there.batches([4, 1, 2], 2), seeded_batches(there, [4, 1, 2], 2, seed=0)):
        found = list(batches)
        assert [batch.indices.tolist() for batch in found] == [[4, 1], [2]]
        assert all(batch.samples.device == META for batch in found)
        assert found[0].indices.device.type == "cpu"
    assert there.labels is plain.labels


def test_figures_features_and_the_evidence_of_the_page_move_a_batch_once() -> None:
    views = Views((Noise(), Noise()), plain=lambda batch: batch.values)

    def identity(view: Tensor) -> Tensor:
        return view

    assert moves_per_batch(lambda source: figures_during_training(identity, source, views)(0)) == 1
    assert moves_per_batch(lambda source: extract(identity, source, plain=views.plain)) == 1
    assert (
        moves_per_batch(lambda source: gather_evidence(identity, identity, identity, source, source, views, None)) == 1
    )


# --- What a backbone has to be.


class Returns(nn.Module):
    """Returns what it is told to, from a batch."""

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32, value: float = 0.0) -> None:
        super().__init__()
        self.output = torch.full(shape, value, dtype=dtype)

    def forward(self, _: Tensor) -> Tensor:
        return self.output


def test_any_module_is_counted_and_left_as_it_was() -> None:
    norm = nn.BatchNorm1d(4).eval()
    module = nn.Sequential(nn.Conv1d(3, 4, 3), norm, nn.AdaptiveAvgPool1d(1), nn.Flatten())
    mean = norm.get_buffer("running_mean").clone()
    assert check_backbone(module, torch.randn(2, 3, 16)) == 4
    assert (module.training, module[0].training, norm.training) == (True, True, False)
    assert torch.equal(norm.get_buffer("running_mean"), mean)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Returns(2, 4, 5, 5), r"shape \(2, 4, 5, 5\); wanted: \(2, d\); add nn.AdaptiveAvgPool2d"),
        (Returns(2, 9, 4), r"shape \(2, 9, 4\); wanted: \(2, d\); take one token"),
        (Returns(3, 4), r"shape \(3, 4\); wanted: \(2, d\)$"),
        (Returns(2), r"shape \(2,\); wanted: \(2, d\)$"),
        (Returns(2, 4, dtype=torch.int64), "returns torch.int64"),
        (Returns(2, 4, value=float("nan")), "returns NaN or infinity"),
        (nn.Linear(4, 4), r"Linear fails on a batch of shape \(2, 3, 8, 8\): \S"),
        (nn.LSTM(8, 4), "LSTM fails on a batch"),
    ],
)
def test_a_module_that_gives_no_features_is_told_what_to_do(module: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=f"^backbone: .*{said}"):
        check_backbone(module, torch.randn(2, 3, 8, 8))


def test_a_module_that_returns_a_tuple_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LSTM returns tuple; wanted: one tensor of shape \(N, d\)"):
        check_backbone(nn.LSTM(8, 4, batch_first=True), torch.randn(2, 3, 8))


def test_terms_have_what_people_do_with_a_loss() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    terms = Terms(weight**2 + 1, {"square": weight**2, "rest": torch.tensor(1.0)})
    assert float(terms) == terms.item() == 10
    assert str(terms) == "10 (square 9, rest 1)"
    assert repr(terms) == "Terms(10 (square 9, rest 1))"
    assert f"{terms:.2f} {terms}" == "10.00 10 (square 9, rest 1)"
    found = [terms / 4, 2 * terms, terms * 2, terms + 1, 1 + terms, sum([terms, terms])]
    assert [one.item() for one in found if isinstance(one, Tensor)] == [2.5, 20, 20, 11, 11, 20]
    terms.backward(retain_graph=True)
    (terms / 2).backward()
    assert weight.grad == 9
    kept = terms.detach()
    assert isinstance(kept, Terms)
    assert not kept.total.requires_grad
    assert not kept.parts["square"].requires_grad
    total, parts = terms  # still a tuple
    assert total is terms.total
    assert set(parts) == {"square", "rest"}
