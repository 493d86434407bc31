"""Gradient accumulation and clipping: against plain averages and torch's own, by every count that a run keeps."""

import copy

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from attngan.data.datamodule import TextImageDataModule
from attngan.draws import Draws
from attngan.errors import InputError
from attngan.global_batch import Rows
from attngan.losses.regularizers import R1
from attngan.networks.deep_convolution import DeepConvolution, choose_weight_gradients, weight_gradients
from attngan.networks.image_trunks import ConvTrunk
from attngan.records import CaptionBatch, GeneratorNoise, TextImageBatch
from attngan.training.damsm_module import DAMSMModule
from attngan.training.descent import (
    GraphCut,
    Part,
    clipped_norm,
    in_parts,
    mean_terms,
    refuse_idle_devices,
    refuse_lonely_items,
    statistics_kept,
)
from attngan.training.gan_module import Drawing
from tests.tiny import gan


def batch_of(count: int) -> TextImageBatch:
    numbers = torch.arange(count)
    images = numbers[:, None, None, None].expand(-1, 3, 4, 4).float()
    captions = CaptionBatch(numbers[:, None] + torch.arange(3), torch.full((count,), 3))
    return TextImageBatch((images,), captions, numbers, numbers, numbers % 2 == 0)


@pytest.mark.parametrize(("count", "parts", "sizes"), [(8, 4, [2] * 4), (7, 3, [3, 2, 2]), (2, 5, [1, 1]), (5, 1, [5])])
def test_a_part_is_every_so_many_th_item(count, parts, sizes):
    batch = batch_of(count)
    found = in_parts(batch, parts)
    assert [len(part.batch.indices) for part in found] == sizes
    assert sum(part.share for part in found) == pytest.approx(1)
    for number, part in enumerate(found):
        assert part.batch.indices.tolist() == [*part.rows.mine] == [*range(number, count, parts)]
        for values in (part.batch.images[0][:, 0, 0, 0], part.batch.captions.ids[:, 0], part.batch.classes):
            assert values.tolist() == part.batch.indices.tolist()


@pytest.mark.parametrize("world", [2, 3])
def test_a_part_is_the_same_items_on_several_processes(world):
    batch, alone = batch_of(9), in_parts(batch_of(9), 2)
    each = []
    for rank in range(world):
        rows = Rows.split(9, world, rank)
        mine = slice(rows.mine.start, rows.mine.stop)
        captions = CaptionBatch(batch.captions.ids[mine], batch.captions.lengths[mine])
        own = TextImageBatch((), captions, batch.classes[mine], batch.indices[mine], batch.mirrored[mine], rows=rows)
        each.append(in_parts(own, 2))
    for parts, whole in zip(zip(*each, strict=True), alone, strict=True):
        assert [index for part in parts for index in part.batch.indices.tolist()] == whole.batch.indices.tolist()
        assert all(part.share == whole.share for part in parts)
        assert sum(part.weight for part in parts) == pytest.approx(whole.weight)


def test_terms_of_parts_are_averaged_by_their_shares():
    terms = [(0.75, {"loss": torch.tensor(4.0)}), (0.25, {"loss": torch.tensor(8.0)})]
    assert mean_terms(terms) == {"loss": torch.tensor(5.0)}


@pytest.mark.parametrize("limit", [0.1, 1.0, 100.0, None])
def test_clipping_is_torchs(limit):
    own = nn.Linear(5, 3)
    own(torch.randn(4, 5)).square().sum().backward()
    other = copy.deepcopy(own)
    for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
        theirs.grad = mine.grad.clone()
    norm = clipped_norm(own.parameters(), limit)
    expected = nn.utils.clip_grad_norm_(other.parameters(), float("inf") if limit is None else limit)
    assert torch.equal(norm, expected)
    for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_a_second_drawing_leaves_running_statistics_alone():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    network(torch.randn(8, 3))
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(8, 3)
    with statistics_kept(network):
        during = network(x)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(network(x), during)  # normalised by the batch, as ever
    assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])


def test_a_device_without_an_image_is_told_before_training():
    for fine in ((36, 4, True, 1, 4), (38, 4, True, 1, 4), (40, 12, False, 2, 2), (37, 18, False, 1, 1)):
        refuse_idle_devices(*fine)
    with pytest.raises(InputError, match=r"data\.batch_size 3 is over all devices: 4 of them need 4 images"):
        refuse_idle_devices(36, 3, True, 1, 4)
    with pytest.raises(InputError, match=r"4 of them in model\.accumulate 2 parts need 8"):
        refuse_idle_devices(36, 7, True, 2, 4)
    with pytest.raises(InputError, match=r"last batch .* would have 3 of 19 .* 4 devices: set data\.drop_last=true"):
        refuse_idle_devices(19, 4, False, 1, 4)


def test_a_batch_whose_part_has_no_item_on_some_device_is_refused():
    batch = batch_of(3)._replace(rows=Rows([range(3), range(3, 4)]))
    with pytest.raises(InputError, match=r"a batch of 4 in model\.accumulate 2 parts leaves one of 2 devices without"):
        in_parts(batch, 2)


def lonely(*arguments: object) -> None:
    refuse_lonely_items(*arguments, nn.Sequential(nn.BatchNorm1d(2)))  # type: ignore[arg-type]


def test_one_item_that_batch_norm_cannot_normalise_is_told_before_training():
    for fine in ((36, 18, False, 1), (37, 18, True, 1), (38, 18, False, 1), (36, 18, False, 9), (40, 18, True, 9)):
        lonely(*fine)
    with pytest.raises(InputError, match=r"last batch .* would have 1 of 37 .* data\.drop_last=true"):
        lonely(37, 18, False, 1)
    with pytest.raises(InputError, match=r"would have 5 of 41 .* 3 parts"):
        lonely(41, 18, False, 3)
    with pytest.raises(InputError, match=r"data\.batch_size: 1 leaves one image"):
        lonely(36, 1, True, 1)
    with pytest.raises(InputError, match=r"18 in model\.accumulate 10 parts"):
        lonely(36, 18, True, 10)
    with pytest.raises(InputError, match=r"18 on 10 devices without trainer\.sync_batchnorm leaves one image"):
        refuse_lonely_items(36, 18, True, 1, nn.BatchNorm1d(2), 10)
    refuse_lonely_items(37, 18, False, 1, nn.BatchNorm2d(2))  # over the places of an image there is enough


# --- whole modules ----------------------------------------------------------------------------------------------------


class Recorded(Trainer):
    """A Trainer for two batches, without anything around it."""

    def __init__(self, **more: object) -> None:
        options: dict[str, object] = {
            "max_epochs": 1,
            "limit_train_batches": 2,
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
        }
        super().__init__(**(options | more))  # type: ignore[arg-type]


def without_batch_norm(module: nn.Module) -> None:
    """Each batch norm becomes a constant scale: what is left of a part is a plain mean over its items."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, nn.Identity())
        else:
            without_batch_norm(child)


@pytest.fixture
def toy_data(toy_root):
    return TextImageDataModule(str(toy_root), image_size=16, stages=2, batch_size=6, workers=0)


@pytest.fixture
def tiny_gan(tiny_damsm):
    """A GAN whose losses are means over items alone: no matching loss, whose items are one another's rivals."""

    def make(**arguments: object):
        torch.manual_seed(1)
        module = gan(tiny_damsm, matching=0.0, wrong_pairs="dfgan", **arguments)
        for network in (module.generator, module.ema.generator, module.discriminators):
            without_batch_norm(network)
        return module

    return make


def gradients_of(module: nn.Module, part: Part, noise: GeneratorNoise) -> dict[str, torch.Tensor]:
    """Of the discriminators on the drawn and real images of a part of a batch, without a step."""
    module.zero_grad()
    drawing = Drawing(part, module.encode_text(part.batch), noise, Draws(0, 0, part.rows.mine))
    drawn = module._draw(drawing)
    wrong = module._wrong_sentences(part, drawn.sentence)
    for stage, features in enumerate(drawn.features):
        loss, _ = module._discriminator_objective(stage, drawing, features.detach(), drawn.sentence, wrong)
        loss.backward()
    return {n: p.grad.clone() for n, p in module.discriminators.named_parameters() if p.grad is not None}


def test_accumulated_gradients_are_the_mean_of_those_of_the_parts(tiny_gan, toy_data, monkeypatch):
    module = tiny_gan(accumulate=3)
    noises, seen = [], {}
    draw = module.generator.draw_noise

    def kept_noise(draws: Draws):
        noises.append(draw(draws))
        return noises[-1]

    monkeypatch.setattr(module.generator, "draw_noise", kept_noise)

    def whole_gradient(optimizers: list) -> None:
        if not seen:  # the discriminators' of the first batch
            seen.update({n: p.grad.clone() for n, p in module.discriminators.named_parameters() if p.grad is not None})
            seen["weights"] = copy.deepcopy(module.state_dict())

    batches = []
    monkeypatch.setattr(module, "_step", whole_gradient)  # and no step: the weights stay
    step = module.training_step
    monkeypatch.setattr(module, "training_step", keeping(batches, step))
    Recorded(limit_train_batches=1).fit(module, datamodule=toy_data)
    weights = seen.pop("weights")
    module.load_state_dict(weights)
    parts = in_parts(batches[0], 3)
    assert len(noises) == 3
    each = [gradients_of(module, part, noise) for part, noise in zip(parts, noises, strict=True)]
    for name, gradient in seen.items():
        mean = sum(part.share * found[name] for part, found in zip(parts, each, strict=True))
        torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6)


def keeping(batches: list[TextImageBatch], step):
    def kept(batch, batch_idx):  # by this name Lightning knows that it is wanted
        batches.append(batch)
        return step(batch, batch_idx)

    return kept


def trained(module, data, **options: object):
    torch.manual_seed(3)
    Recorded(**options).fit(module, datamodule=data)
    return module


def test_a_batch_in_parts_is_one_step(tiny_gan, toy_data):
    whole, parts = trained(tiny_gan(), toy_data), trained(tiny_gan(accumulate=2), toy_data)
    assert (whole.steps, whole.images_seen) == (parts.steps, parts.images_seen) == (2, 2 * toy_data.batch_size)


@pytest.mark.parametrize("limit", [0.01, None])
def test_each_player_of_a_gan_is_clipped_for_itself(tiny_gan, toy_data, monkeypatch, limit):
    module = tiny_gan(clip=limit)
    norms = []

    def kept(optimizer) -> None:
        type(module).on_before_optimizer_step(module, optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))

    monkeypatch.setattr(module, "on_before_optimizer_step", kept)
    trained(module, toy_data)
    assert len(norms) == 2 * (1 + len(module.discriminators.stages))
    assert all(norm <= 0.0101 for norm in norms) if limit else max(norms) > 0.0101


def test_norms_and_rates_are_logged(tiny_gan, toy_data):
    module = tiny_gan()
    trainer = Recorded()
    trainer.fit(module, datamodule=toy_data)
    sides = module.discriminators.resolutions
    wanted = {"generator/gradient_norm", *(f"discriminator_{side}/gradient_norm" for side in sides)}
    wanted |= {"learning_rate/generator", "learning_rate/discriminator"}
    assert wanted <= set(trainer.logged_metrics)
    assert float(trainer.logged_metrics["learning_rate/generator"]) == pytest.approx(module.rates.generator)


def damsm_module(**arguments: object) -> DAMSMModule:
    torch.manual_seed(2)
    return DAMSMModule(ConvTrunk(16, 2), embed_dim=16, word_dim=8, dropout=0.0, text_gradient_clip=1e9, **arguments)  # type: ignore[arg-type]


def test_the_damsm_in_parts_has_their_mean_gradient(toy_data, monkeypatch):
    module, seen = damsm_module(accumulate=2), []

    def kept(optimizer, *_: object, **__: object) -> None:
        seen.append({n: p.grad.clone() for n, p in module.damsm.named_parameters() if p.grad is not None})
        for p in module.damsm.parameters():
            p.grad = None  # no step

    batches = []
    step = module.training_step
    monkeypatch.setattr(module, "configure_gradient_clipping", kept)
    monkeypatch.setattr(module, "training_step", keeping(batches, step))
    Recorded(limit_train_batches=1).fit(module, datamodule=toy_data)
    assert module.images_seen == toy_data.batch_size
    module.train()
    expected: dict[str, torch.Tensor] = {}
    for part in in_parts(batches[0], 2):
        module.zero_grad()
        image, text = module.encode_images(part.batch, "train"), module.damsm.text_encoder(part.batch.captions)
        module._loss(image, text, part.batch.classes).weighted(1.0, 1.0).backward()
        for name, parameter in module.damsm.named_parameters():
            if parameter.grad is not None:
                expected[name] = expected.get(name, 0) + part.share * parameter.grad
    assert set(expected) == set(seen[0])
    for name, gradient in seen[0].items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_the_damsm_is_clipped_as_a_whole(toy_data, monkeypatch):
    module, norms = damsm_module(clip=0.01), []
    usual = module.configure_gradient_clipping

    def kept(optimizer, *_: object, **__: object) -> None:
        usual(optimizer)
        norms.append(float(nn.utils.get_total_norm([p.grad for p in module.damsm.parameters() if p.grad is not None])))

    monkeypatch.setattr(module, "configure_gradient_clipping", kept)
    Recorded().fit(module, datamodule=toy_data)
    assert len(norms) == 2
    assert all(norm <= 0.0101 for norm in norms)


@pytest.mark.parametrize(("name", "value"), [("accumulate", 0), ("clip", -1.0)])
def test_bounds(name, value, tmp_path):
    with pytest.raises(InputError, match=rf"model\.{name} is -?\d"):
        DAMSMModule(**{name: value})


def test_a_backward_pass_in_two_is_the_whole_one():
    before, behind = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
    given = torch.randn(5, 3, dtype=torch.float64)
    drawn = before(given)
    (behind(drawn).square().sum() + 3 * drawn.exp().sum()).backward()
    whole = [parameter.grad.clone() for parameter in (*before.parameters(), *behind.parameters())]
    before.zero_grad()
    behind.zero_grad()

    cut, drawn, fixed = GraphCut(), before(given), torch.ones(1)
    one, (same, other), nothing = cut((drawn, (drawn, fixed), None))
    assert one is same
    assert other is fixed
    assert nothing is None
    behind(one).square().sum().backward()
    assert all(parameter.grad is None for parameter in before.parameters())
    (3 * same.exp().sum()).backward()
    cut.backward()
    for mine, right in zip([p.grad for p in (*before.parameters(), *behind.parameters())], whole, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-12)


def test_a_graph_behind_a_cut_is_gone_once_its_term_is_done():
    drawn = nn.Linear(3, 4)(torch.randn(2, 3))
    cut = GraphCut()
    end = cut(drawn)
    for _ in range(2):
        end.exp().sum().backward()  # with one graph for both, the second pass would find the first one freed
    cut.backward()
    with pytest.raises(RuntimeError, match="second time"):
        drawn.sum().backward()


@pytest.mark.parametrize("kind", ["gan", "damsm"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_resumed_optimiser_has_the_form_of_this_run(kind, fused, tiny_gan, toy_data, tmp_path, monkeypatch):
    """A checkpoint of before Adam was fused, or of a machine whose 16 bits forbid it."""
    module = {"gan": tiny_gan, "damsm": damsm_module}[kind]
    of_module = f"attngan.training.{kind}_module.fuses_adam"
    monkeypatch.setattr(of_module, lambda module: not fused)
    monkeypatch.setattr("attngan.training.descent.fuses_adam", lambda module: not fused)
    first = Recorded(limit_train_batches=1, enable_checkpointing=False)
    first.fit(module(), datamodule=toy_data)
    assert all(group["fused"] is not fused for optimizer in first.optimizers for group in optimizer.param_groups)
    first.save_checkpoint(tmp_path / "before.ckpt")
    monkeypatch.setattr(of_module, lambda module: fused)
    monkeypatch.setattr("attngan.training.descent.fuses_adam", lambda module: fused)
    second = Recorded(limit_train_batches=1, enable_checkpointing=False, max_epochs=2)
    second.fit(module(), datamodule=toy_data, ckpt_path=tmp_path / "before.ckpt", weights_only=False)
    assert all(group["fused"] is fused for optimizer in second.optimizers for group in optimizer.param_groups)
    steps = [float(state["step"]) for optimizer in second.optimizers for state in optimizer.state.values()]
    assert steps
    assert set(steps) == {2.0}


def test_a_resumed_training_computes_in_the_form_that_it_began_with(tiny_gan):
    begun = tiny_gan()
    names = [name for name, part in begun.discriminators.named_modules() if isinstance(part, DeepConvolution)]
    assert names
    forms = {name: "product" if number % 2 else "convolution" for number, name in enumerate(names)}
    choose_weight_gradients(begun.discriminators, forms)
    checkpoint: dict = {"state_dict": begun.state_dict()}
    begun.on_save_checkpoint(checkpoint)
    resumed = tiny_gan()
    resumed.on_load_checkpoint(checkpoint)
    assert weight_gradients(resumed.discriminators) == forms
    del checkpoint["attngan_weight_gradients"]  # of an earlier version, which had one form
    resumed.on_load_checkpoint(checkpoint)
    assert set(weight_gradients(resumed.discriminators).values()) == {"convolution"}


def test_where_gradients_are_penalised_convolutions_are_torchs(tiny_gan):
    """A gradient at the image alone would else compute that at the weights as well."""
    module = tiny_gan(r1=R1(1.0))
    assert set(weight_gradients(module.discriminators).values()) == {"convolution"}
