"""The table of metrics, complete: each file of ``attngan.metrics`` declares its own, the generated birds theirs."""

import importlib
import pkgutil

import attngan.metrics
import attngan.toy_birds.colour_truth
from attngan.errors import InputError
from attngan.metrics.declaration import DECLARED, Metric, ScoreKind, in_order, kind_named

for _file in pkgutil.iter_modules(attngan.metrics.__path__):
    importlib.import_module(f"{attngan.metrics.__name__}.{_file.name}")

__all__ = ["DECLARED", "Metric", "ScoreKind", "in_order", "kind_named", "larger_is_better", "metrics_help", "title_of"]


def metrics_help() -> str:
    """``is (Inception Score ...), fid (...), ...``: what `attngan evaluate --help` says of them."""
    return ", ".join(f"{metric.name} ({metric.help})" for metric in in_order())


def larger_is_better(score: str) -> bool:
    """Of a score's name.

    Raises:
        InputError: It begins with no metric that has a better and a worse.
    """
    found = kind_named(score)
    if found is None or found[1].better is None:
        raise InputError(f"{score} is not the name of a score of which a larger or a smaller value is better")
    return found[1].better == "larger"


def title_of(score: str) -> str:
    """What people read instead of a score's technical name: label, arrow and unit."""
    found = kind_named(score)
    return score if found is None else found[1].title
