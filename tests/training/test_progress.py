"""What the person who waits is shown."""

import io
import itertools
import re
import time

import pytest
from rich.console import Console

from barlow.training.progress import WINDOW, Pace, Progress, StepProgress, clock, saying_if_slow


class Screen(Console):
    """A console that remembers what was written, as a terminal or as a file."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.written = io.StringIO()
        super().__init__(file=self.written, force_terminal=terminal, width=160, color_system=None)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


def test_the_pace_gives_samples_per_second_and_the_time_left() -> None:
    clock = Clock()
    pace = Pace(100, clock=clock)
    assert (pace.samples_per_second, pace.seconds_left) == (0.0, None)
    clock.seconds += 20
    pace.advance(10, 2560)
    assert (pace.samples_per_second, pace.seconds_left) == (128.0, 180.0)


def test_steps_of_an_earlier_run_do_not_count_as_fast() -> None:
    clock = Clock()
    pace = Pace(100, start=90, clock=clock)
    clock.seconds += 5
    pace.advance(95, 500)
    assert (pace.samples_per_second, pace.seconds_left) == (100.0, 5.0)


def test_a_slow_start_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)
    clock.seconds += 600
    pace.advance(1, 10)
    assert pace.samples_per_second < 1
    for step in range(2, 2 + WINDOW):
        clock.seconds += 1
        pace.advance(step, 10)
    assert pace.samples_per_second == pytest.approx(10)


def test_the_pace_is_that_of_the_last_minute_however_short_the_steps() -> None:
    clock = Clock()
    pace = Pace(10_000, clock=clock)
    for step in range(1, 481):
        clock.seconds += 0.125
        pace.advance(step, 1 if step <= 240 else 3)
    assert pace.samples_per_second == pytest.approx(16, rel=0.05)


def test_without_a_terminal_there_is_a_first_line_one_now_and_then_and_the_last_state() -> None:
    screen, clock = Screen(), Clock()
    with Progress("pretraining", 50, unit="images", every=10.0, console=screen, clock=clock) as progress:
        for step in range(1, 26):
            clock.seconds += 1
            progress.update(step, f"epoch {step}/50", samples=1234, loss=800.0 + step, excess=0.5)
    lines = screen.lines
    assert [re.findall(r"\((\d+)/50\)", line) for line in lines] == [["1"], ["11"], ["21"], ["25"]]
    assert lines[1] == "pretraining: epoch 11/50 (11/50)  loss 811  excess 0.5  1,234 images/s  0:39 left"


def test_the_same_lines_serve_an_evaluation() -> None:
    screen = Screen()
    with Progress("linear probe", 3, console=screen, clock=Clock()) as progress:
        progress.update(2, "trained")
    assert screen.written.getvalue() == "linear probe: trained (2/3)\n"


def test_on_a_terminal_a_bar_is_drawn_and_the_last_state_stays() -> None:
    screen = Screen(terminal=True)
    with Progress("pretraining", 40, console=screen) as progress:
        for step in range(1, 41):
            progress.update(step, "epoch 1/1", loss=1.5)
    last = next(line for line in reversed(screen.lines) if "pretraining" in line)
    assert "━" in last
    assert "pretraining: epoch 1/1 (40/40)" in last
    assert "loss 1.5" in last


def test_a_line_that_is_said_stays_as_it_is_on_both_kinds_of_stream() -> None:
    text = "warning: [red] the floor :smile: is 1122.0 of " + "x" * 200
    for screen in (Screen(), Screen(terminal=True)):
        with Progress("pretraining", 40, console=screen) as progress:
            progress.say(text)
        assert text in screen.written.getvalue()


def test_progress_leaves_stdout_to_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("linear probe", 3) as progress:
        progress.update(1, "trained")
        print("accuracy 0.9")
    captured = capsys.readouterr()
    assert captured.out == "accuracy 0.9\n"
    assert "linear probe: trained (1/3)" in captured.err


def test_a_live_bar_leaves_stdout_alone_too(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("linear probe", 3, console=Screen(terminal=True)) as progress:
        progress.update(1, "trained")
        print("accuracy 0.9")
    assert capsys.readouterr().out == "accuracy 0.9\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_nothing_and_measures_all_the_same(terminal: bool) -> None:
    screen, clock = Screen(terminal=terminal), Clock()
    with Progress("pretraining", 4, quiet=True, console=screen, clock=clock) as progress:
        clock.seconds += 2
        progress.update(1, samples=100, loss=1.0)
        progress.say("a warning")
    assert screen.written.getvalue() == ""
    assert progress.pace.samples_per_second == 50.0


def test_steps_are_counted_from_where_the_run_goes_on_and_name_their_epoch() -> None:
    screen = Screen()
    progress = StepProgress(5, unit="images", console=screen)
    with progress.running(50, start=10):
        rate = progress.advance(256, loss=3.0, floor=1.0)
        progress.say("a warning")
    first, warning = screen.lines
    assert first.startswith("pretraining: epoch 2/5 (11/50)  loss 3  excess 2  ")
    assert "images/s" in first
    assert warning == "a warning"
    assert rate > 0


def test_the_steps_before_a_resume_do_not_shorten_the_time_left() -> None:
    screen = Screen()
    progress = StepProgress(1, console=screen)
    with progress.running(1010, start=10):
        time.sleep(0.11)
        progress.advance(256, loss=3.0)
    minutes = re.findall(r"(\d+):\d\d left", screen.written.getvalue())
    assert int(minutes[0]) >= 1  # 999 steps of 0.11 s; eleven times less if the first ten counted.


def test_every_step_belongs_to_the_epoch_that_counts_it() -> None:
    shown = []
    for start in range(7):
        screen = Screen()
        progress = StepProgress(7, console=screen)
        with progress.running(21, start=3 * start):
            progress.advance(1, loss=0.0)
        with progress.running(21, start=3 * start + 2):
            progress.advance(1, loss=0.0)
        shown += re.findall(r"epoch (\d+)/7", screen.written.getvalue())
    assert shown == [str(epoch) for epoch in itertools.chain.from_iterable((e, e) for e in range(1, 8))]


def test_without_a_floor_there_is_no_excess() -> None:
    screen = Screen()
    progress = StepProgress(1, console=screen)
    with progress.running(2):
        progress.advance(1, loss=3.0)
    assert "excess" not in screen.written.getvalue()


def test_counting_steps_outside_the_run_is_refused() -> None:
    progress = StepProgress(1, quiet=True)
    with pytest.raises(ValueError, match=r"outside `with progress\.running"):
        progress.advance(1, loss=3.0)
    with progress.running(1):
        pass
    with pytest.raises(ValueError, match=r"outside `with progress\.running"):
        progress.advance(1, loss=3.0)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0:00"),
        (7.4, "0:07"),
        (250.0, "4:10"),
        (7384.0, "2:03:04"),
        (59.6, "1:00"),
        (266580.0, "3 d 02:03"),
    ],
)
def test_times_are_written_as_a_person_does(seconds: float, written: str) -> None:
    assert clock(seconds) == written


def test_slow_work_is_announced_and_short_work_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with saying_if_slow("reading photos", quiet=False, seconds=0.01):
        time.sleep(0.2)
    with saying_if_slow("reading few", quiet=False, seconds=60.0):
        pass
    with saying_if_slow("reading in silence", quiet=True, seconds=0.01):
        time.sleep(0.1)
    assert capsys.readouterr().err == "reading photos\n"
