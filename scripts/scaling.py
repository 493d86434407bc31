"""On paper: what a step of each published model computes and what its processes tell each other, on so many GPUs.

Counted, not measured: parameters, multiplications of the networks' passes, batch norms, bytes. From those times follow
by the speeds that are assumed (the options), which are none that anybody measured here.
"""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import InceptionTrunk
from attngan.networks.text_encoder import TextEncoder
from attngan.records import TextFeatures

RECIPES = ("damsm_coco", "attngan_cub", "attngan_coco", "dmgan_cub", "dfgan_coco", "stackgan_plusplus_cub")
WORDS, EMBED, REGIONS, VOCABULARY = 18, 256, 289, 27297
#: Images of its training split, 2014.
COCO = 82_783
#: Forward and backward pass of trained weights; the backward pass to the inputs alone is one forward pass more.
TRAINED, THROUGH = 3, 2


@dataclass(frozen=True)
class Step:
    """What a step of one image computes (multiply-adds count twice), and what of it is told to other processes."""

    name: str
    batch: int
    flops: float
    weights: list[int]
    batch_norms: int
    matching: bool

    @property
    def gradient_bytes(self) -> float:
        return 4.0 * sum(self.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=120.0, help="reached by a GPU: a quarter of an H100's TF32")
    parser.add_argument("--within", type=float, default=300.0, help="GB/s that an all-reduce reaches within a machine")
    parser.add_argument("--between", type=float, default=40.0, help="the same between machines, for each GPU")
    parser.add_argument("--latency", type=float, default=30.0, help="microseconds of a small all-reduce")
    parser.add_argument("--images", type=int, default=16, help="on each GPU")
    given = parser.parse_args()
    print("| model | trained weights (M) | told a step (MB) | GFLOP an image | batch norms |")
    steps = [step_of(name) for name in RECIPES]
    for step in steps:
        print(
            f"| {step.name} | {' + '.join(f'{n / 1e6:.1f}' for n in step.weights)} | {step.gradient_bytes / 1e6:.0f} | "
            f"{step.flops / 1e9:.0f} | {step.batch_norms} |"
        )
    print(f"\n{given.images} images a GPU; milliseconds a step")
    print("| model | GPUs | compute | gradients | batch norms | matching: told, computed | at worst |")
    for step in steps:
        for gpus in (1, 8, 64):
            print(row(step, gpus, given))
    print("\nhours of one GPU, of computing alone")
    print("| model | COCO, 120 epochs | 100 million pairs, once |")
    for step in steps:
        hours = [images * step.flops / (given.tflops * 1e12) / 3600 for images in (120 * COCO, 100_000_000)]
        print(f"| {step.name} | {hours[0]:.1f} | {hours[1]:.0f} |")


def row(step: Step, gpus: int, given: argparse.Namespace) -> str:
    speed = (given.within if gpus <= 8 else given.between) * 1e9
    ring = 2 * (gpus - 1) / gpus
    compute = step.flops * given.images / (given.tflops * 1e12)
    gradients = step.gradient_bytes * ring / speed
    norms = 2 * step.batch_norms * given.latency * 1e-6 if gpus > 1 else 0.0  # forward and backward
    batch = gpus * given.images
    told = batch * (WORDS + 1) * EMBED * 4 + batch * batch * 8 if step.matching else 0
    matched = (
        TRAINED * 4 * given.images * batch * WORDS * REGIONS * EMBED / (given.tflops * 1e12) if step.matching else 0
    )
    parts = [compute, gradients, norms, told * ring / speed, matched]
    whole = sum(parts)
    milliseconds = [f"{1e3 * part:.1f}" for part in (*parts, whole)]
    at = f"{step.name} | {gpus} | {' | '.join(milliseconds[:3])} | {milliseconds[3]}, {milliseconds[4]}"
    return f"| {at} | {milliseconds[5]} ({compute / whole:.0%} computed) |"


def step_of(name: str) -> Step:
    """Counted on the meta device: nothing is computed."""
    recipe = yaml.safe_load((Path(__file__).parents[1] / "configs" / f"{name}.yaml").read_text())
    with torch.device("meta"):
        if "generator" not in recipe["model"]:
            return of_damsm(name, recipe)
        return of_gan(name, recipe)


def of_damsm(name: str, recipe: dict[str, Any]) -> Step:
    trunk = InceptionTrunk(weights=None)
    encoder, text = ImageEncoder(trunk, EMBED), TextEncoder(VOCABULARY, EMBED)
    flops = flops_of(lambda: encoder(torch.zeros(2, 3, 299, 299))) / 2
    trained = [p.numel() for module in (encoder, text) for p in module.parameters() if p.requires_grad]
    return Step(name, recipe["data"]["batch_size"], flops, [sum(trained)], 0, True)


def of_gan(name: str, recipe: dict[str, Any]) -> Step:
    model = recipe["model"]
    generator, discriminators = made(model["generator"]), made(model["discriminators"])
    width = generator.embed_dim or EMBED
    text = TextFeatures(torch.zeros(2, width, WORDS), torch.zeros(2, width), torch.zeros(2, WORDS, dtype=torch.bool))
    noise = generator.draw_noise(2)._replace(latent=torch.zeros(2, generator.noise_dim))
    drawn: list[Any] = []
    of_generator = flops_of(lambda: drawn.append(generator(noise, None if generator.embed_dim is None else text))) / 2
    of_discriminators = 0.0
    for number, images in enumerate(drawn[0].images):
        stage = discriminators.stage(number)

        def judge(stage: Any = stage, images: torch.Tensor = images) -> None:
            features = stage(*stage.extract(images).levels)
            if discriminators.embed_dim is not None:
                stage.judge_pair(features, torch.zeros(2, discriminators.embed_dim))
            stage.judge_image(features)

        of_discriminators += flops_of(judge) / 2
    matching = model.get("matching", 5.0) > 0
    scored = flops_of(lambda: ImageEncoder(InceptionTrunk(weights=None), EMBED)(torch.zeros(2, 3, 299, 299))) / 2
    # the discriminators learn from real and drawn images, and pass a gradient to the drawn ones once more
    flops = TRAINED * of_generator + (2 * TRAINED + THROUGH) * of_discriminators + (THROUGH * scored if matching else 0)
    if model.get("gradient_penalty"):
        flops += 2 * TRAINED * of_discriminators  # a backward pass through a backward pass, on real images
    players = [generator, *(discriminators.stage(number) for number in range(len(drawn[0].images)))]
    weights = [sum(p.numel() for p in player.parameters() if p.requires_grad) for player in players]
    norms = [sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in player.modules()) for player in players]
    return Step(name, recipe["data"]["batch_size"], flops, weights, norms[0] + 3 * sum(norms[1:]), matching)


def made(description: dict[str, Any]) -> Any:
    module, _, kind = description["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), kind)(**description.get("init_args", {}))


def flops_of(call: Any) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
