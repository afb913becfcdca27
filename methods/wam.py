"""WAM: gradients with respect to the wavelet coefficients of the sound (Kasmi et al., arXiv 2410.01482)."""

from __future__ import annotations

from collections.abc import Sequence

import ptwt
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import INTERNAL_BATCH, TargetScore
from ._gains import fading

SMOOTH, INTEGRATED = "smooth", "integrated"
# Orthogonal ones: the energies of the coefficients add up to that of the sound.
WAVELETS = ("haar", "db4", "sym8")


class Wam(Explainer):
    """WAM on sound: contributions of wavelet coefficients, and the energy of the sound that is made of them.

    A clip w is the sum of z_k psi_k, with z its coefficients and psi the wavelets. The score is differentiated with
    respect to z through the inverse transform. The paper has two ways to do that: the mean gradient of noisy copies of
    the clip (its SmoothGrad variant), and the mean gradient on the line from silence (its variant after integrated
    gradients). Here c_k = z_k times the one or the other is the contribution of a coefficient. With `integrated` these
    add up to the score less that of silence.

    The map is the energy in each bin of the picture, |STFT(y)|^2, of the sound y = sum of sign(z_k) sqrt(c_k) psi_k
    over the coefficients with c_k > 0: of a sound with the clip's own wavelets, in which each of them has as much
    energy as it contributes. The energy of y is the sum of the positive contributions.
    """

    title = "WAM"
    family = "gradient"
    reference = "Kasmi, Brunetto, Fel, Parekh, arXiv 2410.01482"
    description = (
        "gradient of the logit with respect to the wavelet coefficients of the sound, times the coefficients, as the "
        "energy of the sound that is made of what contributes"
    )
    polarity = "positive"
    requires = frozenset({"gradients"})
    protocols = frozenset({"standard"})
    parameters = {"variant": SMOOTH, "samples": 24, "noise_level": 0.01, "wavelet": "sym8", "levels": 6}
    choices = {"variant": (SMOOTH, INTEGRATED), "wavelet": WAVELETS}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = [self._map(classifier, batch.slice(i, i + 1), target[i : i + 1]) for i in range(len(batch))]
        return Explanation(torch.cat(maps), batch.picture_shape)

    def contributions(self, classifier: Classifier, clip: Batch, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the wavelet coefficients of one clip, and what they contribute.

        Returns:
            Both from the coarsest level to the finest, each (1, coefficients).
        """
        assert clip.waveform is not None
        wavelet, samples = self.parameters["wavelet"], clip.waveform.shape[1]
        # Beyond its ends a clip is silent, as for the picture.
        found = ptwt.wavedec(clip.waveform, wavelet, mode="zero", level=self.parameters["levels"])
        coefficients = [one.detach().requires_grad_() for one in found]
        slope = self._slope(classifier, clip, target)
        # The inverse transform is linear, so the mean gradient passes it once, and not that of every copy.
        with torch.enable_grad():
            rebuilt = self._sound(coefficients, samples)
        slopes = torch.autograd.grad(rebuilt, coefficients, slope)
        coefficients = [one.detach() for one in coefficients]
        return coefficients, [z * g for z, g in zip(coefficients, slopes, strict=True)]

    def _map(self, classifier: Classifier, clip: Batch, target: Tensor) -> Tensor:
        """Compute the map of one clip, (1, freq, time)."""
        assert clip.waveform is not None
        pairs = zip(*self.contributions(classifier, clip, target), strict=True)
        weighted = [z.sign() * c.clamp(min=0).sqrt() for z, c in pairs]
        return classifier.domain.stft(self._sound(weighted, clip.waveform.shape[1])).abs().square()

    def _slope(self, classifier: Classifier, clip: Batch, target: Tensor) -> Tensor:
        """Compute the mean gradient of the score with respect to the waveform of one clip, (1, samples)."""
        assert clip.waveform is not None
        waveform, count = clip.waveform, self.parameters["samples"]
        if self.parameters["variant"] == INTEGRATED:
            # d f(a w) / d a, integrated over ln a.
            gains, weights = fading(TargetScore(classifier, clip.samples), clip, target, count)
            points, weights = gains.to(waveform)[:, None] * waveform, (gains * weights).to(waveform)
        else:
            spread = self.parameters["noise_level"] * (waveform.max() - waveform.min())
            noise = torch.randn(count, waveform.shape[1], generator=clip.generator(0, "wam")).to(waveform)
            points, weights = waveform + spread * noise, torch.full((count,), 1 / count).to(waveform)
        total = torch.zeros_like(waveform)
        for some, share in zip(points.split(INTERNAL_BATCH), weights.split(INTERNAL_BATCH), strict=True):
            heard = some.detach().requires_grad_()
            with torch.enable_grad():
                score = classifier.temperature * classifier.logits(heard)[:, target]
            (gradient,) = torch.autograd.grad(score.sum(), heard)
            total += (share[:, None] * gradient).sum(dim=0)
        return total

    def _sound(self, coefficients: Sequence[Tensor], samples: int) -> Tensor:
        rebuilt: Tensor = ptwt.waverec(list(coefficients), self.parameters["wavelet"])
        return rebuilt[:, :samples]  # a level of odd length is rebuilt with one sample more
