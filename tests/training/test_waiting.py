"""No step makes the host wait for a GPU, whatever the method; on one that is not there. On one that is: tests/gpu."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from barlow.images.views import colour, geometry, pipeline
from barlow.images.views.published import image_views
from barlow.methods.optimal_projector import optimal_projector_loss
from barlow.methods.wmse import whiten_rows
from barlow.seams import Terms, to_device
from barlow.training.checkpoint import NonFiniteLossError, Resumable
from barlow.training.journal import read_journal
from tests.gpu.steps import CASES, STEPS, built, steps
from tests.training.pretend_gpu import GPU, Event, OnGpu, Pretended, PretendedFabric, put, waits

pytestmark = [
    pytest.mark.usefixtures("as_users_call_it"),
    pytest.mark.filterwarnings("ignore:.*CUDA is not available:UserWarning"),
]

RAGGED = ("barlow_twins", "vicregl")
"""Trained on a list of pictures of unequal size."""


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    waits.clear()
    yield
    for constants in (colour._numbers, colour._taps_to_pixels):
        constants.cache_clear()  # they are on a GPU that is not there


def on_gpu(name: str, folder: Path, change: Callable[[Any], None] = lambda method: None) -> list[float]:
    """Take the steps there, without checkpoints, which may wait; return the losses of the journal."""
    method = built(name)
    put(method)
    change(method)
    with pytest.MonkeyPatch.context() as patch, Pretended():
        patch.setattr(Resumable, "save", lambda state, step: None)
        steps(name, folder, PretendedFabric(), ragged=name in RAGGED, method=method)
    return losses(folder)


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]


@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_device_and_its_losses_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    found = on_gpu(name, tmp_path / "gpu")
    assert len(found) == STEPS
    assert waits == []
    steps(name, tmp_path / "cpu", Fabric(accelerator="cpu", devices=1), ragged=name in RAGGED)
    # Pictures of unequal size are rounded to uint8 on a CPU only, and gram matrices may round otherwise.
    assert found == pytest.approx(losses(tmp_path / "cpu"), rel=0.05 if name in RAGGED else 1e-4)


@pytest.mark.parametrize(
    "ask",
    [
        float,
        bool,
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: (x > 0).nonzero(),
        lambda x: x[x > 0],
        lambda x: x[torch.tensor([0])],
        lambda x: x.unique(),
        lambda x: torch.tensor([1.0], device=x.device),
        lambda x: torch.zeros(3).to(x.device),
        lambda x: torch.zeros(3).to(x.device, non_blocking=True),
        lambda x: torch.zeros(1).copy_(x),
    ],
)
def test_what_makes_a_host_wait_is_seen(ask: Callable[[Tensor], Any]) -> None:
    with Pretended():
        ask(OnGpu(torch.ones(1)))
    assert waits


def test_an_operation_on_tensors_of_two_devices_is_refused_as_a_gpu_does() -> None:
    with Pretended(), pytest.raises(AssertionError, match=r"^add: one tensor is on the CPU, another on the device"):
        OnGpu(torch.ones(2)) + torch.ones(2)


def test_samples_travel_together_and_arrive_as_they_were() -> None:
    images = [torch.arange(6, dtype=torch.uint8).view(1, 2, 3), torch.ones(1, 4, 1, dtype=torch.uint8)]
    ages, strided = torch.tensor([2.5]), torch.arange(6).view(2, 3).T
    with Pretended():
        moved = to_device({"images": images, "ages": ages, "name": "both", "strided": strided}, GPU)
    assert waits == []
    assert moved["name"] == "both"
    arrived = [*moved["images"], moved["ages"], moved["strided"]]
    for ours, sent in zip(arrived, [*images, ages, strided], strict=True):
        assert isinstance(ours, OnGpu)
        assert torch.equal(ours.held, sent)
        assert ours.held.dtype == sent.dtype


def test_a_loss_that_is_not_finite_is_seen_one_step_later_with_its_own_step_and_term(tmp_path: Path) -> None:
    calls: list[int] = []

    def breaking(method: Any) -> None:
        forward = method.forward

        def broken(views: Sequence[Any]) -> Terms:
            calls.append(len(calls) + 1)
            terms = forward(views)
            parts = dict(terms.parts)
            if len(calls) >= 2:
                parts["variance"] = parts["variance"] * torch.inf
            return Terms(sum(parts.values()), parts)  # type: ignore[arg-type]

        method.forward = broken

    with pytest.raises(NonFiniteLossError, match=r"at step 2: the first term that is not finite is 'variance'"):
        on_gpu("vicreg", tmp_path, breaking)
    assert calls == [1, 2, 3]
    records = read_journal(tmp_path / "journal.jsonl")
    assert [record["step"] for record in records if record["event"] == "step"] == [1]
    assert [record["step"] for record in records if record["event"] == "error"] == [2]
    assert not (tmp_path / "checkpoints").exists()


def test_a_step_is_in_the_journal_before_the_checkpoint_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Resumable, "save", lambda state, step: state.journal.write("checkpoint", step=step))
    method = built("vicreg")
    put(method)
    with Pretended():
        steps("vicreg", tmp_path, PretendedFabric(), method=method, minutes=0.0)
    events = [(record["event"], record["step"]) for record in read_journal(tmp_path / "journal.jsonl")]
    taken = [(event, step) for step in range(1, STEPS + 1) for event in ("step", "checkpoint")]
    assert events == [*taken, ("checkpoint", STEPS), ("finish", STEPS)]


def test_a_bounded_part_of_the_batch_becomes_views_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    resize = geometry.crop_and_resize

    def noting(batch: Any, *rest: Any) -> Tensor:
        sizes.append(len(batch))
        return resize(batch, *rest)

    monkeypatch.setattr(geometry, "crop_and_resize", noting)
    monkeypatch.setattr(pipeline, "_GPU_CHUNK_BYTES", 4 * 3 * 40 * 40 * 5)  # float32 pixels of five of the pictures
    view = image_views("byol", size=24, channels=3).pipelines[0]
    batch = torch.rand(13, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    params = view.sample(batch, torch.Generator().manual_seed(1))
    with Pretended():
        made = view.apply(to_device(batch, GPU), params)
    assert sizes == [5, 5, 3]
    torch.testing.assert_close(made.held, view.apply(batch, params), rtol=0, atol=1e-5)


def test_covariances_without_a_factor_are_mended_or_not_a_number_but_never_asked_about() -> None:
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    z[:, 1] = 2.0
    with Pretended():
        white = whiten_rows(OnGpu(z))
        total = optimal_projector_loss(OnGpu(z), OnGpu(z), shrinkage=0.0).total
    assert waits == []
    assert isinstance(white, OnGpu)
    assert isinstance(total, OnGpu)
    torch.testing.assert_close(white.held, whiten_rows(z))
    assert total.held.isnan()
    with pytest.raises(ValueError, match="shrinkage: got too little for these features"):
        optimal_projector_loss(z, z, shrinkage=0.0)
