"""A run that has so many minutes: its time is kept by a clock that the test moves, and said; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import barlow
from barlow.cli.flags import parse_pretrain, typed_numbers
from barlow.report.record import command_of
from barlow.report.run_folder import read_run
from barlow.runs import minutes as module, pretrain as runs
from barlow.runs.folder import RecipeChangedError, RunFolder
from barlow.runs.minutes import Sitting
from barlow.training import journal, pretrain as loop
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from tests.runs.test_pretrain import two_kinds

SMALL: dict[str, Any] = {"width": 4, "projector": "16-16", "batch_size": 32}


class Clock:
    """The time of a machine on which nothing takes time but loading, steps and finishing."""

    def __init__(self) -> None:
        self.now, self.step, self.finishing, self.kill_at = 1e9, 10.0, 40.0, 0
        self.steps_taken = 0
        self.given: float | None = 0.0

    def time(self) -> float:
        return self.now

    perf_counter = time

    def measured(self, recipe: Any, source: Any, views: Any, method: Any, fabric: Any, steps: int) -> list[float]:
        self.now += 1
        return [10.0 * recipe.batch_size / 32] * (steps - 1)

    def descend(self, *args: Any) -> None:
        self.steps_taken += 1
        self.now += self.step
        if self.steps_taken == self.kill_at:
            raise ConnectionAbortedError
        DESCEND(*args)

    def finish(self, *args: Any) -> None:
        self.given = args[-1]
        self.now += self.finishing if self.given is None else min(self.finishing, self.given)


DESCEND = loop._descend


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for one in (module, runs, journal):
        monkeypatch.setattr(one, "time", found)
    monkeypatch.setattr(module, "seconds_of_steps", found.measured)
    monkeypatch.setattr(module, "finishing_seconds", lambda trial, recipe: (1.0, 40.0))
    monkeypatch.setattr(loop, "_descend", found.descend)
    monkeypatch.setattr(runs, "finish", found.finish)
    return found


@pytest.fixture
def data(tmp_path: Path) -> str:
    pictures, labels = two_kinds(96, 0)
    np.savez(tmp_path / "kinds.npz", train_images=pictures, train_labels=labels)
    return str(tmp_path / "kinds.npz")


def start(data: str, **numbers: Any) -> barlow.Run:
    machine = Machine(quiet=numbers.pop("quiet", True), checkpoint_minutes=0.0)
    given = {"out": Path(data).parent / "run", "minutes": 10, "machine": machine, **SMALL, **numbers}
    return barlow.pretrain(data, **{name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize("step", [5.0, 10.0, 20.0])
def test_the_time_is_kept_whether_the_machine_is_as_measured_or_not(clock: Clock, data: str, step: float) -> None:
    clock.step, began = step, clock.now
    run = start(data)
    assert run.finished
    assert clock.now - began == pytest.approx(600, rel=0.05)
    assert clock.given == pytest.approx(40, abs=2 * step)
    record = run.recipe
    assert (record.minutes, record.backbone, record.width, record.batch_size) == (10, "resnet10", 4, 32)
    steps = [r for r in read_journal(run.folder / "journal.jsonl") if r["event"] == "step"]
    assert steps[-1]["learning_rate"] < 0.05 * max(r["learning_rate"] for r in steps)
    assert steps[-1]["step"] == clock.steps_taken


def test_the_time_is_kept_after_a_kill_too_and_lost_steps_count(clock: Clock, data: str) -> None:
    began, clock.kill_at = clock.now, 20
    with pytest.raises(ConnectionAbortedError):
        start(data)
    killed = clock.now
    clock.now += 5000  # the machine was off: nobody's minutes
    run = start(data)
    assert run.finished
    assert clock.now - 5000 - began == pytest.approx(600, rel=0.05)
    records = read_journal(run.folder / "journal.jsonl")
    sittings = [record for record in records if record["event"] == "sitting"]
    assert len(sittings) == 2
    assert sittings[1]["gone"] == pytest.approx(killed - began, abs=2 * clock.step)
    steps = [record["step"] for record in records if record["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert run.recipe == RunFolder(run.folder).recipe()


def test_a_time_that_ran_out_leaves_finishing_half_of_what_was_kept(clock: Clock, data: str) -> None:
    clock.kill_at = 20
    with pytest.raises(ConnectionAbortedError):
        start(data)
    with (Path(data).parent / "run" / "journal.jsonl").open("a") as file:
        file.write('{"event": "note", "time": %f, "message": "hung"}\n' % (clock.now + 900))
    assert start(data).finished
    assert clock.given == 20


def test_a_run_with_a_time_is_announced_and_says_how_the_time_was_kept(
    clock: Clock, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(data, quiet=False)
    said = capsys.readouterr().err
    assert (
        "10 minutes: resnet10 of width 4 at 8 pixels, batch of 32, about 18.7 epochs of 96 images at 3 images/s in 9:"
    ) in said
    assert "for evaluation and page" in said
    assert "took 10:0" in said


def test_without_minutes_and_epochs_a_time_is_chosen_and_kept_on_resume(
    clock: Clock, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.kill_at = 4
    with pytest.raises(ConnectionAbortedError):
        start(data, minutes=None, quiet=False)
    assert "60 minutes, which suit the data and this machine (--minutes says otherwise): resnet10" in (
        capsys.readouterr().err
    )
    recipe = RunFolder(Path(data).parent / "run").recipe()
    assert recipe.minutes == 60
    clock.step = 200.0
    assert start(data, minutes=None).recipe == recipe


def test_recipes_with_epochs_of_their_own_keep_them(clock: Clock, data: str) -> None:
    run = start(data, minutes=None, recipe="digits", epochs=1)
    assert (run.recipe.minutes, run.recipe.epochs, clock.given) == (0, 1, None)


def test_a_recipe_by_its_whole_name_is_fitted_to_the_time_and_stays_as_it_is(clock: Clock, data: str) -> None:
    run = start(data, recipe="digits", minutes=5)
    kept = ("backbone", "views", "options", "learning_rate", "width", "batch_size")
    digits = barlow.RECIPES["digits"]()
    wanted = [SMALL.get(name, getattr(digits, name)) for name in kept]
    assert [getattr(run.recipe, name) for name in kept] == wanted
    assert run.recipe.epochs != digits.epochs


def test_a_batch_whose_step_takes_too_long_is_made_smaller_unless_it_was_given(
    clock: Clock, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(data, batch_size=None).recipe.batch_size == 48  # of 96, whose step would take 30 seconds
    start(data, batch_size=96, out=Path(data).parent / "given", quiet=False)
    assert "A step takes 0:30, and so may a stop: --batch-size 96 was given" in capsys.readouterr().err


def test_measuring_leaves_no_trace_in_the_weights(clock: Clock, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights whether much or little was drawn from torch's generator before the first step."""
    first = start(data, minutes=2)
    monkeypatch.setattr(module, "finishing_seconds", lambda trial, recipe: (float(len(torch.randn(99))) / 99, 40.0))
    again = start(data, minutes=2, out=Path(data).parent / "again")
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(value, again.backbone.state_dict()[name]), name


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"epochs": 3}, "minutes, epochs: got 10 and 3, wanted one of them"),
        ({"minutes": -1}, "minutes: got -1, wanted a number above 0"),
        ({"minutes": 0.01}, r"minutes: got 0\.01, which loading and measuring took already"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    clock: Clock, data: str, numbers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        start(data, **numbers)
    assert not (Path(data).parent / "run").exists()


def test_another_time_or_another_network_is_another_run(clock: Clock, data: str) -> None:
    start(data, minutes=2)
    for numbers, message in (
        ({"minutes": 3}, "minutes was 2, now 3"),
        ({"minutes": 2, "backbone": "resnet18"}, "backbone was 'resnet10', now 'resnet18'"),
        ({"minutes": 2, "recipe": "simclr"}, "method was 'barlow_twins', now 'simclr'"),
        ({"minutes": None, "epochs": 5}, "minutes was 2, now 0"),
    ):
        with pytest.raises(RecipeChangedError, match=message):
            start(data, **numbers)


def test_the_command_of_a_run_with_a_time_gives_its_numbers_and_is_accepted(clock: Clock, data: str) -> None:
    run = start(data, minutes=2)
    words = command_of(read_run(run.folder)).split()
    flags = parse_pretrain(words[2:])
    again = barlow.recipes.recipe.flat(vars(flags.numbers))
    was = barlow.recipes.recipe.flat(vars(run.recipe))
    assert {name for name in was if was[name] != again[name]} <= {"minutes", "source", "published", "precision"}
    assert again["minutes"] == 0


def test_only_what_was_typed_is_kept() -> None:
    words = ["photos/", "--minutes", "60", "--batch-size=64", "--no-zero-init", "--redundancy-weight", "0.1"]
    typed = typed_numbers(words, parse_pretrain(words))
    assert typed == {"minutes": 60, "batch_size": 64, "zero_init": False, "options": {"redundancy_weight": 0.1}}
    words = ["digits", "--backbone", "resnet10"]  # the recipe's own, and typed all the same
    assert typed_numbers(words, parse_pretrain(words)) == {"backbone": "resnet10"}


def test_the_closing_line_says_when_the_time_was_not_kept() -> None:
    sitting = Sitting(600.0, 0.0, 0.0, 40.0, 3, now=lambda: 590.0)
    assert sitting.close() == "took 9:50 of 10:00"
    late = Sitting(600.0, 100.0, 0.0, 40.0, 3, now=lambda: 590.0)
    assert late.close() == "took 11:30 of 10:00: 1:30 more than was asked for"
