"""Parts of training on several devices that one process can show; the whole is in test_global_batch.py."""

import copy
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from attngan.errors import InputError
from attngan.training.batch_norm import GlobalBatchNorm, SynchronisedBatchNorm
from attngan.training.gan_module import GANModule
from attngan.training.strategy import GlobalBatchStrategy, in_one_piece, require_global_batch
from tests.tiny import gan


def test_a_collective_meets_all_tensors_of_a_type_in_one_piece():
    tensors = [torch.ones(2, 3), torch.arange(4), torch.full((), 5.0), torch.empty(0)]
    pieces = []

    def twice(flat: torch.Tensor) -> None:
        pieces.append(flat.clone())
        flat.mul_(2)

    in_one_piece(tensors, twice)
    assert [piece.tolist() for piece in pieces] == [[1.0] * 6 + [5.0], [0, 1, 2, 3]]
    assert [tensor.tolist() for tensor in tensors] == [[[2.0] * 3] * 2, [0, 2, 4, 6], 10.0, []]


def test_strategies_that_would_train_otherwise_are_refused(monkeypatch):
    module = gan(None, matching=0.0)

    def on(strategy: DDPStrategy, devices: int) -> None:
        monkeypatch.setattr(GANModule, "trainer", SimpleNamespace(strategy=strategy, world_size=devices))
        require_global_batch(module)

    on(GlobalBatchStrategy(), 2)
    on(DDPStrategy(), 1)
    with pytest.raises(InputError, match=r"trainer\.strategy is DDPStrategy, under which 2 devices .* leave it out"):
        on(DDPStrategy(), 2)


def test_batch_norms_that_learn_are_replaced_and_come_back():
    module = gan(None, matching=0.0)
    names, plain = [*module.state_dict()], module.generator.stem.norm
    plugin = GlobalBatchNorm()
    plugin.apply(module)
    assert isinstance(module.generator.stem.norm, SynchronisedBatchNorm)
    assert [*module.state_dict()] == names
    assert not any(isinstance(part, SynchronisedBatchNorm) for part in module.ema.modules())  # draws in eval mode
    module.double()
    module.generator.stem.norm.running_mean += 1
    plugin.revert(module)
    assert module.generator.stem.norm is plain
    assert plain.weight.dtype == torch.float64
    assert torch.equal(plain.running_mean, torch.ones_like(plain.running_mean))
    assert not any(isinstance(part, SynchronisedBatchNorm) for part in module.modules())


@pytest.mark.parametrize(
    "plain", [nn.BatchNorm1d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, momentum=None)]
)
def test_in_eval_mode_it_is_the_batch_norm_that_it_was(plain):
    parent = nn.Sequential(copy.deepcopy(plain))
    GlobalBatchNorm().apply(parent)
    x = torch.randn(4, 3, *([] if isinstance(plain, nn.BatchNorm1d) else [2, 2]))
    assert torch.equal(parent.eval()(x), plain.eval()(x))
