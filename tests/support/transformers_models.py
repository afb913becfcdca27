"""Audio classifiers of transformers, small ones from their configurations, with their extractors."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.support.lazy import Lazy
from tests.support.sound_models import CLASSES
from xaibench.sound.randomness import seeded

transformers = Lazy("transformers")
_LABELS = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
_TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "classifier_proj_size": 16,
}
_CONVOLUTIONS = {
    "conv_dim": (16, 16, 16),
    "conv_stride": (10, 8, 4),
    "conv_kernel": (10, 8, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
_SEW = {"squeeze_factor": 2}
_WAV = {**_TRANSFORMER, **_CONVOLUTIONS}
# The configuration, what is small in it, the extractor and its settings.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2Config", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "hubert": ("HubertConfig", _WAV, "Wav2Vec2FeatureExtractor", {"do_normalize": False}),
    "wavlm": ("WavLMConfig", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "unispeech": ("UniSpeechConfig", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "unispeech-sat": ("UniSpeechSatConfig", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "data2vec-audio": ("Data2VecAudioConfig", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "wav2vec2-conformer": ("Wav2Vec2ConformerConfig", _WAV, "Wav2Vec2FeatureExtractor", {}),
    "sew": ("SEWConfig", {**_WAV, **_SEW}, "Wav2Vec2FeatureExtractor", {}),
    "sew-d": ("SEWDConfig", {**_WAV, **_SEW}, "Wav2Vec2FeatureExtractor", {}),
    "ast": ("ASTConfig", {**_TRANSFORMER, "max_length": 256, "num_mel_bins": 64}, "ASTFeatureExtractor",
            {"max_length": 256, "num_mel_bins": 64}),
    "wav2vec2-bert": ("Wav2Vec2BertConfig", _TRANSFORMER, "SeamlessM4TFeatureExtractor", {}),
    "whisper": ("WhisperConfig", {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
                                  "encoder_ffn_dim": 32, "decoder_layers": 1, "decoder_attention_heads": 2,
                                  "decoder_ffn_dim": 32, "max_source_positions": 250, "classifier_proj_size": 16,
                                  "num_mel_bins": 80}, "WhisperFeatureExtractor", {"chunk_length": 5}),
}  # fmt: skip
TYPICAL = ("wav2vec2", "ast", "wav2vec2-bert", "whisper")


@cache
def parts(architecture: str) -> tuple[Any, Any]:
    """A seeded model and its extractor."""
    config, small, extractor, settings = ARCHITECTURES[architecture]
    with seeded(0):
        model = transformers.AutoModelForAudioClassification.from_config(
            getattr(transformers, config)(**small, **_LABELS)
        )
    return model.eval(), getattr(transformers, extractor)(**settings)
