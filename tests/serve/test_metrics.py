"""`/metrics` as Prometheus' own tools read it, and the line of the log for each request."""
import concurrent.futures
import json
import re
import socket
import subprocess
import time

import pytest
import requests

BODY = {"prompt": "The weather today is very " * 8, "max_tokens": 8, "temperature": 0,
        "ignore_eos": True}


def metrics(one, names="weft"):
    answer = requests.get(f"{one.url}/metrics", params={"names": names}, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.text


def value(text, series):
    return float(re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)[1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_figures_follow_the_requests(server, smollm2):
    one = server(smollm2, "--max-seqs", "2", "--ctx", "512", "--alias", "tiny")
    url = f"{one.url}/v1/completions"
    for _ in range(2):
        usage = requests.post(url, json=BODY, timeout=60).json()["usage"]
    assert requests.post(url, json={"prompt": "x", "max_tokens": 9999}, timeout=60).status_code == 400
    text = metrics(one)
    prompt, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    assert cached >= 16
    assert value(text, "weft_prompt_tokens_total") == 2 * prompt
    assert value(text, "weft_generated_tokens_total") == 16
    assert value(text, "weft_prefix_hit_tokens_total") == cached
    missed = sum(float(n) for n in re.findall(r"^weft_prefix_miss_tokens_total\{.*\} (\S+)$", text, re.M))
    assert missed == 2 * prompt - cached
    assert value(text, 'weft_requests_finished_total{reason="length"}') == 2
    assert value(text, 'weft_requests_rejected_total{cause="too_long"}') == 1
    assert value(text, 'weft_http_requests_total{endpoint="completions",code="200"}') == 2
    assert value(text, 'weft_http_requests_total{endpoint="completions",code="400"}') == 1
    for name, total in (("prompt", 2 * prompt), ("generated", 16)):
        assert value(text, f"weft_request_{name}_tokens_sum") == total
        assert value(text, f"weft_request_{name}_tokens_count") == 2
    for name in ("time_per_output_token", "time_to_first_token", "queue", "prefill", "decode", "end_to_end"):
        assert value(text, f"weft_{name}_seconds_count") == 2
    assert value(text, "weft_inter_token_seconds_count") == 14
    assert value(text, "process_resident_memory_bytes") > 1e6
    assert 'weft_model_info{model="tiny",arch="llama"} 1' in text


def test_sixteen_streams_wake_the_server_once_a_step(server, smollm2):
    one = server(smollm2, "--max-seqs", "16", "--ctx", "256")
    body = dict(BODY, max_tokens=40, stream=True)

    def ask(_):
        return requests.post(f"{one.url}/v1/completions", json=body, timeout=120).text.count("data: {")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert min(pool.map(ask, range(16))) > 30
    text = metrics(one)
    assert value(text, "weft_generated_tokens_total") == 16 * 40
    assert 0 < value(text, "weft_http_wakes_total") <= value(text, "weft_steps_total")


def test_what_the_http_layer_refuses_is_counted(server, smollm2):
    one = server(smollm2, "--ctx", "256")
    large = b"x" * (33 << 20)
    assert requests.post(f"{one.url}/v1/completions", data=large, timeout=60).status_code == 413
    chunks = (large[i:i + 65536] for i in range(0, len(large), 65536))
    assert requests.post(f"{one.url}/v1/completions", data=chunks, timeout=60).status_code == 413
    assert requests.get(f"{one.url}/health", headers={"X": "x" * 17000}, timeout=10).status_code == 431
    assert requests.get(f"{one.url}/nowhere", timeout=10).status_code == 404
    text = metrics(one)
    assert value(text, 'weft_requests_rejected_total{cause="body_too_large"}') == 2
    assert value(text, 'weft_requests_rejected_total{cause="headers_too_large"}') == 1
    for code, count in (("413", 2), ("431", 1), ("404", 1)):
        assert value(text, f'weft_http_requests_total{{endpoint="other",code="{code}"}}') == count
    one.stop()
    assert len([line for line in request_lines(one) if "status=413" in line and "client=127.0.0.1" in line]) == 2


def test_promtool_finds_nothing_to_mend(smollm2_server):
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics(smollm2_server), text=True,
                             capture_output=True, timeout=60)
    assert checked.returncode == 0 and checked.stdout + checked.stderr == ""


def test_prometheus_scrapes_both_sets_of_names(smollm2_server, tmp_path):
    requests.post(f"{smollm2_server.url}/v1/completions", json=BODY, timeout=60)
    port = free_port()
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [
        {"job_name": job, "params": {"names": [job]},
         "static_configs": [{"targets": [f"127.0.0.1:{smollm2_server.port}"]}]}
        for job in ("weft", "vllm")]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    scraper = subprocess.Popen(
        ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(expression):
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression},
                                  timeout=5)
            return [float(r["value"][1]) for r in answer.json()["data"]["result"]]
        except (requests.exceptions.ConnectionError, KeyError, ValueError):
            return []

    try:
        end = time.monotonic() + 60
        while not (query("weft_generated_tokens_total") and query("vllm:generation_tokens_total")):
            assert time.monotonic() < end, "nothing was scraped"
            time.sleep(0.2)
        assert query("vllm:generation_tokens_total")[0] >= 8
        for name in ("vllm:num_requests_running", "vllm:num_requests_waiting",
                     "vllm:kv_cache_usage_perc", "vllm:prefix_cache_hits_total",
                     "vllm:prefix_cache_queries_total", "vllm:time_to_first_token_seconds_count",
                     "vllm:request_prompt_tokens_sum", "vllm:request_generation_tokens_sum",
                     "vllm:request_time_per_output_token_seconds_count",
                     "vllm:inter_token_latency_seconds_sum", "vllm:request_queue_time_seconds_count",
                     'vllm:e2e_request_latency_seconds_bucket{le="+Inf"}'):
            assert len(query(name)) == 1, name
        first_token = query("histogram_quantile(0.5, vllm:time_to_first_token_seconds_bucket)")
        assert 0 < first_token[0] < 600
        assert query('up{job="weft"}') == query('up{job="vllm"}') == [1]
    finally:
        scraper.terminate()
        scraper.wait(30)


def test_unknown_names_are_refused(smollm2_server):
    answer = requests.get(f"{smollm2_server.url}/metrics?names=ollama", timeout=10)
    assert answer.status_code == 400 and "vllm" in answer.json()["error"]["message"]


def request_lines(one):
    return [line for line in one.log().splitlines() if "event" in line]


@pytest.mark.parametrize("form", ["logfmt", "json", "none"])
def test_every_request_is_one_line(server, smollm2, form):
    one = server(smollm2, "--ctx", "256", "--log-format", form)
    url = f"{one.url}/v1/completions"
    requests.post(url, json=BODY, timeout=60)
    requests.post(url, json={"prompt": "x", "wibble\nstatus=200": 1}, timeout=60)
    requests.get(f"{one.url}/no%0Asuch", timeout=10)
    one.stop()
    lines = request_lines(one)
    if form == "none":
        assert lines == []
        return
    assert len(lines) == 3
    if form == "json":
        fields = [json.loads(line) for line in lines]
        assert [f["status"] for f in fields] == [200, 400, 404]
        assert fields[0]["completion_tokens"] == 8 and fields[0]["endpoint"] == "completions"
        assert fields[0]["total_ms"] >= fields[0]["prefill_ms"] > 0
        assert "wibble" in fields[1]["error"]
    else:
        assert " status=200 finish=length stream=false choices=1 " in lines[0]
        assert " completion_tokens=8 " in lines[0] and "client=127.0.0.1" in lines[0]
        assert " status=400 " in lines[1] and " status=404 " in lines[2]
