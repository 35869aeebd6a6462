"""The study of speakers: its arms differ in options alone, its differences are paired, and it ends in a page."""

from pathlib import Path
from typing import Any

import pytest
import torch

from barlow.report.study_page import Table
from barlow.studies import speakers
from barlow.studies.cells import Finished
from barlow.studies.speakers import ARMS, BASE, CONDITIONS, COPIES, STUDY, by_arm, fewer_errors, file_name, off_diagonal
from barlow.studies.study import Settings, carry_out
from tests.audio.recordings import spoken

PATTERN = "{group}_{label}_*"


def made(arm: str, seed: int, eer: float, correlation: float = 0.4) -> Finished:
    rates = {"accuracy": 1 - eer, "eer": eer, "min_dcf": 3 * eer}
    metrics: dict[str, Any] = dict.fromkeys(CONDITIONS, rates)
    metrics |= {"correlation": correlation, "num_train": 10, "num_test": 5, "num_speakers": 3}
    return Finished(file_name(arm), {"arm": arm, "seed": seed}, metrics, 1.0)


def cells(gain: float, noise: float = 0.0) -> list[Finished]:
    """Classification alone differs much between seeds, the other arms from it by a gain."""
    base = [0.10, 0.30, 0.20, 0.25, 0.15]
    found = []
    for seed, eer in enumerate(base):
        found += [made(arm, seed, eer if arm == BASE else eer - gain + noise * (seed - 2)) for arm in ARMS]
    return found


def test_differences_are_paired_so_that_what_seeds_share_does_not_count() -> None:
    less = fewer_errors(by_arm(cells(0.01)), COPIES, BASE, ("clean",))
    assert less.mean == pytest.approx(0.01)
    assert less.margin == pytest.approx(0.0, abs=1e-9)
    assert less.num_seeds == 5


@pytest.mark.parametrize(
    ("gain", "noise", "outcome"), [(0.02, 0.001, "held"), (-0.02, 0.001, "failed"), (0.001, 0.03, "undecided")]
)
def test_findings_say_whatever_comes_out(gain: float, noise: float, outcome: str) -> None:
    conclusion = STUDY.conclude(cells(gain, noise))
    paper = [one for one in conclusion.findings if one.claim == "paper"]
    assert [one.outcome for one in paper] == [outcome, outcome]
    assert f"{100 * gain:.1f} ±" in paper[0].evidence
    assert isinstance(conclusion.parts[1], Table)
    assert len(conclusion.parts[1].rows) == len(ARMS) - 1


def test_correlations_of_features() -> None:
    h = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    assert off_diagonal(h) < 0.04
    assert off_diagonal(h[:, :1].expand(-1, 3) * torch.tensor([1.0, -1.0, 2.0])) == pytest.approx(1.0, abs=1e-3)


def test_arms_have_names_for_files_and_five_seeds() -> None:
    names = [file_name(arm) for arm in ARMS]
    assert len(set(names)) == len(ARMS)
    assert all(name.replace("-", "").isalnum() for name in names)
    assert STUDY.seeds == 5


def test_it_measures_real_recordings_the_same_way_every_time_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = spoken(tmp_path / "voices", takes=4)
    monkeypatch.setattr(speakers, "EPOCHS", {"quick": 1, "core": 1, "whole": 1})
    settings = Settings(str(data), "", 1, "quick", labels=PATTERN, hold_out="group=mid")
    found = carry_out("speakers", STUDY, settings, tmp_path / "study", jobs=1, quiet=True)
    assert "--hold-out group=mid" in found.page.read_text()
    first, second = (Path(path) for path in sorted((found.folder / "cells").iterdir()))
    before = first.read_text(), second.read_text()
    second.unlink()
    carry_out("speakers", STUDY, settings, tmp_path / "study", jobs=1, quiet=True)
    assert first.read_text() == before[0]  # it was not measured again
    assert '"figures"' in second.read_text()
    again = second.read_text().split('"seconds"')[0]
    assert again == before[1].split('"seconds"')[0]


def test_other_data_than_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: got 'digits', wanted a folder of recordings"):
        STUDY.cells(Settings("digits", "", 1, "quick"))
