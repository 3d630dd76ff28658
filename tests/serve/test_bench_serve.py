"""`weft bench-serve`, on weft itself and on small servers that misbehave."""
import http.server
import json
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
