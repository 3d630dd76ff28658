"""`weft bench-serve`, on weft itself and on small servers that misbehave."""
import http.server
import json
import math
import os
import pty
import re
import socket
import statistics
import subprocess
import threading
import time
import xml.etree.ElementTree as xml

import pytest


def measure(run, url, *options, code=0):
    result = run("bench-serve", "--url", url, "--json", *options, code=code)
    return json.loads(result.stdout)


def test_a_closed_loop_counts_what_was_asked(run, smollm2_server, tmp_path):
    svg = tmp_path / "plot.svg"
    report = measure(run, smollm2_server.url, "-c", "1,4", "-n", "8", "--prompt", "10-20",
                     "--gen", "5", "--svg", svg, "--slo", "ttft=600s,itl=600s")
    assert report["loop"] == "closed" and report["endpoint"] == "chat"
    assert [r["concurrency"] for r in report["results"]] == [1, 4]
    for r in report["results"]:
        assert r["ok"] == r["requests"] == 8 and set(r["errors"].values()) == {0}
        assert r["output_tokens_mean"] == 5 and 10 < r["prompt_tokens_mean"] < 80
        assert r["good_share"] == 1 and 0 < r["ttft_ms_p50"] <= r["ttft_ms_p99"] <= r["e2e_ms_p99"]
        assert r["output_tok_s"] * r["seconds"] == pytest.approx(40, rel=1e-6)
    assert xml.parse(svg).getroot().tag.endswith("svg")


def test_an_open_loop_ends_after_its_time(run, smollm2_server):
    report = measure(run, smollm2_server.url, "--rate", "20", "-d", "1", "--prompt", "4",
                     "--gen", "2", "--completions")
    one = report["results"][0]
    assert report["loop"] == "open" and one["rate"] == 20
    assert 5 <= one["ok"] == one["requests"] <= 50  # Poisson of mean 20


def test_turns_and_shared_beginnings_hit_the_cache(run, smollm2_server):
    options = ["-c", "2", "-n", "8", "--prompt", "64", "--gen", "4", "--completions", "--warmup", "2"]
    alone = measure(run, smollm2_server.url, *options, "--seed", "11")["results"][0]
    shared = measure(run, smollm2_server.url, *options, "--seed", "12", "--shared-prefix", "48")
    talks = measure(run, smollm2_server.url, *options, "--seed", "13", "--multi-turn", "4")
    assert alone["cached_share"] == 0
    assert shared["results"][0]["cached_share"] > 0.5
    assert talks["results"][0]["cached_share"] > 0.3
    assert talks["results"][0]["prompt_tokens_mean"] > 2 * alone["prompt_tokens_mean"]


def test_two_servers_are_compared_answer_by_answer(run, server, smollm2, smollm2_server):
    other = server(smollm2, "--max-seqs", "2", "--ctx", "512")
    report = measure(run, smollm2_server.url, "--compare", other.url, "-c", "4", "-n", "6",
                     "--rounds", "2", "--prompt", "8", "--gen", "8")
    assert [r["url"] for r in report["results"]] == [smollm2_server.url, other.url]
    pair = report["comparison"][0]
    assert pair["answers_of_both"] == pair["answers_the_same"] == 12
    assert pair["common_share"] == 1 and pair["ratios"]["output_tok_s"] > 0


def test_refused_requests_are_asked_again(run, server, smollm2):
    one = server(smollm2, "--max-seqs", "1", "--queue", "1", "--ctx", "256")
    report = measure(run, one.url, "-c", "6", "-n", "6", "--prompt", "8", "--gen", "30")
    assert report["results"][0]["ok"] == 6 and report["results"][0]["refusals_429"] > 0
    strict = measure(run, one.url, "-c", "6", "-n", "6", "--prompt", "8", "--gen", "30",
                     "--retries", "0")["results"][0]
    assert strict["errors"]["refused"] == strict["refusals_429"] == 6 - strict["ok"] > 0


CHUNK = b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": null}]}\n\n'
LAST = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


class Odd(http.server.BaseHTTPRequestHandler):
    """The nth POST gets the nth of these; the others a good answer."""
    answers = {1: (500, b'{"error": {"message": "broken inside"}}'), 2: (404, b"nowhere"),
               3: (200, CHUNK), 4: (200, b'data: {"error": {"message": "half way"}}\n\n' + LAST)}
    count = 0
    times = []

    def do_GET(self):
        self.reply(200, b'{"data": [{"id": "odd"}]}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Odd.count += 1
        Odd.times.append(time.monotonic())
        self.reply(*self.answers.get(Odd.count, (200, CHUNK + LAST)))

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def odd_url():
    Odd.count, Odd.times = 0, []
    odd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=odd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{odd.server_port}"
    odd.shutdown()
    odd.server_close()


def test_errors_are_told_apart(run, odd_url):
    one = measure(run, odd_url, "-c", "1", "-n", "6", "--warmup", "0")["results"][0]
    assert one["ok"] == 2 and one["output_tokens_mean"] == 1
    assert one["errors"] == {"refused": 0, "rejected": 1, "server": 1, "connection": 0,
                             "timeout": 0, "broken": 2}


def test_a_pause_comes_before_each_turn_and_is_not_counted(run, odd_url):
    begin = time.monotonic()
    report = measure(run, odd_url, "-c", "1", "-n", "4", "--rounds", "2", "--warmup", "0", "--pause", "1")
    whole = time.monotonic() - begin
    assert len(Odd.times) == 8
    assert Odd.times[0] - begin >= 1 and Odd.times[4] - Odd.times[3] >= 1
    assert report["results"][0]["seconds"] <= whole - 2


class Scripted:
    """A server that keeps the bodies and answers the nth request with pieces(n): seconds to wait and bytes in
    turn, None for a connection that breaks."""

    def __init__(self):
        self.bodies, self.pieces, self.lock = [], lambda n: [CHUNK + LAST], threading.Lock()
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.begin(200)
                self.wfile.write(b'{"data": [{"id": "scripted"}]}')

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with scripted.lock:
                    scripted.bodies.append(body)
                    n = len(scripted.bodies)
                pieces = scripted.pieces(n)
                if pieces is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.begin(500 if pieces == [] else 200)
                for piece in pieces:
                    if isinstance(piece, bytes):
                        self.wfile.write(piece)
                        self.wfile.flush()
                    else:
                        time.sleep(piece)

            def begin(self, status):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

            def handle_error(self, *args):  # the client is gone: it was tired of waiting
                pass

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def scripted():
    one = Scripted()
    yield one
    one.stop()


def test_two_servers_take_three_rounds_in_turns(run, scripted):
    other = Scripted()
    order = []
    for name, one in (("A", scripted), ("B", other)):
        one.pieces = lambda n, name=name: order.append(name) or [CHUNK + LAST]
    options = ["--compare", other.url, "-c", "1", "-n", "2", "--warmup", "0"]
    report = measure(run, scripted.url, *options)
    other.stop()
    assert report["rounds"] == 3 and "".join(order) == "AABB" "BBAA" "AABB"
    assert scripted.bodies == other.bodies
    assert measure(run, scripted.url, "-c", "1", "-n", "2", "--warmup", "0")["rounds"] == 1


@pytest.mark.parametrize("slo, kept", [("ttft=2s", 3), ("itl=2s", 3), ("e2e=2s", 2), ("ttft=2s,itl=2s", 2)])
def test_only_answers_within_every_limit_are_good(run, scripted, slo, kept):
    kinds = [[CHUNK, CHUNK, LAST], [3.0, CHUNK, CHUNK, LAST], [CHUNK, 3.0, CHUNK, LAST], [CHUNK, CHUNK, LAST], []]
    scripted.pieces = lambda n: kinds[n - 1]  # at once, late, halting, at once, an error
    one = measure(run, scripted.url, "-c", "5", "-n", "5", "--warmup", "0", "--slo", slo)["results"][0]
    assert one["ok"] == 4 and one["errors"]["server"] == 1
    assert one["good_share"] == kept / 5
    assert one["goodput_s"] * one["seconds"] == pytest.approx(kept)


def test_rates_are_swept_and_late_arrivals_counted(run, scripted):
    report = measure(run, scripted.url, "--rate", "4,40", "-d", "2", "--warmup", "0")
    few, many = report["results"]
    assert [few["rate"], many["rate"]] == [4, 40] and few["requests"] + many["requests"] == len(scripted.bodies)
    assert 1 <= few["ok"] == few["requests"] <= 25 and 40 <= many["ok"] == many["requests"] <= 130
    assert few["late_arrivals"] == 0
    scripted.pieces = lambda n: [0.3, CHUNK + LAST]
    slow = measure(run, scripted.url, "--rate", "20", "-n", "8", "--in-flight", "1", "--warmup", "0")["results"][0]
    assert slow["ok"] == 8 and 4 <= slow["late_arrivals"] <= 7


def test_lognormal_lengths_have_their_median_and_their_limit(run, scripted):
    options = ["-c", "8", "-n", "300", "--warmup", "0", "--gen", "lognormal:20,0.8,60", "--prompt",
               "lognormal:30,0.5"]

    def asked(seed):
        scripted.bodies.clear()
        measure(run, scripted.url, *options, "--seed", seed)
        return sorted((b["max_tokens"], b["messages"][0]["content"]) for b in scripted.bodies)

    first = asked(5)
    answers = [tokens for tokens, _ in first]
    prompts = [len(text.split()) for _, text in first]
    assert 16 <= statistics.median(answers) <= 25 and 26 <= statistics.median(prompts) <= 34
    assert max(answers) == 60 and min(answers) >= 1
    assert 0.4 <= statistics.pstdev(map(math.log, prompts)) <= 0.6
    assert asked(5) == first and asked(6) != first


@pytest.mark.parametrize("endpoint", [[], ["--completions"]], ids=["chat", "text"])
def test_a_turn_carries_those_before_and_their_answers(run, scripted, endpoint):
    measure(run, scripted.url, "-c", "1", "-n", "6", "--multi-turn", "3", "--prompt", "7", "--warmup", "0", *endpoint)
    assert len(scripted.bodies) == 6
    for talk in (scripted.bodies[:3], scripted.bodies[3:]):
        for before, after in zip(talk, talk[1:]):
            if endpoint:
                assert after["prompt"].startswith(before["prompt"] + "x")
            else:
                assert after["messages"][:-2] == before["messages"]
                assert after["messages"][-2] == {"role": "assistant", "content": "x"}
                assert after["messages"][-1]["role"] == "user"
    first, second = scripted.bodies[0], scripted.bodies[3]
    assert first != second and ("prompt" in first or len(second["messages"]) == 1)


def test_lost_connections_and_timeouts_are_counted(run, scripted):
    scripted.pieces = lambda n: {1: None, 2: [CHUNK, 4.0, LAST]}.get(n, [CHUNK + LAST])
    options = ["-c", "1", "-n", "3", "--warmup", "0", "--timeout", "2"]
    one = measure(run, scripted.url, *options)["results"][0]
    assert one["ok"] == 1 and one["requests"] == 3
    assert one["errors"] == {"refused": 0, "rejected": 0, "server": 0, "connection": 1, "timeout": 1, "broken": 0}
    scripted.bodies.clear()
    table = run("bench-serve", "--url", scripted.url, *options).stdout
    assert "1 connection" in table and "1 timeout" in table


def test_a_server_that_answers_nothing_is_a_failure(run, scripted):
    scripted.pieces = lambda n: []
    failed = run("bench-serve", "--url", scripted.url, "-c", "1", "-n", "3", "--warmup", "0", code=1)
    assert f"{scripted.url} answered none of 3 requests" in failed.stderr
    warmed = run("bench-serve", "--url", scripted.url, "-c", "1", "-n", "3", code=1)
    assert scripted.url in warmed.stderr and "HTTP 500" in warmed.stderr


PROGRESS = r"1 users, round 1 of 1, {url}: \d+ s, \d+ answered, [01] in flight, \d+ tok/s, first token \d+ ms"


def test_a_terminal_shows_one_line_of_progress_and_clears_it(weft, scripted):
    scripted.pieces = lambda n: [0.3, CHUNK + LAST]
    master, slave = pty.openpty()
    process = subprocess.Popen([str(weft), "bench-serve", "--url", scripted.url, "-c", "1", "-n", "4", "--json",
                                "--warmup", "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    report, shown = process.stdout.read(), b""
    try:
        while got := os.read(master, 65536):
            shown += got
    except OSError:  # Linux: the other end is closed
        pass
    os.close(master)
    assert process.wait(60) == 0 and json.loads(report)["results"][0]["ok"] == 4
    lines = shown.decode().split("\r\x1b[K")
    assert lines[0] == lines[-1] == "" and len(lines) > 5 and "\n" not in shown.decode()
    assert all(re.fullmatch(PROGRESS.format(url=re.escape(scripted.url)), line) for line in lines[1:-1])


def test_elsewhere_progress_is_a_plain_line_now_and_then(run, scripted):
    scripted.pieces = lambda n: [0.5, CHUNK + LAST]
    result = run("bench-serve", "--url", scripted.url, "-c", "1", "-n", "10", "--json", "--warmup", "0")
    lines = result.stderr.splitlines()
    assert 2 <= len(lines) <= 3 + json.loads(result.stdout)["results"][0]["seconds"] / 2
    assert all(re.fullmatch(PROGRESS.format(url=re.escape(scripted.url)), line) for line in lines)


def test_a_server_that_is_not_there_is_one_line(run):
    result = run("bench-serve", "--url", "http://127.0.0.1:9", code=1)
    assert "127.0.0.1:9" in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [["--rate", "0"], ["--slo", "fast"], ["--prompt", "0"],
                                     ["--gen", "9-8"], ["--extra", "[]"], ["-c", "0"]])
def test_wrong_options_are_exit_2(run, options):
    result = run("bench-serve", "--url", "http://127.0.0.1:9", *options, code=2)
    assert options[0] in result.stderr or options[0] == "-c"


def test_without_a_url_is_exit_2(run):
    assert "--url" in run("bench-serve", code=2).stderr
