"""A sequence as a whole: what it leaves, what it refuses, and that a weight of 0 changes nothing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import barlow
from barlow.applications.continual.domains import load_domains
from barlow.applications.continual.ewc import read_fisher
from barlow.applications.continual.page import sentences
from barlow.applications.continual.sequence import SequenceRun
from barlow.applications.continual.statistics import read_statistics
from barlow.cli.commands import main
from barlow.images.modality import IMAGES
from barlow.training.checkpoint import load_checkpoint
from barlow.training.order import view_generator
from tests.applications.continual.tiny import PICTURES, QUIET, VIEWS, method, pictures, source


def sequence(out: Path, keep: Any, **more: Any) -> SequenceRun:
    data = [pictures(0, labelled=True), pictures(1)]
    return barlow.pretrain_sequence(data, keep=keep, out=out, machine=QUIET, **{"baselines": (), **PICTURES, **more})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(folder / "checkpoints" / "last.ckpt")["method"]
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sequences")


@pytest.fixture(scope="module")
def whole(root: Path) -> SequenceRun:
    """EWC with everything beside it."""
    return sequence(root / "ewc", barlow.EWC(batches=2), baselines=("none", "joint", "alone"))


@pytest.fixture(scope="module")
def zero(root: Path) -> SequenceRun:
    """EWC that weighs nothing."""
    return sequence(root / "zero", barlow.EWC(relative_weight=0, batches=2))


def bare(whole: SequenceRun) -> dict[str, torch.Tensor]:
    """The weights at the end of the sequence with nothing kept."""
    return weights(whole.folder / "baselines" / "none-2-pictures-1")


def test_every_stage_is_an_ordinary_run_with_its_fisher_and_its_statistics(whole: SequenceRun) -> None:
    assert [folder.name for folder in whole.stages] == ["1-pictures-0", "2-pictures-1"]
    for folder in whole.stages:
        run = barlow.open_run(folder)
        assert run.finished
        assert run.embed(pictures(2)).shape[0] == 60
        named = {name for name in weights(folder) if "running" not in name and "num_batches" not in name}
        assert set(read_fisher(folder).diagonal) == named
        assert read_statistics(folder)
    facts = barlow.open_run(whole.stages[1]).facts
    assert facts["start_from_from_here"] == "../1-pictures-0"
    assert facts["mean"] == barlow.open_run(whole.stages[0]).facts["mean"], "input stays normalised as in the first"
    assert facts["wrap"].startswith("EWC(relative_weight=30")


def test_a_weight_of_0_is_the_sequence_with_nothing_kept_to_the_bit(whole: SequenceRun, zero: SequenceRun) -> None:
    same = weights(zero.stages[1])
    assert all(torch.equal(value, same[name]) for name, value in bare(whole).items())
    other = weights(whole.stages[1])
    assert any(not torch.equal(value, other[name]) for name, value in bare(whole).items()), "a weight above 0 is not"


def test_ewc_drifts_less_where_it_mattered(whole: SequenceRun) -> None:
    arms = whole.results["arms"]
    assert arms["ewc"]["drift"][1][0] < arms["none"]["drift"][1][0]
    assert arms["ewc"]["drift"][0][0] == 0.0


def test_the_results_have_the_matrices_what_they_say_and_the_bars(whole: SequenceRun) -> None:
    results = json.loads((whole.folder / "results.json").read_text())
    assert results == json.loads(json.dumps(whole.results))
    assert set(results["arms"]) == {"ewc", "none"}
    assert set(results["singles"]) == {"joint", "alone-2-pictures-1"}
    arm = results["arms"]["ewc"]
    own = arm["matrices"]["own_statistics"]
    assert own[0][1] is None
    assert own[0][0] == arm["matrices"]["loss"][0][0], "at the end of its stage the two are one"
    assert arm["transfer"]["own_statistics"]["backward"] == pytest.approx(own[1][0] - own[0][0])
    assert arm["matrices"]["probe"][0][0] is not None
    assert arm["matrices"]["probe"][0][1] is None, "a data set without labels has no probe"
    assert results["untrained"]["loss"][0] > 0


def test_the_journal_has_the_loss_on_every_data_set_between_epochs(whole: SequenceRun) -> None:
    records = [json.loads(line) for line in (whole.stages[1] / "journal.jsonl").read_text().splitlines()]
    probes = [record["figures"] for record in records if record["event"] == "probe"]
    assert len(probes) == 2
    wanted = {"loss: pictures-0", "loss: pictures-1", "own_statistics: pictures-0"}
    assert all(wanted <= set(figures) for figures in probes)
    left = json.loads((whole.stages[1] / "domains.json").read_text())
    assert probes[-1]["loss: pictures-0"] == pytest.approx(left["loss"]["pictures-0"], rel=1e-4)
    parts = [record["parts"] for record in records if record["event"] == "step"]
    assert all("ewc" in one for one in parts)


def test_the_page_has_the_curves_before_the_tables(whole: SequenceRun) -> None:
    page = whole.page.read_text()
    titles = [
        "Held-out loss on pictures-0 over all stages",
        "Beside other ways",
        "R: held-out loss",
        "What the matrices say",
    ]
    places = [page.index(f"<h2>{title}") for title in titles]
    assert places == sorted(places)
    assert "<svg" in page[places[0] : places[1]]
    assert "untrained" in page
    assert "barlow sequence" in page
    assert all(line.split("<")[0] in page for line in sentences(whole.results))


def test_the_network_sees_a_data_set_with_its_own_statistics(whole: SequenceRun) -> None:
    first, last = whole.run("pictures-0"), whole.run()
    kept = read_statistics(whole.stages[0])
    for name, buffer in first.backbone.named_buffers():
        if f"backbone.{name}" in kept:
            assert torch.equal(buffer, kept[f"backbone.{name}"])
    assert torch.equal(*(next(iter(run.backbone.parameters())) for run in (first, last)))
    assert not torch.equal(*(next(b for b in run.backbone.buffers() if b.ndim) for run in (first, last)))
    with pytest.raises(ValueError, match="domain: got 'pictures-2'"):
        whole.run("pictures-2")


def test_the_same_call_trains_nothing_again_and_another_one_is_refused(zero: SequenceRun) -> None:
    files = {path: path.stat().st_mtime_ns for path in zero.folder.glob("stages/*/*") if path.is_file()}
    keep = barlow.EWC(relative_weight=0, batches=2)
    assert sequence(zero.folder, keep).results == zero.results
    assert files == {path: path.stat().st_mtime_ns for path in files}
    with pytest.raises(ValueError, match="keep was 'ewc', now 'none'"):
        sequence(zero.folder, None)
    with pytest.raises(ValueError, match=r"recipe\.epochs was 2, now 3"):
        sequence(zero.folder, keep, epochs=3)


@pytest.mark.parametrize("keep", [barlow.Distill(), barlow.Replay(samples=8)], ids=["distill", "replay"])
def test_other_ways_go_through_too(keep: Any, root: Path, whole: SequenceRun) -> None:
    found = sequence(root / type(keep).__name__, keep)
    assert found.finished
    name = type(keep).__name__.lower()
    assert set(found.results["arms"]) == {name}
    learned = weights(found.stages[1])
    assert any(not torch.equal(value, learned[key]) for key, value in bare(whole).items())
    assert weights(found.stages[0]).keys() == weights(found.stages[1]).keys(), "nothing is left of the predictor"
    if name == "replay":
        assert barlow.open_run(found.stages[1]).facts["num_samples"] == 64


def test_a_pair_says_what_is_held_out_and_else_a_share_is() -> None:
    pair = (pictures(2, 20), pictures(3, 9))
    how: dict[str, Any] = {"hold_out": 0.2, "data_root": None, "reading": {}}
    recipe = barlow.Recipe(views="small-grey", image_size=12)
    domains, _, facts = load_domains([pictures(0, labelled=True), pictures(1), pair], IMAGES, recipe, **how)
    assert [(len(one.train), len(one.held_out)) for one in domains] == [(48, 12), (48, 12), (20, 9)]
    assert domains[0].held_out.labels is not None
    assert domains[0].held_out.labels.bincount().tolist() == [6, 6], "class by class"
    assert facts["image_shape"] == [3, 12, 12]
    assert [one.name for one in load_domains([pair, pair], IMAGES, recipe, **how)[0]] == ["pictures-2", "pictures-2-2"]


@pytest.mark.usefixtures("as_users_call_it")
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    out = tmp_path / "none"
    two: list[Any] = [pictures(0), pictures(1)]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"data": two[:1]}, "data: got .*, wanted a list of two or more"),
        ({"data": "digits"}, "data: got 'digits', wanted a list"),
        ({"keep": "ecw"}, "keep: got 'ecw'.*did you mean 'ewc'"),
        ({"baselines": ["jont"]}, "baselines: got 'jont'.*did you mean 'joint'"),
        ({"hold_out": 1.5}, "hold_out: got 1.5"),
        ({"minutes": 3}, "minutes: got 3, wanted epochs"),
        ({"epoch": 3}, "epoch: is called epochs here"),
        ({"data": [pictures(0), pictures(1, 6)]}, "data: pictures-1 has 1 samples held out"),
    ]
    for arguments, message in refused:
        with pytest.raises(ValueError, match=message):
            barlow.pretrain_sequence(**{"data": two, "out": out, "machine": QUIET, **arguments})
    assert not (out / "stages").exists()


def test_the_command_runs_on_folders_and_says_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        np.save(tmp_path / f"part{seed}.npy", pictures(seed, 24).samples.numpy())  # type: ignore[union-attr]
    words = ["sequence", *(str(tmp_path / f"part{seed}.npy") for seed in (0, 1)), "--out", str(tmp_path / "stream")]
    words += ["--keep", "ewc", "--keep-options", "mode", "online", "batches", "2", "--baselines"]
    words += ["--backbone", "resnet10", "--width", "2", "--projector", "8-8", "--image-size", "12", "--epochs", "1"]
    words += ["--batch-size", "8", "--precision", "32-true", "--accelerator", "cpu", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "part0: the held-out loss is" in said
    assert f"page: {tmp_path / 'stream' / 'sequence.html'}" in said
    asked = json.loads((tmp_path / "stream" / "sequence.json").read_text())
    assert (asked["keep.mode"], asked["recipe.width"]) == ("online", 2)


def test_the_snippets_of_the_page_run(whole: SequenceRun, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs/sequence.md").read_text(encoding="utf-8")
    renamed = page.replace('"new_pictures/"', "pictures").replace('"aerial"', '"pictures-0"')
    names: dict[str, Any] = {"barlow": barlow, "pictures": pictures(2, 5)}
    asked: dict[str, Any] = {}
    monkeypatch.setattr(barlow, "pretrain_sequence", lambda data, **given: asked.update(given) or whole)
    monkeypatch.setattr(barlow, "pretrain", lambda data, **given: asked.update(given))
    for snippet in re.findall(r"^```python\n(.*?)^```", renamed, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "docs/sequence.md", "exec"), names)
    assert asked["keep"] == barlow.EWC(relative_weight=30)
    assert names["h"].shape[0] == 5
    around, views = asked["wrap"](method()), VIEWS.draw(source().samples, view_generator(0, 0))
    terms = around(views)
    torch.testing.assert_close(terms.total, around.method(views).total + terms.parts["penalty"])
