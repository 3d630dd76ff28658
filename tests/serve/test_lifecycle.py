"""How `weft serve` starts, notices clients that go, and ends."""
import contextlib
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

BODY = {"messages": [{"role": "user", "content": "Tell me a long story."}], "ignore_eos": True,
        "temperature": 0}


def wait_until(condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def cpu_seconds(process):
    return time.clock_gettime(~process.pid << 3 | 2)  # of all its threads, in nanoseconds


def threads(process):
    """Of each thread: its state, and how often it has gone to sleep."""
    states = {}
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            text = (task / "status").read_text()
            states[task.name] = (re.search(r"^State:\s(.)", text, re.M)[1],
                                 int(re.search(r"^voluntary_ctxt_switches:\s(\d+)", text, re.M)[1]))
    return states


def is_at_rest(process):
    """No thread runs or wants to. How much time a thread got would not tell: on a busy machine it waits for a
    core most of the time, above all the one of low priority that writes the pack cache."""
    before, cpu = threads(process), cpu_seconds(process)
    time.sleep(0.5)
    return (threads(process) == before and cpu_seconds(process) == cpu
            and all(state == "S" for state, _ in before.values()))


def is_answering(one):
    text = requests.get(f"{one.url}/metrics", timeout=10).text
    return re.search(r"^weft_requests_running\S* (\d+)", text, re.M)[1] != "0"


def test_an_idle_server_uses_no_cpu(server, smollm2):
    one = server(smollm2, "--ctx", "256")
    # It first makes its memory ready, and may write the pack cache.
    assert wait_until(lambda: is_at_rest(one.process), 120), threads(one.process)
    before, cpu = threads(one.process), cpu_seconds(one.process)
    time.sleep(2)
    after = threads(one.process)
    assert cpu_seconds(one.process) - cpu <= 0.002
    assert after.keys() == before.keys()
    assert sum(after[t][1] - before[t][1] for t in after) <= 2  # wake-ups


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_goes_stops_its_work(server, smollm2, stream):
    one = server(smollm2, "--max-seqs", "2")
    body = {**BODY, "stream": stream, "max_tokens": 7000}
    with pytest.raises(requests.exceptions.Timeout):
        with requests.post(f"{one.url}/v1/chat/completions", json=body, stream=stream,
                           timeout=1) as answer:
            for _ in answer.iter_content(64):  # a stream that is dropped after a moment
                time.sleep(0.05)
                if stream:
                    raise requests.exceptions.Timeout
    assert wait_until(lambda: not is_answering(one)), "the answer goes on without its client"
    assert wait_until(lambda: is_at_rest(one.process), 120), threads(one.process)
    assert requests.get(f"{one.url}/health", timeout=10).status_code == 200


def test_a_half_closed_connection_gets_its_answer(server, smollm2):
    one = server(smollm2, "--ctx", "512")
    body = b'{"prompt": "Hello", "max_tokens": 40, "ignore_eos": true}'
    with socket.create_connection(("127.0.0.1", one.port), timeout=60) as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        s.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    assert b"200 OK" in got and b"text_completion" in got


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_answers_finish(server, smollm2, number):
    one = server(smollm2)
    got = {}

    def ask():
        got["answer"] = requests.post(f"{one.url}/v1/chat/completions",
                                      json={**BODY, "max_tokens": 60}, timeout=60)

    asker = threading.Thread(target=ask)
    asker.start()
    assert wait_until(lambda: is_answering(one))
    one.process.send_signal(number)
    asker.join()
    assert got["answer"].status_code == 200
    assert got["answer"].json()["usage"]["completion_tokens"] == 60
    assert one.process.wait(15) == 0


def test_a_second_signal_ends_at_once(server, smollm2):
    one = server(smollm2)
    asker = threading.Thread(target=lambda: pytest.raises(
        requests.exceptions.RequestException,
        lambda: requests.post(f"{one.url}/v1/chat/completions", timeout=60,
                              json={**BODY, "max_tokens": 7000}).raise_for_status()))
    asker.start()
    assert wait_until(lambda: is_answering(one))
    one.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert one.process.poll() is None
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(5) == 0
    asker.join()


def test_a_port_in_use_is_one_line(weft, server, smollm2):
    one = server(smollm2, "--ctx", "256")
    second = subprocess.run([str(weft), "serve", str(smollm2), "--port", str(one.port)],
                            capture_output=True, text=True, timeout=60)
    assert second.returncode == 1 and len(second.stderr.splitlines()) == 1
    assert str(one.port) in second.stderr and "in use" in second.stderr.lower()


def test_a_missing_model_is_one_line(weft):
    result = subprocess.run([str(weft), "serve", "no-such-file.gguf", "--port", "0"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "no-such-file.gguf" in result.stderr


def test_a_key_is_wanted_where_one_is_set(server, smollm2):
    one = server(smollm2, "--ctx", "256", "--api-key", "sesame")
    url = f"{one.url}/v1/models"
    refused = requests.get(url, timeout=10)
    assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
    wrong = requests.get(url, headers={"Authorization": "Bearer sesam"}, timeout=10)
    assert wrong.status_code == 401
    right = requests.get(url, headers={"Authorization": "Bearer sesame"}, timeout=10)
    assert right.status_code == 200
    assert requests.get(f"{one.url}/health", timeout=10).status_code == 200


def test_a_full_queue_is_429_with_retry_after(server, smollm2):
    one = server(smollm2, "--max-seqs", "1", "--queue", "1")
    body = {**BODY, "max_tokens": 300}
    codes, lock = [], threading.Lock()

    def ask():
        answer = requests.post(f"{one.url}/v1/chat/completions", json=body, timeout=120)
        with lock:
            codes.append((answer.status_code, answer.headers.get("Retry-After")))

    askers = [threading.Thread(target=ask) for _ in range(6)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert any(code == 200 for code, _ in codes)
    refused = [retry for code, retry in codes if code == 429]
    assert refused and all(int(retry) >= 1 for retry in refused)
    assert {code for code, _ in codes} <= {200, 429}
