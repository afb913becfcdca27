"""`xaibench new`: write a plugin package, ready to install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import output

app = typer.Typer(help="Write a plugin package that is ready to install.", no_args_is_help=True)

_Hyphened = Annotated[str, typer.Argument(help="Its name on the command line, with hyphens, such as my-saliency.")]
_Underscored = Annotated[str, typer.Argument(help="Its name on the command line, with underscores, such as my_drop.")]
_Out = Annotated[Path, typer.Option(help="Folder in which xaibench-NAME is made. Default: this one.")]


@app.command()
def explainer(name: _Hyphened, out: _Out = Path()) -> None:
    """Write a package with one explainer: code, entry point, test and README.

    [bold]Example[/bold]

    xaibench new explainer my-saliency
    """
    _write("explainer", name, out, f"xaibench run --method {name}")


@app.command()
def metric(name: _Underscored, out: _Out = Path()) -> None:
    """Write a package with one metric: code, entry point, test and README.

    [bold]Example[/bold]

    xaibench new metric my_drop
    """
    _write("metric", name, out, f"xaibench run --metric {name} --method saliency")


@app.command()
def classifier(name: _Hyphened, out: _Out = Path()) -> None:
    """Write a package with one classifier and its weights: code, entry point, test and README.

    [bold]Example[/bold]

    xaibench new classifier my-net
    """
    _write("classifier", name, out, f"xaibench run --classifier {name} --method saliency")


@app.command()
def dataset(name: _Hyphened, out: _Out = Path()) -> None:
    """Write a package with one dataset: code, entry point, test and README.

    [bold]Example[/bold]

    xaibench new dataset my-clips
    """
    _write("dataset", name, out, f"xaibench train --classifier cnn-micro --dataset {name}")


def _write(kind: str, name: str, out: Path, then: str) -> None:
    from xaibench.commands.scaffold import new_package

    folder = new_package(kind, name, out)
    for line in (f"wrote {folder}", f"next: pip install -e {folder} && pytest {folder}", f"then: {then}"):
        output().print(line, markup=False, soft_wrap=True)
