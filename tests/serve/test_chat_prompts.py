"""What a chat request shows the model: messages of every kind, tools, documents, template variables.

SmolLM2 is served with a template that knows tools, reasoning and documents. What the server made of
a request is compared with `weft template` and `weft tokenize`: as many prompt tokens, and the same
greedy answer as plain completions give for those token ids.
"""
import json
import pathlib
import struct

import openai
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "tests" / "golden" / "jinja" / "templates" / "tools.jinja"
DOCUMENTS = "{%- for d in documents or [] %}[DOC]{{ d.title }}: {{ d.text }}[/DOC]{% endfor -%}\n"
KEY = b"tokenizer.chat_template"
ALIGNMENT = 32


def with_template(model, template, out):
    """A copy of a GGUF with another chat template, padded so that the tensors stay aligned."""
    data = model.read_bytes()
    at = data.index(KEY) + len(KEY) + 4  # past the value's type
    n = struct.unpack_from("<Q", data, at)[0]
    new = template.encode()
    new += b"{#" + b" " * ((n - len(new) - 4) % ALIGNMENT) + b"#}"
    out.write_bytes(data[:at] + struct.pack("<Q", len(new)) + new + data[at + 8 + n:])
    return out


@pytest.fixture(scope="module")
def tool_model(smollm2, tmp_path_factory):
    out = tmp_path_factory.mktemp("tools") / "smollm2-tools.gguf"
    return with_template(smollm2, DOCUMENTS + TEMPLATE.read_text(encoding="utf-8"), out)


@pytest.fixture(scope="module")
def tooled(weft, tool_model, smollm2_server, tmp_path_factory):
    """A server of that model, shared by the tests here."""
    log = tmp_path_factory.mktemp("tooled") / "serve.log"
    one = type(smollm2_server)(weft, log, [tool_model, "--max-seqs", "4", "--ctx", "2048"])
    yield one
    assert one.stop() == 0, one.log()


TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather of a place.", "strict": True,
    "parameters": {"type": "object", "required": ["city"],
                   "properties": {"city": {"type": "string", "enum": ["Paris", "Kyōto"]}}}}}
CALL = {"id": "call_1", "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Kyōto", "n": 1.0}'}}
USER = {"role": "user", "content": "Is it raining?"}
TURNS = [{"role": "system", "content": "Be brief."}, USER,
         {"role": "assistant", "content": None, "reasoning_content": "I must look.",
          "tool_calls": [CALL]},
         {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "rain"}]
DOCUMENT = {"title": "Looms", "text": "A loom weaves."}
AS_OBJECT = {**CALL, "function": {"name": "weather", "arguments": {"city": "Paris"}}}

HONOURED = {
    "roles": {"messages": TURNS},
    "arguments as an object": {"messages": [*TURNS[:2], {**TURNS[2], "tool_calls": [AS_OBJECT]},
                                            TURNS[3]]},
    "arguments that are no JSON": {"messages": [USER, {
        "role": "assistant", "tool_calls": [
            {"function": {"name": "weather", "arguments": "{city"}}]}]},
    "two calls": {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL] * 2},
                               TURNS[3], TURNS[3]]},
    "tools": {"messages": TURNS, "tools": [TOOL, TOOL], "tool_choice": "none"},
    "no tools": {"messages": [USER], "tools": [], "tool_choice": "none"},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Is it "},
                                                        {"type": "text", "text": "raining?"}]}]},
    "thinking": {"messages": [USER, {"role": "assistant", "content": "No.", "thinking": "Dry."},
                              USER, {"role": "assistant", "content": "No.", "reasoning": "Wet."}]},
    "variables": {"messages": [USER], "chat_template_kwargs": {"enable_thinking": False}},
    "documents": {"messages": [USER], "documents": [DOCUMENT, DOCUMENT]},
    "no generation prompt": {"messages": [USER], "add_generation_prompt": False},
    "continued": {"messages": [USER, {"role": "assistant", "content": "It is rai"}],
                  "continue_final_message": True},
}


REFUSED = [  # fields, parameter, what the line says
    ({"messages": [7]}, "messages", "messages[0] is a number, wanted an object"),
    ({"messages": [{"role": None}]}, "messages", "messages[0].role is missing, wanted a string"),
    ({"messages": [{"content": "x"}]}, "messages", "messages[0].role is missing, wanted a string"),
    ({"messages": [USER, {"role": "assistant"}]}, "messages",
     "messages[1].content is missing, wanted a string or an array of text parts"),
    ({"messages": [{**USER, "content": None}]}, "messages", "messages[0].content is null, wanted"),
    ({"messages": [{**USER, "content": {}}]}, "messages", "messages[0].content is an object"),
    ({"messages": [{**USER, "wibble": 1}]}, "messages", "messages[0].wibble is not a known field"),
    ({"messages": [{**USER, "name": 3}]}, "messages", "messages[0].name is a number, wanted a string"),
    ({"messages": [{**USER, "content": ["x"]}]}, "messages",
     "messages[0].content[0] is a string, wanted an object"),
    ({"messages": [{**USER, "content": [{"type": "text"}]}]}, "messages",
     "messages[0].content[0].text is missing, wanted a string"),
    ({"messages": [{**USER, "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages", "messages[0].content[0] is image_url, wanted a text part"),
    ({"messages": [{**USER, "tool_calls": [CALL]}]}, "messages",
     "messages[0].tool_calls is for messages of the role assistant alone"),
    ({"messages": [{**USER, "tool_call_id": "x"}]}, "messages",
     "messages[0].tool_call_id is for messages of the role tool alone"),
    ({"messages": [{**USER, "reasoning_content": "x"}]}, "messages", "of the role assistant alone"),
    ({"messages": [{**TURNS[2], "thinking": "other"}]}, "messages",
     "messages[0].thinking differs from the same message's other reasoning"),
    ({"messages": [{**TURNS[2], "tool_calls": {}}]}, "messages",
     "messages[0].tool_calls is an object, wanted an array"),
    ({"messages": [USER, {**TURNS[2], "tool_calls": [CALL, 1]}]}, "messages",
     "messages[1].tool_calls[1] is a number, wanted an object"),
    ({"messages": [{**TURNS[2], "tool_calls": [{**CALL, "type": "custom"}]}]}, "messages",
     "messages[0].tool_calls[0] is custom, wanted a call of a function"),
    ({"messages": [{**TURNS[2], "tool_calls": [{"id": "x"}]}]}, "messages",
     "messages[0].tool_calls[0].function is missing, wanted an object"),
    ({"messages": [{**TURNS[2], "tool_calls": [{"function": {"name": "f", "arguments": 42}}]}]},
     "messages", "messages[0].tool_calls[0].function.arguments is a number, wanted a string or an "
     "object"),
    ({"messages": [{**TURNS[2], "tool_calls": [{"function": {"arguments": ""}}]}]}, "messages",
     "messages[0].tool_calls[0].function.name is missing, wanted a string"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages", "unknown role robot"),
    ({"messages": [USER], "tools": [TOOL]}, "tools", "only with 'tool_choice' \"none\""),
    ({"messages": [USER], "tools": [TOOL], "tool_choice": "auto"}, "tool_choice",
     "'tool_choice' is \"auto\", only \"none\" is taken"),
    ({"messages": [USER], "tools": [TOOL], "tool_choice": {"type": "function", "function": {
        "name": "weather"}}}, "tool_choice", "'tool_choice' is an object, only \"none\" is taken"),
    ({"messages": [USER], "tools": {}, "tool_choice": "none"}, "tools", "is an object, wanted an array"),
    ({"messages": [USER], "tools": [{"type": "function"}], "tool_choice": "none"}, "tools",
     "tools[0].function is missing, wanted an object"),
    ({"messages": [USER], "tools": [{**TOOL, "type": "web_search"}], "tool_choice": "none"},
     "tools", "tools[0] is web_search, wanted a function"),
    ({"messages": [USER], "tools": [{"type": "function", "function": {"name": "f", "parameters":
      "{}"}}], "tool_choice": "none"}, "tools",
     "tools[0].function.parameters is a string, wanted an object"),
    ({"messages": [USER], "documents": "x"}, "documents", "documents is a string, wanted an array"),
    ({"messages": [USER], "documents": [DOCUMENT, "x"]}, "documents",
     "documents[1] is a string, wanted an object"),
    ({"messages": [USER], "chat_template_kwargs": []}, "chat_template_kwargs", "wanted an object"),
    ({"messages": [USER], "chat_template_kwargs": {"tools": [TOOL]}}, "chat_template_kwargs",
     "chat_template_kwargs.tools is no variable of a template's own"),
    ({"messages": [USER], "add_generation_prompt": 1}, "add_generation_prompt",
     "'add_generation_prompt' is a number, wanted a boolean"),
    ({"messages": [USER], "continue_final_message": "yes"}, "continue_final_message",
     "'continue_final_message' is a string, wanted a boolean"),
    ({"messages": [USER], "continue_final_message": True, "add_generation_prompt": True},
     "continue_final_message", "exclude each other"),
    ({"messages": TURNS[:3], "continue_final_message": True}, "messages", "no text to continue"),
    ({"messages": [{**USER, "\u00e9" * 300: 1}]}, "messages", "is not a known field"),
]


def complete(server, path, body):
    return requests.post(f"{server.url}/v1/{path}", timeout=60,
                         json={"max_tokens": 8, "temperature": 0, **body})


def prompt_ids(run, model, body):
    """What the two commands make of the request; the one without --no-special would add a BOS."""
    prompt = run("template", model, input=json.dumps(body).encode()).stdout
    ids = run("tokenize", model, "--no-special", input=prompt).stdout
    return prompt.decode(), json.loads(ids)


@pytest.mark.parametrize("name", HONOURED)
def test_a_request_makes_the_prompt_that_weft_template_makes(run, tooled, tool_model, name):
    prompt, ids = prompt_ids(run, tool_model, HONOURED[name])
    chat = complete(tooled, "chat/completions", HONOURED[name])
    assert chat.status_code == 200, f"{chat.text}\n{prompt}"
    plain = complete(tooled, "completions", {"prompt": ids}).json()
    assert chat.json()["usage"]["prompt_tokens"] == len(ids), prompt
    assert chat.json()["choices"][0]["message"]["content"] == plain["choices"][0]["text"], prompt


def test_each_thing_reaches_the_prompt(run, tool_model):
    """The comparison above would not notice what both sides left out."""
    wanted = {"roles": ["Kyōto", "[RESULTS]rain[/RESULTS]", '"n": 1.0', "<think>I must look."],
              "arguments as an object": ['{"city": "Paris"}'], "arguments that are no JSON": ["{city"],
              "two calls": ["[RESULTS]rain,rain[/RESULTS]"], "tools": ["# Tools", "The weather of"],
              "parts": ["raining?"], "thinking": ["<think>Wet.</think>No."],
              "variables": ["[BOT]<think></think>"], "documents": ["[DOC]Looms: A loom weaves."],
              "continued": ["[BOT]It is rai"]}
    for name, texts in wanted.items():
        prompt, _ = prompt_ids(run, tool_model, HONOURED[name])
        assert all(text in prompt for text in texts), (name, prompt)
    assert prompt_ids(run, tool_model, HONOURED["continued"])[0].endswith("It is rai")
    assert prompt_ids(run, tool_model, HONOURED["no generation prompt"])[0].endswith("[/USER]")
    assert "# Tools" not in prompt_ids(run, tool_model, HONOURED["no tools"])[0]


def test_the_official_client_sends_a_whole_tool_conversation(tooled):
    client = tooled.client()
    answer = client.chat.completions.create(
        model=client.models.list().data[0].id, messages=TURNS, tools=[TOOL], tool_choice="none",
        max_tokens=4, temperature=0, extra_body={"documents": [DOCUMENT],
                                                 "chat_template_kwargs": {"enable_thinking": False}})
    assert answer.usage.completion_tokens > 0 and answer.choices[0].message.tool_calls is None
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=answer.model, messages=TURNS, tools=[TOOL])
    assert caught.value.param == "tools"


def test_null_in_a_message_is_as_good_as_absent(tooled):
    """What model_dump() of an answer of the client sends back."""
    nulls = dict.fromkeys(["name", "tool_calls", "refusal", "audio", "function_call", "annotations",
                           "reasoning_content", "thinking"])
    bare = [USER, {"role": "assistant", "content": "No."}, USER]
    full = [bare[0], {**bare[1], **nulls}, bare[2]]
    answers = [complete(tooled, "chat/completions", {"messages": m}).json() for m in (bare, full)]
    assert answers[0]["usage"]["prompt_tokens"] == answers[1]["usage"]["prompt_tokens"]
    assert answers[0]["choices"] == answers[1]["choices"]


@pytest.mark.parametrize("body,param,line", REFUSED, ids=lambda v: str(v)[:50])
def test_what_cannot_be_shown_is_refused_with_its_path(tooled, body, param, line):
    answer = complete(tooled, "chat/completions", body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["code"] is None
    assert error["param"] == param and line in error["message"], error


# ---- refusals of the HTTP server itself ----

def error_of(answer):
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()["error"]


def test_a_body_too_large_is_an_error_object(tooled):
    url = f"{tooled.url}/v1/chat/completions"
    body = b'{"messages": "' + b"x" * (33 << 20) + b'"}'
    whole = requests.post(url, data=body, timeout=60)
    chunked = requests.post(url, data=(body[i:i + 65536] for i in range(0, len(body), 65536)),
                            timeout=60)
    for answer in (whole, chunked):
        assert answer.status_code == 413
        error = error_of(answer)
        assert error["type"] == "invalid_request_error" and error["code"] == "request_too_large"
        assert str(32 << 20) in error["message"] and error["param"] is None
    with pytest.raises(openai.APIStatusError) as caught:
        tooled.client().chat.completions.create(
            model="x", messages=[{"role": "user", "content": "x" * (33 << 20)}])
    assert caught.value.status_code == 413 and caught.value.code == "request_too_large"


def test_headers_too_large_are_an_error_object(tooled):
    answer = requests.get(f"{tooled.url}/v1/models", headers={"X": "x" * 17000}, timeout=10)
    assert answer.status_code == 431 and error_of(answer)["code"] == "headers_too_large"
