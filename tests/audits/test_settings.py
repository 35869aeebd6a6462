"""One set of numbers for the command, the function and the record of an audit."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

import barlow
from barlow.audits import audit as audit_file
from barlow.audits.settings import AuditSettings, with_numbers
from barlow.cli.audit import audit_words
from barlow.cli.flags import Audit as Flags, parse
from barlow.figures import SETTINGS
from tests.audits.gaussian import gaussian_views

FIELDS = [one.name for one in fields(AuditSettings)]


def test_what_the_record_says_was_asked_for_by_the_same_name() -> None:
    assert set(SETTINGS) - set(FIELDS) == {"num_features", "exact", "num_available"}


def test_every_number_is_a_flag_of_the_command_and_its_default_that_of_the_function() -> None:
    assert parse(Flags, ["here"]).settings == AuditSettings(quiet=False)
    typed: dict[str, Any] = {
        "width": 8, "redundancy_weight": 0.1, "normalization": "raw", "batch_size": 32, "num_images": 64,
        "num_views": 2, "seconds": 5.0, "weights": "none", "arch": "resnet50", "prefix": "teacher", "image_size": 32,
        "data_root": Path("there"), "accelerator": "cpu", "seed": 3,
        "white_level": 255, "channels_axis": "first",
    }  # fmt: skip
    words = [word for name, value in typed.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    found = parse(Flags, ["here", *words, "--untrained", "--no-mlp", "--quiet"]).settings
    assert asdict(found) == typed | {"untrained": True, "mlp": False, "quiet": True}
    assert set(asdict(found)) == set(FIELDS)


def test_a_number_that_no_audit_has_is_refused_with_the_nearest() -> None:
    for wrong, near in (("num_image", "num_images"), ("normalisation", "normalization"), ("view", "views")):
        with pytest.raises(ValueError, match=f"^{wrong}: an audit has no such setting; did you mean '{near}'"):
            with_numbers(AuditSettings(), {wrong: 2})
    with pytest.raises(ValueError, match=r"num_image: .* did you mean 'num_images'"):
        barlow.audit(gaussian_views([0.5]), num_image=64)


def test_a_folder_may_be_a_string_and_none_leaves_a_number_as_it_is() -> None:
    assert with_numbers(AuditSettings(), {"data_root": "there"}).data_root == Path("there")
    asked = AuditSettings(prefix="teacher", num_images=99)
    assert with_numbers(asked, {"prefix": None, "num_images": 64}) == AuditSettings(prefix="teacher", num_images=64)


@pytest.mark.parametrize(("typed", "read"), [("none", ""), ("", ""), ("default", "default"), ("a.pth", "a.pth")])
def test_weights_and_prefix_mean_the_same_for_the_command_and_the_function(
    typed: str, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def opened(*words: Any, **given: Any) -> None:
        found.update(given)
        raise ValueError("opened")

    monkeypatch.setattr(audit_file, "open_subject", opened)
    flags = Flags(("timm:resnet10", "digits"), settings=AuditSettings(weights=typed))
    calls: list[Callable[[], object]] = [
        lambda: barlow.audit("timm:resnet10", "digits", weights=typed),
        lambda: audit_words(flags),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="opened"):
            call()
        assert (found.pop("weights"), found.pop("prefix")) == (read, None)


def test_settings_and_numbers_are_the_same_call() -> None:
    features = gaussian_views([0.9, 0.5], n=100)
    of_settings = barlow.audit(features, settings=barlow.AuditSettings(redundancy_weight=0.3, width=5, seed=4))
    of_numbers = barlow.audit(features, settings=barlow.AuditSettings(width=5, seed=9), redundancy_weight=0.3, seed=4)
    for found in (of_settings, of_numbers):
        used = found.figures["settings"]
        assert (used["redundancy_weight"], used["width"], used["seed"], used["num_images"]) == (0.3, 5, 4, 100)
        assert used["seconds"] < 60  # the time that it took
    assert of_settings.figures["floors"] == of_numbers.figures["floors"]


def test_settings_need_no_torch() -> None:
    code = "import sys, barlow.audits.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
