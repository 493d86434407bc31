"""Three steps of DAMSM pretraining, as published: forward, the four losses, clipped text encoder, one Adam for both."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from attngan.losses.matching import matching_loss
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk
from attngan.networks.published import (
    IMAGE_ENCODER_KEYS,
    TEXT_ENCODER_KEYS,
    image_encoder_sizes,
    image_encoder_state,
    published_names,
    text_encoder_sizes,
    text_encoder_state,
)
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, TrunkFeatures
from tests.networks.comparison import assert_close, tensors


class Colours(ImageTrunk):
    """The golden run's image network: the colours of 17 x 17 places, and of the whole image."""

    region_channels = pooled_channels = 3

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size

    def features(self, images: torch.Tensor) -> TrunkFeatures:
        return TrunkFeatures(F.adaptive_avg_pool2d(images, 17), images.mean((2, 3)))


@pytest.mark.golden
def test_three_steps_equal_the_published_ones(golden, golden_notes):
    arrays, config = golden("damsm_steps"), golden_notes("damsm_steps")["config"]
    g, published_text, published_image = tensors(arrays), tensors(arrays, "T."), tensors(arrays, "E.")
    text_encoder = TextEncoder(**text_encoder_sizes(published_text), dropout=0.0)
    text_encoder.load_state_dict(text_encoder_state(published_text))
    trunk = Colours(g["images"].shape[-1])
    image_encoder = ImageEncoder(trunk, **image_encoder_sizes(published_image))
    image_encoder.load_state_dict(image_encoder_state(published_image, trunk))
    adam = torch.optim.Adam(
        [*text_encoder.parameters(), *image_encoder.parameters()], config["lr"], betas=tuple(config["betas"])
    )
    captions = CaptionBatch(g["captions"], g["cap_lens"])
    for step, images in enumerate(g["images"]):
        loss = matching_loss(
            image_encoder(images),
            text_encoder(captions),
            g["class_ids"],
            *(config[f"GAMMA{i}"] for i in (1, 2, 3)),
        )
        assert_close(torch.stack(loss), g["losses_w0_w1_s0_s1"][step])
        adam.zero_grad()
        loss.total.backward()
        grad_norm = clip_grad_norm_(text_encoder.parameters(), config["RNN_GRAD_CLIP"])
        assert_close(grad_norm, g["rnn_grad_norm_before_clip"][step])
        adam.step()
    for prefix, encoder, key_map in (
        ("final.T.", text_encoder, TEXT_ENCODER_KEYS),
        ("final.E.", image_encoder, IMAGE_ENCODER_KEYS),
    ):
        final = tensors(arrays, prefix)
        assert len(encoder.state_dict()) == len(final)
        for name, weight in encoder.state_dict().items():
            (theirs,) = published_names(name, key_map)
            # Adam divides by the gradient's size: where that is near 0, rounding decides
            assert_close(weight, final[theirs], relative=1e-4)
