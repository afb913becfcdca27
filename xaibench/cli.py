"""The command line. Commands parse, call and print. The exit code is 2 for errors that the user can mend."""

from __future__ import annotations

import sys

import typer

from xaibench import registry
from xaibench._version import __version__
from xaibench.commands import (
    comparing,
    data,
    evaluation,
    explain,
    fitting,
    listings,
    new,
    reproduce,
    training,
    validation,
    verify,
    weights,
)
from xaibench.commands.console import notes
from xaibench.errors import XaibenchError

app = typer.Typer(
    name="xaibench",
    help="Score explanations of sound classifiers, all on the same checkpoints, clips and mask areas.",
    epilog="Start with: xaibench run --method focalnet (embedded sounds, a shipped classifier, about a minute).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"xaibench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("run")(evaluation.run)
app.command("compare")(comparing.compare)
app.command("leaderboard")(comparing.leaderboard)
app.command("verify")(verify.verify)
app.command("validate")(validation.validate)
app.command("explain")(explain.explain)
for group in registry.LISTED:
    app.add_typer(listings.listing(group), name=group)
app.command("train")(training.train)
app.command("fit")(fitting.fit)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(weights.app, name="weights")
app.add_typer(data.app, name="data")
app.add_typer(new.app, name="new")


def main() -> None:
    """Entry point of the `xaibench` program."""
    try:
        app(prog_name="xaibench")  # also under python -m
    except XaibenchError as error:
        # One line, even if the message of a library inside it has more.
        notes().print(f"Error: {' '.join(str(error).splitlines())}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        notes().print(f"Error: {where}{error.strerror or error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # typer has turned Ctrl-C into this
            notes().print("Interrupted. Finished parts are kept; the same command continues from there.")
        raise
