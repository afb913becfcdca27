"""What transformers' feature extractors compute in numpy, in torch: gradients pass through, and numbers are the same.

Every clip is heard whole and alone, as the extractor does with one clip; nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from xaibench.errors import ClassifierError

_SMALLEST_VARIANCE = 1e-7  # added by the extractors
_KALDI_SCALE = 2.0**15  # samples as integers of 16 bits
_KALDI_HOP = 160  # 10 ms at 16 kHz, the extractor's only rate
_PRE_EMPHASIS = 0.97
_LEAST_KALDI_POWER = 1.192092955078125e-07
_LEAST_POWER = 1e-10
_WHISPER_RANGE = 8.0  # powers of ten below the loudest bin
MEL_LOW = 20.0  # Hz, where Kaldi's filter banks begin


class Waveform(nn.Module):
    """Wav2Vec2FeatureExtractor: the waveform, with zero mean and unit variance if that is wanted."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.normalises = bool(extractor.do_normalize)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        if self.normalises:
            centred = waveform - waveform.mean(dim=1, keepdim=True)
            variance = centred.square().mean(dim=1, keepdim=True)
            waveform = centred / (variance + _SMALLEST_VARIANCE).sqrt()
        return {"input_values": waveform}


class AstFilterBank(nn.Module):
    """ASTFeatureExtractor: Kaldi's log mel filter bank, padded or cut to a number of frames, then standardised."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.rate, self.bands = int(extractor.sampling_rate), int(extractor.num_mel_bins)
        self.frames, self.normalises = int(extractor.max_length), bool(extractor.do_normalize)
        self.mean, self.std = float(extractor.mean), float(extractor.std)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        # Kaldi's function takes one clip at a time.
        banks = [
            kaldi.fbank(one[None], sample_frequency=self.rate, num_mel_bins=self.bands, window_type="hanning")
            for one in waveform
        ]
        bank = torch.stack(banks)[:, : self.frames]
        bank = nn.functional.pad(bank, (0, 0, 0, self.frames - bank.shape[1]))
        if self.normalises:
            bank = (bank - self.mean) / (2 * self.std)
        return {"input_values": bank}


class StackedFilterBank(nn.Module):
    """SeamlessM4TFeatureExtractor: Kaldi's log mel filter bank, each band standardised, frames stacked in pairs.

    It is computed in double precision, and with the extractor's own filters: the variance of a band may be small, so
    that the last digits count.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.stride, self.padding = int(extractor.stride), float(extractor.padding_value)
        for name, values in (("filters", extractor.mel_filters), ("window", extractor.window)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64), persistent=False)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        bank = self._filter_bank(_KALDI_SCALE * waveform.double())
        bank = (bank - bank.mean(dim=1, keepdim=True)) / (bank.var(dim=1, keepdim=True) + _SMALLEST_VARIANCE).sqrt()
        heard = torch.ones(bank.shape[:2], dtype=torch.long, device=bank.device)
        missing = bank.shape[1] % 2  # the extractor pads to pairs, and leaves out what does not fill a stack
        bank = nn.functional.pad(bank.float(), (0, 0, 0, missing), value=self.padding)
        heard = nn.functional.pad(heard, (0, missing))
        stacks = bank.shape[1] // self.stride
        bank, heard = bank[:, : stacks * self.stride], heard[:, : stacks * self.stride]
        return {"input_features": bank.reshape(len(bank), stacks, -1), "attention_mask": heard[:, 1 :: self.stride]}

    def _filter_bank(self, waveform: Tensor) -> Tensor:
        """Log mel powers (batch, frames, bands) of whole frames without their mean, with pre-emphasis."""
        frames = waveform.unfold(1, len(self.window), _KALDI_HOP)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        coefficients = torch.fft.rfft((frames - _PRE_EMPHASIS * before) * self.window, 2 * len(self.filters) - 2)
        power = coefficients.real.square() + coefficients.imag.square()
        return (power @ self.filters).clamp(min=_LEAST_KALDI_POWER).log()


class WhisperSpectrogram(nn.Module):
    """WhisperFeatureExtractor: a log mel spectrogram of 30 s, clamped 80 dB below its loudest bin."""

    filters: Tensor
    window: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        if extractor.dither:
            raise ClassifierError(f"its extractor adds noise (dither={extractor.dither:g}); set extractor.dither = 0")
        self.fft, self.hop, self.samples = int(extractor.n_fft), int(extractor.hop_length), int(extractor.n_samples)
        filters = torch.as_tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.fft), persistent=False)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        waveform = nn.functional.pad(waveform[:, : self.samples], (0, max(0, self.samples - waveform.shape[1])))
        coefficients = torch.stft(waveform, self.fft, self.hop, window=self.window, return_complex=True)[..., :-1]
        mel = self.filters @ (coefficients.real.square() + coefficients.imag.square())
        log = mel.clamp(min=_LEAST_POWER).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - _WHISPER_RANGE)
        return {"input_features": (log + 4) / 4}


_TWINS: dict[str, Callable[[Any], nn.Module]] = {
    "Wav2Vec2FeatureExtractor": Waveform,
    "ASTFeatureExtractor": AstFilterBank,
    "SeamlessM4TFeatureExtractor": StackedFilterBank,
    "WhisperFeatureExtractor": WhisperSpectrogram,
}
EXTRACTORS = frozenset(_TWINS)


def twin_of(extractor: Any) -> nn.Module:
    """Make the twin of a feature extractor: waveforms (batch, samples) to the model's inputs, by name.

    Raises:
        ClassifierError: there is none.
    """
    name = type(extractor).__name__
    if name not in _TWINS:
        raise ClassifierError(
            f"no extractor called {name} is known here, but {', '.join(_TWINS)}; wrap the model with "
            "xb.wrap(..., front_end=...)"
        )
    return _TWINS[name](extractor)
