"""GAN training: by the command line on toy birds, and step by step."""

import os
import signal
import time

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from attngan.checkpoint import ENTRY, load_damsm, read_checkpoint
from attngan.cli import main
from attngan.losses.regularizers import R1
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.multistage import AttnGANGenerator, StackGANPlusPlusGenerator
from attngan.networks.projected import ProjectedDiscriminators
from attngan.records import CaptionBatch, TextImageBatch
from attngan.sampling import Sampler
from attngan.text.vocabulary import Vocabulary
from attngan.training import gan_module
from attngan.training.augmentation import binomial_blur
from attngan.training.callbacks import Budget
from attngan.training.gan_module import GANModule
from attngan.training.generator_ema import EMA
from attngan.training.rates import Rates
from tests.tiny import CAPTIONS, EMBED, SIDES, gan, gan_recipe, write_damsm, write_recipe


def train(root, run, damsm, *options, **changes):
    recipe = gan_recipe(root, run, damsm)
    for section, values in changes.items():
        recipe[section] |= values
    return main(["train", "--config", str(write_recipe(run.parent / f"{run.name}.yaml", recipe)), *options])


def last(run):
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def assert_same_state(one, other):
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert one[ENTRY]["steps"] == other[ENTRY]["steps"]
    for ours, theirs in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        for key, state in ours["state"].items():
            assert all(torch.equal(state[name], theirs["state"][key][name]) for name in state)


@pytest.fixture(scope="module")
def straight(toy_root, tiny_damsm, tmp_path_factory):
    """Two epochs without a stop."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    assert train(toy_root, run, tiny_damsm, trainer={"max_epochs": 2}, pictures={"every_steps": 5, "count": 2}) == 0
    return run


def test_a_run_leaves_what_it_promises(straight):
    contents = last(straight)
    assert contents[ENTRY]["steps"] == 8  # 56 training images, batches of 14, two epochs
    assert contents[ENTRY]["images_seen"] == 112
    assert (straight / "config.yaml").is_file()
    names = sorted(path.name for path in (straight / "pictures").iterdir())
    assert names == [f"{kind}_{step:07d}.png" for kind in ("attention", "samples") for step in (5, 8)]
    assert (
        Sampler.load(straight / "checkpoints" / "last.ckpt", "cpu").draw([CAPTIONS[0]], [0]).images[-1].isfinite().all()
    )


def test_one_and_one_epochs_equal_two(straight, toy_root, tiny_damsm, tmp_path):
    run = tmp_path / "run"
    assert train(toy_root, run, tiny_damsm) == 0
    half = last(run)
    assert half[ENTRY]["steps"] == 4
    assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    assert_same_state(last(run), last(straight))
    assert any(not torch.equal(v, half["state_dict"][n]) for n, v in last(run)["state_dict"].items())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_stopped_within_an_epoch_goes_on_exactly(
    straight, toy_root, tiny_damsm, tmp_path, monkeypatch, capsys, number, code
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:

        def stop_me(module, *_):
            if module.steps == 1:
                os.kill(os.getpid(), number)

        patch.setattr(GANModule, "on_train_batch_end", stop_me)
        with pytest.raises(SystemExit) as stopped:
            train(toy_root, run, tiny_damsm, trainer={"max_epochs": 2})
    assert stopped.value.code == code
    assert f"--resume {run}" in capsys.readouterr().out
    assert last(run)[ENTRY]["steps"] in (1, 2)  # of four in the epoch
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_state(last(run), last(straight))


def test_resuming_needs_no_damsm_file(toy_root, toy_vocabulary, tmp_path):
    damsm = write_damsm(tmp_path / "damsm.ckpt", toy_vocabulary)
    assert train(toy_root, tmp_path / "run", damsm, "--trainer.limit_train_batches", "1") == 0
    damsm.unlink()
    arguments = ["train", "--resume", str(tmp_path / "run"), "--trainer.max_epochs", "2"]
    assert main(arguments) == 0
    assert last(tmp_path / "run")[ENTRY]["steps"] == 2


def test_weights_and_biases_gets_losses_and_pictures(toy_root, tiny_damsm, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    options = ["--logger", "wandb", "--trainer.limit_train_batches", "2", "--trainer.log_every_n_steps", "1"]
    assert train(toy_root, run, tiny_damsm, *options, pictures={"every_steps": 2, "count": 2}) == 0
    wandb.finish()  # as the end of the program does
    (log,) = run.rglob("*.wandb")
    for _ in range(120):  # its own process writes the file, when it gets to it
        if b"discriminator_16/accuracy_wrong" in log.read_bytes():
            break
        time.sleep(0.5)
    assert b"discriminator_16/accuracy_wrong" in log.read_bytes()
    assert {path.name.partition("_")[0] for path in run.rglob("media/**/*.png")} == {"samples", "attention"}


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_damsm_of_other_captions_is_refused_with_what_differs(toy_root, tmp_path, capsys):
    other = Vocabulary.from_captions(["a zebra is no bird"])
    damsm = write_damsm(tmp_path / "damsm.ckpt", other)
    assert train(toy_root, tmp_path / "run", damsm) == 1
    message = capsys.readouterr().err
    assert "zebra" in message
    assert f"checkpoint: {len(other)}" in message


def test_an_old_run_is_never_written_over(straight, toy_root, tiny_damsm, capsys):
    before = (straight / "checkpoints" / "last.ckpt").read_bytes()
    assert train(toy_root, straight, tiny_damsm) == 1
    assert "--resume" in capsys.readouterr().err
    assert (straight / "checkpoints" / "last.ckpt").read_bytes() == before


def test_resuming_nothing_is_an_error(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert str(tmp_path / "checkpoints" / "last.ckpt") in capsys.readouterr().err
    assert main(["train", "--resume"]) == 1
    assert main(["train"]) == 1
    assert "--config" in capsys.readouterr().err


def test_an_unknown_key_is_named(toy_root, tiny_damsm, tmp_path, capsys):
    assert train(toy_root, tmp_path / "run", tiny_damsm, model={"matchng": 3.0}) == 2
    assert "model.matchng: there is no such key: did you mean model.matching" in capsys.readouterr().err


def test_other_embeddings_are_refused(toy_root, tiny_damsm, tmp_path, capsys):
    option = ["--model.generator.init_args.embed_dim", "24"]
    assert train(toy_root, tmp_path / "run", tiny_damsm, *option) == 1
    assert f"model.generator.init_args.embed_dim={EMBED}" in capsys.readouterr().err


def test_other_image_sizes_are_refused(toy_root, tiny_damsm, tmp_path, capsys):
    option = ["--model.discriminators.init_args.resolutions", "[16, 32]"]
    assert train(toy_root, tmp_path / "judges", tiny_damsm, *option) == 1
    assert "init_args.resolutions=[8, 16]" in capsys.readouterr().err
    assert train(toy_root, tmp_path / "data", tiny_damsm, data={"image_size": 32}) == 1
    assert "data.image_size=16 and data.stages=2" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_by_name(toy_root, tiny_damsm, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert train(toy_root, run, tiny_damsm) == 0
    good = (run / "checkpoints" / "last.ckpt").read_bytes()
    monkeypatch.setattr("attngan.training.gan_module.kl_divergence", lambda mean, _: mean.sum() * torch.nan)
    assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 3
    message = capsys.readouterr().err
    assert "generator/kl = nan" in message
    assert "discriminator_16/loss" not in message
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == good


# --- one step -------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch():
    size = 4
    images = tuple(torch.rand(size, 3, side, side) * 2 - 1 for side in SIDES)
    captions = CaptionBatch(torch.randint(1, 20, (size, 6)), torch.tensor([6, 5, 3, 4]))
    return TextImageBatch(images, captions, torch.arange(size), torch.arange(size), torch.zeros(size, dtype=torch.bool))


@pytest.fixture
def stepping(tiny_damsm, monkeypatch):
    """A module that steps without a trainer; calls ``at_update(optimizer)`` before each update."""

    def make(at_update=lambda module, which: None, parts=None, damsm=tiny_damsm, **arguments):
        module = gan(damsm, **arguments) if parts is None else GANModule(*parts, damsm, **arguments)
        optimizers = module.configure_optimizers()
        monkeypatch.setattr(module, "optimizers", lambda: optimizers)
        monkeypatch.setattr(module, "manual_backward", lambda loss: loss.backward())
        for name in ("log", "log_dict"):
            monkeypatch.setattr(module, name, lambda *_, **__: None)
        monkeypatch.setattr(GANModule, "trainer", type("OneDevice", (), {"world_size": 1, "log_every_n_steps": 1})())
        monkeypatch.setattr("attngan.training.gan_module.share_done", lambda *_: None)
        for which, optimizer in enumerate(optimizers):
            optimizer.register_step_pre_hook(lambda *_, which=which: at_update(module, which))
        return module.train()

    return make


def test_discriminators_get_no_gradient_from_the_generators_loss(stepping, batch):
    updates, kept = [], {}

    def look(module, which):
        updates.append(which)
        learning = module.discriminators if which == 0 else module.discriminators.stages[which - 1]
        kept[which] = [p.grad for p in learning.parameters()]

    module = stepping(look)
    module.training_step(batch, 0)
    assert updates == [1, 2, 0]  # the discriminators, then the generator
    assert all(gradient is not None for gradient in [*kept[1], *kept[2]])
    assert all(gradient is None for gradient in kept[0])  # dropped after their own step, and none has come since
    assert all(p.requires_grad for p in module.discriminators.parameters())
    assert all(p.grad is None for p in module.damsm.parameters())


def test_discriminators_give_the_generator_no_gradient(stepping, batch):
    gradients = []
    module = stepping(lambda module, which: gradients.append([p.grad for p in module.generator.parameters()]))
    module.training_step(batch, 0)
    assert all(g is None for g in [*gradients[0], *gradients[1]])
    assert all(g is not None for g in gradients[2])


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_the_generator_meets_the_updated_discriminators(stepping, batch, monkeypatch, precision):
    module = stepping(rates=Rates(discriminator=0.5))  # an update that nobody can miss
    seen = {}
    objective = module._generator_objective

    def compare(drawing, drawn):
        before, text, fake = torch.is_autocast_enabled("cpu"), drawing.text, drawn.fake
        discriminator = module.discriminators.stages[-1].eval()
        seen["as_used"] = discriminator.judge_pair(discriminator(fake.images[-1]), text.sentence).float()
        torch.clear_autocast_cache()
        seen["now"] = discriminator.judge_pair(discriminator(fake.images[-1]), text.sentence).float()
        assert before == (precision is not None)
        discriminator.train()
        return objective(drawing, drawn)

    monkeypatch.setattr(module, "_generator_objective", compare)
    old = [p.clone() for p in module.discriminators.parameters()]
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        module.training_step(batch, 0)
    assert any((a - b).abs().max() > 0.1 for a, b in zip(old, module.discriminators.parameters(), strict=True))
    assert torch.equal(seen["as_used"], seen["now"])


def test_the_frozen_damsm_stays_in_eval_mode(stepping, batch):
    module = stepping()
    assert module.training
    assert module.generator.training
    assert not any(part.training for part in module.damsm.modules())
    assert module.damsm.text_encoder.dropout.p > 0  # which would show
    one, other = (module.damsm.text_encoder(batch.captions).sentence for _ in range(2))
    assert torch.equal(one, other)
    before = {name: value.clone() for name, value in module.damsm.state_dict().items()}
    module.training_step(batch, 0)
    for name, value in module.damsm.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_penalty_on_real_images_comes_at_every_so_many_steps(stepping, batch, monkeypatch):
    module = stepping(r1=R1(1.0, every=2))
    terms = []
    monkeypatch.setattr(module, "_log", lambda logged: terms.append(set(logged)))
    for _ in range(3):
        module.training_step(batch, 0)
    assert ["discriminator_16/r1" in logged for logged in terms] == [True, False, True]


def test_without_a_matching_weight_the_damsm_scores_nothing(stepping, batch, monkeypatch):
    module = stepping(matching=0.0)
    monkeypatch.setattr(module, "_matching_loss", lambda *_: pytest.fail("asked for a score"))
    module.training_step(batch, 0)


# --- a frozen network between image and discriminator ---------------------------------------------------------------


@pytest.fixture
def through_a_trunk(tiny_damsm):
    """Arguments of a module whose discriminators look through the DAMSM's trunk."""
    trunk = load_damsm(tiny_damsm).image_encoder.trunk
    trunk.weights_source = "a package of tests"

    def make():
        torch.manual_seed(0)
        module = gan(tiny_damsm)
        return module.generator, ProjectedDiscriminators(trunk, SIDES, width=2, embed_dim=EMBED, text="projection")

    return make


def test_one_pass_of_a_shared_trunk_equals_two(stepping, batch, through_a_trunk, monkeypatch):
    gradients, passes = {}, []
    forward = ConvTrunk.pyramid
    monkeypatch.setattr(ConvTrunk, "pyramid", lambda trunk, images: passes.append(trunk) or forward(trunk, images))
    for kind in ("shared", "own"):

        def look(module, which, kind=kind):
            if which == 0:
                gradients[kind] = torch.cat([p.grad.flatten() for p in module.generator.parameters()])

        module = stepping(look, parts=through_a_trunk(), adversarial="hinge", matching_pass=kind)
        assert module.one_pass == (kind == "shared")
        passes.clear()
        torch.manual_seed(1)
        module.training_step(batch, 0)
        # real and drawn images of each stage: a drawn one serves the discriminator's step and the generator's
        assert len(passes) == 2 * len(SIDES) + (kind == "own")
    difference = torch.linalg.vector_norm(gradients["shared"] - gradients["own"])
    assert difference < 1e-4 * torch.linalg.vector_norm(gradients["own"])
    assert not stepping(parts=through_a_trunk(), matching_blur=True).one_pass


def test_a_step_changes_nothing_frozen_and_all_that_learns(stepping, batch, through_a_trunk):
    module = stepping(parts=through_a_trunk(), adversarial="hinge", augment={"translation": 0.125, "cutout": 0.5})
    fixed = {n: b.clone() for n, b in module.discriminators.named_buffers() if "frozen" in n}
    learning = {n: p.clone() for n, p in module.named_parameters() if p.requires_grad}
    assert fixed
    assert not [n for n in learning if "frozen" in n]
    module.training_step(batch, 0)
    buffers, parameters = dict(module.discriminators.named_buffers()), dict(module.named_parameters())
    assert all(torch.equal(buffers[name], value) for name, value in fixed.items())
    # within the hinge's margins real and drawn images move a head's bias by as much
    same = [n for n, value in learning.items() if torch.equal(parameters[n], value) and not n.endswith("head.bias")]
    assert same == []
    assert not any(part.training for part in module.discriminators.stages[0].frozen.modules())


@pytest.mark.parametrize("penalty", [{"r1": R1(1.0)}, {"gradient_penalty": 2.0}])
def test_penalties_reach_through_a_frozen_network(stepping, batch, through_a_trunk, monkeypatch, penalty):
    logged = {}
    module = stepping(parts=through_a_trunk(), adversarial="hinge", **penalty)
    monkeypatch.setattr(module, "_log", logged.update)
    module.training_step(batch, 0)
    (name,) = penalty
    assert all(0 < float(logged[f"discriminator_{side}/{name}"].detach()) < 1e6 for side in SIDES)
    assert all(0 <= float(value) <= 1 for key, value in logged.items() if "accuracy" in key)


def test_captions_of_earlier_batches_survive_a_stop(toy_root, tiny_damsm, tmp_path):
    queue = {"matching_captions": 20}
    straight, run = tmp_path / "straight", tmp_path / "run"
    assert train(toy_root, straight, tiny_damsm, model=queue, trainer={"max_epochs": 2}) == 0
    assert train(toy_root, run, tiny_damsm, model=queue) == 0
    assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    assert_same_state(last(run), last(straight))


# --- what the papers add ----------------------------------------------------------------------------------------------


def parts(read=EMBED, embed_dim=EMBED, **discriminators):
    """A StackGAN++ generator and its discriminators, which read vectors of length ``read``."""
    generator = StackGANPlusPlusGenerator(
        stages=2, width=4, embed_dim=embed_dim, noise_dim=4, condition_dim=4, residual_blocks=1, base_size=SIDES[0]
    )
    return generator, DiscriminatorPyramid(SIDES, width=2, embed_dim=read, **discriminators)


@pytest.mark.parametrize(("condition", "reached"), [("mean", True), ("detached mean", False)])
def test_the_mean_that_discriminators_read_gets_a_gradient_or_none(stepping, batch, condition, reached):
    gradients = {}

    def look(module, which):
        gradients[which] = module.generator.conditioning.linear.weight.grad

    generator, discriminators = parts(read=4)
    # the images give the mean no gradient, so what is left of it comes through what the discriminators read
    generator.conditioning.register_forward_hook(lambda _, inputs, out: (out[0].detach(), *out[1:]))
    module = stepping(look, parts=(generator, discriminators), condition=condition, matching=0.0, kl=0.0)
    module.training_step(batch, 0)
    assert gradients[1] is None
    assert gradients[2] is None
    assert bool(gradients[0] is not None and gradients[0].abs().sum() > 0) == reached


def test_colours_of_adjacent_stages_are_tied(stepping, batch, monkeypatch):
    logged = {}
    module = stepping(parts=parts(), color_consistency=50.0, matching=0.0)
    monkeypatch.setattr(module, "_log", logged.update)
    module.training_step(batch, 0)
    terms = {name: float(value.detach()) for name, value in logged.items()}
    assert terms["generator/color_consistency"] > 0
    adversarial = sum(terms[f"generator_{side}/loss"] for side in SIDES)
    expected = adversarial + 50 * terms["generator/color_consistency"] + terms["generator/kl"]
    assert terms["generator/loss"] == pytest.approx(expected, rel=1e-5)


def test_the_gradient_penalty_is_float32_in_bf16_too(stepping, batch, monkeypatch):
    seen = []
    penalty = gan_module.matching_aware_gradient_penalty

    def look(logits, images, sentence):
        seen.append((logits.dtype, images.dtype, sentence.dtype))
        return penalty(logits, images, sentence)

    monkeypatch.setattr(gan_module, "matching_aware_gradient_penalty", look)
    module = stepping(adversarial="hinge", gradient_penalty=2.0)
    with torch.autocast("cpu", torch.bfloat16):
        module.training_step(batch, 0)
    assert seen == [(torch.float32,) * 3] * len(SIDES)


def test_without_text_there_are_no_pairs_and_no_captions(stepping, batch, monkeypatch):
    logged = {}
    module = stepping(parts=parts(None, None), damsm=None, adversarial="bce sum", matching=0.0)
    monkeypatch.setattr(module, "_log", logged.update)
    module.training_step(batch._replace(captions=CaptionBatch(torch.empty(4, 0).long(), torch.zeros(4).long())), 0)
    assert "generator/kl" not in logged
    assert not [name for name in logged if "wrong" in name]
    assert {"discriminator_16/accuracy_real", "discriminator_16/accuracy_fake"} <= logged.keys()


def test_precomputed_embeddings_stand_in_for_the_text_encoder(stepping, batch):
    module = stepping(parts=parts(6, 6), damsm=None, matching=0.0)
    module.training_step(batch._replace(embedding=torch.randn(4, 6)), 0)
    with pytest.raises(ValueError, match=r"embeddings of 6 numbers.*none.*data\.text_embeddings"):
        module.training_step(batch, 0)
    with pytest.raises(ValueError, match="gives embeddings of 5 numbers"):
        module.training_step(batch._replace(embedding=torch.randn(4, 5)), 0)


def rates_of(root, run, damsm, monkeypatch, model, *options, epochs=3):
    """The generator's step size at each step of a run of four steps an epoch."""
    rates = []

    def look(module, *_):
        rates.append(module._optimizers()[0].param_groups[0]["lr"])

    with monkeypatch.context() as patch:
        patch.setattr(GANModule, "on_train_batch_end", look)
        assert train(root, run, damsm, *options, model=model, trainer={"max_epochs": epochs}) == 0
    return rates


def test_step_sizes_are_halved_after_so_many_epochs(toy_root, tiny_damsm, tmp_path, monkeypatch):
    halved = {"rates": {"halved_every": 1, "generator": 1e-3}}
    rates = rates_of(toy_root, tmp_path / "run", tiny_damsm, monkeypatch, halved)
    assert rates == [1e-3] * 4 + [5e-4] * 4 + [2.5e-4] * 4


def test_a_run_stopped_at_an_epochs_last_batch_is_halved_all_the_same(toy_root, tiny_damsm, tmp_path, monkeypatch):
    def stop_me(module, *_):
        if module.steps == 3:  # heard at the end of the next batch, the epoch's last one
            os.kill(os.getpid(), signal.SIGTERM)

    halved = {"rates": {"halved_every": 1, "generator": 1e-3}}
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(GANModule, "on_train_batch_end", stop_me)
        with pytest.raises(SystemExit):
            train(toy_root, run, tiny_damsm, model=halved, trainer={"max_epochs": 3})
    assert last(run)[ENTRY]["steps"] == 4
    rates = []

    def look(module, *_):
        rates.append(module._optimizers()[0].param_groups[0]["lr"])

    monkeypatch.setattr(GANModule, "on_train_batch_end", look)
    assert main(["train", "--resume", str(run)]) == 0
    assert rates == [5e-4] * 4 + [2.5e-4] * 4


def test_step_sizes_fall_over_the_last_part_of_a_run(toy_root, tiny_damsm, tmp_path, monkeypatch):
    rates = []

    def look(module, *_):
        rates.append([group["lr"] for o in module._optimizers() for group in o.param_groups])

    monkeypatch.setattr(GANModule, "on_train_batch_end", look)
    changed = {"rates": {"fall": 0.5, "generator": 1e-3, "discriminator": 1e-4}}
    assert train(toy_root, tmp_path / "run", tiny_damsm, model=changed, trainer={"max_epochs": 2}) == 0
    # eight steps; each begins with 0/8, 1/8 ... 7/8 of the run done
    shares = [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    for step, share in zip(rates, shares, strict=True):
        assert step == pytest.approx([1e-3 * share, 1e-4 * share, 1e-4 * share])


def test_a_budget_of_minutes_counts_those_before_an_interruption(monkeypatch):
    around = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), LightningModule()
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    budget = Budget(minutes=10.0)
    budget.on_train_start(*around)
    now[0] += 6 * 60
    resumed = Budget(minutes=10.0)
    resumed.load_state_dict(budget.state_dict())
    now[0] += 1000 * 60  # the machine was off
    resumed.on_train_start(*around)
    assert resumed.share_done(around[1]) == pytest.approx(0.6)
    now[0] += 3 * 60
    assert resumed.share_done(around[1]) == pytest.approx(0.9)


def test_the_damsm_sees_a_blurred_image_where_asked(stepping, batch, monkeypatch):
    module = stepping(matching_blur=True)
    seen = []
    encode = module.damsm.image_encoder.forward
    monkeypatch.setattr(module.damsm.image_encoder, "forward", lambda images: (seen.append(images), encode(images))[1])
    fakes = []
    module.generator.register_forward_hook(lambda *hooked: fakes.append(hooked[-1].images[-1]))
    module.training_step(batch, 0)
    assert torch.equal(seen[0], binomial_blur(fakes[0]))
    assert not torch.equal(seen[0], fakes[0])


def test_with_a_decay_of_zero_the_average_is_the_generator(stepping, batch):
    module = stepping(ema=EMA(decay=0.0))
    module.training_step(batch, 0)
    for average, live in zip(module.ema.parameters(), module.generator.parameters(), strict=True):
        assert torch.equal(average, live)


# the generator, and of each of two discriminators the network and two heads; the DAMSM's trunk when it is first used
@pytest.mark.parametrize(("penalty", "compiled"), [({}, 7), ({"gradient_penalty": 2.0}, 1), ({"r1": R1(1.0)}, 1)])
def test_discriminators_under_a_penalty_are_not_compiled(stepping, batch, monkeypatch, penalty, compiled):
    called = []
    monkeypatch.setattr(torch, "compile", lambda function, mode: called.append(mode) or function)
    module = stepping(compile="max-autotune", **penalty)
    module.train_words = 9
    assert len(called) == compiled
    module.training_step(batch, 0)
    assert called == ["max-autotune"] * (compiled + 1)
    assert module.encode_text(batch).padding.shape[1] == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"damsm": None}, r"model\.matching=0"),
        ({"condition": "mean"}, r"init_args\.embed_dim=4"),
        ({"parts": (None, None), "matching": 0.0}, r"model\.damsm=null"),
        ({"parts": (EMBED, None), "damsm": None, "matching": 0.0}, r"init_args\.embed_dim=null"),
        ({"parts": (None, None), "damsm": None, "matching": 0.0, "gradient_penalty": 2.0}, "reads no text"),
        ({"parts": (None, None), "damsm": None, "matching": 0.0, "condition": "mean"}, r"model\.condition=sentence"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_set(tiny_damsm, arguments, message):
    given = dict(arguments)
    generator, discriminators = parts(*given.pop("parts", (EMBED, EMBED)))
    with pytest.raises(ValueError, match=message):
        GANModule(generator, discriminators, given.pop("damsm", tiny_damsm), **given)


def test_colours_of_one_stage_alone_cannot_be_tied(tiny_damsm):
    generator = AttnGANGenerator(2, 2, EMBED, 4, 4, base_size=SIDES[0], images="last")
    with pytest.raises(ValueError, match=r"draws one.*set it to 0"):
        GANModule(generator, DiscriminatorPyramid(SIDES[1:], 2, EMBED), tiny_damsm, color_consistency=50.0)
