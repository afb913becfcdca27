"""The protocol legacy-speechbrain: what SpeechBrain's ESC-50 recipes (arXiv 2402.02754) feed, and what they print."""

from __future__ import annotations

from xaibench.scoring.protocol import Protocol
from xaibench.speechbrain.printed_means import summarise
from xaibench.speechbrain.spectrogram import legacy_spectrogram

LEGACY = Protocol(
    name="legacy-speechbrain",
    id="legacy-speechbrain",
    limited=False,
    fixed=True,
    spectrogram=legacy_spectrogram,
    temperature=1.0,
    summarise=summarise,
)
