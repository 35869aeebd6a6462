"""Formulas of plain text, set: what is a formula changes, and what only looks like one does not."""

import re

import pytest

from barlow.report.formulas import formula


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("lambda D(D-1)/(N-1) + sum (1-rho^2)^2/N", "λ D(D−1)/(N−1) + Σ (1−ρ<sup>2</sup>)<sup>2</sup>/N"),
        ("(1/N) sum w_ij Var(z_i^A)", "(1/N) Σ w<sub>ij</sub> Var(z<sub>i</sub><sup>A</sup>)"),
        ("|C - C^T| falls as 1/sqrt(N-1), exponent -0.5", "|C − C<sup>T</sup>| falls as 1/√(N−1), exponent −0.5"),
        ("L*_P(h), N >= 32", "L*<sub>P</sub>(h), N ≥ 32"),
        ("9.626/8.471/7.908", "9.626/<wbr>8.471/<wbr>7.908"),
    ],
)
def test_formulas_are_set(said: str, shown: str) -> None:
    assert formula(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "barlow_twins and redundancy_weight, gaussian-seed0, hal-03710445, Fashion-MNIST, 1e-25",
        "one sum but for the diagonals, the sum of squares, a rhombus, 512-512",
    ],
)
def test_words_that_look_like_formulas_stay(said: str) -> None:
    assert formula(said) == said


def test_markup_in_a_text_stays_text() -> None:
    assert re.findall("<[^>]+>", formula("<b>N_i</b> < 3 & D^2")) == ["<sub>", "</sub>", "<sup>", "</sup>"]
