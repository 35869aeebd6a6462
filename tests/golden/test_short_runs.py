"""Twenty steps of four recipes come to the weights to which they came, and so does a run that goes on."""

import shutil
from pathlib import Path

import pytest

import barlow
from tests.golden.measured import DATA, QUIET, RUNS, STEPS, Trained, journal, kept, short_run, trained

FIRST_STEPS, FIRST_TOLERANCE = 2, 3e-4
"""Relative, of losses, where another processor rounds otherwise."""
LATER_TOLERANCE = 0.05
"""Adam carries rounding on: with kernels for older processors, losses of 20 steps differ by up to 1.5%, sizes by 3%."""
SIZE_TOLERANCE, SMALL_SIZE = 0.1, 5e-3
"""Relative, and absolute for biases, which begin at 0."""


def then(name: str) -> Trained:
    return Trained(**kept("runs.json")[name])


def require_nearly(found: Trained, wanted: Trained) -> None:
    assert len(found.losses) == STEPS
    assert found.losses[:FIRST_STEPS] == pytest.approx(wanted.losses[:FIRST_STEPS], rel=FIRST_TOLERANCE)
    assert found.losses == pytest.approx(wanted.losses, rel=LATER_TOLERANCE)
    assert found.sizes == pytest.approx(wanted.sizes, rel=SIZE_TOLERANCE, abs=SMALL_SIZE)


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Trained]:
    """A recipe and what its short run came to."""
    name: str = request.param
    return name, trained(short_run(name, tmp_path_factory.mktemp("short") / name).folder)


def test_a_short_run_comes_to_the_losses_and_weights_that_it_came_to_but_for_rounding(
    run: tuple[str, Trained],
) -> None:
    name, found = run
    require_nearly(found, then(name))


def test_a_short_run_comes_to_the_losses_and_weights_that_it_came_to_bit_by_bit(
    run: tuple[str, Trained], where_they_were_made: None
) -> None:
    name, found = run
    assert found == then(name)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interrupted run, gone on with."""
    folder = Path(shutil.copytree(DATA / "interrupted", tmp_path_factory.mktemp("resumed") / "interrupted"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where its pictures are
        assert barlow.resume(folder, machine=QUIET).finished
    return folder


def test_an_interrupted_run_goes_on_where_it_stopped(resumed: Path) -> None:
    before, after = ([record["event"] for record in journal(run)] for run in (DATA / "interrupted", resumed))
    assert 0 < before.count("step") < STEPS
    assert not (DATA / "interrupted" / "checkpoints" / "backbone.safetensors").exists()
    assert after[: len(before)] == before
    assert "resume" in after[len(before) :]
    assert after.count("step") == STEPS


def test_an_interrupted_run_comes_to_what_it_would_have_been_but_for_rounding(resumed: Path) -> None:
    require_nearly(trained(resumed), then("interrupted"))


def test_an_interrupted_run_comes_to_what_it_would_have_been_bit_by_bit(
    resumed: Path, where_they_were_made: None
) -> None:
    assert trained(resumed) == then("interrupted")
