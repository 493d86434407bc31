import io
import pickle

import numpy as np
import pytest
import torch

from attngan.data.published_pickles import published_vocabulary
from attngan.text.tokenizer import Tokenizer
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions

CAPTIONS = ["a red bird", "a red red beak", "a blue bird"]


def test_most_frequent_first_then_by_alphabet():
    vocabulary = Vocabulary.from_captions(CAPTIONS)
    assert vocabulary.words == ("<end>", "<unk>", "a", "red", "bird", "beak", "blue")
    assert Vocabulary.from_captions(reversed(CAPTIONS)) == vocabulary


def test_rare_words_are_left_out_and_read_as_unknown():
    vocabulary = Vocabulary.from_captions(CAPTIONS, min_count=2)
    assert vocabulary.words[2:] == ("a", "red", "bird")
    assert vocabulary.encode("A blue BIRD") == [2, 1, 4]
    assert vocabulary.unknown_words("a blue, blue sky bird") == ["blue", "sky"]
    assert vocabulary.knows_any("red sky")
    assert not vocabulary.knows_any("sky")
    assert vocabulary.words_of([2, 1, 0]) == ["a", "<unk>", "<end>"]


def test_survives_a_checkpoint_read_with_weights_only():
    vocabulary = Vocabulary.from_captions(CAPTIONS, Tokenizer("published"), min_count=2)
    file = io.BytesIO()
    torch.save({"vocabulary": vocabulary.to_dict()}, file)
    file.seek(0)
    assert Vocabulary.from_dict(torch.load(file, weights_only=True)["vocabulary"]) == vocabulary


def test_difference_shows_both_sizes_and_the_first_words_that_differ():
    data, checkpoint = Vocabulary.from_captions(CAPTIONS), Vocabulary.from_captions([*CAPTIONS, "a green bird"])
    message = data.difference(checkpoint)
    assert "data: 7 words, checkpoint: 8" in message
    assert "id 3: 'red' / 'bird'" in message  # "bird" now is as frequent as "red"
    assert data.difference(data) == ""
    assert "tokenizers 'words' and 'published'" in data.difference(
        Vocabulary.from_captions(CAPTIONS, Tokenizer("published"))
    )


def test_broken_vocabularies_are_refused():
    with pytest.raises(ValueError, match="padding"):
        Vocabulary(("bird", "red"))
    with pytest.raises(ValueError, match="'red' twice"):
        Vocabulary(("<end>", "<unk>", "red", "red"))


@pytest.mark.golden
def test_published_dictionary(golden_notes):
    notes = golden_notes("tokenizer_dictionary")
    vocabulary = Vocabulary.in_published_order(notes["tokens_train"] + notes["tokens_test"])
    assert {word: position for position, word in enumerate(vocabulary.words)} == notes["wordtoix"]
    assert {str(position): word for position, word in enumerate(vocabulary.words)} == notes["ixtoword"]
    assert len(vocabulary) == notes["n_words"]
    for split in ("train", "test"):
        encoded = [vocabulary.encode_tokens(words) for words in notes[f"tokens_{split}"]]
        assert encoded == notes[f"ids_{split}"]


@pytest.mark.parametrize("protocol", [0, 2])
def test_published_captions_pickle_loads_unchanged(tmp_path, protocol):
    by_id = {0: "<end>", 1: "bird", 2: "caf"}
    path = tmp_path / "captions.pickle"
    content = [[[1, 2]], [[2]], by_id, {word: position for position, word in by_id.items()}]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    vocabulary = published_vocabulary(path)
    assert vocabulary.words == ("<end>", "bird", "caf")
    assert not vocabulary.has_unknown
    assert vocabulary.encode("A bird in a café") == [1, 2]  # words that it lacks are left out


def test_another_pickle_is_not_taken_for_a_vocabulary(tmp_path):
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps(["a", "b"]))
    with pytest.raises(ValueError, match=r"captions\.pickle: not a published captions"):
        published_vocabulary(path)
    path.write_bytes(pickle.dumps([[], [], {0: "<end>", 1: "bird"}, {"<end>": 0, "bird": 2}]))
    with pytest.raises(ValueError, match="contradict"):
        published_vocabulary(path)


def test_padding_is_where_no_word_is():
    batch = pad_captions([[5, 6], [7], [8, 9, 4]])
    assert batch.ids.tolist() == [[5, 6, 0], [7, 0, 0], [8, 9, 4]]
    assert batch.padding.tolist() == [[False, False, True], [False, True, True], [False, False, False]]
    assert pad_captions([[5]], width=3).ids.tolist() == [[5, 0, 0]]
    with pytest.raises(ValueError, match="without any known word"):
        pad_captions([[5], []])
    with pytest.raises(ValueError, match="more than the 2"):
        pad_captions([[1, 2, 3]], width=2)


def test_limit_keeps_a_random_ordered_subset_or_the_first_words():
    ids = list(range(100, 130))
    rng = np.random.default_rng(0)
    drawn = [limit_words(ids, 18, rng) for _ in range(20)]
    assert all(len(words) == 18 and words == sorted(set(words)) and set(words) <= set(ids) for words in drawn)
    assert len({tuple(words) for words in drawn}) == 20
    assert {word for words in drawn for word in words} == set(ids)
    assert limit_words(ids, 18) == ids[:18]
    assert limit_words(ids[:18], 18, rng) == ids[:18]


@pytest.mark.golden
def test_limit_like_the_published_get_caption(golden, golden_notes):
    """The subset itself comes from another generator; length, order, membership and padding must agree."""
    vectors = golden("get_caption")
    limit = golden_notes("get_caption")["config"]["WORDS_NUM"]
    for seed, number, length in vectors["seed_cap_len"]:
        caption = vectors[f"caption_{number}"].tolist()
        published = vectors[f"x_seed{seed}_cap{number}"][:, 0]
        ours = limit_words(caption, limit, np.random.default_rng(int(seed)))
        padded = pad_captions([ours], width=limit)
        assert padded.lengths.item() == length
        assert ((padded.ids[0] == 0).numpy() == (published == 0)).all()
        for words in (ours, published[:length].tolist()):
            positions = [caption.index(word) for word in words]
            assert positions == sorted(set(positions))
        if len(caption) <= limit:
            assert ours == published[:length].tolist()
