"""`xaibench explain`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from command_line import Command, assert_refused

from xaibench import audio


def test_explain_writes_a_figure_and_sound_that_adds_up(xaibench: Command, tmp_path: Path, esc50_folder: Path) -> None:
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")  # a dog
    done = xaibench("explain", clip, "-m", "gradcam", "-m", "saliency", "-c", "cnn-micro", "--area", "0.2")
    assert done.code == 0, done.err
    folder = tmp_path / "explained" / clip.stem
    assert "says dog (p = " in done.out
    assert "$" not in done.out
    names = {"explanation.png", "explanation.pdf", "original.wav"}
    names |= {f"{method}-{part}.wav" for method in ("gradcam", "saliency") for part in ("kept", "removed")}
    assert {path.name for path in folder.iterdir()} == names
    for name in names:
        assert f"wrote {Path('explained') / clip.stem / name}" in done.out
    assert (folder / "explanation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (folder / "explanation.png").stat().st_size > 20_000
    assert (folder / "explanation.pdf").read_bytes()[:5] == b"%PDF-"
    original, rate = soundfile.read(folder / "original.wav", dtype="int16")
    assert (len(original), rate) == (80_000, 16_000)
    for method in ("gradcam", "saliency"):
        kept, removed = (soundfile.read(folder / f"{method}-{p}.wav", dtype="int16")[0] for p in ("kept", "removed"))
        assert np.abs(kept).max() > 0
        assert np.abs(removed).max() > 0
        # Three roundings to 16 bits.
        assert np.abs(kept.astype(int) + removed.astype(int) - original.astype(int)).max() <= 2
    # This bark is so loud that a part of it alone overshoots; the gain is the same for all.
    sound = audio.read_clip(clip)
    gain = np.abs(original).max() / 32767 / np.abs(sound).max()
    assert 0.5 < gain <= 1
    np.testing.assert_allclose(original / 32767, gain * sound, atol=2 / 32767)


def test_explain_survives_odd_file_names(xaibench: Command, tmp_path: Path, esc50_folder: Path) -> None:
    """Dollars are mathematics to matplotlib, brackets are markup to rich, colons are emoji."""
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    odd = tmp_path / "a $_$ [bold]b :dog: ü.ogg"
    odd.write_bytes(clip.read_bytes())
    done = xaibench("explain", odd, "-m", "energy", "-c", "cnn-micro", "--out", "[red]out")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{odd.name}: cnn-micro says dog")
    assert "wrote [red]out/explanation.png" in done.out


def test_explain_picks_a_classifier_that_fits(xaibench: Command, esc50_folder: Path) -> None:
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    done = xaibench("explain", clip, "-m", "guided-backprop")
    assert done.code == 0, done.err
    assert "cnn-micro says" in done.out
    done = xaibench("explain", clip, "-m", "oracle")
    assert_refused(done, "no classifier fits: oracle needs clips whose evidence is known")
    done = xaibench("explain", clip, "-m", "vit-rollout", "-c", "cnn-micro")
    assert_refused(done, "vit-rollout needs attention weights, which cnn-micro (cnn) has not")
    done = xaibench("explain", clip, "-m", "saliency", "--dataset", "esc50")
    assert_refused(done, "no weights are shipped for esc50; give --classifier a checkpoint folder")
