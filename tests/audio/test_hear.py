"""The documented contract of HEAR 2021, held by the module that is exported; its embeddings are the run's."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from barlow.audio.front_end import FrontEnd, as_options, settled
from barlow.audio.hear import (
    SAMPLE_RATES,
    WINDOWS_AT_ONCE,
    HearModel,
    export_hear,
    get_scene_embeddings,
    open_hear,
)
from barlow.audio.networks.build import build_network
from barlow.audio.views.log_mel import prepare_of
from barlow.recipes import Recipe

RECIPE = Recipe(name="tiny", backbone="tdnn", width=4)


def facts_of(rate: int, seconds: float = 0.25, **numbers: Any) -> dict[str, Any]:
    front = settled(FrontEnd(mels=8, seconds=seconds, **numbers), rate)
    kept = {"loudness": [0.05], "mean": [-8.0], "std": [4.0], "input_shape": [1, front.mels, front.frames]}
    return {"front_end": as_options(front), **kept, "path": "/home/someone/recordings"}


def network(facts: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return build_network("tdnn", settled(FrontEnd(**facts["front_end"]), 8000), width=4).eval()


def exported(folder: Path, facts: dict[str, Any]) -> Any:
    """The module as a program of HEAR imports it."""
    export_hear(network(facts), folder, RECIPE, facts)
    spec = importlib.util.spec_from_file_location("barlow_hear", folder / "barlow_hear.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[8000, 22050])
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return exported(tmp_path_factory.mktemp("hear") / f"at-{request.param}", facts_of(request.param))


@pytest.fixture(scope="module")
def model(module: Any) -> Any:
    return module.load_model()


def noise(model: Any, seconds: float, num: int = 2) -> Tensor:
    return 2 * torch.rand(num, int(seconds * model.sample_rate), generator=torch.Generator().manual_seed(1)) - 1


def test_the_model_says_its_rate_and_the_sizes_of_its_embeddings(model: Any) -> None:
    assert model.sample_rate in [rate for rate in SAMPLE_RATES if rate >= model.front.sample_rate]
    assert isinstance(model, nn.Module)
    sizes: tuple[object, ...] = (model.scene_embedding_size, model.timestamp_embedding_size)
    assert all(isinstance(size, int) for size in sizes)
    assert model.scene_embedding_size == 8


@pytest.mark.parametrize("seconds", [0.1, 1.07, 1.98, 4.0])
def test_timestamps_are_even_begin_at_the_start_and_reach_the_end(module: Any, model: Any, seconds: float) -> None:
    embeddings, times = module.get_timestamp_embeddings(noise(model, seconds), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert times.shape[0] == 2
    assert float(times[0, 0]) == 0.0
    torch.testing.assert_close(times.diff(), torch.full((2, times.shape[1] - 1), 50.0), rtol=0, atol=1e-2)
    assert 1000 * seconds - 50 < float(times[0, -1]) <= 1000 * seconds
    assert bool(embeddings.isfinite().all())


def test_scenes_are_one_embedding_each_whatever_else_is_in_the_batch(module: Any, model: Any) -> None:
    audio = noise(model, 2.74, num=4)
    found = module.get_scene_embeddings(audio, model)
    assert found.shape == (4, model.scene_embedding_size)
    assert found.dtype == torch.float32
    torch.testing.assert_close(module.get_scene_embeddings(audio[2:3], model), found[2:3], rtol=1e-4, atol=1e-4)
    assert not found.requires_grad


def test_a_timestamp_is_the_embedding_of_the_window_around_it(module: Any, model: Any) -> None:
    facts = facts_of(model.front.sample_rate)
    rate = model.front.sample_rate
    if rate != model.sample_rate:
        pytest.skip("resampled")
    audio = noise(model, 1.5, num=1)
    embeddings, times = module.get_timestamp_embeddings(audio, model)
    middle = round(float(times[0, 13]) / 1000 * rate)
    window = audio[:, middle - model.front.window // 2 :][:, : model.front.window]
    expected = network(facts)(prepare_of(facts).plain(window))
    torch.testing.assert_close(embeddings[:, 13], expected, rtol=1e-3, atol=1e-4)


def test_a_short_scene_is_the_embedding_of_the_run_and_a_long_one_the_mean_of_its_windows(
    module: Any, model: Any
) -> None:
    facts = facts_of(model.front.sample_rate)
    if model.front.sample_rate != model.sample_rate:
        pytest.skip("resampled")
    window, prepare = model.front.window, prepare_of(facts)
    short = noise(model, 0.1, num=1)
    left = (window - short.shape[1]) // 2
    placed = nn.functional.pad(short, (left, window - short.shape[1] - left))
    found = module.get_scene_embeddings(short, model)
    torch.testing.assert_close(found, network(facts)(prepare.plain(placed)), rtol=1e-3, atol=1e-4)
    long = noise(model, 2 * window / model.sample_rate + 1e-9, num=1)[:, : 2 * window]
    windows = torch.cat([long[:, start : start + window] for start in (0, round(window / 2), window)])
    expected = network(facts)(prepare.plain(windows)).mean(dim=0, keepdim=True)
    torch.testing.assert_close(module.get_scene_embeddings(long, model), expected, rtol=1e-3, atol=1e-4)


def test_twenty_minutes_go_through_some_windows_at_a_time(tmp_path: Path) -> None:
    facts = facts_of(8000, seconds=0.05, n_fft=256, hop=200)
    module = exported(tmp_path / "hear", facts)
    model = module.load_model(str(tmp_path / "hear"))
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    embeddings, times = module.get_timestamp_embeddings(noise(model, 1200.0, num=1), model)
    assert embeddings.shape[:2] == times.shape == (1, 24_001)
    assert float(times[0, -1]) == 1_200_000.0
    assert max(sizes) <= WINDOWS_AT_ONCE
    assert len(sizes) >= 24_001 // WINDOWS_AT_ONCE


def test_twice_the_rate_gives_nearly_the_same_embeddings(tmp_path: Path) -> None:
    """A tone at 8 kHz, and at the 16 kHz that HEAR has."""
    facts = facts_of(8000)
    model = HearModel(network(facts), facts)
    assert model.sample_rate == 16000
    time = torch.arange(4000) / 16000
    wave = 0.3 * torch.sin(2 * torch.pi * 440 * time)[None]
    module = exported(tmp_path / "hear", facts)
    expected = network(facts)(prepare_of(facts).plain(wave[:, ::2].contiguous()))
    torch.testing.assert_close(module.get_scene_embeddings(wave, model), expected, rtol=0.05, atol=0.05)


def test_the_folder_says_nothing_of_where_the_data_lay_and_works_from_elsewhere(tmp_path: Path) -> None:
    facts = facts_of(16000)
    notes = export_hear(network(facts), tmp_path / "hear", RECIPE, facts)
    assert "hear-validator barlow_hear" in notes[0]
    assert sorted(path.name for path in (tmp_path / "hear").iterdir()) == [
        "backbone.safetensors",
        "barlow_hear.py",
        "hear.json",
    ]
    assert "/home/someone" not in "".join(p.read_text() for p in (tmp_path / "hear").glob("*.[jp]*"))
    moved = (tmp_path / "hear").rename(tmp_path / "moved")
    code = (
        "import barlow_hear as h, torch; m = h.load_model(); "
        "print(*h.get_scene_embeddings(torch.zeros(1, 9000), m).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=moved, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "8"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    facts = facts_of(16000)
    with pytest.raises(ValueError, match="to: 'hear' wants a network and views of sound by name"):
        export_hear(network(facts), tmp_path, Recipe(backbone="own:Net"), facts)
    with pytest.raises(ValueError, match=r"model_file_path: got .*wanted a folder of barlow export"):
        open_hear(tmp_path)
    model = HearModel(network(facts), facts)
    for audio in (torch.zeros(100), torch.zeros(1, 0), torch.zeros(1, 100, dtype=torch.int16)):
        with pytest.raises((ValueError, TypeError), match="audio"):
            get_scene_embeddings(audio, model)
