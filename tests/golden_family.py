"""The golden runs of the family as networks, inputs and batches, read from the files alone: another seed is no matter.

Their names are translated by the maps that `attngan import-published` reads files with.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from attngan.checkpoint import ENTRY
from attngan.losses.adversarial import WRONG_PAIRS, WrongPairs
from attngan.losses.regularizers import R1
from attngan.networks.damsm import DAMSM
from attngan.networks.dfgan import DFGANDiscriminator
from attngan.networks.discriminators import DiscriminatorPyramid, Discriminators
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk
from attngan.networks.published import (
    PublishedNetwork,
    discriminator_kind,
    discriminator_state,
    generator_kind,
    image_encoder_sizes,
    image_encoder_state,
    published_generator,
)
from attngan.networks.published_names import published_names
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, GeneratorNoise, TextFeatures, TextImageBatch, TrunkFeatures
from attngan.text.vocabulary import Vocabulary
from attngan.training.gan_module import GANModule
from attngan.training.generator_ema import EMA
from attngan.training.rates import Rates
from tests.conftest import REPOSITORY
from tests.networks.comparison import tensors

Arrays = dict[str, np.ndarray]

#: The golden runs, and the recipe that is the published objective of each.
RECIPES = {
    "attngan": "attngan_cub",
    "stackgan_stage1": "stackgan_stage1_cub",
    "stackgan_stage2": "stackgan_stage2_cub",
    "stackganpp": "stackgan_plusplus_cub",
    "stackganpp_uncond": "stackgan_plusplus_unconditional_cub",
    "dmgan": "dmgan_cub",
    "attndcgan": "attndcgan_cub",
    "dfgan": "dfgan_cub",
}


@dataclass(frozen=True)
class Translated:
    """A network of ours with published weights, and how its names and channels become the published ones again."""

    network: nn.Module
    kind: PublishedNetwork
    sizes: dict[str, Any]
    prefix: str  # of its names in golden files

    def published(self, ours: Mapping[str, Tensor], known: Collection[str]) -> dict[str, Tensor]:
        """Tensors by our names (weights, gradients) by the golden files' names, ``known`` among them."""
        result = {}
        for name, tensor in ours.items():
            theirs = next(n for n in published_names(name, self.kind.names) if self.prefix + n in known)
            if tensor.ndim > 1 and (first := self.kind.channels_first(theirs, self.sizes)):
                tensor = tensor.roll(first, 1)
            result[self.prefix + theirs] = tensor
        return result


class Colours(ImageTrunk):
    """The golden runs' image network: the colours of 17 x 17 places, and of the whole image."""

    region_channels = pooled_channels = 3

    def __init__(self, input_size: int = 256) -> None:
        super().__init__()
        self.input_size = input_size

    def features(self, images: Tensor) -> TrunkFeatures:
        return TrunkFeatures(F.adaptive_avg_pool2d(images, 17), images.mean((2, 3)))


class GoldenRun:
    """One variant's golden files.

    Args:
        variant: A key of `RECIPES`.
        golden: The fixture that reads a file's arrays.
        notes: The fixture that reads its JSON.
    """

    def __init__(self, variant: str, golden: Callable[[str], Arrays], notes: Callable[[str], dict[str, Any]]) -> None:
        self.variant, self._golden, self._notes = variant, golden, notes
        if variant == "attngan":  # the first files have names of their own
            self.state = tensors(golden("train_step_state"))
            return
        try:
            self.state = tensors(golden(f"{variant}_state"))
        except pytest.skip.Exception:  # the larger ones lie in two files
            self.state = tensors(golden(f"{variant}_state_g")) | tensors(golden(f"{variant}_state_d"))

    def arrays(self, part: str) -> dict[str, Tensor]:
        """Of "forward", "steps" ...; what was computed, in float64 where it was."""
        if self.variant == "attngan":
            return _of_first_files(tensors(self._golden("train_step_io")), tensors(self._golden("train_step_final64")))
        return tensors(self._golden(f"{self.variant}_{part}"))

    def config(self, part: str) -> dict[str, Any]:
        if self.variant == "attngan":
            config = self._notes("train_step_io")["config"]
            return config | {"SMOOTH": {name: config[name] for name in ("LAMBDA", "GAMMA1", "GAMMA2", "GAMMA3")}}
        return self._notes(f"{self.variant}_{part}")["config"]

    # --- networks -------------------------------------------------------------------------------------------------

    def generator(self) -> Translated:
        published = {n.removeprefix("G."): t for n, t in self.state.items() if n.startswith("G.")}
        kind, network = published_generator(published, "published" if self._attends(published) else "own")
        return Translated(network.train(), kind, kind.sizes(published), "G.")

    @staticmethod
    def _attends(published: Mapping[str, Tensor]) -> bool:
        return generator_kind(published).title in ("AttnGAN", "AttnDCGAN", "DM-GAN")

    def discriminators(self) -> tuple[Discriminators, list[Translated]]:
        """The module, and its stages with their names."""
        prefixes = sorted({n.partition(".")[0] for n in self.state if n.startswith("D")})
        if "C" in {n.partition(".")[0] for n in self.state}:  # DF-GAN: two networks, with their letters
            given = {"": {n: t for n, t in self.state.items() if n.startswith(("C.", "D."))}}
        else:
            given = {
                f"{p}.": {n[len(p) + 1 :]: t for n, t in self.state.items() if n.startswith(f"{p}.")} for p in prefixes
            }
        kinds = [discriminator_kind(published) for published in given.values()]
        sizes = [kind.sizes(published) for kind, published in zip(kinds, given.values(), strict=True)]
        if kinds[0].title == "DF-GAN":
            module: Discriminators = DFGANDiscriminator(**sizes[0])
        else:
            common = {name: value for name, value in sizes[0].items() if name != "resolution"}
            module = DiscriminatorPyramid([size["resolution"] for size in sizes], **common)
        stages = []
        for stage, (prefix, published), kind, size in zip(module.stages, given.items(), kinds, sizes, strict=True):
            stage.load_state_dict(discriminator_state(published))
            stages.append(Translated(stage, kind, size, prefix))
        return module, stages

    def damsm(self, gammas: tuple[float, float, float]) -> DAMSM | None:
        """The stand-in image encoder and a text encoder that is never asked; None where nothing is matched."""
        published = {n.removeprefix("E."): t for n, t in self.state.items() if n.startswith("E.")}
        if not published:
            return None
        encoder = ImageEncoder(Colours(), **image_encoder_sizes(published))
        encoder.load_state_dict(image_encoder_state(published, encoder.trunk))
        return DAMSM(TextEncoder(3, encoder.embed_dim, 4), encoder, Vocabulary.from_captions(["bird"]), gammas)


def _of_first_files(io: dict[str, Tensor], final: dict[str, Tensor]) -> dict[str, Tensor]:
    """AttnGAN's golden step under the names of the later files."""
    renamed = {f"{name.partition('.')[0]}64.{name.partition('.')[2]}": value for name, value in final.items()}
    return {**io, **renamed, "z": io["noise"], "grad_norm_D64": io["grad_norm_D64"].T}


# --- inputs -----------------------------------------------------------------------------------------------------------


def double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def text_of(io: Mapping[str, Tensor]) -> TextFeatures | None:
    if "words_embs" in io:
        return TextFeatures(io["words_embs"].double(), io["sent_emb"].double(), io["mask"])
    return TextFeatures.of_sentences(io["sentence"].double()) if "sentence" in io else None


def noise_of(io: Mapping[str, Tensor], step: int | None = None) -> GeneratorNoise:
    """Stage II of StackGAN reads noise for its own conditioning augmentation first, then for stage I's."""
    z, *drawn = (
        (io[name] if step is None else io[name][step]).double() for name in ("z", "eps", "eps_stage1") if name in io
    )
    return GeneratorNoise(z, torch.cat(drawn, 1) if drawn else z.new_empty(len(z), 0))


def noises_of(io: Mapping[str, Tensor]) -> Iterator[GeneratorNoise]:
    return (noise_of(io, step) for step in range(len(io["z"])))


def real_images(io: Mapping[str, Tensor], sides: Collection[int]) -> tuple[Tensor, ...]:
    largest = max(sides)
    times = largest // io["real16_u8"].shape[-1]
    images = io["real16_u8"].double().repeat_interleave(times, 2).repeat_interleave(times, 3) / 127.5 - 1
    return tuple(images if side == largest else F.avg_pool2d(images, largest // side) for side in sides)


def batch_of(io: Mapping[str, Tensor], sides: Collection[int]) -> TextImageBatch:
    """What the data module would give; captions are told by their lengths alone, since the text features are given."""
    images = real_images(io, sides)
    size = len(images[0])
    ids = (~io["mask"]).long() if "mask" in io else torch.ones(size, 1, dtype=torch.long)
    lengths = io.get("cap_lens", torch.ones(size, dtype=torch.long))
    embedding = None if "sentence" not in io else io["sentence"].double()
    unmirrored = torch.zeros(size, dtype=torch.bool)
    captions = CaptionBatch(ids, lengths)
    return TextImageBatch(images, captions, io.get("class_ids"), torch.arange(size), unmirrored, embedding)


# --- training ---------------------------------------------------------------------------------------------------------


class Recorder(Callback):
    """What is logged of each step, and the gradients at each update: of the generator (0), then the discriminators."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.gradient_norms: dict[int, list[float]] = defaultdict(list)
        self.first_gradients: dict[int, dict[str, Tensor]] = {}
        self.learning_rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        optimizers = pl_module.optimizers()
        which = [one.optimizer is optimizer or one is optimizer for one in optimizers].index(True)
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        gradients = {n: p.grad for n, p in pl_module.named_parameters() if id(p) in updated and p.grad is not None}
        norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients.values()]))
        self.gradient_norms[which].append(float(norm))
        if which not in self.first_gradients:
            self.first_gradients[which] = {name: g.detach().clone() for name, g in gradients.items()}
        if which == 0:
            self.learning_rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.losses.append({name: float(value) for name, value in trainer.callback_metrics.items()})


class Repeated(LightningDataModule):
    """The same batch again and again."""

    def __init__(self, batch: TextImageBatch, times: int, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.batches = [batch] * times
        self.image_size, self.stages = batch.images[-1].shape[-1], len(batch.images)
        self.vocabulary = vocabulary
        self.text_embeddings = None
        self.batch_size = len(batch.indices)

    def batches_of_training(self) -> tuple[int, int, bool]:
        return self.batch_size * len(self.batches), self.batch_size, True

    def train_dataloader(self) -> DataLoader[TextImageBatch]:
        return DataLoader(self.batches, batch_size=None)


def quiet_trainer(epochs: int, *callbacks: Callback, precision: str = "64-true") -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        precision=precision,
    )


def objective(recipe: str) -> dict[str, Any]:
    """The arguments of `GANModule` that a recipe sets, but for the networks."""
    model = yaml.safe_load((REPOSITORY / "configs" / f"{recipe}.yaml").read_text())["model"]
    groups = {"rates": Rates, "ema": EMA, "r1": R1}
    own = {name: value for name, value in model.items() if name not in ("generator", "discriminators", "damsm")}
    return {name: groups[name](**_tuples(value)) if name in groups else value for name, value in own.items()}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def with_golden_numbers(arguments: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """A recipe's objective with the numbers of a golden run: weights and learning rates, by the published names."""
    changed = dict(arguments)
    rates = changed.get("rates", Rates())
    changed["rates"] = replace(
        rates,
        generator=config.get("lr_G", config.get("lr")),
        discriminator=config.get("lr_D", config.get("lr")),
        betas=tuple(config["betas"]),
        halved_every=config.get("LR_DECAY_EPOCH"),
    )
    coefficients = {"KL": config["COEFF.KL"]} if "COEFF.KL" in config else config.get("COEFF", {})
    if "KL" in coefficients:
        changed["kl"] = coefficients["KL"]
    if "COLOR_LOSS" in coefficients:
        changed["color_consistency"] = coefficients["COLOR_LOSS"]
    if "SMOOTH" in config:
        changed["matching"] = config["SMOOTH"]["LAMBDA"]
    # the golden averages are of weights alone
    changed["ema"] = replace(changed.get("ema", EMA()), buffers="published")
    return changed


@dataclass(frozen=True)
class Trained:
    """A module after a golden run's steps, what was recorded, and the run's numbers."""

    module: GANModule
    recorder: Recorder
    networks: list[Translated]  # the generator, then the discriminators
    io: dict[str, Tensor]
    arguments: dict[str, Any]


def train_golden(run: GoldenRun, part: str, folder: Path, patch: pytest.MonkeyPatch) -> Trained:
    """Trains as the golden run did, by `GANModule` and Lightning's trainer, on its batch and noise, in float64."""
    io, config = run.arrays(part), run.config(part)
    generator, (discriminators, stages) = run.generator(), run.discriminators()
    arguments = with_golden_numbers(objective(RECIPES[run.variant]), config)
    smooth = config.get("SMOOTH", {})
    damsm = run.damsm(tuple(smooth[f"GAMMA{i}"] for i in (1, 2, 3))) if smooth else None
    path = None
    if damsm is not None:
        path = folder / "damsm.ckpt"
        state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
        torch.save({ENTRY: {"kind": "damsm", "damsm": damsm.describe()}, "state_dict": state}, path)
    if "wrong_image_of_caption" in io:  # the published loader drew them
        images = io["wrong_image_of_caption"]
        pairs = WrongPairs(images, torch.arange(len(images)))
        patch.setitem(WRONG_PAIRS, arguments["wrong_pairs"], lambda lengths, classes: pairs)
    module = GANModule(generator.network, discriminators, path, **arguments)
    noise = noises_of(io)
    patch.setattr(generator.network, "draw_noise", lambda batch: next(noise))
    if module.damsm is not None:  # the golden runs' text encoder gives recorded features
        text = text_of(io)
        patch.setattr(module.damsm.text_encoder, "forward", lambda captions, draws=None: text)
    steps = len(io["z"])
    epochs = steps if "lr" in io else 1  # where the learning rate changes, each step was an epoch
    data = Repeated(
        batch_of(io, generator.network.image_sizes), steps // epochs, damsm.vocabulary if damsm is not None else None
    )
    recorder = Recorder()
    quiet_trainer(epochs, recorder).fit(module, data)
    assert module.steps == steps
    assert next(noise, None) is None
    return Trained(module, recorder, [generator, *stages], io, arguments)
