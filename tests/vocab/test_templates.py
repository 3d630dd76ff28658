"""Chat templates through `weft template` against jinja2 set up as transformers sets it up.

The templates in tests/golden/jinja/templates are rendered over generated conversations: tools,
parallel calls, empty and absent content, parts, reasoning, scripts of the world. The program and
jinja2 must give the same bytes, or both refuse.
"""

import json
import pathlib
import random
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "tests" / "golden" / "jinja" / "templates"
sys.path.insert(0, str(TEMPLATES.parent))
from jinja_reference import render  # noqa: E402

N_CONVERSATIONS = 40

TEXTS = [
    "Hello", "", "  spaced  \n", 'What is the "weather" in Paris?', "日本語のテキスト 🎉",
    "Привет, мир!\n\nЕщё", "a\tb\\n {curly} <tag> & 'q'", "<think>hm</think>\n\nanswer",
    "<think>\nlong\nthought\n</think>done", "one\ntwo\r\nthree", "x" * 300,
    "{{ not jinja }} {% x %}", "émigré naïve ß ﬁ", "\u00a0nbsp\u2028sep", '{"a": 1}', "0",
    "<|im_end|>", "Final: 1.0e-7 % 50%s",
]


def value(r, depth=0):
    choices = [lambda: r.randint(-10**6, 10**6), lambda: r.choice([0.1, 1.0, 1e16, 1e-7, -2.5]),
               lambda: r.choice(TEXTS), lambda: r.random() < 0.5, lambda: None]
    if depth < 2:
        choices += [lambda: [value(r, depth + 1) for _ in range(r.randrange(4))],
                    lambda: {k: value(r, depth + 1) for k in ("a", "ünï", "items")[:r.randrange(4)]}]
    return r.choice(choices)()


def schema(r, depth=0):
    kind = r.choice(["string", "integer", "number", "boolean", "array", "object"][: 6 - 2 * depth])
    p = {"type": kind, "description": r.choice(TEXTS)}
    if r.random() < 0.2:
        p["enum"] = ["a", 'b"']
    if kind == "array":
        p["items"] = schema(r, depth + 1)
    if kind == "object":
        p["properties"] = {name: schema(r, depth + 1) for name in ("x", "y")}
        p["required"] = ["x"]
    return p


def tool(r):
    f = {"name": r.choice(["get-weather", "search"]), "description": r.choice(TEXTS)}
    if r.random() < 0.9:
        f["parameters"] = {"type": "object", "required": ["city"],
                           "properties": {name: schema(r) for name in ("city", "n")}}
    return {"type": "function", "function": f}


def assistant_turn(r):
    message = {"role": "assistant", "content": r.choice(TEXTS + [None])}
    if r.random() < 0.3:
        message["reasoning_content"] = r.choice(TEXTS)
    if r.random() < 0.6:
        return [message]
    message["tool_calls"] = [
        {"type": "function", "id": f"c{i}",
         "function": {"name": "search", "arguments": {"q": value(r), "é": value(r)}}}
        for i in range(r.randrange(1, 3))]
    results = [{"role": "tool", "tool_call_id": c["id"], "content": r.choice(TEXTS)}
               for c in message["tool_calls"]]
    return [message, *results]


def variables(seed):
    r = random.Random(seed)
    messages = [{"role": "system", "content": r.choice(TEXTS)}] if r.random() < 0.5 else []
    for _ in range(r.randrange(1, 5)):
        content = r.choice(TEXTS)
        if r.random() < 0.1:
            content = [{"type": "text", "text": r.choice(TEXTS)} for _ in range(2)]
        messages += [{"role": "user", "content": content}, *assistant_turn(r)]
    if r.random() < 0.05:
        messages.append({"role": "stranger", "content": "?"})
    given = {"messages": messages, "tools": [tool(r) for _ in range(2)] if r.random() < 0.5 else None,
             "documents": None, "add_generation_prompt": r.random() < 0.6, "bos_token": "<s>",
             "eos_token": "</s>"}
    if r.random() < 0.3:
        given["enable_thinking"] = r.random() < 0.5
    return given


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.jinja")), ids=lambda p: p.stem)
def test_same_bytes_as_jinja2(weft, path):
    source = path.read_text(encoding="utf-8")
    n_rendered = 0
    for seed in range(N_CONVERSATIONS):
        given = json.loads(json.dumps(variables(seed)))
        want = render(source, given)
        ran = subprocess.run([str(weft), "template", str(path)], input=json.dumps(given).encode(),
                             capture_output=True, timeout=60, check=False)
        if want is None:
            assert ran.returncode == 1, (seed, ran.stdout)
            assert len(ran.stderr.splitlines()) == 1, ran.stderr
        else:
            assert ran.returncode == 0, (seed, ran.stderr)
            assert ran.stdout.decode() == want, seed
            n_rendered += 1
    assert n_rendered > N_CONVERSATIONS // 2
