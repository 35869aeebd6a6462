"""Recipes side by side: means and spreads over seeds, who is first, what is missing, one page."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from barlow.recipes import with_numbers
from barlow.report.page import write_report
from barlow.report.run_folder import read_run
from barlow.report.side_by_side import (
    Entry,
    compare_reports,
    finished_runs,
    rows_of,
    sentences,
    shown,
    write_side_by_side,
)
from tests.report.html_page import Page
from tests.report.synthetic_run import DIGITS, few, records, summary, unfinished_run, write_run


def figures(few_labels: float, seconds: float = 60.0) -> dict[str, Any]:
    found = summary()
    found["evaluation"]["rows"][1]["few_labels"] = few(few_labels, 0.01)
    found["timing"]["pretrain_seconds"] = seconds
    return found


def entry(folder: Path, name: str, scores: Mapping[int, float], *, width: int = 16, **given: Any) -> Entry:
    """Write the runs of one recipe, a seed each."""
    folders = {}
    for seed, score in scores.items():
        recipe = replace(DIGITS, method=name, seed=seed, width=width, epochs=2)
        path = folder / name / f"seed-{seed}"
        folders[seed] = write_run(path, journal=records(recipe), figures=figures(score), arrays={}, recipe=recipe)
    settings: dict[str, Any] = {"epochs": 2, "images": 2560, "peak_memory": 512 * 2**20, "failures": {}} | given
    return Entry(name, finished_runs(folders), **settings)


def comparison(entries: list[Entry], seeds: list[int], **given: Any) -> dict[str, Any]:
    rows = rows_of(entries)
    return {"data": "digits", "minutes": 0.0, "images": 2560, "seeds": seeds, "rows": rows} | given


def test_a_row_has_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    scores = {0: 0.90, 1: 0.94, 2: 0.95}
    rows = rows_of([entry(tmp_path, "vicreg", scores), entry(tmp_path, "simclr", {0: 0.5})])
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("vicreg", "trained"), ("simclr", "trained"), ("untrained", "untrained"), ("raw pixels", "raw pixels"),
    ]  # fmt: skip
    assert rows[0]["few_labels"]["mean"] == pytest.approx(0.93)
    assert rows[0]["few_labels"]["std"] == pytest.approx(stdev(scores.values()))
    assert rows[0]["few_labels"]["values"] == list(scores.values())
    assert rows[1]["few_labels"]["std"] is None
    assert rows[0]["gain"]["mean"] == pytest.approx(0.93 - 0.859)
    assert shown(rows[0], "few_labels") == "93.0% ± 2.6"
    assert shown(rows[1], "few_labels") == "50.0%"
    assert (shown(rows[0], "images"), shown(rows[0], "peak_memory"), shown(rows[0], "seconds")) == (
        "2,560", "512 MiB", "1 min 0 s",
    )  # fmt: skip
    assert rows[2]["effective_rank"]["mean"] == 9.2
    assert "effective_rank" not in rows[3]
    assert "seconds" not in rows[2]


def test_other_networks_have_untrained_rows_of_their_own(tmp_path: Path) -> None:
    rows = rows_of([entry(tmp_path, "vicreg", {0: 0.9}), entry(tmp_path, "wide", {0: 0.9}, width=32)])
    assert [row["name"] for row in rows[2:]] == [
        "untrained, resnet18 w16", "untrained, resnet18 w32", "raw pixels",
    ]  # fmt: skip


def test_the_page_says_who_is_first_and_links_every_run(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "vicreg", {0: 0.90, 1: 0.91}), entry(tmp_path, "simclr", {0: 0.95, 1: 0.951})]
    for each in entries:
        for run in each.runs.values():
            (run.folder / "report.html").touch()
    found = Page.of(write_side_by_side(comparison(entries, [0, 1]), entries, tmp_path / "compare.html"))
    assert found.ids == ["figures", "accuracy", "loss", "probes", "recipes"]
    assert found.problems == []
    assert "Every run sees 2,560 samples" in found.text
    assert "10 labels per class: simclr is first with 95.0% ± 0.1, 4.5 points above vicreg." in found.text
    links = [reference for reference in found.references if not reference.startswith(("#", "data:"))]
    assert links == [f"{name}/seed-{seed}/report.html" for name in ("vicreg", "simclr") for seed in (0, 1)]


def test_a_lead_within_the_spread_and_a_single_seed_are_said(tmp_path: Path) -> None:
    lead = "simclr is first with 93.3% ± 0.4, 1.3 points above vicreg, within the spread over seeds."
    close = [entry(tmp_path, "vicreg", {0: 0.90, 1: 0.94}), entry(tmp_path, "simclr", {0: 0.93, 1: 0.936})]
    said = sentences(comparison(close, [0, 1]), close)
    assert f"10 labels per class: {lead}" in said
    single = [entry(tmp_path / "b", "vicreg", {0: 0.90}), entry(tmp_path / "b", "simclr", {0: 0.93})]
    assert any("(one seed: no spread is known)" in line for line in sentences(comparison(single, [0]), single))
    level = [entry(tmp_path / "c", "vicreg", {0: 0.90}), entry(tmp_path / "c", "simclr", {0: 0.9001})]
    assert any("simclr and vicreg are level" in line for line in sentences(comparison(level, [0]), level))


def test_what_fails_or_is_missing_is_said(tmp_path: Path) -> None:
    bad = entry(tmp_path, "swav", {0: 0.5}, failures={1: "the loss is nan"})
    never = Entry("simsiam", finished_runs({0: tmp_path / "nowhere"}), epochs=2, images=2560)
    entries = [entry(tmp_path, "vicreg", {0: 0.9, 1: 0.9}), bad, never]
    said = sentences(comparison(entries, [0, 1]), entries)
    assert "Not better than the same network untrained: swav." in said
    assert "Not all seeds have figures: swav (1 seed done), simsiam (0 seeds done)." in said
    assert "swav, seed 1: the loss is nan" in said
    page = Page.of(write_side_by_side(comparison(entries, [0, 1]), entries, tmp_path / "compare.html"))
    assert page.problems == []


def test_an_unfinished_run_has_no_figures(tmp_path: Path) -> None:
    entries = [Entry("swav", finished_runs({0: unfinished_run(tmp_path / "swav")}), epochs=2, images=2560)]
    (row,) = rows_of(entries)
    assert row["seeds"] == []
    page = Page.of(write_side_by_side(comparison(entries, [0]), entries, tmp_path / "compare.html"))
    assert "Not all seeds have figures: swav (0 seeds done)." in page.text


def test_a_budget_of_time_is_set_against_what_it_took(tmp_path: Path) -> None:
    one = [entry(tmp_path, "vicreg", {0: 0.9})]
    said = sentences(comparison(one, [0], minutes=2.0), one)
    assert said[0] == "Every run was planned to pretrain for 2 min 0 s; it took 1 min 0 s to 1 min 0 s."


def test_runs_without_labels_are_compared_by_what_needs_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", journal=records(labels=False), figures=summary(labels=False), arrays={})
    rows = rows_of([Entry("vicreg", finished_runs({0: folder}))])
    assert [row["name"] for row in rows] == ["vicreg", "untrained"]
    assert "few_labels" not in rows[0]
    assert rows[0]["effective_rank"]["mean"] == 36.9


# --- Several runs on one page.


def three_runs(folder: Path) -> list[Path]:
    """Write runs that differ in one field each; the last is the best on few labels."""
    runs = []
    for place, (name, change) in enumerate(
        [
            ("base", {"redundancy_weight": 0.005}),
            ("lambda", {"redundancy_weight": 0.02}),
            ("seed", {"redundancy_weight": 0.005, "seed": 7}),
        ]
    ):
        recipe = with_numbers(replace(DIGITS, epochs=10), change)
        figures = summary()
        figures["evaluation"]["rows"][1]["few_labels"] = few(0.90 + 0.02 * place, 0.008)
        runs.append(write_run(folder / name, journal=records(recipe), figures=figures, arrays={}, recipe=recipe))
    return runs


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    write_report(runs[0])
    found = Page.of(compare_reports(runs, tmp_path / "compare.html"))
    assert found.ids == ["figures", "accuracy", "loss", "probes", "recipes"]
    assert found.problems == []
    assert "10 labels per class: seed is first with 94.0% ± 0.8, 2.0 points above lambda." in found.text
    assert "linear probe, all labels: base and lambda are level at 97.9%" in found.text
    assert [reference for reference in found.references if not reference.startswith(("#", "data:"))] == [
        "base/report.html"
    ]


def test_only_the_fields_that_differ_are_shown(tmp_path: Path) -> None:
    page = compare_reports(three_runs(tmp_path), tmp_path / "compare.html").read_text(encoding="utf-8")
    differences = page[page.index('id="recipes"') :]
    assert "<td>0.005</td><td>0.02</td><td>0.005</td>" in differences
    assert "<code>seed</code>" in differences
    assert "<code>batch_size</code>" not in differences


def test_a_small_lead_is_called_noise(tmp_path: Path) -> None:
    figures = summary()
    figures["evaluation"]["rows"][1] |= {"few_labels": few(0.935, 0.008), "linear": 0.983}
    runs = [write_run(tmp_path / "a", arrays={}), write_run(tmp_path / "b", figures=figures, arrays={})]
    said = Page.of(compare_reports(runs, tmp_path / "compare.html")).text
    assert "b is first with 93.5% ± 0.8, 0.4 points above a, within the spread of the draws." in said
    assert "b is first with 98.3%, 0.4 points above a, within one standard error of 359 test samples." in said


def test_other_data_and_unfinished_runs_are_pointed_out(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", journal=records(data_name="photos")), unfinished_run(tmp_path / "b")]
    said = Page.of(compare_reports(runs, tmp_path / "compare.html")).text
    assert "These runs learnt from different data (photos, digits)" in said
    assert "Not finished: b." in said


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "run", arrays={}) for name in ("x", "y")]
    found = Page.of(compare_reports(runs, tmp_path / "new" / "compare.html"))
    assert {"x/run", "y/run"} <= set(found.words)
    assert "None: the recipes are equal." in found.text


def test_more_runs_than_colours_are_drawn(tmp_path: Path) -> None:
    journal = records(replace(DIGITS, epochs=2))
    runs = [write_run(tmp_path / f"run{place}", journal=journal, arrays={}, figures={}) for place in range(10)]
    page = compare_reports(runs, tmp_path / "compare.html").read_text(encoding="utf-8")
    assert 'class="line c2 dashed"' in page


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folders: got none"):
        compare_reports([], tmp_path / "compare.html")


def test_both_pages_have_the_same_columns_and_baselines_but_for_what_only_seeds_have(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "vicreg", {0: 0.90, 1: 0.91}), entry(tmp_path, "simclr", {0: 0.95})]
    compared = Page.of(write_side_by_side(comparison(entries, [0, 1]), entries, tmp_path / "compare.html"))
    folders = [run.folder for each in entries for run in each.runs.values()]
    reported = Page.of(compare_reports(folders, tmp_path / "report.html"))
    assert compared.ids == reported.ids
    common = {"length", "10 labels per class", "loss above its floor", "invariance share", "untrained", "raw pixels"}
    assert common | {"seeds", "samples seen", "peak memory"} <= set(compared.words)
    assert common | {"data"} <= set(reported.words)
    assert not {"seeds", "samples seen", "peak memory"} & set(reported.words)
    assert "90.5% ± 0.7" in compared.words  # over seeds
    assert "90.0% ± 1.0" in reported.words  # over draws of labels


def test_untrained_networks_on_different_data_are_rows_of_their_own(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, journal=records(data_name=name), arrays={}) for name in ("photos", "scans")]
    rows = rows_of([Entry(run.name, {0: read_run(run)}) for run in runs], over_seeds=False)
    assert [row["name"] for row in rows[2:]] == [
        "untrained, resnet18 w16, photos", "untrained, resnet18 w16, scans",
        "raw pixels, photos", "raw pixels, scans",
    ]  # fmt: skip
