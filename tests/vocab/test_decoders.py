"""Decoders of a tokenizer.json in any order, against the package tokenizers.

Each row of parts is drawn at random and decodes lists of tokens that are chosen to meet each other:
halves of matches, prefixes, byte tokens that are no text. weft shows the text token by token; the
sum must be the package's. WEFT_DECODERS sets how many rows are tried.
"""
import json
import os
import random

import pytest
from tokenizers import Regex, Tokenizer, decoders, models

ROWS = int(os.environ.get("WEFT_DECODERS", "120"))
WORDS = ["a", "b", "ab", "ba", "##a", "##b", "a</w>", "b</w>", "\u2581", "\u2581a", "\u2581\u2581",
         "\u2581\u2581b", " ", "  ", " a", "a ", ".", " .", "</w>", "n't", " n", "'", "t", " '",
         " do", " not", "not", "<0x41>", "<0xE4>", "<0xB8>", "<0xAD>", "<0xFF>", "<0x0A>", "\u00e9",
         "\u0120", "\u0120a", "\u00e4", "\u00b8", "\u0143", "\u010a", "\u4e2d", "|", "<pad>", "\n",
         "\r", "x", "xx", "\U0001f600", "<0", "x41>", "aa", "aaa", "c", "1", "23"]
TEXTS = ["a", "ab", "\u2581", " ", "aa", "aba", "  ", "xx", "</w>", "\u4e2d", ""]
PATTERNS = ["a+", "a*", "^ ", " $", r"\s+", "(?<=a)b", "a(?=b)", "a(?!b)", r"\bx", r"x\b", "^", "$",
            ".", "..", "a|ab", "ab|a", "a.*b", "a.*?b", "[ab]{2}", "(?i)A", r"\n", "a??", r"\Z",
            r"\z", r"\A", r"(a)\1", "(?<!a)b", "(?:ab)+", "a{2,3}", r"\p{L}+", r"\B", "b?",
            "\u4e2d|\u0120", r"\r?\n", "(?m).+", r"\w+ ", "(?=b)", "(?<=b)", r"a\Z|b", r"\G.",
            "(?>a+)b", "x{2}+", r"\R", r".\K.", "a(?=.b)", r"\s+$", r" +(?=\.)", "(?<=(?<=a)b)a"]
D = decoders


def replace(rng):
    with_ = rng.choice(["", " ", "b", "ab", "\u00e9", "-", "\u2581", "<0x41>"])
    return D.Replace(rng.choice(TEXTS) if rng.random() < 0.5 else Regex(rng.choice(PATTERNS)), with_)


def part(rng):
    return rng.choice([
        replace, replace, replace,
        lambda r: D.Strip(r.choice(" a\u2581b"), r.randint(0, 2), 0),
        lambda r: D.Strip(r.choice(" a\u2581b"), 0, r.randint(0, 2)),
        lambda r: D.Fuse(), lambda r: D.Fuse(), lambda r: D.ByteFallback(), lambda r: D.ByteLevel(),
        lambda r: D.Metaspace(prepend_scheme=r.choice(["always", "first", "never"])),
        lambda r: D.WordPiece(r.choice(["##", "a", ""]), r.random() < 0.5),
        lambda r: D.BPEDecoder(r.choice(["</w>", "a", "b", ""])),
        lambda r: D.CTC(r.choice(["<pad>", "a"]), r.choice(["|", "b"]), r.random() < 0.5),
    ])(rng)


def check(run, path, decoder, seed):
    rng = random.Random(seed)
    tok = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "a"))
    if decoder is not None:
        tok.decoder = decoder
    tok.save(str(path))
    lists, wanted = [], []
    for _ in range(60):
        ids = [rng.randrange(len(WORDS)) for _ in range(rng.randint(0, 10))]
        try:
            wanted.append(tok.decode(ids))
            lists.append(ids)
        except BaseException:  # the package panics where a part meets no token at all
            pass
    shown = run("tokenize", "--decode", "--null", path,
                input="".join(json.dumps(ids) + "\0" for ids in lists).encode()).stdout
    bad = [([WORDS[i] for i in ids], found, want)
           for ids, found, want in zip(lists, shown.decode().split("\0"), wanted) if found != want]
    assert not bad, f"{json.loads(path.read_text())['decoder']}: {min(bad, key=lambda b: len(b[0]))}"
    assert len(lists) > 20


@pytest.mark.parametrize("first", range(0, ROWS, 20))
def test_parts_in_any_order(run, tmp_path, first):
    for seed in range(first, min(first + 20, ROWS)):
        rng = random.Random(seed)
        parts = [part(rng) for _ in range(rng.randint(1, 5))]
        check(run, tmp_path / "tokenizer.json", D.Sequence(parts), seed)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_in_tokens_and_across_them(run, tmp_path, pattern):
    for before in ([], [D.Fuse()], [D.ByteLevel()]):
        check(run, tmp_path / "tokenizer.json",
              D.Sequence(before + [D.Replace(Regex(pattern), "-")]), pattern)


def test_without_a_decoder_tokens_are_words(run, tmp_path):
    check(run, tmp_path / "tokenizer.json", None, 1)
