"""Generate damaged and hostile inputs, and sort what becomes of them: taken, refused in a sentence, or a fault.

    python -m tests.support.fuzzing --cases 10000                # everything, about half an hour
    python -m tests.support.fuzzing --kind sound --only 1234     # one case again, with its traceback

A fault is any exception but an XaibenchError, a refusal of more than one line, more than ten seconds, more than six
gigabytes, or a number that comes out although it cannot be right: what each kind means by that is in its function.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import torch
import typer
from torch import Tensor

from tests.support import small_folder
from tests.support.damage import damaged_bytes, damaged_csv, damaged_json
from tests.support.evaluating import config_of, run
from tests.support.killing import small
from tests.support.made_up_runs import CLIPS, FF, SPS, noise, write_run
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.classifiers.state_dicts import read_state
from xaibench.errors import XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results import parts, store
from xaibench.results.comparison import compare
from xaibench.results.runs import find_runs
from xaibench.results.verify import verify
from xaibench.sound.audio import CLIP_SAMPLES
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc50
from xaibench.storage.user_folders import CACHE_VARIABLE

SECONDS, BYTES = 10, 6 << 30


class Silent(Exception):
    """A number came out that cannot be right."""


@dataclass
class Seeds:
    """Good inputs, from which bad ones are made."""

    root: Path
    dataset: Esc50
    loaded: LoadedClassifier

    def fresh(self, name: str) -> Path:
        """A copy of a good folder, to be damaged."""
        target = self.root / "case"
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(self.root / name, target))


def good(root: Path) -> Seeds:
    """Make one good input of every kind."""
    dataset = Esc50(small_folder.write(root / "sound"))
    samples = np.random.default_rng(0).normal(0, 0.1, (12_000, 2)).clip(-1, 1)
    (root / "files").mkdir()
    kinds = {"a.wav": "PCM_16", "b.wav": "FLOAT", "c.flac": "PCM_16", "d.ogg": "VORBIS", "e.mp3": None}
    for name, subtype in kinds.items():
        soundfile.write(root / "files" / name, samples, 16_000, subtype=subtype)
    write_run(
        root / "run", {"good": {FF: noise(1, 0.5), SPS: noise(2, 0.5)}, "random": {FF: noise(3), SPS: noise(4, 0.3)}}
    )
    classifier = checkpoint.freeze(small(dataset.classes))
    (root / "weights").mkdir()
    torch.save(classifier.state_dict(), root / "weights" / "plain.pt")
    shipped = checkpoint.resolve("cnn-micro", "synth")
    checkpoint.save(root / "weights", *shipped)
    return Seeds(root, dataset, LoadedClassifier("toy", classifier, "0" * 64))


def fuzz_sound(draw: random.Random, seeds: Seeds) -> None:
    """A damaged file in a dataset: the samples are as many as a clip has, and finite."""
    folder = seeds.fresh("sound")
    clip = seeds.dataset.clips[0]
    source = draw.choice(sorted((seeds.root / "files").iterdir()))
    (folder / "audio" / clip.filename).write_bytes(damaged_bytes(source.read_bytes(), draw))
    waveform = Esc50(folder).waveform(clip)
    if waveform.shape != (CLIP_SAMPLES,) or not np.isfinite(waveform).all() or np.abs(waveform).max() > 1:
        raise Silent(f"samples {waveform.shape}")


def fuzz_table(draw: random.Random, seeds: Seeds) -> None:
    """A damaged meta/esc50.csv: what is taken has unique clips, folds from 1, and labels that are classes."""
    folder = seeds.fresh("sound")
    path = folder / "meta" / "esc50.csv"
    path.write_bytes(damaged_csv(path.read_bytes(), draw))
    dataset = Esc50(folder)
    clips = dataset.clips
    whole = (
        len({clip.id for clip in clips}) == len(clips) > 0
        and all(clip.fold >= 1 and 0 <= clip.label < len(dataset.classes) for clip in clips)
        and len(set(dataset.classes)) == len(dataset.classes)
    )
    if not whole:
        raise Silent("clips that contradict themselves")
    if any(Path(clip.filename).name != clip.filename for clip in clips):
        raise Silent("a clip outside the folder")


def fuzz_description(draw: random.Random, seeds: Seeds) -> None:
    """A damaged JSON file of a run or of weights: what is taken compares, or loads, as the good one does."""
    if draw.random() < 0.6:
        folder = seeds.fresh("run")
        path = draw.choice(sorted(folder.rglob("*.json")))
        path.write_bytes(damaged_json(path.read_bytes(), draw))
        _compare(folder)
        return
    folder = seeds.fresh("weights")
    path = folder / checkpoint.CARD
    path.write_bytes(damaged_json(path.read_bytes(), draw))
    classifier, card = checkpoint.load(folder)
    if not 0 < classifier.temperature < float("inf") or len(card.classes) != len(classifier.classes):
        raise Silent("a card that contradicts its weights")


def fuzz_part(draw: random.Random, seeds: Seeds) -> None:
    """A damaged part; half of them with the hash that belongs to the damaged bytes."""
    folder = seeds.fresh("run")
    path = draw.choice(sorted(folder.rglob("*.parquet")))
    before = path.read_bytes()
    if draw.random() < 0.5:
        path.write_bytes(damaged_bytes(before, draw))
        if path.read_bytes() != before:
            verified = verify(folder)
            if not verified.findings:
                raise Silent("other bytes under the old hash")
        _compare(folder)
        return
    rows, info = parts.read_part(path)
    table = parts.frame([rows]).astype(object)
    for _ in range(draw.randint(1, 3)):
        column = draw.choice(list(table.columns))
        odd = [None, np.nan, np.inf, -1, 55.0, 2**40, "", "other", "../x", True, False, b"\xff", "x" * 10_000]
        table.loc[draw.randrange(len(table)), column] = draw.choice(odd)
    if draw.random() < 0.2:
        table = table.sample(frac=draw.random(), random_state=draw.randrange(2**31))
    try:
        parts.write_part(path, table, info)
    except Exception:
        return  # what cannot be written needs no reader
    _compare(folder)


def _compare(folder: Path) -> None:
    lines = compare(find_runs(folder))
    lines = lines[lines["n"] > 0]
    lowest = lines["metric"].map({"faithfulness": -1.0, "sparseness": 0.0}).fillna(-np.inf)
    highest = lines["metric"].map({"faithfulness": 1.0, "sparseness": 1.0}).fillna(np.inf)
    wrong = ~lines["mean"].between(lowest - 1e-9, highest + 1e-9) | (lines["n"] + lines["undefined"] > CLIPS)
    if wrong.any():
        raise Silent(str(lines[wrong].iloc[0].to_dict()))


def fuzz_weights(draw: random.Random, seeds: Seeds) -> None:
    """Damaged weights; half of them with the hash that belongs to the damaged bytes: numbers stay finite."""
    folder = seeds.fresh("weights")
    if draw.random() < 0.4:
        path = folder / "plain.pt"
        path.write_bytes(damaged_bytes(path.read_bytes(), draw))
        state, _ = read_state(path)
        if not all(bool(one.isfinite().all()) for one in state.values() if one.is_floating_point()):
            raise Silent("weights that are no numbers")
        return
    path = folder / checkpoint.WEIGHTS
    before = path.read_bytes()
    path.write_bytes(damaged_bytes(before, draw))
    same = path.read_bytes() == before
    hidden = draw.random() < 0.5
    if hidden:
        card = checkpoint.Card.read(folder)
        text = (folder / checkpoint.CARD).read_text().replace(card.weights_sha256, checkpoint.Card.hash_of(folder))
        (folder / checkpoint.CARD).write_text(text)
    classifier, _ = checkpoint.load(folder)
    if not same and not hidden:
        raise Silent("other weights under the old hash")
    if not all(bool(one.isfinite().all()) for one in classifier.parameters()):
        raise Silent("weights that are no numbers")


class Odd(Explainer):
    """Explains by whatever it is given."""

    title, reference, description, polarity = "Odd", "nobody", "an odd map", "positive"

    def __init__(self, make: Callable[[Tensor], Any], shape: Any) -> None:
        self.make, self.shape = make, shape

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(self.make(batch.x.clone()), self.shape)


def fuzz_map(draw: random.Random, seeds: Seeds) -> None:
    """An odd map: it fails its method, or every row has a value in its metric's bounds, or a reason."""
    number = draw.choice([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3e38, -3e38, 1e30, -1.0, 2.0])
    spot = slice(draw.randrange(513), draw.randrange(1, 514)), slice(draw.randrange(431), draw.randrange(1, 432))

    def part(x: Tensor) -> Tensor:
        x[:, spot[0], spot[1]] = number
        return x

    makes: list[Callable[[Tensor], Any]] = [
        part,
        lambda x: torch.full_like(x, number),
        lambda x: part(x).to(draw.choice([torch.float16, torch.float64, torch.bfloat16, torch.int64, torch.bool])),
        lambda x: part(x)[:, : draw.randrange(600)],
        lambda x: part(x).transpose(1, 2),
        lambda x: part(x)[0],
        lambda x: part(x)[None],
        lambda x: part(x).numpy(),
        lambda x: part(x).to(torch.complex64),
        lambda x: part(x).requires_grad_(),
        lambda x: part(x).to_sparse(),
        lambda x: torch.empty(0),
        lambda x: torch.empty_like(x, device="meta"),
        lambda x: None,
        lambda x: x[:, :1, :1].expand_as(x),
        lambda x: x.fill_(0).index_fill_(1, torch.tensor([draw.randrange(513)]), number),
    ]
    shape = draw.choice([(8, 9), (513, 431), (0, 0), (-1, 5), (8,), None, "8x9", (8.5, 9), (10**9, 1)])
    config = config_of(seeds.dataset, {"odd": Odd(draw.choice(makes), shape)}, ("faithfulness", "sparseness"), 2)
    folder = seeds.root / "case"
    shutil.rmtree(folder, ignore_errors=True)
    (event,) = (event for event in run(config, seeds.loaded, folder) if event.kind != "not reused")
    if event.kind == "failed":
        raise XaibenchError(event.reason)
    rows = store.read_rows(folder)
    wrong = rows["reason"].isna() != (rows["value"].abs() <= 1)
    if wrong.any():
        raise Silent(str(rows[wrong].iloc[0].to_dict()))


KINDS: dict[str, tuple[float, Callable[[random.Random, Seeds], None]]] = {
    "sound": (0.3, fuzz_sound),
    "table": (0.15, fuzz_table),
    "description": (0.2, fuzz_description),
    "part": (0.15, fuzz_part),
    "weights": (0.1, fuzz_weights),
    "map": (0.1, fuzz_map),
}


def _expired(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def outcome(kind: str, case: int, seeds: Seeds, show: bool = False) -> str:
    """What becomes of one case: "taken", "refused", or the fault."""
    signal.signal(signal.SIGALRM, _expired)
    signal.alarm(SECONDS)
    try:
        KINDS[kind][1](random.Random(f"{kind} {case}"), seeds)
    except XaibenchError as error:
        return "refused" if "\n" not in str(error).strip() else f"a refusal of many lines: {error!r}"
    except BaseException as error:
        if show:
            traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    finally:
        signal.alarm(0)
    return "taken"


def main(
    cases: Annotated[int, typer.Option(help="How many, of all kinds together.", min=10)] = 10_000,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    only: Annotated[int | None, typer.Option(help="Only this case, with its traceback.")] = None,
) -> None:
    """Print a table of what became of every case, and each fault; exit code 1 if there is one."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    faults = []
    with tempfile.TemporaryDirectory() as made:
        os.environ[CACHE_VARIABLE] = str(Path(made) / "cache")
        seeds = good(Path(made).resolve())
        print(f"{'kind':12} {'cases':>6} {'taken':>6} {'refused':>8} {'faults':>7}")
        for name, (share, _) in KINDS.items():
            if kind not in (None, name):
                continue
            numbers = range(round(share * cases)) if only is None else [only]
            found = Counter[str]()
            for case in numbers:
                result = outcome(name, case, seeds, show=only is not None)
                if result not in ("taken", "refused"):
                    faults.append(f"{name} {case}: {result}")
                    print(faults[-1], file=sys.stderr, flush=True)
                    result = "fault"
                found[result] += 1
                if case % 100 == 99:
                    shutil.rmtree(Path(made) / "cache", ignore_errors=True)
            print(f"{name:12} {len(numbers):6} {found['taken']:6} {found['refused']:8} {found['fault']:7}", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    typer.run(main)
