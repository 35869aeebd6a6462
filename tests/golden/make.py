"""Make the golden values and the kept folders anew: `python -m tests.golden.make`, about a minute.

They say what barlow computed on the day they were made, so that a change that is to change no number can be seen to
change none. Make them anew only for a change that is meant to change numbers, and say so with --force; or with --audit,
where only those of an audit are: the kept run stays.

    data/made_on.json      version of torch and processor: where these are the same, values are compared bit by bit
    data/losses.json       total and parts of every loss on fixed embeddings
    data/gradients.npz     their gradients
    data/runs.json         losses of 20 steps of each short run, hash of its backbone, size of each of its tensors;
                           "interrupted": of the run below, had it not been stopped
    data/finished/         a run folder of a tiny network on digits, without its page
    data/finished-features.npy    what its network makes of 20 digits
    data/interrupted/      another, stopped in the middle, with its pictures, which it names by a relative path
    data/audit/            the audit of the finished run, without its page
    data/audit-before/     the same as it was when plug-in and cross-fit were a bracket: never made anew
    data/study/            a finished study, without its page
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import barlow
from barlow.cli import main as barlow_command
from tests.golden.measured import (
    AUDIT,
    DATA,
    INTERRUPTED,
    NUM_PICTURES,
    PICTURES,
    QUIET,
    RUNS,
    SHORT,
    STEPS,
    STUDY,
    TINY,
    digits,
    journal,
    loss_values,
    one_thread,
    short_run,
    this_machine,
    trained,
)

STOP_AFTER = 7
"""Steps on record when the run that is kept unfinished is told to stop; it takes one or two more."""


def main(arguments: Sequence[str]) -> None:
    """Make everything in a folder aside, then put it in place."""
    if list(arguments) == ["--audit"]:
        with one_thread():
            _audit_again()
        return
    if list(arguments) not in ([], ["--force"]):
        sys.exit(f"got {' '.join(arguments)}, wanted nothing, --force or --audit")
    if DATA.exists() and "--force" not in arguments:
        sys.exit(f"{DATA.name}/ is there already; --force replaces it, for a change that is meant to change numbers")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as aside, one_thread():
        os.chdir(aside)  # so that the folders are named by relative paths in what is kept
        try:
            _make_all(Path("data"))
        finally:
            os.chdir(before)
        _require_no_paths(Path(aside) / "data", [aside, str(before), str(DATA.parents[2])])
        shutil.copytree(DATA / "audit-before", Path(aside) / "data" / "audit-before")
        shutil.rmtree(DATA, ignore_errors=True)
        shutil.copytree(Path(aside) / "data", DATA)


def _audit_again() -> None:
    """Audit the kept run, of a copy, and keep that."""
    with tempfile.TemporaryDirectory() as aside:
        copied = Path(aside) / "finished"
        shutil.copytree(DATA / "finished", copied)
        barlow.audit(copied, **AUDIT).save(Path(aside) / "audit")
        _require_no_paths(Path(aside) / "audit", [aside, str(DATA.parents[2])])
        shutil.copy(Path(aside) / "audit" / "audit.json", DATA / "audit" / "audit.json")


def _make_all(data: Path) -> None:
    data.mkdir()
    _write(data / "made_on.json", this_machine())
    values = loss_values()
    _write(data / "losses.json", {name: {"total": v.total, "parts": v.parts} for name, v in values.items()})
    np.savez_compressed(data / "gradients.npz", allow_pickle=False, **{name: v.gradient for name, v in values.items()})
    np.save(PICTURES, digits(NUM_PICTURES).numpy())
    whole = barlow.pretrain(PICTURES, out="whole", machine=QUIET, **INTERRUPTED)
    folders = {name: short_run(name, Path(name)).folder for name in RUNS} | {"interrupted": whole.folder}
    _write(data / "runs.json", {name: asdict(trained(folder)) for name, folder in folders.items()})
    finished = barlow.pretrain("digits", recipe="digits", out=data / "finished", machine=QUIET, **SHORT, **TINY)
    opened = barlow.open_run(finished.folder)  # in the usual memory layout, unlike the one that was just trained
    np.save(data / "finished-features.npy", opened.embed(digits(20), accelerator="cpu").numpy())
    barlow.audit(opened, **AUDIT).save(data / "audit")
    _interrupted(data / "interrupted")
    try:
        barlow_command([*STUDY, "--out", str(data / "study")])
    except SystemExit as ended:
        if ended.code != 0:
            raise
    for page in data.rglob("*.html"):
        page.unlink()


def _interrupted(out: Path) -> None:
    """Stop a run as Ctrl-C does, and see that it stopped in the middle."""
    over = threading.Event()

    def stop() -> None:
        while not over.is_set():
            if (out / "journal.jsonl").exists() and len(trained_steps(out)) >= STOP_AFTER:
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.001)

    watch = threading.Thread(target=stop)
    watch.start()
    try:
        run = barlow.pretrain(PICTURES, out=out, machine=QUIET, **INTERRUPTED)
    finally:
        over.set()
        watch.join()
    if run.finished or not STOP_AFTER <= len(trained_steps(out)) < STEPS - 2:
        raise RuntimeError(f"the run was not stopped in the middle but after {len(trained_steps(out))} steps")

    for name in (
        "recipe.json",
        "journal.jsonl",
    ):  # no path of this machine: the pictures are found from within the folder
        text = (out / name).read_text(encoding="utf-8")
        (out / name).write_text(
            text.replace(json.dumps(str(Path(PICTURES).resolve())), f'"{PICTURES}"'), encoding="utf-8"
        )
    shutil.copy(PICTURES, out)


def trained_steps(out: Path) -> list[dict[str, Any]]:
    """Return the steps on record; a line that is being written counts from the next look on."""
    try:
        return [record for record in journal(out) if record["event"] == "step"]
    except json.JSONDecodeError:
        return []


def _require_no_paths(folder: Path, paths: Sequence[str]) -> None:
    """Refuse files that name a folder of this machine."""
    for file in folder.rglob("*"):
        if file.is_file() and (named := [path for path in paths if path.encode() in file.read_bytes()]):
            raise RuntimeError(f"{file.relative_to(folder)} names {named[0]}")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
