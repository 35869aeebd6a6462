"""Reading what a run left: tolerant of a cut line, honest about the rest."""

import json
from pathlib import Path

import numpy as np
import pytest

from barlow.report.run_folder import find_runs, read_run
from barlow.training.journal import without_undone_steps
from tests.report.synthetic_run import STEPS_PER_EPOCH, records, unfinished_run, write_run


def test_a_cut_last_line_is_no_news(tmp_path: Path) -> None:
    run = read_run(unfinished_run(tmp_path))
    assert len(run.records) == 200
    assert list(run.unreadable) == []
    assert not run.finished


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    lines = [json.dumps(record) for record in records()[:10]]
    (tmp_path / "journal.jsonl").write_text("\n".join([*lines[:4], '{"event": ', *lines[4:]]), encoding="utf-8")
    run = read_run(tmp_path)
    assert len(run.records) == 10
    assert list(run.unreadable) == ["journal.jsonl: line 5 could not be read (1 in all)"]


def test_steps_that_a_resume_took_back_are_left_out() -> None:
    steps = [{"event": "step", "step": step, "loss": 1.0} for step in range(1, 6)]
    again = [{"event": "step", "step": step, "loss": 2.0} for step in range(4, 8)]
    warning = {"event": "warning", "message": "kept"}
    kept = without_undone_steps([*steps, warning, {"event": "resume", "step": 3}, *again])
    shown = [(record["step"], record["loss"]) for record in kept if record["event"] == "step"]
    assert shown == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)]
    assert warning in kept


def test_a_curve_counts_in_epochs_and_skips_what_is_not_finite(tmp_path: Path) -> None:
    journal = records()[:4]
    journal[2]["loss"] = float("nan")
    x, y = read_run(write_run(tmp_path, journal=journal)).curve("step", "loss")
    np.testing.assert_allclose(x, [1 / STEPS_PER_EPOCH, 3 / STEPS_PER_EPOCH])
    np.testing.assert_allclose(y, [journal[1]["loss"], journal[3]["loss"]])


def test_the_recipe_is_found_flat_nested_or_in_the_journal(tmp_path: Path) -> None:
    for name, written in (("flat", {"epochs": 7}), ("nested", {"recipe": {"epochs": 7}, "versions": {"torch": "2"}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.json").write_text(json.dumps(written), encoding="utf-8")
        assert read_run(tmp_path / name).recipe == {"epochs": 7}
    assert read_run(tmp_path / "nested").start["versions"] == {"torch": "2"}
    write_run(tmp_path / "journal")
    (tmp_path / "journal" / "recipe.json").unlink()
    assert read_run(tmp_path / "journal").recipe["epochs"] == 30


def test_runs_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "journal.jsonl").touch()
    (tmp_path / "empty").mkdir()
    assert [path.name for path in find_runs(tmp_path)] == ["a", "b", "c"]
    assert find_runs(tmp_path / "a") == [tmp_path / "a"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wanted a run folder"):
        read_run(tmp_path)
