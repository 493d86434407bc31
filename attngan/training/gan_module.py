"""Adversarial training of a text-to-image generator (Xu et al. 2018, algorithm of section 3; equations 3-6).

One training step for every variant of the family: what a paper adds is a named optional argument, so the constructor's
signature is the objective.
"""

import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan.checkpoint import ENTRY
from attngan.losses.adversarial import ADVERSARIAL, Verdict, published_wrong_pairs, wrong_pairs
from attngan.losses.regularizers import (
    color_consistency,
    kl_divergence,
    matching_aware_gradient_penalty,
    r1_penalty,
)
from attngan.networks.description import describe
from attngan.networks.discriminators import Discriminators
from attngan.networks.generator import Generator
from attngan.records import FrozenFeatures, GeneratedImages, ImageFeatures, TextFeatures, TextImageBatch
from attngan.sampling import WORD_LIMIT, Sampler
from attngan.training.augmentation import Augmentation, binomial_blur
from attngan.training.caption_queue import CaptionQueue
from attngan.training.damsm_module import load_damsm
from attngan.training.finite import check_finite
from attngan.training.generator_ema import GeneratorEMA
from attngan.training.run import share_done


class GANModule(LightningModule):
    """Trains a generator against one discriminator an image that it draws. Defaults: AttnGAN on CUB.

    Args:
        generator: Draws images from noise and, unless it is unconditional, text features.
        discriminators: One for each image that the generator draws.
        damsm: Checkpoint of `attngan pretrain` (or of a GAN, which holds its DAMSM): it encodes the captions and
            scores how well images and captions match. It goes into this module's checkpoints. None for a generator
            without text, or one that reads precomputed sentence embeddings (data.text_embeddings).
        adversarial: The two players' losses: "bce" (StackGAN, AttnGAN, DM-GAN: the heads' binary cross-entropies
            averaged), "bce sum" (StackGAN++: summed) or "hinge" (DF-GAN).
        condition: What the discriminators read of a caption: its "sentence" embedding, the "mean" of the generator's
            conditioning augmentation (StackGAN++), or the "detached mean", which gets no gradient in the generator's
            step either (StackGAN).
        matching: Weight of the DAMSM loss on the last image (lambda; 5 for CUB, 50 for COCO, 0 for none).
        matching_blur: Blur the image a little (1-2-1 both ways) before the DAMSM scores it, so that it cannot ask for
            patterns of single pixels.
        matching_captions: How many captions of earlier batches stand as wrong ones in the DAMSM loss beside the batch's
            own (0 as published): for small batches.
        matching_pass: "shared": where the DAMSM's trunk is the last discriminator's too, at the same size, one pass of
            it serves both; the DAMSM then sees the discriminators' augmented view. "own": the DAMSM looks for itself,
            at the image as it is.
        kl: Weight of the conditioning augmentation's KL divergence.
        color_consistency: Weight of the distance between the colours of one stage's image and the next one's
            (StackGAN++: 50 without text, 0 with).
        gradient_penalty: Weight of the matching-aware gradient penalty on real images and their sentences (DF-GAN: 2).
        learning_rate_generator: Adam's step size.
        learning_rate_discriminator: Adam's step size, for each discriminator.
        learning_rate_fall: Share of the run, at its end, over which both step sizes fall to a fiftieth: 0 for none. For
            runs with a budget or a last epoch.
        learning_rate_halved_every: Both step sizes are halved after every so many epochs (StackGAN); None for never.
        betas: Adam's two decay rates.
        ema_decay: Decay of the generator's moving average, which draws pictures and scores; 0: it is the generator
            itself (StackGAN).
        ema_warmup: Start the average with a smaller decay, so that short runs are not held back by their first steps.
        ema_buffers: "averaged", or "published": batch norm statistics of the live generator.
        wrong_pairs: Which captions stand as wrong ones: "other class", or "published" (the next one of the batch,
            sorted by length, whatever its class).
        r1: Weight of the gradient penalty on real images (Mescheder et al. 2018), 0 as published.
        r1_every: That penalty is computed at every so many steps, with so many times the weight.
        augment: What happens to the images that the discriminators see, real and generated ones alike (Zhao et al.
            2020): the strength of each policy by its name, e.g. {translation: 0.125, cutout: 0.5}, see
            `attngan.training.augmentation.POLICIES`; a number alone is the largest shift as a part of the side. 0 as
            published. Leave colours alone where captions speak of them.
        compile: Compile the networks with torch.compile: a slow start, then faster steps. The discriminators are left
            as they are under a gradient penalty, whose double backward pass torch.compile cannot do.
    """

    def __init__(
        self,
        generator: Generator,
        discriminators: Discriminators,
        damsm: Path | None = None,
        adversarial: Literal["bce", "bce sum", "hinge"] = "bce",
        condition: Literal["sentence", "mean", "detached mean"] = "sentence",
        matching: float = 5.0,
        matching_blur: bool = False,
        matching_captions: int = 0,
        matching_pass: Literal["shared", "own"] = "shared",
        kl: float = 1.0,
        color_consistency: float = 0.0,
        gradient_penalty: float = 0.0,
        learning_rate_generator: float = 2e-4,
        learning_rate_discriminator: float = 2e-4,
        learning_rate_fall: float = 0.0,
        learning_rate_halved_every: int | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        ema_decay: float = 0.999,
        ema_warmup: bool = False,
        ema_buffers: Literal["averaged", "published"] = "averaged",
        wrong_pairs: Literal["other class", "published"] = "other class",
        r1: float = 0.0,
        r1_every: int = 4,
        augment: dict[str, float] | float = 0.0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminators = discriminators
        self.damsm = None if damsm is None else load_damsm(damsm)
        self.ema = GeneratorEMA(generator, ema_decay, ema_warmup, ema_buffers)
        self.adversarial = ADVERSARIAL[adversarial]
        self.condition = condition
        self.matching_weight, self.kl_weight, self.color_weight = matching, kl, color_consistency
        self.gradient_penalty, self.matching_blur = gradient_penalty, matching_blur
        self.learning_rates = (learning_rate_generator, learning_rate_discriminator)
        self.fall, self.halved_every = learning_rate_fall, learning_rate_halved_every
        self.betas = betas
        self.published_pairs = wrong_pairs == "published"
        self.r1, self.r1_every = r1, r1_every
        self.augment = Augmentation(augment)
        # Lightning's global_step counts every optimiser's steps, so we keep our own counts
        self.steps = 0
        self.images_seen = 0
        self.word_limit: int | None = None
        self._clock = (0.0, 0)
        self._check_fit()
        self.caption_queue = None
        if self.damsm is not None and matching_captions > 0:
            self.caption_queue = CaptionQueue(matching_captions, self.damsm.embed_dim)
        last_stage: Any = self.discriminators.stages[-1]
        self.one_pass = (
            self.damsm is not None
            and matching_pass == "shared"
            and not matching_blur  # the discriminators see the image unblurred
            and last_stage.sees_through(self.damsm.image_encoder.trunk)
        )
        if compile:
            self._compile()

    def _check_fit(self) -> None:
        """The parts must speak the same embedding and the same image sizes, and fit into a checkpoint."""
        for part in (self.generator, self.discriminators):
            describe(part)
        if self.damsm is not None and self.damsm.embed_dim != self.generator.embed_dim:
            raise ValueError(
                f"the DAMSM's embedding has {self.damsm.embed_dim} numbers, the generator's "
                f"{self.generator.embed_dim}: set model.generator.init_args.embed_dim={self.damsm.embed_dim}, or "
                "model.damsm=null for a generator that does not read its sentences"
            )
        if self.condition != "sentence" and not self.generator.condition_dim:
            raise ValueError(
                "this generator has no conditioning augmentation whose mean could be read: set model.condition=sentence"
            )
        if self.gradient_penalty > 0 and self.generator.embed_dim is None:
            raise ValueError(
                "model.gradient_penalty is one on images and their sentences, and this generator reads no text: set it "
                "to 0 (model.r1 penalises images alone)"
            )
        if self.color_weight > 0 and len(self.generator.image_sizes) < 2:
            raise ValueError(
                "model.color_consistency ties the images of two stages, and this generator draws one: set it to 0"
            )
        if self.damsm is None and self.matching_weight > 0:
            raise ValueError(
                "model.matching scores images by a DAMSM: name its checkpoint with model.damsm, or set model.matching=0"
            )
        if self.generator.embed_dim is None or self.condition == "sentence":
            wanted, told = self.generator.embed_dim, "generator's sentence embedding"
        else:
            wanted, told = self.generator.condition_dim, "mean of the generator's conditioning augmentation"
        if self.discriminators.embed_dim != wanted:
            raise ValueError(
                f"the {told} has {wanted} numbers, the discriminators read {self.discriminators.embed_dim}: set "
                f"model.discriminators.init_args.embed_dim={'null' if wanted is None else wanted}"
            )
        drawn, judged = tuple(self.generator.image_sizes), self.discriminators.resolutions
        if drawn != judged:
            raise ValueError(
                f"the generator draws images of {drawn} px, the discriminators judge {judged}: set "
                f"model.discriminators.init_args.resolutions={list(drawn)}"
            )

    def _compile(self) -> None:
        """In place, so that no name in a checkpoint changes; what was copied or is saved knows nothing of it."""
        self.generator.compile()
        if not (self.gradient_penalty or self.r1):
            for discriminator in self.discriminators.stages:
                discriminator.compile()

    # --- checkpoint -------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[ENTRY] = {
            "kind": "gan",
            "steps": self.steps,
            "images_seen": self.images_seen,
            "generator": describe(self.generator),
            "discriminators": describe(self.discriminators),
            "damsm": None if self.damsm is None else self.damsm.describe(),
            "word_limit": self.word_limit,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps = checkpoint[ENTRY]["steps"]
        self.images_seen = checkpoint[ENTRY]["images_seen"]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the generator, then one for each discriminator."""
        for_generator, for_discriminators = self.learning_rates
        learning = [p for p in self.generator.parameters() if p.requires_grad]  # StackGAN's first stage is frozen
        return [
            torch.optim.Adam(learning, for_generator, self.betas),
            *(torch.optim.Adam(d.parameters(), for_discriminators, self.betas) for d in self.discriminators.stages),
        ]

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.damsm is not None and data.vocabulary != self.damsm.vocabulary:
            data.use_vocabulary(self.damsm.vocabulary)  # a published one fits, one of other captions is an error
        self.word_limit = getattr(data, "test_words", None)
        given = tuple(data.image_size // 2**stage for stage in reversed(range(data.stages)))
        if given != tuple(self.generator.image_sizes):
            raise ValueError(
                f"the data gives images of {given} px, the generator draws {tuple(self.generator.image_sizes)}: set "
                f"data.image_size={self.generator.image_sizes[-1]} and data.stages={len(self.generator.image_sizes)}"
            )

    # --- one step ---------------------------------------------------------------------------------------------

    def training_step(self, batch: TextImageBatch, batch_index: int) -> None:
        if self.fall or self.halved_every is not None:
            self._set_rates()
        text = self.encode_text(batch)
        fake = self.generator(self.generator.draw_noise(len(batch.indices)), text)
        sentence = self._read_by_discriminators(fake, text)
        for_generator, *for_discriminators = self._optimizers()

        terms: dict[str, Tensor] = {}
        stages: list[Any] = list(self.discriminators.stages)
        # one pass of what is frozen, of one augmented view, serves the discriminator's step and the generator's
        drawn = [stage.extract(self.augment(images)) for stage, images in zip(stages, fake.images, strict=True)]
        for stage, optimizer in enumerate(for_discriminators):
            read = None if sentence is None else sentence.detach()
            terms |= self._discriminator_step(stages[stage], optimizer, batch, stage, drawn[stage].detach(), read)

        # the generator meets the discriminators as they are after their step, and gives their weights no gradient
        self.discriminators.requires_grad_(False)
        loss, of_generator = self._generator_objective(fake, drawn, text, sentence, batch)
        self._descend(loss, for_generator)
        self.discriminators.requires_grad_(True)

        check_finite(terms | of_generator, self)
        self.ema.update(self.generator)
        self.steps += 1
        self.images_seen += len(batch.indices) * self.trainer.world_size
        self._log(terms | of_generator)

    @torch.no_grad()
    def encode_text(self, batch: TextImageBatch) -> TextFeatures | None:
        """What the generator reads: the DAMSM's features, precomputed sentence embeddings, or nothing."""
        if self.damsm is not None:
            return self.damsm.text_encoder(batch.captions)
        if self.generator.embed_dim is None:
            return None
        if batch.embedding is None or batch.embedding.shape[1] != self.generator.embed_dim:
            given = "none" if batch.embedding is None else f"embeddings of {batch.embedding.shape[1]} numbers"
            raise ValueError(
                f"the generator reads sentence embeddings of {self.generator.embed_dim} numbers, the data gives "
                f"{given}: name a DAMSM with model.damsm, or fitting embeddings with data.text_embeddings"
            )
        return TextFeatures.of_sentences(batch.embedding)

    def _read_by_discriminators(self, fake: GeneratedImages, text: TextFeatures | None) -> Tensor | None:
        if text is None or self.condition == "sentence":
            return None if text is None else text.sentence
        assert fake.mean is not None
        return fake.mean if self.condition == "mean" else fake.mean.detach()

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _set_rates(self) -> None:
        """From the place in the run alone, so that a resumed run has the rates of one that never stopped."""
        factor = 1.0 if self.halved_every is None else 0.5 ** (self.current_epoch // self.halved_every)
        if self.fall:
            left = (1 - (share_done(self.trainer, self) or 0.0)) / self.fall
            factor *= min(1.0, max(0.02, left))
        for number, optimizer in enumerate(self._optimizers()):
            rate = self.learning_rates[1 if number else 0]
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def _descend(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        # autocast keeps low-precision copies of the weights for the whole training step: after an update they are old
        torch.clear_autocast_cache()

    def _judge(self, discriminator: Any, seen: FrozenFeatures, sentence: Tensor | None) -> tuple[Verdict, Tensor]:
        features = discriminator(*seen.levels)
        pair = None if sentence is None else discriminator.judge_pair(features, sentence)
        return Verdict(pair, discriminator.judge_image(features)), features

    def _discriminator_step(
        self,
        discriminator: Any,
        optimizer: Any,
        batch: TextImageBatch,
        stage: int,
        drawn: FrozenFeatures,
        sentence: Tensor | None,
    ) -> dict[str, Tensor]:
        """Updates one discriminator on real, drawn and wrongly captioned images."""
        images, side = batch.images[stage], batch.images[stage].shape[-1]
        r1 = self.r1 * self.r1_every if self.r1 > 0 and self.steps % self.r1_every == 0 else 0.0
        penalised = r1 > 0 or self.gradient_penalty > 0
        if penalised:
            images = images.detach().requires_grad_(True)
            sentence = None if sentence is None else sentence.detach().float().requires_grad_(True)
        # a gradient's sixth power is beyond bf16: real images are judged in float32 where they are penalised
        with torch.autocast(images.device.type, enabled=False) if penalised else nullcontext():
            real, features = self._judge(discriminator, discriminator.extract(self.augment(images)), sentence)
        fake, _ = self._judge(discriminator, drawn, sentence)
        wrong = self._judge_wrong_pairs(discriminator, batch, features, real, sentence)
        loss = self.adversarial.discriminator(real, fake, wrong)
        terms = {f"discriminator_{side}/loss": loss}
        if r1:
            logits = sum(head for head in real if head is not None)
            assert isinstance(logits, Tensor)
            terms[f"discriminator_{side}/r1"] = penalty = r1_penalty(logits, images)
            loss = loss + r1 / 2 * penalty
        if self.gradient_penalty:
            assert real.pair is not None and sentence is not None  # noqa: PT018 - one condition: there is text
            penalty = matching_aware_gradient_penalty(real.pair, images, sentence)
            terms[f"discriminator_{side}/gradient_penalty"] = penalty
            loss = loss + self.gradient_penalty * penalty
        self._descend(loss, optimizer)
        judged = {"real": _first(real) > 0, "fake": _first(fake) < 0}
        if wrong.pair is not None:
            judged["wrong"] = wrong.pair < 0
        return terms | {f"discriminator_{side}/accuracy_{kind}": right.float().mean() for kind, right in judged.items()}

    def _judge_wrong_pairs(
        self, discriminator: Any, batch: TextImageBatch, features: Tensor, real: Verdict, sentence: Tensor | None
    ) -> Verdict:
        """Real images with captions that are not theirs."""
        if sentence is None:
            return Verdict(None, None)
        rows, captions = self._wrong_pairs(batch)
        pair = discriminator.judge_pair(features[rows], sentence[captions])
        return Verdict(pair, None if real.image is None else real.image[rows])

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
        self,
        fake: GeneratedImages,
        drawn: list[FrozenFeatures],
        text: TextFeatures | None,
        sentence: Tensor | None,
        batch: TextImageBatch,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss, and its terms by name."""
        terms: dict[str, Tensor] = {}
        for stage, images in enumerate(fake.images):
            verdict, _ = self._judge(self.discriminators.stages[stage], drawn[stage], sentence)
            terms[f"generator_{images.shape[-1]}/loss"] = self.adversarial.generator(verdict)
        loss: Tensor = torch.stack(list(terms.values())).sum()
        if fake.mean is not None and fake.log_variance is not None:
            terms["generator/kl"] = kl_divergence(fake.mean, fake.log_variance)
            loss = loss + self.kl_weight * terms["generator/kl"]
        if self.color_weight > 0:
            steps = [color_consistency(lower, higher) for lower, higher in pairwise(fake.images)]
            terms["generator/color_consistency"] = torch.stack(steps).sum()
            loss = loss + self.color_weight * terms["generator/color_consistency"]
        if self.matching_weight > 0:
            assert self.damsm is not None and text is not None  # noqa: PT018 - checked at the start
            others, classes = text, batch.classes
            if self.caption_queue is not None:
                others, classes = self.caption_queue.beside(text, classes)
                self.caption_queue.add(text, batch.classes)
            match = self.damsm.loss(self._encode_drawn(fake.images[-1], drawn[-1]), others, classes)
            loss = loss + self.matching_weight * match.total
            terms |= {f"matching/{name}": value for name, value in match._asdict().items()}
        return loss, terms | {"generator/loss": loss}

    def _encode_drawn(self, images: Tensor, drawn: FrozenFeatures) -> ImageFeatures:
        """The DAMSM's features of the last images: where it shares the last discriminator's trunk, of the same pass."""
        assert self.damsm is not None
        if self.one_pass:
            assert drawn.trunk is not None
            return self.damsm.image_encoder.project(drawn.trunk)
        return self.damsm.image_encoder(binomial_blur(images) if self.matching_blur else images)

    # --- what is shown ----------------------------------------------------------------------------------------

    def sampler(self) -> Sampler:
        """Draws with the moving average as it is now."""
        generator: Any = self.ema.generator
        limit = self.word_limit or WORD_LIMIT
        if self.damsm is None:
            return Sampler(generator, word_limit=limit)
        return Sampler(generator, self.damsm.text_encoder, self.damsm.vocabulary, word_limit=limit)

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


def _first(verdict: Verdict) -> Tensor:
    """The logits on pairs, or where no text is read those on images."""
    logits = verdict.image if verdict.pair is None else verdict.pair
    assert logits is not None
    return logits
