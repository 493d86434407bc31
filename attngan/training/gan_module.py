"""Adversarial training of a text-to-image generator (Xu et al. 2018, algorithm of section 3; equations 3-6).

One training step for every variant of the family: what a paper adds is a named optional argument, so the constructor's
signature is the objective. How fast the players learn and what is averaged stand in groups of their own.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from lightning_utilities.core.rank_zero import rank_zero_warn
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from attngan.checkpoint import ENTRY, WORD_LIMIT, Entry, load_damsm
from attngan.data.datamodule import TextImageDataModule
from attngan.draws import Draws
from attngan.errors import InputError, require_at_least, tell_without_effect
from attngan.global_batch import Rows
from attngan.losses.adversarial import ADVERSARIAL, WRONG_PAIRS, Adversarial, Verdict, WrongPairsRule
from attngan.losses.matching import MatchingLoss, matching_loss
from attngan.losses.precision import at_least_float32
from attngan.losses.regularizers import (
    R1,
    color_consistency,
    kl_divergence,
    matching_aware_gradient_penalty,
    r1_penalty,
)
from attngan.networks.deep_convolution import choose_weight_gradients, weight_gradients
from attngan.networks.description import describe
from attngan.networks.discriminators import Discriminators
from attngan.networks.generator import Generator
from attngan.records import FrozenFeatures, GeneratedImages, GeneratorNoise, TextFeatures, TextImageBatch
from attngan.sampling import Sampler
from attngan.training.augmentation import Augmentation, binomial_blur
from attngan.training.callbacks import share_done
from attngan.training.caption_queue import CaptionQueue
from attngan.training.compatibility import require_fitting_images, require_fitting_parts, require_terms_to_apply
from attngan.training.descent import (
    GraphCut,
    Part,
    clipped_norm,
    fuse_as_here,
    fuses_adam,
    in_parts,
    is_logged,
    mean_terms,
    refuse_idle_devices,
    refuse_lonely_items,
    statistics_kept,
)
from attngan.training.finite import FiniteCheck
from attngan.training.generator_ema import EMA, GeneratorEMA
from attngan.training.rates import Rates
from attngan.training.rivals import Rivals, require_rivals
from attngan.training.strategy import normalises_globally, require_global_batch

#: A mode of torch.compile.
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
#: Key in a checkpoint: how the gradients of the deepest convolutions were computed, by their names.
WEIGHT_GRADIENTS = "attngan_weight_gradients"
#: What a player minimises, and the terms that are logged of it by name.
Objective = tuple[Tensor, dict[str, Tensor]]


class Drawing(NamedTuple):
    """What the generator draws in a step, or a part of one: for whose captions, and from which random numbers."""

    part: Part
    text: TextFeatures | None
    noise: GeneratorNoise
    draws: Draws


class Drawn(NamedTuple):
    """What it drew; what the discriminators' trained parts read of each image, and of the caption."""

    fake: GeneratedImages
    features: list[FrozenFeatures]
    sentence: Tensor | None


class WrongSentences(NamedTuple):
    """Sentences that are not those of the images beside them.

    ``images``: positions of all pairs' images in the batch, or the part of it. ``here``: which pairs' images this
    process holds. ``sentences``: of those pairs.
    """

    images: Tensor
    here: slice | Tensor
    sentences: Float[Tensor, "pairs embed"]


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
        r1: Gradient penalty on real images, none as published.
        wrong_pairs: Which captions stand as wrong ones: those of an "other class", or by a published rule, named after
            its network. "attngan" (DM-GAN too): the next one of the batch, sorted by length; "stackgan": the next one;
            "dfgan": the one before; "stackgan++": another image for each caption, of another class where there is one.
        augment: What happens to the images that the discriminators see, real and generated ones alike (Zhao et al.
            2020): the strength of each policy by its name, e.g. {translation: 0.125, cutout: 0.5}, see
            `attngan.training.augmentation.POLICIES`; a number alone is the largest shift as a part of the side. 0 as
            published. Leave colours alone where captions speak of them.
        rates: The players' learning rates.
        ema: The generator's moving average, which draws pictures and scores.
        accumulate: Computes each batch in so many parts, whose gradients are averaged before the one step that a batch
            makes: a batch of 64 takes the memory of one of 16 with 4. A part is every so many-th item of the batch.
            Epochs, steps and budgets count whole batches.
            Batch norms see a part at a time, wrong captions and the DAMSM loss's rivals come from the same part, and
            the generator draws twice, so a step is no more than nearly that of the whole batch. 1 for batches in one.
        clip: Largest norm of a player's gradient, all its weights together (each discriminator for itself); a larger
            one is scaled down to it. None for no limit, as published.
        compile: Compile the networks with torch.compile: a slow start, then faster steps; captions are then padded to
            data.train_words, so that no shape changes. true, or a mode of torch.compile: "max-autotune-no-cudagraphs",
            or "reduce-overhead" and "max-autotune", which record CUDA graphs. The discriminators are left as they are
            under a gradient penalty, whose double backward pass torch.compile cannot do.
    """

    def __init__(
        self,
        generator: Generator,
        discriminators: Discriminators,
        damsm: Path | None = None,
        adversarial: Adversarial = "bce",
        condition: Literal["sentence", "mean", "detached mean"] = "sentence",
        matching: float = 5.0,
        matching_blur: bool = False,
        matching_captions: int = 0,
        matching_pass: Literal["shared", "own"] = "shared",
        kl: float = 1.0,
        color_consistency: float = 0.0,
        gradient_penalty: float = 0.0,
        r1: R1 = R1(),
        wrong_pairs: WrongPairsRule = "other class",
        augment: dict[str, float] | float = 0.0,
        rates: Rates = Rates(),
        ema: EMA = EMA(),
        accumulate: int = 1,
        clip: float | None = None,
        compile: bool | CompileMode = False,
    ) -> None:
        super().__init__()
        weights = {"matching": matching, "kl": kl, "color_consistency": color_consistency}
        counts = {"gradient_penalty": gradient_penalty, "matching_captions": matching_captions}
        require_at_least(0, within="model.", **weights, **counts)
        require_at_least(1, within="model.", accumulate=accumulate)
        require_at_least(1e-9, within="model.", clip=clip)
        if not matching:
            of_matching = {"matching_blur": (matching_blur, False), "matching_captions": (matching_captions, 0)}
            tell_without_effect("model.matching is 0", "model.", **of_matching, matching_pass=(matching_pass, "shared"))
        if generator.embed_dim is None:
            tell_without_effect("this generator reads no text", "model.", wrong_pairs=(wrong_pairs, "other class"))
        if not generator.condition_dim:
            why = "this generator has no conditioning augmentation"
            tell_without_effect(why, "model.", kl=(kl, 1.0 if kl else 0.0))
        self.automatic_optimization = False
        self.generator, self.discriminators = generator, discriminators
        self.damsm = None if damsm is None else load_damsm(damsm)
        self.adversarial = ADVERSARIAL[adversarial]
        self.condition = condition
        self.matching, self.matching_blur = matching, matching_blur
        self.kl, self.color_consistency = kl, color_consistency
        self.gradient_penalty, self.r1 = gradient_penalty, r1
        self.wrong_pairs = WRONG_PAIRS[wrong_pairs]
        self.augment = Augmentation(augment)
        self.rates = rates
        self.accumulate, self.clip = accumulate, clip
        self.ema = GeneratorEMA(generator, ema)
        # Lightning's global_step counts every optimiser's steps, so we keep our own counts
        self.rivals = Rivals()
        #: Whether the captions may be others than the DAMSM was trained on.
        self.reads_other_captions = False
        self.steps = 0
        self.images_seen = 0
        self.word_limit: int | None = None
        self.train_words = 0
        #: Of the random numbers that a step draws.
        self.draws_seed = torch.initial_seed()
        self._clock = (0.0, 0)
        self.finite = FiniteCheck(self)
        self._terms: dict[str, Tensor] = {}  # of the step that is about to be made
        for part in (generator, discriminators):
            describe(part)  # what cannot be described cannot go into a checkpoint
        require_fitting_parts(generator, discriminators, self.damsm, condition != "sentence")
        require_terms_to_apply(generator, self.damsm, matching, gradient_penalty, color_consistency)
        self.caption_queue = None
        if self.damsm is not None and matching_captions > 0:
            self.caption_queue = CaptionQueue(matching_captions, self.damsm.embed_dim)
        self.one_pass = (
            self.damsm is not None
            and matching_pass == "shared"
            and not matching_blur  # the discriminators see the image unblurred
            and self.discriminators.stage(-1).sees_through(self.damsm.image_encoder.trunk)
        )
        self._penalises = bool(gradient_penalty or r1.weight)
        if self._penalises:
            # the gradient at the image alone would compute that at the weights too, in any other form than torch's
            choose_weight_gradients(self.discriminators, "convolution")
        self.compiled = bool(compile)
        if compile:
            self._compile("default" if compile is True else compile)

    def _compile(self, mode: CompileMode) -> None:
        """In place, so that no name in a checkpoint changes; what was copied or is saved knows nothing of it."""
        self.generator.compile(mode=mode)
        if self.damsm is not None:
            self.damsm.image_encoder.trunk.compile_mode = mode
        if not self._penalises:
            for stage in self.discriminators.stages:
                stage.compile(mode=mode)
                for head in ("judge_pair", "judge_image"):
                    setattr(stage, head, torch.compile(getattr(stage, head), mode=mode))

    # --- checkpoint -------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.finite.look()
        checkpoint[ENTRY] = Entry(
            "gan",
            describe(self.generator),
            describe(self.discriminators),
            None if self.damsm is None else self.damsm.describe(),
            self.word_limit,
            self.steps,
            self.images_seen,
            draws_seed=self.draws_seed,
        ).as_dict()
        checkpoint[WEIGHT_GRADIENTS] = weight_gradients(self.discriminators)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get(WEIGHT_GRADIENTS)
        if not self._penalises:
            # an earlier version's had one form
            choose_weight_gradients(self.discriminators, kept if isinstance(kept, dict) else "convolution")
        fuse_as_here(checkpoint, self)
        entry = Entry.of(checkpoint)
        self.steps, self.images_seen = entry.steps, entry.images_seen
        self.draws_seed = self.draws_seed if entry.draws_seed is None else entry.draws_seed

    def configure_optimizers(self) -> list[Optimizer]:
        """One for the generator, then one for each discriminator."""
        rates, stages, fused = self.rates, self.discriminators.stages, fuses_adam(self)
        learning = [p for p in self.generator.parameters() if p.requires_grad]  # StackGAN's first stage is frozen
        return [
            Adam(learning, rates.generator, rates.betas, fused=fused),
            *(Adam(stage.parameters(), rates.discriminator, rates.betas, fused=fused) for stage in stages),
        ]

    def setup(self, stage: str) -> None:
        require_global_batch(self)
        data = cast(TextImageDataModule, self.trainer.datamodule)  # type: ignore[attr-defined]  # set at the start
        if self.damsm is not None and data.vocabulary != self.damsm.vocabulary:
            # a published one fits; one of other captions is an error, unless that is what was asked for
            data.use_vocabulary(self.damsm.vocabulary, self.reads_other_captions)
        if self.generator.embed_dim is not None:  # wrong captions are those of other images
            require_rivals(getattr(data, "batch_size", 2) // self.accumulate)
        if self.damsm is not None:
            why = "model.damsm reads the captions"
            tell_without_effect(why, "data.", text_embeddings=(data.text_embeddings, None))
        self.word_limit = getattr(data, "test_words", None)
        self.train_words = getattr(data, "train_words", 0)
        if stage == "fit":
            networks = nn.ModuleList([self.generator, self.discriminators])
            devices = self.trainer.world_size
            apart = 1 if normalises_globally(self.trainer) else devices
            refuse_lonely_items(*data.batches_of_training(), self.accumulate, networks, apart)
            refuse_idle_devices(*data.batches_of_training(), self.accumulate, devices)
        require_fitting_images(self.generator, data.image_size, data.stages)

    def on_fit_start(self) -> None:
        self.draws_seed = self.trainer.strategy.broadcast(self.draws_seed)
        if self.device.type == "cuda":  # as its kernels want it; on a CPU it was measured as no gain
            for network in (self.generator, self.discriminators, self.ema.generator):
                network.to(memory_format=torch.channels_last)

    # --- one step ---------------------------------------------------------------------------------------------

    def training_step(self, batch: TextImageBatch, batch_index: int) -> None:
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # what graphs wrote in the last step may be written over
        self._set_learning_rates()
        parts = in_parts(batch, self.accumulate)
        drawings = [self._drawing(part) for part in parts]
        # one part: a pass of the generator serves both players; the graphs of several would fill the memory
        once = self._draw(drawings[0]) if len(drawings) == 1 else None

        of_discriminators = self._train_discriminators(drawings, once)
        # the generator meets the discriminators as they are after their step, and gives their weights no gradient
        self.discriminators.requires_grad_(False)
        of_generator = self._train_generator(drawings, once)
        self.discriminators.requires_grad_(True)

        terms = of_discriminators | of_generator
        self.finite.terms(terms)
        self.finite.step_done()
        self.ema.update(self.generator)
        logged = self._is_logged
        self.steps += 1
        self.images_seen += sum(part.rows.total for part in parts)
        if logged:
            self._log(terms)

    def _train_discriminators(self, drawings: list[Drawing], once: Drawn | None) -> dict[str, Tensor]:
        """One step of each discriminator; returns what they minimised, by name."""
        _, *optimizers = self._optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        terms = []
        for drawing in drawings:
            with nullcontext() if once else torch.no_grad(), nullcontext() if once else statistics_kept(self.generator):
                drawn = once or self._draw(drawing)
            of_part: dict[str, Tensor] = {}
            wrong = self._wrong_sentences(drawing.part, drawn.sentence)
            for stage, features in enumerate(drawn.features):
                loss, of_stage = self._discriminator_objective(stage, drawing, features.detach(), drawn.sentence, wrong)
                self.manual_backward(loss * drawing.part.weight)
                of_part |= {name: value.detach() for name, value in of_stage.items()}
            terms.append((drawing.part.share, of_part))
        self._terms = mean_terms(terms)
        self._step(optimizers)
        return self._terms

    def _train_generator(self, drawings: list[Drawing], once: Drawn | None) -> dict[str, Tensor]:
        """One step of the generator; returns what it minimised, by name."""
        optimizer, *_ = self._optimizers()
        optimizer.zero_grad()
        terms = []
        for drawing in drawings:
            # term by term down to what was drawn, then once through the generator: each graph is gone before the next
            cut = GraphCut()
            drawn = cut(once or self._draw(drawing))
            whole, of_part = [], dict[str, Tensor]()
            for loss, of_term in self._generator_objective(drawing, drawn):
                self.manual_backward(loss * drawing.part.weight)
                whole.append(loss.detach())
                of_part |= {name: value.detach() for name, value in of_term.items()}
            cut.backward()
            terms.append((drawing.part.share, of_part | {"generator/loss": torch.stack(whole).sum()}))
        self._terms = mean_terms(terms)
        self._step([optimizer])
        return self._terms

    def _drawing(self, part: Part) -> Drawing:
        draws = Draws(self.draws_seed, self.steps, part.rows.mine, part.batch.images[0].device)
        return Drawing(part, self.encode_text(part.batch), self.generator.draw_noise(draws), draws)

    def _draw(self, drawing: Drawing) -> Drawn:
        fake = self.generator(drawing.noise, drawing.text)
        features = [self._extract(stage, images, drawing.draws) for stage, images in enumerate(fake.images)]
        return Drawn(fake, features, self._read_by_discriminators(fake, drawing.text))

    def _discriminator_objective(
        self,
        stage: int,
        drawing: Drawing,
        drawn: FrozenFeatures,
        sentence: Tensor | None,
        wrong: WrongSentences | None,
    ) -> Objective:
        """What one discriminator minimises, on real, drawn and wrongly captioned images: L + r1 / 2 R1 + MA-GP."""
        images, rows = drawing.part.batch.images[stage], drawing.part.rows
        sentence = None if sentence is None else sentence.detach()
        r1 = self.r1.weight_at(self.steps)
        penalised = r1 > 0 or self.gradient_penalty > 0
        if penalised:
            images = images.detach().requires_grad_(True)
            sentence = None if sentence is None else at_least_float32(sentence)[0].requires_grad_(True)
        # a gradient's sixth power is beyond bf16: real images are judged in float32 where they are penalised
        with torch.autocast(images.device.type, enabled=False) if penalised else nullcontext():
            on_real, features = self._judge(stage, self._extract(stage, images, drawing.draws), sentence)
        on_fake, _ = self._judge(stage, drawn, sentence)
        real, fake = on_real.gathered(rows), on_fake.gathered(rows)
        on_wrong = self._judge_wrong_pairs(stage, rows, features, real, wrong)

        loss = self.adversarial.discriminator(real, fake, on_wrong)
        terms = {"loss": loss} | (_accuracies(real, fake, on_wrong) if self._is_logged else {})
        if r1 > 0:
            terms["r1"] = rows.mean(r1_penalty(torch.stack(on_real.heads).sum(0), images))
            loss = loss + r1 / 2 * terms["r1"]
        if self.gradient_penalty > 0:
            assert on_real.pair is not None and sentence is not None  # noqa: PT018 - one condition: there is text
            terms["gradient_penalty"] = rows.mean(matching_aware_gradient_penalty(on_real.pair, images, sentence))
            loss = loss + self.gradient_penalty * terms["gradient_penalty"]
        return loss, {f"discriminator_{images.shape[-1]}/{name}": value for name, value in terms.items()}

    def _generator_objective(self, drawing: Drawing, drawn: Drawn) -> Iterator[Objective]:
        """What the generator minimises, term by term: each stage's L, kl KL, color_consistency C, matching L_DAMSM."""
        part, text, fake = drawing.part, drawing.text, drawn.fake
        for stage, images in enumerate(fake.images):
            verdict, _ = self._judge(stage, drawn.features[stage], drawn.sentence)
            loss = self.adversarial.generator(verdict.gathered(part.rows))
            yield loss, {f"generator_{images.shape[-1]}/loss": loss}
        if fake.mean is not None and fake.log_variance is not None:
            kl = part.rows.mean(kl_divergence(fake.mean, fake.log_variance))
            yield self.kl * kl, {"generator/kl": kl}
        if self.color_consistency > 0:
            of_stages = torch.stack([color_consistency(lower, higher) for lower, higher in pairwise(fake.images)])
            consistency = part.rows.mean(of_stages.sum())
            yield self.color_consistency * consistency, {"generator/color_consistency": consistency}
        if self.matching > 0:
            assert text is not None  # checked at the start
            match = self._matching_loss(fake.images[-1], drawn.features[-1], text, part)
            yield self.matching * match.total, {f"matching/{name}": value for name, value in match._asdict().items()}

    # --- its parts --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_text(self, batch: TextImageBatch) -> TextFeatures | None:
        """What the generator reads: the DAMSM's features, precomputed sentence embeddings, or nothing."""
        if self.damsm is not None:
            # in float32 whatever the rest runs in, as all of the DAMSM: see `_matching_loss`
            with torch.autocast(batch.captions.ids.device.type, enabled=False):
                features: TextFeatures = self.damsm.text_encoder(batch.captions)
            return features.with_places(self.train_words) if self.compiled and self.train_words else features
        if self.generator.embed_dim is None:
            return None
        if batch.embedding is None or batch.embedding.shape[1] != self.generator.embed_dim:
            given = "none" if batch.embedding is None else f"embeddings of {batch.embedding.shape[1]} numbers"
            raise InputError(
                f"the generator reads sentence embeddings of {self.generator.embed_dim} numbers, the data gives "
                f"{given}: name a DAMSM with model.damsm, or fitting embeddings with data.text_embeddings"
            )
        return TextFeatures.of_sentences(batch.embedding)

    def _read_by_discriminators(self, fake: GeneratedImages, text: TextFeatures | None) -> Tensor | None:
        if text is None or self.condition == "sentence":
            return None if text is None else text.sentence
        assert fake.mean is not None
        return fake.mean if self.condition == "mean" else fake.mean.detach()

    def _extract(self, stage: int, images: Tensor, draws: Draws) -> FrozenFeatures:
        """What a discriminator's trained part reads of images, augmented; of drawn ones once, for both players."""
        return self.discriminators.stage(stage).extract(self.augment(images, draws))

    def _judge(self, stage: int, seen: FrozenFeatures, sentence: Tensor | None) -> tuple[Verdict, Tensor]:
        """A discriminator's verdict on images and their sentences, and the features that it made of the images."""
        discriminator = self.discriminators.stage(stage)
        features: Tensor = discriminator(*seen.levels)
        pair = None if sentence is None else discriminator.judge_pair(features, sentence)
        return Verdict(pair, discriminator.judge_image(features)), features

    def _wrong_sentences(self, part: Part, sentence: Tensor | None) -> WrongSentences | None:
        """Sentences of the whole batch that are not its images'; None for discriminators that read none."""
        if sentence is None:
            return None
        batch, rows = part.batch, part.rows
        classes = None if batch.classes is None else rows.gather(batch.classes)
        lengths = batch.captions.lengths.to(sentence.device, non_blocking=True)
        images, captions = self.wrong_pairs(rows.gather(lengths), classes)
        here = rows.places_of(images)
        return WrongSentences(images, here, rows.gather(sentence.detach())[captions[here]])

    def _judge_wrong_pairs(
        self, stage: int, rows: Rows, features: Tensor, real: Verdict, wrong: WrongSentences | None
    ) -> Verdict:
        """A discriminator's verdict on the batch's real images with captions that are not theirs."""
        if wrong is None:
            return Verdict(None, None)
        own = features[wrong.images[wrong.here] - rows.first]
        pair = self.discriminators.stage(stage).judge_pair(own, wrong.sentences)
        of_all = None if pair is None else rows.place(pair, wrong.here, len(wrong.images))
        return Verdict(of_all, None if real.image is None else real.image[wrong.images])

    def _matching_loss(self, images: Tensor, drawn: FrozenFeatures, text: TextFeatures, part: Part) -> MatchingLoss:
        """How badly the DAMSM finds each caption's image, and each image's caption."""
        assert self.damsm is not None  # checked at the start
        # in float32 whatever the rest runs in: in 16 bits most of the gradient at the image is noise
        with torch.autocast(images.device.type, enabled=False):
            if self.one_pass:
                assert drawn.trunk is not None
                seen = self.damsm.image_encoder.project(drawn.trunk)
            else:
                (images,) = at_least_float32(images)
                seen = self.damsm.image_encoder(binomial_blur(images) if self.matching_blur else images)
        rows = part.rows
        own = captions = text.gathered(rows, self.train_words)
        of_own = classes = None if part.batch.classes is None else rows.gather(part.batch.classes)
        if self.caption_queue is None:
            self.rivals.add(classes, rows.total)
        else:
            captions, classes = self.caption_queue.beside(own, of_own)
            self.caption_queue.add(own, of_own)
        return matching_loss(seen, captions, classes, *self.damsm.gammas, rows=rows)

    def _optimizers(self) -> list[Optimizer | LightningOptimizer]:
        optimizers = self.optimizers()
        return [*optimizers] if isinstance(optimizers, list) else [optimizers]

    def _set_learning_rates(self) -> None:
        """Those of this place in the run; constant ones too: a resumed optimiser has those of its checkpoint."""
        factor = self.rates.factor(self.current_epoch, share_done(self.trainer, self) or 0.0)
        for number, optimizer in enumerate(self._optimizers()):
            rate = self.rates.discriminator if number else self.rates.generator
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = rate * factor, self.rates.betas

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Once a gradient is whole, and no longer scaled for 16 bits: finite, `clip`, and its norm into the log."""
        optimizers = [getattr(own, "optimizer", own) for own in self._optimizers()]
        number = optimizers.index(optimizer)
        side = self.discriminators.resolutions[number - 1]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # which leaves such a step out by itself
            player = f"{side} px discriminator" if number else "generator"
            self.finite.gradients(parameters, player, self._terms)
        if self.clip is not None or self._is_logged:
            norm = clipped_norm(parameters, self.clip)
            self.log(f"discriminator_{side}/gradient_norm" if number else "generator/gradient_norm", norm)

    def on_train_epoch_end(self) -> None:
        if told := self.rivals.tell():
            rank_zero_warn(f"epoch {self.current_epoch}: {told}")

    def _step(self, optimizers: list[Optimizer | LightningOptimizer]) -> None:
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()  # the other players' steps have the memory
        # autocast keeps low-precision copies of the weights for the whole training step: after an update they are old
        torch.clear_autocast_cache()

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

    @property
    def _is_logged(self) -> bool:
        """Whether the step that is made is one of those that Lightning logs; the first one too, for the progress."""
        return is_logged(self.steps + 1, self.trainer.log_every_n_steps)  # type: ignore[attr-defined]

    def _log(self, terms: dict[str, Tensor]) -> None:
        """After a step that is logged: a logger's numbers are waited for, and cost an operation and more each."""
        self.log_dict(terms, on_step=True, on_epoch=False)
        (since, seen), now = self._clock, time.monotonic()
        if self.steps > 1:  # the first step prepares
            self.log("images_per_second", (self.images_seen - seen) / max(now - since, 1e-9), prog_bar=True)
        self._clock = (now, self.images_seen)
        self.log("images_seen", float(self.images_seen))
        for number, optimizer in enumerate(self._optimizers()[:2]):  # the discriminators' is one
            self.log(f"learning_rate/{'discriminator' if number else 'generator'}", optimizer.param_groups[0]["lr"])
        self.log("loss_generator", terms["generator/loss"], prog_bar=True, logger=False)
        of_discriminators = [
            value for name, value in terms.items() if name.startswith("disc") and name.endswith("/loss")
        ]
        self.log("loss_discriminators", torch.stack(of_discriminators).mean(), prog_bar=True, logger=False)


def _accuracies(on_real: Verdict, on_fake: Verdict, on_wrong: Verdict) -> dict[str, Tensor]:
    """Shares of the images that the first head, which is that for pairs where there is one, gets right."""
    right = {"real": on_real.heads[0] > 0, "fake": on_fake.heads[0] < 0}
    if on_wrong.pair is not None:
        right["wrong"] = on_wrong.pair < 0
    return {f"accuracy_{kind}": answers.float().mean() for kind, answers in right.items()}
