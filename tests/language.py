"""The smallest language model: a WordPiece tokenizer of letters and a few words, and a BERT of two layers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

#: Whole words that it knows; others it reads letter by letter.
WORDS = ("bird", "red", "blue", "yellow", "black", "small", "a", "with", "this", "has")
WIDTH = 16


def write_language_model(folder: Path, seed: int = 0) -> Path:
    """config.json, tokenizer.json and model.safetensors with random weights."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(x for x in letters if x not in WORDS)]
    pieces += [f"##{x}" for x in letters]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    marks = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = tokenizers.processors.BertProcessing(marks[1], marks[0])
    tokenizer.enable_truncation(8)  # as files of the hub have it; captions are cut by attngan alone
    tokenizer.enable_padding(length=8)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"vocab_size": len(pieces), "max_position_embeddings": 40}
    config = transformers.AutoConfig.for_model("bert", **sizes)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
    torch.manual_seed(seed)
    network = transformers.AutoModel.from_config(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder
