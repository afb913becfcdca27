"""Read the clips of a run once, before anything is computed: which cannot be read, and what is odd about the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xaibench.errors import AudioError
from xaibench.sound import findings
from xaibench.sound.dataset import Clip, Dataset


@dataclass(frozen=True)
class Readable:
    """What came of reading clips.

    Attributes:
        clips: those that can be read, in their order.
        unreadable: of each of the others, by its id, the reason.
        sentences: what to say of the clips: that some are left out, and what is odd about the others; one a kind.
    """

    clips: list[Clip]
    unreadable: dict[str, str]
    sentences: list[str]


def readable(dataset: Dataset, clips: Sequence[Clip], strict: bool = False) -> Readable:
    """Read clips, and leave out those that cannot be read: one damaged file does not end a run of thousands.

    Args:
        dataset: the clips' own.
        clips: which.
        strict: whether clips that cannot be read or sound odd are refused, and not only named.

    Raises:
        AudioError: no clip can be read; or one is refused.
    """
    found, unreadable = {}, {}
    for clip in clips:
        try:
            found[clip] = dataset.findings(clip)
        except AudioError as error:
            unreadable[clip.id] = str(error)
    said = findings.sentences({clip.filename or clip.id: odd for clip, odd in found.items()})
    if unreadable:
        first = list(unreadable.values())[: findings.LISTED_NAMES]
        more = f"; and {len(unreadable) - len(first)} more" if len(unreadable) > len(first) else ""
        count = f"{len(unreadable)} of {len(clips)} clip{'s' * (len(clips) > 1)} cannot be read"
        if not found:
            raise AudioError(f"{count}, and there is no other to score: {'; '.join(first)}{more}")
        left_out = "" if strict else f" and {'is' if len(unreadable) == 1 else 'are'} left out"
        said.insert(0, f"{count}{left_out}: {'; '.join(first)}{more}")
    if said and strict:
        raise AudioError(f"{'; '.join(said)}; nothing was scored, because --strict refuses such clips")
    return Readable(list(found), unreadable, said)
