"""The loop: source -> views -> method -> terms -> journal. It knows neither the method nor the modality.

    for each step:  views = draw(batch);  terms = method(views);  backward;  optimizer step;  journal

Nothing random is carried from step to step except torch's generators (dropout), which the checkpoint holds: the
order of samples follows from (seed, epoch), the views from (seed, step). So a run that was killed goes on from its
last checkpoint to the same final weights, bit for bit on a CPU, and W processes take the steps of one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from barlow.data.bad_samples import BadDataError
from barlow.seams import Method, OnDevice, Source, Terms, Views, to_device
from barlow.training.checkpoint import Resumable, random_state, restore_random_state
from barlow.training.journal import Journal, read_journal
from barlow.training.losses import Losses
from barlow.training.order import Share, batches_from, draw_views
from barlow.training.plan import Plan, set_learning_rate, steps_of, steps_per_epoch
from barlow.training.processes import agreed, first_process_alone
from barlow.training.progress import StepProgress
from barlow.training.schedule import Schedule
from barlow.training.sharding import gathered, set_up
from barlow.training.signals import graceful_stop

MAX_STEP_RECORDS = 2000
"""Step records in the journal of one run; a longer run records every k-th step."""


@dataclass(frozen=True)
class Probe:
    """Figures taken from the method between epochs: `figures(step)` every `every_epochs` and at the end.

    Not before the first step: BatchNorm has seen no data then, and what the figures would say of the untrained
    network is said by the summary, after calibration.
    """

    every_epochs: int
    figures: Callable[[int], dict[str, float]]
    kept: Callable[[], dict[str, str]] = dict
    """What else is kept in the journal of that moment: small matrices as text."""

    def is_due(self, step: int, total_steps: int, per_epoch: int) -> bool:
        """Return whether the figures are taken after `step` steps."""
        return step % (self.every_epochs * per_epoch) == 0 or step == total_steps


def pretrain(
    source: Source,
    views: Views,
    method: Method,
    optimizer: Optimizer,
    plan: Plan,
    *,
    fabric: Fabric,
    folder: Path,
    journal: Journal,
    probes: Sequence[Probe] = (),
    progress: StepProgress,
    seconds_left: Callable[[], float] | None = None,
) -> bool:
    """Train `method` on two or more views of every batch, from the last checkpoint in `folder` if there is one.

    `method` is not yet set up with `fabric`; the optimizer's groups carry their peak learning rate. `seconds_left`
    tells how long training may go on: the plan is then gone through in that time (`Schedule`), None: in its own steps.
    Returns True when the last step was reached, False when a signal asked to stop: the checkpoint,
    `checkpoints/last.ckpt`, is written then. NonFiniteLossError: a term or the weights are not finite; the last good
    checkpoint stays.
    """
    per_epoch, rank, world = steps_per_epoch(len(source), plan.batch_size), fabric.global_rank, fabric.world_size
    schedule = Schedule(steps_of(plan.epochs, per_epoch), seconds_left)
    trained, wrapped, wrapped_optimizer = set_up(method, optimizer, fabric)
    state = _resumable(folder, method, trained, optimizer, fabric, journal, plan, schedule)
    first_step = state.resume()  # after the move to the device, so that the optimizer's state goes there too
    noted, losses, started = _noted(journal), Losses(journal, plan.floor), time.perf_counter()
    samples = OnDevice(source, fabric.device)
    steps = batches_from(samples, plan, first_step=first_step, rank=rank, world=world, endless=schedule.is_timed)
    with graceful_stop(progress.stopping) as stop, progress.running(schedule.total, start=first_step):
        for step, share in steps if first_step < schedule.total else ():
            clock = rank == 0 and schedule.is_due(step)
            few = share is None or (world == 1 and len(share.places) < 2)  # no statistic is made of one sample
            asked_to_stop, unreadable, save, clock = agreed(fabric, bool(stop), few, state.is_due(), clock)
            if asked_to_stop:
                losses.settle()
                return _interrupted(step, state, source, fabric, journal, noted, started)
            if clock:
                _look_at_the_clock(schedule, step, fabric, journal, progress)
            done, is_last = step + 1, step + 1 == schedule.total
            if share is None or unreadable:
                journal.write("warning", message=f"step {done} was left out: too little of its batch could be read")
            else:
                _start_step(trained, optimizer, plan, schedule.place(step), per_epoch)
                terms = _terms(trained, wrapped, draw_views(views, share, seed=plan.seed, step=step), share, fabric)
                loss = losses.follow(terms, done)
                _descend(terms, trained, wrapped, wrapped_optimizer, plan, fabric)
                _remark(step, trained, terms, journal, progress)
                rate = progress.advance(len(share.places) * world, loss=loss, floor=plan.floor)
                if done % max(1, schedule.total // MAX_STEP_RECORDS) == 0 or is_last:
                    losses.record(epoch=done / per_epoch, **_rates(optimizer, rate))
            if save or is_last:
                losses.settle()
            if done % per_epoch == 0 or is_last:
                _note_bad_samples(source, fabric, journal, noted)
                due = [probe for probe in probes if probe.is_due(done, schedule.total, per_epoch)]
                _probe(due, trained, method, fabric, journal, losses, done, done / per_epoch)
            if save:
                state.save(done)
            if is_last:
                break
        state.save(schedule.total)
    journal.write("finish", step=schedule.total, seconds=time.perf_counter() - started)
    journal.sync()
    return True


def _resumable(
    folder: Path,
    method: Method,
    trained: Method,
    optimizer: Optimizer,
    fabric: Fabric,
    journal: Journal,
    plan: Plan,
    schedule: Schedule,
) -> Resumable:
    """The state of a run, with its file."""
    path, minutes = folder / "checkpoints" / "last.ckpt", plan.checkpoint_minutes
    return Resumable(method, optimizer, fabric, path, journal, minutes, schedule, plan.identity, trained)


def _rates(optimizer: Optimizer, samples_per_second: float) -> dict[str, float]:
    return {"learning_rate": optimizer.param_groups[0]["lr"], "samples_per_second": samples_per_second}


def _interrupted(
    step: int,
    state: Resumable,
    source: Source,
    fabric: Fabric,
    journal: Journal,
    noted: set[int],
    started: float,
) -> bool:
    """Leave a run that was asked to stop so that it can go on; False, for it is not finished."""
    _note_bad_samples(source, fabric, journal, noted)
    state.save(step)
    journal.write("interrupted", step=step, seconds=time.perf_counter() - started)
    return False


def _look_at_the_clock(schedule: Schedule, step: int, fabric: Fabric, journal: Journal, progress: StepProgress) -> None:
    """Settle anew how many steps the run has, as the clock of the first process says, and note it where it changes."""
    suggested = schedule.suggestion(step) if fabric.is_global_zero else 0
    total = suggested if fabric.world_size == 1 else int(fabric.broadcast(suggested))
    if total != schedule.total:
        schedule.turn(step, total)
        progress.expect(total)
        journal.write("schedule", step=step, total_steps=total)


def _start_step(method: Method, optimizer: Optimizer, plan: Plan, place: int | float, per_epoch: int) -> None:
    """Set what follows from how far the plan is, in steps."""
    set_learning_rate(optimizer, plan.factor(place))
    method.train()
    method.start_step(place / per_epoch, plan.epochs)


def _terms(method: Method, wrapped: nn.Module, views: list[Any], share: Share, fabric: Fabric) -> Terms:
    """Return the loss of the views of a batch; a method that learns from labels is given those too."""
    if not method.needs_labels:
        terms: Terms = wrapped(views)
        return terms
    if share.labels is None:
        raise ValueError(f"method: {type(method).__name__} learns from labels, and the data have none")
    terms = wrapped(views, to_device(share.labels, fabric.device))
    return terms


def _remark(step: int, method: Method, terms: Terms, journal: Journal, progress: StepProgress) -> None:
    """Let the method say what the user should know of the first step."""
    if step == 0 and (remark := method.remark(terms)) and journal.write_once("note", message=remark):
        progress.say(remark)


def _descend(
    terms: Terms, method: Method, wrapped: nn.Module, optimizer: Optimizer, plan: Plan, fabric: Fabric
) -> None:
    """Gradients, then one step of the optimizer; the method may act after either."""
    fabric.backward(terms.total)
    method.after_backward()
    if plan.clip_norm:
        # No error here: with losses scaled for float16 an overflow is expected and its step left out; otherwise the
        # next loss, or the look at the weights before they are saved, says what happened.
        fabric.clip_gradients(wrapped, optimizer, max_norm=plan.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    method.after_step()


@contextmanager
def noting_bad_data(source: Source, journal: Journal) -> Iterator[None]:
    """Leave in the journal which samples could not be read when they are too many and end the run."""
    try:
        yield
    except BadDataError as error:
        _write_bad_samples(source, source.bad, journal, _noted(journal))
        journal.write("error", message=str(error))
        raise


def _noted(journal: Journal) -> set[int]:
    """Samples that the journal has named already."""
    return {r["index"] for r in read_journal(journal.path) if r["event"] == "bad_sample"} if journal.enabled else set()


def _note_bad_samples(source: Source, fabric: Fabric, journal: Journal, noted: set[int]) -> None:
    """Write what no process could read since the last time."""
    found = [source.bad]
    if fabric.world_size > 1:
        found = [{} for _ in range(fabric.world_size)]
        torch.distributed.all_gather_object(found, source.bad)
    _write_bad_samples(source, {index: reason for one in found for index, reason in one.items()}, journal, noted)


def _write_bad_samples(source: Source, bad: Mapping[int, str], journal: Journal, noted: set[int]) -> None:
    for index in sorted(bad.keys() - noted):
        journal.write("bad_sample", index=index, what=source.describe(index), reason=bad[index])
    noted.update(bad)


def _probe(
    due: Sequence[Probe],
    trained: Method,
    method: Method,
    fabric: Fabric,
    journal: Journal,
    losses: Losses,
    step: int,
    epoch: float,
) -> None:
    """Take the figures that are due, on the first process, in evaluation mode; leave no trace in any generator."""
    if not due:
        return
    losses.settle()
    with gathered(trained, method, fabric), first_process_alone(fabric) as first:
        if not first:
            return
        method.eval()
        before = random_state()
        figures: dict[str, float] = {}
        kept: dict[str, str] = {}
        with torch.inference_mode():
            for probe in due:
                figures |= probe.figures(step)
                kept |= probe.kept()
        restore_random_state(before)
        method.train()
        journal.write("probe", step=step, epoch=epoch, figures=figures, **kept)
