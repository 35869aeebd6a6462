"""How a folder of images is laid out, told from the names in it: splits, classes, masks beside images, and junk.

Nothing is opened here. A name decides only beside others: `masks` is a class where `no_masks` stands beside it, and a
folder of masks where `images` does; `train` is a vehicle beside `car`, and a split beside `test`.
"""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from barlow.images.data.decode import SUFFIXES

SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of folders that are splits, not classes; upper and lower case are the same, and so are "train2017" (COCO),
"train_images" and the like."""
_AFTER_A_SPLIT = r"(?:[-_ ]?(?:set|data|images?|imgs?|\d{4}))*"
PICTURES = frozenset(("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "leftimg8bit", "rgb"))
"""Folders that hold the images where one of `BESIDE_PICTURES` stands beside them."""
BESIDE_PICTURES = frozenset((
    "mask", "masks", "label", "labels", "annotation", "annotations", "annots", "gt", "groundtruth", "ground_truth",
    "segmentation", "segmentations", "segmentationclass", "segmentationobject", "trimaps", "gtfine", "gtcoarse",
    "imagesets", "xmls", "bboxes",
))  # fmt: skip
"""Folders that say something about the images beside them and are none themselves, such as masks."""
JUNK = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found",
                  "thumbnails", "thumbnail", "thumbs"))  # fmt: skip
"""Folders that programs leave behind: small copies and bookkeeping."""
JUNK_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
"""Files that programs leave behind."""
_ABOUT_A_PICTURE = re.compile(r"[-_. ](?:masks?|seg(?:mentation)?|gt|thumb(?:nail)?s?)(?:[-_ ]?\d+)?$", re.IGNORECASE)
"""How the name of a file ends, without its ending, that belongs to the image of the rest of the name."""


def split_of(name: str) -> str:
    """Return which split a folder is by its name: "train", "val" or "test"; "" for none."""
    for split, spellings in SPLIT_FOLDERS.items():
        if re.fullmatch(f"(?:{'|'.join(spellings)}){_AFTER_A_SPLIT}", name, re.IGNORECASE):
            return split
    return ""


def beside_pictures(folders: Collection[str]) -> set[str]:
    """Return those of some neighbouring folders that hold masks, labels and the like of images in another of them."""
    if not any(_plain(name) in PICTURES or _last_word(name) in PICTURES or split_of(name) for name in folders):
        return set()
    return {name for name in folders if _plain(name) in BESIDE_PICTURES or _last_word(name) in BESIDE_PICTURES}


def about_pictures(stems: Collection[str]) -> set[str]:
    """Return those of the names in one folder, without endings, that are masks or thumbnails of others in it.

    "a_mask" and "a_mask_1" where there is an "a".
    """
    ends = {stem: match.start() for stem in stems if (match := _ABOUT_A_PICTURE.search(stem))}
    if not ends:
        return set()
    known = set(stems)
    return {stem for stem, end in ends.items() if stem[:end] in known}


def may_be_about_pictures(text: str) -> bool:
    """Whether any of some names in lower case, all in one text, may be that of a mask or a thumbnail."""
    return any(word in text for word in ("mask", "seg", "gt", "thumb"))


def is_junk(folder: str) -> bool:
    """Whether a folder is left by a program, by its name."""
    return folder.lower() in JUNK


def _plain(name: str) -> str:
    return re.sub(r"[- ]", "_", name.lower())


def _last_word(name: str) -> str:
    """The word behind the last "_": "masks" of "train_masks"; "" for a single one."""
    return _plain(name).rpartition("_")[2] if "_" in _plain(name) else ""


@dataclass(frozen=True)
class Layout:
    """The folders of a data set, relative to its root.

    Attributes:
        splits: name of the split -> folder, empty without splits.
        pictures: the folder of all images where it is not the root itself and there are no splits.
        unused: folders beside the splits, and beside the folder of all images.
        beside: folders of masks and the like that stand beside them.
    """

    splits: dict[str, str] = field(default_factory=dict)
    pictures: str = ""
    unused: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def place(self, split: str) -> str:
        """Return the folder of a split, or that of all images."""
        return self.splits.get(split, self.pictures)


def layout_of(root: Path) -> Layout:
    """Tell splits and masks from the names of the first folders, and of those in `images/` beside masks.

    A folder has splits when it has a training folder beside a test or validation folder, or nothing else than a
    training folder. With a validation folder and no test folder, the validation folder is the test split too, as is
    usual for ImageNet.
    """
    place, beside = _descend(root)
    folders = folders_in(root / place)
    others = beside_pictures(folders)
    found = _splits([name for name in folders if name not in others])
    if not found:
        return Layout(pictures=place, beside=tuple(beside))
    splits, masks = {}, [*beside, *(_joined(place, name) for name in sorted(others))]
    for split, name in found.items():
        inner, inside = _descend(root / place / name)
        splits[split] = _joined(place, _joined(name, inner))
        masks += [_joined(place, _joined(name, folder)) for folder in inside]
    unused = [_joined(place, name) for name in folders if name not in {*found.values(), *others}]
    return Layout(splits, unused=tuple(unused), beside=tuple(dict.fromkeys(masks)))


def class_folders(place: Path) -> set[str]:
    """Return the first-level folders that may be classes: those of masks and junk are none."""
    folders = folders_in(place)
    return set(folders) - beside_pictures(folders)


def are_splits(folders: Collection[str]) -> bool:
    """Whether all of some folders are splits by their names."""
    return bool(folders) and all(map(split_of, folders))


def is_pictures(folder: str) -> bool:
    """Whether a folder is named after images in general, so that it is no class of them beside masks."""
    return _plain(folder) in PICTURES


def folders_in(root: Path) -> list[str]:
    """Return the names of the first-level folders of `root`, hidden ones and junk left out, sorted."""
    with os.scandir(root) as scan:
        found = [entry.name for entry in scan if not entry.name.startswith(".") and is_folder(entry)]
    return sorted(name for name in found if not is_junk(name))


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def num_files(folder: Path) -> int:
    """Return how many files are in a folder, at any depth, without hidden ones."""
    return sum(not name.startswith(".") for _, _, files in os.walk(folder) for name in files)


def named(names: Iterable[str], most: int = 8) -> str:
    """Return the first of some names, and how many more there are."""
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def _splits(folders: Collection[str]) -> dict[str, str]:
    """Split -> folder. Of several that could be one (train2014, train2017): the plain name, else the last."""
    by_split: dict[str, list[str]] = {}
    for name in sorted(folders):
        if split := split_of(name):
            by_split.setdefault(split, []).append(name)
    found = {split: min(reversed(by_split[split]), key=_spelling) for split in SPLIT_FOLDERS if split in by_split}
    if "train" not in found or (len(found) == 1 and len(folders) > 1):
        return {}
    if "val" in found:
        found.setdefault("test", found["val"])
    return found


def _spelling(name: str) -> int:
    """Place of a name among the plain names of splits, behind them all for another spelling."""
    plain = [spelling for spellings in SPLIT_FOLDERS.values() for spelling in spellings]
    return plain.index(name.lower()) if name.lower() in plain else len(plain)


def _descend(place: Path) -> tuple[str, list[str]]:
    """Return the folder of images that stands beside nothing but masks and the like ("": the place itself), and those.

    Only where no image can lie anywhere else.
    """
    folders = folders_in(place)
    beside = beside_pictures(folders)
    rest = [name for name in folders if name not in beside]
    if beside and len(rest) == 1 and not split_of(rest[0]) and not _has_images(place):
        return rest[0], sorted(beside)
    return "", []


def _has_images(place: Path) -> bool:
    with os.scandir(place) as scan:
        return any(Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(".") for entry in scan)


def _joined(place: str, name: str) -> str:
    return f"{place}/{name}" if place and name else place or name
