"""The words of the pages, each in a sentence; behind a fold, on every page that uses them."""

import re
from collections.abc import Mapping

from barlow.formats import text

WORDS: Mapping[str, str] = {
    "sample": "One thing that is learnt from, such as a file of the data or a row of an array.",
    "view": "A sample after a random change (augmentation) that should not matter: cropped, recoloured, made louder.",
    "features (h)": "What the network says of a sample, some hundred numbers; they are what is used afterwards.",
    "projector, output (z)": "Layers behind the features, for training only; the loss is of what they give.",
    "augmentation share": "How much of the variation of the features comes from the change, not from the sample.",
    "intraclass correlation": "Of one direction: 1 if two views of a sample always agree in it, 0 if they never do.",
    "invariance spectrum": "Those correlations for all directions, the largest first.",
    "direction": "One weighted sum of the features.",
    "invariance share": "How much of the variation of the features comes from the sample: what augmentation leaves.",
    "agreement": "How much of a direction is the same in two views of a sample, 1 at most; below 0 by chance alone.",
    "on-diagonal": "The part of the loss that asks each output to be the same in both views.",
    "off-diagonal": "The part of the loss that asks different outputs to say different things.",
    "null edge": "What correlation chance reaches with so many samples; only what lies above it is evidence.",
    "plug-in": "Estimated from all samples at once: by chance the directions look farther apart than they are.",
    "cross-fit": "Estimated on samples that did not choose the directions, which takes that part of chance out.",
    "redundancy weight (lambda)": "How much of the loss is for outputs that repeat each other.",
    "projector gap": "What the projector could still gain without any change of the features.",
    "effective rank": "To how many equally strong directions the features amount.",
    "best linear projector": "The lowest loss of one linear layer on these features; hidden layers may go below.",
    "waterline": "Directions that agree less between views than this are not worth an output to that projector.",
    "floor": "The lowest loss that any network can show on a batch of this size.",
    "sampling bias": "What a loss gains because a batch has few samples; no network can learn it away.",
    "complete loss": "The loss over all pairs of views at once, without what a small batch adds.",
    "collapse": "Features that are the same for every sample, or differ along one or two directions only.",
    "interval": "Where the true value lies with about 95% certainty, had there been endless samples.",
}
"""By the word as it stands on a page."""


def glossary(body: str) -> str:
    """Return the meaning of those words that a page has in its body, behind a fold; "" where it has none."""
    said = re.sub(r"<style>.*?</style>|<[^>]*>", " ", body, flags=re.DOTALL).lower()
    found = {word: meaning for word, meaning in WORDS.items() if re.split(r" \(|,", word)[0] in said}
    items = "".join(f"<dt>{text(word)}</dt><dd>{text(meaning)}</dd>" for word, meaning in found.items())
    return f"<details><summary>What the words mean</summary><dl>{items}</dl></details>" if items else ""
