"""Requests of kilobytes and megabytes are read beside the event thread: nobody else waits for them."""
import json
import re
import signal
import socket
import threading
import time

import pytest
import requests

LARGE = 20_000  # bytes of blanks that make any request a large one
MB = 1_000_000
SLOW = {"prompt": "a" * 8 * MB}  # one word: the slowest there is. It never fits.
LONG = {"prompt": "Once upon a time", "max_tokens": 1900, "temperature": 0, "ignore_eos": True}
# Fits, and is slow to read: what is no part of the prompt is read all the same.
HEAVY = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 12, "temperature": 0,
         "ignore_eos": True, "metadata": {"x": [[] for _ in range(MB)]}}


def metric(one, name):
    text = requests.get(f"{one.url}/metrics", timeout=60).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found[1]) if found else 0


def preparing(one):
    return metric(one, "weft_requests_preparing")


def left(one, endpoint="completions"):
    return metric(one, f'weft_http_requests_total{{endpoint="{endpoint}",code="499"}}')


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def post(one, body, path="completions", blanks=0):
    data = (body if isinstance(body, bytes) else json.dumps(body).encode()) + b" " * blanks
    return requests.post(f"{one.url}/v1/{path}", data=data, timeout=120)


class Asker(threading.Thread):
    """A request in the background; .answer once it has joined."""

    def __init__(self, *args, **more):
        super().__init__()
        self.args, self.more, self.answer = args, more, None
        self.start()

    def run(self):
        self.answer = post(*self.args, **self.more)

    def result(self):
        self.join()
        return self.answer


def send(one, body, path="completions"):
    """On a bare socket, to be closed without an answer."""
    data = json.dumps(body).encode()
    s = socket.create_connection(("127.0.0.1", one.port), timeout=60)
    s.sendall(b"POST /v1/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data))
    return s


def is_closed(one):
    """It listens no more: the first signal has been seen."""
    try:
        socket.create_connection(("127.0.0.1", one.port), timeout=10).close()
    except ConnectionError:
        return True
    return False


@pytest.fixture
def one(server, smollm2):
    return server(smollm2, "--max-seqs", "2", "--queue", "4", "--ctx", "2048")


def test_streams_go_on_while_a_prompt_of_megabytes_is_read(one):
    events, is_seen = [], threading.Event()

    def read():
        with requests.post(f"{one.url}/v1/completions", json={**LONG, "stream": True}, stream=True,
                           timeout=120) as answer:
            for line in answer.iter_lines():
                events.append(line)
                if is_seen.is_set():
                    return

    reader = threading.Thread(target=read)
    reader.start()
    assert wait_until(lambda: len(events) > 3)
    large = Asker(one, SLOW)
    assert wait_until(lambda: preparing(one) == 1), "it was not read beside the event thread"
    before = len(events)
    assert wait_until(lambda: len(events) > before + 6)
    assert requests.get(f"{one.url}/health", timeout=10).status_code == 200
    assert post(one, {**LONG, "max_tokens": 2}).status_code == 200
    assert preparing(one) == 1, "they came only after it"
    error = large.result().json()["error"]
    assert error["code"] == "context_length_exceeded" and "2048" in error["message"]
    assert preparing(one) == 0
    is_seen.set()
    reader.join()
    assert b"data: [DONE]" not in events


def without_names(answer):
    """What an answer says, but for its id and its time."""
    def clean(document):
        return {k: v for k, v in document.items() if k not in ("id", "created")}
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    parsed = [clean(json.loads(line)) if line != "[DONE]" else line for line in lines]
    texts = "".join(c["text"] for d in parsed if d != "[DONE]" for c in d.get("choices", []) if "text" in c)
    return answer.status_code, texts if len(lines) > 1 else parsed  # tokens meet in events by chance


TEXT = {"prompt": "The capital of France is", "max_tokens": 20, "seed": 7}


@pytest.mark.parametrize("path,body", [
    ("completions", TEXT),
    ("completions", {**TEXT, "stream": True}),
    ("completions", {**TEXT, "prompt": [TEXT["prompt"], [500, 501]], "n": 2, "logprobs": 2}),
    ("completions", {**TEXT, "temperature": 0, "stop": ["e", "\n"], "logit_bias": {"500": -100}}),
    ("chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "seed": 1, "stop": "zq"}),
    ("chat/completions", {"messages": [{"role": "user", "content": 5}]}),
    ("completions", b"}"),
    ("completions", b"[1]"),
    ("completions", {**TEXT, "model": "other"}),
    ("completions", {**TEXT, "prompt": ["x", {}]}),
    ("completions", {**TEXT, "prompt": ["x"] * 3, "n": 128}),
    ("completions", {**TEXT, "top_p": 2}),
    ("completions", {**TEXT, "max_tokens": 9000}),
], ids=["text", "stream", "prompts", "stop", "chat", "content", "json", "array", "model", "prompt", "n", "top_p",
        "length"])
def test_large_or_small_the_answer_is_the_same(smollm2_server, path, body):
    post(smollm2_server, body, path)  # what is cached is cached for both
    small = without_names(post(smollm2_server, body, path))
    assert without_names(post(smollm2_server, body, path, blanks=LARGE)) == small


def test_a_full_queue_refuses_large_ones_in_the_same_order(one):
    held = [send(one, LONG) for _ in range(2)]
    assert wait_until(lambda: metric(one, "weft_requests_running") == 2)
    held += [send(one, LONG) for _ in range(4)]
    assert wait_until(lambda: metric(one, "weft_requests_waiting") == 4)
    refused = post(one, TEXT, blanks=LARGE)
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert post(one, {**TEXT, "top_p": 2}, blanks=LARGE).status_code == 400
    assert post(one, {"prompt": "a " * LARGE}).json()["error"]["code"] == "context_length_exceeded"
    assert metric(one, 'weft_requests_rejected_total{cause="queue_full"}') == 1
    assert metric(one, 'weft_requests_rejected_total{cause="too_long"}') == 1
    for s in held:
        s.close()


def test_what_waits_to_be_read_is_bounded(one):
    slow = Asker(one, SLOW, blanks=23 * MB)
    assert wait_until(lambda: preparing(one) == 1)
    second = Asker(one, TEXT, blanks=31 * MB)
    assert wait_until(lambda: preparing(one) == 2)
    refused = post(one, TEXT, blanks=31 * MB)
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["Retry-After"]) >= 1
    small = Asker(one, TEXT, blanks=LARGE)
    assert wait_until(lambda: preparing(one) == 3)
    assert metric(one, 'weft_requests_rejected_total{cause="queue_full"}') == 1
    assert [asker.result().status_code for asker in (slow, second, small)] == [400, 200, 200]
    assert post(one, TEXT, blanks=31 * MB).status_code == 200


def test_a_client_that_leaves_ends_its_preparation(one):
    running = send(one, SLOW)
    assert wait_until(lambda: preparing(one) == 1)
    waiting = send(one, HEAVY, "chat/completions")
    assert wait_until(lambda: preparing(one) == 2)
    waiting.close()
    assert wait_until(lambda: preparing(one) == 1), "the row keeps one whose client has left"
    assert left(one, "chat") == 1
    running.close()
    assert wait_until(lambda: left(one) == 1)
    assert preparing(one) == 1, "it was over already"
    assert post(one, TEXT, blanks=LARGE).status_code == 200
    assert wait_until(lambda: preparing(one) == metric(one, "weft_requests_running") == 0)
    assert metric(one, "weft_requests_waiting") == 0
    assert metric(one, 'weft_requests_finished_total{reason="length"}') == 1


def test_a_client_that_leaves_as_its_request_is_ready(one):
    """Whenever it leaves, nothing is left behind and nobody else notices."""
    body = {**HEAVY, "metadata": {"x": [[] for _ in range(50_000)]}}
    for i in range(40):
        s = send(one, body, "chat/completions")
        time.sleep(0.002 * i)
        s.close()
    assert wait_until(lambda: preparing(one) == metric(one, "weft_requests_running") == 0)
    assert post(one, TEXT).status_code == 200


def test_a_half_closed_connection_gets_its_answer(one):
    s = send(one, HEAVY, "chat/completions")
    s.shutdown(socket.SHUT_WR)
    got = b""
    while b'"completion_tokens":12' not in got:
        chunk = s.recv(65536)
        assert chunk, f"closed after {got}"
        got += chunk
    s.close()


def test_a_time_limit_runs_from_the_arrival(one):
    late = post(one, {**HEAVY, "timeout_ms": 20}, "chat/completions")
    assert late.status_code == 504 and late.json()["error"]["code"] == "deadline_exceeded"
    assert "20" in late.json()["error"]["message"]
    assert metric(one, "weft_steps_total") == 0
    assert post(one, {**HEAVY, "timeout_ms": 60000}, "chat/completions").status_code == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_signal_lets_what_is_being_read_have_its_answer(one, stream):
    large = Asker(one, {**HEAVY, "stream": stream}, "chat/completions")
    assert wait_until(lambda: preparing(one) == 1)
    one.process.send_signal(signal.SIGTERM)
    answer = large.result()
    assert answer.status_code == 200
    if stream:
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        assert answer.json()["usage"]["completion_tokens"] == 12
    assert one.process.wait(30) == 0


def test_a_second_signal_waits_for_no_answer(one):
    sockets = [send(one, body, path) for body, path in ((SLOW, "completions"), (HEAVY, "chat/completions"))]
    assert wait_until(lambda: preparing(one) == 2)
    one.process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: is_closed(one)) and one.process.poll() is None
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(30) == 0
    for s in sockets:
        try:
            assert s.recv(65536) == b""
        except ConnectionResetError:
            pass
        s.close()
    assert one.log().count("status=499") == 2
