"""Features: every readable sample once, in order, with its own label, and no network that learns on the way."""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from barlow.evaluation.features import calibrate_batchnorm, extract
from barlow.evaluation.knn import knn_accuracy
from barlow.images.modality import pixels
from barlow.seams import unchanged
from tests.evaluation.small_source import SmallSource


def numbered(num_samples: int) -> Tensor:
    """Samples of two values, the first of which is the number of the sample."""
    return torch.stack([torch.arange(num_samples), torch.ones(num_samples)], dim=1).float()


def test_every_sample_comes_once_and_in_order_whatever_the_batches() -> None:
    source = SmallSource(numbered(10), torch.arange(10) % 3)
    found = extract(lambda x: 2 * x, source, plain=unchanged, batch_size=4)
    assert torch.equal(found.h[:, 0], 2.0 * torch.arange(10))
    assert torch.equal(found.indices, torch.arange(10))
    assert found.labels is not None
    assert torch.equal(found.labels, torch.arange(10) % 3)
    assert len(found) == 10


def test_bad_samples_are_left_out_with_their_labels() -> None:
    source = SmallSource(numbered(10), torch.arange(10), unreadable=[0, 4, 5, 6, 7])
    found = extract(unchanged, source, plain=unchanged, batch_size=4)
    assert found.indices.tolist() == [1, 2, 3, 8, 9]
    assert found.labels is not None
    assert found.labels.tolist() == found.h[:, 0].tolist() == [1, 2, 3, 8, 9]


def test_an_order_is_kept() -> None:
    source = SmallSource(numbered(10), torch.arange(10))
    found = extract(unchanged, source, plain=unchanged, batch_size=2, order=[7, 1, 5, 0, 2], limit=4)
    assert found.h[:, 0].tolist() == found.indices.tolist() == [7, 1, 5, 0]


def test_a_limit_takes_samples_from_all_over_the_source_and_always_the_same() -> None:
    source = SmallSource(numbered(1000))
    first, again = (extract(unchanged, source, plain=unchanged, limit=100).indices for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first, torch.unique(first))
    assert len(first) == 100
    assert first.bincount(minlength=1000).reshape(4, 250).sum(dim=1).min() > 10
    assert len(extract(unchanged, source, plain=unchanged, limit=5000)) == 1000


def test_unlabelled_sources_give_unlabelled_features() -> None:
    assert extract(unchanged, SmallSource(numbered(3)), plain=unchanged).labels is None


def test_the_plain_view_stands_before_the_network() -> None:
    network = nn.Linear(2, 5).eval()
    found = extract(network, SmallSource(numbered(6)), plain=lambda x: x / 10)
    torch.testing.assert_close(found.h, network(numbered(6) / 10).detach())


def test_features_are_float32_without_gradient_and_may_be_trained_on() -> None:
    network = nn.Linear(2, 5).eval().bfloat16()
    h = extract(network, SmallSource(numbered(6)), plain=lambda x: x.bfloat16()).h
    assert h.dtype == torch.float32
    assert not h.requires_grad
    assert not h.is_inference()
    nn.Linear(5, 1)(h).sum().backward()


def test_nothing_about_the_network_changes() -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, again = (extract(network, SmallSource(numbered(9)), plain=unchanged, batch_size=b).h for b in (9, 2))
    torch.testing.assert_close(first, again)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_in_training_mode_is_refused_also_behind_a_method() -> None:
    class Method(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))

        def represent(self, x: Tensor) -> Tensor:
            h: Tensor = self.backbone(x)
            return h

    method = Method().eval()
    assert extract(method.represent, SmallSource(numbered(6)), plain=unchanged).h.shape == (6, 4)
    method.backbone[1].train()
    for represent in (method.represent, method.backbone):
        with pytest.raises(ValueError, match=r"represent: '.*1' is in training mode"):
            extract(represent, SmallSource(numbered(6)), plain=unchanged)


def test_progress_counts_samples_that_were_read() -> None:
    told: list[tuple[int, int]] = []
    source = SmallSource(numbered(10), unreadable=[1])
    extract(unchanged, source, plain=unchanged, batch_size=4, progress=lambda *state: told.append(state))
    assert told == [(3, 10), (7, 10), (9, 10)]


def test_pictures_of_different_sizes_come_as_lists() -> None:
    class Folder(SmallSource):
        def batches(self, order: Any, batch_size: int) -> Any:
            for batch in super().batches(order, batch_size):
                yield type(batch)([torch.full((1, 2 + i, 2), float(i)) for i in batch.indices], batch.indices)

    found = extract(
        unchanged, Folder(numbered(4)), plain=lambda pictures: torch.stack([p.mean(dim=(1, 2)) for p in pictures])
    )
    assert found.h[:, 0].tolist() == [0, 1, 2, 3]


def test_wrong_features_are_named() -> None:
    source = SmallSource(numbered(4))
    with pytest.raises(ValueError, match=r"represent: gave \(4, 2, 1\) for 4 samples"):
        extract(lambda x: x[..., None], source, plain=unchanged)
    with pytest.raises(ValueError, match=r"represent: gave \(1, 2\) for 4 samples"):
        extract(lambda x: x[:1], source, plain=unchanged)
    with pytest.raises(ValueError, match="represent: 4 of 8 features are not finite"):
        extract(lambda x: x / torch.tensor([0.0, 1.0]), source, plain=unchanged)
    with pytest.raises(ValueError, match="source: small gave no sample"):
        extract(unchanged, SmallSource(numbered(2), unreadable=[0, 1]), plain=unchanged)
    with pytest.raises(ValueError, match="limit: got 0"):
        extract(unchanged, source, plain=unchanged, limit=0)


def test_raw_digits_are_told_apart_by_their_neighbours() -> None:
    digits = load_digits()
    source = SmallSource(torch.tensor(digits.images).to(torch.uint8)[:, None], torch.tensor(digits.target))
    found = extract(pixels, source, plain=lambda x: x.float() / 16)
    assert found.labels is not None
    test = torch.arange(len(found)) % 3 == 0
    train_h, train_y, test_h, test_y = found.h[~test], found.labels[~test], found.h[test], found.labels[test]
    assert knn_accuracy(train_h, train_y, test_h, test_y, num_neighbours=5) > 0.95


def test_calibrated_statistics_are_those_of_the_data() -> None:
    first, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
    network = nn.Sequential(first, norm, nn.ReLU(), nn.Dropout(0.5)).eval()
    data = 3.0 + torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    calibrate_batchnorm(network, torch.split(data, 100))
    before_norm = first(data).detach()
    torch.testing.assert_close(norm.running_mean, before_norm.mean(dim=0))
    batch_variance = torch.stack([part.var(dim=0) for part in torch.split(before_norm, 100)]).mean(dim=0)
    torch.testing.assert_close(norm.running_var, batch_variance)
    assert not any(part.training for part in network.modules())
    assert norm.momentum == 0.1


def test_calibration_forgets_what_the_statistics_were_and_twice_is_the_same_as_once() -> None:
    norm = nn.BatchNorm2d(4)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), norm).train()
    data = torch.rand(64, 1, 6, 6)
    calibrate_batchnorm(network, [data])
    assert norm.running_var is not None
    first = norm.running_var.clone()
    calibrate_batchnorm(network, [data])
    assert torch.equal(norm.running_var, first)
    assert network.training
    assert norm.training


def test_calibration_leaves_weights_gradients_and_modes_alone_when_a_batch_fails() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    weights = [p.clone() for p in network.parameters()]
    with pytest.raises(RuntimeError):
        calibrate_batchnorm(network, [torch.rand(5, 3), torch.rand(5, 2)])
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(weights, network.parameters(), strict=True))
    assert not network[1].training
    assert network[1].momentum == 0.1


def test_a_network_without_batchnorm_is_left_alone_and_no_data_is_an_error() -> None:
    calibrate_batchnorm(nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match="batches: there were none"):
        calibrate_batchnorm(nn.BatchNorm1d(2), [])
