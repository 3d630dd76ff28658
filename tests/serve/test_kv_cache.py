"""A server that keeps pages on disk knows a prompt after a restart, and answers as it did before."""
import re
import shutil

import requests

BODY = {"prompt": "The history of weaving begins long before writing. " * 12, "max_tokens": 12,
        "temperature": 0}


def ask(one):
    answer = requests.post(f"{one.url}/v1/completions", json=BODY, timeout=120)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["choices"][0]["text"], body["usage"]["prompt_tokens_details"]["cached_tokens"]


def recalled(one):
    """What `/metrics` says of tokens that came from the folder."""
    text = requests.get(f"{one.url}/metrics", timeout=10).text
    return int(re.search(r"^weft_recalled_tokens_total (\d+)$", text, re.M)[1])


def unused(one):
    """Pages of others that it found in the folder, by its log."""
    found = re.search(r"pages: (\d+) pages of another model, KV or activation type, instruction set or "
                      r"format are not used", one.log())
    return int(found[1])


def test_a_restarted_server_knows_the_prompt(server, smollm2, tmp_path):
    folder = tmp_path / "pages"
    one = server(smollm2, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    text, cached = ask(one)
    assert cached == 0
    assert recalled(one) == 0
    assert one.stop() == 0
    assert list(folder.glob("*.page"))
    two = server(smollm2, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    again, cached = ask(two)
    assert cached >= 64
    assert again == text
    assert recalled(two) >= cached
    assert two.stop() == 0
    n_pages = len(list(folder.glob("*.page")))
    other = server(smollm2, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024", "--kv-type", "q8_0")
    assert unused(other) == n_pages
    _, cached = ask(other)
    assert cached == 0


def test_pages_of_a_copied_model_are_not_used(server, smollm2, tmp_path):
    """The file is what a page belongs to, whatever it holds."""
    folder = tmp_path / "pages"
    one = server(smollm2, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    text, _ = ask(one)
    assert one.stop() == 0
    n_pages = len(list(folder.glob("*.page")))
    copy = shutil.copy(smollm2, tmp_path)
    other = server(copy, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    assert unused(other) == n_pages
    assert ask(other) == (text, 0)
    assert recalled(other) == 0
