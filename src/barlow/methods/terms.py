"""What every loss and every method returns: the number to minimise and its named parts."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Terms(NamedTuple):
    """A loss and the parts it is made of.

    A named tuple, not a dataclass: it is as frozen, and Fabric and DDP find the tensors inside it.

    Attributes:
        total: the scalar to minimise, with gradient.
        parts: named scalars for the journal, already weighted where they add up to `total`; the first
            part that is not finite names the cause when a run stops. They may carry gradient; the loop
            detaches them.
    """

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})
