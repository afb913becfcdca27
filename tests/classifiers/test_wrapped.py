"""Anybody's model as a sound classifier: what it answers, how it is explained, and what is refused in one line."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.sound_models import (
    CLASSES,
    RATE,
    LogMel,
    clips,
    loudness,
    mel_cnn,
    waveform_network,
)
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.black_box import BlackBox
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.loaded import loaded_model
from xaibench.classifiers.wrapped_module import WrappedModule
from xaibench.errors import ClassifierError
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.sound.batch import Batch


def wrap(model: Any, **settings: Any) -> Classifier:
    given: dict[str, Any] = {"classes": CLASSES, "sample_rate": RATE, **settings}
    return xb.wrap(model, **given)


def on_mels(**settings: Any) -> Classifier:
    return wrap(mel_cnn(), **({"front_end": LogMel(), "layer": "block2", "axis": "mel"} | settings))


def black_box(**settings: Any) -> Classifier:
    return wrap(loudness, **({"gradients": False, "returns": "probabilities", "version": "1"} | settings))


def batch_of(classifier: Classifier, count: int = 2) -> Batch:
    waveforms = clips(count, classifier.sample_rate)
    return Batch.of_sound(waveforms, tuple(f"clip-{i}" for i in range(count)), classifier.domain)


def maps_of(method: str, classifier: Classifier, batch: Batch, **parameters: Any) -> Tensor:
    explainer: Explainer = registry.create("methods", method)
    assert explainer.refusal(classifier, has_ground_truth=False) is None
    explainer.parameters = {**explainer.parameters, **parameters}
    target = classifier.logits_of_clips(batch).argmax(dim=1)
    return BoundExplainer(explainer, Forwarder(classifier, 16)).explain(batch, target).map


MODELS = {"log-mel CNN": on_mels, "waveform network": lambda: wrap(waveform_network()), "black box": black_box}
WITH_GRADIENTS = ("log-mel CNN", "waveform network")


def test_a_wrapped_module_answers_as_it_does_itself() -> None:
    net, front_end = mel_cnn(), LogMel()
    classifier = wrap(net, front_end=front_end)
    assert torch.equal(classifier.logits(clips()), net.eval()(front_end(clips())))
    assert torch.equal(wrap(waveform_network()).logits(clips()), waveform_network().eval()(clips()))
    assert (classifier.sample_rate, classifier.samples, classifier.classes) == (RATE, None, CLASSES)
    assert classifier.domain.sample_rate == RATE
    assert classifier.capabilities == {"gradients"}


def test_the_users_module_is_frozen_in_place_and_keeps_no_hook() -> None:
    net = mel_cnn().train()
    classifier = wrap(net, front_end=LogMel(), layer="block2")
    classifier.logits(clips())
    assert isinstance(classifier, WrappedModule) and classifier.net is net
    assert not net.training and not any(one.requires_grad for one in net.parameters())
    assert not any(one._forward_hooks for one in net.modules())


@pytest.mark.parametrize("model", MODELS)
def test_occlusion_explains_every_kind(model: str) -> None:
    classifier = MODELS[model]()
    batch = batch_of(classifier, 1)
    found = maps_of("occlusion", classifier, batch, window=(256, 30), stride=(256, 30))
    assert found.shape == batch.x.shape and found.isfinite().all() and found.abs().max() > 0


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient"])
@pytest.mark.parametrize("model", WITH_GRADIENTS)
def test_gradient_methods_explain_modules(model: str, method: str) -> None:
    classifier = MODELS[model]()
    batch = batch_of(classifier)
    found = maps_of(method, classifier, batch)
    assert found.shape == batch.x.shape and found.isfinite().all() and found.abs().max() > 0


@pytest.mark.parametrize("model", WITH_GRADIENTS)
def test_integrated_gradients_sum_to_the_rise_of_the_logit(model: str) -> None:
    classifier = MODELS[model]()
    batch = batch_of(classifier, 1)
    logits = classifier.logits_of_clips(batch)
    silence = classifier.logits(torch.zeros_like(clips(1)))
    rise = (logits - silence).gather(1, logits.argmax(dim=1)[:, None])[:, 0]
    total = maps_of("integrated-gradients", classifier, batch, steps=64).sum(dim=(1, 2))
    assert ((total - rise).abs() <= 0.05 * rise.abs()).all(), (total, rise)


@pytest.mark.parametrize(("time_first", "layer_axes"), [(False, "freq,time"), (True, "time,freq")])
def test_grad_cam_is_the_same_whichever_axis_comes_first(time_first: bool, layer_axes: str) -> None:
    net = mel_cnn(time_first)
    if time_first:  # the same network: its kernels are transposed
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.transpose(2, 3).contiguous()
    classifier = wrap(net, front_end=LogMel(), layer="block2", layer_axes=layer_axes, axis="mel")
    batch = batch_of(classifier)
    found = maps_of("gradcam", classifier, batch)
    torch.testing.assert_close(found, maps_of("gradcam", on_mels(), batch), rtol=1e-3, atol=1e-6)
    assert found.max() > 0


def test_another_layer_of_a_method_is_what_another_wrapping_would_name() -> None:
    one, other = on_mels(layer="block1"), on_mels(layer="block2")
    found = maps_of("layercam", other, batch_of(other), layer="block1")
    assert torch.equal(found, maps_of("layercam", one, batch_of(one))) and found.max() > 0
    assert [*other.map_layers()][-1] == "feature_maps" and {"block1", "block1.0", "block2"} <= {*other.map_layers()}
    # Maps with the time first would be placed as if their frequencies were first, so there are no others.
    assert [*on_mels(layer="block2", layer_axes="time,freq").map_layers()] == ["feature_maps"]
    assert not on_mels(layer=None).map_layers()


def test_a_layer_of_time_alone_is_explained_along_time() -> None:
    classifier = wrap(waveform_network(), layer="convolutions", layer_axes="time")
    found = maps_of("gradcam", classifier, batch_of(classifier))
    assert torch.equal(found[:, :1].expand_as(found), found)

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = waveform_network()
            self.tokens = nn.Identity()

        def forward(self, waveform: Tensor) -> Tensor:
            maps = self.own.convolutions(waveform[:, None]).transpose(1, 2)
            return 10 * self.own.head(self.tokens(maps).mean(dim=1))

    other = wrap(TimeFirst(), layer="tokens", layer_axes="time,channels")
    torch.testing.assert_close(maps_of("gradcam", other, batch_of(other)), found)


@pytest.mark.parametrize(
    ("settings", "row"),
    [
        ({"axis": "linear"}, 1000 / (RATE / 2) * 32 - 0.5),
        ({"axis": "mel"}, 1000 / 3564.4 * 32 - 0.5),  # 1000 Hz are 1000 mel, and 16 kHz are 3564
        ({"rows_hz": np.linspace(500, 3600, 32)}, 5.0),
        ({"rows_hz": np.linspace(3600, 500, 32)}, 26.0),
        ({"rows_hz": np.linspace(500, 3600, 64)}, (500 / (3100 / 63) + 0.5) / 2 - 0.5),
    ],
)
def test_maps_lie_where_the_models_rows_do(settings: dict[str, Any], row: float) -> None:
    classifier: Any = on_mels(**settings)
    ramp = torch.arange(32.0)[None, :, None].expand(1, 32, 20)
    shape = classifier.domain.shape(RATE)
    picture = classifier.to_picture(ramp, shape)
    at_1000_hz = int(np.argmin(np.abs(classifier.domain.frequencies.numpy() - 1000)))
    assert picture.shape == (1, *shape)
    assert float(picture[0, at_1000_hz, 0]) == pytest.approx(row, abs=0.1)


def test_maps_lie_where_their_columns_do() -> None:
    classifier: Any = on_mels()
    shape = classifier.domain.shape(RATE)
    column = torch.zeros(1, 32, 20)
    column[:, :, 15] = 1  # from 0.75 to 0.80 s
    where = (classifier.to_picture(column, shape)[0, 0] * classifier.domain.times(RATE)).sum()
    assert float(where / classifier.to_picture(column, shape)[0, 0].sum()) == pytest.approx(0.775, abs=0.01)
    fine = torch.rand(1, 32, 5000)
    assert classifier.to_picture(fine, shape).std() < 0.2 * fine.std()  # averaged, not picked


def test_a_front_end_through_numpy_takes_the_gradients_away() -> None:
    mels = LogMel()

    def through_numpy(waveform: Tensor) -> Tensor:
        return torch.from_numpy(mels(torch.from_numpy(waveform.numpy())).numpy())

    classifier = wrap(mel_cnn(), front_end=through_numpy)
    assert "gradients" not in classifier.capabilities
    torch.testing.assert_close(classifier.logits(clips()), on_mels().logits(clips()))
    refusal = registry.create("methods", "saliency").refusal(classifier, False)
    assert refusal is not None and "needs gradients" in refusal
    assert maps_of("occlusion", classifier, batch_of(classifier, 1), window=(256, 50), stride=(256, 50)).abs().max() > 0
    assert "gradients" in wrap(mel_cnn(), front_end=lambda waveform: mels(waveform)).capabilities
    assert "gradients" not in on_mels(gradients=False).capabilities


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "gradcam"])
def test_a_black_box_is_refused_by_gradient_methods_with_the_reason(method: str) -> None:
    refusal = registry.create("methods", method).refusal(black_box(name="my-box"), False)
    assert refusal is not None and "needs" in refusal and "my-box" in refusal


def test_probabilities_become_logits_that_give_them_back() -> None:
    classifier = black_box()
    p = loudness(clips().numpy())
    np.testing.assert_allclose(torch.softmax(classifier.logits(clips()), dim=1).numpy(), p, atol=1e-6)
    several = wrap(lambda _: np.array([[0.0, 1.0, 0.25, 0.9]]), gradients=False, returns="probabilities",
                   activation="sigmoid")  # fmt: skip
    np.testing.assert_allclose(torch.sigmoid(several.logits(clips(1))), [[0, 1, 0.25, 0.9]], atol=2e-7)
    certain = black_box_of(np.array([[1.0, 0, 0, 0]]))
    assert certain.logits(clips(1)).tolist() == [[0.0, *[pytest.approx(np.log(1e-12))] * 3]]


def black_box_of(answer: np.ndarray, **settings: Any) -> Classifier:
    return wrap(lambda _: answer, **({"gradients": False, "returns": "probabilities"} | settings))


def test_a_black_box_may_write_to_its_input_and_use_its_output_again() -> None:
    kept = np.zeros((2, 4), dtype=np.float32)

    def rude(waveforms: np.ndarray) -> np.ndarray:
        assert waveforms.dtype == np.float32
        waveforms *= 0
        kept[:] += 1
        return kept

    classifier, sounds = wrap(rude, gradients=False), clips()
    first = classifier.logits(sounds)
    classifier.logits(sounds)
    assert torch.equal(first, torch.ones(2, 4)) and torch.equal(sounds, clips())


def test_identity_follows_weights_code_version_and_settings() -> None:
    def identities(classifier: Classifier) -> tuple[str, str]:
        return loaded_model(classifier).identity, classifier.code_identity().sha256

    one = on_mels()
    assert identities(one) == identities(on_mels()) and all(identities(one))
    changed = copy.deepcopy(one)
    next(changed.parameters()).data.add_(1e-4)
    assert loaded_model(changed).sha256 != loaded_model(one).sha256
    assert loaded_model(on_mels(layer="block1")).identity != loaded_model(one).identity
    # A floor inside the front end is in no state dict.
    assert identities(on_mels(front_end=LogMel(1e-3)))[1] != identities(one)[1]
    for setting in ({"version": "2"}, {"temperature": 2.0}, {"sample_rate": 16_000}, {"samples": 100}):
        assert loaded_model(black_box(**setting)).identity != loaded_model(black_box()).identity
    assert loaded_model(black_box()).sha256 and black_box().code_identity().known
    doubt = black_box(version="").code_identity().doubt
    assert doubt == "loudness is a black box without a version; wrap it with version=..."


def test_the_name_is_that_of_the_class_or_function_or_the_users() -> None:
    assert on_mels().name == "MelCnn" and black_box().name == "loudness"
    assert black_box_of(np.zeros((1, 4))).name == "lambda"
    assert loaded_model(on_mels(name="mine")).label == "mine"
    assert loaded_model(on_mels(), "other").label == "other"
    for name in ("a/b", "", "a b", "café"):
        with pytest.raises(ClassifierError, match=r"^name is '.*'; results need one of letters"):
            on_mels(name=name)


def test_a_fixed_length_is_held() -> None:
    classifier = on_mels(samples=RATE)
    assert classifier.logits(clips()).shape == (2, 4)
    with pytest.raises(ClassifierError, match="hears 32000 samples at 32000 Hz, and got 48000"):
        classifier.logits(clips(seconds=1.5))


class Odd(nn.Module):
    """Logits of the mean of each clip, spoilt in one way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.weight = nn.Parameter(torch.ones(1, 4))
        self.block4 = nn.Identity()

    def forward(self, waveform: Tensor) -> Any:
        level = self.block4(waveform).square().mean(dim=1, keepdim=True)
        match self.way:
            case "nan":
                level = level / 0 - level / 0
            case "log of zero":
                level = level.log()
            case "dropout":
                level = nn.functional.dropout(level + 1, 0.5, training=True)
            case "in place":
                waveform *= 0.5
            case "of the batch":
                level = level / level.std(correction=0)
            case "of the loudest":
                level = 100 * level.clamp(min=float(level.detach().max()) / 10)
            case "probabilities":
                return (level * self.weight).softmax(dim=1)
            case "tuple":
                return (level * self.weight,)
            case "device":
                raise RuntimeError("Expected all tensors to be on the same device, but found two, cuda:0 and cpu!")
            case "answers elsewhere":
                return (level * self.weight).to("meta")
            case "half":
                return nn.functional.linear(level.half(), self.weight.T)
            case "short":
                return nn.functional.conv1d(waveform[:, None], torch.ones(4, 1, 200_000)).mean(dim=2)
            case "frames":
                return (waveform[:, ::1000, None] * self.weight).squeeze()
        return level * self.weight


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (Odd(""), {"classes": CLASSES[:3]}, "Odd gives 4 logits, and classes names 3; name all of them"),
        (Odd("nan"), {}, "NaN or infinite logits for noise; check its weights"),
        (Odd("log of zero"), {}, "NaN or infinite logits for silence; its front end needs a floor"),
        (Odd("dropout"), {}, "other logits for the same sound each time; turn off dropout"),
        (Odd("in place"), {}, "changes the waveform that it is given; clone it"),
        (Odd("of the batch"), {}, "alone than beside others; normalise each clip by itself"),
        (Odd("of the loudest"), {}, "alone than beside others; .*AmplitudeToDB with top_db"),
        (Odd("probabilities"), {}, "no logits; say returns=\"probabilities\", or wrap it without its softmax"),
        (Odd("tuple"), {}, "returns a tuple, expected a tensor of logits"),
        (Odd("device"), {}, "tensors on several devices: .*move model and front end to one device"),
        (Odd("answers elsewhere"), {}, "hears on cpu and answers on meta; move all of it to one device"),
        (Odd("half"), {}, "computes in several precisions: .*call model.float"),
        (Odd("short"), {}, "needs more than 160000 samples: .*wrap it with samples=N"),
        (Odd("frames"), {}, r"an output of shape \(3, 160, 4\) for 3 clips, expected \(batch, classes\) = \(3, 4\)"),
        (Odd(""), {"layer": "blok4"}, "Odd has no layer 'blok4'; there are block4"),
        (Odd(""), {"layer": "block4"}, r"gives \(3, 160000\), and layer_axes says \(batch, channels, freq, time\)"),
        (Odd(""), {"front_end": lambda waveform: waveform.numpy()}, "AttributeError|TypeError|fails on"),
        (Odd(""), {"layer_axes": "freq"}, "layer_axes is 'freq'; give"),
        (Odd(""), {"axis": "bark"}, "axis is 'bark'; give one of linear, mel"),
        (Odd(""), {"rows_hz": [100, 50, 70]}, "rows_hz must rise, or fall"),
        (Odd(""), {"rows_hz": [100, 50_000]}, "rows_hz must rise, or fall, from row to row, between 0 and 16000 Hz"),
        (Odd(""), {"returns": "probabilities"}, "probabilities that sum to 0; say activation"),
        (Odd(""), {"returns": "scores"}, "returns is 'scores'; give one of logits, probabilities"),
        (Odd(""), {"activation": "relu"}, "activation is 'relu'; give one of softmax, sigmoid"),
        (Odd(""), {"classes": "bell"}, "classes: give the names of all outputs"),
        (Odd(""), {"classes": 4}, "classes: give the names of all outputs"),
        (Odd(""), {"classes": range(4)}, r"classes is a range with 0, 1, 2; give a list of texts.* \['0', '1', '2'\]"),
        (Odd(""), {"classes": {0: "a", 1: "b"}}, r"classes is a dict with 'a', 'b'; give a list .* \['a', 'b'\]"),
        (Odd(""), {"classes": ["a"]}, "the softmax of one class is 1 whatever is heard; say activation=\"sigmoid\""),
        (Odd(""), {"classes": ["a", "a", "b", "c"]}, "classes: two have the same name"),
        (Odd(""), {"sample_rate": 44.1}, "sample_rate is 44.1; give a whole number of Hz"),
        (Odd(""), {"sample_rate": 16}, "sample_rate is 16; give a whole number of Hz, 1000 at least"),
        (Odd(""), {"samples": 0}, "samples is 0; give a whole number, or None"),
        (Odd(""), {"temperature": -1}, "temperature is -1; give a positive number"),
        (Odd(""), {"version": "3"}, "version is for black boxes"),
        (loudness, {}, "loudness is no torch module and gives no gradients.*say gradients=False"),
        (loudness, {"gradients": False, "layer": "x"}, "layer is for torch modules"),
        ("a path", {}, "a str is no model; give a torch module"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_the_remedy(model: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ClassifierError) as raised:
        wrap(model, **settings)
    assert re.search(words, str(raised.value)) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "settings", "words"),
    [
        (np.full((1, 3), 1 / 3), {}, "gives 3 logits, and classes names 4"),
        (np.full((2, 4), 0.25), {}, r"shape \(2, 4\) for 1 clips"),
        (np.full((1, 4), 2.0), {}, "which are no probabilities; say returns=\"logits\""),
        (np.full((1, 4), 0.9), {}, "sum to 3.6; say activation=\"sigmoid\""),
        ([[1, 2], [3]], {}, "fails on an array"),
    ],
)  # fmt: skip
def test_a_black_box_is_checked_whenever_it_is_asked(answer: Any, settings: dict[str, Any], words: str) -> None:
    classifier = black_box_of(answer, **settings)
    assert isinstance(classifier, BlackBox)
    with pytest.raises(ClassifierError, match=words):
        classifier.logits(clips(1))


def test_probabilities_may_be_rounded_beyond_their_ends() -> None:
    answer = np.array([[1.0000002, -1e-7, 0.0, 0.0]], dtype=np.float32)
    assert black_box_of(answer).logits(clips(1)).isfinite().all()


class Gated(nn.Module):
    """Probabilities of classes of which the first is improbable whatever is heard."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(4)

    def forward(self, waveform: Tensor) -> Tensor:
        power = self.norm(waveform.square().mean(dim=1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0, 4.0]))
        return self.drop(power - torch.tensor([200.0, 0.0, 0.0, 0.0])).softmax(dim=1)


def test_an_improbable_class_takes_no_gradients_away() -> None:
    assert "gradients" in wrap(Gated(), returns="probabilities").capabilities


def test_a_net_that_was_put_back_into_training_is_refused() -> None:
    net = Gated()
    classifier = wrap(net, returns="probabilities")
    before = classifier.logits(clips(2))
    mean = net.norm.running_mean.clone()  # type: ignore[union-attr]
    net.train()
    with pytest.raises(ClassifierError, match=r"is in training mode.*call eval\(\)"):
        classifier.logits(clips(2))
    assert torch.equal(net.norm.running_mean, mean)  # type: ignore[arg-type]
    net.eval()
    assert torch.equal(classifier.logits(clips(2)), before)


class Recurrent(nn.Module):
    """Its layer holds weak references to its own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(1, 4, batch_first=True)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.layer(waveform[:, ::1000, None])[0].mean(dim=1)


def test_what_was_computed_of_a_recurrent_model_can_be_used_again() -> None:
    one = wrap(Recurrent())
    changed = copy.deepcopy(one)
    assert one.code_identity().known and loaded_model(one).identity == loaded_model(copy.deepcopy(one)).identity
    next(changed.parameters()).data.add_(1e-4)
    assert loaded_model(changed).identity != loaded_model(one).identity
