"""A metric is one declaration: it is then in the command, its help, the JSON, the table, the report and `compare`."""

import pytest

from attngan.commands.compare import best_rows
from attngan.commands.evaluate import evaluate
from attngan.evaluation.metric_table import DECLARED, in_order, larger_is_better, metrics_help, title_of
from attngan.evaluation.table import print_table
from attngan.metrics.declaration import metric
from attngan.training.quick_evaluation import QuickEvaluation
from tests.commands.test_evaluate import run


@pytest.fixture
def spread():
    """A metric that nobody has heard of: how far features lie from their mean."""
    before = dict(DECLARED)

    @metric("spread", label="Spread", better="larger", unit="px", beside=("real",), help="distance from the mean")
    def spread(features, seed):
        assert seed == 0
        return (features - features.mean(0)).norm(dim=1).mean()

    yield
    DECLARED.clear()
    DECLARED.update(before)


def test_one_declaration_is_enough(spread, tmp_path, toy_root, sampler, capsys):
    result = run(tmp_path, toy_root, metrics=["spread"], report=True, progress=True)
    names = ["spread_50_tiny", "spread_50_tiny_of_real_images"]
    assert list(result["scores"]) == names
    assert all(score["value"] > 0 for score in result["scores"].values())
    assert "spread (distance from the mean)" in metrics_help()
    printed = capsys.readouterr().out
    assert "Spread ↑ (px)" in printed
    assert "spread_50_tiny" not in printed  # that is in scores.json
    assert "real images" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Spread ↑ (px)<code>spread_50_tiny</code>" in page
    assert larger_is_better("spread_50_tiny")
    rows = [{"name": name, "scores": {names[0]: {"": {"value": value}}}} for name, value in (("a", 1.0), ("b", 2.0))]
    assert best_rows(rows, names[0]) == ["b"]
    assert QuickEvaluation(metrics=["spread"]).metrics == ("spread",)
    print_table(result)


def test_a_metric_may_take_only_what_there_is(spread):
    with pytest.raises(ValueError, match=r"metric odd takes weather: there are features, logits"):
        metric("odd", label="Odd", help="")(lambda weather: 0.0)
    with pytest.raises(ValueError, match="needs a label"):
        metric("odd", help="")(lambda features: 0.0)

    def elsewhere(features):
        return 0.0

    elsewhere.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="declared twice"):
        metric("spread", label="Spread", help="")(elsewhere)


def test_the_table_is_whole_and_in_order():
    names = [declared.name for declared in in_order()]
    assert names[:6] == ["is", "authenticity", "fid", "fid_infinity", "kid", "precision_recall"]
    assert set(names[6:]) == {"diversity", "r_precision", "clip", "colour_truth"}
    assert all(name in (evaluate.__doc__ or "") for name in names)
    with pytest.raises(ValueError, match=r"no metric is named typo: there are is, authenticity, fid"):
        in_order(["typo"])


def test_names_that_people_read():
    assert title_of("fid_30k_attngan") == "FID ↓"
    assert title_of("clip_r_precision_50_x") == "CLIP R-precision ↑ (%)"
    assert title_of("diversity_50x8_tiny") == "Diversity within a caption"
    assert title_of("something_else") == "something_else"


def test_a_metric_that_needs_captions_is_refused_while_training():
    with pytest.raises(ValueError, match="r_precision needs captions"):
        QuickEvaluation(metrics=["r_precision"])


def test_an_unknown_metric_is_refused_before_anything_is_read(tmp_path, toy_root):
    with pytest.raises(ValueError, match="no metric is named fjd"):
        run(tmp_path, toy_root, checkpoint=tmp_path / "none.ckpt", metrics=["fjd"])
