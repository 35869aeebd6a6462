"""How a name that does not exist is refused, everywhere in the same words."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(argument: str, got: object, choices: Iterable[str]) -> ValueError:
    """Return the error for a name that is none of the choices: the argument, what came, what was wanted, the nearest.

    Args:
        argument: as the caller calls it.
        got: what came.
        choices: the valid names.
    """
    names = list(choices)
    return ValueError(f"{argument}: got {got!r}, wanted one of {', '.join(names)}{did_you_mean(got, names)}")


def did_you_mean(got: object, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the choices, nothing where none is near.

    Args:
        got: what came.
        choices: the valid names.
    """
    near = get_close_matches(str(got), list(choices), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
