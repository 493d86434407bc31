import pytest
import torch

from attngan.networks.published import text_encoder_sizes, text_encoder_state
from attngan.networks.text_encoder import TextEncoder, encode_captions
from attngan.records import CaptionBatch, TextFeatures
from attngan.text.vocabulary import Vocabulary
from tests.networks.comparison import assert_close, tensors


def captions(width: int = 6) -> CaptionBatch:
    """Three captions of 2, 6 and 1 words: in no order of lengths."""
    ids = torch.tensor([[3, 4, 0, 0, 0, 0], [5, 6, 7, 8, 9, 3], [7, 0, 0, 0, 0, 0]])
    return CaptionBatch(torch.nn.functional.pad(ids, (0, width - 6)), torch.tensor([2, 6, 1]))


def tiny(rnn: str = "lstm") -> TextEncoder:
    return TextEncoder(10, embed_dim=8, word_dim=5, rnn=rnn).eval()


def assert_same(first: TextFeatures, second: TextFeatures) -> None:
    torch.testing.assert_close(first.words, second.words)
    torch.testing.assert_close(first.sentence, second.sentence)


@pytest.mark.golden
@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_equals_the_published_one(golden, rnn):
    g = tensors(golden(f"rnn_encoder_{rnn}"))
    published = {name.removeprefix("sd."): t for name, t in g.items() if name.startswith("sd.")}
    encoder = TextEncoder(**text_encoder_sizes(published)).eval()
    encoder.load_state_dict(text_encoder_state(published))
    words, sentence, padding = encoder(CaptionBatch(g["captions"], g["cap_lens"]))
    longest = g["words_emb"].shape[2]  # the published encoder cuts its output to the longest caption
    assert_close(words[:, :, :longest], g["words_emb"])
    assert (words[:, :, longest:] == 0).all()
    assert_close(sentence, g["sent_emb"])
    assert torch.equal(padding, torch.arange(g["captions"].shape[1]) >= g["cap_lens"][:, None])


@pytest.mark.golden
@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_needs_no_sorting_by_length(golden, golden_notes, rnn):
    g = tensors(golden(f"rnn_encoder_{rnn}"))
    published = {name.removeprefix("sd."): t for name, t in g.items() if name.startswith("sd.")}
    encoder = TextEncoder(**text_encoder_sizes(published)).eval()
    encoder.load_state_dict(text_encoder_state(published))
    features = encoder(CaptionBatch(g["captions_unsorted"], g["cap_lens_unsorted"]))
    order = [int(key[1:]) for key in golden_notes(f"rnn_encoder_{rnn}")["config"]["keys_sorted"]]  # "k3": item 3
    assert_close(features.sentence[order], g["sent_emb"])
    assert_close(features.words[order][:, :, : g["words_emb"].shape[2]], g["words_emb"])


@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_is_the_recurrent_network_over_the_true_words_alone(rnn):
    encoder, batch = tiny(rnn), captions()
    words, sentence, padding = encoder(batch)
    assert words.shape == (3, 8, 6)
    for i, length in enumerate(batch.lengths.tolist()):
        output, _ = encoder.rnn(encoder.embedding(batch.ids[i, None, :length]))
        torch.testing.assert_close(words[i, :, :length], output[0].T)
        torch.testing.assert_close(sentence[i], torch.cat([output[0, -1, :4], output[0, 0, 4:]]))
        assert (words[i, :, length:] == 0).all()
        assert padding[i].tolist() == [t >= length for t in range(6)]


def test_accepts_any_order_of_lengths():
    encoder, batch = tiny(), captions()
    features = encoder(batch)
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        moved = encoder(CaptionBatch(batch.ids[order], batch.lengths[order]))
        assert_same(moved, TextFeatures(*(tensor[order] for tensor in features)))


def test_extra_padding_has_no_effect():
    encoder = tiny()
    narrow, wide = encoder(captions()), encoder(captions(width=9))
    assert wide.words.shape == (3, 8, 9)  # as wide as the ids, however short the longest caption
    assert_same(narrow, wide._replace(words=wide.words[:, :, :6]))
    assert (wide.words[:, :, 6:] == 0).all()


def test_ids_at_padded_positions_have_no_effect():
    encoder, batch = tiny(), captions()
    other = CaptionBatch(batch.ids.masked_fill(batch.padding, 9), batch.lengths)
    assert_same(encoder(batch), encoder(other))


def test_captions_without_a_word_are_named():
    ids, lengths = captions()
    with pytest.raises(ValueError, match=r"captions 0, 2 of the batch have no word to encode: leave out captions"):
        tiny()(CaptionBatch(ids, lengths * torch.tensor([0, 1, 0])))
    with pytest.raises(ValueError, match=r"captions 0 of the batch have no word"):
        tiny()(CaptionBatch(torch.zeros(1, 0, dtype=torch.long), torch.tensor([0])))


def test_captions_as_text():
    vocabulary = Vocabulary.from_captions(["a red bird sings", "a bird"])
    encoder = TextEncoder(len(vocabulary), embed_dim=8, word_dim=5).eval()
    texts = ["a red bird that nobody knows sings", "sings"]
    features = encode_captions(encoder, vocabulary, texts, limit=4)
    known = [vocabulary.encode(text)[:4] for text in texts]
    assert_same(features, encoder(CaptionBatch(torch.tensor([known[0], known[1] + 3 * [0]]), torch.tensor([4, 1]))))
    with pytest.raises(ValueError, match="knows no word of the caption 'blue cat'"):
        encode_captions(encoder, vocabulary, ["a bird", "blue cat"], limit=4)


def test_dropout_in_training_alone():
    encoder, batch = tiny(), captions()
    assert torch.equal(encoder(batch).sentence, encoder(batch).sentence)
    encoder.train()
    assert not torch.equal(encoder(batch).sentence, encoder(batch).sentence)


@pytest.mark.parametrize(("vocabulary", "count"), [(5_450, 2_075_320), (27_297, 8_629_420)])
def test_has_as_many_parameters_as_the_published_one(vocabulary, count):
    with torch.device("meta"):
        encoder = TextEncoder(vocabulary)
    assert sum(p.numel() for p in encoder.parameters()) == count


def test_refuses_a_length_that_two_directions_cannot_share():
    with pytest.raises(ValueError, match=r"embed_dim must be even.*not 7"):
        TextEncoder(10, embed_dim=7)


def test_embedding_starts_within_a_tenth():
    weight = TextEncoder(200, embed_dim=4).embedding.weight
    assert 0.099 < weight.abs().max() <= 0.1


@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_checkpoint_keys_stay_as_they_are(rnn):
    """Old checkpoints must stay loadable: a change here needs a translation of old keys."""
    assert list(tiny(rnn).state_dict()) == [
        "embedding.weight",
        *(
            f"rnn.{part}_l0{direction}"
            for direction in ("", "_reverse")
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ),
    ]
