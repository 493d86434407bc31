"""Adversarial training of a text-to-image generator (Xu et al. 2018, algorithm of section 3; equations 3-6).

One training step for every variant of the family: what a paper adds is a named optional argument, so the constructor's
signature is the objective.
"""

import time
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan.checkpoint import ENTRY
from attngan.losses.adversarial import (
    Verdict,
    discriminator_loss,
    generator_loss,
    published_wrong_pairs,
    wrong_pairs,
)
from attngan.losses.regularizers import kl_divergence, r1_penalty
from attngan.networks.description import describe
from attngan.networks.discriminators import DiscriminatorPyramid, StageDiscriminator
from attngan.networks.multistage import MultiStageGenerator
from attngan.records import GeneratedImages, TextFeatures, TextImageBatch
from attngan.training.augmentation import same_augmentation
from attngan.training.damsm_module import load_damsm
from attngan.training.finite import check_finite
from attngan.training.generator_ema import GeneratorEMA


class GANModule(LightningModule):
    """Trains a generator against one discriminator a stage, guided by a frozen DAMSM. Defaults: AttnGAN on CUB.

    Args:
        generator: Draws images from noise and text features.
        discriminators: One for each image that the generator draws.
        damsm: Checkpoint of `attngan pretrain` (or of a GAN, which holds its DAMSM): it encodes the captions and
            scores how well images and captions match. It goes into this module's checkpoints.
        matching: Weight of the DAMSM loss on the last image (lambda; 5 for CUB, 50 for COCO, 0 for none).
        kl: Weight of the conditioning augmentation's KL divergence.
        learning_rate_generator: Adam's step size.
        learning_rate_discriminator: Adam's step size, for each discriminator.
        betas: Adam's two decay rates.
        ema_decay: Decay of the generator's moving average, which draws pictures and scores.
        ema_warmup: Start the average with a smaller decay, so that short runs are not held back by their first steps.
        ema_buffers: "averaged", or "published": batch norm statistics of the live generator.
        wrong_pairs: Which captions stand as wrong ones: "other class", or "published" (the next one of the batch,
            sorted by length, whatever its class).
        r1: Weight of the gradient penalty on real images (Mescheder et al. 2018), 0 as published.
        r1_every: The penalty is computed at every so many steps, with so many times the weight.
        augment: Largest shift of the images that the discriminators see, as a part of their side: the same kind for
            real and generated ones (Zhao et al. 2020), 0 as published.
    """

    def __init__(
        self,
        generator: MultiStageGenerator,
        discriminators: DiscriminatorPyramid,
        damsm: Path,
        matching: float = 5.0,
        kl: float = 1.0,
        learning_rate_generator: float = 2e-4,
        learning_rate_discriminator: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        ema_decay: float = 0.999,
        ema_warmup: bool = False,
        ema_buffers: Literal["averaged", "published"] = "averaged",
        wrong_pairs: Literal["other class", "published"] = "other class",
        r1: float = 0.0,
        r1_every: int = 4,
        augment: float = 0.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminators = discriminators
        self.damsm = load_damsm(damsm)
        self.ema = GeneratorEMA(generator, ema_decay, ema_warmup, ema_buffers)
        self.matching_weight, self.kl_weight = matching, kl
        self.learning_rates = (learning_rate_generator, learning_rate_discriminator)
        self.betas = betas
        self.published_pairs = wrong_pairs == "published"
        self.r1, self.r1_every = r1, r1_every
        self.augment = augment
        # Lightning's global_step counts every optimiser's steps, so we keep our own counts
        self.steps = 0
        self.images_seen = 0
        self._clock = (0.0, 0)
        self._check_fit()

    def _check_fit(self) -> None:
        """The parts must speak the same embedding and the same image sizes."""
        wanted = self.damsm.embed_dim
        for name, part in (("generator", self.generator), ("discriminators", self.discriminators)):
            if part.init_args["embed_dim"] != wanted:
                raise ValueError(
                    f"the DAMSM's embedding has {wanted} numbers, the {name}'s {part.init_args['embed_dim']}: set "
                    f"model.{name}.init_args.embed_dim={wanted}"
                )
        drawn, judged = tuple(self.generator.image_sizes), self.discriminators.resolutions
        if drawn != judged:
            raise ValueError(
                f"the generator draws images of {drawn} px, the discriminators judge {judged}: set "
                f"model.discriminators.init_args.resolutions={list(drawn)}"
            )

    # --- checkpoint -------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[ENTRY] = {
            "kind": "gan",
            "steps": self.steps,
            "images_seen": self.images_seen,
            "generator": describe(self.generator),
            "discriminators": describe(self.discriminators),
            "damsm": self.damsm.describe(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps = checkpoint[ENTRY]["steps"]
        self.images_seen = checkpoint[ENTRY]["images_seen"]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the generator, then one for each discriminator."""
        for_generator, for_discriminators = self.learning_rates
        return [
            torch.optim.Adam(self.generator.parameters(), for_generator, self.betas),
            *(torch.optim.Adam(d.parameters(), for_discriminators, self.betas) for d in self.discriminators.stages),
        ]

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.vocabulary != self.damsm.vocabulary:
            data.use_vocabulary(self.damsm.vocabulary)  # a published one fits, one of other captions is an error
        given = tuple(data.image_size // 2**stage for stage in reversed(range(data.stages)))
        if given != tuple(self.generator.image_sizes):
            raise ValueError(
                f"the data gives images of {given} px, the generator draws {tuple(self.generator.image_sizes)}: set "
                f"data.image_size={self.generator.image_sizes[-1]} and data.stages={len(self.generator.image_sizes)}"
            )

    # --- one step ---------------------------------------------------------------------------------------------

    def training_step(self, batch: TextImageBatch, batch_index: int) -> None:
        with torch.no_grad():
            text = self.damsm.text_encoder(batch.captions)
        fake = self.generator(self.generator.draw_noise(len(batch.indices)), text)
        for_generator, *for_discriminators = self._optimizers()

        terms: dict[str, Tensor] = {}
        for stage, optimizer in enumerate(for_discriminators):
            discriminator: Any = self.discriminators.stages[stage]
            terms |= self._discriminator_step(discriminator, optimizer, batch, stage, fake.images[stage], text)

        # the generator meets the discriminators as they are after their step, and gives their weights no gradient
        self.discriminators.requires_grad_(False)
        loss, of_generator = self._generator_objective(fake, text, batch)
        self._descend(loss, for_generator)
        self.discriminators.requires_grad_(True)

        check_finite(terms | of_generator, self)
        self.ema.update(self.generator)
        self.steps += 1
        self.images_seen += len(batch.indices) * self.trainer.world_size
        self._log(terms | of_generator)

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _descend(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        # autocast keeps low-precision copies of the weights for the whole training step: after an update they are old
        torch.clear_autocast_cache()

    def _judge(self, discriminator: StageDiscriminator, images: Tensor, sentence: Tensor) -> tuple[Verdict, Tensor]:
        features = discriminator(same_augmentation(images, self.augment))
        return Verdict(discriminator.judge_pair(features, sentence), discriminator.judge_image(features)), features

    def _discriminator_step(
        self,
        discriminator: StageDiscriminator,
        optimizer: Any,
        batch: TextImageBatch,
        stage: int,
        drawn: Tensor,
        text: TextFeatures,
    ) -> dict[str, Tensor]:
        """Updates one discriminator on real, drawn and wrongly captioned images."""
        images, side = batch.images[stage], batch.images[stage].shape[-1]
        penalised = self.r1 > 0 and self.steps % self.r1_every == 0
        if penalised:
            images = images.detach().requires_grad_(True)
        real, features = self._judge(discriminator, images, text.sentence)
        fake, _ = self._judge(discriminator, drawn.detach(), text.sentence)
        rows, captions = self._wrong_pairs(batch)
        wrong = discriminator.judge_pair(features[rows], text.sentence[captions])
        loss = discriminator_loss(real, fake, wrong)
        terms = {f"discriminator_{side}/loss": loss}
        if penalised:
            logits = real.pair if real.image is None else real.pair + real.image
            terms[f"discriminator_{side}/r1"] = penalty = r1_penalty(logits, images)
            loss = loss + self.r1 / 2 * self.r1_every * penalty
        self._descend(loss, optimizer)
        judged = {"real": real.pair > 0, "fake": fake.pair < 0, "wrong": wrong < 0}
        return terms | {f"discriminator_{side}/accuracy_{kind}": right.float().mean() for kind, right in judged.items()}

    def _wrong_pairs(self, batch: TextImageBatch) -> tuple[Tensor, Tensor]:
        """Positions of images, and of captions that are not theirs."""
        if not self.published_pairs:
            captions = wrong_pairs(len(batch.indices), batch.classes)
            return torch.arange(len(captions), device=captions.device), captions
        # the published loader sorts each batch by caption length, longest first
        order = batch.captions.lengths.argsort(descending=True, stable=True)
        rows, captions = published_wrong_pairs(len(order))
        return order[rows], order[captions]

    def _generator_objective(
        self, fake: GeneratedImages, text: TextFeatures, batch: TextImageBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss, and its terms by name."""
        terms: dict[str, Tensor] = {}
        for stage, images in enumerate(fake.images):
            discriminator: Any = self.discriminators.stages[stage]
            verdict, _ = self._judge(discriminator, images, text.sentence)
            terms[f"generator_{images.shape[-1]}/loss"] = generator_loss(verdict)
        kl = kl_divergence(fake.mean, fake.log_variance)
        loss = sum(terms.values(), self.kl_weight * kl)
        terms["generator/kl"] = kl
        if self.matching_weight > 0:
            match = self.damsm.loss(self.damsm.image_encoder(fake.images[-1]), text, batch.classes)
            loss = loss + self.matching_weight * match.total
            terms |= {f"matching/{name}": value for name, value in match._asdict().items()}
        return loss, terms | {"generator/loss": loss}

    # --- what is shown ----------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        self._clock = (time.monotonic(), self.images_seen)

    def _log(self, terms: dict[str, Tensor]) -> None:
        self.log_dict(terms, on_step=True, on_epoch=False)
        if self.steps % 10 == 0:
            since, seen = self._clock
            now = time.monotonic()
            rate = (self.images_seen - seen) / max(now - since, 1e-9)
            self._clock = (now, self.images_seen)
            self.log("images_per_second", rate, prog_bar=True)
        self.log("images_seen", float(self.images_seen))
        self.log("loss_generator", terms["generator/loss"], prog_bar=True, logger=False)
        of_discriminators = [
            value for name, value in terms.items() if name.startswith("disc") and name.endswith("/loss")
        ]
        self.log("loss_discriminators", torch.stack(of_discriminators).mean(), prog_bar=True, logger=False)
