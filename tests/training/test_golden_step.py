"""The published training step as a whole: three of them, by the module and trainer that `attngan train` runs."""

from collections import defaultdict

import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, Trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

from attngan.networks.damsm import DAMSM
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk
from attngan.networks.multistage import AttnGANGenerator
from attngan.networks.published import (
    DISCRIMINATOR_KEYS,
    GENERATOR_KEYS,
    discriminator_sizes,
    discriminator_state,
    generator_sizes,
    generator_state,
    image_encoder_sizes,
    image_encoder_state,
    published_names,
)
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, GeneratorNoise, TextFeatures, TextImageBatch, TrunkFeatures
from attngan.text.vocabulary import Vocabulary
from attngan.training.gan_module import GANModule
from attngan.training.generator_ema import EMA
from attngan.training.rates import Rates
from tests.networks.comparison import tensors

TOLERANCE = 1e-4  # Adam divides by the gradient's size: where that is near 0, rounding decides
SIDES = (64, 128, 256)


class Colours(ImageTrunk):
    """The golden run's image network: the colours of 17 x 17 places, and of the whole image."""

    region_channels = pooled_channels = 3
    input_size = 256

    def features(self, images):
        return TrunkFeatures(F.adaptive_avg_pool2d(images, 17), images.mean((2, 3)))


class Recorder(Callback):
    """The losses that are logged and the gradients at each update."""

    def __init__(self):
        self.losses = []
        self.gradients = defaultdict(list)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        which = [o.optimizer is optimizer or o is optimizer for o in pl_module.optimizers()].index(True)
        self.gradients[which].append(float(torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in parameters]))))

    def on_train_batch_end(self, trainer, *_):
        self.losses.append({name: float(value) for name, value in trainer.callback_metrics.items()})


class Repeated(LightningDataModule):
    image_size, stages = SIDES[-1], len(SIDES)

    def __init__(self, batch, times, vocabulary):
        super().__init__()
        self.batches = [batch] * times
        self.vocabulary = vocabulary

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


@pytest.fixture(scope="module")
def trained(golden, golden_notes, tmp_path_factory):
    """The module after the golden run's steps, with what was recorded."""
    state, io, config = golden("train_step_state"), tensors(golden("train_step_io")), golden_notes("train_step_io")
    config = config["config"]
    published_generator, published_image = tensors(state, "G."), tensors(state, "E.")
    published_discriminators = [tensors(state, f"D{i}.") for i in range(len(SIDES))]

    generator = AttnGANGenerator(**generator_sizes(published_generator), padding_mask="published")
    generator.load_state_dict(generator_state(published_generator))
    sizes = [discriminator_sizes(published) for published in published_discriminators]
    assert tuple(size["resolution"] for size in sizes) == SIDES
    discriminators = DiscriminatorPyramid(SIDES, sizes[0]["width"], sizes[0]["embed_dim"])
    for discriminator, published in zip(discriminators.stages, published_discriminators, strict=True):
        discriminator.load_state_dict(discriminator_state(published))
    trunk = Colours()
    image_encoder = ImageEncoder(trunk, **image_encoder_sizes(published_image))
    image_encoder.load_state_dict(image_encoder_state(published_image, trunk))
    damsm = DAMSM(
        TextEncoder(3, config["EMBEDDING_DIM"], 4),
        image_encoder,
        Vocabulary.from_captions(["bird"]),
        (config["GAMMA1"], config["GAMMA2"], config["GAMMA3"]),
    )
    text = TextFeatures(io["words_embs"], io["sent_emb"], io["mask"])

    noise = iter(zip(io["noise"], io["eps"], strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attngan.training.gan_module.load_damsm", lambda path: damsm.freeze())
        patch.setattr(damsm.text_encoder, "forward", lambda captions: text)
        patch.setattr(generator, "draw_noise", lambda batch: GeneratorNoise(*next(noise)))
        module = GANModule(
            generator,
            discriminators,
            tmp_path_factory.mktemp("golden"),
            matching=config["LAMBDA"],
            rates=Rates(config["lr"], config["lr"], tuple(config["betas"])),
            ema=EMA(0.999, buffers="published"),
            wrong_pairs="published",
        )
        largest = io["real16_u8"].repeat_interleave(16, 2).repeat_interleave(16, 3) / 127.5 - 1
        lengths, batch = io["cap_lens"], len(io["cap_lens"])
        recorder = Recorder()
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[recorder],
        )
        images = (F.avg_pool2d(largest, 4), F.avg_pool2d(largest, 2), largest)
        captions = CaptionBatch((~io["mask"]).long(), lengths)
        one = TextImageBatch(
            images, captions, io["class_ids"], torch.arange(batch), torch.zeros(batch, dtype=torch.bool)
        )
        trainer.fit(module, Repeated(one, len(io["noise"]), damsm.vocabulary))
    assert module.steps == len(io["noise"])
    assert next(noise, None) is None
    return module, recorder


@pytest.mark.golden
def test_losses_equal_the_published_ones_at_each_step(trained, golden):
    io, recorder = golden("train_step_io"), trained[1]
    names = {f"discriminator_{side}/loss": f"loss_errD{i}" for i, side in enumerate(SIDES)}
    names |= {"generator/loss": "loss_errG", "generator/kl": "loss_kl"}
    for ours, theirs in names.items():
        assert [losses[ours] for losses in recorder.losses] == pytest.approx(io[theirs], rel=TOLERANCE), ours


@pytest.mark.golden
def test_gradients_equal_the_published_ones_at_each_step(trained, golden):
    io, recorder = golden("train_step_io"), trained[1]
    # the gradient of the third step rests on two updates by Adam: float32 and float64 of the golden run differ as much
    rounding = abs(io["grad_norm_D"] / io["grad_norm_D64"] - 1).max()
    assert recorder.gradients[0] == pytest.approx(io["grad_norm_G"], rel=TOLERANCE)
    for stage, expected in enumerate(io["grad_norm_D"]):
        assert recorder.gradients[stage + 1] == pytest.approx(expected, rel=TOLERANCE + 4 * rounding), stage


def assert_same_weights(network, key_map, expected, prefix, parameters_only=False):
    entries = dict(network.named_parameters()) if parameters_only else network.state_dict()
    compared = 0
    for name, value in entries.items():
        if name.endswith("num_batches_tracked"):  # a count, not kept in the golden run
            continue
        (key,) = (n for n in published_names(name, key_map) if prefix + n in expected)
        total, norm = expected[prefix + key]
        assert float(value.double().norm()) == pytest.approx(norm, rel=TOLERANCE), name
        # a sum may cancel to nothing: it is as exact as its terms
        assert float(value.double().sum()) == pytest.approx(
            total, rel=TOLERANCE, abs=TOLERANCE * float(value.double().abs().sum())
        ), name
        compared += 1
    assert compared == sum(name.startswith(prefix) for name in expected)


@pytest.mark.golden
def test_generator_ends_as_the_published_one(trained, golden):
    assert_same_weights(trained[0].generator, GENERATOR_KEYS, golden("train_step_final"), "final.G.")


@pytest.mark.golden
@pytest.mark.parametrize("stage", range(3))
def test_discriminators_end_as_the_published_ones(trained, golden, stage):
    network = trained[0].discriminators.stages[stage]
    assert_same_weights(network, DISCRIMINATOR_KEYS, golden("train_step_final"), f"final.D{stage}.")


@pytest.mark.golden
def test_moving_average_ends_as_the_published_one(trained, golden):
    module, expected = trained[0], golden("train_step_final")
    assert_same_weights(module.ema.generator, GENERATOR_KEYS, expected, "ema.", parameters_only=True)
    for average, live in zip(module.ema.generator.buffers(), module.generator.buffers(), strict=True):
        assert torch.equal(average, live)
