"""Classification with and without labels, the angular margin, who is paired with whom, and what the first step says."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.heads import HeadSpec
from barlow.methods.speakers import (
    AngularMargin,
    Speakers,
    agreement_loss,
    classification_loss,
    partners,
    with_partners,
)
from barlow.methods.table import builder_of
from barlow.recipes import Recipe
from tests.methods.in_lockstep import in_lockstep

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(9, 3, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([0, 2, -1, 1, 1, -1, 2, 0, 1])


def build(**options: object) -> Speakers:
    torch.manual_seed(0)
    return Speakers(nn.Linear(4, 6), HeadSpec("none"), 6, **{"num_classes": 3, **options})  # type: ignore[arg-type]


def views(n: int = 9) -> list[Tensor]:
    clean, noise = torch.randn(2, n, 4, generator=torch.Generator().manual_seed(1))
    return [clean, clean + 0.3 * noise]


def test_classification_is_the_mean_over_the_samples_that_have_a_label() -> None:
    rows = [-math.log(float(LOGITS[i].softmax(0)[y])) for i, y in enumerate(LABELS.tolist()) if y >= 0]
    assert float(classification_loss(LOGITS, LABELS)) == pytest.approx(sum(rows) / len(rows))
    logits = LOGITS.clone().requires_grad_()
    nothing = classification_loss(logits, torch.full_like(LABELS, -1))
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("sizes", [[4, 5], [2, 1, 6]])
def test_shards_classify_as_the_whole_batch_also_where_one_has_no_label(sizes: list[int]) -> None:
    logits, labels = LOGITS.split(sizes), LABELS.split(sizes)
    assert sizes != [2, 1, 6] or labels[1].tolist() == [-1]
    found = in_lockstep(
        len(sizes), lambda rank, all_mean, _: classification_loss(logits[rank], labels[rank], all_mean=all_mean)
    )
    for one in found:
        torch.testing.assert_close(one, classification_loss(LOGITS, LABELS))


def test_the_angular_margin_by_hand() -> None:
    layer = AngularMargin(2, 2, margin=0.5, scale=10.0).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    angle = 0.3
    h = 7 * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    with_margin = layer(h, torch.tensor([0])).tolist()[0]
    assert with_margin == pytest.approx([10 * math.cos(angle + 0.5), 10 * math.sin(angle)])
    assert layer(h, torch.tensor([-1])).tolist()[0] == pytest.approx([10 * math.cos(angle), 10 * math.sin(angle)])


def test_the_angular_margin_falls_with_the_angle_all_the_way() -> None:
    layer = AngularMargin(2, 1, margin=0.5, scale=1.0).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0]]))
    angles = torch.linspace(0.0, math.pi, 200, dtype=torch.float64)
    logits = layer(torch.stack([angles.cos(), angles.sin()], dim=1), torch.zeros(200, dtype=torch.int64))[:, 0]
    assert bool((logits.diff() < 0).all())
    assert bool((logits < angles.cos()).all())


def test_the_kinds_of_agreement() -> None:
    z_a, z_b = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    terms = barlow_twins_loss(z_a, z_b, redundancy_weight=0.1)
    torch.testing.assert_close(agreement_loss(z_a, z_b, redundancy_weight=0.1), terms.total)
    torch.testing.assert_close(agreement_loss(z_a, z_b, kind="invariance"), terms.parts["on_diagonal"])
    by_hand = sum(float((a - b) @ (a - b)) for a, b in zip(z_a, z_b, strict=True)) / 12
    assert float(agreement_loss(z_a, z_b, kind="mse")) == pytest.approx(by_hand)
    assert float(agreement_loss(z_a, z_b, kind="none")) == 0


def test_partners_are_the_next_of_their_speaker() -> None:
    labels = torch.tensor([0, 1, -1, 0, 2, 0, 1, -1])
    found = partners(labels)
    assert found.tolist() == [3, 6, 2, 5, 4, 0, 1, 7]
    z = torch.arange(8.0).unsqueeze(1)
    assert with_partners(z, labels)[:, 0].tolist() == found.tolist()


def test_the_loss_is_the_sum_of_its_parts_and_each_view_is_classified() -> None:
    method = build(agreement_weight=0.5, redundancy_weight=0.1)
    clean, noisy = views()
    terms = method([clean, noisy], LABELS)
    h_a, h_b = method.backbone(clean), method.backbone(noisy)
    logits = method.classifier(torch.cat([h_a, h_b]))
    torch.testing.assert_close(terms.parts["classification"], classification_loss(logits, LABELS.repeat(2)))
    agreement = 0.5 * barlow_twins_loss(h_a, h_b, redundancy_weight=0.1).total
    torch.testing.assert_close(terms.parts["agreement"], agreement)
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


def test_same_speaker_pairs_a_clean_clip_with_the_noisy_copy_of_another() -> None:
    method = build(pairs="same_speaker", agreement="mse", agreement_weight=1.0)
    clean, noisy = views()
    h_a, h_b = method.backbone(clean), method.backbone(noisy)
    expected = F.mse_loss(h_a, h_b[partners(LABELS)], reduction="sum") / 9
    torch.testing.assert_close(method([clean, noisy], LABELS).parts["agreement"], expected)


@pytest.mark.parametrize(
    ("weight", "agreement", "said"),
    [
        (2.0, "barlow_twins", r"agreement 0\.\d+ with agreement_weight 2: a ratio of 0\.\d+$"),
        (100.0, "mse", r"The agreement leads.*--options agreement_weight .* would begin at 0\.3"),
        (1e-5, "barlow_twins", r"The agreement decides little"),
    ],
)
def test_the_first_step_says_what_the_agreement_is_of_the_classification(
    weight: float, agreement: str, said: str
) -> None:
    method = build(agreement_weight=weight, agreement=agreement)
    with torch.no_grad():
        remark = method.remark(method(views(), LABELS))
    assert re.search(said, remark), remark
    assert build(agreement="none").remark(method(views(), LABELS)) == ""


def test_the_weight_that_is_proposed_begins_where_it_says() -> None:
    first = build(agreement_weight=100.0)
    wanted = float(first.remark(first(views(), LABELS)).split("agreement_weight ")[2].split(" ")[0])
    terms = build(agreement_weight=wanted)(views(), LABELS)
    assert float((terms.parts["agreement"] / terms.parts["classification"]).detach()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes: got 0, wanted at least 2"),
        ({"agreement_weight": -1.0}, "agreement_weight: got -1.0, wanted 0 or more"),
        ({"margin": 2.0}, "margin: got 2.0, wanted radians"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("name", "word"), [("classifier", "softmaxx"), ("pairs", "copy"), ("agreement", "barlow"), ("num_classes", "six")]
)
def test_words_that_are_no_option_are_refused_where_a_run_begins(name: str, word: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: got '{word}', wanted"):
        builder_of(Recipe(method="speakers", options={name: word}))


def test_labels_have_to_come_and_to_be_known() -> None:
    with pytest.raises(ValueError, match="labels: got none"):
        build()(views())
    with pytest.raises(ValueError, match="labels: got 2, wanted less than num_classes 2"):
        build(num_classes=2)(views(), LABELS)
