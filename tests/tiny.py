"""The smallest runs and checkpoints: 8 and 16 px, networks of a few channels."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from attngan import installed
from attngan.checkpoint import ENTRY, Entry, open_checkpoint, write_generator
from attngan.networks.damsm import DAMSM
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.multistage import AttnGANGenerator
from attngan.networks.text_encoder import TextEncoder
from attngan.text.vocabulary import Vocabulary
from attngan.training.gan_module import GANModule

EMBED = 16
SIDES = (8, 16)
CAPTIONS = (
    "a small red bird with a yellow belly",
    "a small blue bird with a yellow belly",
    "this bird has grey wings",
    "the black bird with white crown and a short bill",
)


def write_damsm(path: Path, vocabulary: Vocabulary) -> Path:
    """A DAMSM with random weights, as `attngan pretrain` writes one."""
    text_encoder = TextEncoder(len(vocabulary), embed_dim=EMBED, word_dim=8)
    damsm = DAMSM(text_encoder, ImageEncoder(ConvTrunk(16, 2), EMBED), vocabulary)
    state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
    torch.save({ENTRY: Entry("damsm", damsm=damsm.describe()).as_dict(), "state_dict": state}, path)
    return path


def gan(damsm: Path | None, **arguments: Any) -> GANModule:
    generator = AttnGANGenerator(
        stages=2, width=2, embed_dim=EMBED, noise_dim=4, condition_dim=4, residual_blocks=1, base_size=SIDES[0]
    )
    return GANModule(generator, DiscriminatorPyramid(SIDES, width=2, embed_dim=EMBED), damsm, **arguments)


def write_gan(path: Path, module: GANModule) -> Path:
    """What `attngan train` writes of this module, without Lightning's own entries."""
    contents: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(contents)
    torch.save(contents, path)
    return path


def put_in_place_of_the_shipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A generator with random weights, found where the one that ships is looked for."""
    root.mkdir(exist_ok=True)
    damsm = write_damsm(root / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))
    checkpoint = open_checkpoint(write_gan(root / "last.ckpt", gan(damsm)))
    path = root / "checkpoints" / installed.SHIPPED
    generator, text = checkpoint.generator(), checkpoint.caption_reader()
    write_generator(path, generator, text, word_limit=12, images_seen=1234, trained_on="four captions")
    places = installed.roots()
    monkeypatch.setattr(installed, "roots", lambda: [root, *places])
    return path


def write_recipe(path: Path, recipe: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(recipe))
    return path


def damsm_recipe(root: Path, run: Path) -> dict[str, Any]:
    return {
        "run_dir": str(run),
        "logger": "none",
        "data": {"root": str(root), "image_size": 16, "stages": 1, "batch_size": 14, "workers": 0},
        "model": {
            "image_trunk": {
                "class_path": "attngan.networks.image_trunks.ConvTrunk",
                "init_args": {"input_size": 16, "width": 2},
            },
            "embed_dim": EMBED,
            "word_dim": 8,
        },
        "checkpoints": {"best_by": "validation/r1"},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }


def gan_recipe(root: Path, run: Path, damsm: Path) -> dict[str, Any]:
    networks = {
        "generator": {
            "class_path": "attngan.networks.multistage.AttnGANGenerator",
            "init_args": {
                "stages": 2,
                "width": 2,
                "embed_dim": EMBED,
                "noise_dim": 4,
                "condition_dim": 4,
                "residual_blocks": 1,
                "base_size": SIDES[0],
            },
        },
        "discriminators": {
            "class_path": "attngan.networks.discriminators.DiscriminatorPyramid",
            "init_args": {"resolutions": list(SIDES), "width": 2, "embed_dim": EMBED},
        },
    }
    return {
        "run_dir": str(run),
        "logger": "none",
        "data": {"root": str(root), "image_size": SIDES[-1], "stages": 2, "batch_size": 14, "workers": 0},
        "model": {"damsm": str(damsm), **networks},
        "pictures": {"every_steps": 0},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
