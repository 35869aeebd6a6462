"""What a run was given: names and paths, which its folder can hold, and objects, which only the caller has."""

from pathlib import Path
from typing import Any


def path_of(given: Any) -> str:
    """Return a name or path as it was typed, empty for an object or nothing."""
    return str(given) if _is_name(given) else ""


def objects_among(**given: Any) -> dict[str, str]:
    """Return the class of each argument that is an object: argument -> name of the class."""
    return {name: type(one).__name__ for name, one in given.items() if one is not None and not _is_name(one)}


def _is_name(given: Any) -> bool:
    return isinstance(given, (str, Path))
