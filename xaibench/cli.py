"""The command line. Commands parse, call and print. The exit code is 2 for errors that the user can mend."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from xaibench._version import __version__
from xaibench.errors import ANYWHERE, DEBUG, QUIET, VERBOSE, XaibenchError, debugging, named

# Name: where the command is, below xaibench.commands, and its line in --help. Only the command that is called is
# imported, so that help is quick.
COMMANDS = {
    "run": ("evaluation:run", "Score explainers on a dataset."),
    "score": ("maps:score", "Score maps that were made elsewhere, beside the methods of a run."),
    "publish": ("publish:publish", "Pack runs into small files, which others can compare theirs with."),
    "status": ("status:status", "Tell how far runs are, also while other processes work at them."),
    "compare": (
        "comparing:compare",
        "Write the comparison as CSV, with one line per dataset, classifier, method, metric and area.",
    ),
    "leaderboard": (
        "comparing:leaderboard",
        "Print the leaderboards, and write them as CSV, Markdown, LaTeX and plots.",
    ),
    "plot": ("plot:plot", "Draw one figure of runs: PDF, PNG, and its caption as text."),
    "report": (
        "report:report",
        "Write a report of runs that one can read and hear: one HTML file that works from disk, without a network.",
    ),
    "site": ("site:site", "Write a web site of boards: static files for any web host."),
    "verify": (
        "verify:verify",
        "Check runs: structure, hashes, completeness, ranges, and the agreement of rows, paths and descriptions.",
    ),
    "validate": (
        "validation:validate",
        "Test the metrics themselves, with explanations whose order is known, on a dataset with ground truth.",
    ),
    "explain": (
        "explain:explain",
        "Explain sound files: draw spectrogram, map and mask, and write the kept and removed parts as wav.",
    ),
    "train": (
        "training:train",
        "Train a classifier on folds 1-3, select the epoch on fold 4, and test it once on fold 5.",
    ),
    "fit": ("fitting:fit", "Fit an explainer to a classifier on folds 1-3, with early stopping on fold 4."),
    "judge": ("judging:judge", "Train a judge: a copy of a classifier that is used to missing parts of clips."),
    "reproduce": (
        "reproduce:reproduce",
        "Repeat a paper's comparison: train or load its classifiers, fit and score its explainers, and write its "
        "table.",
    ),
    "methods": ("listings:methods", "List the methods; 'show NAME' shows all facts of one."),
    "metrics": ("listings:metrics", "List the metrics; 'show NAME' shows all facts of one."),
    "classifiers": ("listings:classifiers", "List the classifiers; 'show NAME' shows all facts of one."),
    "datasets": ("listings:datasets", "List the datasets; 'show NAME' shows all facts of one."),
    "weights": (
        "weights:app",
        "List the weights of trained explainers; 'add' adds weights that another project fitted.",
    ),
    "data": ("data:app", "Check a dataset, write its events, or download the official archive."),
    "new": ("new:app", "Write a plugin package that is ready to install."),
}


class _Commands(TyperGroup):
    """The commands: all by name, and the one that is called in full."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": dict.fromkeys(COMMANDS)})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Draw the page as typer does; its own drawing imports Markdown and highlighting, most of the time of help."""
        from rich.console import Console
        from rich.markup import escape
        from rich.padding import Padding
        from rich.panel import Panel
        from rich.table import Table

        console = Console(highlight=False)
        usage = " ".join(["Usage:", ctx.command_path, *self.collect_usage_pieces(ctx)])
        console.print(Padding(escape(usage), 1), Padding(str(self.help), (0, 1, 1, 1)), sep="")
        records = (param.get_help_record(ctx) for param in self.get_params(ctx))
        options = [record for record in records if record is not None]
        commands = [(name, line) for name, (_, line) in COMMANDS.items()]
        for title, rows in (("Options", options), ("Commands", commands)):
            table = Table.grid(padding=(0, 2))
            table.add_column(style="bold cyan", no_wrap=True)
            for row in rows:
                table.add_row(*row)
            console.print(Panel(table, title=title, title_align="left", border_style="dim"))
        console.print(Padding(str(self.epilog), 1))


def _load(name: str) -> Any:
    """Import one command, and make what the group keeps of it."""
    found = pkgutil.resolve_name(f"xaibench.commands.{COMMANDS[name][0]}")
    holder = typer.Typer(rich_markup_mode="rich")
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    made = typer.main.get_group(holder).commands[name]
    _flow(made)
    return made


def _flow(command: Any) -> None:
    """Join the lines of each paragraph of a command's help, and of those below it: they end where the window does."""
    if command.help:
        command.help = "\n\n".join(" ".join(one.split()) for one in inspect.cleandoc(command.help).split("\n\n"))
    for one in getattr(command, "commands", {}).values():
        _flow(one)


app = typer.Typer(
    name="xaibench",
    cls=_Commands,
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
    debug: bool = typer.Option(
        False, DEBUG, help="Show the traceback of an error. It may also stand behind a command, as in: run ... --debug."
    ),
    quiet: bool = typer.Option(False, QUIET, help="Print results, warnings and errors only. Likewise anywhere."),
    verbose: bool = typer.Option(False, VERBOSE, help="Print what is summed up in one line otherwise. Likewise."),
) -> None:
    pass


def main() -> None:
    """Entry point of the `xaibench` program."""
    try:
        # The name also under python -m; these flags are taken wherever they stand, and read by whoever prints.
        app([argument for argument in sys.argv[1:] if argument not in ANYWHERE], prog_name="xaibench")
    except XaibenchError as error:
        # One line, even if the message of a library inside it has more.
        _fail(error, " ".join(str(error).splitlines()))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{where}{error.strerror or error}")
    except SystemExit as stop:
        if stop.code == 130:  # typer has turned Ctrl-C into this
            _note("Interrupted. Finished parts are kept; the same command continues from there.")
        raise
    except Exception as error:
        _fail(error, f"unexpected {named(error)}; {DEBUG} shows the traceback", code=1)


def _fail(error: Exception, line: str, code: int = 2) -> NoReturn:
    if debugging():
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    _note(f"Error: {line}", style="red")
    for remedy in getattr(error, "__notes__", ()):
        _note(remedy)
    sys.exit(code)


def _note(text: str, style: str | None = None) -> None:
    from xaibench.commands.console import warnings

    warnings().print(text, style=style, markup=False, soft_wrap=True)
