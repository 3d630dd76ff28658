"""`weft serve` through the official openai client, and through bare HTTP where the client hides
something. Greedy answers are compared with each other, never with fixed text."""
import concurrent.futures
import json

import openai
import pytest
import requests

PROMPT = [{"role": "user", "content": "Name three animals."}]


def ask(client, **options):
    settings = {"model": client.models.list().data[0].id, "messages": PROMPT, "temperature": 0, "seed": 1,
                "max_tokens": 24, **options}
    return client.chat.completions.create(**settings)


@pytest.fixture(scope="module")
def client(smollm2_server):
    return smollm2_server.client()


# ---- what is listed ----

def test_models_are_listed_and_found_by_name(client):
    models = client.models.list().data
    assert len(models) == 1 and models[0].owned_by == "weft"
    assert client.models.retrieve(models[0].id).id == models[0].id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_health_says_ok(smollm2_server):
    answer = requests.get(f"{smollm2_server.url}/health", timeout=10)
    assert answer.status_code == 200 and answer.json() == {"status": "ok"}


# ---- chat ----

def test_chat_answers_with_usage(client):
    answer = ask(client)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant" and choice.message.content.strip()
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 24 and usage.prompt_tokens > 5


def test_stream_gives_the_same_text_and_usage(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert finishes[-1] == whole.choices[0].finish_reason and set(finishes[:-1]) == {None}
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(c.usage is None for c in chunks[:-1])


def test_stream_is_sse_and_ends_with_done(smollm2_server):
    body = {"messages": PROMPT, "stream": True, "max_tokens": 4}
    answer = requests.post(f"{smollm2_server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = [e for e in answer.text.split("\n\n") if e]
    assert all(e.startswith("data: ") for e in events) and events[-1] == "data: [DONE]"
    assert all("usage" not in json.loads(e[6:]) for e in events[:-1])


def test_max_tokens_is_kept_and_named(client):
    answer = ask(client, max_tokens=3)
    assert answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length"
    assert ask(client, max_tokens=openai.NOT_GIVEN,
               max_completion_tokens=3).usage.completion_tokens == 3


def test_ignore_eos_runs_to_the_limit(client):
    answer = ask(client, max_tokens=300, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 300 and answer.choices[0].finish_reason == "length"


def test_stop_strings_end_the_text_before_them(client):
    text = ask(client, max_tokens=60).choices[0].message.content
    for start in (5, 11, 18):
        stop = text[start:start + 7]  # crosses token borders
        wanted = text[:text.index(stop)]
        answer = ask(client, max_tokens=60, stop=[stop, "\u0000never"[1:]])
        assert answer.choices[0].message.content == wanted
        assert answer.choices[0].finish_reason == "stop"
        streamed = "".join(c.choices[0].delta.content or ""
                           for c in ask(client, max_tokens=60, stop=stop, stream=True))
        assert streamed == wanted


def test_seed_repeats_and_choices_differ(client):
    options = {"temperature": 1.5, "max_tokens": 16, "seed": 7, "n": 3}
    first, second = ask(client, **options), ask(client, **options)
    texts = [c.message.content for c in first.choices]
    assert texts == [c.message.content for c in second.choices]
    assert len(set(texts)) > 1 and [c.index for c in first.choices] == [0, 1, 2]
    assert ask(client, **{**options, "n": 1}).choices[0].message.content == texts[0]
    other = ask(client, **{**options, "seed": 8})
    assert [c.message.content for c in other.choices] != texts


def test_a_drawn_seed_is_reported_and_repeats(smollm2_server):
    url = f"{smollm2_server.url}/v1/chat/completions"
    body = {"messages": PROMPT, "max_tokens": 12, "temperature": 1.2}
    first = requests.post(url, json=body, timeout=60).json()
    again = requests.post(url, json={**body, "seed": first["usage"]["seed"]}, timeout=60).json()
    assert again["choices"][0]["message"] == first["choices"][0]["message"]


def test_logprobs_are_of_the_chosen_tokens(client):
    answer = ask(client, max_tokens=6, logprobs=True, top_logprobs=3)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob <= 0 and entry.top_logprobs[0].token == entry.token  # greedy
        assert bytes(entry.bytes).decode(errors="replace") == entry.token
    assert "".join(e.token for e in entries).startswith(answer.choices[0].message.content)


def test_logit_bias_forces_and_bans(client):
    free = ask(client, max_tokens=1, logprobs=True, top_logprobs=2)
    best = free.choices[0].logprobs.content[0]
    completion = client.completions.create(model=free.model, prompt="Hello", max_tokens=4,
                                           temperature=0, logit_bias={"28": 100})
    assert completion.choices[0].text == ",,,,"
    assert best.top_logprobs[1].logprob <= best.logprob


# ---- plain completions ----

def test_completions_take_text_ids_and_lists(client):
    model = client.models.list().data[0].id
    options = {"model": model, "temperature": 0, "max_tokens": 6}
    one = client.completions.create(prompt="The sky is", **options)
    two = client.completions.create(prompt=["The sky is", "Water is"], **options)
    assert [c.index for c in two.choices] == [0, 1]
    assert two.choices[0].text == one.choices[0].text and one.object == "text_completion"
    ids = client.completions.create(prompt=[504, 6376, 314], **options)
    assert ids.usage.prompt_tokens == 3
    streamed = client.completions.create(prompt="The sky is", stream=True, **options)
    assert "".join(c.choices[0].text for c in streamed if c.choices) == one.choices[0].text
    logged = client.completions.create(prompt="The sky is", logprobs=2, **options)
    assert "".join(logged.choices[0].logprobs.tokens) == one.choices[0].text
    assert len(logged.choices[0].logprobs.top_logprobs[0]) == 2


# ---- refusals ----

REFUSED = [
    ({"messages": []}, 400, "messages"),
    ({"messages": "hello"}, 400, "messages"),
    ({}, 400, "messages"),
    ({"messages": [{"role": "user"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": 42}]}, 400, "messages"),
    ({"messages": [{"content": "hello"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, "messages"),
    ({"messages": PROMPT, "top_p": 0}, 400, "top_p"),
    ({"messages": PROMPT, "repetition_penalty": 0}, 400, "repetition_penalty"),
    ({"messages": PROMPT, "max_tokens": 3, "max_completion_tokens": 4}, 400,
     "max_completion_tokens"),
    ({"messages": PROMPT, "n": 128, "max_tokens": 1, "temperature": "hot"}, 400, "temperature"),
    ({"messages": PROMPT, "temperature": "hot"}, 400, "temperature"),
    ({"messages": PROMPT, "temperature": -1}, 400, "temperature"),
    ({"messages": PROMPT, "top_p": 1.5}, 400, "top_p"),
    ({"messages": PROMPT, "max_tokens": 0}, 400, "max_tokens"),
    ({"messages": PROMPT, "max_tokens": 1.5}, 400, "max_tokens"),
    ({"messages": PROMPT, "n": 0}, 400, "n"),
    ({"messages": PROMPT, "stop": [""]}, 400, "stop"),
    ({"messages": PROMPT, "stop": 5}, 400, "stop"),
    ({"messages": PROMPT, "logit_bias": {"x": 1}}, 400, "logit_bias"),
    ({"messages": PROMPT, "top_logprobs": 3}, 400, "top_logprobs"),
    ({"messages": PROMPT, "stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"messages": PROMPT, "response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"messages": PROMPT, "tools": [{"type": "function"}]}, 400, "tools"),
    ({"messages": PROMPT, "wibble": 1}, 400, "wibble"),
    ({"messages": PROMPT, "model": "nobody"}, 404, "model"),
    ({"messages": PROMPT, "max_tokens": 1000000}, 400, None),
]


@pytest.mark.parametrize("body,status,param", REFUSED, ids=lambda v: str(v)[:60])
def test_bad_parameters_are_refused_by_name(smollm2_server, body, status, param):
    answer = requests.post(f"{smollm2_server.url}/v1/chat/completions", json=body, timeout=60)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and error["param"] == param
    if param is not None:
        assert param in error["message"]


def test_null_is_as_good_as_absent(smollm2_server):
    body = {"messages": PROMPT, "max_tokens": 2, "tools": None, "stop": None, "seed": None}
    url = f"{smollm2_server.url}/v1/chat/completions"
    assert requests.post(url, json=body, timeout=60).status_code == 200


def test_a_prompt_longer_than_the_context_is_refused_with_the_numbers(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=[{"role": "user", "content": "word " * 9000}])
    assert "8192" in str(caught.value) and caught.value.code == "context_length_exceeded"


def test_http_mistakes_have_their_codes(smollm2_server):
    url = smollm2_server.url
    bad = requests.post(f"{url}/v1/chat/completions", data=b"{not json", timeout=10)
    assert bad.status_code == 400 and "JSON" in bad.json()["error"]["message"]
    assert requests.get(f"{url}/v1/nothing", timeout=10).status_code == 404
    assert requests.get(f"{url}/v1/chat/completions", timeout=10).status_code == 405


def test_a_long_unknown_name_is_a_400_too(smollm2_server):
    body = {"messages": PROMPT, "\u00e9" * 200: 1}
    answer = requests.post(f"{smollm2_server.url}/v1/chat/completions", json=body, timeout=10)
    assert answer.status_code == 400 and "\u00e9" in answer.json()["error"]["param"]


def test_more_choices_than_the_queue_holds_is_a_400(smollm2_server):
    body = {"prompt": ["a"] * 3, "n": 100, "max_tokens": 1}
    answer = requests.post(f"{smollm2_server.url}/v1/completions", json=body, timeout=10)
    assert answer.status_code == 400 and "256" in answer.json()["error"]["message"]


def test_equal_prompts_draw_their_own_answers(client):
    model = client.models.list().data[0].id
    answer = client.completions.create(model=model, prompt=["Once", "Once"], max_tokens=12,
                                       temperature=1.5, seed=3)
    assert answer.choices[0].text != answer.choices[1].text


def test_text_parts_are_joined(client):
    parts = [{"type": "text", "text": "Name three "}, {"type": "text", "text": "animals."}]
    whole = ask(client).choices[0].message.content
    joined = ask(client, messages=[{"role": "user", "content": parts}])
    assert joined.choices[0].message.content == whole


def test_token_bytes_put_split_characters_together(client):
    answer = ask(client, max_tokens=8, logprobs=True,
                 messages=[{"role": "user", "content": "Repeat: \U0001f9f6\U0001f9f5"}],
                 logit_bias={"28": -100})
    entries = answer.choices[0].logprobs.content
    text = b"".join(bytes(e.bytes) for e in entries).decode(errors="replace")
    assert text.startswith(answer.choices[0].message.content.rstrip("\ufffd"))


# ---- many at once ----

def test_sixteen_clients_get_their_own_answers(smollm2_server):
    client = smollm2_server.client()
    questions = [[{"role": "user", "content": f"Count upwards from {i * 7}."}] for i in range(16)]

    def one(messages):
        return ask(client, messages=messages, max_tokens=20).choices[0].message.content

    alone = [one(q) for q in questions]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(one, questions))
    assert together == alone
    assert len(set(alone)) > 8
