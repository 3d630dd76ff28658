"""Generated conversations: whatever a request may carry, in every mixture.

`variables(seed)` is what a template sees, `request(seed)` the request in OpenAI's shape. Turns
follow each other as models expect them most of the time, because a template that refuses says
little. Of four conversations one has a user and an assistant in turns and nothing else, one is
plain (contents are texts, roles the usual ones, tools whole), and two have whatever may come.
"""

import random

TEXTS = [
    "Hello", "", "  spaced  \n", 'What is the "weather" in Paris?', "日本語のテキスト 🎉",
    "Привет, мир!\n\nЕщё", "a\tb\\n {curly} <tag> & 'q'", "<think>hm</think>\n\nanswer",
    "<think>\nlong\nthought\n</think>done", "one\ntwo\r\nthree", "x" * 300,
    "{{ not jinja }} {% x %}", "émigré naïve ß ﬁ", "\u00a0nbsp\u2028sep", '{"a": 1}', "0",
    "<|im_end|>", "Final: 1.0e-7 % 50%s", "\n\n", "مرحبا بالعالم", "🇩🇪👩‍👩‍👧‍👦 ok",
    "[TOOL_CALLS] [x]", "/no_think", "<tool_call>{}</tool_call>", "line\u2029end\x1fcontrol",
]
NAMES = ["get-weather", "search", "get_current_time", "计算"]


def value(r, depth=0):
    choices = [lambda: r.randint(-10**6, 10**6), lambda: r.choice([0.1, 1.0, 1e16, 1e-7, -2.5]),
               lambda: r.choice(TEXTS), lambda: r.random() < 0.5, lambda: None]
    if depth < 2:
        choices += [lambda: [value(r, depth + 1) for _ in range(r.randrange(4))],
                    lambda: {k: value(r, depth + 1) for k in ("a", "ünï", "items")[:r.randrange(4)]}]
    return r.choice(choices)()


def schema(r, depth=0):
    kind = r.choice(["string", "integer", "number", "boolean", "array", "object"][: 6 - 2 * depth])
    p = {"type": [kind, "null"] if r.random() < 0.1 else kind}
    if r.random() < 0.8:
        p["description"] = r.choice(TEXTS)
    if r.random() < 0.2:
        p["enum"] = ["a", 'b"']
    if r.random() < 0.1:
        p["default"] = value(r)
    if kind == "array":
        p["items"] = schema(r, depth + 1)
    if kind == "object":
        p["properties"] = {name: schema(r, depth + 1) for name in ("x", "y")}
        p["required"] = ["x"]
        if r.random() < 0.3:
            p["additionalProperties"] = False
    if r.random() < 0.05:
        p = {"anyOf": [p, {"type": "null"}]}
    return p


def tool(r):
    f = {"name": r.choice(NAMES), "description": r.choice(TEXTS)}
    if r.random() < 0.9:
        f["parameters"] = {"type": "object",
                           "properties": {name: schema(r) for name in ("city", "n")[:r.randrange(3)]}}
        if r.random() < 0.8:
            f["parameters"]["required"] = ["city"][: r.randrange(2)]
    if r.random() < 0.1:
        f["return"] = schema(r)
    return {"type": "function", "function": f}


def plain_tool(r):
    kinds = ["string", "integer", "number", "boolean"]
    return {"type": "function", "function": {
        "name": r.choice(NAMES), "description": r.choice(TEXTS), "parameters": {
            "type": "object", "required": ["city"],
            "properties": {name: {"type": r.choice(kinds), "description": r.choice(TEXTS)}
                           for name in ("city", "n")}}}}


def content(r, is_user, is_plain):
    if is_plain or r.random() < 0.7:
        return r.choice(TEXTS)
    parts = [{"type": "text", "text": r.choice(TEXTS)} for _ in range(r.randrange(3))]
    if is_user and r.random() < 0.3:
        parts.insert(r.randrange(len(parts) + 1), r.choice([
            {"type": "image"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
            {"type": "video"}, {"type": "audio"}]))
    return parts


def assistant_turn(r, is_plain):
    message = {"role": "assistant", "content": content(r, False, is_plain)}
    if r.random() < 0.3:
        message[r.choice(["reasoning_content", "reasoning_content", "thinking"])] = r.choice(TEXTS)
    if r.random() < 0.6:
        return [message]
    n = 1 if is_plain and r.random() < 0.7 else r.choice([1, 2, 3])
    message["tool_calls"] = [
        {"type": "function", "id": f"call{r.randrange(10**5):05}",
         "function": {"name": r.choice(NAMES),
                      "arguments": {k: value(r) for k in ("q", "é", "n")[:r.randrange(4)]}}}
        for i in range(n)]
    if not is_plain and r.random() < 0.5:
        message["content"] = r.choice(["", None])
        if message["content"] is None and r.random() < 0.5:
            del message["content"]
    results = [{"role": "tool", "tool_call_id": c["id"], "name": c["function"]["name"],
                "content": r.choice(TEXTS)} for c in message["tool_calls"]]
    return [message, *results, *([] if r.random() < 0.3 else
                                 [{"role": "assistant", "content": content(r, False, is_plain)}])]


def alternating(r):
    roles = ["user", "assistant"] * r.randrange(4) + ["user"]
    return [{"role": role, "content": r.choice(TEXTS)} for role in roles]


def messages(r, is_plain):
    out = []
    if r.random() < 0.5:
        role = "system" if is_plain or r.random() < 0.8 else "developer"
        out.append({"role": role, "content": content(r, False, is_plain)})
    for i in range(r.randrange(1, 5)):
        out.append({"role": "user", "content": content(r, True, is_plain)})
        if i == 0 or is_plain or r.random() < 0.9:
            out += assistant_turn(r, is_plain)
    if r.random() < 0.5:
        out.append({"role": "user", "content": content(r, True, is_plain)})
    if not is_plain and r.random() < 0.05:
        out.insert(r.randrange(len(out)), {"role": r.choice(["stranger", "tool"]), "content": "?"})
    return out


def request(seed):
    r = random.Random(seed)
    is_plain = seed % 2 == 0
    given = {"messages": alternating(r) if seed % 4 == 0 else messages(r, is_plain),
             "add_generation_prompt": r.random() < 0.6}
    if r.random() < 0.5:
        given["tools"] = [plain_tool(r) if is_plain else tool(r) for _ in range(r.randrange(1, 4))]
    if r.random() < 0.05:
        given["documents"] = [{"title": r.choice(TEXTS), "text": r.choice(TEXTS)} for _ in range(2)]
    kwargs = {}
    if r.random() < 0.4:
        kwargs[r.choice(["enable_thinking", "thinking"])] = r.random() < 0.5
    if r.random() < 0.15:
        kwargs["reasoning_effort"] = r.choice(["low", "medium", "high"])
    if r.random() < 0.1:
        kwargs["date_string"] = "26 Jul 2024"
    if r.random() < 0.15:
        kwargs["functions"] = "[]"
        kwargs["datetime"] = "now"
    if kwargs:
        given["chat_template_kwargs"] = kwargs
    return given


def variables(seed):
    """The same request as its template sees it, arguments and nulls left as they are."""
    given = request(seed)
    return {"messages": given["messages"], "tools": given.get("tools"),
            "documents": given.get("documents"), "bos_token": "<s>", "eos_token": "</s>",
            "add_generation_prompt": given["add_generation_prompt"],
            **given.get("chat_template_kwargs", {})}
