#!/usr/bin/env python3
"""compare_tokenizers [--rounds N] [--weft PROGRAM] FILE.gguf|tokenizer.json... - speed of encoding
beside the package tokenizers (Rust), one thread each, on the same vocabulary and text.

Three texts of two megabytes, none of which repeats itself: English is the documentation strings of
Python's library and the notes under /usr/share/doc, without lines that came before; code is that
library and the headers in /usr/include, the same way; Chinese is drawn character by character, the
frequent ones more often, with words of two and three among them. Every encoding is cold: weft is a
fresh process, Rust a tokenizer just built. The two are run in turn, --rounds times, and the median
counts. Times are those of the processor, so that other work on the machine does not count. weft's is
that of `weft tokenize`, printing included, less that over an empty text, so that loading is left
out; Rust's is that of
encode_batch_fast() alone, which leaves out the places of the tokens in the text.
"""
import argparse
import ast
import functools
import gzip
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from tokenizers import Tokenizer  # noqa: E402
from vocab import many_strings  # noqa: E402

TEXT_BYTES = 2 << 20


def docstrings(path):
    tree = ast.parse(path.read_bytes())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return "\n".join(f for f in found if f)


def notes(path):
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="ignore")


def gather(files, read, most):
    """The lines of the files that did not come before, until there are most bytes."""
    seen, kept, size = set(), [], 0
    for path in files:
        try:
            lines = read(path).splitlines()
        except (OSError, SyntaxError, ValueError):
            continue
        for line in lines:
            if line.strip() and line in seen:
                continue
            seen.add(line)
            kept.append(line)
            size += len(line.encode()) + 1
            if size > most:
                return "\n".join(kept)
    return "\n".join(kept)


def chinese(rng, most):
    common = list(range(0x4E00, 0x4E00 + 6000))
    rng.shuffle(common)
    character = lambda: chr(common[int(rng.random() ** 3 * len(common))])  # noqa: E731
    words = ["".join(character() for _ in range(rng.choice([2, 2, 3]))) for _ in range(20000)]
    parts, size = [], 0
    while size < most:
        parts.append(rng.choice(words) if rng.random() < 0.5 else character())
        parts.append("，" if rng.random() < 0.08 else "。\n" if rng.random() < 0.04 else "")
        size += len((parts[-2] + parts[-1]).encode())
    return "".join(parts)


def texts():
    rng = random.Random(1)
    library = sorted(pathlib.Path(os.__file__).parent.rglob("*.py"))
    docs = [p for p in sorted(pathlib.Path("/usr/share/doc").rglob("*"))
            if p.name.startswith(("README", "NEWS", "FAQ")) and p.is_file()]
    headers = sorted(pathlib.Path("/usr/include").rglob("*.h"))
    for files in library, docs, headers:
        rng.shuffle(files)
    half = TEXT_BYTES // 2
    yield "English", gather(library, docstrings, half) + gather(docs, notes, half)
    yield "code", (gather(library, pathlib.Path.read_text, half)
                   + gather(headers, pathlib.Path.read_text, half))
    yield "Chinese", chinese(rng, TEXT_BYTES)


def seconds_of_weft(weft, model, data):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([weft, "tokenize", "--no-special", str(model)], input=data,
                   stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def seconds_of_rust(reference, text):
    start = time.process_time()
    reference(text)
    return time.process_time() - start


@functools.cache
def definition(path):
    """The tokenizer as JSON text, from which it is built anew for each encoding; None for kinds that
    only sentencepiece has."""
    if str(path).endswith(".json"):
        return pathlib.Path(path).read_text()
    get = many_strings.metadata(path)
    if get("tokenizer.ggml.model") != "gpt2":
        return None
    return many_strings.bpe(get, get("tokenizer.ggml.pre")).to_str()


def reference_of(path):
    text = definition(path)
    if text is None:
        sys.exit(f"{path}: the package tokenizers has no vocabulary of this kind")
    tok = Tokenizer.from_str(text)
    return lambda text: tok.encode_batch_fast([text], add_special_tokens=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weft", default=str(ROOT / "build/weft"))
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    print(f"{'vocabulary':40} {'text':8} {'MB':>5} {'weft MB/s':>10} {'Rust MB/s':>10} {'ratio':>6}")
    drawn = list(texts())
    for path in options.files:
        ours, theirs = ({name: [] for name, _ in drawn} for _ in range(2))
        for _ in range(options.rounds):
            for name, text in drawn:
                data = text.encode()
                empty = seconds_of_weft(options.weft, path, b"")
                ours[name].append(max(seconds_of_weft(options.weft, path, data) - empty, 1e-6))
                theirs[name].append(seconds_of_rust(reference_of(path), text))
        for name, text in drawn:
            a, b = statistics.median(ours[name]), statistics.median(theirs[name])
            mb = len(text.encode()) / 1e6
            label = "/".join(pathlib.Path(path).parts[-2:])[-40:]
            print(f"{label:40} {name:8} {mb:5.1f} {mb / a:10.1f} {mb / b:10.1f} {b / a:6.1f}",
                  flush=True)


if __name__ == "__main__":
    main()
