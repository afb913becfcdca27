"""LayerCAM, Grad-CAM++ and Score-CAM against slow derivations, on a network of which all derivatives can be taken."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import PictureClassifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.testing import toy_batch, toy_classifier

SHAPE = (6, 8)
CHANNELS = 5
TARGET = torch.tensor([1, 0])


class SmallToy(PictureClassifier):
    """Convolution, ReLU, feature map (5, 3, 4), and two layers with a ReLU between them; in double precision."""

    def __init__(self, rectified: bool = True) -> None:
        super().__init__("small-toy", "toy", ("a", "b", "c"), temperature=2.0)
        with seeded(3):
            self.first = nn.Conv2d(1, CHANNELS, 2, stride=2).double()
            self.last = nn.Sequential(nn.Linear(CHANNELS * 12, 8), nn.ReLU(), nn.Linear(8, 3)).double()
        self.feature_maps, self.rectified, self.asked = nn.Identity(), rectified, 0

    def picture_logits(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        made = self.first(x[:, None].double())
        return self.rest(self.feature_maps(made.relu() if self.rectified else made))

    def logits(self, waveform: Tensor) -> Tensor:
        return self.picture_logits(waveform[:, : math.prod(SHAPE)].unflatten(1, SHAPE))

    def rest(self, features: Tensor) -> Tensor:
        return self.last(features.flatten(1))

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(maps[:, None], shape, mode="nearest")[:, 0]


def toy(**settings: bool) -> SmallToy:
    return SmallToy(**settings).eval().requires_grad_(False)  # type: ignore[return-value]


def pictures() -> Batch:
    return Batch(torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)), ids(2))


def method(name: str, **parameters: object) -> Explainer:
    return registry.create("methods", name).with_parameters(**parameters)


def features_of(classifier: SmallToy, x: Tensor) -> Tensor:
    """Feature maps by loops, (channels, 3, 4)."""
    made = torch.zeros(CHANNELS, 3, 4, dtype=torch.float64)
    for k in range(CHANNELS):
        for i in range(3):
            for j in range(4):
                window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].double()
                made[k, i, j] = (classifier.first.weight[k, 0] * window).sum() + classifier.first.bias[k]  # type: ignore[index]
    return made.relu()


def enlarged(small: Tensor) -> Tensor:
    return small.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)


def test_layercam_by_loops() -> None:
    """As the paper defines it, with gradients by central differences."""
    classifier, batch = toy(), pictures()
    found = method("layercam").explain(classifier, batch, TARGET)
    assert found.native_shape == (3, 4)
    for clip in range(2):
        features, expected = features_of(classifier, batch.x[clip]), torch.zeros(3, 4, dtype=torch.float64)
        for k in range(CHANNELS):
            for i in range(3):
                for j in range(4):
                    step = torch.zeros_like(features)
                    step[k, i, j] = 1e-5
                    ends = classifier.rest(torch.stack([features + step, features - step]))[:, TARGET[clip]]
                    slope = 2.0 * float(ends[0] - ends[1]) / 2e-5
                    expected[i, j] += max(slope, 0.0) * features[k, i, j]
        assert expected.max() > 0
        torch.testing.assert_close(found.map[clip].double(), enlarged(expected.relu()), rtol=1e-5, atol=1e-8)


def test_gradcam_plus_plus_by_third_derivatives() -> None:
    """Equation 10 of the paper: derivatives of Y = exp(logit), one, two and three times at every place."""
    classifier, batch = toy(), pictures()
    found = method("gradcam-plus-plus").explain(classifier, batch, TARGET).map
    for clip in range(2):
        features = features_of(classifier, batch.x[clip])
        expected = torch.zeros(3, 4, dtype=torch.float64)
        for k in range(CHANNELS):
            weight = 0.0
            for i in range(3):
                for j in range(4):
                    place = features[k, i, j].clone().requires_grad_()
                    changed = features.index_put((torch.tensor(k), torch.tensor(i), torch.tensor(j)), place)
                    y = (2.0 * classifier.rest(changed[None])[0, TARGET[clip]]).exp()
                    (one,) = torch.autograd.grad(y, place, create_graph=True)
                    (two,) = torch.autograd.grad(one, place, create_graph=True)
                    (three,) = torch.autograd.grad(two, place)
                    if two != 0:
                        alpha = two.detach() / (2 * two + features[k].sum() * three).detach()
                        weight += float(alpha) * max(float(one.detach()), 0.0)
            expected += weight * features[k]
        y = float((2.0 * classifier.rest(features[None])[0, TARGET[clip]]).exp())
        assert expected.max() > 0
        torch.testing.assert_close(y * found[clip].double(), enlarged(expected.relu()), rtol=1e-5, atol=1e-8)


def test_gradcam_plus_plus_refuses_feature_maps_with_negative_values() -> None:
    plus = method("gradcam-plus-plus")
    for name in ("vit-micro", "focalnet-micro"):
        reason = plus.refusal(checkpoint.build(name, ("a", "b")).eval(), has_ground_truth=False)
        assert reason == f"needs a feature map that is never negative, as after a ReLU, and that of {name} is not"
    assert plus.refusal(checkpoint.build("cnn-micro", ("a", "b")).eval(), has_ground_truth=False) is None
    with pytest.raises(ExplanationError, match=r"^Grad-CAM\+\+ needs a feature map that is never negative"):
        plus.explain(toy(rectified=False), pictures(), TARGET)


@pytest.mark.parametrize("target", range(3))
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_score_cam_by_loops(activation: str, target: int) -> None:
    """The paper's channel-wise increase of confidence; a mask makes bins softer, in linear magnitude."""
    classifier, batch = toy(), pictures()
    classifier.activation = activation  # type: ignore[assignment]
    found = method("score-cam").explain(classifier, batch, torch.full((2,), target))
    assert found.native_shape == (3, 4)

    def p(x: Tensor) -> float:
        logits = (2.0 * classifier.picture_logits(x[None])[0]).tolist()
        if activation == "sigmoid":
            return 1 / (1 + math.exp(-logits[target]))
        return math.exp(logits[target]) / math.fsum(math.exp(one) for one in logits)

    for clip in range(2):
        x = batch.x[clip]
        features, expected = features_of(classifier, x), torch.zeros(3, 4, dtype=torch.float64)
        for k in range(CHANNELS):
            low, high = float(features[k].min()), float(features[k].max())
            mask = (enlarged(features[k]) - low) / (high - low) if high > low else torch.zeros(SHAPE)
            left = torch.log(1 + mask * (torch.exp(x.double()) - 1))
            expected += (p(left) - p(torch.zeros(SHAPE))) * features[k]
        assert expected.abs().max() > 0
        torch.testing.assert_close(found.map[clip].double(), enlarged(expected.relu()), rtol=1e-4, atol=1e-7)


def test_score_cam_asks_for_the_channels_that_vary_most_and_no_more() -> None:
    classifier, batch = toy(), pictures()
    assert registry.load("methods", "score-cam").forwards_parameter == "channels"
    found = method("score-cam", channels=1).explain(classifier, batch, TARGET).map
    assert classifier.asked == 2 * (1 + 2), "beside the channels, the clip itself and the baseline"
    for clip in range(2):
        features = features_of(classifier, batch.x[clip])
        most = max(features, key=lambda one: float(one.var()))
        shown = enlarged(most).double()
        cosine = F.cosine_similarity(found[clip].double().flatten(), shown.flatten(), dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-6) or found[clip].abs().max() == 0
    assert found.max() > 0


def test_score_cam_refuses_a_layer_that_sees_a_clip_in_pieces() -> None:
    """As of networks that lay the frames of a clip beside each other in the batch."""
    explainer = method("score-cam", channels=1)
    classifier, batch = toy(), pictures()
    layer = explainer.layer(classifier)  # type: ignore[attr-defined]
    layer.register_forward_hook(lambda module, args, out: torch.cat([out, out]))
    with pytest.raises(ExplanationError, match="is asked with 2 inputs; choose another layer"):
        explainer.explain(classifier, batch, TARGET)


def test_score_cam_fills_with_its_baseline() -> None:
    classifier, batch = toy_classifier(), toy_batch(1)
    found = [
        method("score-cam", channels=4, baseline=name).explain(classifier, batch, torch.tensor([3])).map
        for name in ("silence", "noise")
    ]
    assert found[0].max() > 0 and not torch.allclose(found[0], found[1])


CAMS = ("gradcam", "guided-gradcam", "layercam", "gradcam-plus-plus", "score-cam")


def quick(name: str, layer: str) -> Explainer:
    return method(name, layer=layer, **({"channels": 4} if name == "score-cam" else {}))


@pytest.mark.parametrize("name", CAMS)
def test_the_layer_is_a_parameter(name: str) -> None:
    """The deepest block is the feature map that the classifier names; the first one has maps as large as the image."""
    classifier, batch, target = toy_classifier(), toy_batch(1), torch.tensor([3])
    default, same, first = (
        quick(name, layer).explain(classifier, batch, target) for layer in ("feature_maps", "blocks.2", "blocks.0")
    )
    assert torch.equal(default.map, same.map) and default.native_shape == same.native_shape
    assert not torch.allclose(default.map, first.map)
    if name != "guided-gradcam":
        assert (default.native_shape, first.native_shape) == ((16, 16), (32, 32))
    assert not any(one._forward_hooks for one in classifier.modules())


@pytest.mark.parametrize("name", CAMS)
def test_a_wrong_layer_is_refused_with_the_right_names(name: str) -> None:
    classifier = toy_classifier()
    every = "front_end, input_norm, blocks, blocks.0, blocks.0.0"
    wanted = f"finds no layer 'block.0' that gives maps in toy-cnn; there are {every}"
    reason = quick(name, "block.0").refusal(classifier, has_ground_truth=False)
    assert reason is not None and reason.startswith(wanted) and "\n" not in reason and reason.endswith("feature_maps")
    with pytest.raises(ExplanationError, match=r"finds no layer 'block\.0'"):
        quick(name, "block.0").explain(classifier, toy_batch(1), torch.tensor([0]))


def test_modules_whose_maps_lie_otherwise_are_no_layers() -> None:
    """Vectors, tokens, channels at the end, maps of one place, and what runs twice."""
    vit, focalnet = (toy_classifier({one}) for one in ("attentions", "modulation"))
    assert list(vit.map_layers()) == [
        *("front_end", "input_norm"),
        *("backbone.embeddings.patch_embeddings.projection", "feature_maps"),
    ]
    inside = [name.rpartition(".")[2] for name in focalnet.map_layers() if "modulation" in name]
    assert inside and not {"projection_in", "projection_out", "projection_dropout", "activation"} & {*inside}
    assert not any(name.endswith("modulation") for name in focalnet.map_layers())
