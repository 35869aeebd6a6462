"""The loop on a GPU: the losses of the CPU, no waiting, a resumed run, mixed precision, two processes on one GPU."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

import barlow
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.vicreg import vicreg_loss
from barlow.seams import Terms
from barlow.statistics.collectives import all_mean
from barlow.training.checkpoint import NonFiniteLossError, Resumable
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from barlow.training.sync_batch_norm import synchronise_batch_norms
from tests.gpu.steps import CASES, STEPS, built, steps

pytestmark = pytest.mark.usefixtures("as_users_call_it")


def cuda() -> Fabric:
    return Fabric(accelerator="cuda", devices=1)


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]


@contextmanager
def waiting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any wait raises from the first step's end on (kernels are chosen and constants brought before), but in saves."""
    save, resume, begin = Resumable.save, Resumable.resume, torch.optim.Optimizer.zero_grad

    def allowed(function: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*args: Any, **kwargs: Any) -> Any:
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("default")
            try:
                return function(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode(before)

        return waiting

    def after_a_step(*args: Any, **kwargs: Any) -> None:
        begin(*args, **kwargs)
        torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr(Resumable, "save", allowed(save))
    monkeypatch.setattr(Resumable, "resume", allowed(resume))
    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", after_a_step)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_method_has_the_losses_of_the_cpu_and_no_step_waits(
    name: str, ragged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(name, tmp_path / "cpu", Fabric(accelerator="cpu", devices=1), ragged=ragged)
    with waiting_is_an_error(monkeypatch):
        steps(name, tmp_path / "gpu", cuda(), ragged=ragged)
    found, expected = losses(tmp_path / "gpu"), losses(tmp_path / "cpu")
    assert len(found) == STEPS
    # The first loss but for rounding (pictures of unequal size are rounded to uint8 on a CPU only); Adam carries it on.
    assert found[0] == pytest.approx(expected[0], rel=0.03 if ragged else 1e-3)
    assert found == pytest.approx(expected, rel=0.1)


def test_the_debug_mode_sees_a_wait() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(3, device="cuda").sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["barlow_twins", "swav", "byol"])
def test_a_run_that_goes_on_ends_with_the_weights_of_one_that_was_not_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        whole = steps(name, tmp_path / "whole", cuda())
        kept = tmp_path / "half"
        real = Resumable.save

        def first_only(state: Resumable, step: int) -> None:
            real(state, step)
            if step == 2:
                shutil.copytree(tmp_path / "stopped" / "checkpoints", kept / "checkpoints")

        monkeypatch.setattr(Resumable, "save", first_only)
        steps(name, tmp_path / "stopped", cuda(), minutes=0.0)
        monkeypatch.setattr(Resumable, "save", real)
        resumed = steps(name, kept, cuda())
    finally:
        torch.use_deterministic_algorithms(False)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_to_nearly_the_same_losses(precision: Any, tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"width": 8, "projector": "32-32", "epochs": 2, "batch_size": 64}
    found = {}
    for kind in ("32-true", precision):
        run = barlow.pretrain(
            "digits",
            out=tmp_path / kind,
            precision=kind,
            machine=Machine(quiet=True, accelerator="cuda", devices="1"),
            **numbers,
        )
        assert run.finished
        found[kind] = losses(tmp_path / kind)
        assert json.loads((tmp_path / kind / "summary.json").read_text())["label_free"]
    assert found[precision] == pytest.approx(found["32-true"], rel=0.2)


def test_a_loss_that_is_not_finite_names_its_step_and_term_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    method: Any = built("vicreg")
    forward, calls = method.forward, []

    def broken(views: Sequence[Any]) -> Terms:
        calls.append(1)
        terms = forward(views)
        parts = dict(terms.parts)
        if len(calls) == 3:
            parts["variance"] = parts["variance"] * torch.inf
        return Terms(sum(parts.values()), parts)  # type: ignore[arg-type]

    method.forward = broken
    with pytest.raises(NonFiniteLossError, match="at step 3: the first term that is not finite is 'variance'"):
        steps("vicreg", tmp_path, cuda(), method=method, minutes=0.0)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["step"] == 2
    assert all(value.isfinite().all() for value in saved["method"].values())


LOSSES: dict[str, Callable[..., Terms]] = {"barlow_twins": barlow_twins_loss, "vicreg": vicreg_loss}
SIZES = (9, 15)


def embeddings() -> Tensor:
    return torch.randn(2, sum(SIZES), 12, generator=torch.Generator().manual_seed(0))


def process(rank: int, folder: str) -> None:
    """One of two processes on the same GPU: losses, gradients and a BatchNorm, by gloo."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {}
    for name, loss in LOSSES.items():
        z_a, z_b = (z.split(SIZES)[rank].cuda().requires_grad_() for z in embeddings())
        total = loss(z_a, z_b, all_mean=all_mean).total
        total.backward()
        found[name] = torch.stack([total.detach().cpu()])
        assert z_a.grad is not None
        found[f"{name} gradient"] = z_a.grad.cpu()
    norm = torch.nn.BatchNorm1d(12).cuda()
    synchronise_batch_norms(norm)
    found["norm"] = norm(embeddings()[0].split(SIZES)[rank].cuda()).detach().cpu()
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_on_one_gpu_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    start_processes(process, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, loss in LOSSES.items():
        z_a, z_b = (z.clone().requires_grad_() for z in embeddings())
        total = loss(z_a, z_b).total
        total.backward()
        for one in found:
            torch.testing.assert_close(one[name][0], total.detach(), rtol=1e-4, atol=1e-5)
        both = torch.cat([one[f"{name} gradient"] for one in found]) / 2  # DDP averages
        torch.testing.assert_close(both, z_a.grad, rtol=1e-3, atol=1e-5)
    norm = torch.nn.BatchNorm1d(12)(embeddings()[0]).detach()
    torch.testing.assert_close(torch.cat([one["norm"] for one in found]), norm, rtol=1e-4, atol=1e-5)
