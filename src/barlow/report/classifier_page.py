"""The page of a classifier: how good it is, beside others and class by class, and what to know of that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from barlow.formats import percent, text
from barlow.report.charts import Bar, Mark, bar_chart
from barlow.report.page import contents, write_page
from barlow.report.sections import section, table

COLORS = {"trained": "c1", "untrained": "c2", "fine-tuned": "c1", "from scratch": "c2"}


def write_classifier_page(
    path: Path,
    data: str,
    classes: Sequence[str],
    counts: Sequence[int],
    scores: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    notes: Sequence[str],
    folder: str,
) -> Path:
    """Write the page; `scores` are those of `Trained`, `counts` the labels of each class."""
    said = "".join(f"<li>{text(note[:1].upper() + note[1:])}.</li>" for note in notes)
    parts = [_worth(scores, names, len(classes)), _by_class(classes, counts, scores), _next(folder)]
    title = f"A classifier of {data}"
    head = f"<h1>{text(title)}</h1><ul>{said}</ul>{contents(parts)}"
    return write_page(path, title, head + "".join(parts))


def _worth(scores: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], num_classes: int) -> str:
    tested = any("test" in score for score in scores.values())
    groups = [("on held-out labels", [_bar(name, names, score) for name, score in scores.items()])]
    if tested:
        groups.append(("on the test data", [_bar(name, names, score["test"]) for name, score in scores.items()]))
    head = ["features", "held out", "±", "mean probability given", *(["test", "±"] if tested else [])]
    lines = []
    for name, score in scores.items():
        cells = [score["accuracy"], score["error"], score["confidence"]]
        cells += [score["test"]["accuracy"], score["test"]["error"]] if tested else []
        lines.append([text(names.get(name, name)), *(percent(cell) for cell in cells)])
    reading = (
        "Share that is right. The first row is what the network has learnt without labels; it is worth its distance "
        "from the others. A classifier is calibrated where the mean probability of its answers is near their accuracy."
    )
    chart = bar_chart("Accuracy", groups, mark=Mark("guessing", 1.0 / num_classes))
    return section("worth", "How good it is", reading, chart, table(head, lines))


def _bar(name: str, names: Mapping[str, str], score: Mapping[str, Any]) -> Bar:
    accuracy, error = float(score["accuracy"]), float(score["error"])
    return Bar(names.get(name, name), accuracy, percent(accuracy), COLORS.get(name, "quiet"), error)


def _by_class(classes: Sequence[str], counts: Sequence[int], scores: Mapping[str, Mapping[str, Any]]) -> str:
    last = scores["fine-tuned" if "fine-tuned" in scores else "trained"]
    recalls = last["recalls"]
    lines = [
        [text(name), str(number), "" if recall is None else percent(recall)]
        for name, number, recall in zip(classes, counts, recalls, strict=True)
    ]
    reading = "Of the samples of each class that were held out, the share that is recognised; few labels, rough shares."
    return section("classes", "Class by class", reading, table(["class", "labels", "recognised"], lines))


def _next(folder: str) -> str:
    model = quote(folder)
    steps = [
        (
            f"barlow predict {model} NEW",
            "classes and probabilities of new samples, and what is like none of the classes",
        ),
        (f"barlow export {model} --to onnx", "one file for other programs, with the names of the classes in it"),
        (f"barlow export {model} --to timm", "a folder for timm, with the head, where timm has such a network"),
    ]
    lines = [[f"<code>{text(command)}</code>", text(what)] for command, what in steps]
    return section("next", "What to do next", "Commands to copy.", table([], lines, numeric=False))
