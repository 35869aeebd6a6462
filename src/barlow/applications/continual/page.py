"""The page of a sequence: curves of every data set over all stages first, then the matrices and what they say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from barlow.files import read_json
from barlow.formats import count, number
from barlow.report.run_folder import read_run
from barlow.report.study_page import Conclusion, Curve, Plot, StudyRecord, Table, write_study_page
from barlow.runs.folder import versions

OWN_STATISTICS = "BatchNorm sees the data as it did at the end of their stage"
WAYS = {
    "none": "nothing kept",
    "ewc": "EWC",
    "distill": "distillation",
    "replay": "replay",
}
AS_IT_IS = ("replay",)
"""Ways under which BatchNorm goes on seeing earlier data, so that its last statistics are theirs too."""
KIND_TITLES = {
    "own_statistics": "held-out loss, with the BatchNorm statistics of each data set",
    "loss": "held-out loss, network as it is",
    "probe": "few-label accuracy",
}
READINGS = {
    "own_statistics": "Rows are stages, columns data sets; less is better. A data set has statistics of its own from "
    "the end of its stage on.",
    "loss": "Rows are stages, columns data sets; less is better. BatchNorm has the running statistics of the last "
    "stage, so what is seen here of forgetting is partly theirs. With replay they are of old samples too: read this.",
    "probe": "Rows are stages, columns data sets with labels; more is better. Differences within the deviation over "
    "the draws of labels say nothing.",
}


def write_sequence_page(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write `sequence.html` of a sequence from its results and the journals of its runs."""
    asked = read_json(folder / "sequence.json")
    names = results["domains"]
    keep = next(iter(results["arms"]))
    parts: list[Table | Plot] = [
        *_curves(folder, results, keep),
        *_beside(results),
        *(table for kind in KIND_TITLES for table in _matrices(results, kind)),
        *_transfers(results),
    ]
    settings = {
        "keep": ", ".join(
            f"{key.removeprefix('keep.')} {value}" for key, value in asked.items() if key.startswith("keep.")
        ),
        "recipe": asked.get("recipe.name", ""),
        "epochs of a stage": str(asked.get("recipe.epochs", "")),
        **{
            f"data set {place}": f"{one['name']}: {one['train']} samples, {one['held_out']} held out"
            for place, one in enumerate(asked["domains"], 1)
        },
    }
    seconds = {path.parent.name: read_run(path.parent, arrays=False).seconds_of_training() for path in _runs(folder)}
    record = StudyRecord(_command(asked, keep, folder), settings, versions(), seconds)
    title = f"One network, {count(len(names), 'data set')} one after another: {', '.join(names)}"
    statement = " ".join(sentences(results))
    return write_study_page(folder / "sequence.html", title, statement, Conclusion((), parts), record)


def sentences(results: Mapping[str, Any]) -> list[str]:
    """Say what was lost of the first data sets, what it cost the last one, and what that is to be held against."""
    names, arms = results["domains"], results["arms"]
    keep = next(iter(arms))
    arm, bare = arms[keep], arms.get("none")
    done = len(arm["drift"])
    if done < len(names):
        return [f"{done} of {count(len(names), 'stage')} finished; the same command goes on."]
    said = []
    losses, ends = _by_its_statistics(arm, keep)
    bare_ends = _by_its_statistics(bare, "none")[1] if bare and keep != "none" else []
    for place, name in enumerate(names[:-1]):
        loss = losses[place] if losses else None
        if loss is None or ends[place] is None:
            continue
        line = f"{name}: the held-out loss is {number(loss)} at the end, {ends[place]:.2f} times what it was "
        line += f"after its own stage, with {WAYS[keep]}"
        if bare_ends and bare_ends[place] is not None:
            line += f", and {bare_ends[place]:.2f} times with nothing kept"
        said.append(f"{line}.")
    last = arm["matrices"]["loss"][-1][-1]
    line = f"{names[-1]}, the last one: the loss is {number(last)}"
    if bare and keep != "none" and (other := bare["matrices"]["loss"][-1][-1]):
        line += f", {last / other:.2f} times that of the sequence with nothing kept: the price"
    said.append(f"{line}.")
    said += _silent_probes(results, arm)
    said.append("Losses are those of the method on fixed pairs of views of held-out samples; less is better.")
    return said


def _by_its_statistics(arm: Mapping[str, Any], way: str) -> tuple[list[float | None], list[float | None]]:
    """The losses at the end, and as multiples of those after their stages, with the statistics that suit a way."""
    matrices = arm["matrices"]
    if way in AS_IT_IS or "own_statistics" not in matrices:
        return (matrices["loss"][-1] if "loss" in matrices else []), arm["kept_as_it_is"]
    return matrices["own_statistics"][-1], arm["kept"]


def _silent_probes(results: Mapping[str, Any], arm: Mapping[str, Any]) -> list[str]:
    """Name the data sets whose few-label probe tells no more than their largest class."""
    if "probe" not in arm["matrices"]:
        return []
    names = [
        name
        for name, mean, deviation, majority in zip(
            results["domains"],
            arm["matrices"]["probe"][-1],
            arm["probe_deviation"][-1],
            results["untrained"]["majority"],
            strict=True,
        )
        if mean is not None and majority is not None and mean - (deviation or 0.0) <= majority
    ]
    what = "does not tell more than always naming the largest class, within its noise"
    return [f"The few-label probe on {' and '.join(names)} {what}."] if names else []


def _curves(folder: Path, results: Mapping[str, Any], keep: str) -> list[Plot]:
    """One plot a data set: its loss over the epochs of all stages, from the untrained network on."""
    names, found = results["domains"], []
    stages = [folder / "stages" / f"{place}-{name}" for place, name in enumerate(names, 1)]
    none = [stages[0], *(folder / "baselines" / f"none-{n}-{name}" for n, name in enumerate(names[1:], 2))]
    ways = [(WAYS[keep], stages, "c1", "c2")]
    if "none" in results["arms"] and keep != "none":
        ways.append((WAYS["none"], none, "c3", "c4"))
    for place, name in enumerate(names):
        curves = []
        for way, runs, own_color, color in ways:
            as_it_is = _points(runs, f"loss: {name}")
            own = _points(runs, f"own_statistics: {name}")
            ended = [pair for pair in as_it_is if own and pair[0] < own[0][0]][-1:]
            start = results["untrained"]["loss"][place]
            curves.append(_curve(f"{way}, own statistics", ended + own, own_color))
            curves.append(_curve(f"{way}, as it is", [*([] if start is None else [(0.0, start)]), *as_it_is], color))
        reading = (
            f"Stage {place + 1} learns from it, before and after it the network learns from others. "
            f"Own statistics: {OWN_STATISTICS}."
        )
        drawn = [one for one in curves if one.x]
        title = f"Held-out loss on {name} over all stages"
        found.append(Plot(title, reading, "epochs over all stages", drawn, y_name="loss"))
    return found


def _points(stages: Sequence[Path], figure: str) -> list[tuple[float, float]]:
    """(epochs, value) of a figure in the journals of several runs, one behind the other."""
    found: list[tuple[float, float]] = []
    before = 0.0
    for folder in stages:
        if not (folder / "journal.jsonl").is_file():
            break
        run = read_run(folder, arrays=False)
        epochs, values = run.curve("probe", "figures", figure)
        found += [(before + float(epoch), float(value)) for epoch, value in zip(epochs, values, strict=True)]
        before += float(run.recipe.get("epochs", 0) or 0)
    return found


def _curve(name: str, points: Sequence[tuple[float, float]], color: str) -> Curve:
    return Curve(name, [x for x, _ in points], [y for _, y in points], color)


def _beside(results: Mapping[str, Any]) -> list[Table]:
    """The end of every way beside its bars."""
    names, rows = results["domains"], []
    for arm, found in results["arms"].items():
        losses, probe = _by_its_statistics(found, arm)[0], found["matrices"].get("probe", [[None] * len(names)])[-1]
        rows.append([WAYS[arm], *_cells(losses), *_cells(probe)])
    for single, row in sorted(results["singles"].items()):
        rows.append([_single(single), *_cells(row["loss"]), *_cells(row["probe"])])
    if first := next(iter(results["arms"].values()))["matrices"].get("loss"):
        probe = next(iter(results["arms"].values()))["matrices"].get("probe", [[None] * len(names)])
        rows.append([f"{names[0]} alone (stage 1)", *_cells(first[0]), *_cells(probe[0])])
    untrained = results["untrained"]
    rows.append(["untrained", *_cells(untrained["loss"]), *_cells(untrained["probe"])])
    probed = any(value is not None for value in untrained["probe"])
    if probed:
        rows.append(["always the largest class", *["" for _ in names], *_cells(untrained["majority"])])
    head = ["network at the end", *(f"loss on {name}" for name in names)]
    head += [f"few labels on {name}" for name in names] if probed else []
    kept = [row[: len(head)] for row in rows]
    reading = (
        "Ways of keeping with the BatchNorm statistics of each data set, but replay as it is, for it goes on seeing "
        "old samples; networks trained otherwise as they are, with input normalised by their own data."
    )
    return [Table("Beside other ways, and beside no training", reading, head, kept)]


def _single(name: str) -> str:
    if name == "joint":
        return "all at once (joint)"
    return f"{name.removeprefix('alone-').partition('-')[2]} alone"


def _matrices(results: Mapping[str, Any], kind: str) -> list[Table]:
    """R of every way in one table; accuracies with their deviation over the draws of labels."""
    names = results["domains"]
    rows: list[list[Any]] = []
    for arm, one in results["arms"].items():
        for place, row in enumerate(one["matrices"].get(kind, [])):
            deviations = one["probe_deviation"][place] if kind == "probe" else [None] * len(names)
            cells = [_accuracy(*pair) for pair in zip(row, deviations, strict=True)] if kind == "probe" else _cells(row)
            rows.append([f"{WAYS[arm]}, after {names[place]}", *cells])
    if not rows:
        return []
    rows.insert(0, ["untrained", *_cells(results["untrained"][kind])])
    return [Table(f"R: {KIND_TITLES[kind]}", READINGS[kind], ["stage", *names], rows)]


def _accuracy(mean: float | None, deviation: float | None) -> str:
    return "" if mean is None else f"{number(mean)} ± {number(deviation or 0.0, 2)}"


def _transfers(results: Mapping[str, Any]) -> list[Table]:
    rows: list[list[Any]] = []
    for arm, one in results["arms"].items():
        for kind, found in one["transfer"].items():
            rows.append([f"{WAYS[arm]}, {KIND_TITLES[kind]}", *_cells(found.values())])
    reading = (
        "Average over the data sets at the end; BWT: at the end less after its own stage; FWT: before its stage less "
        "untrained; forgetting: how far the end is behind the best before it, positive where something was lost. Of "
        "losses a positive BWT or FWT is worse, of accuracies better."
    )
    return [Table("What the matrices say", reading, ["", "average", "BWT", "FWT", "forgetting"], rows)] if rows else []


def _cells(values: Any) -> list[Any]:
    return ["" if value is None else value for value in values]


def _runs(folder: Path) -> list[Path]:
    return sorted([*folder.glob("stages/*/recipe.json"), *folder.glob("baselines/*/recipe.json")])


def _command(asked: Mapping[str, Any], keep: str, folder: Path) -> str:
    places = [one["path"] or f"<{one['name']}>" for one in asked["domains"]]
    return f"barlow sequence {' '.join(places)} --keep {keep} --out {folder}"
