"""Help, lists and completion: everything that can be typed is said once, in 80 columns, and a shell completes it."""

import contextlib
import io
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import tyro

from barlow.cli.commands import COMMANDS, HELP, flags_by_command, main
from barlow.cli.completion import script
from barlow.cli.flags import Pretrain
from barlow.cli.help import FIRST, OTHERS, grouped
from barlow.cli.words import flags_of
from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.listed import NETWORKS
from barlow.images.views.in_words import in_words
from barlow.images.views.published import VIEWS
from barlow.modalities import MODALITIES
from barlow.recipes import RECIPES, Recipe
from barlow.training.machine import Machine
from tests.images.data.making import write_folder

WIDTH = 80
KINDS = flags_by_command()


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    return capsys.readouterr().out


def test_no_line_of_help_or_lists_is_wider_than_80_columns_and_no_name_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    pages = {words: printed(capsys, *words.split()) for words in ("--help", "pretrain --help", "recipes", "views")}
    pages["networks"] = printed(capsys, "networks")
    assert [line for page in pages.values() for line in page.splitlines() if len(line) > WIDTH] == []
    for page, names in (("recipes", RECIPES), ("views", VIEWS), ("networks", NETWORKS)):
        first_words = {line.split()[0] for line in pages[page].splitlines() if line.strip()}
        assert set(names) <= first_words, page
    assert "…" not in "".join(pages.values())


def test_help_begins_with_what_a_newcomer_needs(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = re.findall(r"^(.*):$", HELP, re.MULTILINE)[:2]
    assert first == "to begin with"
    beginning = HELP.partition(f"\n{second}:")[0]
    assert all(f"barlow {name}" in beginning for name in ("pretrain", "evaluate", "audit", "report"))
    help_of = printed(capsys, "pretrain", "--help")
    needed = help_of.partition(f"{FIRST}:")[2].partition(":\n")[0]
    assert all(f"--{name}" in needed for name in ("out", "minutes", "recipe", "backbone"))
    assert "--lars-trust" not in needed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_the_flags_that_tyro_takes_each_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        tyro.cli(KINDS[name], args=["--help"])
    taken = {word for word in re.findall(r"[ │](--[a-z][\w-]+)", _flag_column(said.getvalue())) if word != "--help"}
    ours = printed(capsys, name, "--help")
    listed = re.findall(r"^  --(\[no-\])?([\w-]+)", ours, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {f"--{flag}" for _, flag in listed} | {f"--no-{flag}" for switch, flag in listed if switch} == taken


def _flag_column(said: str) -> str:
    """The flags at the beginning of the lines of tyro's help, without what is said of them."""
    column = re.compile(r"^[ │]+(?:-h, )?(--[\w-]+(?:, --[\w-]+)*)", re.MULTILINE)
    return "".join(f" {words}" for words in column.findall(said))


def test_every_number_of_a_run_has_help_and_stands_in_a_group_of_its_own() -> None:
    flags = flags_of(Pretrain)
    assert {one.name for kind in (Recipe, Machine) for one in fields(kind)} <= {flag.field for flag in flags}
    assert [flag.name for flag in flags if not flag.says] == []
    groups = dict(grouped("pretrain", [flag for flag in flags if flag.name.startswith("--")]))
    assert len(groups.get(OTHERS, [])) <= len(flags) // 10, "most flags have a group that says what they are about"


# --- Views and networks.


def test_the_line_of_a_view_is_made_of_its_numbers() -> None:
    assert in_words("small-grey") == (
        "2 alike: turn 15°, shift 12.5%, zoom 80 to 120%, shear 10°, light 40%, noise"
    )  # as in published.py
    assert in_words("byol").startswith("2 different: crop 8 to 100%, flip")
    assert in_words("byol").endswith("blur 100%/10%, solarise 0%/20%")
    assert in_words("swav").startswith("2 alike and 6 of 96 for 224 pixels: crop 14 to 100%")
    assert len({in_words(name) for name in ("cifar", "cifar-symmetric", "byol", "byol-iid", "vicregl")}) == 5


@pytest.mark.parametrize("name", ["resnet10", "mobilenetv3_small_100", "convnext_atto", "vit_tiny_patch16_224"])
def test_the_line_of_a_network_has_its_width(name: str) -> None:
    size = 224 if name.startswith("vit") else 32
    assert NETWORKS[name].startswith(f"{build_backbone(name, image_size=size).num_features} features")


def test_every_modality_lists_names_that_it_takes() -> None:
    for make in MODALITIES.values():
        modality = make()
        networks = [name for name in modality.listed("networks", "") if "NAME" not in name]
        if not networks:  # samples of one's own have no names
            assert modality.name == "samples"
            continue
        for views in modality.listed("views", ""):
            if "+" not in views:
                modality.names(Recipe(views=views, backbone=networks[0]))  # refuses a name that is none
        for network in networks:
            modality.names(Recipe(views=next(iter(modality.listed("views", ""))), backbone=network))
        with pytest.raises(ValueError, match="no such"):
            modality.names(Recipe(views="no such", backbone=networks[0]))


def test_a_word_finds_networks_of_both_libraries_and_a_wrong_one_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "networks", "convnext_tiny")
    assert "convnext_tiny" in found
    assert "torchvision:convnext_tiny" in printed(capsys, "networks", "convnext")
    with pytest.raises(SystemExit, match="2"):
        main(["networks", "convnextt"])
    assert "no network has 'convnextt'" in capsys.readouterr().err


def test_the_page_of_views_shows_every_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "photos", 4, size=(24, 24))
    page = tmp_path / "views.html"
    assert "page: " in printed(capsys, "views", str(tmp_path / "photos"), "--out", str(page), "--size", "16")
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"<h3>([\w-]+): ", text)
    assert headings == list(VIEWS)
    by_row = [row.count("<figure title") for row in text.split("<h3>")[1:]]
    assert by_row[headings.index("simclr")] == 3 * (1 + 2)  # three pictures, as they are and drawn twice
    assert by_row[headings.index("byol")] == 3 * (1 + 2 * 2)  # two pipelines
    assert "http" not in re.sub(r"data:[^\"]*", "", text)


def test_data_without_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["views", str(tmp_path / "nothing")])
    assert "nothing" in capsys.readouterr().err


# --- Completion.


@pytest.fixture(scope="module")
def bash() -> str:
    return script("bash", KINDS)


def completed(bash: str, *words: str) -> list[str]:
    """What bash offers for the last word: its own function, run."""
    line = " ".join(f"'{word}'" for word in words)
    code = f'{bash}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _barlow; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["barlow", "pre"], ["pretrain", "predict"]),
        (["barlow", "pretrain", "--lars"], ["--lars-trust", "--lars-clip"]),
        (["barlow", "pretrain", "--optimizer", "ad"], ["adamw", "adam"]),
        (["barlow", "pretrain", "--optimizer", "=", "l"], ["lars"]),
        (["barlow", "pretrain", "photos/", "--recipe", "simclr-c"], ["simclr-cifar"]),
        (["barlow", "pretrain", "--views", "byol"], ["byol", "byol-iid"]),
        (["barlow", "pretrain", "--no-zero"], ["--no-zero-init"]),
        (["barlow", "study", "norm"], ["normalization"]),
        (["barlow", "recipes", "wmse-cifar"], ["wmse-cifar", "wmse-cifar-4"]),
        (["barlow", "completion", ""], ["bash", "zsh", "fish"]),
        (["barlow", "evaluate", "--protocol", "p"], ["published"]),
        (["barlow", "pretrain", "--out", "x"], []),  # a path: readline's own completion
        (["barlow", "evaluate", "runs/"], []),
    ],
)
def test_bash_completes(bash: str, words: list[str], offered: list[str]) -> None:
    assert sorted(completed(bash, *words)) == sorted(offered)


def test_bash_offers_every_flag_of_every_command(bash: str) -> None:
    for name, kind in KINDS.items():
        offered = set(completed(bash, "barlow", name, "--"))
        assert {flag.name for flag in flags_of(kind) if flag.name.startswith("--")} <= offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_have_every_command_and_flag_in_a_script_that_parses(shell: str) -> None:
    text = script(shell, KINDS)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
    for line in text.splitlines():  # quotes are closed on their line, or the rest of the script is inside them
        if not line.startswith("#"):
            assert line.count("'") % 2 == 0, line[:100]
    for name, kind in KINDS.items():
        for flag in flags_of(kind):
            if flag.name.startswith("--"):
                where = (
                    rf"'{name} {flag.name}'\)|{flag.name}:" if shell == "zsh" else rf"from {name}' -l {flag.name[2:]} "
                )
                assert re.search(where, text), f"{name} {flag.name}"
    if shell == "zsh":
        assert text.startswith("#compdef barlow\n")
        assert text.count("{\n") == len(re.findall(r"^}$", text, re.MULTILINE))
        assert len(re.findall(r"\bcase\b.* in$", text, re.MULTILINE)) == len(
            re.findall(r"^ *esac$", text, re.MULTILINE)
        )
    else:
        rest = [line for line in text.splitlines() if line and not line.startswith(("#", "complete -c barlow -n "))]
        assert rest == []
