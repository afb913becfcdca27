"""L2I: listen to interpret (Parekh, Parekh, Mozharovskyi, d'Alche-Buc, Richard, arXiv 2202.11479)."""

from __future__ import annotations

import warnings
from typing import NamedTuple, cast

import torch
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.nn import functional

from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.errors import XaibenchError
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import FitContext, Setting, TrainingClips
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.sound.batch import Batch

from ._mask_fitting import Clips, MaskExplainer, MaskNetwork

# Frames of log magnitudes from which the dictionary is learned, and passes over them.
DICTIONARY_FRAMES, DICTIONARY_PASSES = 3000, 30
# Bands of a hidden layer's maps that are told apart.
BANDS = 4
_TINY = 1e-8


class Interpretation(NamedTuple):
    """How the interpreter sees clips.

    Attributes:
        activations: of the components in each frame, H of the paper: (batch, components, time).
        pooled: their means under attention, z: (batch, components).
        logits: of the interpreter's own decision, (batch, classes).
    """

    activations: Tensor
    pooled: Tensor
    logits: Tensor


class L2iNetwork(MaskNetwork):
    """Dictionary of spectra, an interpreter from hidden layers to their activations, and a linear decision on these.

    Args:
        classifier: the classifier whose feature pyramid it reads; channels and sizes are taken from it.
        settings: settings of L2i.
    """

    dictionary: Tensor

    def __init__(self, classifier: PictureClassifier, settings: dict[str, Setting]) -> None:
        super().__init__()
        with torch.inference_mode():
            maps = classifier.feature_pyramid(torch.zeros(1, *PICTURE_SHAPE, device=classifier.device))
        self.settings = settings
        components, width = int(settings["components"]), int(settings["width"])
        self.time_first = _time_comes_first(classifier)
        sizes = [one.shape[2 if self.time_first else 3] for one in maps]
        self.columns = max(sizes)
        self.skips = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(BANDS * one.shape[1], affine=False), nn.Conv1d(BANDS * one.shape[1], width, 1))
            for one in maps
        )
        self.interpreter = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, components, 3, padding=1),
        )
        self.attention = nn.Conv1d(components, 1, 1)
        self.head = nn.Linear(components, len(classifier.classes), bias=False)
        self.register_buffer("dictionary", torch.rand(components, PICTURE_SHAPE[0]))

    def prepare(self, train: TrainingClips, context: FitContext) -> None:
        """Learn the dictionary from frames of the training clips; each of its spectra has length 1."""
        generator = torch.Generator().manual_seed(context.seed)
        frames = train.x.transpose(1, 2).flatten(0, 1)
        frames = frames[frames.amax(dim=1) > 0]
        if not len(frames):
            raise XaibenchError("all training clips are silent, so there is nothing to learn spectra from")
        chosen = frames[torch.randperm(len(frames), generator=generator)[:DICTIONARY_FRAMES]]
        nmf = NMF(
            int(self.settings["components"]), init="nndsvda", max_iter=DICTIONARY_PASSES, random_state=context.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            nmf.fit(chosen.numpy())
        spectra = functional.normalize(torch.from_numpy(nmf.components_), dim=1)
        self.dictionary.copy_(spectra.to(self.dictionary))

    def interpret(self, classifier: PictureClassifier, x: Tensor) -> Interpretation:
        """Predict activations and decision from the classifier's hidden layers."""
        with torch.no_grad():
            maps = classifier.feature_pyramid(x)
        taken = [skip(self._along_time(one)) for skip, one in zip(self.skips, maps, strict=True)]
        hidden = self.interpreter(torch.stack(taken).sum(dim=0))
        activations = functional.interpolate(hidden, x.shape[2], mode="linear", align_corners=False).relu()
        attention = self.attention(activations).softmax(dim=2)
        pooled = (attention * activations).sum(dim=2)
        return Interpretation(activations, pooled, self.head(pooled))

    def relevance(self, pooled: Tensor, target: Tensor) -> Tensor:
        """Compute what each component says for the class, as a share of what the loudest one says, (batch, components).

        That is r of the paper: z times the weight of the decision, divided by the largest of their absolute values.
        """
        said = pooled * self.head.weight[target]
        return said / said.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)

    def masks(self, classifier: PictureClassifier, batch: Batch, target: Tensor) -> Explanation:
        found = self.interpret(classifier, batch.x)
        kept = (self.relevance(found.pooled, target) > float(self.settings["relevance_threshold"])).to(batch.x)
        part, whole = (
            torch.einsum("kf,bkt->bft", self.dictionary, activations)
            for activations in (kept[:, :, None] * found.activations, found.activations)
        )
        return Explanation(part / whole.clamp(min=_TINY), (batch.x.shape[1], min(self.columns, batch.x.shape[2])))

    def loss(self, classifier: PictureClassifier, clips: Clips, target: Tensor, epoch: int) -> Tensor:
        """Compute the paper's training loss: fidelity, reconstruction and sparsity.

        Fidelity is the cross-entropy of the interpreter's decision against the classifier's probabilities;
        reconstruction is the mean squared error of the log magnitudes as dictionary times activations; sparsity is the
        mean activation.
        """
        weights = {name: float(value) for name, value in self.settings.items()}
        with torch.no_grad():
            probabilities = classifier.probabilities(clips.x).float()
        found = self.interpret(classifier, clips.x)
        loss = functional.cross_entropy(found.logits.float(), probabilities) * weights["fidelity_weight"]
        rebuilt = torch.einsum("kf,bkt->bft", self.dictionary, found.activations.float())
        loss = loss + weights["reconstruction_weight"] * functional.mse_loss(rebuilt, clips.x)
        return loss + weights["sparsity_weight"] * found.activations.float().mean()

    def measures(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"fidelity": (self.interpret(classifier, x).logits.argmax(dim=1) == target).float()}

    def _along_time(self, maps: Tensor) -> Tensor:
        """Bring maps (batch, channels, h, w) to (batch, BANDS * channels, columns of the widest map)."""
        maps = maps.transpose(2, 3) if self.time_first else maps
        banded = functional.adaptive_avg_pool2d(maps, (BANDS, maps.shape[3])).flatten(1, 2)
        return functional.interpolate(banded, self.columns, mode="linear", align_corners=False)


def _time_comes_first(classifier: PictureClassifier) -> bool:
    """Tell whether the rows of maps over the image are stretches of time, as in the recipes' classifiers."""
    rows = torch.arange(4.0, device=classifier.device)[None, :, None].expand(1, 4, 4)
    picture = classifier.front_end.to_picture(rows)
    return bool((picture[0, :, 0] == picture[0, 0, 0]).all())


class L2i(MaskExplainer):
    """L2I. Its map is the share of the clip that the components make up which speak for the class.

    A component k takes w_k h_k / sum of w_l h_l of the clip's linear magnitudes, as in the paper; those count whose
    relevance is above the threshold.
    """

    title = "L2I"
    reference = "Parekh, Parekh, Mozharovskyi, d'Alche-Buc, Richard, arXiv 2202.11479"
    description = (
        "share of the clip made up by those spectra of a dictionary that speak for the class in a linear decision that "
        "imitates the classifier's"
    )
    requires = frozenset({"picture", "feature_pyramid"})
    network = L2iNetwork
    settings = MaskExplainer.settings | {
        "epochs": 30,
        "components": 64,
        "width": 48,
        "fidelity_weight": 1.0,
        "reconstruction_weight": 5.0,
        "sparsity_weight": 0.1,
        "relevance_threshold": 0.2,
    }

    @torch.no_grad()
    def components(self, classifier: Classifier, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        """Take clips apart into what each component makes up, to be listened to.

        Returns:
            The relevance of the components for the targets, (batch, components), and their masks,
            (batch, components, freq, time), which add up to 1 wherever any of them is active:
            `classifier.domain.masked(waveform, mask)` is the sound of one.
        """
        network = cast(L2iNetwork, self._fitted)
        assert network is not None, "components() comes after fit() or load()"
        found = network.interpret(cast(PictureClassifier, classifier), batch.x)
        each = torch.einsum("kf,bkt->bkft", network.dictionary, found.activations)
        return network.relevance(found.pooled, target), each / each.sum(dim=1, keepdim=True).clamp(min=_TINY)
