"""What holds for every generator of the family, and for the discriminators that go with it; the published counts."""

import copy
import json
from functools import partial

import pytest
import torch
from torch import nn

from attngan import described_weights
from attngan.networks.description import build, describe
from attngan.networks.dfgan import DFGANDiscriminator, DFGANGenerator
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.multistage import AttnGANGenerator, DMGANGenerator, StackGANPlusPlusGenerator
from attngan.networks.stackgan import StackGANGenerator, StackGANStage2Generator
from attngan.records import TextFeatures

EMBED, NOISE, CONDITION, WORDS = 6, 3, 4, 5
STAGES = {"stages": 3, "width": 4, "embed_dim": EMBED, "noise_dim": NOISE, "base_size": 8}


def stage1() -> StackGANGenerator:
    return StackGANGenerator(2, EMBED, NOISE, CONDITION, base_size=8)


def plus_plus(embed_dim: int | None) -> StackGANPlusPlusGenerator:
    return StackGANPlusPlusGenerator(**STAGES | {"embed_dim": embed_dim}, condition_dim=CONDITION, residual_blocks=1)


# a tiny one of each, with the discriminators that judge its pictures
FAMILY = {
    "stackgan stage 1": (
        stage1,
        lambda: DiscriminatorPyramid([8], 2, CONDITION, unconditional=False, init="normal"),
    ),
    "stackgan stage 2": (
        lambda: StackGANStage2Generator(stage1(), 4, EMBED, CONDITION, residual_blocks=1),
        lambda: DiscriminatorPyramid([32], 2, CONDITION, init="normal"),
    ),
    "stackgan++": (lambda: plus_plus(EMBED), lambda: DiscriminatorPyramid([8, 16, 32], 2, CONDITION)),
    "stackgan++ without text": (lambda: plus_plus(None), lambda: DiscriminatorPyramid([8, 16, 32], 2, None)),
    "attngan": (
        lambda: AttnGANGenerator(**STAGES, condition_dim=CONDITION, residual_blocks=1),
        lambda: DiscriminatorPyramid([8, 16, 32], 2, EMBED),
    ),
    "attndcgan": (
        lambda: AttnGANGenerator(**STAGES, condition_dim=CONDITION, residual_blocks=0, images="last"),
        lambda: DiscriminatorPyramid([32], 2, EMBED, unconditional=False),
    ),
    "dm-gan": (
        lambda: DMGANGenerator(**STAGES, condition_dim=CONDITION, residual_blocks=1),
        lambda: DiscriminatorPyramid([8, 16, 32], 2, EMBED, "spectral"),
    ),
    "df-gan": (lambda: DFGANGenerator(16, 2, EMBED, NOISE), lambda: DFGANDiscriminator(16, 2, EMBED)),
}
GENERATORS = {name: generator for name, (generator, _) in FAMILY.items()}


def text_for(generator, lengths=(5, 2, 1)) -> TextFeatures | None:
    if generator.embed_dim is None:
        return None
    padding = torch.arange(WORDS) >= torch.tensor(lengths)[:, None]
    words = torch.randn(len(lengths), EMBED, WORDS).masked_fill(padding[:, None], 0)
    return TextFeatures(words, torch.randn(len(lengths), EMBED), padding)


def shape_of(images) -> list[tuple[int, ...]]:
    return [tuple(image.shape) for image in images]


@pytest.mark.parametrize("name", GENERATORS)
def test_draws_what_it_says(name):
    generator = GENERATORS[name]()
    text, noise = text_for(generator), generator.draw_noise(3)
    assert noise.latent.shape == (3, generator.noise_dim) == (3, NOISE)
    assert noise.condition.shape == (3, generator.condition_noise_dim)
    drawn = generator(noise, text)
    assert shape_of(drawn.images) == [(3, 3, side, side) for side in generator.image_sizes]
    assert all(image.abs().max() <= 1 for image in drawn.images)
    if generator.condition_dim:
        assert drawn.mean.shape == drawn.log_variance.shape == (3, generator.condition_dim)
    else:
        assert drawn.mean is None
        assert drawn.log_variance is None
    assert generator.attends == bool(drawn.attention)
    assert shape_of(drawn.attention) == ([(3, WORDS, 8, 8), (3, WORDS, 16, 16)] if generator.attends else [])


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "stackgan stage 1": ([8], EMBED, CONDITION, CONDITION, False),
        "stackgan stage 2": ([32], EMBED, CONDITION, 2 * CONDITION, False),
        "stackgan++": ([8, 16, 32], EMBED, CONDITION, CONDITION, False),
        "stackgan++ without text": ([8, 16, 32], None, 0, 0, False),
        "attngan": ([8, 16, 32], EMBED, CONDITION, CONDITION, True),
        "attndcgan": ([32], EMBED, CONDITION, CONDITION, True),
        "dm-gan": ([8, 16, 32], EMBED, CONDITION, CONDITION, True),
        "df-gan": ([16], EMBED, 0, 0, False),
    }.items(),
)
def test_tells_what_it_is(name, expected):
    g = GENERATORS[name]()
    assert (g.image_sizes, g.embed_dim, g.condition_dim, g.condition_noise_dim, g.attends) == expected


@pytest.mark.parametrize("name", GENERATORS)
def test_is_built_again_from_its_description(name):
    generator = GENERATORS[name]()
    rebuilt = build(json.loads(json.dumps(describe(generator))))
    rebuilt.load_state_dict(generator.state_dict())
    noise, text = generator.draw_noise(3), text_for(generator)
    for original, copied in ((generator, rebuilt), (generator, copy.deepcopy(generator))):
        assert describe(copied) == describe(original)
        with torch.no_grad():
            pictures = zip(original.eval()(noise, text).images, copied.eval()(noise, text).images, strict=True)
        assert all(torch.equal(one, other) for one, other in pictures)


@pytest.mark.parametrize("name", FAMILY)
def test_discriminators_are_built_again_and_judge_each_image(name):
    generator, discriminators = (make() for make in FAMILY[name])
    rebuilt = build(json.loads(json.dumps(describe(discriminators))))
    rebuilt.load_state_dict(copy.deepcopy(discriminators).state_dict())
    text = text_for(generator)
    drawn = generator(generator.draw_noise(3), text)
    read = None if text is None else text.sentence if discriminators.embed_dim == EMBED else drawn.mean
    assert list(discriminators.resolutions) == generator.image_sizes
    for stage, image in zip(rebuilt.stages, drawn.images, strict=True):
        features = stage(image)
        pair = None if read is None else stage.judge_pair(features, read)
        verdicts = [pair, stage.judge_image(features)]
        assert all(logits.shape == (3,) for logits in verdicts if logits is not None)
        assert (verdicts[0] is None) == (name == "stackgan++ without text") == (discriminators.embed_dim is None)
        without = ("stackgan stage 1", "attndcgan", "df-gan")
        assert (verdicts[1] is None) == (name in without)


@pytest.mark.parametrize("name", FAMILY)
def test_everything_learns(name):
    """No weight stands idle, but for a frozen first stage (and one in DF-GAN's larger ones: see test_dfgan.py)."""
    generator, discriminators = (make() for make in FAMILY[name])
    text = text_for(generator)
    drawn = generator(generator.draw_noise(3), text)
    read = None if text is None else text.sentence if discriminators.embed_dim == EMBED else drawn.mean
    total = torch.zeros(())
    for stage, image in zip(discriminators.stages, drawn.images, strict=True):
        features = stage(image)
        for logits in (None if read is None else stage.judge_pair(features, read), stage.judge_image(features)):
            total = total if logits is None else total + logits.square().sum()
    total.backward()
    idle = [n for n, p in generator.named_parameters() if p.grad is None and not n.startswith("stage1.")]
    assert idle == []
    idle = [n for n, p in discriminators.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.parametrize("name", FAMILY)
def test_runs_in_low_precision(name):
    """Pictures and logits of finite numbers, near those of full precision."""
    generator, discriminators = (make().eval() for make in FAMILY[name])
    noise, text = generator.draw_noise(3), text_for(generator)
    with torch.no_grad():
        exact = generator(noise, text).images
        with torch.autocast("cpu", dtype=torch.bfloat16):
            drawn = generator(noise, text).images
            features = [stage(image) for stage, image in zip(discriminators.stages, drawn, strict=True)]
    for image, expected in zip(drawn, exact, strict=True):
        assert (image.float() - expected).abs().max() < 0.1
    assert all(f.isfinite().all() for f in features)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_picture_depends_on_its_text_and_all_of_its_noise_and_on_nothing_else(name):
    generator = GENERATORS[name]()
    for module in generator.modules():
        if isinstance(module, nn.Linear) and name == "df-gan":  # its last layers start at zero: no effect yet
            nn.init.normal_(module.weight, 0, 0.3)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # plain averages of what was seen
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not those of a fresh network
            generator.train()(generator.draw_noise(3), text_for(generator))
        generator.eval()
        noise, text = generator.draw_noise(3), text_for(generator)
        together = generator(noise, text).images[-1]
        for i in range(3):
            one = slice(i, i + 1)
            mine = None if text is None else TextFeatures(*(t[one] for t in text))
            alone = generator(type(noise)(*(n[one] for n in noise)), mine).images[-1]
            torch.testing.assert_close(alone, together[one], rtol=1e-3, atol=1e-3)
        for part, length in (("latent", NOISE), ("condition", generator.condition_noise_dim)):
            for i in range(length):
                other = getattr(noise, part).clone()
                other[:, i] += 2
                assert not torch.equal(generator(noise._replace(**{part: other}), text).images[-1], together)
        if text is not None:
            other = text._replace(sentence=text.sentence + 1)
            assert not torch.equal(generator(noise, other).images[-1], together)
            other = text._replace(words=text.words + 1)
            assert torch.equal(generator(noise, other).images[-1], together) != generator.attends


@pytest.mark.parametrize("name", GENERATORS)
def test_without_text(name):
    generator = GENERATORS[name]()
    if generator.embed_dim is None:
        assert generator(generator.draw_noise(3), None).images
    else:
        with pytest.raises(ValueError, match="reads text and was given none"):
            generator(generator.draw_noise(3), None)


@pytest.mark.parametrize("name", GENERATORS)
def test_precomputed_sentence_embeddings_have_no_words_to_attend_to(name):
    generator = GENERATORS[name]()
    sentences = TextFeatures.of_sentences(torch.randn(3, EMBED))
    if generator.attends:
        with pytest.raises(ValueError, match=r"attends to words and was given none: .* name a DAMSM"):
            generator(generator.draw_noise(3), sentences)
    else:
        assert generator(generator.draw_noise(3), sentences).images[-1].isfinite().all()


def parameters(network: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


PUBLISHED_GENERATORS = {
    "stackgan stage 1 coco": (lambda: StackGANGenerator(192, 1024), 20_020_832),
    "stackgan stage 2 coco": (
        lambda: StackGANStage2Generator(StackGANGenerator(192, 1024), 192, 1024, residual_blocks=2),
        37_130_480,
    ),
    "stackgan++": (lambda: StackGANPlusPlusGenerator(embed_dim=1024), 21_239_696),
    "stackgan++ without text": (lambda: StackGANPlusPlusGenerator(embed_dim=None), 16_472_208),
    "attngan cub": (AttnGANGenerator, 7_084_592),
    "attngan coco": (lambda: AttnGANGenerator(width=48, residual_blocks=3), 13_811_456),
    "attndcgan": (lambda: AttnGANGenerator(residual_blocks=0, images="last"), 6_638_960),
    "dm-gan": (DMGANGenerator, 21_449_042),
    "df-gan": (DFGANGenerator, 9_744_131),
}

PUBLISHED_DISCRIMINATORS = {
    "stackgan stage 1 coco": (lambda: DiscriminatorPyramid([64], 96, 128, unconditional=False), [12_407_425]),
    "stackgan stage 2 coco": (lambda: DiscriminatorPyramid([256], 96, 128), [159_889_538]),
    "stackgan++": (lambda: DiscriminatorPyramid(embed_dim=128), [5_723_906, 18_834_178, 71_269_122]),
    "stackgan++ without text": (lambda: DiscriminatorPyramid(embed_dim=None), [2_765_569, 15_875_841, 68_310_785]),
    "attndcgan": (lambda: DiscriminatorPyramid([256], unconditional=False), [71_850_753]),
    "dm-gan": (lambda: DiscriminatorPyramid(width=32, norm="spectral"), [1_878_242, 5_155_810, 18_264_546]),
    "df-gan": (DFGANDiscriminator, [6_619_206 + 295_936]),
}


@pytest.mark.parametrize("name", PUBLISHED_GENERATORS)
def test_generator_has_as_many_parameters_as_the_published_one(name):
    make, count = PUBLISHED_GENERATORS[name]
    with torch.device("meta"):
        assert parameters(make()) == count


@pytest.mark.parametrize("name", PUBLISHED_DISCRIMINATORS)
def test_discriminators_have_as_many_parameters_as_the_published_ones(name):
    make, counts = PUBLISHED_DISCRIMINATORS[name]
    with torch.device("meta"):
        assert [parameters(stage) for stage in make().stages] == counts


@pytest.mark.parametrize("name", FAMILY)
def test_a_network_from_a_file_is_the_one_that_was_written(name):
    """It is made without memory: none of its tensors, buffers included, may be left as it was allocated."""
    for make in FAMILY[name]:
        network = make()
        again = described_weights.build_with(partial(build, describe(network)), network.state_dict(), "a file")
        for kind in ("named_parameters", "named_buffers"):
            own, loaded = dict(getattr(network, kind)()), dict(getattr(again, kind)())
            assert own.keys() == loaded.keys()
            for tensor in own:
                assert torch.equal(own[tensor], loaded[tensor]), tensor


SMOOTH = {
    "stackgan stage 1": lambda how: StackGANGenerator(2, EMBED, NOISE, CONDITION, base_size=8, upsampling=how),
    "stackgan stage 2": lambda how: StackGANStage2Generator(
        StackGANGenerator(2, EMBED, NOISE, CONDITION, base_size=8, upsampling=how), 4, EMBED, upsampling=how
    ),
    "stackgan++": lambda how: StackGANPlusPlusGenerator(**STAGES, upsampling=how),
    "attngan": lambda how: AttnGANGenerator(**STAGES, upsampling=how),
    "dm-gan": lambda how: DMGANGenerator(**STAGES, upsampling=how),
    "df-gan": lambda how: DFGANGenerator(16, 2, EMBED, NOISE, upsampling=how),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_features_are_enlarged_as_asked_everywhere(name, how):
    generator = SMOOTH[name](how)
    modes = {module.mode for module in generator.modules() if isinstance(module, nn.Upsample)}
    assert modes == {how}
    assert build(describe(generator)).state_dict().keys() == SMOOTH[name]("nearest").state_dict().keys()
