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

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from barlow.data.bad_samples import BadDataError
from barlow.seams import Method, OnDevice, Source, Terms, Views
from barlow.training.checkpoint import Resumable, finite_loss, random_state, restore_random_state
from barlow.training.journal import Journal, read_journal
from barlow.training.order import batches_from, draw_views
from barlow.training.plan import Plan, set_learning_rate, steps_of, steps_per_epoch
from barlow.training.processes import agreed, first_process_alone
from barlow.training.progress import StepProgress
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
) -> bool:
    """Train `method` on two or more views of every batch, from the last checkpoint in `folder` if there is one.

    `method` is not yet set up with `fabric`; the optimizer's groups carry their peak learning rate. Returns True when
    the last step was reached, False when a signal asked to stop: the checkpoint, `checkpoints/last.ckpt`, is written
    then. NonFiniteLossError: a term or the weights are not finite; the last good checkpoint stays.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    per_epoch = steps_per_epoch(len(source), plan.batch_size)
    total_steps = steps_of(plan.epochs, per_epoch)
    state = Resumable(method, optimizer, fabric, checkpoint, journal, plan.checkpoint_minutes)
    wrapped, wrapped_optimizer = fabric.setup(method, optimizer)
    first_step = state.resume()  # after the move to the device, so that the optimizer's state goes there too
    every = max(1, total_steps // MAX_STEP_RECORDS)
    noted = _noted(journal)
    on_device, rank, world = OnDevice(source, fabric.device), fabric.global_rank, fabric.world_size
    started = time.perf_counter()
    with graceful_stop() as stop, progress.running(total_steps, start=first_step):
        for step, share in batches_from(on_device, plan, first_step=first_step, rank=rank, world=world):
            asked_to_stop, unreadable = agreed(fabric, bool(stop), share is None)
            if asked_to_stop:
                _note_bad_samples(source, fabric, journal, noted)
                state.save(step)
                journal.write("interrupted", step=step, seconds=time.perf_counter() - started)
                return False
            done = step + 1
            if share is None or unreadable:
                journal.write("warning", message=f"step {done} was left out: a process could read nothing of its share")
            else:
                drawn = draw_views(views, share, seed=plan.seed, step=step)
                set_learning_rate(optimizer, plan.factor(step))
                method.train()
                method.start_step(step / per_epoch, plan.epochs)
                terms: Terms = wrapped(drawn)
                loss = finite_loss(terms, step, journal)
                _descend(terms, method, wrapped, wrapped_optimizer, plan, fabric)
                rate = progress.advance(len(share.places) * world, loss=loss, floor=plan.floor)
                if done % every == 0 or done == total_steps:
                    fields = {"learning_rate": optimizer.param_groups[0]["lr"], "samples_per_second": rate}
                    _record(journal, terms, done, done / per_epoch, plan.floor, fields)
            if done % per_epoch == 0 or done == total_steps:
                _note_bad_samples(source, fabric, journal, noted)
                due = [probe for probe in probes if probe.is_due(done, total_steps, per_epoch)]
                _probe(due, method, fabric, journal, done, done / per_epoch)
            state.save_if_due(done)
        state.save(total_steps)
    journal.write("finish", step=total_steps, seconds=time.perf_counter() - started)
    return True


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


def _record(
    journal: Journal, terms: Terms, step: int, epoch: float, floor: float | None, fields: dict[str, float]
) -> None:
    loss = float(terms.total.detach())
    parts = {name: float(value.detach()) for name, value in terms.parts.items()}
    above = {} if floor is None else {"floor": floor, "excess": loss - floor}
    journal.write("step", step=step, epoch=epoch, loss=loss, parts=parts, **above, **fields)


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


def _probe(due: Sequence[Probe], method: Method, fabric: Fabric, journal: Journal, step: int, epoch: float) -> None:
    """Take the figures that are due, on the first process, in evaluation mode; leave no trace in any generator."""
    if not due:
        return
    with first_process_alone(fabric) as first:
        if not first:
            return
        method.eval()
        before = random_state()
        figures: dict[str, float] = {}
        with torch.inference_mode():
            for probe in due:
                figures |= probe.figures(step)
        restore_random_state(before)
        method.train()
        journal.write("probe", step=step, epoch=epoch, figures=figures)
