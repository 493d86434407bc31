"""torch-fidelity's own numbers on two folders, with weights made for the test (the real ones are a download)."""

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.commands.evaluate import evaluate
from attngan.evaluation.image_files import ImageFiles
from attngan.extractors.named import load_extractor
from attngan.metrics.fid import fid, gaussian_statistics
from attngan.metrics.inception_score import inception_score
from attngan.metrics.kid import kid
from attngan.metrics.manifold import manifold_scores
from tests.extractors.test_named import make_inception_tf_weights

COUNT = 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    rng = np.random.default_rng(0)
    found = []
    for name, contrast in (("a", 90), ("b", 15)):
        folder = tmp_path_factory.mktemp(name)
        for i in range(COUNT):
            coarse = rng.normal(0, contrast, (6, 6, 3)) + rng.uniform(60, 190, 3)
            image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
            image.save(folder / f"{i:03d}.png")
        found.append(folder)
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    return make_inception_tf_weights(fidelity, tmp_path_factory.mktemp("weights") / "inception.pth")


@pytest.fixture(scope="module")
def theirs(folders, weights):
    import torch_fidelity

    return torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        isc_splits=2,
        kid_subsets=10,
        kid_subset_size=12,
        samples_shuffle=False,
        feature_extractor_weights_path=str(weights),
        cache=False,
        verbose=False,
        batch_size=8,
        samples_find_deep=False,
    )


@pytest.fixture(scope="module")
def ours(folders, weights):
    extractor = load_extractor("inception-tf", weights)
    outputs = []
    for folder in folders:
        parts = [extractor(batch) for batch in ImageFiles(folder).batches(batch_size=5)]
        outputs.append((torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts])))
    return outputs


def test_equal_to_a_thousandth(theirs, ours):
    (features, logits), (reference, _) = ours
    score = inception_score(logits.double().softmax(1), 2)
    assert score.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-3)
    assert score.std == pytest.approx(theirs["inception_score_std"], rel=1e-3, abs=1e-5)
    distance = fid(gaussian_statistics(features), gaussian_statistics(reference))
    assert distance == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    kernel = kid(features, reference, subsets=10, subset_size=12, seed=2020)
    assert kernel.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
    assert kernel.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-3)
    manifold = manifold_scores(features, reference)
    assert (manifold.precision, manifold.recall) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-3)


def test_the_command_gives_the_same_fid(theirs, folders, weights, tmp_path):
    result = evaluate(
        images=folders[0],
        reference=folders[1],
        metrics=["fid"],
        extractor="inception-tf",
        extractor_weights=weights,
        out=tmp_path,
        progress=False,
        device="cpu",
    )
    score = result["scores"][f"fid_{COUNT}_inception-tf"]["value"]
    assert score == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
