"""A network whose last stage is rules over concepts that have places, after neural logic networks (arXiv 2508.08172).

From the paper (Perreault, Inoue, Labib, Hertz, "Neural Logic Networks for Interpretable Classification"): a rule is an
AND of concepts and negated concepts, and a class the OR of its rules; truth values are probabilities, AND is a product,
OR one minus a product of complements; a weight in [-1, 1] says whether a concept belongs to a rule, its sign whether it
is negated; a bias in [0, 1] stands for what the rule needs and no concept shows; weights are clamped into their range
during training, start at random, and are drawn to zero.

Different here: the concepts are no columns of a table but channels of a convolutional encoder, learned along with the
rules, so they have places in the picture. Every rule belongs to one class. Weights are rounded to -1, 0 and 1 in every
pass, also in training, where their gradient is that of the weights before rounding; so nothing is pruned or rounded
afterwards, and a rule as it is read is what the network computes. The paper's other steps (resets of unused rules,
factorised rules, dichotomies of continuous features) are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench.classifiers import concept_names
from xaibench.classifiers.base import Classifier, PictureClassifier, Recipe
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import FrontEnd, MelResize

_SMALLEST = 1e-5  # truth values are kept this far from 0 and 1, so that logarithms are finite
_START = 0.55  # weights start in [-0.55, 0.55]: one in eleven is large enough to count
_PACE = 10  # weights are stored divided by this, so that they move faster than the encoder's at its learning rate
_LENGTH, _HEARD = 0.05, 0.1  # prices of a rule's weights, and of a rule that asks for nothing


class ConceptPool(nn.Module):
    """What every place adds to the truth of every concept: a mean of truths, weighted towards the highest.

    The weights are a softmax over the places (as in McFee, Salamon, Bello, arXiv 1804.10070, with weights from the
    scores themselves), so the sum over the places is a soft maximum, and in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.sigmoid = nn.Sigmoid()

    def forward(self, scores: Tensor) -> Tensor:
        """Turn scores (batch, concepts, h, w) into shares of the same shape, which sum to the truth over h x w."""
        shares = torch.softmax(scores.flatten(2), dim=2).view_as(scores)
        return shares * self.sigmoid(scores)


class Rules(nn.Module):
    """Rules for classes: an AND of concepts and negated ones each, and their OR for each class.

    Args:
        concepts: how many there are to choose from.
        classes: how many classes.
        each: rules of each class.

    Attributes:
        tenths: weights (classes, rules, concepts) before rounding, from -1 to 1, divided by ten.
        biases: (classes, rules), from 0 to 1: how often a rule holds of which all concepts do.
    """

    def __init__(self, concepts: int, classes: int, each: int) -> None:
        super().__init__()
        self.tenths = nn.Parameter(torch.empty(classes, each, concepts))
        self.biases = nn.Parameter(torch.empty(classes, each))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw rules at random."""
        nn.init.uniform_(self.tenths, -_START / _PACE, _START / _PACE)
        nn.init.constant_(self.biases, 0.95)

    @property
    def weights(self) -> Tensor:
        """Weights (classes, rules, concepts) before rounding, from -1 to 1."""
        return (_PACE * self.tenths).clamp(-1, 1)

    def literals(self) -> Tensor:
        """Which concepts belong to each rule, (classes, rules, concepts): 1, -1 where negated, 0 where they do not."""
        weights = self.weights.detach()
        return weights.sign() * (weights.abs() >= 0.5)

    def confidences(self) -> Tensor:
        """Biases (classes, rules) as they count."""
        return self.biases.clamp(0, 1)

    def truths(self, concepts: Tensor) -> Tensor:
        """Truth (batch, classes, rules) of all rules, given that of the concepts (batch, concepts)."""
        literals, weights = self.literals(), self.weights
        wanted, unwanted = (
            part + ((sign * literals).clamp(min=0) - part).detach()
            for sign, part in ((1, weights.clamp(min=0)), (-1, (-weights).clamp(min=0)))
        )
        truth = concepts[:, None, None]
        factors = 1 - wanted * (1 - truth) - unwanted * truth
        return self.confidences() * factors.clamp(min=_SMALLEST).log().sum(dim=3).exp()

    def price(self) -> Tensor:
        """What long rules cost, and rules that ask for nothing that can be heard."""
        weights = self.weights
        nothing = (1 - weights.clamp(min=0).sum(dim=2)).clamp(min=0)
        return _LENGTH * weights.abs().sum(dim=2).mean() + _HEARD * nothing.square().mean()

    def forward(self, concepts: Tensor) -> Tensor:
        """Log odds (batch, classes) of the classes."""
        if self.training:
            with torch.no_grad():  # the optimiser's last step may have left the range
                self.tenths.clamp_(-1 / _PACE, 1 / _PACE)
                self.biases.clamp_(0, 1)
        none = (1 - self.truths(concepts)).clamp(_SMALLEST, 1 - _SMALLEST).log().sum(dim=2)
        return (-torch.expm1(none)).clamp(min=_SMALLEST).log() - none


class LogicHead(nn.Module):
    """Scores of concepts at every place, the truth of each concept, and rules over them.

    Args:
        features: channels of the feature map.
        concepts: how many are learned.
        classes: how many classes.
        each: rules of each class.

    Attributes:
        concepts: a module whose output (batch, concepts, h, w) is what each place adds to each concept's truth.
        rules: a module that makes log odds of the classes of the truths (batch, concepts).
        measured: of each concept, on the training clips (concepts, 7), in the order of `concept_names.MEASURES`; zeros
            before training ends.
    """

    measured: Tensor

    def __init__(self, features: int, concepts: int, classes: int, each: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(concepts)
        # Few places are active at first, and clips differ in how active the most active one is.
        nn.init.constant_(norm.weight, 2.0)
        nn.init.constant_(norm.bias, -1.0)
        self.scores = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(features, concepts, 1, bias=False), norm)
        self.concepts = ConceptPool()
        self.rules = Rules(concepts, classes, each)
        self.register_buffer("measured", torch.zeros(concepts, len(concept_names.MEASURES)))

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (batch, channels, h, w) into log odds (batch, classes)."""
        return self.rules(self.concepts(self.scores(features)).sum(dim=(2, 3)))


class LogicClassifier(CnnClassifier):
    """The CNN's blocks, concepts with places, and rules over them."""

    capabilities = PictureClassifier.capabilities | {"rules"}
    head: LogicHead

    def __init__(
        self, name: str, classes: Sequence[str], front_end: FrontEnd, widths: Sequence[int], concepts: int, each: int
    ) -> None:
        super().__init__(name, classes, front_end, widths)
        self.family = "logic"
        self.head = LogicHead(widths[-1], concepts, len(self.classes), each)
        self.recipe = Recipe(epochs=14, learning_rate=3e-3, weight_decay=0.05, batch_size=8)

    @property
    def concepts(self) -> nn.Module:
        """The module whose output is what each place adds to each concept's truth."""
        return self.head.concepts

    @property
    def concept_names(self) -> tuple[str, ...]:
        """Names of the concepts, by what was measured."""
        return concept_names.names(self.head.measured)

    def literals(self) -> Tensor:
        """What the rules ask for, (classes, rules, concepts): 1 a concept, -1 that there is none of it, 0 neither."""
        return self.head.rules.literals()

    def confidences(self) -> Tensor:
        """Truth (classes, rules) of rules of which all concepts are as asked for."""
        return self.head.rules.confidences()

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.head(self._features(x))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Add to the cross-entropy of classes that of each class alone, and the price of rules.

        The second makes a class true in itself, and not only truer than the others. Long rules have a price, and rules
        that ask for nothing that can be heard.
        """
        alone = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1).mean()
        return super().loss(logits, target) + alone + self.head.rules.price()

    def after_training(self, pictures: Iterable[Tensor]) -> None:
        """Measure where and how the concepts sound, for their names."""
        measures: list[list[list[float]]] = [[] for _ in self.head.measured]
        clips, hop = 0, self.domain.hop_samples / self.domain.sample_rate
        for x in pictures:
            shares, magnitudes = self.head.concepts(self.head.scores(self._features(x))), x.expm1()
            for clip, concept in (shares.sum(dim=(2, 3)) > 0.5).nonzero().tolist():
                activity = self.front_end.to_picture(concept_names.core(shares[clip, concept])[None])[0]
                found = concept_names.measure(magnitudes[clip], activity, self.domain.frequencies, hop)
                measures[concept].append(found)
            clips += len(x)
        for row, own in zip(self.head.measured, measures, strict=True):
            if own:
                row[:-1] = torch.tensor(own).median(dim=0).values
                row[-1] = len(own) / clips

    def _features(self, x: Tensor) -> Tensor:
        return self.feature_maps(self.blocks(self._image(x)))


def micro(classes: Sequence[str]) -> Classifier:
    """About 0.3 M parameters at 128 x 128: the first four blocks of cnn-micro; concepts have 16 x 16 places."""
    return LogicClassifier("logic-micro", classes, MelResize((128, 128)), (16, 32, 64, 128), concepts=24, each=2)
