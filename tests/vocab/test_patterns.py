"""Repeats in the patterns of a tokenizer.json, against the package tokenizers, which asks
Oniguruma: each form by itself, then in patterns drawn at random. WEFT_PATTERNS sets how many.
"""
import json
import os
import random

import pytest
from tokenizers import Regex, Tokenizer, models
from tokenizers import pre_tokenizers as P

PATTERNS = int(os.environ.get("WEFT_PATTERNS", "120"))
SIMPLE = ["?", "*", "+", "??", "*?", "+?", "?+", "*+", "++"]
INTERVALS = ["{2}", "{2,3}", "{1,3}", "{0,2}", "{,2}", "{2,}", "{3,2}", "{1}", "{0}", "{3,1}"]
LITERAL = ["{,}", "{", "{a", "{2", "{2,3", "{ 2}", "{a}"]
ATOMS = ["a", "b", "[ab]", "(?:a|bc)", "(a|b)", "\u00e9", ".", r"\w", "(?>a|ab)", "(?i:a)", r"\x61",
         r"\x{61}", r"\u0061", r"\p{L}", "[^a]", "(?:a{1,2}b?)", r"[\W\d]"]
FORMS = [f"{atom}{one}{two}" for atom in ("a", "(?:ab)", r"\p{L}") for one in INTERVALS + SIMPLE
         for two in INTERVALS + SIMPLE if (atom, one) != ("(?:ab)", "{1}")]
# Oniguruma takes the brackets off (?:ab){1}, and repeats the b alone.
OTHERS = [f"a{form}" for form in LITERAL] + [
    "a{3,2}a", "a{3,2}?a", "a{2}?a", "a{2}+a", "a{2}++a", "a{2}{3}{2}", "^a{3}?a", "(a{2}+)+b",
    r"(a)\1{2}+", r"(?<n>a)\k<n>{2}+", r"\R{2}+", "[ab]{2}+?b", "(?i)a{2}+", "(?i)a|b", "x(?i)a|b",
    "(x(?i)a|b)c", "a(?i)b(?-i)c|d", "a(?i:b){2}+", "(?x) a {2} + # [x\n b", "(?x: a b){2}+",
    r"(?x)\ a\#[ #]", "(?i:(?x) a b)a b", "(?#a[b)c{2}+", "(?m)a.{2}+", r"\101{2}+", "(?-:a)"]



def check(run, path, patterns, texts):
    """Each byte is a token and each word gets a space before it, so ids say where the cuts are."""
    bytes_ = {c: i for i, c in enumerate(P.ByteLevel.alphabet())}
    n_checked = 0
    for pattern in patterns:
        tok = Tokenizer(models.BPE(bytes_, []))
        try:
            split = P.Split(Regex(pattern), "isolated")
        except Exception:  # no pattern to Oniguruma either
            continue
        tok.pre_tokenizer = P.Sequence([split, P.ByteLevel(add_prefix_space=True, use_regex=False)])
        tok.save(str(path))
        found = run("tokenize", "--null", path, input="".join(t + "\0" for t in texts).encode(),
                    code=None)
        if found.returncode != 0 and "too many steps" in found.stderr.decode():
            continue
        assert found.returncode == 0, found.stderr
        lines = [json.loads(line) for line in found.stdout.splitlines()]
        bad = [t for t, ids, e in zip(texts, lines, tok.encode_batch(texts)) if ids != e.ids]
        assert not bad, f"{pattern!r}: {len(bad)} of {len(texts)}: {min(bad, key=len)!r}"
        n_checked += 1
    return n_checked


def texts(rng, count):
    drawn = ("".join(rng.choice("aaabbcA\n \u00e9x12#{,}") for _ in range(rng.randint(1, 14)))
             for _ in range(count))
    return ["a" * n for n in range(1, 14)] + ["ab" * n for n in range(1, 7)] + list(drawn)


def pattern(rng, depth=0):
    out = ""
    for _ in range(rng.randint(1, 3)):
        is_atom = depth > 1 or rng.random() < 0.8
        kind = rng.choice(["?:", "", "?=", "?!", "?>"])
        out += rng.choice(ATOMS) if is_atom else f"({kind}{pattern(rng, depth + 2)})"
        if rng.random() < 0.6 and (is_atom or kind not in ("?=", "?!")):
            out += "".join(rng.choice(SIMPLE + INTERVALS + LITERAL[:2])
                           for _ in range(rng.choice([1, 1, 2, 2, 3])))
        out += rng.choice([""] * 12 + ["(?i)", "|", "^", "$"])
    return out


@pytest.mark.parametrize("part", range(12))
def test_every_repeat_of_every_repeat(run, tmp_path, part):
    forms = (FORMS + OTHERS)[part::12]
    assert check(run, tmp_path / "tokenizer.json", forms, texts(random.Random(part), 60)) > 30


@pytest.mark.parametrize("first", range(0, PATTERNS, 20))
def test_patterns_drawn_at_random(run, tmp_path, first):
    rng = random.Random(first)
    drawn = [p for p in (pattern(rng) for _ in range(20)) if "(?:ab){1}" not in p]
    assert check(run, tmp_path / "tokenizer.json", drawn, texts(rng, 100)) > 5
