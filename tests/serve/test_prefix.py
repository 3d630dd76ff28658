"""What of a prompt is known already, as usage, the header and `/metrics` tell it; pages are of 16 tokens."""
import re

import requests

GREEDY = {"max_tokens": 4, "temperature": 0, "ignore_eos": True}
PAGE = 16


def total(one, series):
    text = requests.get(f"{one.url}/metrics", timeout=10).text
    return int(re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)[1])


def hits(one):
    return total(one, "weft_prefix_hit_tokens_total")


def ask(one, prompt, **more):
    answer = requests.post(f"{one.url}/v1/completions", timeout=60, json={**GREEDY, "prompt": prompt, **more},
                           headers={"X-Weft-Cache": "explain"})
    assert answer.status_code == 200, answer.text
    return answer


def cached(answer):
    return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_a_header_explains_what_was_not_cached(smollm2_server):
    ids = list(range(1000, 1070))
    assert ask(smollm2_server, ids).headers["X-Weft-Cache"] == "cached=0, prompt=70, miss=new, at=0"
    streamed = ask(smollm2_server, ids, stream=True).headers["X-Weft-Cache"]
    assert streamed.startswith("cached=64, prompt=70, miss=")
    other = ask(smollm2_server, ids[:40] + list(range(3000, 3030)))
    assert other.headers["X-Weft-Cache"] == "cached=32, prompt=70, miss=diverged, at=40"
    plain = requests.post(f"{smollm2_server.url}/v1/completions", json={**GREEDY, "prompt": ids}, timeout=60)
    assert "X-Weft-Cache" not in plain.headers
    assert cached(plain) == 64


def test_choices_run_their_common_prompt_once(smollm2_server):
    ids, before = list(range(2000, 2040)), hits(smollm2_server)
    first = ask(smollm2_server, ids, n=3)
    assert first.json()["usage"]["prompt_tokens"] == 40
    assert cached(first) == 0, "the first choice has nothing to find"
    assert hits(smollm2_server) - before == 2 * 32, "the second and the third find the first's whole pages"
    again = ask(smollm2_server, ids, n=3)
    assert cached(again) == 32, "choices count their common prompt once"


def test_prompts_of_one_request_share_their_beginning(smollm2_server):
    common = list(range(4000, 4064))
    prompts = [common + [5000 + i] * 20 for i in range(3)]
    answer = ask(smollm2_server, prompts)
    assert answer.json()["usage"]["prompt_tokens"] == 3 * 84
    assert cached(answer) == 2 * 64
    alone = [ask(smollm2_server, p).json()["choices"][0]["text"] for p in prompts]
    assert [c["text"] for c in answer.json()["choices"]] == alone


def test_a_second_turn_knows_the_first_and_its_answer(smollm2_server):
    def turn(messages):
        answer = requests.post(f"{smollm2_server.url}/v1/chat/completions", timeout=60, json={
            "messages": messages, "max_tokens": 48, "temperature": 0})
        assert answer.status_code == 200, answer.text
        return answer

    messages = [{"role": "user", "content": "Tell me a story about a weaver."}]
    first = turn(messages)
    usage = first.json()["usage"]
    assert usage["completion_tokens"] >= 2 * PAGE, "too short to tell"
    messages += [first.json()["choices"][0]["message"], {"role": "user", "content": "How does it end?"}]
    known = usage["prompt_tokens"] + usage["completion_tokens"] - 1  # the last token was never run
    assert cached(turn(messages)) == known // PAGE * PAGE > usage["prompt_tokens"]


def test_a_small_cache_says_what_it_has_given_up(server, smollm2):
    """Four prompts in turns in a pool for three: the oldest has always made room. Names of what is gone are
    kept for a while only, so not every miss is put down to that, but headers and figures agree."""
    one = server(smollm2, "--max-seqs", "1", "--ctx", "512", "--kv-mem", "12M")
    prompts = [[1000 * k + i for i in range(160)] for k in range(1, 5)]
    assert {ask(one, p).headers["X-Weft-Cache"] for p in prompts} == {"cached=0, prompt=160, miss=new, at=0"}
    missed = {"new": 4 * 160, "evicted": 0}
    assert total(one, 'weft_prefix_miss_tokens_total{cause="evicted"}') == 0
    for p in prompts + prompts:
        told = re.fullmatch(r"cached=(\d+), prompt=160, miss=(new|evicted), at=\1",
                            ask(one, p).headers["X-Weft-Cache"])
        missed[told[2]] += 160 - int(told[1])
    assert missed["evicted"] > 0
    for cause, tokens in missed.items():
        assert total(one, f'weft_prefix_miss_tokens_total{{cause="{cause}"}}') == tokens
