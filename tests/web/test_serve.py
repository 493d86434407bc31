"""`attngan serve` as a process: where it listens, what it refuses, how it stops."""

import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from attngan.checkpoint import open_checkpoint, write_generator
from attngan.cli import main
from attngan.commands.serve import short_names
from attngan.networks.multistage import StackGANPlusPlusGenerator
from attngan.web import server
from tests.web.serving import served


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_it_answers_and_is_stopped_in_order(checkpoint):
    with served(checkpoint, "--pictures", "300") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(url, timeout=60).status_code == 200
        body = {"generator": "bird", "caption": "a red bird", "count": 200}
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(httpx.post, f"{url}api/draw", json=body, timeout=60)
            threading.Event().wait(0.2)  # it is being drawn
            process.send_signal(signal.SIGINT)
            assert len(answer.result().json()["pictures"]) == 200
        said = process.stdout.read()
        assert process.wait(30) == 130
    assert "what is being drawn is finished first" in said
    assert "stopped by SIGINT" in said
    assert "Traceback" not in said


def test_the_generator_that_ships(tmp_path, monkeypatch):
    from attngan.installed import SHIPPED, shipped_generator

    with served() as (_, url):
        (generator,) = httpx.get(f"{url}api/generators", timeout=60).json()
        assert generator["name"] == Path(SHIPPED).stem == shipped_generator().stem


def test_a_port_that_is_taken(checkpoint, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.listen()
        assert main(["serve", str(checkpoint), "--port", str(port)]) == 1
    assert f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err


def test_without_the_extra(checkpoint, capsys, monkeypatch):
    import importlib.util

    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else usual(name))
    assert main(["serve", str(checkpoint)]) == 1
    said = capsys.readouterr().err
    assert "pip install 'attngan[web]'" in said
    assert said.count("\n") == 1


def test_generators_that_nobody_can_type_for(tmp_path, capsys):
    path = tmp_path / "embedded.safetensors"
    write_generator(path, StackGANPlusPlusGenerator(1, 4, 8, 4, 4, 1, 8))
    assert main(["serve", str(path), "--port", "0"]) == 1
    assert "reads precomputed sentence embeddings" in capsys.readouterr().err


def test_what_leaves_nothing_to_ask_for(checkpoint, capsys):
    for option in ("--pictures=1", "--waiting=0", "--waiting_of_one=0", "--caption_length=0", "--seconds=0"):
        assert main(["serve", str(checkpoint), option]) == 1
        assert "must be at least" in capsys.readouterr().err


def test_short_names_tell_generators_apart(tmp_path):
    def names(*paths):
        return list(short_names([tmp_path / path for path in paths]))

    assert names("checkpoints/cub_64.safetensors") == ["cub_64"]
    assert names("a/checkpoints/last.ckpt") == ["a/last"]
    assert names("a/checkpoints/last.ckpt", "b/checkpoints/last.ckpt") == ["a/last", "b/last"]
    assert names("x/a/checkpoints/last.ckpt", "y/a/checkpoints/last.ckpt") == ["x/a/last", "y/a/last"]
    assert names("a/bird.safetensors", "a/bird.ckpt") == ["bird.safetensors", "bird.ckpt"]
    assert names("a/bird.ckpt", "b/bird.ckpt") == ["a/bird", "b/bird"]
    with pytest.raises(ValueError, match="named twice"):
        names("a/bird.ckpt", "a/../a/bird.ckpt")


def test_one_visitor_cannot_take_all_connections(checkpoint):
    with served(checkpoint) as (_, url):
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
        idle = [socket.create_connection(address) for _ in range(server.CONNECTIONS_OF_ONE)]
        with socket.create_connection(address) as another:
            another.settimeout(10)
            assert closed(another)
        idle.pop().close()
        threading.Event().wait(0.3)
        assert httpx.get(url, timeout=60).status_code == 200
        for connection in idle:
            connection.close()


def closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_generator_without_text_draws_without_captions(tmp_path):
    from starlette.testclient import TestClient

    from attngan.sampling import Sampler
    from attngan.web.application import application
    from attngan.web.limits import Limits

    path = tmp_path / "noise.safetensors"
    write_generator(path, StackGANPlusPlusGenerator(1, 4, None, 4, 0, 1, 8))
    with TestClient(application({"noise": Sampler.of(open_checkpoint(path), "cpu")}, Limits())) as client:
        assert 'name="caption"' not in client.get("/").text
        answer = client.post("/api/draw", json={"generator": "noise", "count": 2}).json()
        assert [picture["name"] for picture in answer["pictures"]] == ["noise_0_000.png", "noise_0_001.png"]
        way = {"generator": "noise", "first": "a", "second": "b"}
        assert "reads no text" in client.post("/api/interpolate", json=way).json()["error"]
