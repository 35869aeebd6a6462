"""The pages of the gallery, into build/gallery: a run, its audit, a comparison, a map, views, a study and an atlas.

    make gallery            or: python benchmarks/gallery.py [build/gallery]

All from the built-in digits, ten minutes on two cores; runs are kept in build/gallery-runs, and the same command goes
on.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ATLAS = Path(__file__).with_name("atlas.py")
RUNS = Path("build/gallery-runs")
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("pretrain digits --epochs 40 --out {runs}/run", "run/report.html", "run.html"),
    ("audit {runs}/run --seconds 20", "run/audit.html", "audit.html"),
    ("map {runs}/run", "run/features/map.html", "map.html"),
    ("views digits --out {runs}/views.html", "views.html", "views.html"),
    ("compare digits --recipes barlow_twins,simclr --seeds 2 --images 12000 --out {runs}/two", "two/compare.html",
     "compare.html"),
    ("study batch_size --quick --jobs 1 --out {runs}/study", "study/study.html", "study.html"),
)  # fmt: skip
"""Command, the page that it leaves in the folder of the runs, and its name in the gallery."""


def main(out: Path) -> None:
    """Make what is missing, and copy the pages."""
    out.mkdir(parents=True, exist_ok=True)
    for command, page, name in COMMANDS:
        words = command.format(runs=RUNS).split()
        made([sys.executable, "-m", "barlow", *words], RUNS / page, out / name)
    atlas = [sys.executable, str(ATLAS), "digits", "--ours", "6", "--out", str(RUNS / "atlas")]
    made(atlas, RUNS / "atlas" / "atlas.html", out / "atlas.html")


def made(command: list[str], page: Path, to: Path) -> None:
    """Run a command unless its page is there, and copy the page and what it links to.

    One that fails leaves its place empty and says so.
    """
    if not page.is_file():
        print(" ".join(command[2:]), flush=True)
        if subprocess.run(command).returncode:
            print(f"{to.name} is left out: the command failed")
            return
    shutil.copyfile(page, to)
    for linked in re.findall(r'href="([\w./+=-]+\.html)"', page.read_text(encoding="utf-8")):  # runs of a comparison
        if (page.parent / linked).is_file():
            (to.parent / linked).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page.parent / linked, to.parent / linked)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("build/gallery"), help="folder of the pages")
    main(parser.parse_args().out)
