"""The words' scores by a few images at once: the numbers and gradients of all at once, in bounded memory."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attngan.losses import word_scores as module
from attngan.losses.word_scores import word_scores
from attngan.networks.attention import region_contexts, region_dots, region_weights

GAMMA1, GAMMA2 = 4.0, 5.0


def plain(regions: Tensor, words: Tensor, padding: Tensor) -> Tensor:
    """Equations 7-10 with all pairs in memory, differentiated by autograd."""
    _, weights = region_weights(region_dots(regions, words), padding, GAMMA1)
    cosines = F.cosine_similarity(region_contexts(regions, weights), words.mT, dim=-1)
    return (GAMMA2 * cosines).masked_fill(padding, -torch.inf).logsumexp(2)


def inputs(images: int, captions: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    padding = torch.arange(7) >= torch.randint(1, 8, (captions, 1))
    words = torch.randn(captions, 12, 7, dtype=dtype).masked_fill(padding[:, None], 0.0)
    return torch.randn(images, 12, 20, dtype=dtype), words, padding


def scored(scores_of, regions: Tensor, words: Tensor, padding: Tensor, upstream: Tensor) -> list[Tensor]:
    regions, words = regions.clone().requires_grad_(), words.clone().requires_grad_()
    scores = scores_of(regions, words, padding)
    (scores * upstream).sum().backward()
    return [scores.detach(), regions.grad, words.grad.masked_fill(padding[:, None], 0.0)]


@pytest.mark.parametrize("kept_bytes", [0, 2 * 5 * 7 * 32 * 8, 2**30], ids=["nothing", "two images", "all"])
@pytest.mark.parametrize("at_once", [1, 300 * 7, 2**20], ids=["one", "some", "all"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_scores_and_gradients_are_those_of_all_at_once(kept_bytes, at_once, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE_CPU", at_once)
    given, upstream = inputs(6, 5, dtype), torch.randn(6, 5, dtype=dtype)
    expected = scored(plain, *given, upstream)
    found = scored(lambda *x: word_scores(*x, GAMMA1, GAMMA2, kept_bytes), *given, upstream)
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right).abs().max() <= tolerance * right.abs().max()


def test_the_gradient_is_that_of_small_differences():
    regions, words, padding = inputs(2, 3, torch.float64)

    def scores(regions: Tensor, words: Tensor) -> Tensor:
        return word_scores(regions, words.masked_fill(padding[:, None], 0.0), padding, GAMMA1, GAMMA2)

    assert torch.autograd.gradcheck(scores, (regions.requires_grad_(), words.requires_grad_()))


def test_what_is_kept_is_bounded():
    regions, words, padding = inputs(6, 5, torch.float32)
    each = 5 * 7 * (12 + 20) * 4  # dot products and contexts of an image with all captions
    all_of_it = []
    for budget in (0, 3 * each, 100 * each):
        kept: set[int] = set()
        sizes: list[int] = []

        def keep(tensor: Tensor, kept=kept, sizes=sizes) -> Tensor:
            if tensor.data_ptr() not in kept:
                kept.add(tensor.data_ptr())
                sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            word_scores(regions.requires_grad_(), words, padding, kept_bytes=budget)
        all_of_it.append(sum(sizes))
    least, some, most = all_of_it
    assert least < 6 * each / 2
    assert some - least <= 3 * each
    assert most - least == 6 * each


def test_a_backward_pass_within_autocast_is_in_float32():
    given, upstream = inputs(3, 4, torch.float32), torch.randn(3, 4)
    expected = scored(word_scores, *given, upstream)
    regions, words = (x.clone().requires_grad_() for x in given[:2])
    scores = word_scores(regions, words, given[2])
    with torch.autocast("cpu", torch.bfloat16):
        (scores * upstream).sum().backward()
    assert torch.equal(regions.grad, expected[1])


def test_it_can_be_gone_back_through_twice():
    regions, words, padding = inputs(3, 4, torch.float32)
    regions.requires_grad_()
    scores = word_scores(regions, words, padding).sum()
    once, again = (torch.autograd.grad(scores, regions, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, again)


def test_the_gradient_at_words_that_learn_nothing_is_not_computed(monkeypatch):
    regions, words, padding = inputs(4, 5, torch.float64)
    regions.requires_grad_()
    both = word_scores(regions, words.clone().requires_grad_(), padding).sum()
    (expected,) = torch.autograd.grad(both, [regions])
    alone = word_scores(regions, words, padding).sum()
    monkeypatch.setattr(torch.Tensor, "addmm_", None, raising=False)  # by which it is summed up
    (found,) = torch.autograd.grad(alone, [regions])
    assert torch.equal(found, expected)
