"""VICRegL against loops over samples, positions and features, its matches, its shards, and its gradients."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from barlow.collectives import MeanOver, all_mean, identity
from barlow.methods.vicreg import vicreg_loss
from barlow.methods.vicregl import Embeddings, VICRegL, vicregl, vicregl_loss
from barlow.networks.backbones import build_backbone
from barlow.networks.heads import HeadSpec
from barlow.views.located import LocatedPipeline, LocatedView
from barlow.views.pipeline import ImagePipeline
from tests.methods.in_lockstep import AllMean, in_lockstep

WEIGHTS = {"invariance_weight": 3.0, "variance_weight": 2.0, "covariance_weight": 0.7}
PARTS = [f"{scope}_{term}" for scope in ("global", "local") for term in ("invariance", "variance", "covariance")]
SHARDS = (3, 5)


def some_views(n: int, sizes: tuple[int, ...] = (4, 4), *, seed: int = 0) -> list[Embeddings]:
    """Float64 embeddings of views with so many positions each, correlated, with places anywhere."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shared, mix = draw(n, 3), draw(3, 3)
    views = []
    for p in sizes:
        whole = 0.5 * (shared + 0.3 * draw(n, 3)) @ mix
        positions = 0.5 * (shared[:, None] + draw(n, p, 3)) @ mix
        views.append(Embeddings(whole.requires_grad_(), positions.requires_grad_(), draw(n, p, 2)))
    return views


def leaves(views: list[Embeddings]) -> list[Tensor]:
    return [tensor for view in views for tensor in (view.whole, view.positions)]


def naive_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Official s, mean of v and mean of c of two sets of N embeddings, as sums over scalars."""
    n, d = x.shape
    s = ((x - y) ** 2).sum() / (n * d)
    v, c = torch.zeros_like(s), torch.zeros_like(s)
    for z in (x, y):
        for i in range(d):
            for j in range(d):
                cov = ((z[:, i] - z[:, i].sum() / n) * (z[:, j] - z[:, j].sum() / n)).sum() / (n - 1)
                if i == j:
                    v = v + torch.clamp(1 - torch.sqrt(cov + 1e-4), min=0) / d / 2
                else:
                    c = c + cov**2 / d / 2
    return s, v, c


def naive_matches(x: Tensor, y: Tensor, most: int) -> list[tuple[int, int]]:
    """Pairs (own, partner) of one sample by a search over all distances."""
    x, y, best = x.detach(), y.detach(), []
    for p in range(len(x)):
        distances = [float(((x[p] - y[q]) ** 2).sum()) for q in range(len(y))]
        best.append((min(distances), p, distances.index(min(distances))))
    return [(p, q) for _, p, q in sorted(sorted(best)[: most or len(best)], key=lambda found: found[1])]


def naive_loss(
    views: list[Embeddings], alpha: float, matches: tuple[int, int], feature_matches: tuple[int, int]
) -> Tensor:
    """Equations of the paper with the official factors, pair by pair and slot by slot."""
    pairs = [(i, j) for i in (0, 1) for j in range(len(views)) if i != j]
    weights = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for i, j in pairs:
        s = naive_terms(views[i].whole, views[j].whole)[0]
        total = total + alpha * weights[0] * s / len(pairs)
    for view in views:
        _, v, c = naive_terms(view.whole, view.whole)
        total = total + alpha * (weights[1] * v + weights[2] * c) / len(views)
    for i, j in pairs:
        for kind, kept in (("positions", feature_matches), ("places", matches)):
            for a, b, most in ((views[i], views[j], kept[0]), (views[j], views[i], kept[1])):
                found = [
                    naive_matches(getattr(a, kind)[sample], getattr(b, kind)[sample], most)
                    for sample in range(len(a.whole))
                ]
                for slot in range(len(found[0])):
                    x = torch.stack([a.positions[sample, row[slot][0]] for sample, row in enumerate(found)])
                    y = torch.stack([b.positions[sample, row[slot][1]] for sample, row in enumerate(found)])
                    terms = torch.stack(naive_terms(x, y))
                    total = total + (1 - alpha) * (weights * terms).sum() / len(found[0]) / len(pairs) / 2
    return total


@pytest.mark.parametrize(
    ("sizes", "matches", "feature_matches"),
    [((4, 4), (3, 2), (0, 0)), ((4, 4), (20, 1), (2, 1)), ((4, 4, 2), (3, 1), (0, 0))],
    ids=["two views", "fewer feature matches", "a small view"],
)
def test_equals_the_loops_of_the_paper_in_value_and_gradient(
    sizes: tuple[int, ...], matches: tuple[int, int], feature_matches: tuple[int, int]
) -> None:
    views = some_views(4, sizes)
    terms = vicregl_loss(views, alpha=0.6, matches=matches, feature_matches=feature_matches, **WEIGHTS)  # type: ignore[arg-type]
    expected = naive_loss(views, 0.6, matches, feature_matches)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, leaves(views))
    theirs = torch.autograd.grad(expected, leaves(views))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert list(terms.parts) == PARTS
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


def test_defaults_are_alpha_three_quarters_20_and_4_by_location_and_all_by_features() -> None:
    views = some_views(4, (25, 25))
    by_name = vicregl_loss(
        views,
        alpha=0.75,
        matches=(20, 4),
        feature_matches=(25, 25),
        invariance_weight=25.0,
        variance_weight=25.0,
        covariance_weight=1.0,
    )
    torch.testing.assert_close(vicregl_loss(views).total, by_name.total, rtol=0, atol=0)


def test_the_global_criterion_of_two_views_is_vicreg_with_half_the_covariance() -> None:
    views = some_views(6)
    ours = vicregl_loss(views, alpha=1.0).parts
    plain = vicreg_loss(views[0].whole, views[1].whole).parts
    torch.testing.assert_close(ours["global_invariance"], plain["invariance"])
    torch.testing.assert_close(ours["global_variance"], plain["variance"])
    torch.testing.assert_close(ours["global_covariance"], plain["covariance"] / 2)
    assert all(ours[name] == 0 for name in PARTS[3:])


def test_alpha_weighs_global_against_local() -> None:
    views = some_views(6)
    totals = [vicregl_loss(views, alpha=alpha).total for alpha in (0.0, 0.3, 1.0)]
    torch.testing.assert_close(totals[1], 0.7 * totals[0] + 0.3 * totals[2])


def test_identical_views_of_the_same_crop_have_no_invariance_loss() -> None:
    view = some_views(5, (9,))[0]
    parts = vicregl_loss([view, view]).parts
    assert parts["global_invariance"] == 0
    assert parts["local_invariance"] == 0


def test_gradcheck() -> None:
    views = some_views(3, (2, 2))

    def total(*tensors: Tensor) -> Tensor:
        pairs = zip(tensors[::2], tensors[1::2], views, strict=True)
        return vicregl_loss([Embeddings(e, m, view.places) for e, m, view in pairs], matches=(2, 1)).total

    assert torch.autograd.gradcheck(total, tuple(leaves(views)))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapse_gives_what_the_hinge_says_and_finite_gradients(value: float) -> None:
    """All hinges at 1 - sqrt(1e-4): 24.75 by global, and twice that by local, once by features, once by location."""
    places = some_views(4)[0].places.float()
    views = [
        Embeddings(torch.full((4, 3), value).requires_grad_(), torch.full((4, 4, 3), value).requires_grad_(), places)
        for _ in range(2)
    ]
    terms = vicregl_loss(views, alpha=0.75)
    torch.testing.assert_close(terms.total, torch.tensor(0.75 * 24.75 + 0.25 * 2 * 24.75))
    assert all(g.isfinite().all() for g in torch.autograd.grad(terms.total, leaves(views)))


def test_half_precision_is_reduced_in_float32_also_under_autocast() -> None:
    halves = [Embeddings(v.whole.bfloat16(), v.positions.bfloat16(), v.places.float()) for v in some_views(8)]
    expected = vicregl_loss([Embeddings(v.whole.float(), v.positions.float(), v.places) for v in halves]).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicregl_loss(halves).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


def test_shards_equal_the_whole_batch_in_value_and_gradient() -> None:
    views = some_views(sum(SHARDS))
    whole = vicregl_loss(views, matches=(3, 2)).total
    expected = torch.autograd.grad(whole, leaves(views))
    shards = [[tensor.split(list(SHARDS)) for tensor in view] for view in views]

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        own = [Embeddings(*(parts[rank] for parts in view)) for view in shards]
        return vicregl_loss(own, matches=(3, 2), all_mean=MeanOver(mean, sum(SHARDS))).total

    totals = in_lockstep(len(SHARDS), loss)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(totals[0], leaves(views)), expected, rtol=1e-10, atol=1e-12)


def heads() -> nn.ModuleList:
    """Fewer features than samples for whole images, more for positions: both exchanges of the covariance."""
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, sum(SHARDS) + 2)]).double()


def projected_loss(networks: nn.ModuleList, views: list[Embeddings], reduce: object) -> Tensor:
    return vicregl_loss(
        [Embeddings(networks[0](v.whole), networks[1](v.positions), v.places) for v in views],
        matches=(3, 2),
        all_mean=reduce,  # type: ignore[arg-type]
    ).total


def process(rank: int, folder: str) -> None:
    """One process: its shard's loss, gradients averaged as DDP averages them, and the same with own statistics."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARDS))
    shard = [Embeddings(*(t.detach().split(list(SHARDS))[rank] for t in view)) for view in some_views(sum(SHARDS))]
    found: dict[str, Tensor] = {}
    for name, reduce in (("global", all_mean), ("local", identity)):
        networks = heads()
        loss = projected_loss(networks, shard, reduce)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in networks.parameters() if p.grad is not None])
        dist.all_reduce(gradient)
        found |= {f"{name} loss": loss.detach(), f"{name} gradient": gradient / len(SHARDS)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_data_give_the_gradient_of_one_and_own_statistics_do_not(tmp_path: Path) -> None:
    start_processes(process, args=(str(tmp_path),), nprocs=len(SHARDS), start_method="forkserver")
    networks = heads()
    loss = projected_loss(networks, some_views(sum(SHARDS)), identity)
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in networks.parameters() if p.grad is not None])
    for rank in range(len(SHARDS)):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found["global loss"], loss.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found["global gradient"], expected, rtol=1e-9, atol=1e-12)
        assert (found["local gradient"] - expected).abs().max() > 1e-3


def tiny_method(**options: object) -> VICRegL:
    torch.manual_seed(0)
    backbone = build_backbone("resnet10", in_channels=1, image_size=28, width=8, stem="small", zero_init=False)
    head = HeadSpec("16-12", bias=True)
    return vicregl(backbone, head, backbone.num_features, local_projector="16-8", **options)  # type: ignore[arg-type]


def located_views(sizes: tuple[int, ...] = (28, 28), n: int = 6) -> list[LocatedView]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 28, 28, generator=generator)
    made = []
    for size in sizes:
        pipeline = LocatedPipeline(
            ImagePipeline(size=size, mean=(0.5,), std=(0.25,), crop_scale=(0.3, 1.0), flip=0.5, noise=0.1)
        )
        made.append(pipeline.apply(images, pipeline.sample(images, generator)))
    return made


@pytest.mark.parametrize("sizes", [(28, 28), (28, 28, 14)], ids=["two views", "a small view"])
def test_gradients_reach_backbone_and_both_heads(sizes: tuple[int, ...]) -> None:
    method = tiny_method()
    terms = method(located_views(sizes))
    assert list(terms.parts) == PARTS
    assert terms.total.isfinite()
    terms.total.backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for part in (method.backbone, method.projector, method.local_projector):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_the_module_gives_the_loss_of_its_maps() -> None:
    method, views = tiny_method(alpha=0.4, matches=5, matches_back=2, feature_matches=7).eval(), located_views()
    embeddings = [method._embeddings(view) for view in views]
    assert [(e.whole.shape, e.positions.shape, e.places.shape) for e in embeddings] == [
        ((6, 12), (6, 16, 8), (6, 16, 2))
    ] * 2
    # Position 6 of the map of 4 x 4 is row 1, column 2.
    with torch.no_grad():
        feature_map = method.backbone.network.layer4(  # type: ignore[union-attr, operator]
            _until_layer4(method.backbone.network, views[0].images)  # type: ignore[arg-type]
        )
        expected = method.local_projector(feature_map[:, :, 1, 2])
    torch.testing.assert_close(embeddings[0].positions[:, 6], expected)
    top, left, height, width = views[0].boxes.unbind(1)
    column = torch.where(views[0].flipped, 1 - 2.5 / 4, 2.5 / 4)
    place = torch.stack([top + 1.5 / 4 * height, left + column * width], dim=1)
    torch.testing.assert_close(embeddings[0].places[:, 6], place)
    expected_loss = vicregl_loss(embeddings, alpha=0.4, matches=(5, 2), feature_matches=(7, 0)).total
    torch.testing.assert_close(method(views).total, expected_loss)


def _until_layer4(network: nn.Module, images: Tensor) -> Tensor:
    x = images
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
        x = network.get_submodule(name)(x)
    return x


def test_flips_are_compensated_by_default_and_ignored_officially() -> None:
    """Two views of one crop, the second mirrored: only with compensation do matches show the same pixels."""
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4)
    upright, mirrored = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    views = [LocatedView(images, boxes, upright), LocatedView(images.flip(3), boxes, mirrored)]
    for flip, alike in (("compensated", False), ("official", True)):
        first, second = (tiny_method(flip=flip).eval()._embeddings(view).places for view in views)
        assert torch.equal(first, second) is alike
        grids = [places.view(4, 4, 4, 2) for places in (first, second)]
        assert torch.equal(grids[0], grids[1].flip(2)) is not alike


def test_represents_tensors_and_located_views_with_the_backbone() -> None:
    method, view = tiny_method().eval(), located_views()[0]
    expected = method.backbone(view.images)
    torch.testing.assert_close(method.represent(view.images), expected, rtol=0, atol=0)
    torch.testing.assert_close(method.represent(view), expected, rtol=0, atol=0)


def test_the_state_holds_backbone_and_heads_once() -> None:
    prefixes = {name.split(".")[0] for name in tiny_method().state_dict()}
    assert prefixes == {"backbone", "projector", "local_projector"}


def test_views_without_place_are_refused_and_name_the_way_out() -> None:
    with pytest.raises(ValueError, match="views: got Tensor, wanted views that carry their place"):
        tiny_method()([torch.rand(4, 1, 28, 28)] * 2)


def test_backbones_without_pooling_are_refused_when_built() -> None:
    with pytest.raises(ValueError, match="Linear has no global average pooling"):
        vicregl(nn.Linear(4, 3), HeadSpec("3"), 3)


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    views = some_views(4)
    for arguments, message in (
        ({"alpha": 1.5}, "alpha: got 1.5, wanted a number from 0 to 1"),
        ({"variance_weight": -1.0}, "variance_weight.*-1.0.*wanted 0 or more"),
        ({"matches": (-1, 4)}, "matches.*-1.*wanted 0"),
    ):
        with pytest.raises(ValueError, match=message):
            vicregl_loss(views, **arguments)
    with pytest.raises(ValueError, match="views: got 1, wanted at least 2"):
        vicregl_loss(views[:1])
    with pytest.raises(ValueError, match=r"flip: got 'oficial'.*did you mean 'official'"):
        tiny_method(flip="oficial")
