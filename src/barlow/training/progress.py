"""Progress of long work for the person who waits: a bar on a terminal, a line now and then elsewhere.

Everything goes to stderr, so that stdout holds results only and `barlow ... > table.txt` still shows the bar.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TaskID, TextColumn
from rich.table import Column

REDRAW_SECONDS = 0.1
WINDOW = 60
"""Marks kept of the pace, at most one a second: it is that of the last minute."""


class Progress:
    """Shows how far long work is: `with Progress("linear probe", 3) as bar: bar.update(1, "trained")`.

    On a terminal a bar, redrawn; elsewhere (a file, a pipe, a notebook) one plain line at the start, then
    one every `every` seconds, and the last state at the end; with `quiet` nothing, though `pace` is kept
    all the same.
    """

    def __init__(
        self,
        work: str,
        total: int,
        *,
        start: int = 0,
        unit: str = "samples",
        quiet: bool = False,
        every: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Say what is done ("pretraining", "linear probe") and how long it is.

        `start` are the steps done before, by the run that is resumed. `quiet`: the user said so, or this is not the
        first process. `every` is in seconds, where there is no terminal; `console` is stderr unless told.
        """
        self.pace = Pace(total, start=start, clock=clock)
        self._work, self._total, self._unit = work, total, unit
        self._quiet, self._every, self._clock = quiet, every, clock
        self._console = console or Console(stderr=True)
        live = self._console.is_terminal and not self._console.is_dumb_terminal and not quiet
        self._bar = _bar(self._console) if live else None
        self._task = TaskID(0)
        self._shown_at: float | None = None
        self._unshown: tuple[int, str] | None = None

    def __enter__(self) -> "Progress":
        """Show the empty bar on a terminal."""
        if self._bar is not None:
            self._task = self._bar.add_task("", total=self._total, text=self._work)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state and take the bar off the live display."""
        if self._unshown is not None:
            self._show(*self._unshown)
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, doing: str = "", *, samples: int = 0, **figures: float) -> None:
        """Tell how far the work is; cheap enough for every step.

        `doing` is what is at work within it ("epoch 3/100", "trained"), `samples` those since the last call, for the
        number per second, `figures` numbers to show by name.
        """
        self.pace.advance(done, samples)
        if self._quiet:
            return
        line = status(self._work, done, self._total, doing=doing, unit=self._unit, pace=self.pace, figures=figures)
        self._unshown = (done, line)
        pause = self._every if self._bar is None else REDRAW_SECONDS
        if self._shown_at is None or self._clock() - self._shown_at >= pause:
            self._show(done, line)

    def expect(self, total: int) -> None:
        """Say anew how long the work is."""
        self._total = total
        self.pace.expect(total)
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar where there is one: a warning, the floor of the loss."""
        if not self._quiet:
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _show(self, done: int, line: str) -> None:
        self._shown_at, self._unshown = self._clock(), None
        if self._bar is None:
            self.say(line)
        else:
            self._bar.update(self._task, completed=done, text=line)


class StepProgress:
    """The progress of a training loop: `with progress.running(4000): progress.advance(256, loss=812.4)`."""

    def __init__(
        self, epochs: int | float, *, unit: str = "samples", quiet: bool = False, console: Console | None = None
    ) -> None:
        """Say what a step is part of: `epochs` passes over the data, the last of which may be a part."""
        self._epochs = epochs
        self._begin = partial(Progress, "pretraining", unit=unit, quiet=quiet, console=console)
        self._progress: Progress | None = None
        self._done = self._total = 0

    @contextmanager
    def running(self, total_steps: int, *, start: int = 0) -> Iterator[None]:
        """Show the bar while the block runs: `start` of `total_steps` were done before, by the run that is resumed."""
        self._done, self._total = start, total_steps
        with self._begin(total=total_steps, start=start) as self._progress:
            try:
                yield
            finally:
                self._progress = None

    def advance(self, samples: int, *, loss: float, floor: float | None = None) -> float:
        """Note one more step, its `samples` over all processes; return samples per second over the last minute.

        A loss that is NaN, being unknown yet, is not shown. `floor` is what it cannot go below, None where no such
        number is known.
        """
        if self._progress is None:
            raise ValueError("progress: advance was called outside `with progress.running(total_steps)`")
        self._done += 1
        epoch = math.ceil(self._done * self._epochs / self._total - 1e-9)  # rounded up: the one this step belongs to
        figures = {"loss": loss} if floor is None else {"loss": loss, "excess": loss - floor}
        figures = figures if loss == loss else {}
        self._progress.update(self._done, f"epoch {epoch}/{math.ceil(self._epochs)}", samples=samples, **figures)
        return self._progress.pace.samples_per_second

    def expect(self, total: int) -> None:
        """Say anew how many steps there are, of a run that is fitted to a time."""
        self._epochs *= total / self._total
        self._total = total
        if self._progress is not None:
            self._progress.expect(total)

    def stopping(self) -> None:
        """Say at once that a stop was asked for, since the step at work comes to its end first."""
        self.say("stopping after this step, with a checkpoint; Ctrl-C once more stops at once, without one")

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar where there is one."""
        (self._progress or self._begin(total=0)).say(text)


@contextmanager
def saying_if_slow(text: str, *, quiet: bool, seconds: float = 1.0) -> Iterator[None]:
    """Say what is being done where it takes longer than `seconds`: nobody waits in silence."""
    timer = threading.Timer(seconds, Progress("", 0, quiet=quiet).say, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Pace:
    """Rate over the last minute, so that one slow start or one long pause is soon forgotten."""

    def __init__(self, total: int, *, start: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock, at step `start` of `total` where a run is resumed."""
        self._total = total
        self._clock = clock
        self._now = (clock(), start, 0)  # seconds, steps done, samples seen
        self._marks = deque([self._now], maxlen=WINDOW)

    def expect(self, total: int) -> None:
        """Say anew how many steps there are."""
        self._total = total

    def advance(self, done: int, samples: int = 0) -> None:
        """Note that `done` steps are behind us, those before the start included, and `samples` since the last call."""
        self._now = (self._clock(), done, self._now[2] + samples)
        if self._now[0] - self._marks[-1][0] >= 1:
            self._marks.append(self._now)

    @property
    def samples_per_second(self) -> float:
        """Samples per second; 0 before anything is done."""
        seconds, _, samples = self._since_oldest_mark()
        return samples / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at this pace; None before anything is done."""
        seconds, steps, _ = self._since_oldest_mark()
        return (self._total - self._now[1]) * seconds / steps if steps > 0 else None

    def _since_oldest_mark(self) -> tuple[float, int, int]:
        then, done, samples = self._marks[0]
        return self._now[0] - then, self._now[1] - done, self._now[2] - samples


def status(work: str, done: int, total: int, *, doing: str, unit: str, pace: Pace, figures: dict[str, float]) -> str:
    """Return one line: "pretraining: epoch 3/100 (120/4,000)  loss 812.4  excess 12.1  1,234 images/s  4:10 left"."""
    head = f"{work}: {doing}" if doing else work
    parts = [f"{head} ({done:,}/{total:,})"]
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
    if pace.samples_per_second:
        parts.append(f"{pace.samples_per_second:,.0f} {unit}/s")
    if pace.seconds_left:
        parts.append(f"{clock(pace.seconds_left)} left")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Return a time as a clock shows it: "0:07", "4:10", "2:03:04", and from one day on "3 d 02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days} d {hours_of_day:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(console: Console) -> Bar:
    text = TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    # What other code prints to stdout stays there: only stderr is ours to redraw.
    return Bar(BarColumn(bar_width=20), text, console=console, redirect_stdout=False)
