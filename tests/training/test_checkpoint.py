"""Checkpoints: whole after a kill, refused when broken, the generators and the optimizer as they were."""

import os
import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from barlow.training.checkpoint import (
    load_checkpoint,
    random_state,
    restore_method,
    restore_random_state,
    save_checkpoint,
)
from barlow.training.optimizers import OptimizerName, build_optimizer

KILLS = 8
KILL_WHILE_SAVING = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from barlow.training.checkpoint import load_checkpoint, save_checkpoint

path, kills = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
pause = random.Random(0)
save_checkpoint(path, {"step": 0, "weight": torch.zeros(300_000)})
for _ in range(kills):
    child = os.fork()
    if child == 0:
        step = load_checkpoint(path)["step"]
        while True:
            step += 1
            save_checkpoint(path, {"step": step, "weight": torch.full((300_000,), float(step))})
    time.sleep(pause.uniform(0.005, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    state = load_checkpoint(path)
    assert (state["weight"] == state["step"]).all(), "two checkpoints are mixed"
    print(state["step"])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "last.ckpt"


def save(path: Path, step: int = 1) -> bytes:
    save_checkpoint(path, {"step": step, "weight": torch.arange(1000.0)})
    return path.read_bytes()


def test_a_state_comes_back_as_it_was_on_the_cpu(path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {
        "step": 12, "rate": 0.1, "done": False, "name": "x", "nothing": None,
        "pair": (1, [2.5, "y"]), "method": network.state_dict(), "half": torch.ones(2, dtype=torch.bfloat16),
    }  # fmt: skip
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert list(loaded) == list(state)
    assert [loaded[name] for name in ("step", "rate", "done", "name", "nothing", "pair")] == list(state.values())[:6]
    torch.testing.assert_close(loaded["method"], network.state_dict(), rtol=0, atol=0)
    assert loaded["half"].dtype == torch.bfloat16
    assert isinstance(loaded["method"], OrderedDict)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_killed_while_it_saves_always_leaves_a_checkpoint_that_loads(path: Path) -> None:
    command = [sys.executable, "-c", KILL_WHILE_SAVING, str(path), str(KILLS)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    steps = [int(line) for line in finished.stdout.split()]
    assert len(steps) == KILLS
    assert steps == sorted(steps)
    assert steps[-1] > 0, "no child ever finished a save: the test would show nothing"
    save(path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"], "the next save clears up"


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def noted(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            events.append(name)
            return act(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", noted("rename", Path.replace))
    save(path)
    assert events == ["sync", "rename", "sync"]  # The file, its place, and the folder that knows the place.


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_that_names_the_checkpoint_and_the_old_one_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = save(path)
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda at, *a, **k: real(Path("/dev/full"), *a, **k) if a == ("wb",) else real(at, *a, **k)
    )
    with pytest.raises(OSError, match="no space") as caught:
        save_checkpoint(path, {"step": 2, "weight": torch.zeros(300_000)})
    assert caught.value.strerror == f"no space left on the device for {path}; the last good checkpoint is kept"
    monkeypatch.undo()
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["os.fsync", "torch.save", "pathlib.Path.replace"])
def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_debris(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left")

    before = save(path)
    with monkeypatch.context() as patch:
        patch.setattr(what, refuse)
        with pytest.raises(OSError, match="no space left"):
            save(path, step=2)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_truncated_checkpoint_is_refused_wherever_it_ends(path: Path) -> None:
    whole = save(path)
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"last\.ckpt is truncated, corrupted"):
            load_checkpoint(path)


def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_loaded(path: Path) -> None:
    whole = save(path)
    positions = range(0, len(whole), 41)
    refused = 0
    for position in positions:
        broken = bytearray(whole)
        broken[position] ^= 0b100
        path.write_bytes(broken)
        loaded: dict[str, Any] = {}
        with suppress(ValueError):
            loaded = load_checkpoint(path)
        if loaded:  # The archive has a few bytes that say nothing, dates for one.
            assert loaded["step"] == 1
            assert torch.equal(loaded["weight"], torch.arange(1000.0))
        refused += not loaded
    assert refused > len(positions) / 2  # The tensor is most of the file, and torch alone would not notice.


def test_a_missing_file_and_a_file_of_somebody_else_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*last\.ckpt"):
        load_checkpoint(path)
    foreign = tmp_path / "foreign.pth"
    torch.save({"model": nn.Linear(2, 2)}, foreign)
    with pytest.raises(ValueError, match=r"foreign\.pth is corrupted, or none that barlow wrote"):
        load_checkpoint(foreign)
    torch.save([1, 2], foreign)
    with pytest.raises(ValueError, match=r"foreign\.pth holds a list"):
        load_checkpoint(foreign)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"rate": np.float64(0.1)}, r"state\['rate'\] is a numpy\.float64"),
        ({"a": [{"b": np.zeros(2)}]}, r"state\['a'\]\[0\]\['b'\] is a numpy\.ndarray"),
        ({"path": Path("x")}, r"state\['path'\] is a pathlib"),
    ],
)
def test_a_value_that_would_not_load_again_is_refused_before_anything_is_written(
    path: Path, state: dict[str, Any], message: str
) -> None:
    before = save(path)
    with pytest.raises(ValueError, match=message):
        save_checkpoint(path, state)
    assert path.read_bytes() == before


def draws() -> tuple[Any, ...]:
    # Odd numbers of normal draws, so that the generators hold a spare one.
    return (
        [random.gauss(0, 1) for _ in range(3)],
        np.random.standard_normal(3).tolist(),  # noqa: NPY002  (the global generator is what is tested)
        torch.randn(3).tolist(),
    )


def test_the_generators_go_on_through_a_checkpoint_as_if_nothing_had_happened(path: Path) -> None:
    draws()
    save_checkpoint(path, {"random": random_state()})
    expected = draws()
    assert draws() != expected
    restore_random_state(load_checkpoint(path)["random"])
    assert draws() == expected


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["adamw", "lars", "sgd"])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(path: Path, name: OptimizerName, fused: bool) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        optimizer = build_optimizer(
            network, name=name, learning_rate=0.01, momentum=0.9, weight_decay=0.01, fused=fused
        )
        return network, optimizer

    def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            network(torch.randn(16, 5)).square().mean().backward()
            optimizer.step()

    network, optimizer = fresh()
    train(network, optimizer, 3)
    save_checkpoint(
        path, {"method": network.state_dict(), "optimizer": optimizer.state_dict(), "random": random_state()}
    )
    train(network, optimizer, 3)

    resumed, resumed_optimizer = fresh()
    state = load_checkpoint(path)
    resumed.load_state_dict(state["method"])
    resumed_optimizer.load_state_dict(state["optimizer"])
    restore_random_state(state["random"])
    train(resumed, resumed_optimizer, 3)
    for key, value in network.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key
    assert resumed_optimizer.param_groups[0]["peak"] == 0.01


def state_of(network: nn.Module, **identity: Any) -> dict[str, Any]:
    return {"method": network.state_dict()} | ({"recipe": identity} if identity else {})


def test_a_checkpoint_of_another_run_is_refused_by_the_numbers_of_both() -> None:
    here, there = nn.Linear(4, 2), nn.Linear(8, 2)
    state = state_of(there, width=8, epochs=3, since="an older version")
    with pytest.raises(ValueError, match=r"last.ckpt is of another run: width is 8 there and 4 here; wanted the file"):
        restore_method(here, state, Path("last.ckpt"), {"width": 4, "epochs": 3})
    before = here.weight.clone()
    with pytest.raises(ValueError, match="seed is 1 there and 0 here"):  # the weights would fit
        restore_method(here, state_of(nn.Linear(4, 2), seed=1), Path("last.ckpt"), {"seed": 0})
    assert torch.equal(here.weight, before)


def test_a_checkpoint_of_before_tells_another_run_by_its_weights() -> None:
    names = {"a": nn.Linear(4, 2), "b": nn.Linear(2, 2, bias=False)}
    here = nn.ModuleDict(names)
    there = nn.ModuleDict({"a": nn.Linear(5, 2)})
    with pytest.raises(
        ValueError, match=r"a.weight is of shape \(2, 5\) there and of shape \(2, 4\) here; b.weight is miss"
    ):
        restore_method(here, state_of(there), Path("last.ckpt"), {"width": 4})
    same = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(2, 2, bias=False)})
    restore_method(here, state_of(same), Path("last.ckpt"), {"width": 4})
    assert torch.equal(names["a"].weight, same.get_parameter("a.weight"))
