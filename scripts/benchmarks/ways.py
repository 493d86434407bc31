"""The ways to do each kind of work: the published form, and what our command line runs."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import published_networks as networks
from benchmarks import published_steps as steps
from benchmarks.inputs import Inputs
from benchmarks.turns import Turns

REPOSITORY = Path(__file__).parents[2]
#: A way works on inputs, turn after turn, and never returns.
Way = Callable[[Inputs, Turns], None]
PUBLISHED, OURS = "published", "ours"


# --- the published form -----------------------------------------------------------------------------------------------


def _published_encoders(inputs: Inputs) -> tuple[networks.TextEncoder, networks.ImageEncoder]:
    sizes = inputs.sizes
    trunk = networks.InceptionTrunk(torch.load(inputs.inception(), weights_only=True))
    return networks.TextEncoder(sizes.vocabulary, sizes.embed), networks.ImageEncoder(trunk, embed=sizes.embed)


def published_damsm(inputs: Inputs, turns: Turns) -> None:
    text, image = _published_encoders(inputs)
    players = steps.DAMSMPlayers(text.train(), image.train())  # batch norm on batch statistics, as published
    (ids, lengths, classes), images = inputs.captions(), inputs.images(299)
    turns.repeat(lambda: steps.damsm_step(players, ids, steps.Batch(images, lengths, classes)))


def published_words(inputs: Inputs, turns: Turns) -> None:
    regions, words, pooled, sentence = inputs.features()
    _, lengths, classes = inputs.captions()
    batch = steps.Batch([], lengths, classes)

    def step() -> None:
        regions.grad = words.grad = None
        terms = steps.words_loss(regions, words, batch) + steps.sentence_loss(pooled, sentence, batch)
        sum(terms).backward()  # type: ignore[union-attr]

    turns.repeat(step)


def _published_staged(inputs: Inputs, turns: Turns, memory: bool) -> None:
    sizes = inputs.sizes
    text, image = (network.eval().requires_grad_(False) for network in _published_encoders(inputs))
    fusion = networks.Memory if memory else networks.WordAttention
    generator = networks.StagedGenerator(fusion, sizes.width, sizes.embed, side=sizes.sides[0], stages=sizes.stages)
    width = sizes.discriminator_width
    judges = [networks.StageDiscriminator(side, width, sizes.embed, memory) for side in sizes.sides]
    players = steps.Players(generator, judges, image)
    (ids, lengths, classes), images = inputs.captions(), inputs.images(*sizes.sides)
    latent, noise = torch.empty(sizes.batch, generator.noise), torch.empty(sizes.batch, generator.condition)

    def step() -> None:
        with torch.no_grad():
            words, sentence = text(ids, lengths)
        encoded = steps.Text(words, sentence, ids[:, : words.shape[2]] == 0)
        steps.staged_step(players, steps.Batch(images, lengths, classes), encoded, latent.normal_(), noise.normal_())

    turns.repeat(step)


def published_attngan(inputs: Inputs, turns: Turns) -> None:
    _published_staged(inputs, turns, memory=False)


def published_dmgan(inputs: Inputs, turns: Turns) -> None:
    _published_staged(inputs, turns, memory=True)


def published_dfgan(inputs: Inputs, turns: Turns) -> None:
    sizes = inputs.sizes
    text = networks.TextEncoder(sizes.vocabulary, sizes.embed).eval().requires_grad_(False)
    generator = networks.DFGANGenerator(sizes.side, sizes.width, sizes.embed)
    judge = networks.DFGANDiscriminator(sizes.side, sizes.width, sizes.embed)
    players = steps.Players(generator, [judge], None, (1e-4, 4e-4), (0.0, 0.9))
    (ids, lengths, _), (image,) = inputs.captions(), inputs.images(sizes.side)

    def step() -> None:
        with torch.no_grad():
            _, sentence = text(ids, lengths)
        steps.dfgan_step(players, image.detach(), sentence, torch.randn(sizes.batch, generator.noise))

    turns.repeat(step)


def published_generator(inputs: Inputs, turns: Turns) -> None:
    sizes = inputs.sizes
    text = networks.TextEncoder(sizes.vocabulary, sizes.embed).eval()
    generator = networks.StagedGenerator(width=sizes.width, embed=sizes.embed, side=sizes.sides[0]).eval()
    ids, lengths, _ = inputs.captions()

    @torch.no_grad()
    def draw() -> None:
        words, sentence = text(ids, lengths)
        latent, noise = torch.randn(sizes.batch, generator.noise), torch.randn(sizes.batch, generator.condition)
        generator(latent, noise, sentence, words, ids[:, : words.shape[2]] == 0)

    turns.repeat(draw)


def published_features(inputs: Inputs, turns: Turns) -> None:
    trunk = networks.InceptionTrunk(torch.load(inputs.inception(), weights_only=True)).eval()
    (images,) = inputs.images(256)

    @torch.no_grad()
    def features() -> None:
        trunk(images)

    turns.repeat(features)


def published_loader(workers: int) -> Way:
    def way(inputs: Inputs, turns: Turns) -> None:
        from torch.utils.data import DataLoader

        from attngan.data.sources.registry import read_source
        from benchmarks.published_loader import PublishedDataset

        sizes = inputs.sizes
        images = read_source("folder", str(inputs.photographs()))["train"]
        loader: Any = DataLoader(
            PublishedDataset(images, sizes.sides),  # type: ignore[arg-type]
            sizes.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        turns.repeat(lambda: _drain(loader), units=len(loader) * sizes.batch)

    return way


def _drain(batches: Any) -> None:
    for _ in batches:
        pass


# --- ours -------------------------------------------------------------------------------------------------------------


def trained(command: str, recipe: str, options: Callable[[Inputs], dict[str, Any]]) -> Way:
    """What `attngan train` or `attngan pretrain` does with a recipe, a batch a turn: data, step and log."""

    def way(inputs: Inputs, turns: Turns) -> None:
        from pytorch_lightning import Callback

        from attngan.commands import train

        class EachBatch(Callback):
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                first = trainer.fit_loop.total_batch_idx == 0
                told = {name: float(value) for name, value in trainer.callback_metrics.items()} if first else {}
                turns.done(told=told)

        run = inputs.folder / "run"
        shutil.rmtree(run, ignore_errors=True)  # of the run before, which ended in its middle
        common = {"run_dir": run, "logger": "none", "data.workers": 0, "trainer.max_epochs": 1_000_000}
        arguments = _arguments(recipe, common | {"trainer.accelerator": "cpu"} | options(inputs))
        getattr(train, command)(arguments, [EachBatch()])

    return way


def _arguments(recipe: str, options: dict[str, Any]) -> list[str]:
    """A recipe of ours with some of its values changed."""
    changed = [part for name, value in options.items() for part in (f"--{name}", _spelled(value))]
    return ["--config", str(REPOSITORY / "configs" / recipe), *changed]


def _spelled(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _data(inputs: Inputs, image_size: int, stages: int) -> dict[str, Any]:
    return {f"data.{name}": value for name, value in inputs.data_options(image_size, stages).items()}


def staged_options(inputs: Inputs) -> dict[str, Any]:
    sizes = inputs.sizes
    generator, discriminators = "model.generator.init_args", "model.discriminators.init_args"
    return {
        **_data(inputs, sizes.side, sizes.stages),
        **_gan_options(inputs),
        f"{generator}.stages": sizes.stages,
        f"{generator}.base_size": sizes.sides[0],
        f"{generator}.width": sizes.width,
        f"{generator}.embed_dim": sizes.embed,
        f"{discriminators}.resolutions": sizes.sides,
        f"{discriminators}.width": sizes.discriminator_width,
        f"{discriminators}.embed_dim": sizes.embed,
    }


def _gan_options(inputs: Inputs) -> dict[str, Any]:
    return {"model.damsm": inputs.damsm(), "pictures.every_steps": 0, "checkpoints.every_epochs": 1_000_000}


def dfgan_options(inputs: Inputs) -> dict[str, Any]:
    sizes = inputs.sizes
    generator, discriminators = "model.generator.init_args", "model.discriminators.init_args"
    return {
        **_data(inputs, sizes.side, 1),
        **_gan_options(inputs),
        f"{generator}.image_size": sizes.side,
        f"{generator}.width": sizes.width,
        f"{generator}.embed_dim": sizes.embed,
        f"{discriminators}.resolution": sizes.side,
        f"{discriminators}.width": sizes.discriminator_width,
        f"{discriminators}.embed_dim": sizes.embed,
    }


def damsm_options(inputs: Inputs) -> dict[str, Any]:
    return {
        **_data(inputs, 299, 1),
        **_without_validation(inputs),
        "model.image_trunk.init_args.weights": inputs.inception(),
    }


def kept_options(inputs: Inputs) -> dict[str, Any]:
    return {
        **_data(inputs, 64, 1),
        **_without_validation(inputs),
        "model.keep_features": inputs.folder / "kept_features",
    }


def _without_validation(inputs: Inputs) -> dict[str, Any]:
    never = {"trainer.limit_val_batches": 0, "checkpoints.best_by": None, "checkpoints.every_epochs": 1_000_000}
    return {**never, "model.embed_dim": inputs.sizes.embed}


def ours_words(inputs: Inputs, turns: Turns) -> None:
    from attngan.losses.matching import matching_loss
    from attngan.records import ImageFeatures, TextFeatures

    regions, words, pooled, sentence = inputs.features()
    _, lengths, classes = inputs.captions()
    padding = torch.arange(inputs.sizes.words) >= lengths[:, None]

    def step() -> None:
        regions.grad = words.grad = None
        image, text = ImageFeatures(regions.flatten(2), pooled), TextFeatures(words, sentence, padding)
        matching_loss(image, text, classes).total.backward()

    turns.repeat(step)


def ours_generator(inputs: Inputs, turns: Turns) -> None:
    from attngan.networks.multistage import AttnGANGenerator
    from attngan.networks.text_encoder import TextEncoder
    from attngan.records import CaptionBatch
    from attngan.sampling import Sampler

    sizes = inputs.sizes
    generator = AttnGANGenerator(width=sizes.width, embed_dim=sizes.embed, base_size=sizes.sides[0])
    text = TextEncoder(sizes.vocabulary, sizes.embed)
    sampler = Sampler(generator, text)
    ids, lengths, _ = inputs.captions()

    @torch.inference_mode()
    def draw() -> None:
        sampler.draw_features(text(CaptionBatch(ids, lengths)), range(sizes.batch))

    turns.repeat(draw)


def ours_features(inputs: Inputs, turns: Turns) -> None:
    from attngan.extractors.named import load_extractor

    network = load_extractor("inception-torchvision", inputs.inception())
    (images,) = inputs.images(256)
    pixels = ((images + 1) * 127.5).to(torch.uint8)
    turns.repeat(lambda: network(pixels))


def ours_loader(workers: int) -> Way:
    def way(inputs: Inputs, turns: Turns) -> None:
        from attngan.data.datamodule import TextImageDataModule

        options: dict[str, Any] = inputs.data_options(inputs.sizes.side, inputs.sizes.stages)
        data = TextImageDataModule(workers=workers, **options)
        data.setup()
        loader = data.train_dataloader()
        epochs = max(1, 1920 // inputs.sizes.images) if inputs.sizes.images > 100 else 1

        def read() -> None:
            for _ in range(epochs):
                for batch in loader:
                    data.on_after_batch_transfer(batch)

        turns.repeat(read, units=epochs * len(loader) * inputs.sizes.batch)

    return way


# --- from the start of a program to its end ---------------------------------------------------------------------------


def command(*arguments: str, prepared: Callable[[Inputs], Sequence[str]] = lambda inputs: ()) -> Way:
    """A run of our command line, from the start of Python to its end."""

    def way(inputs: Inputs, turns: Turns) -> None:
        given = [*arguments, *prepared(inputs)]
        turns.repeat(lambda: _attngan(*given))

    return way


def whole_checkpoint(inputs: Inputs) -> Path:
    """What `attngan train` leaves after one step of the row's sizes: networks, optimisers, average, DAMSM."""
    path = inputs.folder / f"attngan_{inputs.sizes.width}.ckpt"
    if not path.is_file():
        with tempfile.TemporaryDirectory(dir=inputs.folder) as run:
            options = {**staged_options(inputs), "run_dir": run, "logger": "none", "trainer.accelerator": "cpu"}
            _attngan("train", *_arguments("attngan_cub.yaml", options | {"budget.steps": 1, "trainer.max_epochs": 1}))
            shutil.move(Path(run) / "checkpoints" / "last.ckpt", path)
    return path


def exported(inputs: Inputs) -> Path:
    path = inputs.folder / f"attngan_{inputs.sizes.width}.safetensors"
    if not path.is_file():
        _attngan("export", str(whole_checkpoint(inputs)), str(path))
    return path


def _attngan(*arguments: str) -> None:
    """Our command line in a process of its own."""
    subprocess.run([sys.executable, "-m", "attngan", *arguments], check=True, stdout=subprocess.DEVNULL)


def picture_of(file: Callable[[Inputs], Path]) -> Callable[[Inputs], Sequence[str]]:
    return lambda inputs: [str(file(inputs)), "w1 w2 w3 w4 w5 w6", "--out", str(inputs.folder / "samples")]
