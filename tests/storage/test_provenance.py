"""What a number depends on beside its inputs."""

from __future__ import annotations

from xaibench.storage import provenance


class One:
    pass


class Other:
    pass


def test_code_hash_of_a_class_without_a_file() -> None:
    made = type("Typed", (One,), {"__module__": "__main__"})
    digest = provenance.code_hash(made)
    assert len(digest) == 64
    assert digest != provenance.code_hash(One)
    assert provenance.code_hash(One) == provenance.code_hash(Other), "the file counts, and it is the same"
