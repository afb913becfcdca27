"""The logic network: its rules are what it computes; they can be learned; its concepts are named by their sound."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.lazy import Lazy
from xaibench.classifiers import concept_names, training
from xaibench.classifiers.logic import LogicClassifier, Rules
from xaibench.sound.audio import DOMAIN
from xaibench.sound.randomness import seeded

toys = Lazy("xaibench.testing.toys")
HOP = DOMAIN.hop_samples / DOMAIN.sample_rate


def rules() -> Rules:
    with seeded(0):
        made = Rules(concepts=5, classes=3, each=2)
    made.tenths.data *= 1.8  # half of them are large enough to count
    return made.eval().requires_grad_(False)


def test_log_odds_are_those_of_the_rules_by_loops() -> None:
    made, truth = rules(), torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    literals = made.literals()
    assert set(literals.unique().tolist()) == {-1.0, 0.0, 1.0} and literals.abs().sum() > 8
    torch.testing.assert_close(literals, (10 * made.tenths).round())
    for clip in range(4):
        for name in range(3):
            fails = 1.0
            for rule in range(2):
                holds = float(made.biases[name, rule])
                for concept in range(5):
                    if literals[name, rule, concept] > 0:
                        holds *= float(truth[clip, concept])
                    elif literals[name, rule, concept] < 0:
                        holds *= 1 - float(truth[clip, concept])
                assert float(made.truths(truth)[clip, name, rule]) == pytest.approx(holds, abs=1e-6)
                fails *= 1 - holds
            assert float(made(truth)[clip, name]) == pytest.approx(math.log((1 - fails) / fails), abs=1e-4)


def test_what_no_rule_asks_for_can_be_learned_and_ranges_hold() -> None:
    made = rules().train().requires_grad_(True)
    made(torch.full((2, 5), 0.4)).square().sum().backward()
    gradient = made.tenths.grad
    assert gradient is not None and (gradient[made.literals() == 0] != 0).all()
    with torch.no_grad():
        made.tenths[0, 0, 0], made.biases[0, 0] = -1.5, 1.2
    made(torch.full((2, 5), 0.4))
    assert made.weights[0, 0, 0] == -1 and made.biases[0, 0] == 1


def test_truths_have_places_and_long_rules_have_a_price() -> None:
    toy: Any = toys.toy_classifier({"rules"})
    batch = toys.toy_batch(2)
    seen: list[Tensor] = []
    hook = toy.concepts.register_forward_hook(lambda module, args, output: seen.extend([args[0], output]))
    logits = toy.picture_logits(batch.x)
    hook.remove()
    scores, shares = (one.double() for one in seen)
    assert shares.shape == (2, 6, 16, 16) and shares.min() >= 0 and shares.sum(dim=(2, 3)).max() <= 1
    weight = scores[1, 3].exp() / scores[1, 3].exp().sum()
    torch.testing.assert_close(shares[1, 3], weight / (1 + (-scores[1, 3]).exp()), rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(logits, toy.head.rules(seen[1].sum(dim=(2, 3))))
    target = torch.eye(4)[:2]
    longer = copy.deepcopy(toy)
    longer.head.rules.tenths.data = 0.1 * toy.head.rules.tenths.sign()
    plain = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1)
    assert longer.loss(logits, target) > toy.loss(logits, target) > plain


def sound(frequency: Tensor | float, noise: bool, first: int, last: int) -> Tensor:
    """The picture (513, 431) of a tone or of noise in some of its frames."""
    samples = 431 * DOMAIN.hop_samples
    if noise:
        wave = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    else:
        wave = torch.sin(2 * math.pi * torch.cumsum(torch.as_tensor(frequency).expand(samples) / 16000, 0))
    during = torch.zeros(samples)
    during[first * DOMAIN.hop_samples : last * DOMAIN.hop_samples] = 1
    return DOMAIN.log_magnitudes((0.1 * wave * during)[None, :80_000])[0]


@pytest.mark.parametrize(
    ("picture", "active", "name"),
    [
        (sound(1000.0, False, 0, 431), [(0, 431)], "steady tone 0.95-1 kHz"),
        (sound(0, True, 100, 140), [(100, 140)], "burst of noise above 0.81 kHz"),
        (sound(500 * 2 ** (torch.arange(80_166) / 16000), False, 0, 170), [(0, 170)], "rising tone 0.56-1.8 kHz"),
        (sound(1000.0, False, 0, 431), [(0, 20), (100, 120), (200, 220)], "repeated tone 0.95-1.1 kHz"),
    ],
)
def test_a_concept_is_named_by_the_sound_where_it_is_active(
    picture: Tensor, active: list[tuple[int, int]], name: str
) -> None:
    activity = torch.full_like(picture, 0.1)
    for first, last in active:
        activity[:, first:last] = 0.9
    measured = concept_names.measure(picture.expm1(), activity, DOMAIN.frequencies, HOP)
    assert concept_names.names(torch.tensor([[*measured, 0.5]])) == (name,)


def test_the_core_of_a_concept_is_the_fewest_places_with_four_fifths_of_it() -> None:
    shares = torch.tensor([[0.05, 0.3, 0.01], [0.2, 0.02, 0.02]])
    assert concept_names.core(shares).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert concept_names.core(torch.full((2, 2), 0.25)).all()


def test_equal_names_are_numbered_and_what_was_never_true_is_called_by_its_place() -> None:
    tone = [60.0, 2000.0, 1.0, 1.0, 0.01, 0.0, 0.5]
    measured = torch.tensor([tone, [0.0] * 7, tone, [2000.0, 7000.0, 3.0, 1.0, 0.5, -2.0, 0.1]])
    expected = ("tone below 2 kHz #1", "concept 2", "tone below 2 kHz #2", "steady falling noise above 2 kHz")
    assert concept_names.names(measured) == expected


def test_training_ends_with_measurements_that_are_kept_with_the_weights() -> None:
    toy: Any = toys.toy_classifier({"rules"})
    with torch.no_grad():
        toy.head.scores[2].bias[0], toy.head.scores[2].bias[1] = 30, -30  # true, and false, of every clip
        toy.after_training(iter(toys.toy_batch(3).x.split(2)))
    assert toy.head.measured[0, -1] == 1 and not toy.head.measured[1].any()
    assert toy.head.measured[0, 0] < toy.head.measured[0, 1] <= 8000
    assert toy.concept_names[1] == "concept 2"
    other = LogicClassifier("other", toy.classes, toy.front_end, (8, 16), concepts=6, each=2)
    other.load_state_dict(toy.state_dict())
    assert other.concept_names == toy.concept_names


def test_the_trainer_takes_the_classifiers_own_loss_and_lets_it_look_back(
    monkeypatch: pytest.MonkeyPatch, synth: Any, tmp_path: Any
) -> None:
    """Any classifier may have them: here, a toy that is no logic network."""
    kind, seen = type(toys.toy_classifier()), []
    monkeypatch.setattr(kind, "loss", lambda self, logits, target: seen.append("loss") or 0 * logits.sum())
    monkeypatch.setattr(kind, "after_training", lambda self, pictures: seen.append(sum(len(x) for x in pictures)))
    monkeypatch.setattr(training.checkpoint, "build", lambda name, classes: toy_of(classes))
    few = copy.copy(synth)
    few.clips = tuple(clip for clip in synth.clips if clip.label < 2 and int(clip.id[-3:]) % 40 < 2)
    recipe = training.Recipe(epochs=1)
    config = training.TrainingConfig(
        classifier="cnn-micro",
        dataset="synth",
        seed=0,
        recipe=recipe,
        precision=torch.float32,
        device=torch.device("cpu"),
        command="xaibench train",
    )
    monkeypatch.setattr(training.checkpoint, "load", lambda folder: (toy_of(synth.classes).eval(), None))
    training.train(few, config, tmp_path, lambda progress: None)
    assert seen == ["loss", len(few.in_folds((1, 2, 3)))]


def toy_of(classes: tuple[str, ...]) -> Any:
    made = copy.deepcopy(toys.toy_classifier()).requires_grad_(True)
    made.classes = classes
    made.head[-1] = torch.nn.Linear(made.head[-1].in_features, len(classes))
    return made
