"""Losses and weights that are infinite or not a number: found, named in the journal, and an end of the run.

A finite loss may have a gradient that is not, so the weights are looked at before they replace the last checkpoint.
"""

from torch import nn

from barlow.methods.terms import Terms
from barlow.training.journal import Journal


class NonFiniteLossError(ValueError):
    """The loss, one of its parts, or the weights became infinite or not a number."""


def finite_loss(terms: Terms, step: int, journal: Journal) -> float:
    """Return the loss as a number.

    Args:
        terms: of one step.
        step: number of the step, counted from 0.
        journal: told of the first term that is not finite.

    Raises:
        NonFiniteLossError: it is none.
    """
    loss = float(terms.total.detach())
    if loss - loss == 0.0:  # false for inf and nan, without another look at the tensor
        return loss
    parts = {name: float(value.detach()) for name, value in terms.parts.items()}
    culprit = next((name for name, value in parts.items() if value - value != 0.0), "total")
    message = f"the loss is {loss} at step {step + 1}: the first term that is not finite is {culprit!r}"
    journal.write("error", message=message, step=step + 1, parts=parts)
    raise _error(message)


def require_finite_weights(method: nn.Module, step: int, journal: Journal) -> None:
    """Refuse weights that are not finite after `step` steps; called before they are saved.

    Raises:
        NonFiniteLossError: some are not; names the first of them.
    """
    broken = [name for name, weight in method.named_parameters() if not bool(weight.detach().isfinite().all())]
    if broken:
        message = (
            f"{len(broken)} of the weights, {broken[0]!r} first, are not finite after step {step}: a gradient was not, "
            "though the loss was"
        )
        journal.write("error", message=message, step=step)
        raise _error(message)


def _error(message: str) -> NonFiniteLossError:
    return NonFiniteLossError(f"{message}; the last good checkpoint is kept. A lower learning rate or warm-up helps")
