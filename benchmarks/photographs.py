"""How the default for photographs was chosen: one change at a time, on pictures of the training part that are held out.

    python benchmarks/photographs.py --data-root ../shared/data [--arms "48 px" "64 px"] [--seeds 1]

Every arm sees as many images as two cores without AVX-512 get through in two minutes, measured once. A fifth of the
training pictures is neither learnt from nor probed on, and judges. The test pictures are not opened. Results are files
in benchmarks/runs/photographs, so the same command goes on where it was stopped.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from equal_time import COLUMNS, figures

from barlow import pretrain
from barlow.data.subsets import split_labelled
from barlow.files import read_json, write_json
from barlow.images.modality import IMAGES
from barlow.images.views.published import VIEWS
from barlow.modalities import load_samples
from barlow.recipes import RECIPES
from barlow.runs.build import fitted
from barlow.training.machine import Machine

HELD_OUT, SPLIT_SEED = 0.2, 123


@dataclass(frozen=True)
class Arm:
    """What differs from the default: numbers of the recipe, of its views, and the images that two minutes are."""

    images: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] = field(default_factory=dict)


AS_BYOL = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "gray": 0.2}
AS_SIMCLR = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "gray": 0.2}
WEAK = AS_BYOL | {"saturation": 0.4, "hue": 0.02, "gray": 0.05}
ARMS = {
    "the default": Arm(67_000),
    "64 px": Arm(44_000, {"image_size": 64}),
    "32 px": Arm(130_000, {"image_size": 32}),
    "64 px, colours of BYOL": Arm(44_000, {"image_size": 64}, AS_BYOL),
    "64 px, crops from 8%, colours of BYOL": Arm(44_000, {"image_size": 64}, AS_BYOL | {"crop_scale": (0.08, 1.0)}),
    "crops from 8%, colours of BYOL": Arm(67_000, {}, AS_BYOL | {"crop_scale": (0.08, 1.0)}),
    "colours of BYOL": Arm(67_000, {}, AS_BYOL),
    "weaker colours": Arm(67_000, {}, WEAK),
    "colours of SimCLR": Arm(67_000, {}, AS_SIMCLR),
    "colours of BYOL, half of the views grey": Arm(67_000, {}, AS_BYOL | {"gray": 0.5}),
    "learning rate 2e-3": Arm(67_000, {"learning_rate": 2e-3}),
    "learning rate 4e-3": Arm(67_000, {"learning_rate": 4e-3}),
    "batch 64": Arm(67_000, {"batch_size": 64}),
    "SimCLR": Arm(67_000, {"method": "simclr", "projector": "256-128", "options": {"temperature": 0.2}}),
}


def result(arm: Arm, seed: int, data: Path, out: Path) -> dict[str, Any]:
    """Train one arm on four fifths of the training pictures and score it on the other fifth."""
    recipe = replace(RECIPES["pictures"](), seed=seed)
    recipe = replace(recipe, **arm.recipe)
    fit, held = split_labelled(load_samples(IMAGES, data, recipe=recipe), HELD_OUT, SPLIT_SEED)
    _, facts = fitted(IMAGES, recipe, fit)
    changes: dict[str, Any] = {"size": recipe.image_size, "mean": tuple(facts["mean"]), "std": tuple(facts["std"])}
    pipeline = replace(VIEWS["photographs"][0], **changes, **arm.views)
    run = pretrain(
        fit, recipe=replace(recipe, epochs=arm.images / len(fit)), views=pipeline, test=held, out=out,
        machine=Machine(devices="1", quiet=True),
    )  # fmt: skip
    rows = read_json(run.folder / "summary.json")["evaluation"]["rows"]
    return {row["features"]: figures(row) for row in rows}


def main() -> None:
    """Train what is missing and print one row per arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "photographs")
    flags = parser.parse_args()
    print(f"| arm | seeds | {' | '.join(COLUMNS.values())} |\n|---|--:|{'--:|' * len(COLUMNS)}")
    for name in flags.arms:
        found = []
        for seed in range(flags.seeds):
            path = flags.out / f"{name.replace(' ', '-').replace(',', '').replace('%', '')}-{seed}.json"
            if not path.exists():
                write_json(path, result(ARMS[name], seed, flags.data_root / "clothing" / "train", path.with_suffix("")))
            found.append(read_json(path)["trained"])
        cells = [f"{100 * statistics.fmean(one[column] for one in found):.1f}" for column in COLUMNS]
        print(f"| {name} | {len(found)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
