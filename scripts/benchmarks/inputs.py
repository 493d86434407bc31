"""What both forms work on: drawn pictures and captions, random weights. Kept in a folder, so that a row starts at once.

Speed does not depend on weights, but for numbers that are denormal or infinite: the image network's batch norms are
fitted to its activations once.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.sizes import Sizes

CLASSES = 150


class Inputs:
    """Files that the ways read, made when they are first asked for.

    Args:
        folder: Where they lie; runs of other sizes lie beside them.
        sizes: How large they are.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.folder, self.sizes = folder, sizes
        folder.mkdir(parents=True, exist_ok=True)

    # --- tensors, the same for both forms -----------------------------------------------------------------------------

    def captions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Word ids, lengths (longest first, as the published loader sorts them) and classes."""
        sizes, dice = self.sizes, torch.Generator().manual_seed(1)
        lengths = torch.randint(sizes.words // 2, sizes.words + 1, (sizes.batch,), generator=dice).sort(descending=True)
        longest = lengths.values.clone()
        longest[0] = sizes.words
        ids = torch.randint(1, sizes.vocabulary, (sizes.batch, sizes.words), generator=dice)
        ids[torch.arange(sizes.words) >= longest[:, None]] = 0
        return ids, longest, torch.randint(CLASSES, (sizes.batch,), generator=dice)

    def images(self, *sides: int) -> list[Tensor]:
        """The same smooth pictures in [-1, 1] at each of these sides."""
        small = torch.rand(self.sizes.batch, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
        return [F.interpolate(small, (side, side), mode="bilinear") for side in sides]

    def features(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Regions, words, pooled vectors and sentences in the joint embedding; the first two want gradients."""
        sizes, dice = self.sizes, torch.Generator().manual_seed(3)
        regions = torch.randn(sizes.batch, sizes.embed, sizes.places, sizes.places, generator=dice)
        words = torch.randn(sizes.batch, sizes.embed, sizes.words, generator=dice)
        pooled, sentence = torch.randn(2, sizes.batch, sizes.embed, generator=dice)
        return regions.requires_grad_(), words.requires_grad_(), pooled, sentence

    # --- files --------------------------------------------------------------------------------------------------------

    def photographs(self) -> Path:
        """A folder of JPEGs of 640 x 480 pixels with ten captions each, split into training and test images."""
        sizes = self.sizes
        root = self.folder / f"photographs_{sizes.images}_{sizes.vocabulary}_{sizes.words}"
        table = root / "metadata.jsonl"
        if not table.is_file():
            root.mkdir(exist_ok=True)
            test = max(2, sizes.images // 24)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda number: _draw(root / f"{number:05}.jpg", number), range(sizes.images + test)))
            table.write_text("\n".join(map(json.dumps, self._rows(test))))
        return root

    def _rows(self, test: int) -> list[dict[str, object]]:
        sizes, dice = self.sizes, np.random.default_rng(0)
        return [
            {
                "file_name": f"{number:05}.jpg",
                "texts": [
                    " ".join(f"w{word}" for word in dice.integers(sizes.vocabulary, size=sizes.words))
                    for _ in range(10)
                ],
                "class": int(dice.integers(CLASSES)),
                "split": "train" if number < sizes.images else "test",
            }
            for number in range(sizes.images + test)
        ]

    def inception(self) -> Path:
        """A state dict of torchvision's Inception-v3, whose batch norms fit its activations."""
        path = self.folder / "inception.pth"
        if not path.is_file():
            from torchvision.models import inception_v3

            torch.manual_seed(0)
            network = inception_v3(weights=None, init_weights=False, transform_input=False).train()
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None
            smooth = F.interpolate(torch.rand(4, 3, 24, 24) * 2 - 1, (299, 299))
            with torch.no_grad():
                network(smooth + 0.1 * torch.randn(4, 3, 299, 299))
            torch.save(network.state_dict(), path)
        return path

    def data_options(self, image_size: int, stages: int) -> dict[str, object]:
        """The arguments of the data module that reads the photographs."""
        return {
            "root": str(self.photographs()),
            "source": "folder",
            "image_size": image_size,
            "stages": stages,
            "batch_size": self.sizes.batch,
            "train_words": self.sizes.words,
            "validation": "published",
            "cache_dir": str(self.folder / "cache"),
        }

    def damsm(self) -> Path:
        """A DAMSM on Inception as `attngan pretrain` writes one, with random weights."""
        sizes = self.sizes
        path = self.folder / f"damsm_{sizes.embed}_{sizes.images}_{sizes.vocabulary}_{sizes.words}.ckpt"
        if not path.is_file():
            from attngan.checkpoint import ENTRY, Entry
            from attngan.data.datamodule import TextImageDataModule
            from attngan.networks.damsm import DAMSM
            from attngan.networks.image_encoder import ImageEncoder
            from attngan.networks.image_trunks import InceptionTrunk
            from attngan.networks.text_encoder import TextEncoder

            data = TextImageDataModule(**self.data_options(sizes.side, sizes.stages))  # type: ignore[arg-type]
            data.setup()
            encoder = ImageEncoder(InceptionTrunk(str(self.inception())), sizes.embed)
            damsm = DAMSM(TextEncoder(len(data.vocabulary), sizes.embed), encoder, data.vocabulary)
            state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
            torch.save({ENTRY: Entry("damsm", damsm=damsm.describe()).as_dict(), "state_dict": state}, path)
        return path


def _draw(path: Path, number: int) -> None:
    """A JPEG of about 100 kB, as a photograph is: detail at all scales."""
    from PIL import Image

    dice, pixels = np.random.default_rng(number), np.full((480, 640, 3), 128, np.float32)
    for octave in range(2, 9):
        side = 2**octave
        coarse = Image.fromarray((dice.normal(128, 50, (side, side, 3))).clip(0, 255).astype(np.uint8))
        pixels += (np.asarray(coarse.resize((640, 480), Image.Resampling.BILINEAR)) - 128.0) / octave
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
