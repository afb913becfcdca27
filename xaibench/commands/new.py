"""`xaibench new`: write a plugin package, ready to install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import output

app = typer.Typer(help="Write a plugin package that is ready to install.", no_args_is_help=True)


@app.command()
def explainer(
    name: Annotated[str, typer.Argument(help="Name of the explainer on the command line, such as my-saliency.")],
    out: Annotated[Path, typer.Option(help="Folder in which xaibench-NAME is made. Default: this one.")] = Path(),
) -> None:
    """Write a package with one explainer: code, entry point, test and README.

    [bold]Example[/bold]

    xaibench new explainer my-saliency
    """
    from xaibench.commands.scaffold import new_explainer

    folder = new_explainer(name, out)
    output().print(f"wrote {folder}", markup=False, soft_wrap=True)
    output().print(f"next: pip install -e {folder} && pytest {folder}", markup=False, soft_wrap=True)
    output().print(f"then: xaibench run --method {name}", markup=False, soft_wrap=True)
