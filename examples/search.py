"""A search over recipes that can be killed and called again: every run has a folder, and finished ones are read.

python examples/search.py photos/ runs/search                  all of GRID
python examples/search.py photos/ runs/search --optuna 20      20 trials of Optuna (pip install optuna)
"""

import sys
from pathlib import Path
from typing import Any

import barlow

GRID: list[dict[str, Any]] = [
    {"learning_rate": rate, "redundancy_weight": weight} for rate in (1e-3, 3e-3) for weight in (0.005, 0.02)
]


def score_of(data: Any, out: Path, numbers: dict[str, Any], **more: Any) -> float:
    """Pretrain, or go on with it, or read what it came to: the same call does whatever is left to do."""
    name = "-".join(f"{key}={value:.3g}" for key, value in sorted(numbers.items()))
    run = barlow.pretrain(data, out=out / name, machine=barlow.Machine(quiet=True), **{"epochs": 5, **numbers, **more})
    rows = run.summary["evaluation"].get("rows")
    return float(rows[0]["knn"] if rows else run.summary["label_free"]["mean_correlation"])


def grid(data: Any, out: Path, **more: Any) -> list[tuple[float, dict[str, Any]]]:
    return sorted([(score_of(data, out, numbers, **more), numbers) for numbers in GRID], key=lambda pair: -pair[0])


def with_optuna(data: Any, out: Path, trials: int, **more: Any) -> Any:
    """Trials live in a file beside the runs, so that a study goes on; one that was cut short is tried again first."""
    import optuna

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
        weight = trial.suggest_float("redundancy_weight", 1e-3, 0.1, log=True)
        return score_of(data, out, {"learning_rate": rate, "redundancy_weight": weight}, **more)

    out.mkdir(parents=True, exist_ok=True)
    kept = f"sqlite:///{out}/optuna.db"
    study = optuna.create_study(study_name="barlow", direction="maximize", storage=kept, load_if_exists=True)
    for cut in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(cut.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(cut.params)  # the same numbers, so the same folder: its run goes on
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    study.optimize(objective, n_trials=max(0, trials - done))
    return study


if __name__ == "__main__":
    place, folder = sys.argv[1], Path(sys.argv[2])
    if "--optuna" in sys.argv:
        print(with_optuna(place, folder, int(sys.argv[-1])).best_params)
    else:
        for score, numbers in grid(place, folder):
            print(f"{score:.3f}  {numbers}")
