"""`weft tokenize tokenizer.json` against the package tokenizers on the same files.

Tokenizers of each family are trained on a small text, then given every normaliser, pre-tokeniser,
decoder and post-processor in turn. Strings are those of test_tokenizers.py. Each string is encoded
alone, because much depends on where a text begins. WEFT_TOKENIZER_STRINGS sets how many strings a
tokenizer gets; WEFT_TOKENIZER_JSON names further files, separated by colons.
"""
import base64
import functools
import io
import json
import os
import random
import unicodedata

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

from vocab import test_tokenizers as generated

STRINGS = int(os.environ.get("WEFT_TOKENIZER_STRINGS", "300"))
FILES = [f for f in os.environ.get("WEFT_TOKENIZER_JSON", "").split(":") if f]
ADDED = [AddedToken("<|im_end|>", special=True, normalized=False),
         AddedToken("<mask>", lstrip=True, special=True, normalized=False),
         AddedToken("<r>", rstrip=True, special=False, normalized=False),
         AddedToken("<lr>", lstrip=True, rstrip=True, special=False, normalized=True),
         AddedToken("the", single_word=True, special=False, normalized=False),
         AddedToken("Caf\u00e9", special=False, normalized=True),
         AddedToken("<|im", special=False, normalized=False)]
SPELLED = [a.content for a in ADDED] + ["cafe\u0301", "other", "\u00a0<mask>\u2003", "<r> \n x",
                                        "</s>", "[SEP]", "<unk>"]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


THREES = [r"\d{1,3}(?=(?:\d{3})*\b)", r"\d{1,3}(?=(?:\d{3})*(?!\d))",
          r"\d{1,3}(?=(?:\d{3})*$)", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))",
          r"(?=(\d{3})+(?!\d))"]

# Where Oniguruma reads a pattern otherwise than PCRE2.
POSIX = ("alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
         "space", "upper", "word", "xdigit")
CLASSES = [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\h", r"\H", r"[\w]", r"[^\w]", r"[\W]",
           r"[^\W\d_]", r"[\S]", r"[^\S\n]", r"[\H\s]", r"(?i)[\wx-z]", r"[[:alpha:]_]",
           r"[[:^alpha:]]", r"[^[:punct:][:digit:]]", *(f"[[:{n}:]]" for n in POSIX),
           r"\p{Han}", r"\P{Han}", r"\p{^Han}", r"\p{Katakana}", r"\p{Common}", r"\p{Lu}",
           r"\p{Alphabetic}", r"[\p{L}&&[^\p{Han}]]", r"[^\p{L}&&\p{Han}]", r"[a[bc]\d]",
           r"[^a[^\p{L}]]", r"[\p{L}&&[^\p{Lu}]&&[^\p{Ll}]]", r"[]a]", r"[\W^]",
           r"[\]\[\-\\\W]", r"[\u0041\u00e9-\u00ff]", r"[^&]", r"\b", r"\B", r"\b\w+\b",
           r"\bx|x\b", r"\B\p{L}", r"[\b]|\b.", r"\p{N}{,2}", r"\p{L}{1,3}+", r"\p{L}{2,}+",
           r"(?m)a..", r"(?i-m:A..)", r"(?mi:A..)|^.|.$", r"\w{1,2}?\b"]


@functools.cache
def code_points():
    """Assigned ones, of the long runs of Han, Hangul and private use a few, between others. Of some
    marks and letters Unicode changed its mind after PCRE2's tables, whether they are alphabetic or
    lower case."""
    changed = {*range(0x363, 0x370), 0xc04, 0xf82, 0xf83, 0x10fc, *range(0x1dd3, 0x1de7), 0xa7f2,
               0xa7f3, 0xa7f4, 0xab69, 0x11080, 0x11081}
    found = [c for c in range(1, 0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Cn")
             and c not in changed and (c % 61 == 0 or not (0x3400 < c < 0xA000 or 0xAC00 < c < 0xF900 or c > 0x20000))]
    return ["".join(f"a{chr(c)} {chr(c)}" for c in found[i:i + 400])
            for i in range(0, len(found), 400)]


def strings(seed):
    rng = random.Random(seed)
    drawn = (generated.string(rng, SPELLED) for _ in range(STRINGS))
    return ["".join(c for c in s if c != "\0" and not 0xD800 <= ord(c) < 0xE000) for s in drawn]


def corpus():
    rng = random.Random(7)
    return [" ".join(rng.choice(generated.WORDS) for _ in range(12)) + rng.choice(generated.CODE)
            + generated.string(rng, []) for _ in range(400)]


def train(model, trainer, pre=None, norm=None):
    tok = Tokenizer(model)
    if pre is not None:
        tok.pre_tokenizer = pre
    if norm is not None:
        tok.normalizer = norm
    tok.train_from_iterator(corpus(), trainer)
    return tok


def byte_level(**more):
    tok = train(models.BPE(**more), trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        pre_tokenizers.ByteLevel(add_prefix_space=False))
    tok.decoder = decoders.ByteLevel()
    return tok


def metaspace(byte_fallback=True, fuse=True):
    bytes_ = [f"<0x{b:02X}>" for b in range(256)] if byte_fallback else []
    tok = train(models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=byte_fallback),
                trainers.BpeTrainer(vocab_size=900, show_progress=False, limit_alphabet=80,
                                    special_tokens=["<unk>", "<s>", "</s>"] + bytes_),
                norm=normalizers.Sequence([normalizers.Prepend("\u2581"),
                                           normalizers.Replace(" ", "\u2581")]))
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                     decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tok


def affixes():
    return train(models.BPE(unk_token="<unk>", continuing_subword_prefix="##",
                            end_of_word_suffix="</w>"),
                 trainers.BpeTrainer(vocab_size=700, show_progress=False, limit_alphabet=60,
                                     special_tokens=["<unk>"], continuing_subword_prefix="##",
                                     end_of_word_suffix="</w>"), pre_tokenizers.Whitespace())


def wordpiece(**norm):
    tok = train(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20),
                trainers.WordPieceTrainer(vocab_size=800, show_progress=False,
                                          special_tokens=["[UNK]", "[CLS]", "[SEP]"]),
                pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(**norm))
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tok


def wordlevel():
    return train(models.WordLevel(unk_token="[UNK]"),
                 trainers.WordLevelTrainer(vocab_size=300, show_progress=False,
                                           special_tokens=["[UNK]"]), pre_tokenizers.Whitespace())


def unigram(byte_fallback=False):
    bytes_ = [f"<0x{b:02X}>" for b in range(256)] if byte_fallback else []
    tok = train(models.Unigram(), trainers.UnigramTrainer(
        vocab_size=4000, show_progress=False, unk_token="<unk>",
        special_tokens=["<unk>", "</s>"] + bytes_), pre_tokenizers.Metaspace())
    if byte_fallback:
        data = json.loads(tok.to_str())
        data["model"]["byte_fallback"] = True
        tok = Tokenizer.from_str(json.dumps(data))
    tok.decoder = decoders.Metaspace()
    return tok


FAMILIES = {
    "byte-level": byte_level,
    "whole words": lambda: byte_level(ignore_merges=True),
    "metaspace": metaspace,
    "metaspace unknown": lambda: metaspace(False),
    "metaspace unfused": lambda: metaspace(False, False),
    "affixes": affixes,
    "wordpiece": wordpiece,
    "wordpiece cased": lambda: wordpiece(lowercase=False, strip_accents=True,
                                         handle_chinese_chars=False),
    "wordlevel": wordlevel,
    "unigram": unigram,
    "unigram bytes": lambda: unigram(True),
}
NORMALIZERS = {
    "NFC": normalizers.NFC(), "NFD": normalizers.NFD(), "NFKC": normalizers.NFKC(),
    "NFKD": normalizers.NFKD(), "Lowercase": normalizers.Lowercase(),
    "Strip": normalizers.Strip(), "Strip left": normalizers.Strip(True, False),
    "StripAccents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "Replace": normalizers.Replace("t", "\u00e9x"), "Nmt": normalizers.Nmt(),
    "Replace pattern": normalizers.Replace(Regex(r"\s{2,}|^a"), " "),
    "Prepend": normalizers.Prepend("e "), "ByteLevel": normalizers.ByteLevel(),
    "Bert": normalizers.BertNormalizer(), "Bert bare": normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True),
}
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
P = pre_tokenizers
PRE_TOKENIZERS = {
    "none": P.Sequence([]), "ByteLevel prefix": P.ByteLevel(add_prefix_space=True),
    "ByteLevel bare": P.ByteLevel(add_prefix_space=False, use_regex=False),
    "Llama 3": P.Sequence([P.Split(Regex(LLAMA3), "isolated"),
                           P.ByteLevel(add_prefix_space=False, use_regex=False)]),
    "Digits": P.Digits(False), "Digits one": P.Digits(True), "Whitespace": P.Whitespace(),
    "WhitespaceSplit": P.WhitespaceSplit(), "Bert": P.BertPreTokenizer(),
    "CharDelimiter": P.CharDelimiterSplit("e"),
    **{f"Punctuation {b}": P.Punctuation(b) for b in BEHAVIORS},
    **{f"Split {b} {i}": P.Split(" ", b, i) for b in BEHAVIORS for i in (False, True)},
    **{f"Split pattern {b} {i}": P.Split(Regex(r"[aeiou]+|\s*$|(?=t)"), b, i)
       for b in BEHAVIORS for i in (False, True)},
    **{f"Metaspace {s} {c}": P.Metaspace(prepend_scheme=s, split=c)
       for s in ("always", "first", "never") for c in (False, True)},
    "Split nothing": P.Split("", "isolated"),
    "UnicodeScripts": P.UnicodeScripts(), "FixedLength": P.FixedLength(3),
    "Metaspace digits": P.Sequence([P.Metaspace(prepend_scheme="first"), P.Digits(True)]),
}
BASES = ["byte-level", "metaspace", "wordlevel", "unigram"]
PERMUTED = ([(f"{b}, normalizer {n}", b, {"normalizer": v})
             for b in BASES for n, v in NORMALIZERS.items()]
            + [(f"{b}, pre-tokenizer {n}", b, {"pre_tokenizer": v})
               for b in BASES for n, v in PRE_TOKENIZERS.items()])
trained = {}


def family(name):
    if name not in trained:
        trained[name] = FAMILIES[name]()
    return Tokenizer.from_str(trained[name].to_str())


@functools.cache
def charsmap():
    """The compiled normaliser nmt_nfkc_cf, as sentencepiece writes it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, vocab_size=2000, model_type="unigram",
        normalization_rule_name="nmt_nfkc_cf", minloglevel=2, hard_vocab_limit=False)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


def check(run, tok, path, seed, decodes=True):
    tok.save(str(path))
    tok = Tokenizer.from_file(str(path))
    texts = strings(seed)
    data = "".join(t + "\0" for t in texts).encode()
    lines = run("tokenize", "--null", path, input=data).stdout.splitlines()
    wanted = [e.ids for e in tok.encode_batch(texts)]
    found = [json.loads(line) for line in lines]
    assert len(found) == len(wanted)
    bad = [(t, f, w) for t, f, w in zip(texts, found, wanted) if f != w and t != ""]
    assert not bad, f"{len(bad)} of {len(texts)}: {min(bad, key=lambda b: len(b[0]))}"
    if not decodes:
        return
    data = "".join(json.dumps(ids) + "\0" for ids in wanted).encode()
    shown = run("tokenize", "--decode", "--null", path, input=data).stdout.decode().split("\0")
    wanted_text = tok.decode_batch(wanted, skip_special_tokens=True)
    bad = [(t, f, w) for t, f, w in zip(texts, shown, wanted_text) if f != w]
    assert not bad, f"decoded, {len(bad)} of {len(texts)}: {min(bad, key=lambda b: len(b[0]))}"


@pytest.mark.parametrize("name", FAMILIES)
def test_family(run, tmp_path, name):
    tok = family(name)
    check(run, tok, tmp_path / "tokenizer.json", 1)
    tok.add_tokens(ADDED)
    check(run, tok, tmp_path / "tokenizer.json", 2)


@pytest.mark.parametrize("what,base,parts", PERMUTED, ids=[p[0] for p in PERMUTED])
def test_steps(run, tmp_path, what, base, parts):
    tok = family(base)
    tok.add_tokens(ADDED)
    for key, value in parts.items():
        setattr(tok, key, value)
    check(run, tok, tmp_path / "tokenizer.json", what, decodes=False)


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("pattern", THREES)
def test_digits_in_threes_from_the_right(run, tmp_path, pattern, behavior):
    """These patterns look ahead over the whole number at every group; weft counts instead, and a
    megabyte of digits takes no longer than another."""
    tok = family("byte-level")
    tok.pre_tokenizer = P.Sequence([P.Split(Regex(pattern), behavior),
                                    P.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.save(str(tmp_path / "tokenizer.json"))
    rng = random.Random(pattern + behavior)
    bits = ["12", "345", "6789", "a", "_", " ", "\n", ".", "\u0663\u0664", "\u00b2", "\u0301", "7" * 50]
    texts = ["".join(rng.choice(bits) for _ in range(rng.randint(1, 9))) for _ in range(STRINGS)]
    texts += ["9" * n for n in range(1, 12)] + ["1234" * 500, "x" + "1234567" * 300 + "y 1000"]
    found = run("tokenize", "--null", tmp_path / "tokenizer.json",
                input="".join(t + "\0" for t in texts).encode()).stdout.splitlines()
    wanted = [e.ids for e in tok.encode_batch(texts)]
    bad = [(t, json.loads(f), w) for t, f, w in zip(texts, found, wanted) if json.loads(f) != w]
    assert len(found) == len(wanted) and not bad, min(bad, key=lambda b: len(b[0]))
    if behavior == "isolated":
        assert json.loads(run("tokenize", tmp_path / "tokenizer.json", input=b"1" * 1000000).stdout)


@pytest.mark.parametrize("pattern", CLASSES)
def test_classes_and_borders_are_those_of_oniguruma(run, tmp_path, pattern):
    """Tokens are bytes, and each word gets a space before it: ids say where the cuts are."""
    tok = Tokenizer(models.BPE({c: i for i, c in enumerate(P.ByteLevel.alphabet())}, []))
    tok.pre_tokenizer = P.Sequence([P.Split(Regex(pattern), "isolated"),
                                    P.ByteLevel(add_prefix_space=True, use_regex=False)])
    tok.save(str(tmp_path / "tokenizer.json"))
    texts = code_points()
    found = run("tokenize", "--null", tmp_path / "tokenizer.json",
                input="".join(t + "\0" for t in texts).encode()).stdout.splitlines()
    bad = [t for t, line, e in zip(texts, found, tok.encode_batch(texts)) if json.loads(line) != e.ids]
    assert len(found) == len(texts) and not bad, f"{len(bad)} of {len(texts)}: {bad[0]!r}"


@pytest.mark.parametrize("pattern,said", [
    ("(?<=a+)b", "lookbehind assertion is not fixed length"), ("(" * 201, "nested more than 200 deep"),
    (r"[a[b]", "a [ without its ]"), ("[" * 20 + "a" + "]" * 20, "classes nested more than 16 deep"),
    (r"\p{Nothing}", "unknown property"), (r"(a|aa)+[cd]", "too many steps")])
def test_patterns_that_weft_cannot_follow_are_named(run, tmp_path, pattern, said):
    data = json.loads(family("wordlevel").to_str())
    data["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                             "invert": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    result = run("tokenize", tmp_path, input="a" * 3000, code=None)
    assert result.returncode != 0 and said in result.stderr and f"'{pattern}'" in result.stderr


@pytest.mark.parametrize("base", ["unigram", "metaspace"])
def test_precompiled_normaliser(run, tmp_path, base):
    tok = family(base)
    tok.add_tokens(ADDED)
    tok.normalizer = normalizers.Precompiled(charsmap())
    check(run, tok, tmp_path / "tokenizer.json", "precompiled", decodes=False)
    tok.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.NFD(),
                                           normalizers.Precompiled(charsmap())])
    check(run, tok, tmp_path / "tokenizer.json", "twice precompiled", decodes=False)
    tok.normalizer = normalizers.Precompiled(charsmap())
    tok.save(str(tmp_path / "tokenizer.json"))
    clusters = ["e\u0301", "\u1100\u1161\u11a8", "A\u030a\u0327", "\u0e33", "\uff76\uff9e",
                "\r\n", "\u200d", "\u3099", "\ufb01", "\u00bd", "\U0001f468\u200d\U0001f469",
                "\u0958", "\u1e9b\u0323", "\u2028", "\ufeff", "\u0130"]
    rng = random.Random(24)
    texts = ["".join(rng.choice(clusters) for _ in range(6)) for _ in range(STRINGS)]
    found = run("tokenize", "--null", tmp_path / "tokenizer.json",
                input="".join(t + "\0" for t in texts).encode()).stdout.splitlines()
    assert [json.loads(line) for line in found] == [e.ids for e in tok.encode_batch(texts)]


@pytest.mark.parametrize("base,decoder", [
    ("affixes", decoders.BPEDecoder("</w>")), ("affixes", decoders.CTC("##a", "</w>")),
    ("wordlevel", decoders.CTC("the", "of", False)), ("wordlevel", decoders.CTC("e", "of")),
])
def test_decoders_that_look_beside(run, tmp_path, base, decoder):
    tok = family(base)
    tok.decoder = decoder
    check(run, tok, tmp_path / "tokenizer.json", "decoder")


@pytest.mark.parametrize("what", ["", Regex("a*"), Regex("^"), Regex("$"), Regex("(?=b)")])
def test_empty_matches_are_replaced(run, tmp_path, what):
    """Of plain letters: on others the package may panic."""
    tok = Tokenizer(models.BPE({c: i for i, c in enumerate("abcde")}, []))
    tok.normalizer = normalizers.Replace(what, "e")
    tok.save(str(tmp_path / "tokenizer.json"))
    texts = ["aab", "b", "a", "cbc", "ccaabbaac"]
    found = run("tokenize", "--null", tmp_path / "tokenizer.json",
                input="".join(t + "\0" for t in texts).encode()).stdout.splitlines()
    assert [json.loads(line) for line in found] == [tok.encode(t).ids for t in texts]


@pytest.mark.parametrize("single", ["[CLS] $A [SEP]", "[CLS] [SEP]", "$A $A", "$A [SEP] $A", ""])
def test_templates(run, tmp_path, single):
    tok = family("wordlevel")
    tok.post_processor = processors.TemplateProcessing(
        single=single.split(), pair="$A $B", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    check(run, tok, tmp_path / "tokenizer.json", single, decodes=False)


def test_files_named_in_the_environment(run, tmp_path):
    for path in FILES:
        check(run, Tokenizer.from_file(path), tmp_path / "tokenizer.json", path)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "post_processor", "decoder",
                                  "model"])
def test_unknown_step_is_refused_by_name(run, tmp_path, part):
    data = json.loads(family("wordlevel").to_str())
    data[part] = {"type": "Foo"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    result = run("tokenize", tmp_path, input="x", code=None)
    assert result.returncode != 0 and f"{part} 'Foo' is not supported" in result.stderr
