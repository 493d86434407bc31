"""One sheet of numbered pictures, drawn and real ones mixed, for somebody who does not know which are which.

`scripts/blind_sheet.py --data data/birds --out sheet` writes sheet.png to look at, captions.txt by number, and
key.json, to be opened after the count.
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from attngan.data.images import load_pixels, shorter_side
from attngan.data.sources.cub import read_cub
from attngan.pictures import to_pil
from attngan.pixels import centre_crop
from attngan.sampling import Sampler

CELL, LABEL, COLUMNS = 128, 14, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/cub_64.safetensors"))
    parser.add_argument("--data", type=Path, default=Path("data/birds"), help="CUB: captions and real images")
    parser.add_argument("--out", type=Path, required=True, help="folder for sheet, captions and key")
    parser.add_argument("--count", type=int, default=40, help="drawn pictures, and as many real ones")
    parser.add_argument("--seed", type=int, default=0, help="of captions, noise and order")
    given = parser.parse_args()
    dice = random.Random(given.seed)
    sampler = Sampler.load(given.checkpoint)
    side = sampler.resolution
    chosen = dice.sample(read_cub(given.data, "test"), 2 * given.count)
    captions = [dice.choice(image.captions) for image in chosen]
    drawn = sampler.draw(captions[: given.count], list(range(given.count)), given.seed).images[-1]
    pictures = [(to_pil(image), "drawn", text) for image, text in zip(drawn, captions, strict=False)]
    for image, text in zip(chosen[given.count :], captions[given.count :], strict=True):
        # the pixels that training and scores see
        pixels = load_pixels(image.path, image.box, shorter_side(side))
        pictures.append((Image.fromarray(centre_crop(pixels, side)), "real", text))
    dice.shuffle(pictures)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + LABEL)), "white")
    write = ImageDraw.Draw(sheet)
    for number, (picture, _, _) in enumerate(pictures):
        left, top = number % COLUMNS * CELL, number // COLUMNS * (CELL + LABEL)
        write.text((left + 2, top + 1), str(number), fill="black")
        sheet.paste(picture.resize((CELL - 4, CELL - 4), Image.Resampling.BICUBIC), (left, top + LABEL))
    given.out.mkdir(parents=True, exist_ok=True)
    sheet.save(given.out / "sheet.png")
    lines = [f"{number}: {text}" for number, (_, _, text) in enumerate(pictures)]
    (given.out / "captions.txt").write_text("\n".join(lines) + "\n")
    (given.out / "key.json").write_text(json.dumps([kind for _, kind, _ in pictures]))
    print(f"{given.out / 'sheet.png'}: {len(pictures)} pictures")


if __name__ == "__main__":
    main()
