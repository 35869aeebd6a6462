"""Formulas as studies write them in plain text, set as a page shows them: Greek, signs, indices below, powers above."""

import re
from collections.abc import Callable

from barlow.formats import text

GREEK = {"lambda": "λ", "rho": "ρ"}
SIGNS = {"&gt;=": "≥", "&lt;=": "≤", "!=": "≠", "sqrt(": "√(", " - ": " − "}
RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(?<!\w)(lambda|rho)(?![A-Za-z])", lambda m: GREEK[m[1]]),
    (r"\bsum (?=[(|ρ]|[A-Za-z]_)", lambda m: "Σ "),
    (r"(?<!\w)([A-Za-zρ]\*?)_([a-zP]{1,2})(?![A-Za-z])", lambda m: f"{m[1]}<sub>{m[2]}</sub>"),
    (r"(?<=[\w)|>])\^(-?\w+)", lambda m: f"<sup>{m[1]}</sup>"),
    (r"(?<=[A-Z\d)])-(?=[A-Z\dρ]\b)|(?<![\w)&])-(?=\d)", lambda m: "−"),
    (r"(?<=\d)/(?=\d+\.?\d)", lambda m: "/<wbr>"),
)
"""In their order: letters, sums before what is summed, an index of one or two letters on one letter, powers, minus
between and before numbers, and rows of numbers that may break at their strokes."""


def formula(said: str) -> str:
    """Return the markup of a text with formulas; words with an underscore stay as they are.

    >>> formula("(1 - rho_i^2)/(N-1), N >= 32, not redundancy_weight")
    '(1 − ρ<sub>i</sub><sup>2</sup>)/(N−1), N ≥ 32, not redundancy_weight'
    """
    made = text(said)
    for sign, shown in SIGNS.items():
        made = made.replace(sign, shown)
    for pattern, replacement in RULES:
        made = re.sub(pattern, replacement, made)
    return made
