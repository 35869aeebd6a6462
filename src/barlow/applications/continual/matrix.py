"""The figures of a sequence, from the matrix R of every stage on every data set: numbers in, numbers out.

R[j][i] is a figure of data set i after stage j, both from 0; R0[i] that of the untrained network. Of a loss less is
better, of an accuracy more; every figure here is a difference of R as it is, so the sign of good turns with it, but for
`forgetting`, which is positive where something was lost.

Source: Lopez-Paz & Ranzato 2017 (average, BWT, FWT); Chaudhry et al. 2018 (forgetting).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

Matrix = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Transfer:
    """What a matrix R of k stages says; None where there is no figure for it.

    Attributes:
        average: mean over i of R[k][i], at the end.
        backward: BWT, mean over i < k of R[k][i] - R[i][i].
        forward: FWT, mean over i > 1 of R[i - 1][i] - R0[i].
        forgetting: mean over i < k of how far R[k][i] is behind the best of stages i ... k - 1.
    """

    average: float | None
    backward: float | None
    forward: float | None
    forgetting: float | None

    def as_json(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


def transfer(matrix: Matrix, untrained: Sequence[float | None] = (), *, more_is_better: bool) -> Transfer:
    """Return average, backward and forward transfer and forgetting of a matrix R, k stages by k data sets."""
    last = len(matrix) - 1
    sign = 1.0 if more_is_better else -1.0
    backward, forward, lost = [], [], []
    for i in range(last):
        found = [row[i] for row in matrix[i:]]
        known = [value for value in found if value is not None]
        if len(known) == len(found):
            backward.append(known[-1] - known[0])
            lost.append(max(sign * (value - known[-1]) for value in known[:-1]))
    for i in range(1, last + 1):
        before, start = matrix[i - 1][i], untrained[i] if i < len(untrained) else None
        if before is not None and start is not None:
            forward.append(before - start)
    return Transfer(
        _mean([value for value in matrix[last] if value is not None]), *map(_mean, (backward, forward, lost))
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
