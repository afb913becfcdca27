"""xaibench: an interpretability benchmark suite for sound classifiers.

These names are the public ones: write `import xaibench as xb` and `xb.Explainer`, or `from xaibench import Explainer`.
Modules may move. Each name is loaded when it is first used, so that `import xaibench` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from xaibench._version import __version__ as __version__

_HOMES = {
    "AudioError": "xaibench.errors",
    "Batch": "xaibench.sound.batch",
    "Capability": "xaibench.classifiers.capabilities",
    "CheckpointError": "xaibench.errors",
    "CheckpointFormat": "xaibench.classifiers.checkpoint_format",
    "Classifier": "xaibench.classifiers.base",
    "ClassifierError": "xaibench.errors",
    "Clip": "xaibench.sound.dataset",
    "DataError": "xaibench.errors",
    "Dataset": "xaibench.sound.dataset",
    "Epoch": "xaibench.explaining.trainable",
    "Explainer": "xaibench.explaining.explainer",
    "Explanation": "xaibench.explaining.explanation",
    "Explained": "xaibench.benchmark.explanation",
    "ExplanationError": "xaibench.errors",
    "IsolationError": "xaibench.errors",
    "FitContext": "xaibench.explaining.trainable",
    "Fitted": "xaibench.explaining.trainable",
    "ForeignCheckpoint": "xaibench.classifiers.checkpoint_format",
    "Imported": "xaibench.explaining.trainable",
    "Leaderboard": "xaibench.benchmark.results",
    "Learned": "xaibench.benchmark.learning",
    "Masked": "xaibench.scoring.context",
    "Metric": "xaibench.scoring.metric",
    "Perturbation": "xaibench.scoring.context",
    "Picture": "xaibench.sound.domain",
    "PictureClassifier": "xaibench.classifiers.base",
    "Precomputed": "xaibench.explaining.precomputed",
    "Protocol": "xaibench.scoring.protocol",
    "RegistryError": "xaibench.errors",
    "Results": "xaibench.benchmark.results",
    "ResultsError": "xaibench.errors",
    "Scores": "xaibench.scoring.metric",
    "ScoringContext": "xaibench.scoring.context",
    "SoundEvent": "xaibench.sound.dataset",
    "TrainableExplainer": "xaibench.explaining.trainable",
    "TrainingClips": "xaibench.explaining.trainable",
    "UnsupportedPairError": "xaibench.errors",
    "XaibenchError": "xaibench.errors",
    "audio_csv": "xaibench.benchmark.data",
    "audio_folder": "xaibench.benchmark.data",
    "check_classifier": "xaibench.testing",
    "check_dataset": "xaibench.testing",
    "check_explainer": "xaibench.testing",
    "check_metric": "xaibench.testing",
    "classifier": "xaibench.benchmark.models",
    "clips": "xaibench.benchmark.data",
    "dataset": "xaibench.benchmark.data",
    "evaluate": "xaibench.benchmark.evaluation",
    "explain": "xaibench.benchmark.explanation",
    "fit": "xaibench.benchmark.learning",
    "from_transformers": "xaibench.classifiers.from_transformers",
    "judge": "xaibench.benchmark.learning",
    "load_results": "xaibench.benchmark.results",
    "plan": "xaibench.benchmark.evaluation",
    "read_clip": "xaibench.sound.reading",
    "scores": "xaibench.scoring.metric",
    "site": "xaibench.benchmark.site",
    "toy_batch": "xaibench.testing",
    "toy_classifier": "xaibench.testing",
    "train": "xaibench.benchmark.learning",
    "validate": "xaibench.benchmark.validating",
    "with_reasons": "xaibench.scoring.metric",
    "wrap": "xaibench.classifiers.wrapped",
}

if TYPE_CHECKING:  # the same names once more, for editors and mypy; a test compares the two
    from xaibench.benchmark.data import audio_csv as audio_csv
    from xaibench.benchmark.data import audio_folder as audio_folder
    from xaibench.benchmark.data import clips as clips
    from xaibench.benchmark.data import dataset as dataset
    from xaibench.benchmark.evaluation import evaluate as evaluate
    from xaibench.benchmark.evaluation import plan as plan
    from xaibench.benchmark.explanation import Explained as Explained
    from xaibench.benchmark.explanation import explain as explain
    from xaibench.benchmark.learning import Learned as Learned
    from xaibench.benchmark.learning import fit as fit
    from xaibench.benchmark.learning import judge as judge
    from xaibench.benchmark.learning import train as train
    from xaibench.benchmark.models import classifier as classifier
    from xaibench.benchmark.results import Leaderboard as Leaderboard
    from xaibench.benchmark.results import Results as Results
    from xaibench.benchmark.results import load_results as load_results
    from xaibench.benchmark.site import site as site
    from xaibench.benchmark.validating import validate as validate
    from xaibench.classifiers.base import Classifier as Classifier
    from xaibench.classifiers.base import PictureClassifier as PictureClassifier
    from xaibench.classifiers.capabilities import Capability as Capability
    from xaibench.classifiers.checkpoint_format import CheckpointFormat as CheckpointFormat
    from xaibench.classifiers.checkpoint_format import ForeignCheckpoint as ForeignCheckpoint
    from xaibench.classifiers.from_transformers import from_transformers as from_transformers
    from xaibench.classifiers.wrapped import wrap as wrap
    from xaibench.errors import AudioError as AudioError
    from xaibench.errors import CheckpointError as CheckpointError
    from xaibench.errors import ClassifierError as ClassifierError
    from xaibench.errors import DataError as DataError
    from xaibench.errors import ExplanationError as ExplanationError
    from xaibench.errors import IsolationError as IsolationError
    from xaibench.errors import RegistryError as RegistryError
    from xaibench.errors import ResultsError as ResultsError
    from xaibench.errors import UnsupportedPairError as UnsupportedPairError
    from xaibench.errors import XaibenchError as XaibenchError
    from xaibench.explaining.explainer import Explainer as Explainer
    from xaibench.explaining.explanation import Explanation as Explanation
    from xaibench.explaining.precomputed import Precomputed as Precomputed
    from xaibench.explaining.trainable import Epoch as Epoch
    from xaibench.explaining.trainable import FitContext as FitContext
    from xaibench.explaining.trainable import Fitted as Fitted
    from xaibench.explaining.trainable import Imported as Imported
    from xaibench.explaining.trainable import TrainableExplainer as TrainableExplainer
    from xaibench.explaining.trainable import TrainingClips as TrainingClips
    from xaibench.scoring.context import Masked as Masked
    from xaibench.scoring.context import Perturbation as Perturbation
    from xaibench.scoring.context import ScoringContext as ScoringContext
    from xaibench.scoring.metric import Metric as Metric
    from xaibench.scoring.metric import Scores as Scores
    from xaibench.scoring.metric import scores as scores
    from xaibench.scoring.metric import with_reasons as with_reasons
    from xaibench.scoring.protocol import Protocol as Protocol
    from xaibench.sound.batch import Batch as Batch
    from xaibench.sound.dataset import Clip as Clip
    from xaibench.sound.dataset import Dataset as Dataset
    from xaibench.sound.dataset import SoundEvent as SoundEvent
    from xaibench.sound.domain import Picture as Picture
    from xaibench.sound.reading import read_clip as read_clip
    from xaibench.testing import check_classifier as check_classifier
    from xaibench.testing import check_dataset as check_dataset
    from xaibench.testing import check_explainer as check_explainer
    from xaibench.testing import check_metric as check_metric
    from xaibench.testing import toy_batch as toy_batch
    from xaibench.testing import toy_classifier as toy_classifier
else:  # hidden from mypy, which would take every name for known if it saw __getattr__
    __all__ = ["__version__", *_HOMES]

    def __getattr__(name: str) -> object:
        """Load a public name from its module (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'xaibench' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
