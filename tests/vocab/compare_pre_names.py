#!/usr/bin/env python3
"""The pre-tokenizers that llama.cpp knows by name and weft does not: prints each, should be none.

    tests/vocab/compare_pre_names.py [--weft build/weft] .../src/llama-vocab.cpp

Each name is put into a vocabulary of one token a byte, and weft is asked to use it.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from tokenizers import pre_tokenizers  # noqa: E402
from vocab import test_tokenizers as generated  # noqa: E402


def names_in(source):
    """Those that tokenizer_pre is compared with."""
    return sorted(set(re.findall(r'tokenizer_pre\s*==\s*"([^"]*)"', source)))


def refusal(weft, name, folder):
    """What weft says against the name; "" when it takes it."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = generated.write_vocabulary(folder / "one.gguf", "gpt2", tokens,
                                       [generated.NORMAL] * len(tokens), pre=name, merges=["a b"])
    done = subprocess.run([weft, "tokenize", str(model)], input=b"a b1", capture_output=True)
    return "" if done.returncode == 0 else done.stderr.decode().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weft", default=str(ROOT / "build/weft"))
    parser.add_argument("source", type=pathlib.Path)
    options = parser.parse_args()
    names = names_in(options.source.read_text())
    if len(names) < 50:
        sys.exit(f"{options.source}: {len(names)} names found, wanted 50 or more")
    with tempfile.TemporaryDirectory() as folder:
        refused = [(n, refusal(options.weft, n, pathlib.Path(folder))) for n in names]
    for name, said in refused:
        if said:
            print(f"{name}: {said}")
    print(f"{len(names)} names, {sum(1 for _, said in refused if said)} refused", file=sys.stderr)
    return 1 if any(said for _, said in refused) else 0


if __name__ == "__main__":
    sys.exit(main())
