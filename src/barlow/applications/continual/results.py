"""What came of a sequence as plain numbers: matrices, what they say, and what stands beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from barlow.applications.continual.matrix import Matrix, transfer
from barlow.applications.continual.measure import Figures

KINDS = {"loss": False, "own_statistics": False, "probe": True}
"""Kinds of figures -> whether more is better."""


def results_of(
    domains: Sequence[str], arms: Mapping[str, Sequence[Figures]], singles: Mapping[str, Figures], untrained: Figures
) -> dict[str, Any]:
    """Return what `results.json` holds.

    Args:
        domains: names in the order of the stages.
        arms: ways of keeping -> the figures after each stage; the first one is what was asked.
        singles: networks trained otherwise, by name, with their figures.
        untrained: those of the network before the first step.

    Returns:
        "domains", "arms": for each its "matrices" by kind (rows stages, columns data sets, null where there is none),
        "transfer" by kind, "kept" (loss of each data set at the end over that at the end of its stage, with its
        statistics), "kept_as_it_is" (the same, BatchNorm having those of the last stage) and "drift"; "singles" and
        "untrained" as rows by kind.
    """
    rows = {name: _rows(figures, domains) for name, figures in singles.items()}
    start = _rows(untrained, domains)
    return {
        "domains": list(domains),
        "arms": {name: _arm(figures, domains, start) for name, figures in arms.items()},
        "singles": rows,
        "untrained": start,
    }


def _arm(stages: Sequence[Figures], domains: Sequence[str], untrained: Mapping[str, Any]) -> dict[str, Any]:
    rows = [_rows(figures, domains) for figures in stages]
    matrices: dict[str, Matrix] = {kind: [row[kind] for row in rows] for kind in KINDS}
    matrices = {kind: matrix for kind, matrix in matrices.items() if any(v is not None for row in matrix for v in row)}
    complete = len(stages) == len(domains)
    found = {
        kind: transfer(matrix, untrained[kind], more_is_better=KINDS[kind]).as_json()
        for kind, matrix in matrices.items()
        if complete
    }
    return {
        "matrices": matrices,
        "transfer": found,
        "kept": _kept(matrices.get("own_statistics", [])),
        "kept_as_it_is": _kept(matrices.get("loss", [])),
        "drift": [[row.get("drift", {}).get(name) for name in domains] for row in stages],
        "probe_deviation": [[(row.get("probe", {}).get(name) or {}).get("std") for name in domains] for row in stages],
    }


def _kept(matrix: Matrix) -> list[float | None]:
    """The last row over the diagonal."""
    ends = [(row[i], matrix[-1][i]) for i, row in enumerate(matrix)]
    return [end / begin if begin and end is not None else None for begin, end in ends]


def _rows(figures: Figures, domains: Sequence[str]) -> dict[str, list[float | None]]:
    """A row for each kind of figure, in the order of the data sets."""
    found: dict[str, list[float | None]] = {}
    for kind in KINDS:
        values = [figures.get(kind, {}).get(name) for name in domains]
        found[kind] = [value["mean"] if isinstance(value, Mapping) else value for value in values]
    found["majority"] = [(figures.get("probe", {}).get(name) or {}).get("majority") for name in domains]
    return found
