"""A page shows spectrograms with their axes, and plays clips and views; what is played of a view has its pitch."""

import base64
import io
import wave

import numpy as np
import torch

from barlow.audio.front_end import FrontEnd
from barlow.audio.show import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Show
from barlow.audio.views.log_mel import Prepare
from barlow.report.evidence import LARGEST_SIDE, wav
from barlow.seams import Audible
from tests.audio.recordings import tone

FRONT = FrontEnd(8000, 512, 160, 32, 60.0, 3800.0, 0.62)
SHOW = Show(Prepare(FRONT, 0.05, -5.0, 3.0))


def clips() -> torch.Tensor:
    return torch.from_numpy(np.stack([tone(hertz, 0.62) for hertz in (400, 1600)]))


def test_a_tone_is_a_bright_line_at_its_height_beside_axes() -> None:
    assert isinstance(SHOW, Audible)
    low, high = SHOW(SHOW.prepare.plain(clips())).float().mean(dim=1)
    assert low.shape == (TOP + HEIGHT + BOTTOM, LEFT + WIDTH + 4)
    assert max(low.shape) <= LARGEST_SIDE
    rows = [int(one[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH].mean(dim=1).argmax()) for one in (low, high)]
    assert rows[1] < rows[0] - HEIGHT / 5  # upwards
    margin = low[TOP : TOP + HEIGHT, : LEFT - 1]
    assert (margin < 100).any()
    assert (margin > 250).float().mean() > 0.5


def test_clips_and_views_are_heard_at_their_pitch() -> None:
    for samples in (clips(), SHOW.prepare.plain(clips())):
        heard = SHOW.waves(samples)
        assert float(heard.abs().max()) <= 0.9 + 1e-6
        peaks = torch.fft.rfft(heard).abs().argmax(dim=1) * FRONT.sample_rate / heard.shape[1]
        for peak, hertz in zip(peaks.tolist(), (400, 1600), strict=True):
            assert abs(peak - hertz) < 0.12 * hertz


def test_a_player_holds_a_wav() -> None:
    samples = (32767 * tone(seconds=0.1)).astype(np.int16)
    uri = wav(samples, 8000)
    with wave.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (8000, 800, 2)
        assert file.readframes(800) == samples.tobytes()
