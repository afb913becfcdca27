"""Della Libera, Subakan, Ravanelli, "Focal Modulation Networks for Interpretable Sound Classification", 2024."""

from __future__ import annotations

from itertools import chain

from xaibench.papers.paper import ACCURACY, Architecture, Claim, Column, Outcome, Paper, System

FOCALNET, VIT = "focalnet", "vit"
FID_IN, FF_REMOVED, FF_KEPT = "fidelity_in", "faithfulness", "faithfulness_kept"
PUBLISHED_FF = "ff"  # at temperature 1: the number of neither of our metrics

AMT_FOCALNET = System(
    "AMT-FocalNet", FOCALNET, "focalnet", published={ACCURACY: 0.774, FID_IN: 0.305, PUBLISHED_FF: 0.0111}
)
PIQ_FOCALNET = System("PIQ-FocalNet", FOCALNET, "piq", published={FID_IN: 0.278, PUBLISHED_FF: 0.0111})
PIQ_FOCALNET_SOFT = System("PIQ-FocalNet", FOCALNET, "piq", soft=True)
AMT_VIT = System("AMT-ViT", VIT, "vit-attention", published={ACCURACY: 0.736, FID_IN: 0.225, PUBLISHED_FF: 0.0109})
PIQ_VIT = System("PIQ-ViT", VIT, "piq", published={FID_IN: 0.110, PUBLISHED_FF: 0.0121})
PIQ_VIT_SOFT = System("PIQ-ViT", VIT, "piq", soft=True)


def differences(outcome: Outcome) -> list[str]:
    """Make a sentence for every difference between a reproduction and the paper that applies."""
    cards = list(chain.from_iterable(outcome.cards.values()))
    found = []
    if outcome.dataset != "esc50":
        found.append(f"Sound: {outcome.dataset}, {outcome.classes} classes; the paper's ESC-50 has 50.")
    if len(outcome.folds) > 1:
        folds = ", ".join(map(str, outcome.folds))
        found.append(
            f"Folds: {folds}, each scored by classifiers that have not seen it, clips pooled; the paper's is fold 5."
        )
    small = {card.classifier: card.parameters for card in cards if card.classifier.endswith("-micro")}
    if small:
        sizes = " and ".join(f"{name} ({count / 1e6:.1f} million parameters)" for name, count in small.items())
        found.append(
            f"Models: {sizes} on a mel-warped 128 x 128 image; the paper's are FocalNet-base and ViT-base "
            "(87 and 86 million) on a linear one of 224 x 224."
        )
    scratch = {card.classifier for card in cards if not card.initialised_from and not card.origin}
    if scratch:
        found.append(
            f"Start: {' and '.join(sorted(scratch))} trained from random weights; the paper's from ImageNet weights."
        )
    scales = {card.temperature for card in cards if card.temperature != 1}
    if scales:
        scale = " and ".join(f"{value:g}" for value in sorted(scales))
        found.append(
            f"Temperature: probabilities are softmax({scale} x cosine), the scale of the training; the paper's metrics "
            "take the softmax of the bare cosines, which bounds FF: below 0.44 for ten classes, below 0.13 for fifty. "
            "Fid-In is the same."
        )
    found.append(
        "Polarity: the paper's FF of AMT is p_c(x) - p_c(kept), our FF(kept); our `faithfulness`, FF(removed), "
        "is p_c(x) - p_c(removed). The recipe of PIQ computes the latter."
    )
    found.append(
        "Masks: exactly the top 10% of the bins, ties by a random order (the paper: all bins at or above the 0.90 "
        "quantile). PIQ's soft masks multiply the linear magnitude (the recipe's: its logarithm); at equal area PIQ "
        "is scored as all others are."
    )
    found.append(
        "Input: samples limited to [-1, 1]; the recipes divide every clip by its maximum. [docs/protocols.md]"
        "(../docs/protocols.md#from-the-legacy-protocol-to-the-standard-one-one-difference-at-a-time) has the effect "
        "of each difference."
    )
    for (_, method), fits in outcome.fitted.items():
        chosen = ", ".join(f"{key} {value}" for key, value in fits[0].settings.items())
        text = f"{method}: our implementation, with {chosen}."
        if text not in found:
            found.append(text)
    return found


def _beats(amt: System, piq: System) -> Claim:
    masks = "PIQ's own soft mask" if piq.soft else "top 10% of either"
    return Claim(f"{amt.title} beats {piq.title} in Fid-In ({masks})", FID_IN, amt, piq)


def _alike(first: System, second: System, masks: str = "") -> Claim:
    return Claim(f"FF alike: {first.title} and {second.title}{masks}", FF_KEPT, first, second, alike=True)


PAPER = Paper(
    name="focalnet-2024",
    title="Focal Modulation Networks for Interpretable Sound Classification",
    reference="Della Libera, Subakan, Ravanelli, arXiv 2402.02754",
    published_on="ESC-50, fold 5, ImageNet-pretrained base models",
    architectures=(
        Architecture(
            FOCALNET,
            "FocalNet",
            {"micro": "focalnet-micro", "base": "focalnet-base"},
            ("focalnet", "piq"),
            {"base": "microsoft/focalnet-base"},
        ),
        Architecture(
            VIT,
            "ViT",
            {"micro": "vit-micro", "base": "vit-base"},
            ("vit-attention", "piq"),
            {"base": "google/vit-base-patch16-224"},
        ),
    ),
    controls=("energy", "random"),
    systems=(AMT_FOCALNET, PIQ_FOCALNET, PIQ_FOCALNET_SOFT, AMT_VIT, PIQ_VIT, PIQ_VIT_SOFT),
    columns=(
        Column(ACCURACY, "accuracy", "share of the clips classified correctly."),
        Column(FID_IN, "Fid-In ↑", "share of the clips whose kept part alone is classified as the whole.", True),
        Column(FF_REMOVED, "FF(removed) ↑", "p_c(x) - p_c(removed), `faithfulness` of the standard protocol.", True),
        Column(
            FF_KEPT,
            "FF(kept)",
            "p_c(x) - p_c(kept), `faithfulness_kept`: what the paper calls faithfulness and reads as better when "
            "higher, although a part that keeps the decision makes it low.",
        ),
    ),
    published_columns={ACCURACY: "accuracy", FID_IN: "Fid-In", PUBLISHED_FF: "FF"},
    published_note=(
        "The published FF is at temperature 1, and in AMT's recipe of the kept part. The paper has one line for PIQ on "
        "each classifier; it stands here in the line of equal area, while in the recipe of PIQ masks are soft."
    ),
    claims=(
        Claim("FocalNet is more accurate than ViT", ACCURACY, AMT_FOCALNET, AMT_VIT),
        _beats(AMT_FOCALNET, PIQ_FOCALNET),
        _beats(AMT_FOCALNET, PIQ_FOCALNET_SOFT),
        Claim("AMT-FocalNet beats AMT-ViT in Fid-In", FID_IN, AMT_FOCALNET, AMT_VIT),
        _beats(AMT_VIT, PIQ_VIT),
        _beats(AMT_VIT, PIQ_VIT_SOFT),
        _alike(AMT_FOCALNET, AMT_VIT),
        _alike(AMT_FOCALNET, PIQ_FOCALNET, " (top 10% of either)"),
        _alike(AMT_VIT, PIQ_VIT, " (top 10% of either)"),
    ),
    brief={"piq": {"epochs": 2}},
    differences=differences,
)
