"""What `attngan serve` answers, through HTTP and without a browser."""

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from attngan.checkpoint import file_sha256
from attngan.cli import main
from attngan.pictures import to_pil
from attngan.sampling import interpolate
from attngan.web import application as module
from attngan.web.application import application
from attngan.web.drawing import MOST_SEED
from attngan.web.limits import BusyError, DrawingQueue, Limits
from tests.tiny import CAPTIONS, SIDES

LIMITS = Limits(caption=60, pictures=6, waiting=3, waiting_of_one=2, seconds=20.0, body=1000, body_seconds=0.3)


@pytest.fixture(scope="module")
def client(sampler):
    with TestClient(application({"bird": sampler, "other": sampler}, LIMITS), raise_server_exceptions=False) as client:
        yield client


def ask(client, path="draw", **request):
    return client.post(f"/api/{path}", json={"generator": "bird", **request})


def decoded(picture):
    kind, data = picture["png"].split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def pixels(image):
    return np.asarray(image, dtype=np.int16)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_pictures_are_those_of_the_command_and_say_the_same(client, checkpoint, tmp_path):
    answer = ask(client, caption=CAPTIONS[0], seed=7, count=5).json()
    arguments = ["--seed", "7", "--samples_per_caption", "5", "--out", str(tmp_path), "--device", "cpu"]
    assert main(["sample", str(checkpoint), CAPTIONS[0], *arguments]) == 0
    files = sorted(tmp_path.glob("00001_*.png"))
    assert [drawn["number"] for drawn in answer["pictures"]] == [0, 1, 2, 3, 4]
    for drawn, file in zip(answer["pictures"], files, strict=True):
        served, written = decoded(drawn), Image.open(file)
        # batches of other sizes are added up in another order
        assert np.abs(pixels(served) - pixels(written)).max() <= 1
        assert served.text == written.text
    assert served.text["caption"] == CAPTIONS[0]
    assert served.text["seed"] == "7"
    assert served.text["checkpoint"] == file_sha256(checkpoint)


def test_truncation_changes_the_picture_and_stands_in_it(client):
    plain, cut = (
        decoded(ask(client, caption=CAPTIONS[0], count=1, truncation=t).json()["pictures"][0]) for t in (None, 0.3)
    )
    assert (pixels(plain) != pixels(cut)).any()
    assert cut.text["truncation"] == "0.3"
    assert "truncation" not in plain.text


def test_attention_is_of_the_words_that_are_read(client, sampler):
    answer = ask(client, caption="A small xylophone BIRD", count=2).json()
    assert answer["words"] == ["a", "small", "xylophone", "bird"]
    assert answer["unknown"] == ["xylophone"]
    rows, columns = answer["map_size"]
    drawn = sampler.draw(["A small xylophone BIRD"] * 2, [0, 1])
    for number, picture in enumerate(answer["pictures"]):
        assert sum(entry["share"] for entry in picture["attention"]) == pytest.approx(1, abs=1e-5)
        for position, entry in enumerate(picture["attention"]):
            sent = np.frombuffer(base64.b64decode(entry["map"]), np.uint8).reshape(rows, columns)
            weights = drawn.attention[-1][number, position].numpy()
            assert sent.min() == 0
            assert sent.max() >= 254
            # where the weight is larger, so is the byte
            order = np.argsort(weights.ravel())
            assert (np.diff(sent.ravel()[order].astype(int)) >= 0).all()


def test_a_caption_that_is_too_long_for_the_generator_says_so(client, sampler):
    caption = " ".join(["a"] * (sampler.word_limit + 3))
    answer = ask(client, caption=caption, count=1).json()
    assert len(answer["words"]) == len(answer["pictures"][0]["attention"]) == sampler.word_limit
    assert f"the first {sampler.word_limit} of its {sampler.word_limit + 3} words" in answer["note"]


def test_an_interpolation_goes_from_one_picture_to_the_other(client, sampler):
    answer = ask(client, "interpolate", first=CAPTIONS[0], second=CAPTIONS[2], seed=2, number=1, steps=3).json()
    expected = [to_pil(image) for image in interpolate(sampler, CAPTIONS[0], CAPTIONS[2], 3, 1, 2)]
    assert [picture["share"] for picture in answer["pictures"]] == [0, 0.5, 1]
    for picture, image in zip(answer["pictures"], expected, strict=True):
        assert np.abs(pixels(decoded(picture)) - pixels(image)).max() <= 1
    assert decoded(answer["pictures"][1]).text["caption"] == f"{CAPTIONS[0]} -> {CAPTIONS[2]}"
    assert decoded(answer["pictures"][1]).text["step"] == "1"


def test_the_page_and_who_draws(client, sampler):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'value="other"' in page.text
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in client.get("/page.js").text
    generators = client.get("/api/generators").json()
    assert [one["name"] for one in generators] == ["bird", "other"]
    assert generators[0] | {"name": ""} == {
        "name": "", "title": sampler.title, "side": SIDES[-1], "reads_captions": True, "attends": True,
    }  # fmt: skip


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"caption": "xylophone"}, "no word of 'xylophone' is known"),
        ({"caption": "  "}, "there is no caption"),
        ({"caption": "a " * 40}, "caption has 79 characters: at most 60"),
        ({"caption": 3}, "caption is a text"),
        ({"caption": "a bird", "count": 7}, "count is a whole number from 1 to 6"),
        ({"caption": "a bird", "count": True}, "count is a whole number"),
        ({"caption": "a bird", "count": 1.5}, "count is a whole number"),
        ({"caption": "a bird", "seed": -1}, "seed is a whole number from 0"),
        ({"caption": "a bird", "seed": MOST_SEED + 1}, "seed is a whole number from 0"),
        ({"caption": "a bird", "seed": 10**400}, "seed is a whole number from 0"),
        ({"caption": "a bird", "truncation": 10**400}, "truncation is a number from 0 to 2"),
        ({"caption": "a bird", "truncation": -0.1}, "truncation is a number from 0 to 2"),
        ({"caption": "a bird", "truncation": float("nan")}, "truncation is a number from 0 to 2"),
        ({"caption": "a bird", "sede": 1}, "there is no 'sede' in such a request: it has generator, caption, seed"),
    ],
)
def test_a_bad_request_is_told_in_a_line(client, request_, told):
    body = json.dumps({"generator": "bird", **request_})
    answer = client.post("/api/draw", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("body", ["", "[", "[1]", "null", '{"caption": "a bird"}', "[" * 500])
def test_a_body_that_is_no_request(client, body):
    answer = client.post("/api/draw", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_halves_of_characters_do_no_harm(client):
    body = '{"generator": "bird", "caption": "a \\ud800 bird", "count": 1}'
    answer = client.post("/api/draw", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert decoded(answer.json()["pictures"][0]).text["caption"] == "a ? bird"


def test_other_refusals(client):
    assert ask(client, generator="none", caption="a bird").status_code == 404
    assert "there are bird, other" in ask(client, generator="none", caption="a bird").json()["error"]
    # a page of somebody else can send such a one without being asked whether it may
    assert client.post("/api/draw", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/api/draw", json={"caption": "a" * LIMITS.body}).status_code == 413
    assert client.get("/api/draw").status_code == 405
    assert client.get("/nothing").json() == {"error": "Not Found"}


def test_names_that_point_here_are_refused(sampler):
    client = TestClient(
        application({"bird": sampler}, LIMITS, ["localhost", "127.0.0.1"]), base_url="http://localhost:8000"
    )
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "rebound.example"}).status_code == 400


# --- queue ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch):
    """Drawings begin, and end when the test says so."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def draw(samplers, request):
        begun.release()
        assert go_on.wait(20)
        return {"caption": request.caption}

    monkeypatch.setattr(module, "draw", draw)
    yield begun, go_on
    go_on.set()


def test_a_visitor_has_a_share_of_the_queue(sampler, held):
    begun, go_on = held
    app = application({"bird": sampler}, Limits(waiting=2, waiting_of_one=1))
    visitors = [TestClient(app, client=(f"10.0.0.{number}", 1)) for number in range(3)]
    with visitors[0], ThreadPoolExecutor(2) as threads:
        for visitor in visitors:  # one loop runs them all
            visitor.portal = visitors[0].portal
        first = threads.submit(ask, visitors[0], caption="a bird")
        assert begun.acquire(timeout=20)
        refused = ask(visitors[0], caption="a bird")
        assert refused.status_code == 429
        assert "1 of your requests" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) > 0
        go_on.set()
        assert first.result(20).status_code == 200
        assert ask(visitors[0], caption="a bird").status_code == 200


def test_the_queue_is_of_all_visitors_and_one_is_drawn_at_a_time():
    begun, go_on, order = threading.Semaphore(0), threading.Event(), []

    def draw(visitor):
        begun.release()
        assert go_on.wait(20)
        order.append(visitor)
        return visitor

    async def scenario():
        queue = DrawingQueue(Limits(waiting=3, waiting_of_one=2))
        async with anyio.create_task_group() as tasks:
            for visitor in ("a", "b", "a"):
                tasks.start_soon(queue.run, visitor, lambda visitor=visitor: draw(visitor))
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyError, match="2 of your requests"):
                await queue.run("a", lambda: None)
            with pytest.raises(BusyError, match="3 requests are waiting already"):
                await queue.run("c", lambda: None)
            assert begun.acquire(timeout=20)
            assert not begun.acquire(timeout=0.1)
            go_on.set()
        assert order == ["a", "b", "a"]
        assert await queue.run("c", lambda: "drawn") == "drawn"

    anyio.run(scenario)


def test_what_takes_too_long_is_given_up(sampler):
    limits = Limits(seconds=0.1, pictures=400)
    drawn = []

    class Slow(type(sampler)):
        def draw(self, *arguments, **options):
            drawn.append(1)
            threading.Event().wait(0.06)
            return super().draw(*arguments, **options)

    slow = Slow(sampler.generator, sampler.text_encoder, sampler.vocabulary, "slow")
    with TestClient(application({"bird": slow}, limits)) as client:
        answer = ask(client, caption="a bird", count=400)
        assert answer.status_code == 503
        assert "not drawn within 0.1 seconds" in answer.json()["error"]
    assert len(drawn) < 10


def test_nothing_more_is_drawn_for_a_visitor_who_is_gone(sampler):
    drawn = []

    class Watched(type(sampler)):
        def draw(self, *arguments, **options):
            drawn.append(1)
            threading.Event().wait(0.05)
            return super().draw(*arguments, **options)

    watched = Watched(sampler.generator, sampler.text_encoder, sampler.vocabulary, "watched")
    app = application({"bird": watched}, Limits(pictures=400))
    body = json.dumps({"generator": "bird", "caption": "a bird", "count": 400}).encode()
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if not coming:
            await anyio.sleep(0.12)
            return {"type": "http.disconnect"}
        return coming.pop()

    async def send(message):
        pass

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/draw", "headers": headers, "client": ("10.0.0.1", 1)}
    anyio.run(app, {**scope, "query_string": b"", "root_path": "", "scheme": "http"}, receive, send)
    assert 0 < len(drawn) < 10


def test_a_fault_of_ours_says_nothing_of_itself(client, monkeypatch):
    monkeypatch.setattr(module, "draw", lambda *_: 1 / 0)
    answer = ask(client, caption="a bird")
    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault of the server: its log says more"}
