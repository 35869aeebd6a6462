"""The public names by what they are for, each with an example; the site prints them, a test runs them in this order.

In the examples `barlow` and `torch` are imported, `photos` is a folder of pictures, `labelled` one with class folders,
`recordings` one of sound and `masks` one of images/ beside masks/; z_a, z_b are embeddings (N, D) of two views.
"""

AREAS: dict[str, dict[str, str]] = {
    "Runs": {
        "pretrain": 'run = barlow.pretrain(photos, epochs=1, out="runs/photos")',
        "resume": 'run = barlow.resume("runs/photos")',
        "open_run": 'run = barlow.open_run("runs/photos")',
        "Run": "h = run.embed(torch.zeros(3, 3, 32, 32, dtype=torch.uint8))  # (3, d)\nscore = run.evaluate(labelled)",
        "Recipe": 'recipe = barlow.Recipe(backbone="resnet10", width=16, epochs=20)',
        "RECIPES": 'recipe = barlow.RECIPES["simclr-cifar"]()',
        "Machine": "machine = barlow.Machine(devices=2, quiet=True)",
        "compare_recipes": 'barlow.compare_recipes(photos, ["barlow_twins", "simclr"], images=96, out="runs/two")',
        "Embeddings": "embeddings = run.sampled().embeddings  # .h (N, d), .names",
        "read_embeddings": 'run.write_features(photos, "h.npz")\nembeddings = barlow.read_embeddings("h.npz")',
        "predict": 'run.sampled(labelled).classify("model")\nfound = barlow.predict("model", photos)',
        "export_onnx": 'barlow.export_onnx(run.backbone, torch.zeros(2, 3, 32, 32), "backbone.onnx")',
    },
    "Audits": {
        "audit": "why = barlow.audit(run)",
        "Audit": 'sentences = [verdict.sentence for verdict in why.verdicts]\nwhy.to_html("audit.html")',
        "AuditSettings": "settings = barlow.AuditSettings(num_images=500, num_views=4)",
        "open_audit": 'why.save("an-audit")\nagain = barlow.open_audit("an-audit")',
        "compare_audits": "changes = barlow.compare_audits(again, why)",
    },
    "Losses": {
        "barlow_twins_loss": "terms = barlow.barlow_twins_loss(z_a, z_b, redundancy_weight=5e-3)",
        "Terms": "terms.total, terms.parts  # a scalar with a gradient, and what it is the sum of",
        "simclr_loss": "terms = barlow.simclr_loss(z_a, z_b, temperature=0.2)",
        "vicreg_loss": "terms = barlow.vicreg_loss(z_a, z_b, covariance_weight=1.0)",
        "byol_loss": "p_a, p_b = 2 * z_a, 2 * z_b  # of a predictor\nterms = barlow.byol_loss(p_a, z_b, p_b, z_a)",
        "simsiam_loss": "terms = barlow.simsiam_loss(p_a, z_b, p_b, z_a)",
        "wmse_loss": "terms = barlow.wmse_loss([z_a, z_b], w_size=16)  # more than D",
        "sigreg_loss": (
            "directions = torch.nn.functional.normalize(torch.randn(z_a.shape[1], 64), dim=0)\n"
            "terms = barlow.sigreg_loss(torch.stack([z_a, z_b]), directions)"
        ),
        "swav_loss": (
            "scores, codes = torch.stack([z_a, z_b]), torch.stack([z_b, z_a]).softmax(-1)\n"
            "terms = barlow.swav_loss(scores, codes)"
        ),
        "vicregl_loss": (
            "from barlow.methods.vicregl import Embeddings\n"
            "places = torch.rand(len(z_a), 25, 2)\n"
            "maps = [torch.randn(len(z_a), 25, 4) for _ in range(2)]\n"
            "terms = barlow.vicregl_loss([Embeddings(z, one, places) for z, one in zip((z_a, z_b), maps)])"
        ),
        "cca_ssg_loss": "terms = barlow.cca_ssg_loss(z_a, z_b)",
        "optimal_projector_loss": "terms = barlow.optimal_projector_loss(z_a, z_b, shrinkage=0.1)",
        "BarlowTwinsLoss": "loss = barlow.BarlowTwinsLoss(redundancy_weight=5e-3)\nterms = loss(z_a, z_b)",
        "CCASSGLoss": "terms = barlow.CCASSGLoss()(z_a, z_b)",
        "OptimalProjectorLoss": "terms = barlow.OptimalProjectorLoss(shrinkage=0.1)(z_a, z_b)",
        "SimCLRLoss": "terms = barlow.SimCLRLoss(temperature=0.2)(z_a, z_b)",
        "VICRegLoss": "terms = barlow.VICRegLoss(covariance_weight=1.0)(z_a, z_b)",
        "BYOLLoss": "terms = barlow.BYOLLoss()(p_a, z_b, p_b, z_a)",
        "SimSiamLoss": "terms = barlow.SimSiamLoss()(p_a, z_b, p_b, z_a)",
        "VICRegLLoss": "terms = barlow.VICRegLLoss()([Embeddings(z, one, places) for z, one in zip((z_a, z_b), maps)])",
        "WMSELoss": "terms = barlow.WMSELoss(w_size=16)(z_a, z_b)",
        "SIGRegLoss": "terms = barlow.SIGRegLoss()(z_a, z_b)  # random directions, drawn anew each time",
        "SwAVLoss": "terms = barlow.SwAVLoss()(scores)  # of the views and prototypes, (2, N, K)",
        "HeadSpec": 'projector = barlow.HeadSpec("64-64").build(num_features=128)  # (N, 128) -> (N, 64)',
        "all_mean": "mean = barlow.all_mean(z_a.mean(0), len(z_a))  # over all processes; itself where there is one",
        "MeanOver": (
            "over = barlow.MeanOver(lambda mean, number: mean, num_samples=len(z_a))  # your own exchange\n"
            "terms = barlow.vicreg_loss(z_a, z_b, all_mean=over)"
        ),
        "identity": "mean = barlow.identity(z_a.mean(0), len(z_a))  # all_mean=barlow.identity: this process alone",
        "gather_with_grad": "everybody = barlow.gather_with_grad(z_a)  # rows of all processes",
    },
    "Theory": {
        "batch_floor": "barlow.batch_floor(num_samples=256, num_features=8192, redundancy_weight=0.0051)  # 1122",
        "raw_floor": "barlow.raw_floor(num_features=32, rank=8, redundancy_weight=0.05)  # 4.17",
        "pearson_floor": "barlow.pearson_floor([1.0, 0.5], num_features=2, redundancy_weight=1.0)  # 0.2",
        "welch_bound": "barlow.welch_bound(num_features=8192, rank=2047, redundancy_weight=0.0051)  # 125.4",
        "water_filling": "barlow.water_filling([1.0, 0.5], 2, 1.0).loss  # 0.2",
        "Moments": (
            "moments = barlow.Moments(num_features=4)\n"
            "moments.add(torch.stack([z_a[:, :4], z_b[:, :4]], dim=1))  # (N, views, d)\n"
            "found = moments.covariances()  # .between, .total"
        ),
        "pearson_projector": "best = barlow.pearson_projector(found.between, found.total, 4, 0.005)",
        "whitened_projector": "best = barlow.whitened_projector(found.between, found.total, 4, 0.005)",
        "raw_projector": "best = barlow.raw_projector(found.total, 4, 0.005)",
        "jackknife": "error = barlow.jackknife(moments, lambda one: float(one.between.trace() / one.total.trace()))",
    },
    "Data and views": {
        "load_source": "source = barlow.load_source(photos)",
        "Source": "isinstance(source, barlow.Source)",
        "Batch": "batch = next(source.batches([0, 1, 2], 3))  # .samples, .indices",
        "ArraySource": 'source = barlow.ArraySource(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), name="mine")',
        "write_shards": (
            "from pathlib import Path\n"
            'stream = ((path.name, path.read_bytes()) for path in Path(photos).rglob("*.*"))\n'
            'barlow.write_shards(stream, "shards", per_shard=100)'
        ),
        "views_of_items": (
            "two_views = torch.utils.data.TensorDataset(torch.randn(8, 3, 8, 8), torch.randn(8, 3, 8, 8))\n"
            "source, views_as_they_come = barlow.views_of_items(two_views)"
        ),
        "ShapesSource": "shapes = barlow.ShapesSource(64)  # known factors",
        "shape_views": 'views = barlow.shape_views(["position", "brightness"])',
        "image_views": 'views = barlow.image_views("byol", size=32, channels=3)',
        "Views": "again = barlow.Views(views.pipelines, plain=views.plain)",
        "View": "isinstance(views.pipelines[0], barlow.View)",
        "Params": (
            "images = [torch.zeros(3, 40, 40, dtype=torch.uint8)]\n"
            "params: barlow.Params = views.pipelines[0].sample(images, torch.Generator())\n"
            "seen = views.pipelines[0].apply(images, params)  # the same for the same params"
        ),
        "LocatedPipeline": "located = barlow.LocatedPipeline(views.pipelines[0])  # crops that know their place",
        "load_foreign": 'found = barlow.load_foreign("checkpoint.pth")  # .backbone, .unmatched, .missing',
        "load_clips": "clips = barlow.load_clips(recordings)",
        "load_graph": (
            "edges, x = torch.tensor([[0, 1], [1, 2]]), torch.eye(3)\nnodes = barlow.load_graph((x, edges))"
        ),
        "GraphView": "view = barlow.GraphView(feature_mask=0.1, edge_drop=0.4)",
        "GraphNetwork": "from barlow.graphs.networks.encoders import encoder\n"
        'network = barlow.GraphNetwork(encoder("gcn1", 3, 8), pool="mean")',
    },
    "Parts of your own": {
        "Method": "class Mine(barlow.Method):\n    def forward(self, views):\n        return terms",
        "Around": "class Penalised(barlow.Around):\n    def forward(self, views):\n        return self.method(views)",
        "Modality": 'mine = barlow.Modality(name="series", noun="series", load=lambda data, **_: source)',
        "Preparation": 'words = barlow.Preparation({"size": 32})',
    },
    "Applications": {
        "segment": 'found = barlow.segment("runs/unet", masks, settings=settings)',
        "SegmentSettings": 'settings = barlow.SegmentSettings(labels=("5", "all"), seeds=1)',
        "Segmented": "found.page, found.model",
        "SegmentationModel": "found.model.predict([picture])",
        "segmentation_loss": "loss = barlow.segmentation_loss(torch.randn(2, 2, 8, 8), torch.zeros(2, 8, 8).long())",
        "pretrain_sequence": 'found = barlow.pretrain_sequence([photos, labelled], keep=keep, out="runs/sequence")',
        "SequenceRun": "found.page, found.results",
        "EWC": "keep = barlow.EWC(relative_weight=30)",
        "Distill": "keep = barlow.Distill(weight=1.0)",
        "Replay": "keep = barlow.Replay(samples=256, share=0.25)",
        "verify_speakers": 'score = barlow.verify_speakers("runs/speakers", recordings, snr=(10,))',
        "equal_error_rate": "barlow.equal_error_rate(torch.tensor([0.9, 0.2]), torch.tensor([True, False]))",
        "min_dcf": "barlow.min_dcf(torch.tensor([0.9, 0.2]), torch.tensor([True, False]))",
    },
}
"""Area -> name -> lines that use it."""

NOT_RUN = {"segment", "Segmented", "SegmentationModel", "pretrain_sequence", "SequenceRun", "verify_speakers"}
"""What takes minutes, or needs masks or speakers; the tests of their own pages run these calls."""
