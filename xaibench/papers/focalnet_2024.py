"""Della Libera, Subakan, Ravanelli, "Focal Modulation Networks for Interpretable Sound Classification", 2024."""

from __future__ import annotations

from itertools import chain

from xaibench.papers.paper import ACCURACY, Architecture, Claim, Column, Facts, Paper, System

FOCALNET, VIT = "focalnet", "vit"
AMT_FOCALNET, AMT_VIT = (FOCALNET, "focalnet"), (VIT, "vit-attention")
TOP, SOFT = "top 10%", "its own, soft"
FID_IN, FF_REMOVED, FF_KEPT = "fidelity_in", "faithfulness", "faithfulness_kept"
MASKS = {"piq": "top 10% of either", "piq-soft": "PIQ's own soft mask"}


def differences(facts: Facts) -> list[str]:
    """What differs from the paper, as far as it applies."""
    cards = list(chain.from_iterable(facts.cards.values()))
    found = []
    if facts.dataset != "esc50":
        found.append(f"Sound: {facts.dataset}, {facts.classes} classes; the paper's ESC-50 has 50.")
    if len(facts.folds) > 1:
        folds = ", ".join(map(str, facts.folds))
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
        "(../docs/protocols.md#from-the-one-to-the-other-a-difference-at-a-time) has the effect of each difference."
    )
    for (_, method), fits in facts.fitted.items():
        chosen = ", ".join(f"{key} {value}" for key, value in fits[0].settings.items())
        text = f"{method}: our implementation, with {chosen}."
        if text not in found:
            found.append(text)
    return found


def _piq(family: str, method: str, mask: str, **published: float) -> System:
    return System("PIQ-FocalNet" if family == FOCALNET else "PIQ-ViT", family, method, mask, published)


def _beats_piq(amt: tuple[str, str], amt_title: str, method: str) -> Claim:
    title = "PIQ-FocalNet" if amt[0] == FOCALNET else "PIQ-ViT"
    return Claim(f"{amt_title} beats {title} in Fid-In ({MASKS[method]})", FID_IN, amt, (amt[0], method))


def _alike(first: tuple[str, str], second: tuple[str, str], text: str) -> Claim:
    return Claim(f"FF alike: {text}", FF_KEPT, first, second, alike=True)


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
    systems=(
        System("AMT-FocalNet", *AMT_FOCALNET, TOP, {ACCURACY: 0.774, FID_IN: 0.305, "ff": 0.0111}),
        _piq(FOCALNET, "piq", TOP, fidelity_in=0.278, ff=0.0111),
        _piq(FOCALNET, "piq-soft", SOFT),
        System("AMT-ViT", *AMT_VIT, TOP, {ACCURACY: 0.736, FID_IN: 0.225, "ff": 0.0109}),
        _piq(VIT, "piq", TOP, fidelity_in=0.110, ff=0.0121),
        _piq(VIT, "piq-soft", SOFT),
    ),
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
    published_columns={ACCURACY: "accuracy", FID_IN: "Fid-In", "ff": "FF"},
    published_note=(
        "The published FF is at temperature 1, and in AMT's recipe of the kept part. The paper has one line for PIQ on "
        "each classifier; it stands here in the line of equal area, while in the recipe of PIQ masks are soft."
    ),
    claims=(
        Claim("FocalNet is more accurate than ViT", ACCURACY, AMT_FOCALNET, AMT_VIT),
        _beats_piq(AMT_FOCALNET, "AMT-FocalNet", "piq"),
        _beats_piq(AMT_FOCALNET, "AMT-FocalNet", "piq-soft"),
        Claim("AMT-FocalNet beats AMT-ViT in Fid-In", FID_IN, AMT_FOCALNET, AMT_VIT),
        _beats_piq(AMT_VIT, "AMT-ViT", "piq"),
        _beats_piq(AMT_VIT, "AMT-ViT", "piq-soft"),
        _alike(AMT_FOCALNET, AMT_VIT, "AMT-FocalNet and AMT-ViT"),
        _alike(AMT_FOCALNET, (FOCALNET, "piq"), "AMT-FocalNet and PIQ-FocalNet (top 10% of either)"),
        _alike(AMT_VIT, (VIT, "piq"), "AMT-ViT and PIQ-ViT (top 10% of either)"),
    ),
    brief={"piq": {"epochs": 2}},
    differences=differences,
)
