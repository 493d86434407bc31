"""A pretrained text encoder through pretraining, the generator's training, export and sampling by the command line."""

from pathlib import Path

import pytest

from attngan.checkpoint import open_checkpoint
from attngan.cli import main
from attngan.networks.damsm import DAMSM
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.pretrained_text import PretrainedTextEncoder
from attngan.text.pieces import tokenizer_of
from attngan.training.damsm_module import DAMSMModule
from tests.language import write_language_model
from tests.tiny import EMBED, damsm_recipe, gan_recipe, write_recipe


@pytest.mark.parametrize("frozen", [True, False])
def test_a_generator_reads_captions_of_words_that_no_training_caption_had(
    toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frozen: bool
) -> None:
    tokenizer_of.cache_clear()
    recipe = damsm_recipe(toy_root, tmp_path / "damsm")
    recipe["data"] |= {"truncation": "first"}
    recipe["model"] |= {
        "text_encoder": {
            "class_path": "attngan.networks.pretrained_text.PretrainedTextEncoder",
            "init_args": {
                "weights": str(write_language_model(tmp_path / "model")),
                "embed_dim": EMBED,
                "frozen": frozen,
            },
        }
    }
    del recipe["model"]["word_dim"]
    assert main(["pretrain", "--config", str(write_recipe(tmp_path / "damsm.yaml", recipe))]) == 0
    damsm = next((tmp_path / "damsm" / "checkpoints").glob("best*.ckpt"))
    encoder = open_checkpoint(damsm).damsm().text_encoder
    assert encoder.word_projection.weight.std() > 0
    assert bool(encoder.pretrained_weights()) is not frozen

    recipe = gan_recipe(toy_root, tmp_path / "gan", damsm)
    recipe["data"] |= {"truncation": "first"}
    assert main(["train", "--config", str(write_recipe(tmp_path / "gan.yaml", recipe))]) == 0
    exported = tmp_path / "generator.safetensors"
    assert main(["export", str(tmp_path / "gan" / "checkpoints" / "last.ckpt"), str(exported)]) == 0
    capsys.readouterr()
    assert main(["sample", str(exported), "a vermilion kookaburra 鳥", "--out", str(tmp_path / "drawn")]) == 0
    told = capsys.readouterr()
    assert "unknown words: 鳥\n" in told.err
    assert "kookaburra" not in told.err
    assert (tmp_path / "drawn" / "grid.png").is_file()
    assert main(["sample", str(exported), "鳥", "--out", str(tmp_path / "nothing")]) == 1
    assert "knows no word of '鳥'" in capsys.readouterr().err


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_pretrained_weights_are_trained_by_smaller_steps(tmp_path: Path, weight_decay: float) -> None:
    encoder = PretrainedTextEncoder(str(write_language_model(tmp_path / "model")), EMBED, frozen=False)
    module = DAMSMModule(
        ConvTrunk(16, 2), encoder, EMBED, learning_rate=0.5, pretrained_rate=0.1, weight_decay=weight_decay
    )
    assert encoder.vocabulary is not None
    module.damsm = DAMSM(encoder, module.image_encoder, encoder.vocabulary)
    groups = module.configure_optimizers().param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    pretrained = {id(p) for p in encoder.pretrained_weights()}
    assert rates == {id(p): 0.05 if id(p) in pretrained else 0.5 for p in module.damsm.parameters()}
    assert {p.ndim > 1 for group in groups if group["weight_decay"] for p in group["params"]} <= {True}


def test_features_of_another_length_are_told_of_at_once(
    toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = damsm_recipe(toy_root, tmp_path / "damsm")
    encoder = "attngan.networks.pretrained_text.PretrainedTextEncoder"
    weights = str(write_language_model(tmp_path / "model"))
    recipe["model"] |= {
        "text_encoder": {"class_path": encoder, "init_args": {"weights": weights, "embed_dim": EMBED + 2}}
    }
    assert main(["pretrain", "--config", str(write_recipe(tmp_path / "damsm.yaml", recipe))]) == 1
    assert f"set model.text_encoder.init_args.embed_dim={EMBED}" in capsys.readouterr().err
