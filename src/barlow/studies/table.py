"""The studies by name, each with the line that lists it. No torch until one is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barlow.studies.study import Study


@dataclass(frozen=True)
class Listed:
    """A study in the list.

    Attributes:
        line: what it asks, in one line.
        load: imports and returns it.
    """

    line: str
    load: Callable[[], "Study"]


STUDIES: dict[str, Listed] = {}
