"""The projector that is solved in every step: no gradient for the backbone."""

from pathlib import Path

import pytest

from barlow.studies.solved_projector import measure_solved
from tests.studies.tiny import FEW


def test_a_solved_projector_leaves_the_backbone_without_gradient(tmp_path: Path) -> None:
    found = measure_solved(tmp_path, data="digits", data_root="", seed=0, steps=2, rate=0.003, draws=1, **FEW)
    assert found["largest_gradient"] < 1e-10 * found["raw_random"]
    assert found["pearson_solved"] > 1e-4 * found["raw_random"]
    assert found["largest_loss"] < 1e-20
    assert found["end"]["backbone_limit"] == pytest.approx(found["start"]["backbone_limit"], rel=1e-5)
