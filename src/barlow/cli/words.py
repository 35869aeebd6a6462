"""The flags of a command as a list: what help prints and shells complete, from the dataclass that tyro reads.

The string under each field is its help; inside a class it is found by its place in the source.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

TAKES = {int: "N", float: "X", str: "WORD", Path: "PATH"}
"""What stands behind a flag, by its type."""


@dataclass(frozen=True)
class Flag:
    """One flag, or one word without a name.

    Attributes:
        field: name of the field.
        name: as it is typed, "--batch-size"; in capitals where it goes without: "DATA".
        takes: what stands behind it: "N", "WORD", "PATH", "NAME VALUE ..."; "" for a switch.
        choices: the words that it takes, () for any.
        default: its value where it is not typed, MISSING where it has to be.
        says: its help.
        home: name of the dataclass that has it.
    """

    field: str
    name: str
    takes: str
    choices: tuple[str, ...]
    default: Any
    says: str
    home: str

    @property
    def is_switch(self) -> bool:
        """Whether nothing stands behind it; then there is a --no- one as well."""
        return self.name.startswith("--") and not self.takes


def flags_of(kind: type, default: Any = MISSING) -> list[Flag]:
    """Return the flags of a dataclass, those of the dataclasses in it behind them, with the values of `default`."""
    return list(_flags(kind, default))


def _flags(kind: type, default: Any) -> Iterator[Flag]:
    hints, helps = get_type_hints(kind, include_extras=True), _helps(kind)
    for one in fields(kind):
        value = _default(one) if default is MISSING else getattr(default, one.name)
        plain, metadata = _opened(hints[one.name])
        if isinstance(plain, type) and is_dataclass(plain):
            yield from _flags(plain, plain() if value is MISSING else value)
            continue
        takes, choices = _takes(plain)
        named = next((found for mark in metadata if (found := getattr(mark, "name", None))), one.name)
        without = any(mark is tyro.conf.Positional for mark in metadata)
        name = one.name.upper() if without else f"--{named.replace('_', '-')}"
        yield Flag(one.name, name, takes, choices, value, helps.get(one.name, ""), kind.__name__)


def _default(one: Any) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _opened(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and its annotations: `Annotated[int, ...]` is (int, (...))."""
    if get_origin(hint) is Annotated:
        plain, *metadata = get_args(hint)
        return plain, tuple(metadata)
    return hint, ()


def _takes(hint: Any) -> tuple[str, tuple[str, ...]]:
    """What stands behind a flag of this type, and the words that it may be."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is bool:
        return "", ()
    if origin is Literal:
        return "WORD", tuple(map(str, inside))
    if origin in (Union, types.UnionType):
        found = [_takes(one) for one in inside if one is not type(None)]
        kinds = [takes for takes, _ in found]
        return "X" if set(kinds) == {"N", "X"} else kinds[0], found[0][1]
    if origin is dict:
        return "NAME VALUE ...", ()
    if origin is tuple:
        takes, choices = _takes(inside[0])
        return f"{takes} ...", choices
    return TAKES.get(hint, "WORD"), ()


@cache
def _helps(kind: type) -> dict[str, str]:
    """Field -> the string under it, also of the classes that a class is made from."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        if not is_dataclass(one):
            continue
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(made, ast.ClassDef)
        for before, after in zip(made.body, made.body[1:], strict=False):
            said = after.value if isinstance(after, ast.Expr) else None
            if isinstance(before, ast.AnnAssign) and isinstance(said, ast.Constant):
                found[ast.unparse(before.target)] = " ".join(str(said.value).split())
    return found
