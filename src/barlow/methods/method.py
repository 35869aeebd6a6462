"""What the loop knows of a method: views -> Terms, view -> h, and three moments of a step at which it may act."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.terms import Terms


class Method(nn.Module, ABC):
    """Backbone, heads and loss of one self-supervised method.

    Attributes:
        backbone: batch -> h of shape (N, d); what is kept after pretraining.
        projector: h -> z of shape (N, D).
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector

    @abstractmethod
    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of the views of one batch."""

    def represent(self, view: Any) -> Float[Tensor, "n d"]:
        """Return h, the representation that is kept after pretraining."""
        h: Tensor = self.backbone(view)
        return h

    def start_step(self, epoch: float, epochs: int | float) -> None:  # optional: most methods need none
        """Called before each step, with the epochs done so far (a fraction) and those of the whole run."""

    def after_backward(self) -> None:
        """Called when gradients are there and before the optimizer uses them: SwAV holds its prototypes here."""

    def after_step(self) -> None:
        """Called after the optimizer's step: a target network follows here."""
