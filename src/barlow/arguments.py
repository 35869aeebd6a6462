"""What a user gives for a field is held to the field's annotation, once, where it comes in."""

import ast
import inspect
import textwrap
from dataclasses import fields
from itertools import pairwise
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from barlow.errors import unknown

KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a word"),
    type(None): ((type(None),), "None"),
}
"""Annotation -> the types that do, and how to say so. A bool is a number to Python, not to a user."""
SCALARS = (bool, int, float, str, type(None))
"""What a dictionary of options may hold, for it is written to JSON."""


def check_fields(instance: Any) -> None:
    """Hold every field of a frozen dataclass to its annotation; for `__post_init__`.

    NumPy's numbers become Python's, which JSON and checkpoints can hold. ValueError: the name of the field, what came,
    and what is wanted.
    """
    hints = _hints(type(instance))
    for name, hint in hints.items():
        given = getattr(instance, name)
        kept = checked(name, given, hint)
        if kept is not given:
            object.__setattr__(instance, name, kept)


def checked(argument: str, value: Any, annotation: Any) -> Any:
    """Return a value that its annotation allows; ValueError where it does not.

    Known are those of `KINDS`, choices between them, `Literal`, and dictionaries of options; any other passes.
    """
    value = _plain(value)
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            raise unknown(argument, value, get_args(annotation))
        return value
    if get_origin(annotation) is dict and get_args(annotation)[1] is not Any:
        return _options(argument, value)
    asked = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if any(kind not in KINDS for kind in asked) or any(_is(value, kind) for kind in asked):
        return value
    wanted = dict.fromkeys(KINDS[kind][1] for kind in asked if not (kind is int and float in asked))
    raise ValueError(f"{argument}: got {value!r}, wanted {' or '.join(wanted)}")


def described(kind: type) -> list[str]:
    """Return "name: type = default" and the string under each field of a dataclass, a line each, for help pages."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except OSError:  # installed without its source
        return [f"{field.name}: default {field.default!r}" for field in fields(kind)]
    lines = []
    for node, after in pairwise(getattr(body, "body", [])):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr):
            text = " ".join(str(ast.literal_eval(after.value)).split())
            lines.append(f"{ast.unparse(node)}: {text}".replace("field(default_factory=dict)", "{}"))
    return lines


def _options(argument: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{argument}: got {given!r}, wanted numbers and words by name, such as {{'temperature': 0.2}}")
    values = {name: _plain(value) for name, value in given.items()}
    for name, value in values.items():
        if not isinstance(value, SCALARS):
            raise ValueError(
                f"{name}: got a {type(value).__name__}, wanted a number or a word, for recipe.json holds it"
            )
    return values


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))


def _plain(value: Any) -> Any:
    """A number of NumPy as Python's; told by its module, so that NumPy is not loaded for it."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 else value


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(kind: type) -> dict[str, Any]:
    """Annotations by field, told once for each class."""
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind)
    return _HINTS[kind]
