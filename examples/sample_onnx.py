"""Draws captions with an exported generator, without torch and without attngan: onnxruntime, numpy and Pillow.

    attngan export last.ckpt generator.onnx
    python sample_onnx.py generator.onnx "a small red bird with black wings" "a white bird with a long beak"

The pictures are those of ``attngan sample`` with the same seed. Of generators with the published LSTM; one that reads
through a language model needs its tokenizer.
"""

import json
import re
import sys

import numpy as np
import onnxruntime
from PIL import Image

SEED = 0


def main(file: str, captions: list[str]) -> None:
    session = onnxruntime.InferenceSession(file)
    told = json.loads(session.get_modelmeta().custom_metadata_map["attngan"])
    number = {word: i for i, word in enumerate(told["words"])}
    for position, caption in enumerate(captions):
        ids = [number.get(word, told["unknown"]) for word in re.findall(r"\w+", caption.lower())]
        ids = [i for i in ids if i is not None][: told["word_limit"]]
        noise = np.random.default_rng((SEED, 0)).standard_normal((1, told["noise"]), dtype=np.float32)
        inputs = {"ids": np.array([ids]), "lengths": np.array([len(ids)]), "noise": noise}
        image = session.run(["image"], inputs)[0][0]
        pixels = ((image + 1) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(f"{position:05d}.png")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
