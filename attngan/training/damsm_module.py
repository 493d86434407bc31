"""DAMSM pretraining: encoders learn which caption belongs to which image (Xu et al. 2018, section 3.2)."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan import ranks
from attngan.checkpoint import ENTRY, Checkpoint, Entry
from attngan.draws import Draws
from attngan.errors import InputError, require_at_least, tell_without_effect
from attngan.global_batch import Rows
from attngan.losses.matching import MatchingLoss, matching_loss
from attngan.metrics.r_precision import CaptionPool, r_precision, text_ids
from attngan.metrics.retrieval import recall_at
from attngan.networks.blocks import Dropout
from attngan.networks.damsm import DAMSM
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk, ImageTrunk
from attngan.networks.text_encoder import CaptionEncoder, TextEncoder
from attngan.records import CaptionBatch, ImageFeatures, TextFeatures, TextImageBatch, TrunkFeatures
from attngan.terminal import say
from attngan.training.callbacks import share_done
from attngan.training.descent import (
    Part,
    clipped_norm,
    fuse_as_here,
    fuses_adam,
    in_parts,
    is_logged,
    refuse_idle_devices,
)
from attngan.training.finite import FiniteCheck
from attngan.training.initial_weights import start_damsm
from attngan.training.kept_features import KeptFeatures, keep_features, trunk_fingerprint
from attngan.training.rates import require_decay_rates
from attngan.training.rivals import Rivals, require_rivals
from attngan.training.strategy import require_global_batch


class _Seen(NamedTuple):
    """A batch of validation or test: its first image, how many, its loss (whole, then the terms), their vectors."""

    first: int
    size: int
    loss: Tensor | None
    pooled: Tensor


class DAMSMModule(LightningModule):
    """Trains both encoders with the matching loss. The defaults are the published ones.

    The vocabulary comes from the data, and goes into the checkpoint.

    Args:
        image_trunk: The image network: InceptionTrunk (published), EfficientNetLiteTrunk (its weights need no
            download), or ConvTrunk, small and trained from scratch. None for a ConvTrunk of 64 px.
        text_encoder: A text network that brings its own vocabulary: PretrainedTextEncoder. None for an LSTM or GRU over
            the words of the training captions, as published, of which word_dim, rnn and dropout are.
        embed_dim: Length of the joint embedding of words, sentences, regions and images.
        word_dim: Length of a word's embedding before the recurrent network.
        rnn: The text encoder's cell.
        dropout: Dropout of the word embeddings.
        image_dropout: Dropout of the trunk's features before their projection (0 as published).
        gamma1: How much a word attends to its best regions.
        gamma2: How much the best word counts in a caption's score.
        gamma3: Scale of the scores in the softmax over the batch.
        words_weight: Weight of the words' two terms in the loss; 0 leaves them out, which makes a step cheap.
        sentence_weight: Weight of the sentence's two terms.
        words_within: The words' terms compare the items of a batch within groups of so many, for large batches: their
            cost grows with the square of the group. None for the whole batch, as published.
        learning_rate: Adam's step size at the start.
        pretrained_rate: Step size of pretrained text weights that are trained too, as a share of learning_rate.
        betas: Adam's two decay rates.
        learning_rate_decay: Factor of the step size at each epoch, down to a tenth of the start.
        learning_rate_fall: Share of the run, at its end, over which the step size falls further to a fiftieth: 0 for
            none. For runs with a budget or a last epoch.
        weight_decay: Each step takes this share, times the step size, off every weight matrix (AdamW).
        text_gradient_clip: Largest norm of the text encoder's gradient.
        clip: Largest norm of the gradient of all weights together, after that; None for no limit, as published.
        accumulate: Computes each batch in so many parts, whose gradients are averaged before the one step that a batch
            makes: less memory for large batches. An item's rivals are those of its part alone, and batch norms see a
            part at a time, so a step is not that of the whole batch. 1 for batches in one.
        adam: "kept", or "reset" at each epoch, as the published code did.
        keep_features: Folder for the frozen trunk's features, computed once for the centre crop and its mirror image;
            None to run the trunk at each step on the augmented crop.
        kept_image_size: Size of the images whose features are kept. "trunk": prepared from the files at the trunk's
            input size. "data": prepared at data.image_size and enlarged by the trunk, which is how it sees the pictures
            of a generator of that size.
    """

    kept: dict[str, KeptFeatures]

    def __init__(
        self,
        image_trunk: ImageTrunk | None = None,
        text_encoder: CaptionEncoder | None = None,
        embed_dim: int = 256,
        word_dim: int = 300,
        rnn: Literal["lstm", "gru"] = "lstm",
        dropout: float = 0.5,
        image_dropout: float = 0.0,
        gamma1: float = 4.0,
        gamma2: float = 5.0,
        gamma3: float = 10.0,
        words_weight: float = 1.0,
        sentence_weight: float = 1.0,
        words_within: int | None = None,
        learning_rate: float = 2e-3,
        pretrained_rate: float = 0.01,
        betas: tuple[float, float] = (0.5, 0.999),
        learning_rate_decay: float = 0.98,
        learning_rate_fall: float = 0.0,
        weight_decay: float = 0.0,
        text_gradient_clip: float = 0.25,
        clip: float | None = None,
        accumulate: int = 1,
        adam: Literal["kept", "reset"] = "kept",
        keep_features: Path | None = None,
        kept_image_size: Literal["trunk", "data"] = "trunk",
    ) -> None:
        super().__init__()
        require_at_least(0, 1, within="model.", dropout=dropout, image_dropout=image_dropout)
        require_at_least(0, within="model.", learning_rate=learning_rate, weight_decay=weight_decay)
        require_at_least(0, within="model.", pretrained_rate=pretrained_rate)
        require_at_least(0, within="model.", words_weight=words_weight, sentence_weight=sentence_weight)
        require_decay_rates(betas, "model.betas")
        require_at_least(1e-9, within="model.", text_gradient_clip=text_gradient_clip, clip=clip)
        require_at_least(1, within="model.", words_within=words_within, accumulate=accumulate)
        if not words_weight + sentence_weight + weight_decay:
            raise InputError("model.words_weight and model.sentence_weight are both 0: there is nothing to learn from")
        if not words_weight:
            of_words = {"words_within": (words_within, None), "gamma1": (gamma1, 4.0), "gamma2": (gamma2, 5.0)}
            tell_without_effect("model.words_weight is 0", "model.", **of_words)
        if keep_features is None:
            tell_without_effect("model.keep_features is null", "model.", kept_image_size=(kept_image_size, "trunk"))
        self.image_encoder = ImageEncoder(image_trunk or ConvTrunk(), embed_dim)
        self.text_arguments: dict[str, Any] = {
            "embed_dim": embed_dim,
            "word_dim": word_dim,
            "rnn": rnn,
            "dropout": dropout,
        }
        if text_encoder is not None and text_encoder.embed_dim != embed_dim:
            raise InputError(
                f"model.text_encoder gives features of {text_encoder.embed_dim} numbers, model.embed_dim is "
                f"{embed_dim}: set model.text_encoder.init_args.embed_dim={embed_dim}"
            )
        if text_encoder is not None:
            of_recurrent = {"word_dim": (word_dim, 300), "rnn": (rnn, "lstm"), "dropout": (dropout, 0.5)}
            tell_without_effect("model.text_encoder is given", "model.", **of_recurrent)
        self.text_encoder = text_encoder
        self.own_vocabulary = None if text_encoder is None else text_encoder.vocabulary
        self.pretrained_rate = pretrained_rate
        self.image_dropout = Dropout(image_dropout)
        self.gammas = (gamma1, gamma2, gamma3)
        self.words_weight, self.sentence_weight = words_weight, sentence_weight
        self.words_within = words_within
        self.learning_rate = learning_rate
        self.betas = betas
        self.learning_rate_decay = learning_rate_decay
        self.learning_rate_fall = learning_rate_fall
        self.weight_decay = weight_decay
        self.text_gradient_clip, self.clip = text_gradient_clip, clip
        self.accumulate = accumulate
        self._waiting: list[Part] = []  # parts of the batch that come after the first one's backward pass
        self.reset_adam = adam == "reset"
        self.features_folder = keep_features
        self.kept_image_size = kept_image_size
        self.kept = {}
        self.images_seen = self.steps = self.train_words = 0
        #: Of the random numbers that a step draws.
        self.draws_seed = torch.initial_seed()
        #: Checkpoint whose weights it starts from, of other captions perhaps.
        self.initial: Checkpoint | None = None
        self.rivals = Rivals()
        self.finite = FiniteCheck(self)
        self._seen: list[_Seen] = []  # of the split that is validated or tested on
        if keep_features is not None and not self.image_encoder.trunk.frozen:
            raise InputError(
                f"keep_features needs a frozen image trunk, and {type(self.image_encoder.trunk).__name__} is trained: "
                "leave keep_features out"
            )

    # --- the model, once the vocabulary is known --------------------------------------------------------------

    def setup(self, stage: str) -> None:
        require_global_batch(self)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.train_words = getattr(data, "train_words", 0)
        if self.own_vocabulary is not None:
            data.use_vocabulary(self.own_vocabulary)
        if stage == "fit":
            require_rivals(getattr(data, "batch_size", 2))
            if self.trainer.world_size > 1:
                images, size, drop_last = data.batches_of_training()
                refuse_idle_devices(images, size, drop_last, self.accumulate, self.trainer.world_size)

    def configure_model(self) -> None:
        if not hasattr(self, "damsm"):
            vocabulary = self.trainer.datamodule.vocabulary  # type: ignore[attr-defined]
            text_encoder = self.text_encoder or TextEncoder(len(vocabulary), **self.text_arguments)
            self.damsm = DAMSM(text_encoder, self.image_encoder, vocabulary, self.gammas)
            del self.image_encoder, self.text_encoder  # one owner, one name in the checkpoint
            if self.initial is not None:
                rank_zero_only(say)(start_damsm(self.damsm, self.initial))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.finite.look()
        checkpoint[ENTRY] = Entry(
            "damsm",
            damsm=self.damsm.describe(),
            steps=self.steps,
            images_seen=self.images_seen,
            draws_seed=self.draws_seed,
        ).as_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        entry = Entry.of(checkpoint)
        if entry.vocabulary is not None and entry.vocabulary != self.damsm.vocabulary:
            raise InputError(
                f"the checkpoint's vocabulary is not the data's: {self.damsm.vocabulary.difference(entry.vocabulary)}"
            )
        self.images_seen, self.steps = entry.images_seen, entry.steps
        self.draws_seed = self.draws_seed if entry.draws_seed is None else entry.draws_seed
        fuse_as_here(checkpoint, self)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups, fused = self._parameter_groups(), fuses_adam(self)
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        return kind(groups, self.learning_rate, self.betas, fused=fused)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained: with and without decay, and pretrained weights by steps of their own."""
        pretrained = {id(p) for p in self.damsm.text_encoder.pretrained_weights()}
        groups: list[dict[str, Any]] = []
        for share, wanted in ((1.0, False), (self.pretrained_rate, True)):
            own = [p for p in self.damsm.parameters() if p.requires_grad and (id(p) in pretrained) is wanted]
            decaying = [p for p in own if p.ndim > 1] if self.weight_decay else []
            others = [p for p in own if p.ndim <= 1] if self.weight_decay else own
            for parameters, decay in ((decaying, self.weight_decay), (others, 0.0)):
                if parameters:
                    rate = share * self.learning_rate
                    groups.append({"params": parameters, "weight_decay": decay, "lr": rate, "share": share})
        return groups

    def _decayed(self, epoch: int) -> float:
        return max(self.learning_rate_decay**epoch, 0.1)

    def on_train_batch_start(self, batch: TextImageBatch, batch_index: int) -> None:
        # from the arguments and the place in the run: one that is gone on with is as never stopped, and takes new ones
        left = 1.0
        if self.learning_rate_fall:
            left = min(1.0, max(0.02, (1 - (share_done(self.trainer, self) or 0.0)) / self.learning_rate_fall))
        for group in self.optimizers().optimizer.param_groups:  # type: ignore[union-attr]
            share = group.get("share", 1.0)  # optimisers of before have none
            group["lr"] = share * self.learning_rate * self._decayed(self.current_epoch) * left
            group["betas"] = self.betas

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        # as published: the text encoder alone is clipped
        of_text = clipped_norm(self.damsm.text_encoder.parameters(), self.text_gradient_clip)
        logged = is_logged(self.steps, self.trainer.log_every_n_steps)  # type: ignore[attr-defined]  # it is counted already
        if logged or self.clip is not None:
            of_all = clipped_norm((p for p in self.damsm.parameters() if p.requires_grad), self.clip)
        if logged:
            self.log("gradient_norm/text", of_text)
            self.log("gradient_norm/all", of_all)
            self.log("learning_rate", optimizer.param_groups[0]["lr"])

    # --- training ---------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        self.draws_seed = self.trainer.strategy.broadcast(self.draws_seed)
        if self.features_folder is not None:
            for split in ("train", "validation"):
                self.kept[split] = self._keep(split)

    def on_test_start(self) -> None:
        if self.features_folder is not None:
            self.kept["test"] = self._keep("test")

    def _keep(self, split: str) -> KeptFeatures:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        trunk, folder = self.damsm.image_encoder.trunk, self.features_folder
        assert folder is not None
        images = data.split(split)
        size, source = trunk.input_size, images.fingerprint
        if self.kept_image_size == "data":
            size, source = data.image_size, f"{source} of {data.image_size} px"
        # not named after the split: where validation is the test split, its features are kept once
        name = trunk_fingerprint(trunk, source if images.augment else f"{source}, plain")
        kept = keep_features(trunk, data.full_images(split, size), len(images), folder / name, images.augment)
        images.trunk_features = kept.of
        return kept

    def on_train_epoch_start(self) -> None:
        if self.reset_adam:
            self.optimizers().optimizer.state.clear()  # type: ignore[union-attr]

    def encode_images(self, batch: TextImageBatch, split: str, draws: Draws | None = None) -> ImageFeatures:
        """Image features of a batch, from the kept trunk features where there are any."""
        encoder = self.damsm.image_encoder
        if batch.trunk is not None:  # by the processes that load
            trunk = TrunkFeatures(*(values.float() for values in batch.trunk))
        elif (kept := self.kept.get(split)) is not None:
            trunk = kept.rows(batch.indices, batch.mirrored)
        else:
            trunk = encoder.trunk(batch.images[-1])
        if not self.words_weight:  # nothing looks at the regions: projecting all of them would be a third of the step
            trunk = trunk._replace(regions=trunk.regions[..., :1, :1])
        return encoder.project(type(trunk)(*(self.image_dropout(values, draws) for values in trunk)))

    def encode_captions(self, batch: TextImageBatch, draws: Draws | None = None) -> TextFeatures:
        """Text features of a batch; without words, where they do not count."""
        text: TextFeatures = self.damsm.text_encoder(batch.captions, draws)
        return text if self.words_weight else TextFeatures.of_sentences(text.sentence)

    def training_step(self, batch: TextImageBatch, batch_index: int) -> Tensor:
        first, *self._waiting = parts = in_parts(batch, self.accumulate)
        self.images_seen += sum(part.rows.total for part in parts)
        self.steps += 1
        return self._part_of_loss(first)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Of the first part's loss, then of the others', one by one: each graph is gone before the next one."""
        loss.backward(*args, **kwargs)
        precision: Any = self.trainer.precision_plugin
        while self._waiting:
            with precision.train_step_context():
                of_part = self._part_of_loss(self._waiting.pop(0))
            precision.pre_backward(of_part, self).backward()

    def _part_of_loss(self, part: Part) -> Tensor:
        """What a part of a batch counts in the batch's loss."""
        batch, rows = part.batch, part.rows
        draws = Draws(self.draws_seed, self.steps, rows.mine, batch.indices.device)
        image = self.encode_images(batch, "train", draws)
        text = self.encode_captions(batch, draws).gathered(rows, self.train_words)
        classes = None if batch.classes is None else rows.gather(batch.classes)
        loss = self._loss(image, text, classes, rows)
        self.finite.terms(loss._asdict())
        self.rivals.add(classes, rows.total)
        self._log_loss(loss, rows.total)
        return loss.weighted(self.words_weight, self.sentence_weight) * part.weight

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # which leaves such a step out by itself
            self.finite.gradients(self.damsm.parameters(), "DAMSM")
        self.finite.step_done()

    def on_train_epoch_end(self) -> None:
        if told := self.rivals.tell():
            rank_zero_warn(f"epoch {self.current_epoch}: {told}")

    def _loss(
        self, image: ImageFeatures, text: TextFeatures, classes: Tensor | None, rows: Rows | None = None
    ) -> MatchingLoss:
        return matching_loss(image, text, classes, *self.damsm.gammas, words_within=self.words_within, rows=rows)

    def _log_loss(self, loss: MatchingLoss, size: int) -> None:
        total = loss.weighted(self.words_weight, self.sentence_weight)
        self.log("train/loss", total, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        self.log_dict(
            {f"train/{name}": value for name, value in loss._asdict().items()}, on_epoch=True, batch_size=size
        )

    # --- validation and test ----------------------------------------------------------------------------------

    def validation_step(self, batch: TextImageBatch, batch_index: int) -> None:
        self._encode_for_retrieval(batch, "validation")

    def test_step(self, batch: TextImageBatch, batch_index: int) -> None:
        self._encode_for_retrieval(batch, "test")

    def _encode_for_retrieval(self, batch: TextImageBatch, split: str) -> None:
        image = self.encode_images(batch, split)
        size, loss = len(batch.indices), None
        if size > 1:
            of_batch = self._loss(image, self.encode_captions(batch), batch.classes)
            total = of_batch.weighted(self.words_weight, self.sentence_weight)
            loss = torch.stack([total, *of_batch]).double().cpu()
        self._seen.append(_Seen(int(batch.indices[0]), size, loss, image.pooled.float().cpu()))

    def _log_validation(self, split: str) -> Tensor:
        """The mean loss of the batches that all processes have seen; returns their images' vectors, in order."""
        by_place = {batch.first: batch for of_rank in ranks.gathered(self._seen) for batch in of_rank}
        seen = [by_place[place] for place in sorted(by_place)]
        self._seen.clear()
        compared = [(batch.loss, batch.size) for batch in seen if batch.loss is not None]
        if compared:
            means = torch.stack([loss * size for loss, size in compared]).sum(0) / sum(size for _, size in compared)
            self.log(f"{split}/loss", means[0], prog_bar=True)
            self.log_dict({f"{split}/{name}": mean for name, mean in zip(MatchingLoss._fields, means[1:], strict=True)})
        return torch.cat([batch.pooled for batch in seen])

    def _retrieval(self, split: str) -> dict[str, float]:
        """Recall at 1, 5 and 10 over the whole split, both ways; every caption of an image is a hit."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        captions, owner = data.encoded_captions(split)
        images, sentences = self._log_validation(split), self.damsm.encode_batches(captions)
        seen = owner < len(images)  # of the first batches alone, where trainer.limit_val_batches or _test_ says so
        captions = CaptionBatch(captions.ids[seen], captions.lengths[seen])
        sentences, owner = sentences[seen.to(sentences.device)], owner[seen]
        scores = recall_at(images, sentences, owner)
        if split == "test":
            scores |= self._real_r_precision(images, sentences, captions, owner)
        return scores

    def _real_r_precision(
        self, images: Tensor, sentences: Tensor, captions: CaptionBatch, owner: Tensor
    ) -> dict[str, float]:
        """How often the encoders find a *real* image's caption among 100: the ceiling of a generator's R-precision."""
        dataset = self.trainer.datamodule.split("test")  # type: ignore[attr-defined]
        # captions of the same words say the same; words, not files: a caption that could not be encoded is not here
        texts = text_ids([" ".join(map(str, ids)) for ids in captions.ids.tolist()])
        classes = None if dataset.class_ids is None else torch.as_tensor(dataset.class_ids)[owner]
        rivals = len(owner) - int(torch.bincount(owner if classes is None else classes).max())
        if rivals < 99:  # a finished training must not fail over a small test split
            say(f"no R-precision: it needs 99 captions of other classes, the test split has {rivals}")
            return {}
        score = r_precision(images[owner], torch.arange(len(owner)), CaptionPool(sentences, owner, texts, classes))
        return {"r_precision_100": score.mean, "r_precision_100_std": score.std}

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            self._seen.clear()
            return
        scores = self._retrieval("validation")
        self.log_dict({f"validation/{name}": value for name, value in scores.items()})
        # the best checkpoint is chosen by this one, and the progress bar shows it
        both = (scores["image_to_text_r1"] + scores["text_to_image_r1"]) / 2
        self.log("validation/r1", both, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test/{name}": value for name, value in self._retrieval("test").items()})
