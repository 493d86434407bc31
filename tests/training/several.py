"""Trainings that one process or several compute, for `test_global_batch.py`: the smallest of every variant.

``python -m tests.training.several FOLDER [thorough]`` is one of several processes; its environment says which, as
torchrun's does. It trains all of `CASES`, and the first one leaves what came of them in the folder.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from attngan.global_batch import Rows
from attngan.losses.regularizers import R1
from attngan.networks.dfgan import DFGANDiscriminator, DFGANGenerator
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.multistage import AttnGANGenerator, DMGANGenerator, StackGANPlusPlusGenerator
from attngan.networks.projected import ProjectedDiscriminators
from attngan.networks.stackgan import StackGANGenerator, StackGANStage2Generator
from attngan.records import CaptionBatch, TextImageBatch
from attngan.text.vocabulary import Vocabulary
from attngan.training.batch_norm import GlobalBatchNorm
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.generator_ema import EMA
from attngan.training.strategy import GlobalBatchStrategy
from tests.tiny import CAPTIONS, EMBED, write_damsm

STEPS, WORDS = 3, 7
SIDES = (8, 16)
DAMSM_FILE = "damsm.ckpt"
NOT_SYNCHRONISED = "AttnGAN: batch norms not synchronised"


class Case(NamedTuple):
    """``make`` takes the path of a DAMSM. A batch of 7 leaves one of four processes with a single row.

    ``more``: what it is computed in besides float64; where there is time for it, float32 is not left out.
    """

    make: Callable[[Path], LightningModule]
    sides: tuple[int, ...] = SIDES
    size: int = 7
    more: tuple[str, ...] = ()
    synchronised: bool = True

    def precisions(self, thorough: bool) -> list[str]:
        """What it is computed in."""
        return ["64-true", *dict.fromkeys(("32-true", *self.more) if thorough else self.more)]


class Outcome(NamedTuple):
    """The terms of the loss of each step, or part of one; the gradients that are stepped by; the state at the end."""

    terms: list[dict[str, float]]
    gradients: dict[str, Tensor]
    state: dict[str, Tensor]


# --- what is trained --------------------------------------------------------------------------------------------------

TEXT: dict[str, Any] = {"embed_dim": EMBED, "noise_dim": 4, "condition_dim": 4}
TREE: dict[str, Any] = {"stages": 2, "residual_blocks": 1, "base_size": SIDES[0], "noise_dim": 4, "condition_dim": 4}


def pyramid(sides: tuple[int, ...] = SIDES, embed_dim: int | None = EMBED, **arguments: Any) -> DiscriminatorPyramid:
    return DiscriminatorPyramid(sides, 2, embed_dim, **arguments)


def attngan(**arguments: Any) -> Callable[[Path], LightningModule]:
    return lambda damsm: GANModule(AttnGANGenerator(width=2, embed_dim=EMBED, **TREE), pyramid(), damsm, **arguments)


def dmgan(damsm: Path) -> LightningModule:
    generator = DMGANGenerator(width=2, embed_dim=EMBED, **TREE)
    return GANModule(generator, pyramid(norm="spectral"), damsm, wrong_pairs="attngan")


def dfgan(damsm: Path) -> LightningModule:
    networks = DFGANGenerator(SIDES[1], 2, EMBED, 4), DFGANDiscriminator(SIDES[1], 2, EMBED)
    objective: dict[str, Any] = {"adversarial": "hinge", "matching": 0.0, "kl": 0.0, "gradient_penalty": 2.0}
    return GANModule(*networks, damsm, wrong_pairs="dfgan", **objective)


def stackgan_plusplus(damsm: Path) -> LightningModule:
    generator = StackGANPlusPlusGenerator(width=4, embed_dim=EMBED, **TREE)
    objective: dict[str, Any] = {"adversarial": "bce sum", "condition": "mean", "wrong_pairs": "stackgan++"}
    return GANModule(generator, pyramid(embed_dim=4), damsm, matching=0.0, **objective)


def stackgan_plusplus_unconditional(damsm: Path) -> LightningModule:
    generator = StackGANPlusPlusGenerator(width=4, embed_dim=None, **TREE)
    objective: dict[str, Any] = {"adversarial": "bce sum", "matching": 0.0, "color_consistency": 50.0}
    return GANModule(generator, pyramid(embed_dim=None), None, **objective)


def stackgan_stage2(damsm: Path) -> LightningModule:
    stage1 = StackGANGenerator(width=2, base_size=8, **TEXT)
    generator = StackGANStage2Generator(stage1, 4, EMBED, 4, residual_blocks=1)
    objective: dict[str, Any] = {"condition": "detached mean", "wrong_pairs": "stackgan", "matching": 0.0, "kl": 2.0}
    return GANModule(generator, pyramid((32,), 4, init="normal"), damsm, ema=EMA(0.0), **objective)


def projected(damsm: Path) -> LightningModule:
    generator = AttnGANGenerator(width=2, embed_dim=EMBED, **(TREE | {"images": "last"}))
    judges = ProjectedDiscriminators(ConvTrunk(16, 2), SIDES[1:], width=2, embed_dim=EMBED, text="projection")
    objective: dict[str, Any] = {"adversarial": "hinge", "augment": {"translation": 0.25, "cutout": 0.4, "color": 0.5}}
    return GANModule(generator, judges, damsm, **objective)


def damsm_module(**arguments: Any) -> Callable[[Path], LightningModule]:
    return lambda _: DAMSMModule(ConvTrunk(16, 2), embed_dim=EMBED, word_dim=6, **arguments)


CASES = {
    "DAMSM": Case(damsm_module(), more=("32-true", "bf16-mixed")),
    "DAMSM: words in groups, dropout of images": Case(damsm_module(words_within=3, image_dropout=0.3)),
    "DAMSM: accumulation": Case(damsm_module(accumulate=2, clip=0.1), size=9),
    "AttnGAN": Case(attngan(wrong_pairs="attngan"), more=("32-true", "bf16-mixed")),
    NOT_SYNCHRONISED: Case(attngan(), size=9, synchronised=False),
    "AttnGAN: wrong captions of other classes, caption queue": Case(attngan(matching_captions=5)),
    "AttnGAN: R1": Case(attngan(r1=R1(3.0, every=2), augment=0.25)),
    "AttnGAN: gradient penalty": Case(attngan(gradient_penalty=2.0)),
    "AttnGAN: accumulation": Case(attngan(accumulate=2, clip=0.5), size=9),
    "DM-GAN": Case(dmgan),
    "DF-GAN": Case(dfgan, SIDES[1:], more=("32-true",)),
    "StackGAN++": Case(stackgan_plusplus),
    "StackGAN++ without text": Case(stackgan_plusplus_unconditional),
    "StackGAN II": Case(stackgan_stage2, (32,)),
    "projected AttnGAN": Case(projected, SIDES[1:], more=("32-true",)),
}


# --- how --------------------------------------------------------------------------------------------------------------


class Dealt(LightningDataModule):
    """The batches that one of several processes gets: of three steps, some images of one class, captions of any length.

    A process pads its captions to its own longest one.
    """

    train_words, test_words, text_embeddings = WORDS, WORDS, None

    def __init__(self, sides: tuple[int, ...], size: int, world: int, rank: int) -> None:
        super().__init__()
        self.batch_size, self.image_size, self.stages = size, sides[-1], len(sides)
        self.vocabulary = Vocabulary.from_captions(CAPTIONS)
        random = torch.Generator().manual_seed(0)
        self.batches = []
        for _ in range(STEPS):
            images = tuple(torch.rand(size, 3, side, side, generator=random) * 2 - 1 for side in sides)
            lengths = torch.randint(2, WORDS + 1, (size,), generator=random)
            ids = torch.randint(1, len(self.vocabulary), (size, WORDS), generator=random)
            classes = torch.randint(0, size - 2, (size,), generator=random)
            rows = Rows.split(size, world, rank)
            mine = slice(rows.mine.start, rows.mine.stop)
            captions = CaptionBatch(ids[mine, : int(lengths[mine].max())], lengths[mine])
            own, index = tuple(level[mine] for level in images), torch.arange(size)[mine]
            self.batches.append(TextImageBatch(own, captions, classes[mine], index, index % 2 == 0, rows=rows))

    def batches_of_training(self) -> tuple[int, int, bool]:
        return STEPS * self.batch_size, self.batch_size, True

    def train_dataloader(self) -> DataLoader[TextImageBatch]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


class Watch(Callback):
    """Keeps the terms of the loss that are logged, and the gradients that each optimiser steps by."""

    def __init__(self, module: LightningModule) -> None:
        self.terms: list[dict[str, float]] = []
        self.gradients: dict[str, Tensor] = {}
        log = module.log_dict

        def kept(terms: Any, *arguments: Any, **options: Any) -> None:
            self.terms.append(
                {name: float(value.detach()) for name, value in terms.items()}
            )  # Lightning keeps them in float32
            log(terms, *arguments, **options)

        module.log_dict = kept  # type: ignore[method-assign]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in pl_module.named_parameters():
            if id(parameter) in mine and parameter.grad is not None:
                self.gradients[f"{trainer.global_step}: {name}"] = parameter.grad.clone()


def prepare(folder: Path) -> None:
    """Writes the DAMSM that the cases are made with."""
    torch.manual_seed(0)
    write_damsm(folder / DAMSM_FILE, Vocabulary.from_captions(CAPTIONS))


def train(case: Case, precision: str, damsm: Path, world: int = 1, rank: int = 0) -> Outcome:
    """Three steps of a training, in this process, which may be one of several."""
    torch.manual_seed(1 + rank)  # what the first process has must be what all have
    module = case.make(damsm)
    watch = Watch(module)
    together: dict[str, Any] = {}
    if world > 1:
        norms = [GlobalBatchNorm()] if case.synchronised else []
        together = {"strategy": GlobalBatchStrategy(), "plugins": [*norms, TorchElasticEnvironment()]}
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=world,
        use_distributed_sampler=False,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
        precision=precision,  # type: ignore[arg-type]
        **together,
    )
    trainer.fit(module, Dealt(case.sides, case.size, world, rank))
    state = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    return Outcome(watch.terms, watch.gradients, state)


def on_all(value: Any) -> list[Any]:
    """What every process has."""
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def main(folder: Path, thorough: bool) -> None:
    """Of each case and precision what the first process has, and which of its tensors another has not, bit by bit."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    outcomes: dict[tuple[str, str], tuple[tuple[Any, ...], list[str]]] = {}
    for name, case in CASES.items():
        for precision in case.precisions(thorough):
            outcome = train(case, precision, folder / DAMSM_FILE, world, rank)
            first, *others = on_all({**outcome.gradients, **outcome.state})
            differ = [n for other in others for n, value in first.items() if not torch.equal(value, other[n])]
            of_terms = on_all(outcome.terms)
            differ += [
                n for terms in of_terms for a, b in zip(of_terms[0], terms, strict=True) for n in a if a[n] != b[n]
            ]
            outcomes[name, precision] = tuple(outcome), differ
    if rank == 0:
        torch.save(outcomes, folder / f"{world}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), bool(sys.argv[2:]))
