"""The copy of a journal for TensorBoard."""

import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from barlow.training.journal import Journal
from barlow.training.tensorboard import TensorboardMirror, mirror_journal, scalars


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


def test_the_scalars_of_a_record_are_its_numbers_by_path() -> None:
    record = {
        "event": "step",
        "time": 1.0,
        "step": 3,
        "loss": 2,
        "parts": {"on": 0.5},
        "note": "x",
        "ok": True,
    }
    assert scalars(record) == {"step/loss": 2.0, "step/parts/on": 0.5}


def test_records_without_a_step_have_no_scalars_and_nan_is_one() -> None:
    assert scalars({"event": "start", "time": 1.0, "num_parameters": 5}) == {}
    assert math.isnan(scalars({"event": "step", "time": 1.0, "step": 1, "loss": "nan"})["step/loss"])


def test_a_run_can_be_mirrored_while_it_goes_and_afterwards_alike(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    mirror = TensorboardMirror(tmp_path / "live")
    with Journal(tmp_path / "journal.jsonl", listener=mirror) as journal:
        for step in (1, 2):
            journal.write("step", step=step, loss=1 / step, parts={"on_diagonal": 0.25})
        live = logged(tmp_path / "live")
    mirror.close()
    mirror_journal(tmp_path / "journal.jsonl", tmp_path / "later")
    expected = {"step/loss": [(1, 1.0), (2, 0.5)], "step/parts/on_diagonal": [(1, 0.25), (2, 0.25)]}
    assert live == logged(tmp_path / "later") == expected


def test_without_tensorboard_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(ValueError, match=r"pip install 'barlow\[tensorboard\]'"):
        TensorboardMirror(tmp_path)
