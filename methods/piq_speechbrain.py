"""PIQ as SpeechBrain's recipe trains it (arXiv 2303.12659, arXiv 2402.02754); imported, and not fitted here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.state_dicts import read_state
from xaibench.errors import CheckpointError, UnsupportedPairError
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import FitContext, Imported, TrainableExplainer, TrainingClips
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.sound.batch import Batch
from xaibench.storage import tensors

from ._recipe_interpreter import FEATURE_SIZE, RecipeInterpreter, from_state

FEATURES = "recipe_features"  # a capability of the recipe's classifiers
SOURCE = "psi_model.ckpt"
WEIGHTS = "interpreter.safetensors"
CLASSES = "classes.json"


class RecipePiq(TrainableExplainer):
    """The interpreter in a psi_model.ckpt of the recipe, for a classifier of the recipe.

    `load` or `import_checkpoint` comes before `explain`. The standard protocol scores it like every mask, because the
    recipe's classifiers work there, and their interpreter reads the features of any spectrogram.
    """

    title = "PIQ (SpeechBrain)"
    reference = "Paissan et al., PIQ, arXiv 2303.12659; train_piq.py of SpeechBrain's ESC-50 recipes"
    description = "mask decoded from the codes of the predicted class that are nearest to the last feature map"
    polarity = "positive"
    native_mask = True
    protocols = TrainableExplainer.protocols | {"legacy-speechbrain"}
    fittable = False

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self._interpreter: RecipeInterpreter | None = None
        self._classes: tuple[str, ...] = ()  # in training order

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        if FEATURES not in classifier.capabilities:
            return (
                f"reads a FocalNet or ViT of the original recipes, which {classifier.name} ({classifier.family}) is not"
            )
        return super().refusal(classifier, has_ground_truth)

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> NoReturn:
        """Refuse to fit, because the recipe's own code trains this explainer.

        Raises:
            UnsupportedPairError: always; the message says what to do instead.
        """
        raise UnsupportedPairError(
            f"{self.title} is trained by the recipe's own code; add its {SOURCE} with 'xaibench weights add', "
            "or fit PIQ here with 'xaibench fit --method piq'"
        )

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        if self._interpreter is None:
            raise CheckpointError(
                f"{self.title} has no weights; add a {SOURCE} for this classifier with 'xaibench weights add'"
            )
        # Codes belong to classes in the order of the training, whatever order the logits are in.
        order = torch.tensor([self._classes.index(name) for name in classifier.classes], device=target.device)
        with torch.inference_mode():
            mask = self._interpreter(_features(classifier, batch.x), order[target])
        return Explanation(mask.transpose(1, 2).clone(), batch.picture_shape)

    def import_checkpoint(self, folder: Path, classifier: Classifier) -> Imported:
        """Read the recipe's psi_model.ckpt from the folder that holds it.

        Args:
            folder: folder with the state dict; no code in it is run.
            classifier: a classifier of the recipe, with its classes in the order of its training, whose last feature
                map the interpreter reads.

        Raises:
            CheckpointError: the file is missing, is not a plain state dict, or does not fit the classifier.
            UnsupportedPairError: the classifier is not one of the recipe.
        """
        path = Path(folder) / SOURCE
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; it is where the recipe's train_piq.py leaves the interpreter")
        state, _ = read_state(path)
        self._take(state, classifier.classes, classifier, path)
        assert self._interpreter is not None
        return Imported((path,), sum(one.numel() for one in self._interpreter.parameters()))

    def save(self, folder: Path) -> None:
        """Write weights (half precision where nothing is lost) and class names into an existing folder."""
        assert self._interpreter is not None
        state = {key: _smallest(value) for key, value in self._interpreter.state_dict().items()}
        tensors.write(Path(folder) / WEIGHTS, state)
        (Path(folder) / CLASSES).write_text(json.dumps(self._classes, indent=2) + "\n")

    def load(self, folder: Path, classifier: Classifier) -> None:
        """Load what `save` wrote, onto the classifier's device.

        Raises:
            CheckpointError: the files are damaged or do not fit the classifier.
        """
        path, names = Path(folder) / WEIGHTS, Path(folder) / CLASSES
        state, _ = tensors.read(path, "import it again")
        try:
            classes = tuple(str(name) for name in json.loads(names.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{names} holds no class names ({error}); import it again") from error
        self._take(state, classes, classifier, path)

    def _take(self, state: dict[str, Tensor], classes: tuple[str, ...], classifier: Classifier, source: Path) -> None:
        if sorted(classes) != sorted(classifier.classes):
            raise CheckpointError(
                f"{source}: its {len(classes)} classes in training order are not the {len(classifier.classes)} of "
                f"{classifier.name}"
            )
        refusal = self.refusal(classifier, has_ground_truth=False)
        if refusal is not None:
            raise UnsupportedPairError(f"{source} is of no use here: {self.title} {refusal}")
        interpreter = from_state(state, len(classes), str(source))
        device = classifier.device
        with torch.inference_mode():
            channels, *size = _features(classifier, torch.zeros(1, *PICTURE_SHAPE, device=device)).shape[1:]
        dim = interpreter.down.in_channels
        if channels != dim:
            raise CheckpointError(
                f"{source} reads feature maps of {dim} channels, {classifier.name} has {channels}; "
                "was it fitted to another classifier?"
            )
        if tuple(size) != FEATURE_SIZE:
            raise CheckpointError(
                f"{source}: the recipe's decoder makes its mask from a map of {FEATURE_SIZE[0]} x {FEATURE_SIZE[1]}, "
                f"{classifier.name} gives {size[0]} x {size[1]}; the recipe's image is 224 x 224 at a patch of 4 or 16"
            )
        self._interpreter, self._classes = interpreter.to(device), classes
        self.parameters = {"dim": dim, "codes": len(interpreter.code_class)}


def _features(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the recipe's feature map of spectrograms (batch, 513, 431): (batch, channels, h, w)."""
    model: Any = classifier  # offers FEATURES
    return cast(Tensor, model.recipe_features(x))


def _smallest(value: Tensor) -> Tensor:
    half = value.half() if value.is_floating_point() else value
    return half if torch.equal(half.to(value.dtype), value) else value
