"""Model cards, and generators pushed to and pulled from a hub: a local one that answers as the real one does."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml

from attngan.checkpoint import open_checkpoint
from attngan.cli import main
from attngan.sampling import Sampler
from attngan.text.vocabulary import Vocabulary
from tests.tiny import CAPTIONS, gan, write_damsm, write_gan


class Hub(BaseHTTPRequestHandler):
    """The hub's HTTP: repositories made, files asked about, committed, and given out."""

    files: ClassVar[dict[str, bytes]] = {}
    made: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, *_: object) -> None: ...

    def answer(self, told: object, status: int = 200) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            self.answer({"url": "https://huggingface.co/some/birds", "id": "some/birds", "name": "some/birds"})
        elif self.path == "/api/validate-yaml":  # the head of a card
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitOid": "a" * 40, "commitUrl": "https://huggingface.co/some/birds/commit/" + "a" * 40}
            self.answer(told | {"success": True, "hookOutput": ""})
        else:
            self.answer({"error": f"unknown: {self.path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.partition("/some/birds/resolve/main/")[2]
        if name not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if not name else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    Hub.files.clear()
    Hub.made.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A checkpoint where a run has it, with its recipe."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    recipe = {"model": {"matching": 5.0}, "data": {"source": "cub"}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(recipe))
    damsm = write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))
    module = gan(damsm)
    module.steps, module.images_seen = 12, 345
    return write_gan(tmp_path / "run" / "checkpoints" / "last.ckpt", module)


def test_a_card_tells_data_recipe_scores_their_protocol_and_terms(run: Path, tmp_path: Path, capsys) -> None:
    scores = tmp_path / "scores.json"
    told = {
        "scores": {"fid_100_lite": {"value": 12.345, "std": 0.5, "std_over": "10 splits"}},
        "protocol": None,
        "subject": {"checkpoint_sha256": open_checkpoint(run).sha256},
        "images": 100,
        "seed": 0,
        "reference": {"source": "cub", "split": "test", "images": 2933},
        "extractor": {"name": "lite", "sha256": "ab" * 32},
        "versions": {"attngan": "0.1.0"},
    }
    scores.write_text(json.dumps(told))
    (tmp_path / "notes.md").write_text("## Limits\n\nIt draws birds.\n")
    file = tmp_path / "birds.safetensors"
    arguments = ["export", str(run), str(file), "--trained_on", "CUB | birds", "--card", "--license", "cc-by-nc-4.0"]
    arguments += ["--data_terms", "Research alone.", "--scores", str(scores), "--notes", str(tmp_path / "notes.md")]
    assert main(arguments) == 0
    card = (tmp_path / "birds.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {
        "library_name": "attngan",
        "pipeline_tag": "text-to-image",
        "tags": ["gan", "attngan"],
        "license": "cc-by-nc-4.0",
    }
    for part in (
        hashlib.sha256(file.read_bytes()).hexdigest(),
        "`AttnGANGenerator`",
        "CUB \\| birds",
        "12 steps, 345 images seen",
        "matching: 5.0",
        "| `fid_100_lite` | 12.35 ± 0.5 (over 10 splits) |",
        "against: cub test, 2,933 real images",
        "100 drawn, seed 0",
        "Research alone.",
        "It draws birds.",
    ):
        assert part in card
    scores.write_text(json.dumps(told | {"subject": {"checkpoint_sha256": "0" * 64}}))
    assert main(arguments) == 1
    assert "its scores are of another checkpoint" in capsys.readouterr().err


def test_pushed_and_pulled_it_draws_the_same(run: Path, hub: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "birds.safetensors"
    assert main(["export", str(run), str(file), "--card"]) == 0
    assert main(["push", str(file), "some/birds", "--private", "--endpoint", hub]) == 0
    assert Hub.made[0].get("private") or Hub.made[0]["visibility"] == "private"  # as the library's version tells it
    assert sorted(Hub.files) == ["README.md", "generator.safetensors"]
    assert Hub.files["README.md"] == (tmp_path / "birds.md").read_bytes()
    out = tmp_path / "pulled.safetensors"
    assert main(["pull", "some/birds", "--out", str(out), "--endpoint", hub]) == 0
    assert out.read_bytes() == file.read_bytes()
    drawn = [Sampler.load(path, "cpu").draw(CAPTIONS[:1], [0]).images[-1] for path in (file, out)]
    assert torch.equal(*drawn)


def test_what_is_not_there_or_is_none_is_told_in_a_line(run: Path, hub: str, tmp_path: Path, capsys) -> None:
    cases = [
        (["push", str(run), "some/birds"], "is no exported generator: `attngan export"),
        (["pull", "some/birds", "--out", str(tmp_path / "x.safetensors")], "no generator.safetensors there"),
        (["pull", "a/b/c", "--out", str(tmp_path / "x.safetensors")], "OWNER/NAME is wanted"),
        (["pull", "some/birds", "--out", str(tmp_path / "x.ckpt")], "ends in .safetensors"),
    ]
    for arguments, told in cases:
        assert main([*arguments, "--endpoint", hub]) == 1
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    away = ["--endpoint", "http://127.0.0.1:9"]
    assert main(["pull", "some/birds", "--out", str(tmp_path / "x.safetensors"), *away]) == 1
    assert "the hub cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
