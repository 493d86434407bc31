"""Training that starts from the weights of another run, on other captions."""

import json
import re

import pytest
import torch

from attngan.checkpoint import open_checkpoint, read_checkpoint
from attngan.cli import main
from attngan.networks.damsm import DAMSM
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.text_encoder import TextEncoder
from attngan.text.vocabulary import Vocabulary
from attngan.training.initial_weights import SharedWords, start_damsm
from tests.tiny import EMBED, damsm_recipe, gan, gan_recipe, write_damsm, write_gan, write_recipe

OLD = ["a red bird", "a blue bird with wings"]
NEW = ["a red fish", "a green fish with fins"]


def damsm_of(captions, **arguments):
    vocabulary = Vocabulary.from_captions(captions)
    text_encoder = TextEncoder(len(vocabulary), **{"embed_dim": EMBED, "word_dim": 8} | arguments)
    return DAMSM(text_encoder, ImageEncoder(ConvTrunk(16, 2), EMBED), vocabulary)


def row(damsm, word):
    return damsm.text_encoder.embedding.weight[damsm.vocabulary.words.index(word)]


def test_known_words_keep_their_embeddings_and_new_ones_start_fresh(tmp_path):
    old = open_checkpoint(write_damsm(tmp_path / "old.ckpt", Vocabulary.from_captions(OLD)))
    new = damsm_of(NEW)
    fresh = {word: row(new, word).clone() for word in ("fish", "green", "fins")}
    told = start_damsm(new, old)
    theirs = old.damsm()
    for word in ("<end>", "<unk>", "a", "red", "with"):
        assert torch.equal(row(new, word), row(theirs, word)), word
    for word, before in fresh.items():
        assert torch.equal(row(new, word), before), word
    ours, others = new.text_encoder.rnn.state_dict(), theirs.text_encoder.rnn.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in ours.items())
    same = zip(new.image_encoder.parameters(), theirs.image_encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert "5 words keep their embeddings, 3 new ones start fresh, 3 of its words are in no caption" in told
    assert SharedWords.of(new.vocabulary, theirs.vocabulary) == (5, 3, 3)


@pytest.mark.parametrize("other", [{"word_dim": 6}, {"rnn": "gru"}, {"embed_dim": 2 * EMBED}])
def test_encoders_of_another_size_are_refused_with_the_option(tmp_path, other):
    old = open_checkpoint(write_damsm(tmp_path / "old.ckpt", Vocabulary.from_captions(OLD)))
    new = damsm_of(NEW)
    new.text_encoder = TextEncoder(len(new.vocabulary), **{"embed_dim": EMBED, "word_dim": 8} | other)
    ((name, _),) = other.items()
    with pytest.raises(ValueError, match=rf"old\.ckpt: its text encoder has {name} .*set model\.{name}="):
        start_damsm(new, old)


@pytest.fixture
def fish(tmp_path):
    """A folder of captioned pictures whose words a checkpoint of birds knows in part."""
    from PIL import Image

    root = tmp_path / "fish"
    root.mkdir()
    for i in range(40):
        Image.new("RGB", (24, 24), (6 * i, 90, 255 - 6 * i)).save(root / f"{i:02d}.png")
        (root / f"{i:02d}.txt").write_text(f"a {['red', 'green'][i % 2]} fish with {['wings', 'fins'][i // 2 % 2]}")
    return root


@pytest.fixture
def birds(tmp_path):
    """A generator's checkpoint, with its DAMSM, of the captions of birds."""
    damsm = write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(OLD))
    return write_gan(tmp_path / "birds.ckpt", gan(damsm))


def recipe_of(root, recipe, name, tmp_path):
    recipe["data"] |= {"root": str(root), "source": "folder", "batch_size": 8}
    return ["--config", str(write_recipe(tmp_path / name, recipe))]


def test_a_generator_goes_on_with_other_captions_and_resumes(fish, birds, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = recipe_of(fish, gan_recipe(fish, run, birds), "gan.yaml", tmp_path)
    assert main(["train", *arguments]) == 1
    assert "--init_from CHECKPOINT" in capsys.readouterr().err

    rates = ["--model.rates.generator", "0", "--model.rates.discriminator", "0"]
    assert main(["train", *arguments, "--init_from", str(birds), *rates]) == 0
    out = capsys.readouterr().out
    assert f"from {birds}: the generator and its discriminators" in out
    assert "of 7 different words the checkpoint knows 4" in out
    assert re.search(r"3 \(most often fish, (green, fins|fins, green)\) become <unk>", out)
    before, after = (read_checkpoint(path)["state_dict"] for path in (birds, run / "checkpoints" / "last.ckpt"))
    learnt = [name for name in before if name.startswith(("ema.generator.", "discriminators.", "damsm."))]
    weights = [name for name in learnt if "running_" not in name and "num_batches" not in name]
    assert weights
    assert all(torch.equal(before[name], after[name]) for name in weights)

    birds.unlink()  # a resumed run has weights of its own
    assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0


def test_a_damsm_goes_on_with_other_captions(fish, birds, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = recipe_of(fish, damsm_recipe(fish, run), "damsm.yaml", tmp_path)
    assert main(["pretrain", *arguments, "--init_from", str(birds), "--model.learning_rate", "0"]) == 0
    assert "6 words keep their embeddings, 3 new ones start fresh, 2 of its words" in capsys.readouterr().out
    old, new = open_checkpoint(birds).damsm(), open_checkpoint(run / "checkpoints" / "last.ckpt").damsm()
    assert torch.equal(row(new, "wings"), row(old, "wings"))
    birds.unlink()
    assert main(["pretrain", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0


def test_captions_without_any_known_word_are_refused(fish, birds, tmp_path, capsys):
    for file in fish.glob("*.txt"):
        file.write_text("ein roter Fisch")
    arguments = recipe_of(fish, gan_recipe(fish, tmp_path / "run", birds), "gan.yaml", tmp_path)
    assert main(["train", *arguments, "--init_from", str(birds)]) == 1
    assert "knows no word of these captions" in capsys.readouterr().err


def test_a_generator_that_reads_no_captions_has_no_words_to_take(tmp_path):
    from attngan.checkpoint import write_generator

    write_generator(tmp_path / "alone.ckpt", gan(None, matching=0.0).generator)
    with pytest.raises(ValueError, match="reads no captions"):
        start_damsm(damsm_of(NEW), open_checkpoint(tmp_path / "alone.ckpt"))


def test_the_run_keeps_what_it_started_from(fish, birds, tmp_path):
    arguments = recipe_of(fish, damsm_recipe(fish, tmp_path / "run"), "damsm.yaml", tmp_path)
    assert main(["pretrain", *arguments, "--init_from", str(birds)]) == 0
    assert json.dumps(str(birds))[1:-1] in (tmp_path / "run" / "config.yaml").read_text()
