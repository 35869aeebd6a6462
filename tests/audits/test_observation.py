"""Networks in training mode are audited in evaluation mode, and are afterwards what they were."""

import copy

import pytest
import torch
from torch import Tensor, nn

from barlow.audits.audit import Audit, audit
from barlow.audits.observation import num_blocks, observe
from barlow.audits.subjects import Networks
from barlow.data.arrays import ArraySource
from barlow.seams import Params, Views


class Noise:
    """A view that adds a number to every feature."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"noise": {"value": 0.3 * torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["noise"]["value"] if "noise" in params else batch


VIEWS = Views((Noise(),) * 2)


def audited(backbone: object, projector: nn.Module | None = None) -> Audit:
    source = ArraySource(3.0 + torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
    return audit(backbone, source, views=VIEWS, projector=projector, num_images=100, num_views=2)


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))


def warnings_of(found: Audit) -> list[str]:
    return [warning for warning in found.figures["warnings"] if "mostly chance" not in warning]


def assert_unchanged(module: nn.Module, before: nn.Module) -> None:
    assert [part.training for part in module.modules()] == [part.training for part in before.modules()]
    for now, then in zip(module.state_dict().values(), before.state_dict().values(), strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


@pytest.mark.parametrize("which", ["network", "projector"])
def test_an_audit_changes_no_network_in_training_mode_and_says_that_it_was(which: str) -> None:
    backbone, projector = network().eval(), nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).eval()
    quiet = audited(backbone, projector)
    assert warnings_of(quiet) == []
    (backbone if which == "network" else projector).train()
    before = copy.deepcopy(backbone), copy.deepcopy(projector)
    found = audited(backbone, projector)
    assert_unchanged(backbone, before[0])
    assert_unchanged(projector, before[1])
    (warning,) = warnings_of(found)
    assert warning.startswith(f"the {which} was in training mode: it was audited in evaluation mode")
    assert found.figures["quantities"] == quiet.figures["quantities"]
    assert found.figures["layers"] == quiet.figures["layers"]
    assert [layer["name"] for layer in found.figures["layers"]] == ["h", "z"]


def test_a_part_in_training_mode_and_a_method_of_a_module_are_seen_as_well() -> None:
    backbone = network().eval()
    backbone[1].train()
    before = copy.deepcopy(backbone)
    (warning,) = warnings_of(audited(backbone.forward))
    assert "the network was in training mode" in warning
    assert_unchanged(backbone, before)


def test_the_mode_comes_back_when_the_audit_fails() -> None:
    backbone = nn.Sequential(nn.BatchNorm1d(4), nn.Unflatten(1, (2, 2)))
    before = copy.deepcopy(backbone)
    with pytest.raises(ValueError, match=r"wanted features of shape \(n, d\)"):
        audited(backbone)
    assert_unchanged(backbone, before)


def test_a_projector_that_is_no_function_of_one_image_is_warned_of() -> None:
    batchwise = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False)).eval()
    (warning,) = warnings_of(audited(network().eval(), batchwise))
    assert "the projector's outputs for a sample depend on the others of its batch" in warning


def test_a_network_is_looked_at_for_chance_before_the_long_passes() -> None:
    calls: list[int] = []

    def stops_after_a_few(view: Tensor) -> Tensor:
        calls.append(len(view))
        if len(calls) > 3:
            raise RuntimeError("enough")
        return view

    with pytest.raises(RuntimeError, match="enough"):
        audited(stops_after_a_few)
    assert calls[:3] == [32, 32, 16]


def test_less_than_the_usual_time_leaves_fewer_blocks_and_more_does_not_add_any() -> None:
    assert [num_blocks(512, seconds) for seconds in (600.0, 60.0, 30.0, 5.0)] == [20, 20, 10, 4]
    assert num_blocks(4096, 60.0) == num_blocks(4096, 1.0) == 4  # their sums would take too much memory


class OneShift:
    """A view that adds the same number to every sample of a batch, as one mask of edges is of a whole graph."""

    shared = True

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"shift": {"value": 10.0 * torch.randn(1, 1, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["shift"]["value"]


def test_where_a_batch_shares_the_draws_of_its_views_the_batch_is_the_block() -> None:
    source = ArraySource(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
    networks = Networks(lambda view: view, None)
    seen = observe(networks, source, Views((OneShift(),) * 2), num_images=100, num_views=3)
    assert seen.moments.block_sizes == [5] * 20
    plain = seen.h
    assert plain is not None
    shifts = (seen.h_a - plain).mean(dim=1)
    for g in range(20):  # as the figures of pairs have their blocks
        assert float(shifts[g::20].std()) < 1e-4
    assert float(shifts[:20].std()) > 1
    alone = observe(networks, source, Views((Noise(),) * 2), num_images=100, num_views=3)
    assert alone.moments.num_blocks == 20
    torch.testing.assert_close(alone.h, source.samples)
