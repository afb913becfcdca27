"""The errors a user can mend; the command line prints their one line and exits with code 2."""

import sys

# Flags that may stand before or behind any command.
DEBUG, QUIET, VERBOSE = "--debug", "--quiet", "--verbose"
ANYWHERE = (DEBUG, QUIET, VERBOSE)


class XaibenchError(Exception):
    """Base of every error whose message names its remedy."""


class AudioError(XaibenchError):
    """A file is not the audio it should be."""


class DataError(XaibenchError):
    """A dataset folder is incomplete or inconsistent."""


class CheckpointError(XaibenchError):
    """Weights and classifier do not fit together, or no weights exist."""


class ClassifierError(XaibenchError):
    """A classifier gives something other than one finite logit for each class and clip."""


class RegistryError(XaibenchError):
    """A name is unknown or registered twice, or an entry point does not load."""


class UnsupportedPairError(XaibenchError):
    """This explainer makes no sense for this classifier."""


class ExplanationError(XaibenchError):
    """An explainer broke its contract (wrong shape, wrong type)."""


class IsolationError(XaibenchError):
    """An explainer, a metric or a classifier changed what others are scored with."""


class ResultsError(XaibenchError):
    """A results folder cannot be read, or belongs to a run with other settings."""


def debugging() -> bool:
    """Tell whether the command was given --debug, and shows the traceback of every error."""
    return DEBUG in sys.argv


def one_line(error: BaseException, line: int = 0) -> str:
    """Return the first (or, with -1, the last) line of what an error says; its kind where it says nothing."""
    lines = _text(error).strip().splitlines()
    return lines[line].strip() if lines else type(error).__name__


def named(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    kind, line = type(error).__name__, one_line(error)
    return kind if line == kind else f"{kind}: {line}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a stranger's exception may not even print
        return ""
