"""Progress of long work for the person who waits: a bar on a terminal, a line now and then elsewhere.

Everything goes to stderr, so that stdout holds results only and `barlow ... > table.txt` still shows the bar.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TaskID, TextColumn
from rich.table import Column

from barlow.training.pace import Pace

REDRAW_SECONDS = 0.1


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
        """Say what is done and how long it is.

        Args:
            work: what is done: "pretraining", "linear probe".
            total: its number of steps.
            start: steps done before, by the run that is resumed.
            unit: what the samples are called: "images".
            quiet: show nothing: the user said so, or this is not the first process.
            every: seconds between two lines where there is no terminal.
            console: where to write; stderr unless told.
            clock: seconds, from any origin.
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

        Args:
            done: steps done, of `total`.
            doing: what is at work within it: "epoch 3/100", "trained".
            samples: samples since the last call, for the number per second.
            **figures: numbers to show by name: loss, excess, ...
        """
        self.pace.advance(done, samples)
        if self._quiet:
            return
        line = status(self._work, done, self._total, doing=doing, unit=self._unit, pace=self.pace, figures=figures)
        self._unshown = (done, line)
        pause = self._every if self._bar is None else REDRAW_SECONDS
        if self._shown_at is None or self._clock() - self._shown_at >= pause:
            self._show(done, line)

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar where there is one: a warning, the floor of the loss.

        Args:
            text: the line.
        """
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
        """Say what a step is part of.

        Args:
            epochs: passes over the data; the last one may be a part.
            unit: what the samples are called: "images".
            quiet: show nothing: the user said so, or this is not the first process.
            console: where to write; stderr unless told.
        """
        self._epochs = epochs
        self._begin = partial(Progress, "pretraining", unit=unit, quiet=quiet, console=console)
        self._progress: Progress | None = None
        self._done = self._total = 0

    @contextmanager
    def running(self, total_steps: int, *, start: int = 0) -> Iterator[None]:
        """Show the bar while the block runs.

        Args:
            total_steps: steps of the whole run.
            start: steps done before, by the run that is resumed.
        """
        self._done, self._total = start, total_steps
        with self._begin(total=total_steps, start=start) as self._progress:
            try:
                yield
            finally:
                self._progress = None

    def advance(self, samples: int, *, loss: float, floor: float | None = None) -> float:
        """Note one more step.

        Args:
            samples: samples of the step over all processes.
            loss: its loss.
            floor: what the loss cannot go below, None where no such number is known.

        Returns:
            Samples per second over the last minute.

        Raises:
            ValueError: called outside `running`.
        """
        if self._progress is None:
            raise ValueError("progress: advance was called outside `with progress.running(total_steps)`")
        self._done += 1
        epoch = math.ceil(self._done * self._epochs / self._total - 1e-9)  # rounded up: the one this step belongs to
        figures = {"loss": loss} if floor is None else {"loss": loss, "excess": loss - floor}
        self._progress.update(self._done, f"epoch {epoch}/{math.ceil(self._epochs)}", samples=samples, **figures)
        return self._progress.pace.samples_per_second

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar where there is one.

        Args:
            text: the line: a warning, for one.
        """
        (self._progress or self._begin(total=0)).say(text)


def status(work: str, done: int, total: int, *, doing: str, unit: str, pace: Pace, figures: dict[str, float]) -> str:
    """Return the state of the work in one line.

    Args:
        work: what is done.
        done: steps done.
        total: steps in all.
        doing: what is at work within it, or empty.
        unit: what the samples are called.
        pace: how fast it goes.
        figures: numbers by name.

    Returns:
        Such as "pretraining: epoch 3/100 (120/4,000)  loss 812.4  excess 12.1  1,234 images/s  4:10 left".
    """
    head = f"{work}: {doing}" if doing else work
    parts = [f"{head} ({done:,}/{total:,})"]
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
    if pace.samples_per_second:
        parts.append(f"{pace.samples_per_second:,.0f} {unit}/s")
    if pace.seconds_left:
        parts.append(f"{duration(pace.seconds_left)} left")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as a person writes it: "0:07", "4:10", "2:03:04", "3 d 02:03".

    Args:
        seconds: at least 0.

    Returns:
        Minutes and seconds, with hours from one hour on; days, hours and minutes from one day on.
    """
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
