"""The seed of `attngan compare` is that of every training, every evaluation and the picture."""

import json

import yaml

from attngan.sampling import Sampler
from tests.commands.test_compare import damsm, recipes, run  # noqa: F401 - fixtures

SEED = 5


def test_the_seed_reaches_training_scores_and_picture(toy_root, damsm, recipes, tmp_path, monkeypatch):  # noqa: F811
    drawn_with = []
    draw_features = Sampler.draw_features

    def recorded(self, text, noise_numbers, seed=0, truncation=None):
        drawn_with.append(seed)
        return draw_features(self, text, noise_numbers, seed, truncation)

    monkeypatch.setattr(Sampler, "draw_features", recorded)
    result = run(toy_root, damsm, recipes[:1], tmp_path / "out", seed=SEED)
    assert result["seed"] == SEED
    config = yaml.safe_load((tmp_path / "out" / recipes[0].stem / "config.yaml").read_text())
    assert config["seed_everything"] == config["data"]["seed"] == SEED
    evaluations = list((tmp_path / "out" / recipes[0].stem / "evaluation").glob("*.json"))
    assert evaluations
    for path in evaluations:
        assert f'"seed": {SEED}' in json.dumps(json.loads(path.read_text()))
    # beside those of the scores and the picture: the training's own pictures, whose seed is the recipe's
    assert drawn_with
    assert set(drawn_with) <= {SEED, 0} if config["pictures"]["every_steps"] else set(drawn_with) == {SEED}
