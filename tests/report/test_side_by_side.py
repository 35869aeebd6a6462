"""Recipes side by side: means and spreads over seeds, who is first, what is missing, one page."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from barlow.report.side_by_side import Arm, sentences, shown, side_by_side, write_side_by_side
from tests.report.html_page import Page
from tests.report.synthetic_run import DIGITS, few, records, summary, unfinished_run, write_run


def figures(few_labels: float, seconds: float = 60.0) -> dict[str, Any]:
    found = summary()
    found["evaluation"]["rows"][1]["few_labels"] = few(few_labels, 0.01)
    found["timing"]["pretrain_seconds"] = seconds
    return found


def arm(folder: Path, name: str, scores: Mapping[int, float], *, width: int = 16, **given: Any) -> Arm:
    """Write the runs of one recipe, a seed each."""
    folders = {}
    for seed, score in scores.items():
        recipe = replace(DIGITS, method=name, seed=seed, width=width, epochs=2)
        path = folder / name / f"seed-{seed}"
        folders[seed] = write_run(path, journal=records(recipe), figures=figures(score), arrays={}, recipe=recipe)
    settings: dict[str, Any] = {"epochs": 2, "images": 2560, "peak_memory": 512 * 2**20, "failures": {}} | given
    return Arm(name=name, folders=folders, **settings)


def comparison(arms: list[Arm], seeds: list[int], **given: Any) -> dict[str, Any]:
    rows = side_by_side(arms)
    return {"data": "digits", "minutes": 0.0, "images": 2560, "seeds": seeds, "rows": rows} | given


def test_a_row_has_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    scores = {0: 0.90, 1: 0.94, 2: 0.95}
    rows = side_by_side([arm(tmp_path, "vicreg", scores), arm(tmp_path, "simclr", {0: 0.5})])
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
    rows = side_by_side([arm(tmp_path, "vicreg", {0: 0.9}), arm(tmp_path, "wide", {0: 0.9}, width=32)])
    assert [row["name"] for row in rows[2:]] == [
        "untrained, resnet18 w16, 0 pixels", "untrained, resnet18 w32, 0 pixels", "raw pixels",
    ]  # fmt: skip


def test_the_page_says_who_is_first_and_links_every_run(tmp_path: Path) -> None:
    arms = [arm(tmp_path, "vicreg", {0: 0.90, 1: 0.91}), arm(tmp_path, "simclr", {0: 0.95, 1: 0.951})]
    for each in arms:
        for folder in each.folders.values():
            (folder / "report.html").touch()
    found = Page.of(write_side_by_side(comparison(arms, [0, 1]), arms, tmp_path / "compare.html"))
    assert found.ids == ["figures", "accuracy", "probes", "recipes"]
    assert found.problems == []
    assert "Every run sees 2,560 images" in found.text
    assert "10 labels per class: simclr is first with 95.0% ± 0.1, 4.5 points above vicreg." in found.text
    links = [reference for reference in found.references if not reference.startswith(("#", "data:"))]
    assert links == [f"{name}/seed-{seed}/report.html" for name in ("vicreg", "simclr") for seed in (0, 1)]


def test_a_lead_within_the_spread_and_a_single_seed_are_said(tmp_path: Path) -> None:
    lead = "simclr is first with 93.3% ± 0.4, 1.3 points above vicreg, within the spread over seeds."
    close = [arm(tmp_path, "vicreg", {0: 0.90, 1: 0.94}), arm(tmp_path, "simclr", {0: 0.93, 1: 0.936})]
    said = sentences(comparison(close, [0, 1]), [])
    assert f"few labels: {lead}" in said
    single = [arm(tmp_path / "b", "vicreg", {0: 0.90}), arm(tmp_path / "b", "simclr", {0: 0.93})]
    assert any("(one seed: no spread is known)" in line for line in sentences(comparison(single, [0]), []))
    level = [arm(tmp_path / "c", "vicreg", {0: 0.90}), arm(tmp_path / "c", "simclr", {0: 0.9001})]
    assert any("simclr and vicreg are level" in line for line in sentences(comparison(level, [0]), []))


def test_what_fails_or_is_missing_is_said(tmp_path: Path) -> None:
    bad = arm(tmp_path, "swav", {0: 0.5}, failures={1: "the loss is nan"})
    never = Arm("simsiam", {0: tmp_path / "nowhere"}, 2, 2560, 0, {})
    arms = [arm(tmp_path, "vicreg", {0: 0.9, 1: 0.9}), bad, never]
    said = sentences(comparison(arms, [0, 1]), [])
    assert "Not better than the same network untrained: swav." in said
    assert "Not all seeds have figures: swav (1 seed done), simsiam (0 seeds done)." in said
    assert "swav, seed 1: the loss is nan" in said
    page = Page.of(write_side_by_side(comparison(arms, [0, 1]), arms, tmp_path / "compare.html"))
    assert page.problems == []


def test_an_unfinished_run_has_no_figures(tmp_path: Path) -> None:
    arms = [Arm("swav", {0: unfinished_run(tmp_path / "swav")}, 2, 2560, 0, {})]
    (row,) = side_by_side(arms)
    assert row["seeds"] == []
    page = Page.of(write_side_by_side(comparison(arms, [0]), arms, tmp_path / "compare.html"))
    assert "Not all seeds have figures: swav (0 seeds done)." in page.text


def test_a_budget_of_time_is_set_against_what_it_took(tmp_path: Path) -> None:
    said = sentences(comparison([arm(tmp_path, "vicreg", {0: 0.9})], [0], minutes=2.0), [])
    assert said[0] == "Every run was planned to pretrain for 2 min 0 s; it took 1 min 0 s to 1 min 0 s."


def test_runs_without_labels_are_compared_by_what_needs_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", journal=records(labels=False), figures=summary(labels=False), arrays={})
    rows = side_by_side([Arm("vicreg", {0: folder}, 2, 2560, 0, {})])
    assert [row["name"] for row in rows] == ["vicreg", "untrained"]
    assert "few_labels" not in rows[0]
    assert rows[0]["effective_rank"]["mean"] == 36.9
