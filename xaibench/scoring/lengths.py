"""Say which clips are cut or padded to a classifier's input."""

from __future__ import annotations

from collections.abc import Sequence

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.scoring.protocol import WINDOWS
from xaibench.sound.audio import CENTER, CUT
from xaibench.sound.reading import SECONDS_TOLERANCE

_HEARD = {
    CUT: "scored is their beginning (--long center: their middle, --long windows: all of it)",
    CENTER: "scored is their middle (--long cut: their beginning, --long windows: all of it)",
    WINDOWS: "heard in windows of this length, which overlap by half",
}


def sentences(seconds: Sequence[float], loaded: LoadedClassifier, long: str) -> list[str]:
    """Say how many clips are longer and shorter than what a classifier hears, and what becomes of them.

    Args:
        seconds: how long each clip is.
        loaded: the classifier; nothing is said of one that hears any length.
        long: what it hears of longer clips, one of `protocol.LONG`.
    """
    classifier, count = loaded.classifier, len(seconds)
    if classifier.samples is None:
        return []
    input_seconds = classifier.samples / classifier.sample_rate
    longer, shorter = (sum(sign * (one - input_seconds) > SECONDS_TOLERANCE for one in seconds) for sign in (1, -1))
    said = (
        (longer, f"longer than the {input_seconds:.3g} s that {loaded.label} hears: {_HEARD[long]}"),
        (
            shorter,
            f"shorter than the {input_seconds:.3g} s that {loaded.label} hears: they are padded with silence, which is "
            "no evidence",
        ),
    )
    return [
        f"{many} of {count} clip{'s' * (count > 1)} {'is' if many == 1 else 'are'} {words}"
        for many, words in said
        if many
    ]
