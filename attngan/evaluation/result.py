"""What scores.json holds: every score by its name, and all that decided the numbers."""

from collections.abc import Mapping
from typing import Any, TypedDict

import torch

from attngan import __version__
from attngan.evaluation.measuring import Measured, ScoreEntry
from attngan.evaluation.reference import Reference
from attngan.evaluation.resolving import Evaluation

#: Facts of one part of an evaluation, by name: strings, numbers, lists of them.
Facts = dict[str, Any]


class EvaluationResult(TypedDict):
    """What `attngan evaluate` writes; ``subject`` describes the scored images."""

    scores: dict[str, ScoreEntry]
    protocol: Facts | None
    subject: Facts
    images: int
    seed: int
    splits: int
    extractor: Facts | None
    scorer: Facts | None
    clip: Facts | None
    colour_probe: Facts | None
    reference: Facts | None
    left_out: Mapping[str, str]
    versions: Mapping[str, str]


def result_of(evaluation: Evaluation, measured: Measured, reference: Reference) -> EvaluationResult:
    """Scores with what decided them."""
    protocol, networks, checkpoint = evaluation.protocol, evaluation.networks, evaluation.request.checkpoint
    done = {"completed": not evaluation.departures, "departures": evaluation.departures}
    flattered = {"trained_the_generator": evaluation.flattered}
    return {
        "scores": {score.name: score.as_dict() for score in measured.scores},
        "protocol": None if protocol is None else protocol.description() | done,
        "subject": evaluation.images.description | ({"checkpoint": str(checkpoint)} if checkpoint else {}),
        "images": evaluation.count,
        "seed": evaluation.seed,
        "splits": evaluation.splits,
        "extractor": None if networks.extractor is None else networks.extractor.description(),
        "scorer": None if networks.damsm is None else networks.damsm.description() | flattered,
        "clip": None if networks.clip is None else networks.clip.description(),
        "colour_probe": None if networks.colours is None else networks.colours.description(),
        "reference": reference.description or None,
        "left_out": {name: "the generator reads no text" for name in evaluation.left_out},
        "versions": {"attngan": __version__, "torch": torch.__version__, "device": evaluation.device},
    }
