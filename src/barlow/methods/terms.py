"""What every loss and every method returns: the number to minimise and its named parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """A loss and the parts it is made of.

    Attributes:
        total: the scalar to minimise, with gradient.
        parts: named scalars for the journal, already weighted where they add up to `total`; the first
            part that is not finite names the cause when a run stops. They may carry gradient; the loop
            detaches them.
    """

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
