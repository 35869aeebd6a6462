"""Masks of images: which file belongs to which image, what its numbers or colours mean, and masks as targets.

Files are paired by name: `images/a.jpg` with `masks/a.png`, `train/images/b.png` with `train/masks/b_mask.png`,
`c.png` with `c_mask.png` beside it. What has no partner is named.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from barlow.errors import unknown
from barlow.images.data.decode import FORMATS, SUFFIXES
from barlow.images.data.folder import index_folder
from barlow.images.data.layout import about_pictures, layout_of, named
from barlow.seams import Batch, Source

IGNORED = 255
"""What a target says of a pixel that nobody labelled; losses and scores leave it out."""
MOST_CLASSES = 254
UNLABELLED_NAMES = re.compile(r"un-?labell?ed|unknown|void|ignored?|don'?t[ _]care", re.IGNORECASE)
"""Names of classes that are none."""
BINARY = ("background", "foreground")
"""What the two classes of masks with two values are called where no table names them; 0 or black is the first."""


# --- which mask belongs to which image


@dataclass(frozen=True)
class Pairs:
    """Images and masks by path, relative to `root`.

    Attributes:
        images: those with a mask, sorted; `masks` are theirs.
        lone_images: without a mask.
        lone_masks: without an image.
        splits: split -> folder, as the folder is laid out.
    """

    root: Path
    images: tuple[str, ...]
    masks: tuple[str, ...]
    lone_images: tuple[str, ...]
    lone_masks: tuple[str, ...]
    splits: Mapping[str, str]

    def positions(self, split: str) -> list[int]:
        """Return which images are in a split; ValueError where the folder has none of the name."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        inside = f"{self.splits[split]}/"
        return [place for place, path in enumerate(self.images) if path.startswith(inside)]

    def notes(self) -> list[str]:
        """Name what has no partner."""
        found = []
        for what, partner, names in (("image", "mask", self.lone_images), ("mask", "image", self.lone_masks)):
            if names:
                several = "s have" if len(names) > 1 else " has"
                found.append(f"{len(names)} {what}{several} no {partner} of the same name: {named(names, 5)}")
        return found


def pair_masks(root: Path, folder: str = "") -> Pairs:
    """Find images with their masks under a folder, by name; `folder` says which where there are masks of two kinds.

    ValueError: no folder of masks, two kinds of them, two masks of one image, or not a single pair.
    """
    index = index_folder(root)
    owners: dict[tuple[str, str], str] = {}
    for mask, key in _masks(root, index.beside, list(index.paths), folder):
        if key in owners:
            raise ValueError(f"data: {owners[key]} and {mask} in {root} are masks of one image, wanted one of them")
        owners[key] = mask
    if not owners:
        raise ValueError(f"data: {root} has no masks, wanted images/ and masks/ side by side, with the same names")
    images: list[str] = []
    masks: list[str] = []
    lone: list[str] = []
    for path in index.paths:
        found = next((owners[key] for key in _keys(path) if key in owners), None)
        if found is None:
            lone.append(path)
        else:
            images.append(path)
            masks.append(found)
    alone = tuple(sorted(set(owners.values()) - set(masks)))
    if not images:
        raise ValueError(
            f"data: no mask in {root} has the name of an image: masks are {named(alone, 3)}, images {named(lone, 3)}"
        )
    return Pairs(root, tuple(images), tuple(masks), tuple(lone), alone, layout_of(root).splits)


def _masks(
    root: Path, beside: Sequence[str], images: Sequence[str], folder: str
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield every mask with what it has in common with its image: the folder above both, and the name below."""
    indexed = {one: index_folder(root / one).paths for one in beside}
    kinds = sorted({Path(one).name for one, paths in indexed.items() if len(paths)})
    if folder and folder not in kinds:
        raise unknown("masks", folder, kinds)
    parents = Counter(str(Path(one).parent) for one, paths in indexed.items() if len(paths))
    if not folder and max(parents.values(), default=0) > 1:
        raise ValueError(f"data: {root} has masks of several kinds, {', '.join(kinds)}: say which with --masks")
    for one, paths in indexed.items():
        if not folder or Path(one).name == folder:
            parent = _parent(one)
            yield from ((f"{one}/{path}", (parent, _bare(path))) for path in paths)
    for place in sorted({_parent(path) for path in images}) if not kinds else ():
        files = [file for file in (root / place).iterdir() if file.suffix.lower() in SUFFIXES]
        about = about_pictures([file.stem for file in files])
        for file in files:
            if file.stem in about:
                yield (f"{place}/{file.name}" if place else file.name), (place, _bare(file.name))


def _keys(path: str) -> Iterator[tuple[str, str]]:
    """Yield what an image may have in common with its mask, the most first."""
    parts = path.split("/")
    name = Path(parts[-1]).stem
    yield "/".join(parts[:-1]), name  # beside each other in one folder
    for depth in range(len(parts) - 2, -1, -1):
        yield "/".join(parts[:depth]), "/".join([*parts[depth + 1 : -1], name])


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _bare(path: str) -> str:
    """Name of a mask without its ending, and without what only says that it is one."""
    place, _, name = path.rpartition("/")
    stem = re.sub(r"[-_. ](?:masks?|seg(?:mentation)?|gt|labels?)$", "", Path(name).stem, flags=re.IGNORECASE)
    return f"{place}/{stem}" if place else stem


# --- what the values of masks mean


@dataclass(frozen=True)
class MaskTable:
    """Which class every value of some masks is.

    Attributes:
        colours: whether values are colours, 0xRRGGBB; else numbers: of a grey level, or of an entry of a palette.
        values: increasing.
        classes: of each value, from 0; `IGNORED` for pixels without a label.
        names: of the classes.
        notes: what was taken for what.
    """

    colours: bool
    values: tuple[int, ...]
    classes: tuple[int, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "MaskTable":
        """Return what `as_json` wrote."""
        kept: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**kept)

    def read(self, path: Path) -> UInt8[Tensor, "h w"]:
        """Read a mask as classes; ValueError names a value that the table does not have."""
        raw, colours = read_values(path)
        if colours != self.colours:
            raise ValueError(f"masks: {path} holds {_kind(colours)}, the others {_kind(self.colours)}")
        values = np.asarray(self.values)
        place = np.searchsorted(values, raw).clip(max=len(values) - 1)
        if not (known := values[place] == raw).all():
            raise ValueError(f"masks: {path} has the value {_shown(int(raw[~known][0]), colours)}, not in the table")
        return torch.from_numpy(np.asarray(self.classes, dtype=np.uint8)[place])

    def picture(self, mask: UInt8[Tensor, "h w"]) -> Image.Image:
        """Return classes as an image of the same kind of values as the masks had; ignored pixels are the lowest."""
        lowest = self.values[0]
        of_class = {one: value for value, one in reversed(list(zip(self.values, self.classes, strict=True)))}
        values = np.asarray([of_class.get(one, lowest) for one in range(IGNORED + 1)])[mask.numpy()]
        if not self.colours:
            return Image.fromarray(values.astype(np.uint8 if max(self.values) < 256 else np.uint16))
        return Image.fromarray(np.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(np.uint8))


def read_values(path: Path) -> tuple[npt.NDArray[np.int64], bool]:
    """Return the values of a mask (H, W) as they are stored, and whether they are colours."""
    with Image.open(path, formats=FORMATS) as image:
        if image.mode in ("RGB", "RGBA"):
            red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.int64), -1, 0)
            return red << 16 | green << 8 | blue, True
        if image.mode not in ("1", "L", "P", "LA", "I", "I;16", "I;16B"):
            raise ValueError(f"masks: {path} has mode {image.mode}, wanted grey, a palette or colours")
        values = np.asarray(image.getchannel(0) if image.mode == "LA" else image)
        return values.astype(np.int64), False


def tell_table(
    paths: Sequence[Path], *, table: Mapping[int, str] | None = None, unlabelled: Sequence[int] = ()
) -> MaskTable:
    """Look at all masks and say which class each of their values is.

    Args:
        paths: of the masks.
        table: value -> name of its class, see `read_table`; None: each value is a class, in increasing order.
        unlabelled: values of pixels that nobody labelled.

    Raises:
        ValueError: masks of two kinds, more values than classes can be, fewer than two classes, or values that are not
            in the table.
    """
    counts, kinds = Counter[int](), set[bool]()
    for path in paths:
        raw, colours = read_values(path)
        kinds.add(colours)
        counts.update(dict(zip(*(part.tolist() for part in np.unique(raw, return_counts=True)), strict=True)))
        if len(kinds) > 1:
            raise ValueError(f"masks: {path} holds {_kind(colours)}, others {_kind(not colours)}; wanted one kind")
        if len(counts) > MOST_CLASSES:
            raise ValueError(
                f"masks: {len(counts)} different values up to {path.name}, wanted at most {MOST_CLASSES} classes; "
                "masks that were kept as JPEG, or resized with smoothing, have values that mean nothing"
            )
    colours, values, notes = kinds.pop(), sorted(counts), []
    names = dict(table or {})
    if table is not None and (strange := [value for value in values if value not in table]):
        raise ValueError(f"table: has no {', '.join(_shown(one, colours) for one in strange[:5])}, which masks have")
    left = set(unlabelled) | {value for value, name in names.items() if UNLABELLED_NAMES.fullmatch(name.strip())}
    others = [value for value in values if value not in left]
    if table is None and not left and not colours and len(others) > 2 and others[-1] == 255 and others[-2] < 254:
        left, others = {255}, others[:-1]
        notes.append("255 is taken for pixels without a label, as usual")
    return _numbered(values, sorted({*others, *(set(names) - left)}), left, names, colours, notes, sum(counts.values()))


def _numbered(
    values: Sequence[int],
    kept: Sequence[int],
    left: set[int],
    names: Mapping[int, str],
    colours: bool,
    notes: list[str],
    pixels: int,
) -> MaskTable:
    """Number the classes in increasing order of their values; several values of one name are one class."""
    if len(kept) < 2:
        raise ValueError(f"masks: {len(kept)} class in {pixels:,} pixels, wanted at least two, such as 0 and 255")
    called = [names.get(value, _shown(value, colours)) for value in kept]
    if not names and len(kept) == 2 and kept[0] == 0:
        called = list(BINARY)
    order = list(dict.fromkeys(called))
    classes = {value: order.index(name) for value, name in zip(kept, called, strict=True)}
    known = sorted({*values, *kept, *left})
    found = ", ".join(f"{_shown(value, colours)} is {name}" for value, name in zip(kept, called, strict=True))
    ignored = f"; without a label: {', '.join(_shown(one, colours) for one in sorted(left))}" if left else ""
    notes.insert(0, f"classes of the masks: {found}{ignored}")
    return MaskTable(
        colours, tuple(known), tuple(classes.get(one, IGNORED) for one in known), tuple(order), tuple(notes)
    )


def read_table(path: Path) -> dict[int, str]:
    """Read which value or colour means what: `3,building`, `60,16,152,building` or `#3c1098,building` a line; or JSON.

    JSON is {"building": 3}, {"building": "#3c1098"} or {"building": [60, 16, 152]}. A line without a number, such as a
    heading, is passed over. ValueError: nothing in it.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        rows = [
            (*map(str, value if isinstance(value, list) else [value]), name) for name, value in json.loads(text).items()
        ]
    else:
        rows = [tuple(cell.strip() for cell in row) for row in csv.reader(text.splitlines()) if row]
    found: dict[int, str] = {}
    for *value, name in rows:
        if len(value) == 1 and re.fullmatch("#[0-9a-fA-F]{6}", value[0]):
            found[int(value[0][1:], 16)] = name
        elif len(value) in (1, 3) and all(cell.isdigit() for cell in value):
            found[int(value[0]) if len(value) == 1 else _packed(*map(int, value))] = name
    if not found:
        raise ValueError(f"table: {path} has no line such as 3,building or #3c1098,building or 60,16,152,building")
    return found


def parse_value(word: str) -> int:
    """Return the number that "0" or "#3c1098" stands for."""
    if re.fullmatch("#[0-9a-fA-F]{6}", word):
        return int(word[1:], 16)
    if not word.isdigit():
        raise ValueError(f"unlabelled: got {word!r}, wanted a number or a colour such as #3c1098")
    return int(word)


def _packed(red: int, green: int, blue: int) -> int:
    return red << 16 | green << 8 | blue


def _kind(colours: bool) -> str:
    return "colours" if colours else "numbers"


def _shown(value: int, colours: bool) -> str:
    return f"#{value:06x}" if colours else str(value)


# --- masks as targets


class MaskedSource:
    """A `TargetSource`: images, and for each of them its mask as classes.

    Attributes:
        name, labels, class_names, bad, notes: of the images.
        target_names: names of the classes of the masks.
    """

    def __init__(self, images: Source, masks: Sequence[Path], table: MaskTable) -> None:
        """Join images with their masks, one each, in the same order."""
        if len(images) != len(masks):
            raise ValueError(f"masks: got {len(masks)} for {len(images)} images")
        self.name, self.labels, self.class_names, self.bad = images.name, None, (), images.bad
        self.notes: tuple[str, ...] = (*getattr(images, "notes", ()), *table.notes)
        self.target_names: Sequence[str] = table.names
        self.table = table
        self._images, self._masks = images, tuple(masks)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def describe(self, index: int) -> str:
        """Return what the images call sample `index`."""
        return self._images.describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the images of `order`."""
        return self._images.batches(order, batch_size)

    def targets(self, positions: Sequence[int]) -> list[UInt8[Tensor, "h w"]]:
        """Return the masks of some images, each of its image's size; `IGNORED` where nobody labelled."""
        return [self.table.read(self._masks[position]) for position in positions]


def check_sizes(pairs: Pairs) -> None:
    """Refuse masks that have another size than their image, from headers alone."""
    for image, mask in zip(pairs.images, pairs.masks, strict=True):
        sizes = []
        for path in (pairs.root / image, pairs.root / mask):
            with Image.open(path, formats=FORMATS) as opened:
                turned = path.suffix.lower() in (".jpg", ".jpeg") and opened.getexif().get(0x0112, 1) >= 5
                sizes.append(opened.size[::-1] if turned else opened.size)
        if sizes[0] != sizes[1]:
            (width, height), (mask_width, mask_height) = sizes
            raise ValueError(
                f"masks: {mask} is {mask_width} x {mask_height}, its image {image} {width} x {height}; wanted one size"
            )
