"""An atlas: whatever checkpoints there are, audited on the same images with the same views, in one table and one page.

    python benchmarks/atlas.py photos/ checkpoints/*.pth timm:resnet50.a1_in1k runs/photos --out atlas
    python benchmarks/atlas.py digits --ours 6 --out atlas      our ten methods for 6 epochs, the network untrained, and
                                                                one of them as lightly and solo-learn write theirs

A subject is whatever `barlow audit` takes: a run folder, timm:NAME, torchvision:NAME, or a file of weights, alone or as
FILE:arch=vit_small_patch16_224,prefix=teacher.backbone. Files of the official repositories are known by their names
(`OFFICIAL`). The same command again goes on: what is audited is kept. A subject that cannot be read is a row with the
reason, and takes nothing from the others.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import barlow
from barlow.figures import Figures
from barlow.files import write_json
from barlow.formats import count, number, percent, text, with_spread
from barlow.modalities import load_samples
from barlow.recipes import recipe_for
from barlow.report.charts import Bar, bar_chart
from barlow.report.page import contents, write_page
from barlow.report.sections import section, table
from barlow.runs.build import as_it_began, untrained_backbone

OFFICIAL: dict[str, dict[str, str]] = {
    "dino_deitsmall16_pretrain.pth": {"arch": "vit_small_patch16_224"},
    "dino_deitsmall8_pretrain.pth": {"arch": "vit_small_patch8_224"},
    "dino_vitbase16_pretrain.pth": {"arch": "vit_base_patch16_224"},
    "dino_vitbase8_pretrain.pth": {"arch": "vit_base_patch8_224"},
    "dino_resnet50_pretrain.pth": {"arch": "resnet50"},
    "swav_800ep_pretrain.pth.tar": {"arch": "resnet50"},
}
"""Files of official repositories whose network their weights do not tell, and how it is opened. Not run here, where no
such file is at hand; Barlow Twins', VICReg's and SimSiam's ResNets are told from their weights."""
METHODS = (
    "barlow_twins", "simclr", "swav", "simsiam", "byol", "vicreg", "vicregl", "wmse", "optimal_projector", "sigreg",
)  # fmt: skip
FIGURES = {
    "augmentation_share": "augmentation in h",
    "mean_correlation": "mean agreement of views",
    "num_above_edge": "directions beyond chance",
    "effective_rank": "effective rank",
    "lidar": "LiDAR",
    "alignment": "alignment",
    "uniformity": "uniformity",
}
"""Figures of the table, by their names in audit.json."""


@dataclass(frozen=True)
class Subject:
    """What is audited, what it is called, and how a file is opened."""

    name: str
    target: str
    how: Mapping[str, str]


def subject(word: str) -> Subject:
    """Read one word: a target, and behind a colon what says how a file is opened."""
    target, _, options = word.partition(":") if "=" in word.rpartition(":")[2] else (word, "", "")
    if "=" in word and not options:
        raise ValueError(f"subject: got {word!r}, wanted FILE:arch=NAME,prefix=PLACE")
    how = dict(pair.split("=", 1) for pair in options.split(",")) if options else OFFICIAL.get(Path(target).name, {})
    if unknown := set(how) - {"arch", "prefix"}:
        raise ValueError(f"subject: got {', '.join(sorted(unknown))} in {word!r}, wanted arch or prefix")
    return Subject(re.sub(r"[^\w.=+]+", "-", target).strip("-.")[-80:], target, how)


def atlas(
    data: str, subjects: Sequence[Subject], out: Path, *, views: str, images: int, seconds: float
) -> list[dict[str, Any]]:
    """Audit what is not audited yet, and return a row of each subject: its name, and its figures or the reason."""
    rows = []
    for one in subjects:
        folder = out / "audits" / one.name
        try:
            if not (folder / "audit.json").is_file():
                print(f"auditing {one.target}")
                settings = barlow.AuditSettings(
                    num_images=images, seconds=seconds, arch=one.how.get("arch", ""), prefix=one.how.get("prefix", "")
                )
                barlow.audit(one.target, data, views=views, settings=settings).save(folder)
            rows.append({"name": one.name, **_row(barlow.open_audit(folder).figures)})
        except (ValueError, OSError, RuntimeError) as error:
            rows.append({"name": one.name, "error": " ".join(str(error).split())})
        write_json(out / "atlas.json", {"data": data, "rows": rows})
    return rows


def views_for(data: str) -> str:
    """Return the views of all audits: exchangeable ones, for which the theory of an audit is exact."""
    recipe = recipe_for(None, data)
    return recipe.views if recipe.name != "pictures" else "byol-iid"


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    figures = Figures.from_json(found)
    measured = {name: [value.value, value.error] for name, _, value in figures.quantities.measured() if name in FIGURES}
    first = next((one.sentence for one in figures.verdicts), "")
    return {"num_features": figures.settings.num_features, "figures": measured, "first": first}


def write_atlas(rows: Sequence[Mapping[str, Any]], data: str, images: int, path: Path) -> Path:
    """Write the page: a chart and the table, most invariant first, what each audit says first, what is not read."""
    read = [row for row in rows if "error" not in row]
    read.sort(key=lambda row: row["figures"].get("augmentation_share", [1.0])[0])
    body = [[_link(row["name"]), number(row["num_features"], 9), *_cells(row["figures"])] for row in read]
    one = f"{images} images of {Path(data).name}, 8 views of each, the same for all rows; ± is one standard error."
    said = [[_link(row["name"]), text(row["first"])] for row in read]
    parts = [
        section("invariance", "How much of the features is augmentation", f"Shorter is more invariant. {one}",
                bar_chart("Share of the variance of h", [("", [*_bars(read)])])),
        section("table", "Side by side", "In the same order. A name leads to its audit.",
                table(["", "features", *FIGURES.values()], body)),
        section("said", "What each audit says first", "", table([], said, numeric=False)),
    ]  # fmt: skip
    if lost := [[text(row["name"]), text(row["error"])] for row in rows if "error" in row]:
        parts.append(section("lost", "Not read", "", table([], lost, numeric=False)))
    header = f'<header><h1>Atlas</h1><p class="lead">{text(_lead(read))}</p>{contents(parts)}</header>'
    return write_page(path, "Atlas", header + "".join(parts))


def _lead(read: Sequence[Mapping[str, Any]]) -> str:
    """The answer in a sentence, of rows in their order, and what it is not."""
    said = f"{count(len(read), 'checkpoint')}, audited without labels on the same images; no figure is an accuracy."
    known = [row for row in read if "augmentation_share" in row["figures"]]
    if len(known) < 2:
        return said
    most, least = ((row["name"], percent(row["figures"]["augmentation_share"][0], 0)) for row in (known[0], known[-1]))
    return f"{most[0]} is the most invariant ({most[1]} of its variance is augmentation), {least[0]} the least " + (
        f"({least[1]}). {said}"
    )


def _bars(read: Sequence[Mapping[str, Any]]) -> Iterator[Bar]:
    for row in read:
        value, error = row["figures"].get("augmentation_share", (None, None))
        if value is not None:
            color = "quiet" if row["name"].startswith("untrained") else "c1"
            yield Bar(row["name"], value, with_spread(value, error), color, error)


def _link(name: str) -> str:
    return f'<a href="audits/{text(name)}/audit.html">{text(name)}</a>'


def _cells(figures: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    for name in FIGURES:
        value, error = figures.get(name, (None, None))
        if value is None or not error:
            yield "-" if value is None else number(value)
            continue
        decimals = max(0, -math.floor(math.log10(error / 2)))  # one digit of the error, two where its first is 1
        yield f'{value:.{decimals}f} <span class="note">± {error:.{decimals}f}</span>'.replace("-", "−")


def train_ours(data: str, epochs: float, out: Path) -> list[Subject]:
    """Train our methods for so long, each by its recipe for the data; an untrained one, and one as others write it."""
    found = []
    for method in METHODS:
        folder = out / "runs" / method
        barlow.pretrain(data, recipe=method, epochs=epochs, labels="none", out=folder)
        found.append(Subject(method, str(folder), {}))
    run = barlow.open_run(out / "runs" / "barlow_twins")
    weights = getattr(run.backbone, "network", run.backbone).state_dict()
    width = run.embed(data)[:1].shape[1]
    fresh = untrained_backbone(run.modality, run.recipe, run.facts)
    fresh = as_it_began(fresh, run.recipe, load_samples(run.modality, data, facts=run.facts), run.views.plain)
    layouts: dict[str, dict[str, Any]] = {
        "untrained": getattr(fresh, "network", fresh).state_dict(),
        "as-solo-learn": {"state_dict": {f"backbone.{name}": value for name, value in weights.items()}
                          | {"classifier.weight": torch.zeros(10, 4)}},
        "as-lightly": {"state_dict": {f"backbone.{name}": value for name, value in weights.items()}
                       | {"projection_head.layers.0.weight": torch.zeros(4, width)}},
    }  # fmt: skip
    for name, state in layouts.items():
        torch.save(dict(state), out / f"{name}.ckpt")
        found.append(Subject(name, str(out / f"{name}.ckpt"), {}))
    return found


def main() -> None:
    """Train what is asked for, audit everything, write the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="images as for barlow pretrain")
    parser.add_argument("subjects", nargs="*", help="run folders, timm:NAME, torchvision:NAME, files of weights")
    parser.add_argument("--ours", type=float, default=0.0, help="epochs of our own ten methods; 0: none")
    parser.add_argument("--views", default="", help="views of all audits; empty: those for the data, drawn alike")
    parser.add_argument("--images", type=int, default=512, help="images that every audit looks at")
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long one audit may take")
    parser.add_argument("--out", type=Path, default=Path("atlas"), help="folder of atlas.json, atlas.html and audits/")
    asked = parser.parse_args()
    subjects = train_ours(asked.data, asked.ours, asked.out) if asked.ours else []
    subjects += [subject(word) for word in asked.subjects]
    if not subjects:
        raise SystemExit("subjects: got none, wanted run folders, timm:NAME or files of weights; or --ours 6")
    views = asked.views or views_for(asked.data)
    rows = atlas(asked.data, subjects, asked.out, views=views, images=asked.images, seconds=asked.seconds)
    print(f"page: {write_atlas(rows, asked.data, asked.images, asked.out / 'atlas.html')}")


if __name__ == "__main__":
    main()
