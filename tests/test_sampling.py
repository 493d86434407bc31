"""Drawing captions, from Python and by ``attngan sample``."""

import io

import pytest
import torch
from PIL import Image

import attngan
from attngan.checkpoint import ENTRY, file_sha256, read_checkpoint
from attngan.cli import main
from attngan.pictures import named_after
from attngan.sampling import Sampler, draw_all, interpolate, sample, sample_noise
from attngan.text.vocabulary import Vocabulary
from tests.tiny import CAPTIONS, SIDES, gan, write_damsm, write_gan

GREY_LEVEL = 2 / 255  # images are in [-1, 1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of an untrained generator, whose weights are large enough for captions to show."""
    folder = tmp_path_factory.mktemp("gan")
    torch.manual_seed(1)
    module = gan(write_damsm(folder / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS)))
    for parameter in module.ema.generator.parameters():
        parameter.data.mul_(2)
    return write_gan(folder / "last.ckpt", module)


@pytest.fixture(scope="module")
def sampler(checkpoint):
    return Sampler.load(checkpoint, "cpu")


def picture(sampler, caption, number=0, seed=0, **options):
    return sampler.draw([caption], [number], seed, **options).images[-1][0]


def levels(one, other):
    """The largest difference in grey levels."""
    return float((one - other).abs().max()) / GREY_LEVEL


# --- what a picture depends on ----------------------------------------------------------------------------------------


def test_a_picture_does_not_depend_on_the_batch(sampler):
    alone = [picture(sampler, caption) for caption in CAPTIONS]
    together = sampler.draw([*CAPTIONS, CAPTIONS[0]], [0, 0, 0, 0, 3]).images[-1]
    for one, other in zip(alone, together, strict=False):
        assert levels(one, other) < 1
    assert levels(together[0], together[4]) > 1  # another number
    by_size = [torch.stack([d.image for d in draw_all(sampler, CAPTIONS, 2, batch_size=size)]) for size in (1, 3, 16)]
    assert levels(by_size[0], by_size[1]) < 1
    assert levels(by_size[0], by_size[2]) < 1


def test_captions_numbers_and_seeds_matter(sampler):
    first = picture(sampler, CAPTIONS[0])
    assert torch.equal(first, picture(sampler, CAPTIONS[0]))
    assert levels(first, picture(sampler, CAPTIONS[1])) > 1
    assert levels(first, picture(sampler, CAPTIONS[0], number=1)) > 1
    assert levels(first, picture(sampler, CAPTIONS[0], seed=1)) > 1


def test_changed_words_share_their_noise(sampler, monkeypatch):
    given = []
    forward = sampler.generator.forward
    monkeypatch.setattr(sampler.generator, "forward", lambda noise, text: given.append(noise) or forward(noise, text))
    list(draw_all(sampler, CAPTIONS[:2], 2, batch_size=4))
    (noise,) = given
    for part in noise:
        assert torch.equal(part[0], part[2])
        assert torch.equal(part[1], part[3])
        assert not torch.equal(part[0], part[1])


def test_noise_is_standard_normal_and_of_the_number_alone():
    noise = sample_noise(range(400), 30, 20, seed=5)
    assert noise.latent.shape == (400, 30)
    assert noise.condition.shape == (400, 20)
    for part in noise:
        assert abs(float(part.mean())) < 0.05
        assert float(part.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(sample_noise([7], 30, 20, seed=5).latent[0], noise.latent[7])
    assert not torch.equal(noise.latent[:, :20], noise.condition)


@pytest.mark.parametrize("truncation", [0.5, 0.88])
def test_truncation_cuts_the_noise_off_at_two_and_scales_it(truncation):
    noise, free = sample_noise(range(200), 20, 20, 0, truncation), sample_noise(range(200), 20, 20, 0)
    for part, untouched in zip(noise, free, strict=True):
        assert float(part.abs().max()) <= 2 * truncation
        inside = untouched.abs() <= 2
        torch.testing.assert_close(part[inside], truncation * untouched[inside])
        assert not torch.allclose(part[~inside], truncation * untouched[~inside].clamp(-2, 2))  # drawn again, not cut
        # a normal distribution that is cut off at 2 has this deviation
        assert float(part.std()) == pytest.approx(truncation * 0.8796, rel=0.03)


def test_nothing_to_draw_gives_no_noise():
    assert sample_noise([], 3, 2, 0).latent.shape == (0, 3)


def test_interpolation_ends_at_the_captions_own_pictures(sampler):
    first, second = CAPTIONS[2], CAPTIONS[0]  # 5 and 8 words
    images = interpolate(sampler, first, second, steps=5, number=2, seed=3)
    assert len(images) == 5
    assert levels(images[0], picture(sampler, first, 2, 3)) < 1
    assert levels(images[-1], picture(sampler, second, 2, 3)) < 1
    assert levels(images[2], images[0]) > 1
    assert levels(images[2], images[-1]) > 1
    with pytest.raises(ValueError, match="at least 2 steps"):
        interpolate(sampler, first, second, steps=1)


def test_a_caption_without_a_known_word_is_refused(sampler):
    with pytest.raises(ValueError, match="zebra crossing"):
        sampler.draw([CAPTIONS[0], "zebra crossing"], [0, 0])


def test_long_captions_are_cut(sampler):
    long = " ".join(["small"] * 25)
    assert len(sampler.words(long + " red bird")) == 25
    assert levels(picture(sampler, long), picture(sampler, long + " red bird")) < 1


# --- the Python call --------------------------------------------------------------------------------------------------


def test_sample_gives_images_and_attention(checkpoint, sampler):
    images, attention = attngan.sample(checkpoint, CAPTIONS[:3], samples_per_caption=2, seed=4, device="cpu")
    assert images.shape == (6, 3, SIDES[-1], SIDES[-1])
    assert levels(images[3], picture(sampler, CAPTIONS[1], 1, 4)) < 1
    assert len(attention) == 6
    words = len(sampler.words(CAPTIONS[2]))
    (weights,) = attention[4]
    assert torch.allclose(weights.sum(0), torch.ones(SIDES[0], SIDES[0]), atol=1e-5)
    assert float(weights[words:].abs().sum()) == 0  # padding
    with pytest.raises(ValueError, match="no caption"):
        sample(checkpoint, [], device="cpu")


# --- attngan sample ---------------------------------------------------------------------------------------------------


def command(checkpoint, out, *options):
    return main(["sample", str(checkpoint), *options, "--out", str(out), "--device", "cpu"])


def drawn(out):
    return sorted(path.name for path in out.iterdir())


def grey(path):
    return torch.tensor(list(Image.open(path).convert("RGB").tobytes())).float()


def test_captions_as_arguments(checkpoint, sampler, tmp_path, capsys):
    options = ["--samples_per_caption", "2", "--seed", "3", "--attention", "true"]
    assert command(checkpoint, tmp_path, *CAPTIONS[:2], *options) == 0
    pictures = [f"{i:05d}_{number:03d}{named_after(CAPTIONS[i - 1])}" for i in (1, 2) for number in (0, 1)]
    expected = [f"{name}{kind}.png" for name in pictures for kind in ("", "_attention")]
    assert drawn(tmp_path) == sorted([*expected, "grid.png"])
    expected = ((picture(sampler, CAPTIONS[1], 1, 3) + 1) * 127.5).permute(1, 2, 0).flatten()
    second = tmp_path / f"{pictures[-1]}.png"
    assert (grey(second) - expected).abs().max() <= 1
    told = {
        "attngan": "sample",
        "caption": CAPTIONS[1],
        "seed": "3",
        "number": "1",
        "checkpoint": file_sha256(checkpoint),
    }
    assert Image.open(second).text == told
    assert Image.open(tmp_path / "grid.png").width > 260 + 2 * 64
    assert "4 pictures" in capsys.readouterr().out


def test_captions_from_a_file_and_refused_ones(checkpoint, tmp_path, capsys):
    file = tmp_path / "captions.txt"
    file.write_text(f"{CAPTIONS[0]}\nzebra crossing\n\n{CAPTIONS[2]} zebra\n", encoding="utf-8")
    assert command(checkpoint, tmp_path / "out", "--file", str(file)) == 1
    # pictures are named after the line; the third is blank, the second refused
    numbers = [name[:9] for name in drawn(tmp_path / "out")]
    assert numbers == ["00001_000", "00004_000", "grid.png"]
    said = capsys.readouterr().err
    assert "caption 2: the vocabulary knows no word of 'zebra crossing'" in said
    assert "caption 4: unknown words: zebra" in said
    assert "1 captions refused" in said


def test_names_stay_right_over_batches(checkpoint, sampler, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("\n".join(["zebra", *CAPTIONS, "zebra", *CAPTIONS]), encoding="utf-8")
    options = ["--file", str(file), "--samples_per_caption", "2", "--batch_size", "3"]
    assert command(checkpoint, tmp_path / "out", *options) == 1
    for position, line in enumerate((2, 3, 4, 5, 7, 8, 9, 10)):
        for number in (0, 1):
            expected = ((picture(sampler, CAPTIONS[position % 4], number) + 1) * 127.5).permute(1, 2, 0).flatten()
            name = f"{line:05d}_{number:03d}{named_after(CAPTIONS[position % 4])}.png"
            assert (grey(tmp_path / "out" / name) - expected).abs().max() <= 1


def test_captions_from_standard_input(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(CAPTIONS)))
    assert command(checkpoint, tmp_path, "-") == 0
    assert drawn(tmp_path) == [*(f"{i:05d}_000{named_after(CAPTIONS[i - 1])}.png" for i in (1, 2, 3, 4)), "grid.png"]


def test_interpolation_by_command(checkpoint, tmp_path, capsys):
    assert command(checkpoint, tmp_path, "--interpolate", *CAPTIONS[:2], "--steps", "3") == 0
    assert drawn(tmp_path) == ["interpolation.png", *(f"interpolation_000_{i:03d}.png" for i in range(3))]
    assert command(checkpoint, tmp_path, "--interpolate", CAPTIONS[0]) == 1
    assert "two captions" in capsys.readouterr().err


def test_nothing_to_draw(checkpoint, tmp_path, capsys):
    assert command(checkpoint, tmp_path) == 1
    assert "nothing to draw" in capsys.readouterr().err
    assert command(checkpoint, tmp_path, "--file", str(tmp_path / "none.txt")) == 1
    assert "none.txt" in capsys.readouterr().err
    assert command(checkpoint, tmp_path, CAPTIONS[0], "--samples_per_caption", "0") == 1
    assert command(checkpoint, tmp_path, "zebra") == 1


def test_checkpoints_that_cannot_draw(tmp_path, capsys):
    damsm = write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))
    assert command(damsm, tmp_path, CAPTIONS[0]) == 1
    said = capsys.readouterr().err
    assert "it is a damsm checkpoint" in said
    assert "attngan train" in said
    assert command(tmp_path / "absent.ckpt", tmp_path, CAPTIONS[0]) == 1
    assert str(tmp_path / "absent.ckpt") in capsys.readouterr().err


# --- attngan export ---------------------------------------------------------------------------------------------------


def test_an_exported_generator_draws_the_same(checkpoint, sampler, tmp_path, capsys):
    out = tmp_path / "folder" / "bird.safetensors"
    assert main(["export", str(checkpoint), str(out)]) == 0
    assert out.stat().st_size < checkpoint.stat().st_size
    exported = Sampler.load(out, "cpu")
    assert exported.sha256 != sampler.sha256
    assert torch.equal(picture(exported, CAPTIONS[0], 1), picture(sampler, CAPTIONS[0], 1))
    names = read_checkpoint(out)["state_dict"]
    assert {name.split(".")[0] for name in names} == {"ema", "damsm"}
    assert read_checkpoint(out)[ENTRY]["kind"] == "generator"
    assert main(["export", str(checkpoint), str(tmp_path / "bird.ckpt")]) == 1
    assert ".safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1.0), ("bfloat16", 8.0)])
def test_weights_of_16_bits_halve_the_file_and_hardly_change_the_pictures(
    checkpoint, sampler, tmp_path, dtype, tolerance
):
    sizes = {}
    for name in ("float32", dtype):
        assert main(["export", str(checkpoint), str(tmp_path / f"{name}.safetensors"), "--dtype", name]) == 0
        weights = read_checkpoint(tmp_path / f"{name}.safetensors")["state_dict"].values()
        assert {w.dtype for w in weights if w.is_floating_point()} == {getattr(torch, name)}
        sizes[name] = sum(w.nbytes for w in weights if w.is_floating_point())
    assert sizes[dtype] * 2 == sizes["float32"]
    exported = Sampler.load(tmp_path / f"{dtype}.safetensors", "cpu")
    assert {p.dtype for p in exported.generator.parameters()} == {torch.float32}
    assert exported.word_limit == sampler.word_limit
    assert exported.vocabulary == sampler.vocabulary
    # on average over the picture: these random weights are twice as large as usual, and a few pixels are on a brink
    difference = picture(exported, CAPTIONS[0]) - picture(sampler, CAPTIONS[0])
    assert float(difference.abs().mean()) / GREY_LEVEL < tolerance


def test_weights_that_float16_cannot_hold_are_refused(checkpoint, tmp_path, capsys):
    contents = torch.load(checkpoint, weights_only=True)
    name = next(n for n in contents["state_dict"] if n.startswith("ema.generator.") and n.endswith("weight"))
    contents["state_dict"][name].view(-1)[0] = 1e6
    torch.save(contents, tmp_path / "large.ckpt")
    arguments = ["export", str(tmp_path / "large.ckpt"), str(tmp_path / "out.safetensors"), "--dtype"]
    assert main([*arguments, "float16"]) == 1
    said = capsys.readouterr().err
    assert name in said
    assert "export as bfloat16" in said
    assert not (tmp_path / "out.safetensors").exists()
    assert main([*arguments, "bfloat16"]) == 0


def test_an_exported_generator_says_what_it_was_trained_on(checkpoint, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert main(["export", str(checkpoint), str(first), "--trained_on", "four captions"]) == 0
    assert main(["export", str(first), str(second)]) == 0
    for path in (first, second):
        assert Sampler.load(path, "cpu").title == f"{path.stem} (trained on four captions, {SIDES[-1]} px)"
