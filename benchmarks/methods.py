"""All methods for the same wall time, beside lightly's Barlow Twins: three seeds, one backbone, the same probes.

    python benchmarks/methods.py --data-root ../shared/data --minutes 5         needs: pip install lightly

Ours are the small recipes, through `compare_recipes`: as many steps as fit into --minutes, with the figures taken in
between.
Lightly's Barlow Twins (BYOL transforms without blur, as its example for small pictures; head 2048-2048-2048; its loss)
runs twice on the backbone of our recipe, in a process of its own for each seed:

  lightly, its loop            its documented loop: batch 256, SGD with lr 0.06, two loader workers
  lightly, our optimizer       the same transforms, head and loss in our loop: batch, AdamW, warm-up and cosine of our
                               recipe, precision of the machine

Time is met by calibration: before anything is trained, what a step costs each arm is measured with the machine to
itself, all arms by turns, the fastest of five measurements for each (costs.json). Every schedule is complete. So a
machine that is busy later changes nobody's share; the figures that ours take in between are to nobody's harm but ours.

Every arm is evaluated by the same functions on the test split; hyper-parameters of the probes are chosen on training
data. Results are kept in benchmarks/runs/methods/<arm>-<seed>.json and our runs beside them, so the same command goes
on where it stopped; all of them together in results.json. Seeds take turns: no arm has the quiet hours for itself.

    python benchmarks/methods.py --results benchmarks/methods.json              print the tables of kept results
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from leads import lead
from lightly_rival import LOOPS, rival, rival_calibration

from barlow.files import read_json, write_json
from barlow.methods.table import METHODS
from barlow.recipes import RECIPES, Recipe, recipe_for
from barlow.runs.compare import compare_recipes
from barlow.runs.timing import Calibration, calibrate_apart, calibrate_in_turns

TURNS, SECONDS = 5, 4.0
"""Measurements of each arm, and about how long the steps of one take; three left equal arms a fifth apart."""
Found = TypeVar("Found")
COLUMNS = {"few_labels": "10 labels per class", "linear": "linear, all labels", "knn": "kNN"}


def costs_of(flags: argparse.Namespace, methods: Sequence[str]) -> dict[str, Calibration]:
    """Return what a step of every arm costs, from the file or measured now, by turns, before anything is trained."""
    path = flags.out / "costs.json"
    rivals = [] if flags.no_lightly else list(LOOPS)
    if not path.exists():
        measures: dict[str, Callable[[], Calibration]] = {
            name: partial(calibrate_apart, recipe_for(name, flags.data), flags.data, flags.data_root, seconds=SECONDS)
            for name in methods
        }
        measures |= {arm: partial(apart, rival_calibration, arm, flags.data, flags.data_root) for arm in rivals}
        found, refused = calibrate_in_turns(measures, turns=TURNS, said=partial(print, flush=True))
        if refused:
            raise SystemExit(f"cannot run: {refused}")
        write_json(path, {"data": flags.data, "arms": {arm: asdict(cost) for arm, cost in found.items()}})
    kept = read_json(path)
    if kept["data"] != flags.data or not {*methods, *rivals} <= kept["arms"].keys():
        raise SystemExit(f"{path} is of other data or other arms; choose another --out")
    return {arm: Calibration(**cost) for arm, cost in kept["arms"].items()}


def results_of_ours(
    flags: argparse.Namespace, methods: Sequence[str], seeds: Sequence[int], costs: Mapping[str, Calibration]
) -> list[dict[str, Any]]:
    """Train what is missing of our recipes, and return one result per row and seed."""
    found = compare_recipes(
        flags.data, methods, seeds=seeds, minutes=flags.minutes, out=flags.out / "ours", data_root=flags.data_root,
        calibrate=lambda recipe, *_: costs[recipe.method],
    )  # fmt: skip
    if not found.finished:
        raise SystemExit("stopped; the same command goes on")
    plan = read_json(found.folder / "plan.json")["arms"]
    results = []
    for row in found.table["rows"]:
        figures = {name: row[name]["values"] for name in (*COLUMNS, "seconds", "effective_rank") if name in row}
        for place, seed in enumerate(row["seeds"]):
            one: dict[str, Any] = {name: values[place] for name, values in figures.items()}
            one |= {name: row[name] for name in ("images", "epochs", "peak_memory") if name in row}
            if row["name"] in plan:
                cost = Calibration(**plan[row["name"]]["calibration"])
                one["planned_seconds"] = row["epochs"] * cost.steps_per_epoch * cost.seconds_per_step
            results.append({"arm": row["name"], "seed": seed, **one})
    return results


def results_of_rivals(flags: argparse.Namespace, seed: int, costs: Mapping[str, Calibration]) -> list[dict[str, Any]]:
    """Return the result of each rival, from its file or from a fresh process."""
    results = []
    for arm in LOOPS:
        cost = costs[arm]
        path = flags.out / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}.json"
        steps = max(1, int(60 * flags.minutes / cost.seconds_per_step))
        if not path.exists():
            print(f"{arm}, seed {seed}: {steps} steps", flush=True)
            found = apart(rival, arm, flags.data, flags.data_root, seed, steps)
            about = {"arm": arm, "seed": seed, "images": found["steps"] * cost.batch_size}
            planned = {"planned_seconds": found["steps"] * cost.seconds_per_step, "peak_memory": cost.peak_memory}
            write_json(path, {**about, **planned, **found})
        results.append(read_json(path))
    return results


def apart(function: Callable[..., Found], *arguments: Any) -> Found:
    """Call in a process of its own, so that nobody inherits another's threads, caches or memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print mean and standard deviation over seeds, best few-label accuracy first."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        arms.setdefault(result["arm"], []).append(result)
    ranked = sorted(arms.items(), key=lambda arm: -statistics.fmean(one["few_labels"] for one in arm[1]))
    print(f"\n| arm | seeds | {' | '.join(COLUMNS.values())} | images | minutes planned | peak MiB | effective rank |")
    print(f"|---|--:|{'--:|' * (len(COLUMNS) + 4)}")
    for arm, ones in ranked:
        cells = [_spread([one[name] for one in ones], 100, 1) for name in COLUMNS]
        cells += [_spread([one["images"] for one in ones if "images" in one], 1, 0, spread=False)]
        cells += [
            _spread([one["planned_seconds"] for one in ones if "planned_seconds" in one], 1 / 60, 2, spread=False)
        ]
        cells += [_spread([one["peak_memory"] for one in ones if "peak_memory" in one], 2**-20, 0, spread=False)]
        cells += [_spread([one["effective_rank"] for one in ones if "effective_rank" in one], 1, 1)]
        print(f"| {arm} | {len(ones)} | {' | '.join(cells)} |")


def print_leads(results: Sequence[dict[str, Any]], data: str) -> None:
    """Print by how many points each of ours is above others, paired by seed, with intervals of 95% (`leads.py`).

    Others: the better of lightly's two (by the mean of the same figure), our Barlow Twins, its own network untrained,
    and raw pixels.
    """
    arms = dict.fromkeys(result["arm"] for result in results)
    trained = {result["arm"] for result in results if "images" in result}
    ours, rivals = [arm for arm in arms if arm in trained - set(LOOPS)], [arm for arm in arms if arm in LOOPS]
    for figure, title in COLUMNS.items():
        mean = {arm: statistics.fmean(one[figure] for one in results if one["arm"] == arm) for arm in arms}
        better = max(rivals, key=mean.__getitem__, default="")
        seeds = len({result["seed"] for result in results})
        print(f"\nPoints ahead, {title}, {seeds} seeds: mean difference (95% interval)\n")
        print(f"| arm | of {better or 'lightly'} | of barlow_twins | of its network untrained | of raw pixels |")
        print(f"|---|{'--:|' * 4}")
        for arm in sorted(ours, key=lambda arm: -mean[arm]):
            others = (
                better,
                "" if arm == "barlow_twins" else "barlow_twins",
                _untrained(arm, arms, data),
                "raw pixels",
            )
            print(f"| {arm} | {' | '.join(str(lead(results, arm, other, figure) or '') for other in others)} |")


def _untrained(arm: str, arms: Iterable[str], data: str) -> str:
    """Return the arm that is the untrained network of this one, told by its width."""
    width = f" w{recipe_for(arm, data).width},"
    return next((other for other in arms if other.startswith("untrained") and width in other), "")


def _spread(values: Sequence[float], factor: float, digits: int, *, spread: bool = True) -> str:
    if not values:
        return ""
    mean = f"{factor * statistics.fmean(values):,.{digits}f}"
    return f"{mean} ± {factor * statistics.stdev(values):.{digits}f}" if spread and len(values) > 1 else mean


def main() -> None:
    """Train what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="fashion-mnist")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--methods", nargs="+", default=None, help="default: all that have a recipe for the data")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-lightly", action="store_true", help="ours only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "methods")
    parser.add_argument("--results", type=Path, default=None, help="print the tables of this file and train nothing")
    flags = parser.parse_args()
    if flags.results is not None:
        kept = read_json(flags.results)["results"]
        print_table(kept)
        print_leads(kept, flags.data)
        return
    made_for = recipe_for(None, flags.data)
    has_recipe = partial(_has_recipe, data=flags.data, made_for=made_for)
    methods = flags.methods or [name for name in METHODS if has_recipe(name)]
    costs = costs_of(flags, methods)
    rivals: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for seed in range(flags.seeds):
        ours = results_of_ours(flags, methods, list(range(seed + 1)), costs)
        rivals += [] if flags.no_lightly else results_of_rivals(flags, seed, costs)
    write_json(flags.out / "results.json", {"minutes": flags.minutes, "results": ours + rivals})
    print_table(ours + rivals)
    print_leads(ours + rivals, flags.data)


def _has_recipe(method: str, *, data: str, made_for: Recipe) -> bool:
    return method == made_for.method or f"{method}-{made_for.name}" in RECIPES


if __name__ == "__main__":
    main()
