"""The journal: what it holds, what it refuses, what survives a crash and a resume."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barlow.training.journal import Journal, Record, read_journal, scalars


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.jsonl"


def without_time(records: list[Record]) -> list[Record]:
    return [{name: value for name, value in record.items() if name != "time"} for record in records]


def test_records_come_back_in_order_with_their_time(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("start", recipe={"name": "digits", "epochs": 3}, device="cpu", data=[1, 2])
        journal.write("step", step=1, loss=0.5, done=True, nothing=None)
    records = read_journal(path)
    assert without_time(records) == [
        {"event": "start", "recipe": {"name": "digits", "epochs": 3}, "device": "cpu", "data": [1, 2]},
        {"event": "step", "step": 1, "loss": 0.5, "done": True, "nothing": None},
    ]
    assert all(abs(record["time"] - time.time()) < 60 for record in records)


def test_every_record_is_readable_before_the_journal_is_closed(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
        assert len(read_journal(path)) == 1


def test_a_second_journal_on_the_same_path_continues_the_first(path: Path) -> None:
    for step in (1, 2):
        with Journal(path) as journal:
            journal.write("step", step=step)
    assert [record["step"] for record in read_journal(path)] == [1, 2]


def test_floats_keep_seven_significant_digits_and_integers_all(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=123456789012, loss=1234.56789012, parts={"tiny": 1.23456789e-12})
    record = read_journal(path)[0]
    assert (record["step"], record["loss"], record["parts"]["tiny"]) == (123456789012, 1234.568, 1.234568e-12)


def test_numbers_that_are_not_finite_stay_valid_json_and_come_back_through_float(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", loss=math.nan, parts={"on": math.inf, "off": [-math.inf]})
    line = path.read_text()
    record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (record["loss"], record["parts"]) == ("nan", {"on": "inf", "off": ["-inf"]})
    assert math.isnan(float(record["loss"]))


def test_numpy_numbers_are_numbers(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=np.int64(7), loss=np.float32(0.1))
    assert without_time(read_journal(path)) == [{"event": "step", "step": 7, "loss": 0.1}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"parts": {"on_diagonal": torch.tensor(1.0)}},
            r"field 'parts\.on_diagonal': got a Tensor.*\.item\(\)",
        ),
        ({"values": [1, np.zeros(2)]}, r"field 'values\[1\]': got a ndarray"),
        ({"by_step": {1: 2.0}}, "field 'by_step': got a dict"),
        ({"time": 1.0}, "field 'time' is written by the journal itself"),
        ({"event": "x"}, "field 'event' is written by the journal itself"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_place_and_nothing_is_written(
    path: Path, fields: dict[str, Any], message: str
) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match=message):
        journal.write("step", **fields)
    assert read_journal(path) == []


def test_a_path_with_undecodable_bytes_can_be_journalled(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("bad_sample", index=3, what="photos/\udcff.jpg", reason="truncated")
    assert read_journal(path)[0]["what"] == "photos/\udcff.jpg"


def test_a_truncated_last_line_is_left_out_and_the_next_record_starts_a_line(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
        journal.write("step", step=2)
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[1])):
        path.write_bytes(whole[:-cut])
        complete = [1, 2] if cut == 1 else [1]  # Only the newline is missing: the record itself is whole.
        assert [record["step"] for record in read_journal(path)] == complete
        with Journal(path) as journal:
            journal.write("resume", step=9)
        assert [record["step"] for record in read_journal(path)] == [*complete, 9]


def test_zero_bytes_at_the_end_left_by_a_power_cut_are_a_truncated_line(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
    with path.open("ab") as file:
        file.write(bytes(40))
    assert len(read_journal(path)) == 1


@pytest.mark.parametrize("line", [b"{broken\n", b"[1]\n", b"{}\n"])
def test_a_broken_line_elsewhere_is_an_error_that_gives_its_number(path: Path, line: bytes) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
    content = path.read_bytes()
    path.write_bytes(content + line + content)
    with pytest.raises(ValueError, match=r"line 2 of .*journal\.jsonl is no record"):
        read_journal(path)


def test_a_broken_line_does_not_stand_in_the_way_of_going_on_and_is_kept_as_a_warning(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "st\xff\n' + b"[" * 100_000 + b"\n" + whole)
    for _ in range(2):
        with Journal(path) as journal:
            journal.rewind(9)
    records = read_journal(path)
    assert [record["event"] for record in records] == ["step", "step", "warning", "warning"]
    assert records[2]["message"] == 'line 2 of the journal was no record and was taken out: {"event": "st\ufffd'


def test_what_was_written_once_is_not_written_again(path: Path) -> None:
    for new in (True, False):
        with Journal(path) as journal:
            assert journal.write_once("note", message="a third", share=1 / 3) == new
            assert journal.write_once("note", message="another") == new
    assert [record["message"] for record in read_journal(path)] == ["a third", "another"]


def test_the_records_are_on_the_disk_after_a_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    with Journal(path) as journal:
        journal.write("step", step=1)
        monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
        journal.sync()
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_whose_folder_is_gone_says_so_at_the_next_sync(replaced: bool, path: Path) -> None:
    with Journal(path) as journal:
        path.parent.rename(path.parents[1] / "moved")
        if replaced:
            path.parent.mkdir()
            path.touch()
        with pytest.raises(
            FileNotFoundError, match=r"out: .*run' was deleted, moved or replaced while the run went on"
        ):
            journal.sync()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named_with_the_journal(path: Path) -> None:
    with Journal(path) as journal:
        journal.close()
        journal._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
        with pytest.raises(
            OSError, match=r"no space left on the device for .*journal\.jsonl; the last good checkpoint"
        ):
            journal.write("step", step=1)


def test_a_missing_journal_is_an_error_that_gives_its_path(path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*journal\.jsonl"):
        read_journal(path)


def test_rewinding_drops_later_steps_and_probes_and_keeps_warnings_and_bad_samples(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("start", device="cpu")
        for step in (1, 2, 3, 4):
            journal.write("step", step=step, loss=1 / 3)
            journal.write("probe", step=step, figures={})
        journal.write("warning", message="the floor dominates", step=4)
        journal.write("bad_sample", index=9, what="x.jpg", reason="truncated")
        before = {json.dumps(record) for record in read_journal(path)}
        assert journal.rewind(2) == 4
        journal.write("resume", step=2)
    records = read_journal(path)
    assert [record["event"] for record in records] == [
        "start", "step", "probe", "step", "probe", "warning", "bad_sample", "resume",
    ]  # fmt: skip
    assert [record["step"] for record in records if record["event"] == "step"] == [1, 2]
    assert {json.dumps(record) for record in records[:-1]} <= before
    assert [file.name for file in path.parent.iterdir()] == ["journal.jsonl"]


def test_rewinding_to_the_last_step_changes_nothing(path: Path) -> None:
    with Journal(path) as journal:
        journal.write("step", step=1)
        before = path.read_bytes()
        assert journal.rewind(1) == 0
    assert path.read_bytes() == before


def test_a_rewind_that_fails_leaves_the_old_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left")

    with Journal(path) as journal:
        journal.write("step", step=1)
        journal.write("step", step=2)
        before = path.read_bytes()
        monkeypatch.setattr("os.fsync", refuse)
        with pytest.raises(OSError, match="no space left"):
            journal.rewind(1)
    assert path.read_bytes() == before


def test_only_an_enabled_journal_touches_the_disk_or_its_listener(path: Path) -> None:
    heard: list[Record] = []
    with Journal(path, enabled=False, listener=heard.append) as journal:
        journal.write("step", step=1)
        assert journal.rewind(0) == 0
    assert not path.parent.exists()
    assert heard == []


def test_a_listener_hears_each_record_as_it_was_written(path: Path) -> None:
    heard: list[Record] = []
    with Journal(path, listener=heard.append) as journal:
        journal.write("step", step=1, loss=math.nan)
    assert heard == read_journal(path)


def test_a_closed_journal_refuses_records(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with pytest.raises(ValueError, match="is closed; no 'step' record"):
        journal.write("step", step=1)


def test_reading_a_journal_loads_no_torch() -> None:
    code = "import sys, barlow.training.journal, barlow.training.journal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- The numbers of a record, for programs that follow runs.


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
