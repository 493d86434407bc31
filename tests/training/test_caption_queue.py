"""Captions of earlier batches as wrong ones."""

import copy

import pytest
import torch
from torch import nn

from attngan.losses.matching import matching_loss
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, ImageFeatures
from attngan.training.caption_queue import CaptionQueue

EMBED = 6


@pytest.fixture
def encoder():
    return TextEncoder(20, embed_dim=EMBED, word_dim=4).eval().requires_grad_(False)


def captions(count, longest):
    lengths = torch.randint(2, longest + 1, (count,))
    lengths[0] = longest
    ids = torch.randint(1, 20, (count, longest))
    return CaptionBatch(ids.masked_fill(torch.arange(longest) >= lengths[:, None], 0), lengths)


def test_it_keeps_the_last_captions_after_the_batchs_own(encoder):
    queue = CaptionQueue(5, EMBED)
    batches = [captions(3, longest) for longest in (4, 7, 5)]
    classes = [torch.arange(3) + 10 * i for i in range(3)]
    for batch, of_batch in zip(batches[:2], classes, strict=False):
        queue.add(encoder(batch), of_batch)
    text = encoder(batches[2])
    both, all_classes = queue.beside(text, classes[2])
    assert all_classes[:3].tolist() == [20, 21, 22]
    assert sorted(all_classes[3:].tolist()) == [1, 2, 10, 11, 12]  # the oldest one is gone
    expected = {int(c): encoder(b) for b, of in zip(batches, classes, strict=True) for c in of}
    for row, of_row in enumerate(all_classes.tolist()):
        alone = expected[of_row]
        length = int((~alone.padding[of_row % 10]).sum())
        assert int((~both.padding[row]).sum()) == length
        torch.testing.assert_close(both.sentence[row], alone.sentence[of_row % 10])
        torch.testing.assert_close(both.words[row, :, :length], alone.words[of_row % 10, :, :length])
    assert both.words.shape[2] == 7


def test_an_empty_one_changes_nothing(encoder):
    text, classes = encoder(captions(3, 4)), torch.arange(3)
    assert CaptionQueue(5, EMBED).beside(text, classes) == (text, classes)


def test_it_goes_on_from_its_state(encoder):
    queue = CaptionQueue(5, EMBED)
    queue.add(encoder(captions(4, 6)), torch.arange(4))
    again = CaptionQueue(5, EMBED)
    again.load_state_dict(copy.deepcopy(queue.state_dict()))
    own = encoder(captions(3, 5))
    for _ in range(2):
        for one, other in zip(queue.beside(own, None)[0], again.beside(own, None)[0], strict=True):
            assert torch.equal(one, other)
        queue.add(own, None)
        again.add(own, None)


@pytest.mark.parametrize(
    "of_another_form",
    [
        CaptionQueue(7, EMBED).state_dict(),  # of another size
        {
            "ids": torch.ones(5, 4, dtype=torch.int64),
            "lengths": torch.ones(5),
            "seen": torch.tensor(9),
        },  # of before
    ],
)
def test_one_of_another_form_is_collected_anew_and_said(encoder, of_another_form, recwarn):
    queue = CaptionQueue(5, EMBED)
    weights = {f"caption_queue.{name}": tensor for name, tensor in of_another_form.items()}
    nn.ModuleDict({"caption_queue": queue}).load_state_dict({**weights})
    assert any("collected anew" in str(warning.message) for warning in recwarn)
    own = encoder(captions(3, 5))
    assert queue.beside(own, None)[0] is own  # nothing of the file
    queue.add(own, None)
    torch.testing.assert_close(queue.beside(own, None)[0].sentence, torch.cat([own.sentence, own.sentence]))


def test_longer_captions_are_cut(encoder):
    queue = CaptionQueue(5, EMBED, word_limit=4)
    long, own = encoder(captions(2, 9)), encoder(captions(3, 3))
    queue.add(long, None)
    both, _ = queue.beside(own, None)
    assert both.words.shape == (5, EMBED, 4)
    assert torch.equal(both.words[3:], long.words[:, :, :4])


def test_further_captions_count_as_wrong_ones_but_for_those_of_the_class(encoder):
    own, others = captions(3, 4), captions(2, 4)
    joined = CaptionBatch(torch.cat([own.ids, others.ids]), torch.cat([own.lengths, others.lengths]))
    image = ImageFeatures(torch.randn(3, EMBED, 4), torch.randn(3, EMBED))
    classes = torch.tensor([0, 1, 2, 0, 5])
    loss = matching_loss(image, encoder(joined), classes)
    sentences = encoder(joined).sentence
    expected = 0.0
    for i in range(3):
        scores = [10 * torch.cosine_similarity(image.pooled[i], sentences[j], 0) for j in range(5)]
        kept = [s for j, s in enumerate(scores) if j == i or classes[j] != classes[i]]
        expected -= float(scores[i] - torch.stack(kept).logsumexp(0)) / 3
    assert float(loss.sentence_to_caption) == pytest.approx(expected, rel=1e-4)
    # which image a caption belongs to is asked of the batch's own captions alone
    alone = matching_loss(image, encoder(own), classes[:3])
    torch.testing.assert_close(loss.sentence_to_image, alone.sentence_to_image)
    torch.testing.assert_close(loss.words_to_image, alone.words_to_image)
    assert loss.words_to_caption > alone.words_to_caption
