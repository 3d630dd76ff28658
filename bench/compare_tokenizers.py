#!/usr/bin/env python3
"""compare_tokenizers [--reps N] [--weft PROGRAM] FILE.gguf|tokenizer.json... - speed of encoding
beside the package tokenizers (Rust), one thread each, on the same vocabulary and text.

Three texts of half a megabyte: prose and code from this repository, and Chinese that is drawn from a
few hundred words. Both sides are run in turn, --reps times, and the median counts. weft's time is
that of `weft tokenize` over the text less that over an empty one, so that loading is left out;
Rust's is that of encode() alone. Rayon is held to one thread.
"""
import argparse
import os
import pathlib
import random
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

TEXT_BYTES = 1 << 19


def texts():
    prose = "\n".join(p.read_text() for p in sorted(ROOT.glob("**/*.md")) if "build" not in str(p))
    code = "\n".join(p.read_text() for p in sorted((ROOT / "src").glob("**/*.c")))
    rng = random.Random(1)
    words = ["".join(chr(0x4E00 + int(rng.random() ** 3 * 6000)) for _ in range(rng.choice([1, 2, 2, 3])))
             for _ in range(600)]
    chinese = "".join(rng.choice(words) + ("，" if rng.random() < 0.1 else "。\n" if rng.random() < 0.05
                                           else "") for _ in range(200000))
    for name, text in ("prose", prose), ("code", code), ("Chinese", chinese):
        data = text.encode()
        data = data * (TEXT_BYTES // len(data) + 1)
        yield name, data[:TEXT_BYTES].decode(errors="ignore")


def seconds_of_weft(weft, model, data):
    start = time.perf_counter()
    subprocess.run([weft, "tokenize", "--no-special", str(model)], input=data,
                   stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def seconds_of_rust(reference, text):
    start = time.perf_counter()
    reference(text)
    return time.perf_counter() - start


def reference_of(path):
    if str(path).endswith(".json"):
        tok = Tokenizer.from_file(str(path))
        return lambda text: tok.encode(text, add_special_tokens=False)
    _, _, batch = many_strings.of_gguf(path)
    return lambda text: batch([text])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--weft", default=str(ROOT / "build/weft"))
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    print(f"{'vocabulary':40} {'text':8} {'weft MB/s':>10} {'Rust MB/s':>10} {'ratio':>6}")
    for path in options.files:
        reference = reference_of(path)
        for name, text in texts():
            data = text.encode()
            ours, theirs = [], []
            for _ in range(options.reps):
                empty = seconds_of_weft(options.weft, path, b"")
                ours.append(max(seconds_of_weft(options.weft, path, data * 4) - empty, 1e-6) / 4)
                theirs.append(seconds_of_rust(reference, text))
            a, b = statistics.median(ours), statistics.median(theirs)
            mb = len(data) / 1e6
            print(f"{pathlib.Path(path).name[:40]:40} {name:8} {mb / a:10.1f} {mb / b:10.1f} {b / a:6.1f}",
                  flush=True)


if __name__ == "__main__":
    main()
