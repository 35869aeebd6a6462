"""Speakers: recognition with Barlow Twins as a regulariser, and Barlow Twins alone as it is published for them."""

from barlow.recipes.recipe import Recipe


def speakers() -> Recipe:
    """Tell the speakers of a folder apart, in noise too: x-vectors of width 64, minutes on two cores."""
    return Recipe(
        name="speakers",
        source=(
            "ours, after Mohammadamini et al. 2022 (hal-03710445), whose numbers could not be had: softmax on the clip "
            "and on a noisy copy, 0.01 x Barlow Twins between the embeddings, no projector. Network: the TDNN of "
            "Snyder et al. 2018 at width 64; lambda 0.005 of Barlow Twins; measured in docs/speakers.md"
        ),
        views="clean-noisy",
        modality_options={"mels": 40, "seconds": 0.62, "snr_low": 0.0, "snr_high": 20.0},
        backbone="tdnn",
        width=64,
        projector="none",
        method="speakers",
        options={"agreement_weight": 0.01, "redundancy_weight": 0.005},
        epochs=20,
        batch_size=128,
        learning_rate=2e-3,
        warmup_epochs=1.0,
    )


def barlow_twins() -> Recipe:
    """Barlow Twins without labels for speaker verification, as sslsv has it for VoxCeleb2."""
    return Recipe(
        name="speakers-barlow_twins",
        source=(
            "sslsv (theolepage/sslsv, Barlow Twins on VoxCeleb2 without labels): 2 s at 16 kHz, 40 mels, n_fft 512, "
            "hop 160; noise 0 to 15 dB and rooms on both views; ResNet-34 with 512 features, projector 2048-2048-512, "
            "lambda 0.005; Adam 1e-3, batch 256, 100 epochs. Here both views are of the same 2 s (theirs are two "
            "crops), frames have a Hann window of 32 ms (Hamming, 25 ms), log-mels no instance normalisation, noise is "
            "white, pink or babble unless `noises` names a folder (MUSAN), rooms are simulated, and the loss is not "
            "times 0.025, which Adam undoes"
        ),
        published="sslsv: VoxCeleb1-O 13.22% EER, minDCF 0.7658 (Fast ResNet-34; supervised ECAPA with AAM: 1.34%)",
        views="noisy",
        modality_options={
            "sample_rate": 16000, "n_fft": 512, "hop": 160, "mels": 40, "f_min": 20.0, "f_max": 8000.0, "seconds": 2.0,
            "snr_low": 0.0, "snr_high": 15.0, "noises": "white+pink+babble", "room": 0.5,
        },
        backbone="timm:resnet34",
        projector="2048-2048-512",
        options={"redundancy_weight": 0.005},
        epochs=100,
        batch_size=256,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_epochs=0.0,
        final_learning_rate=1.0,
    )  # fmt: skip
