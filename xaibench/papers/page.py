"""A paper's table from per-clip rows, beside the published numbers, and which of its claims hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.papers.paper import ACCURACY, Claim, Paper
from xaibench.papers.steps import Outcome
from xaibench.reports.tables import MISSING
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.parts import SOFT
from xaibench.results.statistics import ALPHA, holm, mean_interval, sign_flip_p

CONTROL_MASK = "top 10%"
YARDSTICK = "random"  # the control that an explanation must beat to say anything


@dataclass(frozen=True)
class Verdict:
    """What paired per-clip values say of a claim.

    Attributes:
        difference, low, high: mean of first minus second, with its 95% interval over recordings.
        p: two-sided sign-flip test over recordings, Holm-corrected over all claims.
        word: "holds", "the opposite holds", "open"; of sameness "does not hold" or "no difference shown".
    """

    claim: Claim
    difference: float
    low: float
    high: float
    p: float
    word: str


class Clips:
    """Per-clip values of every system, in one order of the clips.

    Attributes:
        recordings: (clips,), what each clip was cut from.
    """

    def __init__(self, rows: pd.DataFrame, labels: Mapping[str, str]) -> None:
        self._labels = labels
        soft = rows["mask"] == SOFT
        rows = rows[np.where(soft, rows["area"].isna(), rows["area"] == PRIMARY_AREA)]
        self._rows = rows.assign(method=rows["method"] + np.where(rows["mask"] == SOFT, "-soft", ""))
        ids = rows.drop_duplicates("clip").set_index("clip").sort_index()
        self._ids = ids.index
        self.recordings: NDArray = ids["src_file"].to_numpy().astype(str)

    def __len__(self) -> int:
        return len(self._ids)

    def values(self, family: str, method: str, column: str) -> NDArray[np.float64]:
        """(clips,), NaN where undefined."""
        found = self._rows[(self._rows["classifier"] == self._labels[family]) & (self._rows["method"] == method)]
        if column == ACCURACY:
            values = found.drop_duplicates("clip").set_index("clip")["correct"]
        else:
            values = found[found["metric"] == column].set_index("clip")["value"]
        return values.reindex(self._ids).to_numpy(dtype=float)


def table(paper: Paper, outcome: Outcome) -> pd.DataFrame:
    """One line per system and column; `published` is literature.

    Columns: system, classifier, method, mask, control, metric, mean, low, high, n, undefined, better_than_random,
    published.
    """
    clips = Clips(outcome.rows, outcome.labels)
    titles = {one.family: one.title for one in paper.architectures}
    lines = [(s.title, s.family, s.method, s.mask, False, s.published) for s in paper.systems]
    lines += [
        (f"{name}, {titles[family]}", family, name, CONTROL_MASK, True, {})
        for family in titles
        for name in paper.controls
    ]
    records = []
    for title, family, method, mask, control, published in lines:
        for column in paper.columns:
            values = clips.values(family, method, column.key)
            interval = mean_interval(values[None], clips.recordings)
            against = clips.values(family, YARDSTICK, column.key) if YARDSTICK in paper.controls else values
            testable = not control and column.better_than_random and YARDSTICK in paper.controls
            p = sign_flip_p((values - against)[None], clips.recordings, "greater")[0] if testable else np.nan
            records.append(
                {
                    "system": title,
                    "classifier": outcome.labels[family],
                    "method": method,
                    "mask": mask,
                    "control": control,
                    "metric": column.key,
                    "mean": interval.mean[0],
                    "low": interval.low[0],
                    "high": interval.high[0],
                    "n": int((~np.isnan(values)).sum()),
                    "undefined": int(np.isnan(values).sum()),
                    "p": p,
                    "published": published.get(column.key, np.nan),
                }
            )
        # What was published under a name that is no metric of ours has a line of its own.
        known = {column.key for column in paper.columns}
        records += [
            {"system": title, "classifier": outcome.labels[family], "method": method, "mask": mask}
            | {"control": control, "metric": f"published {key}", "published": value}
            for key, value in published.items()
            if key not in known
        ]
    frame = pd.DataFrame(records)
    adjusted = holm(frame["p"].to_numpy())
    frame["better_than_random"] = pd.array([None if np.isnan(p) else bool(p < ALPHA) for p in adjusted], "boolean")
    return frame.drop(columns="p")


def verdicts(paper: Paper, outcome: Outcome) -> list[Verdict]:
    """Every claim of the paper, tested on the same clips."""
    clips = Clips(outcome.rows, outcome.labels)
    differences = np.stack(
        [clips.values(*one.first, one.column) - clips.values(*one.second, one.column) for one in paper.claims]
    )
    interval = mean_interval(differences, clips.recordings)
    p = holm(sign_flip_p(differences, clips.recordings, "two-sided"))
    return [
        Verdict(
            claim,
            float(interval.mean[i]),
            float(interval.low[i]),
            float(interval.high[i]),
            float(p[i]),
            _word(claim, float(interval.mean[i]), float(p[i])),
        )
        for i, claim in enumerate(paper.claims)
    ]


def _word(claim: Claim, difference: float, p: float) -> str:
    differs = p < ALPHA
    if claim.alike:
        return "does not hold" if differs else "no difference shown"
    if not differs:
        return "open"
    return "holds" if difference > 0 else "the opposite holds"


def markdown(paper: Paper, outcome: Outcome, command: str) -> str:
    """The whole page: table, claims, differences, provenance."""
    frame, found, facts = table(paper, outcome), verdicts(paper, outcome), outcome.facts
    recordings = outcome.rows["src_file"].nunique()
    folds = ", ".join(map(str, facts.folds))
    scored = (
        f"{facts.clips} clips ({recordings} recordings) of {facts.dataset}, fold{'s' * (len(facts.folds) > 1)} {folds}"
    )
    parts = [f"# {paper.title}, on {facts.dataset}", f"{paper.reference}. Ours: {scored}."]
    if facts.smoke:
        parts.append(
            "**A smoke run: a handful of clips, and a few epochs of training. It shows that the steps work. Its "
            "numbers are no result.**"
        )
    parts.append(f"Made by `{command}`.")
    parts += [_values(paper, frame), "\n".join(_notes(paper, frame))]
    parts += ["## Which of the paper's claims hold here", _statement(found, facts.clips, facts.smoke), _claims(found)]
    parts.append(
        "Differences are means over the same clips, first minus second, with 95% bootstrap intervals over recordings; "
        f"p by flipping the signs of recordings, two-sided, Holm-corrected for the {len(found)} comparisons. *Open* "
        "and *no difference shown* are no evidence of sameness: the interval says what is left."
    )
    parts += ["## What differs from the paper", "\n".join(f"- {text}" for text in paper.differences(facts))]
    parts += ["## Where the weights came from", "\n".join(_provenance(paper, outcome))]
    return "\n\n".join(parts) + "\n"


def _values(paper: Paper, frame: pd.DataFrame) -> str:
    literature = [f"*{heading}, published*" for heading in paper.published_columns.values()]
    heads = ["System", "Mask", *(column.heading for column in paper.columns), *literature]
    lines = [_line(heads), _line([":--", ":--"] + ["--:"] * (len(heads) - 2))]
    for (_, system, mask), rows in frame.groupby([frame["control"], "system", "mask"], sort=False):
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        name = f"*{system}*" if rows["control"].iloc[0] else str(system)
        ours = [_value(by_metric[column.key]) for column in paper.columns]
        published = []
        for key in paper.published_columns:
            row = by_metric.get(key if key in by_metric else f"published {key}")
            value = np.nan if row is None else row["published"]
            published.append(MISSING if np.isnan(value) else f"*{value:.3g}*" if value < 0.1 else f"*{value:.3f}*")
        lines.append(_line([name, str(mask), *ours, *published]))
    return "\n".join(lines)


def _value(row: pd.Series) -> str:
    if np.isnan(row["mean"]):
        return MISSING
    text = f"{row['mean']:.3f}"
    if not np.isnan(row["low"]):
        text += f" [{row['low']:.3f}, {row['high']:.3f}]"
    weak = row["better_than_random"] is not pd.NA and not row["better_than_random"]
    return text + ("†" if weak else "") + (f" ({row['undefined']} undefined)" if row["undefined"] else "")


def _notes(paper: Paper, frame: pd.DataFrame) -> list[str]:
    notes = [f"- {column.heading}: {column.meaning}" for column in paper.columns]
    notes.append("- In brackets: 95% bootstrap interval over recordings.")
    notes.append(
        "- †: not significantly higher than the `random` control, top 10%, on the same classifier (Holm-corrected). "
        "A soft mask has an area of its own: beside the others it is no comparison at equal area."
    )
    notes.append(
        f"- *Published*: literature, {paper.reference}; {paper.published_on}. Other sound, models and protocol than "
        f"ours: not to be subtracted. {paper.published_note}"
    )
    return notes


def _claims(found: list[Verdict]) -> str:
    lines = [_line(["Claim", "Difference here", "p", "Verdict"]), _line([":--", "--:", "--:", ":--"])]
    for one in found:
        interval = f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        lines.append(_line([one.claim.text, interval, f"{one.p:.2g}", one.word]))
    return "\n".join(lines)


def _statement(found: list[Verdict], clips: int, smoke: bool) -> str:
    """The verdicts in sentences."""
    heads = {
        "holds": "Holds here",
        "the opposite holds": "Does not hold, the opposite does",
        "does not hold": "Does not hold",
        "open": f"Left open by these {clips} clips",
        "no difference shown": "No difference shown",
    }
    sentences = []
    for word, head in heads.items():
        said = [one.claim.text for one in found if one.word == word]
        if said:
            sentences.append(f"{head}: {'; '.join(said)}.")
    return ("(Of a smoke run.) " if smoke else "") + " ".join(sentences)


def _provenance(paper: Paper, outcome: Outcome) -> list[str]:
    lines = []
    for one in paper.architectures:
        for fold, card in zip(outcome.facts.folds, outcome.facts.cards[one.family], strict=True):
            lines.append(
                f"- {outcome.labels[one.family]}, test fold {fold}: SHA-256 {card.weights_sha256[:12]}, "
                f"{card.parameters:,} parameters, {card.epochs} epochs; `{card.command}`"
            )
        for (family, method), fits in outcome.facts.fitted.items():
            if family != one.family:
                continue
            for fold, fit in zip(outcome.facts.folds, fits, strict=True):
                seconds = "" if fit.seconds is None else f" in {fit.seconds:.0f} s"
                lines.append(
                    f"- {method} on {outcome.labels[family]}, test fold {fold}: SHA-256 {fit.weights_sha256[:12]}, "
                    f"{fit.parameters:,} parameters, {len(fit.losses)} epochs{seconds}; `{fit.command}`"
                )
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
