"""The schedule of a run that is fitted to a time: it ends with its cosine, in time, and repeats its decisions."""

from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from barlow.training.journal import read_journal
from barlow.training.plan import warmup_cosine
from barlow.training.schedule import Schedule
from tests.training.tiny_run import STEPS, run_tiny


class Machine:
    """A clock that only training moves: `seconds(step)` for each step."""

    def __init__(self, budget: float) -> None:
        self.now, self.budget = 0.0, budget

    def left(self) -> float:
        return self.budget - self.now


def train(schedule: Schedule, machine: Machine, seconds: list[float], first: int = 0, stop: int = 10**9) -> list[float]:
    """Take the steps of a run as the loop does; return their places in the plan."""
    places = []
    for step in range(first, stop):
        if schedule.is_due(step) and (total := schedule.suggestion(step)) != schedule.total:
            schedule.turn(step, total)
        places.append(schedule.place(step))
        machine.now += seconds[min(step, len(seconds) - 1)]
        if step + 1 == schedule.total:
            break
    return places


def test_without_a_time_each_step_stands_for_itself_to_the_bit() -> None:
    schedule = Schedule(7)
    assert not schedule.is_timed
    assert train(schedule, Machine(0.0), [1.0]) == [0, 1, 2, 3, 4, 5, 6]
    assert schedule.state() == []


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0, 1.5, 4.0])
def test_the_time_is_kept_and_the_cosine_ends_however_wrong_the_plan_was(factor: float) -> None:
    machine = Machine(1000.0)
    schedule = Schedule(1000, machine.left)
    places = train(schedule, machine, [factor])
    assert machine.now == pytest.approx(1000, rel=0.02)
    assert places == sorted(places)
    assert places[-1] < schedule.planned == pytest.approx(places[-1], rel=0.01)
    last = warmup_cosine(places[-1], total_steps=1000, warmup_steps=10, final=0.0)
    assert last < 0.001


def test_the_time_is_kept_where_the_machine_becomes_half_as_fast_on_the_way() -> None:
    machine = Machine(1000.0)
    schedule = Schedule(1000, machine.left)
    train(schedule, machine, [1.0] * 700 + [2.0])
    assert machine.now == pytest.approx(1000, rel=0.02)
    assert schedule.total == pytest.approx(850, rel=0.03)


def test_a_resumed_run_keeps_the_decisions_before_its_checkpoint_and_still_ends_in_time() -> None:
    machine = Machine(1000.0)
    first = Schedule(1000, machine.left)
    before = train(first, machine, [1.5], stop=300)
    machine.now += 100  # what was trained after the checkpoint and is lost
    again = Schedule(1000, machine.left)
    again.restore(first.state())
    assert [again.place(step) for step in range(290, 300)] == before[290:]
    assert again.total == first.total
    train(again, machine, [1.5], first=300)
    assert machine.now == pytest.approx(1000, rel=0.02)


def test_where_the_time_is_up_a_short_end_is_trained_all_the_same() -> None:
    machine = Machine(1000.0)
    schedule = Schedule(1000, machine.left)
    schedule.restore([[0, 0.0, 900]])
    machine.now = 5000.0
    places = train(schedule, machine, [1.0], first=400)
    assert len(places) == 20
    assert places[0] == pytest.approx(400 / 0.9)
    assert places[-1] > 960


def test_a_total_that_is_behind_is_refused() -> None:
    with pytest.raises(ValueError, match="total: got 5, wanted more than the 5 steps that are done"):
        Schedule(10).turn(5, 5)


def test_the_loop_follows_the_clock_and_its_journal_and_progress_say_so(tmp_path: Path) -> None:
    machine = Machine(100.0)

    def tick(record: dict[str, object]) -> None:
        machine.now += 10.0 if record["event"] == "step" else 0.0

    _, finished = run_tiny(tmp_path, seconds_left=machine.left, journal_listener=tick)
    assert finished
    assert machine.now == pytest.approx(100, abs=10)
    records = read_journal(tmp_path / "journal.jsonl")
    steps = [record for record in records if record["event"] == "step"]
    decisions = [record for record in records if record["event"] == "schedule"]
    assert len(steps) == decisions[-1]["total_steps"] == records[-1]["step"] < STEPS
    assert steps[-1]["learning_rate"] < 0.1 * max(step["learning_rate"] for step in steps)


def test_a_run_that_has_more_time_than_planned_goes_on(tmp_path: Path) -> None:
    machine = Machine(100.0)

    def tick(record: dict[str, object]) -> None:
        machine.now += 2.5 if record["event"] == "step" else 0.0

    _, finished = run_tiny(tmp_path, seconds_left=machine.left, journal_listener=tick)
    assert finished
    assert machine.now == pytest.approx(100, abs=2.5)


def test_a_timed_run_repeats_itself_from_the_decisions_in_its_checkpoint(tmp_path: Path) -> None:
    """The same clock, with and without an interruption: the same losses up to the end."""
    losses = []
    for name, last in (("whole", 0), ("twice", 6)):
        machine, folder = Machine(100.0), tmp_path / name

        def tick(record: dict[str, object], machine: Machine = machine, last: int = last) -> None:
            machine.now += 7.0 if record["event"] == "step" else 0.0
            if last and record["event"] == "checkpoint" and record["step"] == last:
                raise InterruptedError

        with suppress(InterruptedError):
            run_tiny(folder, minutes=0.0, seconds_left=machine.left, journal_listener=tick)
        if last:
            again = partial(tick, machine=machine, last=0)
            assert run_tiny(folder, minutes=0.0, seconds_left=machine.left, journal_listener=again)[1]
        losses.append([r["loss"] for r in read_journal(folder / "journal.jsonl") if r["event"] == "step"])
        assert machine.now == pytest.approx(100, abs=10)
    assert losses[0][:7] == losses[1][:7]
