"""`xaibench methods`, `metrics`, `classifiers`, `datasets`: list what is registered, or show one entry."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from xaibench import registry
from xaibench.classifiers import references
from xaibench.commands import add_classifier, check_classifier
from xaibench.commands.console import output, print_json
from xaibench.errors import CheckpointError, RegistryError, XaibenchError, named
from xaibench.registry import Group
from xaibench.reports.style import arrow
from xaibench.storage.line_cache import LineCache

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# A line of a listing: "what" it says, or the "error" of an entry that does not load, and what a group has beside it.
Facts = dict[str, Any]


class _Listing(TyperGroup):
    """The commands of a listing; a name where a command is expected is told where names stand."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in self.commands:
            raise XaibenchError(
                f"there is no command '{ctx.command_path} {word}' (there are: {', '.join(self.commands)}); for the "
                f"facts of one of the {ctx.info_name}: {ctx.command_path} show {word}"
            )
        return super().resolve_command(ctx, args)


def listing(group: Group) -> typer.Typer:
    """Make the command of one group, which lists its names, with `show NAME` for one entry."""
    about = f"List the {group}; 'show NAME' shows all facts of one."
    app = typer.Typer(help=about, cls=_Listing, rich_markup_mode="rich")

    @app.callback(invoke_without_command=True)
    def list_all(context: typer.Context, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            with LineCache(group) as cache:
                found = {name: _facts(cache, group, name) for name in registry.names(group)}
                for name in references.added() if group == "classifiers" else ():
                    found[name] = _added_facts(cache, name)
                for prefix in registry.names("metric_bridges") if group == "metrics" else ():
                    found[f"{prefix}:NAME"] = _facts(cache, "metric_bridges", prefix)
            if as_json:
                print_json([{"name": name, **facts} for name, facts in found.items()])
            else:
                _print_lines(found)

    @app.command("show", help=f"Show all facts of one of the {group}.")
    def show(name: str, as_json: AsJson = False) -> None:
        if group == "classifiers" and name not in registry.names(group) and name in references.added():
            details = _added_details(name)
        else:
            entry = registry.load(group, name)
            details = {"name": name, **_DETAILS[group](name, entry), "from": registry.origin(group, name)}
        if as_json:
            print_json(details)
        else:
            _print_rows((f"[bold]{key}[/bold]", escape(str(value))) for key, value in details.items())

    if group == "classifiers":
        app.command("add")(add_classifier.add)
        app.command("check")(check_classifier.check)
    return app


def _print_lines(found: dict[str, Facts]) -> None:
    """Print a listing, in families where there are any, with those of the default set marked."""
    rows: list[tuple[str, str]] = []
    names = sorted(found, key=lambda name: found[name].get("family", "~"))
    for family, members in groupby(names, key=lambda name: found[name].get("family")):
        if family:
            rows.append((f"[bold]family {family}[/bold]", ""))
        for name in members:
            facts = found[name]
            default = "[green]*[/green] " if facts.get("default") else "  " if family else ""
            rows.append((name, default + escape(facts.get("error") or facts["what"])))
    _print_rows(rows)
    if any("default" in facts for facts in found.values()):
        output().print("\n*: in the default set. A family: run --family NAME.", style="dim", markup=False)


def _print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print two columns of console markup, of which the second may have several lines in a terminal."""
    console, rows = output(), list(rows)
    if not console.is_terminal:  # a table would fill every line with spaces
        width = max((Text.from_markup(name).cell_len for name, _ in rows), default=0)
        for name, what in rows:
            shown = Text.from_markup(name)
            shown.pad_right(width - shown.cell_len + 1)
            shown.append_text(Text.from_markup(what)).rstrip()
            console.print(shown, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _facts(cache: LineCache, group: Group, name: str) -> Facts:
    point = registry.entry(group, name)
    try:
        decides = [point.value, registry.provider(group, name)]
        make = _LINES[group]
        kept = cache.line(
            f"{group} {name}", point.module, decides, lambda: json.dumps(make(name, registry.load(group, name)))
        )
        return json.loads(kept)
    except RegistryError as error:  # one broken plugin must not hide the others
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"is no {group.removesuffix('s')}: {named(error)}"}


def _summary(name: str, entry: Any) -> str:
    return (inspect.getdoc(entry) or "").partition("\n\n")[0].replace("\n", " ")


def _method_facts(name: str, method: Any) -> Facts:
    requires = f" (requires {', '.join(sorted(method.requires))})" if method.requires else ""
    forwards = _forwards(method)
    line = method.description + requires + (f" ({forwards} forward passes a clip)" if forwards else "")
    # What is no Explainer is listed too.
    return {"what": line, "family": getattr(method, "family", ""), "control": getattr(method, "control", False)}


def _forwards(method: Any) -> str:
    """How many forward passes a map of a method takes by default, where these are many."""
    parameter = getattr(method, "forwards_parameter", None)  # what is no Explainer is listed too
    return "" if parameter is None else f"{method.parameters[parameter]:,}"


def _method_details(name: str, method: Any) -> dict[str, object]:
    from xaibench.explaining.trainable import TrainableExplainer

    reading = {
        "absolute": "absolute value of the map (sensitivity)",
        "positive": "positive part of the map (contribution)",
    }
    details: dict[str, object] = {
        "title": method.title,
        "family": method.family,
        "what": method.description,
        "reference": method.reference,
        "importance": reading[method.polarity],
        "requires": ", ".join(sorted(method.requires)) or "nothing special",
        "parameters": ", ".join(f"{key}={value}" for key, value in method.parameters.items()) or "none",
        "control": "yes" if method.control else "no",
    }
    if _forwards(method):
        details["forward passes per clip"] = f"{_forwards(method)}: the parameter {method.forwards_parameter}"
    if method.native_mask:
        details["mask"] = "the map is a mask from 0 to 1; it is also scored as this soft mask"
    if inspect.isclass(method) and issubclass(method, TrainableExplainer):
        if method.fittable:
            details["weights"] = f"fitted to one classifier: xaibench fit --method {name}"
            details["settings of the fit"] = ", ".join(f"{key}={value}" for key, value in method.settings.items())
        else:
            details["weights"] = f"fitted to one classifier by another project: xaibench weights add {name}"
    return details


def _metric_facts(name: str, metric: Any) -> Facts:
    line = f"{metric.title} {arrow(metric.higher_is_better)}: {metric.description}"
    return {"what": line, "family": metric.family, "default": metric.in_default_set}


def _metric_details(name: str, metric: Any) -> dict[str, object]:
    return {
        "title": metric.title,
        "family": metric.family,
        "what": metric.description,
        "formula": metric.formula,
        "better": "higher" if metric.higher_is_better else "lower",
        "range": f"{metric.bounds[0]:g} to {metric.bounds[1]:g}",
        "areas": "scored at 5, 10, 20 and 40% of the bins" if metric.per_area else "no mask area",
        "requires": "ground truth"
        if metric.needs_ground_truth
        else "events"
        if metric.needs_events
        else "a judge of the classifier (xaibench judge)"
        if metric.needs_judge
        else "nothing special",
        "forward passes per clip": metric.cost,
        "in the default set": "yes" if metric.in_default_set else f"no: --metric {name}",
        "reference": metric.reference,
        "traps": metric.traps,
    }


def _cards(name: str) -> dict[str, Any]:
    from xaibench.classifiers import checkpoint

    found = {}
    for dataset, classifier in references.shipped():
        folder = references.shipped_folder(classifier, dataset)
        if classifier == name and folder is not None:
            found[dataset] = checkpoint.Card.read(folder)
    return found


def _classifier_facts(name: str, factory: Any) -> Facts:
    if not references.takes_classes(factory):
        return {"what": _summary(name, factory) + " Brings its weights."}
    cards = _cards(name)
    trained = ", ".join(f"{dataset} {card.test_accuracy:.3f}" for dataset, card in cards.items())
    return {
        "what": _summary(name, factory)
        + (f" Shipped weights, accuracy on fold 5: {trained}." if trained else " No weights shipped.")
    }


def _classifier_details(name: str, factory: Any) -> dict[str, object]:
    details: dict[str, object] = {"what": _summary(name, factory)}
    for dataset, card in _cards(name).items():
        details[f"weights for {dataset}"] = (
            f"accuracy {card.validation_accuracy:.3f} on fold 4 (chosen there), {card.test_accuracy:.3f} on fold 5; "
            f"{card.parameters:,} parameters, {card.epochs} epochs, seed {card.seed}; sound: {card.data_licence}; "
            f"made by: {card.command}"
        )
    return details


def _added_facts(cache: LineCache, name: str) -> Facts:
    def make() -> str:
        from xaibench.classifiers import checkpoint

        card = checkpoint.Card.read(references.added_folder(name))
        return f"{len(card.classes)} classes, {card.parameters:,} parameters. Added from {card.origin}."

    card = (references.added_folder(name) / references.CARD).read_bytes()
    try:
        return {"what": cache.line(f"added {name}", references.__name__, hashlib.sha256(card).hexdigest(), make)}
    except CheckpointError as error:  # one damaged card must not hide the others
        return {"error": str(error)}


def _added_details(name: str) -> dict[str, object]:
    from xaibench.classifiers import checkpoint

    folder = references.added_folder(name)
    card = checkpoint.Card.read(folder)
    return {
        "name": name,
        "what": f"{card.parameters:,} parameters, temperature {card.temperature:g}",
        "classes": ", ".join(card.classes),
        "geometry": ", ".join(f"{key}={value}" for key, value in card.geometry.items()),
        "trained on": f"{card.dataset}, folds {', '.join(map(str, card.train_folds))}" if card.dataset else "unknown",
        "sound": card.data_licence,
        "source files": ", ".join(f"{file} (SHA-256 {digest})" for file, digest in card.source_sha256.items()),
        "made by": card.command,
        "folder": folder,
        "from": card.origin,
    }


def _dataset_details(name: str, dataset: Any) -> dict[str, object]:
    return {
        "what": _summary(name, dataset),
        "licence": dataset.licence,
        "ground truth": "yes" if dataset.has_ground_truth else "no",
        "events": "yes" if dataset.has_events else "no: --events FILE gives them",
        "folder": "--data-dir FOLDER" if dataset.reads_folder else "none: generated on first use",
    }


def _summary_facts(name: str, entry: Any) -> Facts:
    return {"what": _summary(name, entry)}


_LINES: dict[Group, Callable[[str, Any], Facts]] = {
    "methods": _method_facts,
    "metrics": _metric_facts,
    "classifiers": _classifier_facts,
    "datasets": _summary_facts,
    "metric_bridges": _summary_facts,
}
_DETAILS: dict[Group, Callable[[str, Any], dict[str, object]]] = {
    "methods": _method_details,
    "metrics": _metric_details,
    "classifiers": _classifier_details,
    "datasets": _dataset_details,
}
methods, metrics, classifiers, datasets = (listing(group) for group in registry.LISTED)
