"""A server that keeps pages on disk knows a prompt after a restart, and answers as it did before."""
import concurrent.futures
import re
import shutil
import time

import requests

BODY = {"prompt": "The history of weaving begins long before writing. " * 12, "max_tokens": 12,
        "temperature": 0}


def ask(one, prompt=BODY["prompt"]):
    body = dict(BODY, prompt=prompt)
    answer = requests.post(f"{one.url}/v1/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["choices"][0]["text"], body["usage"]["prompt_tokens_details"]["cached_tokens"]


def pages(folder):
    return list(folder.glob("*.page"))


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
    assert pages(folder)
    two = server(smollm2, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    again, cached = ask(two)
    assert cached >= 64
    assert again == text
    assert recalled(two) >= cached
    assert two.stop() == 0
    n_pages = len(pages(folder))
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
    n_pages = len(pages(folder))
    copy = shutil.copy(smollm2, tmp_path)
    other = server(copy, "--kv-cache-dir", f"{folder}:1G", "--ctx", "1024")
    assert unused(other) == n_pages
    assert ask(other) == (text, 0)
    assert recalled(other) == 0


def kill_while_it_writes(one, folder, prompts, n_pages):
    """Asks all of them at once, and kills as soon as n_pages more are on disk."""
    n_before = len(pages(folder))
    end = time.monotonic() + 60
    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        for prompt in prompts:
            pool.submit(ask, one, prompt)  # most are cut off: what they would say is not looked at
        while len(pages(folder)) < n_before + n_pages:
            assert time.monotonic() < end, f"no {n_pages} pages were written"
            time.sleep(0.001)
        one.process.kill()
    one.process.wait()


def test_a_killed_server_leaves_nothing_that_harms(server, smollm2, tmp_path):
    folder = tmp_path / "pages"
    options = ["--kv-cache-dir", f"{folder}:1G", "--ctx", "1024", "--max-seqs", "4"]
    prompts = [f"{name} wove this. " + BODY["prompt"] * 2 for name in ("Ada", "Ben", "Cleo", "Dan", "Eve", "Fay")]
    for asked, n_pages in ((prompts[:3], 1), (prompts[3:], 30)):
        kill_while_it_writes(server(smollm2, *options), folder, asked, n_pages)
    whole = pages(folder)[0]
    whole.with_suffix(".part").write_bytes(whole.read_bytes()[:5000])  # what a kill in a write leaves
    foreign = folder / "movie.part"
    foreign.write_bytes(b"half")
    known = server(smollm2, *options)
    assert list(folder.glob("*.part")) == [foreign]
    fresh = server(smollm2, "--ctx", "1024")
    answers = [ask(known, prompt) for prompt in prompts]
    assert [text for text, _ in answers] == [ask(fresh, prompt)[0] for prompt in prompts]
    assert recalled(known) > 0
    assert "because" not in known.log()  # no page was found damaged
