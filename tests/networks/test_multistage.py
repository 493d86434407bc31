import copy

import pytest
import torch

from attngan.networks.fusion import WordAttentionFusion
from attngan.networks.multistage import AttnGANGenerator, Stage, Stem
from attngan.networks.published import generator_sizes, generator_state
from attngan.networks.published_names import ATTNGAN_GENERATOR, published_names
from attngan.records import GeneratorNoise, TextFeatures
from tests.networks.comparison import assert_close, tensors

TINY = {"stages": 2, "width": 2, "embed_dim": 6, "noise_dim": 3, "condition_dim": 4, "base_size": 8}


def text_of(lengths: list[int], embed_dim: int = 6, words: int = 5) -> TextFeatures:
    padding = torch.arange(words) >= torch.tensor(lengths)[:, None]
    vectors = torch.randn(len(lengths), embed_dim, words).masked_fill(padding[:, None], 0)
    return TextFeatures(vectors, torch.randn(len(lengths), embed_dim), padding)


def pick(record, rows: slice):
    return type(record)(*(tensor[rows] for tensor in record))


def trained(generator: AttnGANGenerator) -> AttnGANGenerator:
    """In eval mode, with running statistics that are not those of a fresh network."""
    with torch.no_grad():
        for _ in range(3):
            generator.train()(generator.draw_noise(3), text_of([5, 2, 3]))
    return generator.eval()


@pytest.mark.golden
def test_stem_equals_the_published_one(golden):
    g = tensors(golden("init_stage_g"))
    width, side = g["out_eval"].shape[1:3]
    code = torch.cat([g["c_code"], g["z_code"]], 1)
    stem = Stem(code.shape[1], width, side)

    def published(name: str) -> str:
        return published_names(f"stem.{name}", ATTNGAN_GENERATOR)[0].removeprefix("h_net1.")

    stem.load_state_dict({name: g[f"sd.{published(name)}"] for name in stem.state_dict()})
    double = copy.deepcopy(stem).double()
    assert_close(stem.eval()(code), g["out_eval"])
    exact = double.train()(code.double())  # batch statistics of two items
    assert_close(stem.train()(code), g["out_train"], in_float64=exact)
    running = {name: t for name, t in stem.state_dict().items() if "running" in name}
    assert len(running) == sum(name.startswith("after_train.") for name in g)
    for name, statistics in running.items():
        assert_close(statistics, g[f"after_train.{published(name)}"])


@pytest.mark.golden
def test_stage_equals_the_published_one(golden, golden_notes):
    g = tensors(golden("next_stage_g"))
    hidden, words = g["h_code"], g["word_embs"]
    condition = torch.zeros(len(hidden), 0)  # AttnGAN's further stages read none

    def stage_with(mask: str) -> Stage:
        fusion = WordAttentionFusion(hidden.shape[1], words.shape[1], mask)
        stage = Stage(fusion, hidden.shape[1], golden_notes("next_stage_g")["config"]["R_NUM"])
        state = {name: g[f"sd.{published(name)}"] for name in stage.state_dict()}
        state["fusion.project.weight"] = state["fusion.project.weight"].flatten(1)
        stage.load_state_dict(state)
        return stage

    def published(name: str) -> str:
        return published_names(f"stages.0.{name}", ATTNGAN_GENERATOR)[0].removeprefix("h_net2.")

    none = torch.zeros_like(g["mask"])
    for variant, mask, padding in [
        ("", "published", g["mask"]),
        ("_fixedmask", "own", g["mask"]),
        ("_nomask", "own", none),
    ]:
        out, attention = stage_with(mask).eval()(hidden, TextFeatures(words, words[:, :, 0], padding), condition)
        assert_close(out, g[f"out_eval{variant}"])
        assert_close(attention, g[f"att_eval{variant}"])
    stage = stage_with("published").train()
    assert_close(stage(hidden, TextFeatures(words, words[:, :, 0], g["mask"]), condition)[0], g["out_train"])
    running = {name: t for name, t in stage.state_dict().items() if "running" in name}
    assert len(running) == sum(name.startswith("after_train.") for name in g)
    for name, statistics in running.items():
        assert_close(statistics, g[f"after_train.{published(name)}"])


@pytest.mark.golden
@pytest.mark.parametrize("mask", ["published", "own"])
def test_generator_equals_the_published_one(golden, mask):
    state, g = tensors(golden("g_net_state"), "sd."), tensors(golden("g_net_io"))
    generator = AttnGANGenerator(**generator_sizes(state), padding_mask=mask).eval()
    generator.load_state_dict(generator_state(state))
    noise, text = (g["z_code"], g["eps"]), (g["word_embs"], g["sent_emb"])
    with torch.inference_mode():
        drawn = generator(GeneratorNoise(*noise), TextFeatures(*text, g["mask"]))
        exact = copy.deepcopy(generator).double()(
            GeneratorNoise(*(t.double() for t in noise)), TextFeatures(*(t.double() for t in text), g["mask"])
        )
    images, attention, mean, log_variance = drawn
    suffix = "_fixedmask" if mask == "own" else ""
    for image, side, stride, double in zip(images, (64, 128, 256), (1, 2, 4), exact.images, strict=True):
        assert image.shape[2:] == (side, side)
        inner = (..., slice(None, None, stride), slice(None, None, stride))
        assert_close(image[inner], g[f"img{side}{suffix}"], in_float64=double[inner])
    assert_close(mean, g["mu"])
    assert_close(log_variance, g["logvar"])
    if mask == "published":
        crop = (..., slice(100, 148), slice(60, 108))
        assert_close(images[2][crop], g["img256_crop"], in_float64=exact.images[2][crop])
        for weights, name, stride, double in zip(attention, ("att1", "att2"), (2, 4), exact.attention, strict=True):
            inner = (..., slice(None, None, stride), slice(None, None, stride))
            assert_close(weights[inner], g[name], in_float64=double[inner])
        assert_close(torch.stack([i.double().mean((2, 3)) for i in images]), g["img_mean"])
        assert_close(torch.stack([i.double().std((2, 3)) for i in images]), g["img_std"])


@pytest.mark.parametrize(
    ("arguments", "count"),
    [({}, 7_084_592), ({"width": 48, "residual_blocks": 3}, 13_811_456)],
    ids=["attngan cub", "attngan coco"],
)
def test_has_as_many_parameters_as_the_published_generator(arguments, count):
    with torch.device("meta"):
        generator = AttnGANGenerator(**arguments)
    assert sum(p.numel() for p in generator.parameters()) == count


def test_weights_start_as_published():
    generator = AttnGANGenerator(**TINY)
    rows = generator.stages[0].upsample[1].weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    columns = generator.stem.linear.weight
    torch.testing.assert_close(columns.T @ columns, torch.eye(columns.shape[1]), atol=1e-5, rtol=0)
    assert (generator.conditioning.linear.bias == 0).all()
    scales = generator.stem.norm.weight
    assert 0 < (scales - 1).abs().max() < 0.2


def test_draws_an_image_a_stage_and_attention_at_each_further_one():
    generator = AttnGANGenerator(**TINY | {"stages": 3})
    text = text_of([5, 2])
    drawn = generator(generator.draw_noise(2), text)
    assert (
        [tuple(i.shape) for i in drawn.images]
        == [(2, 3, s, s) for s in (8, 16, 32)]
        == [(2, 3, s, s) for s in generator.image_sizes]
    )
    assert [tuple(a.shape) for a in drawn.attention] == [(2, 5, 8, 8), (2, 5, 16, 16)]
    assert drawn.mean.shape == drawn.log_variance.shape == (2, 4)
    assert all(i.abs().max() <= 1 for i in drawn.images)
    for weights in drawn.attention:
        torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
        assert (weights[text.padding] == 0).all()


def test_one_stage_has_no_attention():
    generator = AttnGANGenerator(**TINY | {"stages": 1})
    drawn = generator(generator.draw_noise(2), text_of([5, 2]))
    assert [tuple(i.shape) for i in drawn.images] == [(2, 3, 8, 8)]
    assert drawn.attention == ()


def test_last_draws_at_the_last_stage_alone():
    generator = AttnGANGenerator(**TINY, images="last")
    drawn = generator(generator.draw_noise(2), text_of([5, 2]))
    assert [tuple(i.shape) for i in drawn.images] == [(2, 3, 16, 16)]
    assert generator.image_sizes == [16]
    assert len(drawn.attention) == 1


@pytest.mark.parametrize(("mask", "independent"), [("own", True), ("published", False)])
def test_a_picture_does_not_depend_on_the_rest_of_the_batch(mask, independent):
    generator = trained(AttnGANGenerator(**TINY, padding_mask=mask))
    noise, text = generator.draw_noise(3), text_of([5, 2, 1])
    with torch.no_grad():
        together = generator(noise, text).images[-1]
        alone = torch.cat(
            [generator(pick(noise, slice(i, i + 1)), pick(text, slice(i, i + 1))).images[-1] for i in range(3)]
        )
    assert torch.allclose(together, alone, atol=1e-5) == independent


def test_a_picture_does_not_depend_on_what_stands_at_padded_positions():
    generator = trained(AttnGANGenerator(**TINY))
    noise, text = generator.draw_noise(3), text_of([5, 2, 1])
    other = text._replace(words=text.words.masked_fill(text.padding[:, None], 3.0))
    wider = text._replace(
        words=torch.nn.functional.pad(text.words, (0, 2)),
        padding=torch.nn.functional.pad(text.padding, (0, 2), value=True),
    )
    with torch.no_grad():
        image = generator(noise, text).images[-1]
        torch.testing.assert_close(generator(noise, other).images[-1], image)
        torch.testing.assert_close(generator(noise, wider).images[-1], image)


def test_a_picture_depends_on_words_sentence_latent_and_condition_noise():
    generator = trained(AttnGANGenerator(**TINY))
    noise, text = generator.draw_noise(2), text_of([5, 2])
    with torch.no_grad():
        image = generator(noise, text).images[-1]
        for changed in (
            (noise, text._replace(words=text.words + 1)),
            (noise, text._replace(sentence=text.sentence + 1)),
            (noise._replace(latent=noise.latent + 1), text),
            (noise._replace(condition=noise.condition + 1), text),
        ):
            assert (generator(*changed).images[-1] - image).abs().max() > 1e-3


def test_noise_repeats_with_its_generator_and_does_not_touch_the_global_stream():
    generator = AttnGANGenerator(**TINY)
    before = torch.get_rng_state()
    first = generator.draw_noise(2, torch.Generator().manual_seed(5))
    second = generator.draw_noise(2, torch.Generator().manual_seed(5))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.latent, second.latent)
    assert torch.equal(first.condition, second.condition)
    assert (first.latent.shape, first.condition.shape) == ((2, 3), (2, 4))


@pytest.mark.parametrize("base_size", [4, 12, 63])
def test_refuses_a_base_size_that_no_doubling_reaches(base_size):
    with pytest.raises(ValueError, match=f"base_size must be 8, 16, .* not {base_size}"):
        AttnGANGenerator(**TINY | {"base_size": base_size})


def test_refuses_no_stages():
    with pytest.raises(ValueError, match="1 stage or more, not 0"):
        AttnGANGenerator(**TINY | {"stages": 0})


def norm(name: str) -> list[str]:
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def test_checkpoint_keys_stay_as_they_are():
    """Old checkpoints must stay loadable: a change here needs a translation of old keys."""
    assert list(AttnGANGenerator(**TINY, residual_blocks=1).state_dict()) == [
        "conditioning.linear.weight",
        "conditioning.linear.bias",
        "stem.linear.weight",
        *norm("stem.norm"),
        "stem.upsample.0.1.weight",
        *norm("stem.upsample.0.2"),
        "stages.0.fusion.project.weight",
        "stages.0.residual.0.block.0.weight",
        *norm("stages.0.residual.0.block.1"),
        "stages.0.residual.0.block.3.weight",
        *norm("stages.0.residual.0.block.4"),
        "stages.0.upsample.1.weight",
        *norm("stages.0.upsample.2"),
        "heads.0.0.weight",
        "heads.1.0.weight",
    ]
