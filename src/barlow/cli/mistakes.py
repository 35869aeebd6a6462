"""A mistake in what was typed, in one line: tyro says it in a box, which is read here and said again in our words."""

import re
from collections.abc import Sequence
from dataclasses import MISSING

from barlow.cli.words import Flag
from barlow.errors import did_you_mean

RULE = "\0"
WANTED = {"N": "a whole number", "X": "a number", "WORD": "a word", "PATH": "a path"}
"""What a flag wants, by what stands behind it; others are told by their help."""


def usage(command: str, flags: Sequence[Flag]) -> str:
    """Return how a command is typed: what may be left out in brackets, flags only where they have to be there."""
    words = [flag.name if flag.default is MISSING else f"[{flag.name}]" for flag in flags if not _is_named(flag)]
    needed = [f"{flag.name} {flag.takes}" for flag in flags if _is_named(flag) and flag.default is MISSING]
    return " ".join(["barlow", command, *words, *needed])


def mistake(command: str, flags: Sequence[Flag], box: str) -> ValueError:
    """Return the error for what tyro refused: the argument as typed, what came, what is wanted, the nearest name.

    Args:
        command: name of the command.
        flags: all that it takes.
        box: what tyro printed, of whatever width. A sentence that is not known is given as it is, without its frame.
    """
    # A title, a line of the frame (in one row, or in ASCII in two), what is said, another line, advice.
    rows = [RULE if re.search("[-─]{4}", row) else row.strip(" │|") for row in box.splitlines()]
    said = [*" ".join(rows).split(RULE, 2), ""][1].strip() or " ".join(box.split())
    if "Missing from" in said:
        # One of several is missing, and tyro names types: each in the words of its help says which.
        missing = [flag for flag in flags if flag.default is MISSING and flag.says[:12] in said] or flags[:1]
        wanted = "; ".join(f"{flag.name}: {flag.says.rstrip('.')}" for flag in missing)
        return ValueError(f"wanted {usage(command, flags)}; missing is {wanted}")
    if found := re.search(r"Unrecognized options: (.*)", said):
        return _not_known(command, flags, found[1].split(", "))
    if found := re.search(r"[Ii]nvalid choice '(.*?)' for argument '(.*?)'", said):
        return _unfit(flags, found[2], repr(found[1]))
    if found := re.search(r"Missing value for argument '(.*?)'", said):
        return _unfit(flags, found[1], "nothing")
    if found := re.search(r"Error parsing (\S+?): (?:.*? instantiated from \[(.*?)\]|.*: ('.*?')$)", said):
        return _unfit(flags, found[1], found[2] or found[3])
    return ValueError(said)


def _is_named(flag: Flag) -> bool:
    return flag.name.startswith("--")


def _not_known(command: str, flags: Sequence[Flag], words: Sequence[str]) -> ValueError:
    typed = next((word for word in words if word.startswith("-")), "")
    if not typed:
        return ValueError(f"got {', '.join(map(repr, words))} too many, wanted {usage(command, flags)}")
    names = [flag.name for flag in flags if _is_named(flag)]
    # Without dashes: two short names would be alike by these alone.
    near = did_you_mean(typed.partition("=")[0].strip("-"), [name.strip("-") for name in names]).replace("'", "'--", 1)
    return ValueError(f"{typed}: no flag of barlow {command}{near or f'; barlow {command} --help lists them'}")


def _unfit(flags: Sequence[Flag], name: str, got: str) -> ValueError:
    """The error for a value that a flag, or a word without a name, does not take."""
    flag = next((one for one in flags if name in (one.name, one.name.lower())), None)
    if flag is None:
        return ValueError(f"{name}: got {got}, wanted something else")
    wanted = (
        f"one of {', '.join(flag.choices)}" if flag.choices else WANTED.get(flag.takes, f"what it takes: {flag.says}")
    )
    return ValueError(f"{name}: got {got}, wanted {wanted}{did_you_mean(got.strip(chr(39)), flag.choices)}")
