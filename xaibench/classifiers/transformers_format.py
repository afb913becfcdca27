"""Audio classifiers of transformers by name: `xaibench classifiers add NAME --from OWNER/NAME`, or a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat, ForeignCheckpoint, Source, class_names
from xaibench.classifiers.extractor_twins import EXTRACTORS
from xaibench.classifiers.from_transformers import from_transformers, put_together
from xaibench.classifiers.transformers_files import CONFIG
from xaibench.errors import CheckpointError, named

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_EXTRACTOR = ("preprocessor_config.json", "processor_config.json")
_CONFIG_KEY, _EXTRACTOR_KEY, _KIND = "config", "extractor", "feature_extractor_type"
_ELSEWHERE = ("_name_or_path", "transformers_version")  # say where a configuration was, and not what it is


class TransformersFormat(CheckpointFormat):
    """A folder that `save_pretrained` of an audio classifier and of its feature extractor wrote.

    What the two configurations say is kept in the card, the weights beside it; the folder is needed no more.
    """

    required_files = ((CONFIG,), _WEIGHTS, _EXTRACTOR)

    def recognises(self, location: str) -> bool:
        folder = Path(location).expanduser()
        return (folder / CONFIG).is_file() and _first(folder, (*_WEIGHTS, *_EXTRACTOR)) is not None

    def read(self, name: str, source: Source) -> ForeignCheckpoint:
        folder = Path(source.location).expanduser()
        if source.weights is not None or source.sample_rate is not None:
            raise CheckpointError(
                f"{folder} holds its weights, and its feature extractor says the sample rate; leave out --weights and "
                "--sample-rate"
            )
        files = [_first(folder, names) for names in self.required_files]
        for path, names in zip(files, self.required_files, strict=True):
            if path is None:
                raise CheckpointError(
                    f"{folder} holds no {' or '.join(names)}; save the model and its feature extractor there, both "
                    "with save_pretrained"
                )
        classes = None if source.labels is None else class_names(source.labels)
        model = from_transformers(folder, classes=classes, name=name)
        config = json.loads(model.net.config.to_json_string(use_diff=False))
        return ForeignCheckpoint(
            classifier=model,
            dataset="",
            geometry={
                _CONFIG_KEY: {key: value for key, value in config.items() if key not in _ELSEWHERE},
                _EXTRACTOR_KEY: json.loads(model.extractor.to_json_string()),
            },
            precision=torch.float32,
            files=tuple(path for path in files if path is not None),
            origin=str(folder.resolve()),
        )

    def build(self, name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
        import transformers

        try:
            config, facts = dict(geometry[_CONFIG_KEY]), dict(geometry[_EXTRACTOR_KEY])
            kind = facts[_KIND]
            if kind not in EXTRACTORS:  # nothing else of the library is reached by a name in a card
                raise ValueError(f"no extractor is called {kind!r:.80}")
            model = transformers.AutoModelForAudioClassification.from_config(
                transformers.AutoConfig.for_model(**config), dtype=torch.float32
            )
            extractor = getattr(transformers, kind).from_dict(facts)
            made = put_together(name, model, extractor, classes)
            made.find_tokens()
        except Exception as error:  # transformers raises of a wrong value whatever it happens to
            raise CheckpointError(f"{name}: its geometry is that of no audio classifier ({named(error)})") from error
        return made


FORMAT = TransformersFormat()


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
