"""More work than there is room for, and clients that leave: nobody else notices."""
import json
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LONG = {"prompt": "Once upon a time", "max_tokens": 1900, "temperature": 0, "ignore_eos": True}


def gauge(one, name):
    text = requests.get(f"{one.url}/metrics", timeout=10).text
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def running(one):
    return gauge(one, "weft_requests_running")


def waiting(one):
    return gauge(one, "weft_requests_waiting")


def send(one, body, **more):
    """A request on a bare socket with a small window; nothing of the answer is read."""
    data = json.dumps({**body, **more}).encode()
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect(("127.0.0.1", one.port))
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
              % (len(data), data))
    return s


def close(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def read_all(s):
    got = b""
    while chunk := s.recv(65536):
        got += chunk
    s.close()
    return got


@pytest.fixture
def busy(server, smollm2):
    """One place, 32 rows a step: prompts take many steps."""
    return server(smollm2, "--max-seqs", "1", "--queue", "4", "--ctx", "2048", "--max-batch-tokens", "32")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_leaves_frees_its_place_wherever_it_is(busy, stream, how):
    one = send(busy, LONG, stream=stream)  # decode
    assert wait_until(lambda: gauge(busy, "weft_generated_tokens_total") > 2)
    queued = send(busy, LONG, stream=stream)
    assert wait_until(lambda: waiting(busy) == 1)
    close(queued, how)
    assert wait_until(lambda: waiting(busy) == 0, 3), "the queue keeps one whose client has left"
    assert running(busy) == 1, "another's answer has ended with it"
    close(one, how)
    assert wait_until(lambda: running(busy) == 0, 3), "an answer goes on without its client"
    generated = gauge(busy, "weft_generated_tokens_total")
    prompt = send(busy, {**LONG, "prompt": [500 + i % 90 for i in range(2000)], "max_tokens": 40},
                  stream=stream)
    assert wait_until(lambda: running(busy) == 1)
    close(prompt, how)
    assert wait_until(lambda: running(busy) == 0, 3), "a prompt is run without its client"
    assert gauge(busy, "weft_generated_tokens_total") == generated, "it was not in its prompt"
    assert busy.stop() == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_half_close_cancels_nothing_anywhere(busy, stream):
    first = send(busy, LONG, max_tokens=60, stream=stream)
    second = send(busy, LONG, max_tokens=30, stream=stream)
    for s in (first, second):
        s.shutdown(socket.SHUT_WR)
    for s, tokens in ((first, 60), (second, 30)):
        answer = read_all(s)
        assert b"200 OK" in answer
        if stream:
            assert answer.rstrip(b"\r\n0").endswith(b"data: [DONE]\n\n".rstrip(b"\n"))
        else:
            assert b'"completion_tokens":%d' % tokens in answer


def test_what_is_refused_says_when_to_come_back(busy):
    held = [send(busy, LONG)]
    assert wait_until(lambda: running(busy) == 1)
    held += [send(busy, LONG) for _ in range(4)]
    assert wait_until(lambda: waiting(busy) == 4)
    refused = requests.post(f"{busy.url}/v1/completions", json=LONG, timeout=10)
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert gauge(busy, 'weft_requests_rejected_total{cause="queue_full"}') == 1
    for s in held:
        s.close()
    assert wait_until(lambda: running(busy) == waiting(busy) == 0, 5)


def test_what_can_never_fit_is_400_with_the_numbers(busy):
    answer = requests.post(f"{busy.url}/v1/completions", json={**LONG, "max_tokens": 5000}, timeout=10)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "context_length_exceeded"
    assert "5000" in error["message"] and "2048" in error["message"]


@pytest.fixture
def full(busy):
    """Busy, and four requests wait: one more is refused."""
    held = [send(busy, LONG)]
    assert wait_until(lambda: running(busy) == 1)
    held += [send(busy, LONG) for _ in range(4)]
    assert wait_until(lambda: waiting(busy) == 4)
    yield busy
    for s in held:
        s.close()


IDS = [500 + i % 90 for i in range(2048)]
TEXT = "A loom holds the warp. " * 400


@pytest.mark.parametrize("path,body,number", [
    ("completions", {"prompt": "Hi", "max_tokens": 5000}, "5000"),
    ("completions", {"prompt": IDS, "max_tokens": 1}, "2048"),
    ("completions", {"prompt": [[500], IDS[:2040]], "max_tokens": 9}, "2040"),
    ("completions", {"prompt": TEXT}, "2401"),
    ("completions", {"prompt": ["Hi", TEXT]}, "2401"),
    ("chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2048}, "2048"),
    ("chat/completions", {"messages": [{"role": "user", "content": TEXT}]}, "2048"),
], ids=["answer", "ids", "both", "text", "second", "chat-answer", "chat-text"])
def test_what_can_never_fit_is_400_in_a_full_queue(full, path, body, number):
    answer = requests.post(f"{full.url}/v1/{path}", json=body, timeout=10)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "context_length_exceeded"
    assert number in error["message"] and "2048" in error["message"]
    assert gauge(full, 'weft_requests_rejected_total{cause="too_long"}') == 1
    assert gauge(full, 'weft_requests_rejected_total{cause="queue_full"}') == 0


def test_a_full_queue_refuses_what_fits_and_names_what_is_wrong(full):
    url = f"{full.url}/v1/completions"
    for body in ({"prompt": TEXT[:8000]}, {"prompt": IDS[:2000]}, {"prompt": ["Hi", IDS[:2000]]}):
        assert requests.post(url, json=body, timeout=10).status_code == 429
    assert requests.post(url, json={"prompt": "Hi", "n": 5}, timeout=10).json()["error"]["param"] == "n"
    assert requests.post(url, json={"prompt": "Hi", "top_p": 2}, timeout=10).status_code == 400
    assert gauge(full, 'weft_requests_rejected_total{cause="queue_full"}') == 3


def test_lower_priorities_go_first(busy):
    order, lock = [], threading.Lock()

    def ask(name, priority):
        answer = requests.post(f"{busy.url}/v1/completions", timeout=120,
                               json={**LONG, "max_tokens": 20, "priority": priority})
        assert answer.status_code == 200
        with lock:
            order.append(name)

    first = send(busy, LONG, max_tokens=400)
    assert wait_until(lambda: running(busy) == 1)
    askers = []
    for name, priority in (("late", 5), ("middle", 0), ("soon", -5)):
        askers.append(threading.Thread(target=ask, args=(name, priority)))
        askers[-1].start()
        assert wait_until(lambda: waiting(busy) == len(askers))
    for asker in askers:
        asker.join()
    first.close()
    assert order == ["soon", "middle", "late"]


@pytest.mark.parametrize("other", ["weft", "warp"], ids=["another-key", "the-same-key"])
def test_keys_share_whatever_one_of_them_asks_for(server, smollm2, other):
    """Both come from one address: only the key tells that a flood is not everybody's."""
    one = server(smollm2, "--max-seqs", "1", "--queue", "32", "--ctx", "256",
                 "--api-key", "warp", "--api-key", "weft")
    flood, done, lock = 8, [], threading.Lock()

    def ask(key):
        answer = requests.post(f"{one.url}/v1/completions", timeout=120, json={**LONG, "max_tokens": 24},
                               headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        with lock:
            done.append(key)

    askers = [threading.Thread(target=ask, args=("warp",)) for _ in range(flood)]
    for asker in askers:
        asker.start()
    assert wait_until(lambda: running(one) + waiting(one) == flood or done)
    ask(other)
    n_before = len(done) - 1
    for asker in askers:
        asker.join()
    assert len(done) == flood + 1
    if other == "warp":
        assert n_before > flood - 2, "one client's requests do not go in their order"
    else:
        assert n_before < flood / 2, "a flood went before another client's only request"


def test_prompts_that_wait_are_bounded_in_tokens(server, smollm2):
    one = server(smollm2, "--max-seqs", "1", "--queue", "8", "--queue-tokens", "100", "--ctx", "2048")
    held = [send(one, LONG)]
    assert wait_until(lambda: running(one) == 1)
    held.append(send(one, LONG, prompt=IDS[:60]))
    assert wait_until(lambda: waiting(one) == 1)
    refused = requests.post(f"{one.url}/v1/completions", json={"prompt": IDS[:41]}, timeout=10)
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    for number in ("60", "41", "100"):
        assert number in refused.json()["error"]["message"]
    held.append(send(one, LONG, prompt=IDS[:40]))
    assert wait_until(lambda: waiting(one) == 2), "exactly as many as the queue holds"
    assert gauge(one, 'weft_requests_rejected_total{cause="queue_tokens"}') == 1
    assert gauge(one, 'weft_requests_rejected_total{cause="queue_full"}') == 0
    for s in held:
        s.close()


def test_retry_after_follows_the_pace_of_the_queue(server, smollm2):
    """Nothing is known at first: 1 s. Then it is half of the queue at the rate that was seen."""
    queue, held = 12, []
    one = server(smollm2, "--max-seqs", "1", "--queue", str(queue), "--ctx", "2048")
    first = send(one, LONG)  # so long that no answer ends before the first question
    assert wait_until(lambda: running(one) == 1)
    slow = {**LONG, "max_tokens": 150, "stream": True}

    def fill():
        while (n := int(queue + 1 - waiting(one) - running(one))) > 0:
            held.extend(send(one, slow) for _ in range(n))
            wait_until(lambda: waiting(one) + running(one) > queue, 1)

    def retry_after():
        while True:
            fill()
            with requests.post(f"{one.url}/v1/completions", json=slow, timeout=10, stream=True) as answer:
                if answer.status_code == 429:  # else one was answered just now
                    return int(answer.headers["Retry-After"])

    assert retry_after() == 1
    first.close()
    assert wait_until(lambda: waiting(one) < queue)
    before, start = waiting(one), time.monotonic()
    assert wait_until(lambda: waiting(one) <= before - 4, 120)
    half_s = (time.monotonic() - start) / (before - waiting(one)) * queue / 2
    told = retry_after()
    assert told > 1 and min(half_s, 60) / 3 < told < half_s * 3 + 1
    for s in held:
        s.close()


def test_a_target_for_steps_shapes_them_and_no_answer(server, smollm2):
    """Beside an answer that runs, a prompt gets the fewest rows within 1 ms, and all within a minute."""
    prompt = {"prompt": IDS[:400], "max_tokens": 8, "temperature": 0}
    texts, steps = [], []
    for target_ms in ("1", "60000"):
        one = server(smollm2, "--max-seqs", "2", "--ctx", "2048", "--itl-target-ms", target_ms)
        beside = send(one, LONG)
        assert wait_until(lambda: gauge(one, "weft_generated_tokens_total") > 2)
        before = gauge(one, "weft_steps_total")
        answer = requests.post(f"{one.url}/v1/completions", json=prompt, timeout=120)
        steps.append(gauge(one, "weft_steps_total") - before)
        texts.append(answer.json()["choices"][0]["text"])
        beside.close()
        assert one.stop() == 0
    assert texts[0] == texts[1]
    assert steps[0] > 2 * steps[1], "the target changes nothing"


@pytest.mark.parametrize("body,status,param", [({"priority": 9}, 400, "priority"),
                                               ({"priority": 0.5}, 400, "priority"),
                                               ({"timeout_ms": 0}, 400, "timeout_ms"),
                                               ({"timeout_ms": "1s"}, 400, "timeout_ms")])
def test_wrong_values_are_named(smollm2_server, body, status, param):
    answer = requests.post(f"{smollm2_server.url}/v1/completions", json={"prompt": "x", **body}, timeout=10)
    assert answer.status_code == status and answer.json()["error"]["param"] == param


def test_a_deadline_ends_an_answer_or_a_wait(busy):
    url = f"{busy.url}/v1/completions"
    cut = requests.post(url, json={**LONG, "timeout_ms": 700}, timeout=60).json()
    assert cut["choices"][0]["finish_reason"] == "length"
    assert 0 < cut["usage"]["completion_tokens"] < 1900
    first = send(busy, LONG)
    assert wait_until(lambda: running(busy) == 1)
    start = time.monotonic()
    late = requests.post(url, json={**LONG, "timeout_ms": 300}, timeout=60)
    assert late.status_code == 504 and late.json()["error"]["code"] == "deadline_exceeded"
    assert time.monotonic() - start < 5
    streamed = requests.post(url, json={**LONG, "timeout_ms": 300, "stream": True}, timeout=60).text
    assert "deadline_exceeded" in streamed and "[DONE]" not in streamed
    first.close()


def test_several_keys_are_taken(server, smollm2):
    one = server(smollm2, "--ctx", "256", "--api-key", "warp", "--api-key", "weft")
    for key, status in (("warp", 200), ("weft", 200), ("war", 401), ("", 401)):
        answer = requests.get(f"{one.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=10)
        assert answer.status_code == status
    assert requests.get(f"{one.url}/metrics", timeout=10).status_code == 200


def test_one_that_does_not_read_holds_up_nobody(server, smollm2):
    one = server(smollm2, "--max-seqs", "2", "--ctx", "2048")
    deaf = send(one, LONG, stream=True, logprobs=20)
    assert wait_until(lambda: gauge(one, "weft_generated_tokens_total") > 20)
    answer = requests.post(f"{one.url}/v1/completions", json={**LONG, "max_tokens": 20}, timeout=60)
    assert answer.json()["usage"]["completion_tokens"] == 20
    assert wait_until(lambda: running(one) <= 1, 3), "the answer that ended still counts"
    assert running(one) == 1, "it was given up, or has waited for its reader"
    deaf.close()
    assert wait_until(lambda: running(one) == 0, 3)


def test_a_crowd_of_which_some_behave_badly(server, smollm2):
    """bench/soak.py, short: answers are those of one alone, only 429 is refused, no file stays open."""
    one = server(smollm2, "--max-seqs", "32", "--queue", "128", "--ctx", "512", "--log-format", "none")
    soak = subprocess.run(
        [sys.executable, ROOT / "bench" / "soak.py", "--url", one.url, "--pid", str(one.process.pid),
         "--clients", "300", "--seconds", "12", "--gen", "8", "--prompts", "4",
         "--words", "24", "--memory-growth", "0.2"], capture_output=True, text=True, timeout=300)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    report = json.loads(soak.stdout)
    assert report["ok"] > 20 and report["vanished"] > 3
