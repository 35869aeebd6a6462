"""From words on a command line to the flags of a command; no torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import tyro

from barlow.flags import Pretrain, check_resume
from barlow.recipes import recipe_for, with_numbers

Flags = TypeVar("Flags")


def parse(flags: type[Flags], arguments: Sequence[str], default: Flags | None = None) -> Flags:
    """Return the flags of one command; prints help or the mistake and exits by itself."""
    prog = f"barlow {flags.__name__.lower()}"
    if default is None:
        return tyro.cli(flags, args=list(arguments), prog=prog)
    return tyro.cli(flags, args=list(arguments), prog=prog, default=default)


def parse_pretrain(arguments: Sequence[str]) -> Pretrain:
    """Return the flags of `pretrain`, its numbers complete: those of the recipe, and what was typed.

    Raises:
        ValueError: no such recipe; flags beside --resume that it would leave aside.
    """
    flags = parse(Pretrain, [word for word in arguments if word not in ("-h", "--help")])
    # Once more with the numbers of the recipe as defaults: only what was typed differs from it, and help shows them.
    # But not its options: a dict with defaults would be other flags (--options.temperature) than one without.
    made_for = recipe_for(flags.recipe or None, flags.data)
    flags = parse(Pretrain, arguments, replace(flags, numbers=replace(made_for, options={})))
    flags = replace(flags, numbers=with_numbers(flags.numbers, {"options": made_for.options | flags.numbers.options}))
    check_resume(flags, made_for)
    return flags
