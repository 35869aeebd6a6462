"""The loop: it resumes bit for bit after a real kill, stops on signals and bad losses, and sees every sample alike."""

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import BadDataError
from barlow.data.order import hash_seed
from barlow.seams import Method, Terms
from barlow.training.checkpoint import NonFiniteLossError
from barlow.training.journal import Journal, read_journal
from barlow.training.order import epoch_order
from barlow.training.plan import Plan, steps_per_epoch
from barlow.training.pretrain import Probe, noting_bad_data
from tests.training.tiny_run import BATCH, EPOCHS, STEPS, Broken, run_tiny

REPOSITORY = Path(__file__).parents[2]


def start(folder: Path, *, minutes: float, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.training.tiny_run", str(folder), str(minutes), str(seconds)]
    return subprocess.Popen(command, cwd=REPOSITORY)


def wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (folder / "journal.jsonl").exists():
            steps = [r["step"] for r in read_journal(folder / "journal.jsonl") if r["event"] == "step"]
            if steps and max(steps) >= step:
                return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was not reached in a minute")


def weights(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def test_a_run_that_is_killed_twice_ends_with_the_weights_of_one_that_is_not(tmp_path: Path) -> None:
    whole, finished = run_tiny(tmp_path / "whole")
    assert finished
    killed = tmp_path / "killed"
    for step in (5, 12):
        process = start(killed, minutes=0.0, seconds=0.1)
        wait_for_step(killed, step)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    resumed, finished = run_tiny(killed)
    assert finished
    for name, value in weights(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    records = read_journal(killed / "journal.jsonl")
    assert [r["step"] for r in records if r["event"] == "step"] == list(range(1, STEPS + 1))
    assert sum(r["event"] == "resume" for r in records) == 2
    losses = [
        [r["loss"] for r in read_journal(f / "journal.jsonl") if r["event"] == "step"]
        for f in (tmp_path / "whole", killed)
    ]
    assert losses[0] == losses[1]


def test_a_folder_deleted_under_way_ends_the_run_at_the_next_checkpoint_and_is_not_made_again(tmp_path: Path) -> None:
    steps: list[int] = []

    def delete(record: dict[str, Any]) -> None:
        steps.extend([record["step"]] if record["event"] == "step" else [])
        if steps == [1, 2, 3] and (tmp_path / "run").exists():
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(FileNotFoundError, match=r"out: .*run' was deleted, moved or replaced"):
        run_tiny(tmp_path / "run", minutes=0.0, journal_listener=delete)
    assert steps == [1, 2, 3]
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_killed_before_its_first_checkpoint_starts_again_with_a_clean_journal(tmp_path: Path) -> None:
    process = start(tmp_path, minutes=60.0, seconds=0.1)
    wait_for_step(tmp_path, 3)
    process.kill()
    process.wait()
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
    run_tiny(tmp_path)
    steps = [r["step"] for r in read_journal(tmp_path / "journal.jsonl") if r["event"] == "step"]
    assert steps == list(range(1, STEPS + 1))


def test_dropout_and_order_matter_so_that_the_test_above_can_fail(tmp_path: Path) -> None:
    """With the generator's state left out of the checkpoint, or another order, the weights differ."""
    whole, _ = run_tiny(tmp_path / "a")
    torch.manual_seed(99)
    other, _ = run_tiny(tmp_path / "b", batch_size=14)
    assert not torch.equal(weights(whole)["projector.weight"], weights(other)["projector.weight"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_a_checkpoint_and_the_run_goes_on_from_it(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, minutes=60.0, seconds=0.1)
    wait_for_step(tmp_path, 3)
    process.send_signal(number)
    assert process.wait(timeout=300) == 3
    interrupted = next(r for r in read_journal(tmp_path / "journal.jsonl") if r["event"] == "interrupted")
    _, finished = run_tiny(tmp_path)
    assert finished
    resumed = next(r for r in read_journal(tmp_path / "journal.jsonl") if r["event"] == "resume")
    assert resumed["step"] == interrupted["step"] >= 3


def test_a_loss_that_is_not_finite_stops_the_run_names_the_term_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"step 3.*'bad'"):
        run_tiny(tmp_path, method=Broken(), minutes=0.0)
    last = [r for r in read_journal(tmp_path / "journal.jsonl") if r["event"] in ("error", "checkpoint")]
    assert last[-1]["event"] == "error"
    assert last[-1]["parts"]["bad"] == "inf"
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["step"] == 2
    assert torch.isfinite(state["method"]["weight"]).all()


class BrokenGradient(Method):
    """A method whose loss stays finite, and whose gradient does not at its third step."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), nn.Identity())
        self.weight = nn.Parameter(torch.ones(6))
        self.calls = 0

    def forward(self, views: Sequence[Tensor]) -> Terms:
        self.calls += 1
        good = (views[0] * self.weight).square().mean()
        total = good + (0 * self.weight.sum()).sqrt() if self.calls > 2 else good  # d sqrt(0) = inf, times 0
        return Terms(total, {"good": good})


def test_weights_that_are_not_finite_never_replace_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"1 of the weights, 'weight' first, are not finite after step 3"):
        run_tiny(tmp_path, method=BrokenGradient(), minutes=0.0)
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["step"] == 2
    assert torch.isfinite(state["method"]["weight"]).all()
    assert read_journal(tmp_path / "journal.jsonl")[-1]["event"] == "error"


class TooManyBad(ArraySource):
    """A source two of whose samples turned out to be bad."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(8, 3))
        self.bad = {4: "truncated", 7: "no picture"}

    def describe(self, index: int) -> str:
        return f"{index}.jpg"


def test_samples_that_end_a_run_are_named_in_its_journal_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write("bad_sample", index=4, what="4.jpg", reason="truncated")
        with pytest.raises(BadDataError), noting_bad_data(TooManyBad(), journal):
            raise BadDataError("data: 2 of 8 samples cannot be read")
    records = read_journal(tmp_path / "journal.jsonl")
    assert [(r["event"], r.get("index")) for r in records] == [("bad_sample", 4), ("bad_sample", 7), ("error", None)]
    assert "2 of 8" in records[-1]["message"]


def test_the_scale_of_losses_in_float16_is_part_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabric's precision keeps it; on a CPU float32 has none, so one with a state stands in."""
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr("lightning_fabric.plugins.precision.Precision.state_dict", lambda _: {"scale": 512.0})
    monkeypatch.setattr(
        "lightning_fabric.plugins.precision.Precision.load_state_dict", lambda _, state: loaded.append(state)
    )
    run_tiny(tmp_path)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["precision"] == {"scale": 512.0}
    run_tiny(tmp_path)
    assert loaded == [{"scale": 512.0}]


def test_the_journal_has_loss_terms_floor_excess_and_rate_of_every_step(tmp_path: Path) -> None:
    run_tiny(tmp_path)
    steps = [r for r in read_journal(tmp_path / "journal.jsonl") if r["event"] == "step"]
    assert [r["step"] for r in steps] == list(range(1, STEPS + 1))
    for record in steps:
        assert record["loss"] == pytest.approx(sum(record["parts"].values()), rel=1e-5)
        assert record["excess"] == pytest.approx(record["loss"] - 0.25, rel=1e-5)
        assert record["samples_per_second"] > 0
    assert steps[0]["learning_rate"] == pytest.approx(0.005)
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_probes_are_taken_when_due_and_at_the_end_and_leave_no_trace(tmp_path: Path) -> None:
    plain, _ = run_tiny(tmp_path / "plain")

    def figures(step: int) -> dict[str, float]:
        return {"noise": float(torch.rand(()))}

    probed, _ = run_tiny(tmp_path / "probed", probes=[Probe(2, figures)])
    probes = [r for r in read_journal(tmp_path / "probed" / "journal.jsonl") if r["event"] == "probe"]
    assert [r["epoch"] for r in probes] == [2, 4, 5]
    for name, value in weights(plain).items():
        assert torch.equal(value, probed.state_dict()[name]), name


def test_the_last_epoch_may_be_a_part_of_one(tmp_path: Path) -> None:
    """2.3 epochs of 4 steps are 9 steps; figures are taken at the end, and an interrupted run ends alike."""
    asked = Probe(1, lambda step: {"step": float(step)})
    method, finished = run_tiny(tmp_path / "whole", epochs=2.3, probes=[asked])
    assert finished
    records = read_journal(tmp_path / "whole" / "journal.jsonl")
    assert [r["step"] for r in records if r["event"] == "step"] == list(range(1, 10))
    assert [r["epoch"] for r in records if r["event"] == "probe"] == [1, 2, 2.25]
    assert [r["step"] for r in records if r["event"] == "finish"] == [9]

    def interrupt(record: dict[str, Any]) -> None:
        if record["event"] == "step" and record["step"] == 8:
            signal.raise_signal(signal.SIGTERM)

    _, finished = run_tiny(tmp_path / "parts", epochs=2.3, journal_listener=interrupt)
    assert not finished
    again, finished = run_tiny(tmp_path / "parts", epochs=2.3)
    assert finished
    for name, value in weights(method).items():
        assert torch.equal(value, again.state_dict()[name]), name


def plan(batch_size: int, seed: int = 0) -> Plan:
    return Plan(
        epochs=1,
        batch_size=batch_size,
        seed=seed,
        factor=lambda _: 1.0,
        clip_norm=0.0,
        checkpoint_minutes=1.0,
        floor=None,
    )


def test_an_epoch_sees_every_sample_at_most_once_and_drops_only_the_incomplete_batch() -> None:
    order = epoch_order(103, plan=plan(10), epoch=0, first_step=0, rank=0, world=1)
    assert len(order) == 100
    assert max(Counter(order.tolist()).values()) == 1


def test_processes_together_see_the_batches_that_one_process_sees() -> None:
    whole = epoch_order(50, plan=plan(7), epoch=2, first_step=1, rank=0, world=1).view(-1, 7)
    parts = [epoch_order(50, plan=plan(7), epoch=2, first_step=1, rank=r, world=3) for r in range(3)]
    shards = [part.view(len(whole), -1) for part in parts]
    for batch, *pieces in zip(whole, *shards, strict=True):
        assert sorted(batch.tolist()) == sorted(torch.cat(pieces).tolist())


def test_epochs_and_seeds_give_different_orders_and_the_same_ones_again() -> None:
    orders = [
        tuple(epoch_order(40, plan=plan(8, seed), epoch=epoch, first_step=0, rank=0, world=1).tolist())
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len(set(orders)) == 9
    again = epoch_order(40, plan=plan(8, 1), epoch=1, first_step=0, rank=0, world=1)
    assert tuple(again.tolist()) == orders[4]


def test_seeds_of_neighbouring_steps_are_far_apart() -> None:
    seeds = {hash_seed(0, step, rank) for step in range(1000) for rank in range(4)}
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_set_smaller_than_the_batch_has_one_step_an_epoch() -> None:
    assert steps_per_epoch(5, 5) == 1
    assert steps_per_epoch(19, 5) == 3


class Attentive(Broken):
    """Writes down when it is called, and what it could see then."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, float]] = []

    def forward(self, views: Sequence[Tensor]) -> Terms:
        self.heard.append(("forward", 0.0))
        good = (views[0] * self.weight).square().mean()
        return Terms(good, {"good": good})

    def start_step(self, epoch: float, epochs: int | float) -> None:
        assert epochs == EPOCHS
        self.heard.append(("start_step", epoch))

    def after_backward(self) -> None:
        assert self.weight.grad is not None
        self.heard.append(("after_backward", float(self.weight.detach().sum())))

    def after_step(self) -> None:
        self.heard.append(("after_step", float(self.weight.detach().sum())))


def test_a_method_may_act_at_three_moments_of_each_step(tmp_path: Path) -> None:
    method = Attentive()
    run_tiny(tmp_path, method=method)
    assert [name for name, _ in method.heard] == ["start_step", "forward", "after_backward", "after_step"] * STEPS
    epochs = [value for name, value in method.heard if name == "start_step"]
    assert epochs == pytest.approx([step * EPOCHS / STEPS for step in range(STEPS)])
    before, after = (
        [value for name, value in method.heard if name == moment] for moment in ("after_backward", "after_step")
    )
    assert all(b != a for b, a in zip(before[1:], after[1:], strict=True))


def test_a_batch_is_moved_once_per_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[int] = []

    def counted(samples: Tensor, device: torch.device) -> Tensor:
        moves.append(len(samples))
        return samples.to(device)

    monkeypatch.setattr("barlow.seams.to_device", counted)
    run_tiny(tmp_path)
    assert moves == [BATCH] * STEPS
