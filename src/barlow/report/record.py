"""The parts of the page that say how it ran and how to run it again: incidents, the recipe, versions."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

from barlow.formats import count, duration, moment, number, shape, text
from barlow.recipes import ABOUT, MADE_FOR_KIND, OWN, TYPED_AS_FIELDS, Recipe, flat, folded, recipe_for
from barlow.report.run_folder import RunFiles, finite, mapping
from barlow.report.sections import grid, section, table
from barlow.report.words import epochs, seconds_of_training

OPEN_UP_TO = 5
"""Longer lists are folded."""


def left_out(run: RunFiles) -> list[str]:
    """Return lines for the terminal: how many samples could not be read, and the first of them; none if all could."""
    bad = _unreadable_samples(run)
    if not bad:
        return []
    rest = len(bad) - OPEN_UP_TO
    where = ", listed in " + str(page) if (page := run.folder / "report.html").is_file() else ""
    more = [f"  and {rest} more{where}"] if rest > 0 else []
    return [f"{count(len(bad), 'unreadable sample')} left out:", *(f"  {one}" for one in bad[:OPEN_UP_TO]), *more]


def incidents(run: RunFiles) -> str:
    """Errors, warnings, samples that could not be read, resumes, and files of the run that are damaged."""
    errors = [str(record.get("message", "")) for record in run.events("error")]
    warnings = Counter(str(record.get("message", "")) for record in run.events("warning"))
    bad = _unreadable_samples(run)
    resumes = [
        f"Went on from step {number(finite(record.get('step')) or 0.0, 9)}{_at(record.get('time'))}"
        for record in run.events("resume")
    ]
    warned = [message + (f" (× {times})" if times > 1 else "") for message, times in warnings.items()]
    return section(
        "incidents",
        "Warnings and incidents",
        "What the run had to say beside its numbers; nothing here stopped it unless it says so.",
        _listed(count(len(errors), "error"), errors),
        _listed(count(len(warned), "warning"), warned),
        _listed(f"{count(len(bad), 'unreadable sample')} left out", bad),
        _listed(count(len(resumes), "interruption"), resumes),
        _listed("Damaged files of this run", run.unreadable),
    )


def recipe(run: RunFiles) -> str:
    """The command, the data, the machine, the versions and every field of the recipe."""
    command = f'<h3>Run it again</h3><pre tabindex="0"><code>{text(command_of(run))}</code></pre>'
    changed = set(changed_fields(run))
    lines = [
        [f"<code>{text(name)}</code>", f"<b>{_value(value)}</b>" if name in changed else _value(value)]
        for name, value in flat(run.recipe).items()
        if not isinstance(value, (dict, list)) and value != ""
    ]
    asked, made = _usual(run)
    usual = f"the recipe {made.name}" if asked else "the recipe that these data get"
    note = f'<p class="reading">Bold: differs from {text(usual)}.</p>' if changed else ""
    facts = [[text(name), text(value)] for name, value in _facts(run)]
    return section(
        "recipe",
        "Recipe and versions",
        "All that decides the numbers: the same recipe on the same data and versions gives them again.",
        command,
        "<h3>Data, machine and versions</h3>" + _two_columns(facts),
        f"<h3>Fields of the recipe</h3>{note}{_two_columns(lines)}" if lines else "",
    )


def changed_fields(run: RunFiles) -> dict[str, Any]:
    """Return what in this run is not as in the recipe that it names, or that its data get: field -> value.

    An option of the method stands as "options.temperature".
    """
    _, made = _usual(run)
    usual = flat(asdict(made))
    known = [field.name for field in fields(Recipe) if field.name not in (*ABOUT, "minutes")]
    return {
        name: value
        for name, value in flat(run.recipe).items()
        if name.partition(".")[0] in known and (name not in usual or value != usual[name])
    }


def command_of(run: RunFiles) -> str:
    """Return what makes this run again: the recipe by name and the fields that differ.

    A command line when the data were given by a path or a name, else a call in Python.
    """
    (asked, _), changed, path = _usual(run), changed_fields(run), _path(run)
    plain = folded(changed)
    options, of_modality = plain.pop("options", {}), plain.pop("modality_options", {})
    plain |= {name: options.pop(name) for name in TYPED_AS_FIELDS if name in options}
    data = mapping(run.start.get("data"))
    start = str(data.get("start_from") or "")
    if not path or mapping(data.get("objects")):
        around = {name: f"{OWN}{one}" for name, one in mapping(data.get("objects")).items() if name == "wrap"}
        by_name = {"options": options, "modality_options": of_modality, "start_from": start} | around
        return _call(path, asked, plain | {name: value for name, value in by_name.items() if value})
    root = str(data.get("data_root") or "")
    words = ["barlow", "pretrain", path]
    words += ["--data-root", root] if root else []
    given = mapping(run.start.get("data"))
    words += [word for name in ("labels", "hold_out") if given.get(name) for word in (_flag(name), str(given[name]))]
    words += ["--recipe", asked] if asked else []
    words += ["--start-from", start] if start else []
    for name, value in plain.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    for flag, named in (("--options", options), ("--modality-options", of_modality)):
        words += [flag, *(str(word) for pair in named.items() for word in pair)] if named else []
    return shlex.join(words)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _call(path: str, asked: str, numbers: Mapping[str, Any]) -> str:
    """Return the call in Python; what was given as an object stands there by the name of its class."""
    own = {name: value.removeprefix(OWN) for name, value in numbers.items() if str(value).startswith(OWN)}
    words = [repr(path) if path else "data", *([f"recipe={asked!r}"] if asked else [])]
    words += [f"{name}=<{own[name]}>" if name in own else f"{name}={value!r}" for name, value in numbers.items()]
    return f"barlow.pretrain({', '.join(words)})"


def _usual(run: RunFiles) -> tuple[str, Recipe]:
    """Return the name that asks for the recipe the run began with, and that recipe; no name: the one made for its data.

    A method's name alone stands for its recipe made for the data, which need not be one of `RECIPES`.
    """
    name, path = str(run.recipe.get("name", "")), _path(run)
    made_for = MADE_FOR_KIND.get(str(mapping(run.start.get("data")).get("modality", "")), "pictures")
    for asked in (name, str(run.recipe.get("method", ""))):
        with suppress(ValueError):
            if asked and (made := recipe_for(asked, path, otherwise=made_for)).name == name:
                return asked, made
    return "", recipe_for(None, path, otherwise=made_for)


def _path(run: RunFiles) -> str:
    """Return the path or name that the data were asked for with; empty when they came from Python."""
    data = mapping(run.start.get("data"))
    return str(data["path"] if "path" in data else data.get("name", ""))


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    data, versions = mapping(run.start.get("data")), mapping(run.start.get("versions"))
    timing = run.section("timing")
    started = next((record.get("time") for record in run.events("start")), None)
    samples, classes = finite(data.get("num_samples")), finite(data.get("num_classes"))
    seconds = seconds_of_training(run)
    rate, evaluated = finite(timing.get("samples_per_second")), finite(timing.get("evaluation_seconds"))
    weights = finite(run.start.get("num_parameters"))
    found = [
        ("data", str(data.get("name") or "")),
        ("samples", number(samples, 12) if samples else ""),
        ("size of a sample", shape(data.get("image_shape"))),
        ("classes (for evaluation only)", number(classes, 9) if classes else ""),
        ("parameters", number(weights, 12) if weights else ""),
        ("device", str(run.start.get("device") or "")),
        ("started", moment(started) if isinstance(started, (int, float)) else ""),
        ("trained", f"{epochs(run)} in {duration(seconds)}" if seconds else ""),
        ("speed", f"{number(rate)} samples per second" if rate else ""),
        ("evaluation", duration(evaluated) if evaluated else ""),
        ("folder", run.folder.name),
    ]
    found += [(f"{name} version", str(version)) for name, version in versions.items()]
    return [(name, value) for name, value in found if value]


def _two_columns(lines: Sequence[Sequence[str]]) -> str:
    half = (len(lines) + 1) // 2
    return grid(*(table([], part, numeric=False) for part in (lines[:half], lines[half:]) if part), kind="grid pair")


def _unreadable_samples(run: RunFiles) -> list[str]:
    return [
        f"{record.get('what', 'sample')} (number {record.get('index', '?')}): {record.get('reason', '')}"
        for record in run.events("bad_sample")
    ]


def _listed(title: str, lines: Sequence[str]) -> str:
    """Return a list under its title; a long one is folded."""
    if not lines:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    if len(lines) <= OPEN_UP_TO:
        return f"<h3>{text(title)}</h3><ul>{items}</ul>"
    return f"<details><summary>{text(title)}</summary><ul>{items}</ul></details>"


def _at(time: object) -> str:
    when = finite(time)
    return "" if when is None else f", {moment(when)}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return text(f"{value:g}")
    return text(value)
