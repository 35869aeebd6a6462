"""What listens to a journal: callbacks, and programs that follow runs, of which none is told anything unasked."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import barlow
from barlow.training.journal import Journal, Record, read_journal
from barlow.training.machine import Machine
from barlow.training.trackers import TRACKERS, Listeners, Tensorboard, replay_journal, tracker_names
from tests.runs.test_pretrain import tiny, two_kinds


def logged(logdir: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar under `logdir` by tag, read with TensorBoard's own reader."""
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    accumulator: Any = import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    events = accumulator(str(logdir))
    events.Reload()
    return {
        tag: [(event.step, float(event.tensor_proto.float_val[0])) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_a_run_is_told_to_tensorboard_while_it_goes_and_afterwards_alike(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    live = Listeners(log_to="tensorboard", folder=tmp_path / "live", numbers={})
    with live, Journal(tmp_path / "journal.jsonl", listener=live) as journal:
        for step in (1, 2):
            journal.write("step", step=step, loss=1 / step, parts={"on_diagonal": 0.25})
        found = logged(tmp_path / "live" / "tensorboard")
    later = Tensorboard(tmp_path / "later")
    replay_journal(tmp_path / "journal.jsonl", later)
    later.close()
    expected = {"step/loss": [(1, 1.0), (2, 0.5)], "step/parts/on_diagonal": [(1, 0.25), (2, 0.25)]}
    assert found == logged(tmp_path / "later" / "tensorboard") == expected


class Fake(ModuleType):
    """A program that follows runs, with the functions that it documents: what it was told, in order."""

    def __init__(self, name: str, *functions: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        for function in functions:
            setattr(self, function, self._teller(function))

    def _teller(self, function: str) -> Any:
        return lambda *given, **named: self.told.append((function, given, named))


FUNCTIONS = {
    "wandb": ("init", "log", "finish"),
    "trackio": ("init", "log", "finish"),
    "mlflow": ("set_experiment", "start_run", "log_params", "log_metrics", "end_run"),
}


def told_to(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any, dict[str, Any]]]:
    fake = Fake(name, *FUNCTIONS[name])
    monkeypatch.setitem(sys.modules, name, fake)
    listeners = Listeners(log_to=name, folder=tmp_path / "photos", numbers={"epochs": 3})
    assert fake.told == []  # a run that is finished already starts nothing
    with listeners, Journal(tmp_path / "journal.jsonl", listener=listeners) as journal:
        journal.write("start", device="cpu")
        journal.write("step", step=4, loss=0.5)
    return fake.told


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_wandb_and_trackio_get_the_recipe_once_and_numbers_by_step(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (init, _, config), (log, (numbers,), at), (finish, *_) = told_to(name, monkeypatch, tmp_path)
    assert (init, log, finish) == ("init", "log", "finish")
    assert (config["project"], config["name"], config["config"]) == ("barlow", "photos", {"epochs": 3})
    assert config["resume"] == "allow"
    assert (numbers, at) == ({"step/loss": 0.5}, {"step": 4})


def test_mlflow_gets_the_recipe_as_parameters_and_numbers_by_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = told_to("mlflow", monkeypatch, tmp_path)
    assert told == [
        ("set_experiment", ("barlow",), {}),
        ("start_run", (), {"run_name": "photos"}),
        ("log_params", ({"epochs": 3},), {}),
        ("log_metrics", ({"step/loss": 0.5},), {"step": 4}),
        ("end_run", (), {}),
    ]


def test_a_tracker_that_fails_is_left_and_said_and_a_callback_that_fails_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Down:
        def __init__(self, *_: Any) -> None:
            self.calls = 0

        def __call__(self, record: Record) -> None:
            raise ConnectionError("no route")

        def close(self) -> None:
            pass

    monkeypatch.setitem(TRACKERS, "tensorboard", Down)
    listeners = Listeners(log_to="tensorboard", folder=tmp_path, numbers={})
    with pytest.warns(UserWarning, match=r"log_to: tensorboard failed \(no route\); the run goes on"):
        listeners({"event": "step"})
    listeners({"event": "step"})  # warned of once

    def stop(record: Record) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        Listeners([stop], folder=tmp_path, numbers={})({"event": "step"})


@pytest.mark.usefixtures("as_users_call_it")
def test_a_program_that_is_not_there_is_refused_before_the_run_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("barlow.training.trackers.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"log_to: got 'mlflow', but it is not installed; pip install 'barlow\[mlflow\]'"
    ):
        barlow.pretrain("no/such", out=tmp_path / "run", machine=Machine(log_to="mlflow"))
    with pytest.raises(ValueError, match=r"log_to: got 'tensorbord', wanted one of .*did you mean 'tensorboard'"):
        tracker_names("tensorbord")
    assert not (tmp_path / "run").exists()


def test_callbacks_hear_every_record_of_a_run_and_are_closed(tmp_path: Path) -> None:
    heard: list[Record] = []

    class Kept:
        closed = False

        def __call__(self, record: Record) -> None:
            assert not self.closed

        def close(self) -> None:
            self.closed = True

    kept = Kept()
    images: torch.Tensor = two_kinds(32, 0)[0]
    run = tiny(images, tmp_path / "run", epochs=1, callbacks=[heard.append, kept])
    assert heard == read_journal(run.folder / "journal.jsonl")
    assert {"start", "step", "finish"} <= {record["event"] for record in heard}
    assert kept.closed
    assert not (run.folder / "tensorboard").exists()
