"""A step asks the device for nothing: no number, no copy, no operator whose result's size depends on the data.

Where a card is, torch itself tells of waits. On a CPU what would be one on a card is looked for by name, in Python's
calls and in the operators that they come to, backward pass included.
"""

from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

from attngan.training import caption_queue
from attngan.training.finite import FiniteCheck, NonFiniteLossError
from tests.tiny import write_damsm
from tests.training.several import CASES, STEPS, Case, Dealt

#: Calls that bring a tensor's numbers to Python, or a tensor to the CPU.
ASKING = {f"torch.Tensor.{name}" for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__")}
#: Calls that bring numbers of Python's to a device.
BRINGING = {"torch.tensor", "torch.as_tensor", "torch.Tensor.new_tensor", "torch.from_numpy"}
#: Operators that wait, or whose results have a size that the numbers decide.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}


class OnTheCPU:
    """Tensors that lie on the CPU wherever the training runs: a batch's lengths, and what came over without waiting."""

    def __init__(self) -> None:
        self.places: set[int] = set()
        self.watched = False

    def add(self, tensor: Tensor) -> None:
        self.places.add(tensor.untyped_storage().data_ptr())

    def __contains__(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() in self.places


class NoCalls(TorchFunctionMode):
    def __init__(self, on_the_cpu: OnTheCPU) -> None:
        self.on_the_cpu = on_the_cpu

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = resolve_name(function), kwargs or {}
        if name in ASKING | BRINGING:
            assert args[0] in self.on_the_cpu or not self.on_the_cpu.watched, f"{name} waits for a device"
        if name == "torch.Tensor.to" and args[1:2] == ("cpu",):
            assert kwargs.get("non_blocking"), "a copy to the CPU waits for a device"
            self.on_the_cpu.add(args[0])
        return function(*args, **kwargs)


class NoOperators(TorchDispatchMode):
    def __init__(self, on_the_cpu: OnTheCPU) -> None:
        super().__init__()
        self.on_the_cpu = on_the_cpu

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operator._schema.name.removeprefix("aten::")
        if name in WAITING and self.on_the_cpu.watched:
            assert args[0] in self.on_the_cpu, f"{name} waits for a device"
        if name.startswith("index") and self.on_the_cpu.watched:  # by truth values: the places are looked for first
            by = args[1] if isinstance(args[1], list | tuple) else []
            assert not any(isinstance(index, Tensor) and index.dtype == torch.bool for index in by), name
        result = operator(*args, **(kwargs or {}))
        if name == "_pack_padded_sequence":  # sizes of batches, for the CPU
            self.on_the_cpu.add(result[1])
        return result


class NothingIsWaitedFor(Callback):
    """From the second step on: the first one prepares, and is logged."""

    def __init__(self) -> None:
        self.modes: list[Any] = []
        self.on_the_cpu = OnTheCPU()
        self.watched = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.on_the_cpu.add(batch.captions.lengths)
        self.on_the_cpu.watched = batch_idx > 0
        self.watched += self.on_the_cpu.watched
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("error" if self.on_the_cpu.watched else "default")
        else:
            self.modes = [NoCalls(self.on_the_cpu), NoOperators(self.on_the_cpu)]
            for mode in self.modes:
                mode.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        self.close()

    def on_exception(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
        while self.modes:
            self.modes.pop().__exit__(None, None, None)


def steps(case: Case, damsm: Any, *callbacks: Callback, module: LightningModule | None = None) -> None:
    trainer = Trainer(
        max_epochs=1,
        accelerator="auto",
        devices=1,
        use_distributed_sampler=False,
        logger=False,
        log_every_n_steps=100,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
    )
    trainer.fit(module or case.make(damsm), Dealt(case.sides, case.size, 1, 0))


@pytest.fixture
def damsm(tmp_path):
    from attngan.text.vocabulary import Vocabulary
    from tests.tiny import CAPTIONS

    return write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_nothing(name, damsm, monkeypatch):
    monkeypatch.setattr(FiniteCheck, "_waits", lambda *_: True)  # as on a GPU
    monkeypatch.setattr(caption_queue, "_places_of", lambda padding: padding.shape[1])
    watch = NothingIsWaitedFor()
    steps(CASES[name], damsm, watch)
    assert watch.watched == STEPS - 1


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: x.new_tensor([1.0]),
        lambda x: x.nonzero(),
    ],
)
def test_a_wait_is_found(wait, damsm, monkeypatch):
    case = CASES["AttnGAN"]
    module = case.make(damsm)
    encode = module.encode_text
    monkeypatch.setattr(module, "encode_text", lambda batch: (wait(batch.images[0]), encode(batch))[1])
    monkeypatch.setattr(FiniteCheck, "_waits", lambda *_: True)
    with pytest.raises((AssertionError, RuntimeError)):
        steps(case, damsm, NothingIsWaitedFor(), module=module)


class Spoils(Callback):
    """Makes a term of a step's loss not finite."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.monkeypatch, self.at, self.ended = monkeypatch, at, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.at:
            spoilt = "attngan.training.gan_module.kl_divergence"
            self.monkeypatch.setattr(spoilt, lambda mean, _: mean.sum() * torch.nan)

    def on_train_batch_end(self, *_: Any) -> None:
        self.ended += 1


@pytest.mark.parametrize(("waits", "ended"), [(False, 0), (True, 1)])
def test_what_is_not_finite_is_told_at_once_or_a_step_later(waits, ended, damsm, monkeypatch):
    monkeypatch.setattr(FiniteCheck, "_waits", lambda *_: waits)
    spoils = Spoils(monkeypatch, 0)
    with pytest.raises(NonFiniteLossError, match="generator/kl = nan"):
        steps(CASES["AttnGAN"], damsm, spoils)
    assert spoils.ended == ended


def test_no_checkpoint_is_written_of_what_was_not_looked_at(damsm, monkeypatch):
    monkeypatch.setattr(FiniteCheck, "_waits", lambda *_: True)
    case = CASES["AttnGAN"]
    module = case.make(damsm)
    with pytest.raises(NonFiniteLossError, match="generator/kl = nan"):
        steps(case, damsm, Spoils(monkeypatch, STEPS - 1), Saves(), module=module)


class Saves(Callback):
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        pl_module.on_save_checkpoint({})
