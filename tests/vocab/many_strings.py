#!/usr/bin/env python3
"""many_strings [--strings N] [--weft PROGRAM] [FILE.gguf...] - generated strings through weft and
through the library that each family of tokenisers comes from; prints one table.

The strings are those of test_tokenizers.py, each encoded alone. For a GGUF the reference is built
from the file's own tokens: byte-level BPE and WordPiece with the package tokenizers, SentencePiece
with sentencepiece. Beside the files it takes what can be trained or made up here: every family of
tokenizer.json, RWKV and PLaMo 2 against the few lines of Python that define them. A string whose unigram
tokens differ but sum to the same score within 1e-3 counts as a tie: sentencepiece adds in single
precision. Exits with 1 when any other string differs. test_many_strings.py runs a smaller number.
"""
import argparse
import functools
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from vocab import test_tokenizer_json as families  # noqa: E402
from vocab import test_tokenizers as generated  # noqa: E402

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
STRING_CHARS_MAX = 400

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DEEPSEEK_LETTERS = (
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-"
    "\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-"
    "\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5"
    "\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00"
    "-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-"
    "\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-"
    "\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-"
    "\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149"
    "\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D"
    "\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13"
    "-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F\U000104B0-\U000104D3"
    "\U000104D8-\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2\U000118A0-\U000118DF"
    "\U0001E900-\U0001E943")
SPLITS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "llama-bpe": [CONTRACTION + "|" + WORD + r"|\p{N}{1,3}|" + TAIL],
    "qwen2": [CONTRACTION + "|" + WORD + r"|\p{N}|" + TAIL],
    "qwen35": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
               r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "deepseek-llm": [r"[\r\n]", r"\s?[" + DEEPSEEK_LETTERS + "]+",
                     "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+", r"\s+$",
                     "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+",
                       "[一-龥ࠀ-一가-퟿]+"],
}
P = pre_tokenizers


def pre_tokenizer(name):
    byte_level = P.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = P.ByteLevel(add_prefix_space=False)
    splits = [P.Split(Regex(p), "isolated") for p in SPLITS.get(name, [])]
    if name == "deepseek-coder":
        return P.Sequence(splits + [P.Digits(True), byte_level])
    if splits:
        return P.Sequence(splits + [byte_level])
    if name in ("gpt-2", "mpt"):
        return gpt2
    if name in ("smollm", "starcoder", "refact", "command-r"):
        return P.Sequence([P.Digits(True), gpt2])
    if name == "falcon":
        return P.Sequence([P.Split(Regex(r"[\p{P}\$\+<=>\^~\|`]+"), "isolated"), gpt2,
                           P.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    return None


def metadata(path):
    fields = gguf.GGUFReader(path).fields
    return lambda key: fields[key].contents() if key in fields else None


def add_tokens(reference, tokens, types):
    reference.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, types) if kind == CONTROL and t])
    reference.add_tokens([AddedToken(t, special=False, normalized=False)
                          for t, kind in zip(tokens, types) if kind == USER_DEFINED and t])


def bpe(get, pre):
    tokens = get("tokenizer.ggml.tokens")
    types = get("tokenizer.ggml.token_type")
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = [tuple(m.split(" ", 1)) for m in get("tokenizer.ggml.merges")]
    reference = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
    reference.pre_tokenizer = pre_tokenizer(pre)
    if pre in ("qwen2", "mpt", "command-r"):
        reference.normalizer = normalizers.NFC()
    add_tokens(reference, tokens, types)
    return reference


def gemma4(get):
    tokens = get("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ", 1)) if m[0] != " " else (" ", m[2:])
              for m in get("tokenizer.ggml.merges")]
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = [m for m in merges if m[0] in vocab and m[1] in vocab and m[0] + m[1] in vocab]
    reference = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True))
    reference.normalizer = normalizers.Replace(" ", "\u2581")
    add_tokens(reference, tokens, get("tokenizer.ggml.token_type"))
    return reference


def wordpiece(get):
    tokens = get("tokenizer.ggml.tokens")
    types = get("tokenizer.ggml.token_type")
    spelled = [t if k == CONTROL or (t[:1] == "[" and t[-1:] == "]" and len(t) > 2)
               else t[1:] if t[:1] == "\u2581" else "##" + t for t, k in zip(tokens, types)]
    reference = Tokenizer(models.WordPiece({t: i for i, t in enumerate(spelled)},
                                           unk_token="[UNK]", max_input_chars_per_word=100))
    reference.normalizer = normalizers.BertNormalizer()
    reference.pre_tokenizer = P.BertPreTokenizer()
    add_tokens(reference, spelled, types)
    return reference


def spm(get, model_type):
    tokens = get("tokenizer.ggml.tokens")
    types = get("tokenizer.ggml.token_type")
    unknown = get("tokenizer.ggml.unknown_token_id") or 0
    proto = sentencepiece_model_pb2.ModelProto()
    for token, score, kind in zip(tokens, get("tokenizer.ggml.scores"), types):
        kind = UNKNOWN if token == tokens[unknown] else CONTROL if kind == UNKNOWN else kind
        text = token.replace(" ", "\u2581") if kind == USER_DEFINED else token
        proto.pieces.add(piece=text, score=score, type=kind)
    trainer = proto.trainer_spec
    trainer.model_type = model_type
    trainer.byte_fallback = "<0x00>" in tokens
    trainer.unk_id = unknown
    trainer.unk_piece = tokens[unknown]
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    space = get("tokenizer.ggml.add_space_prefix")
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True if space is None else bool(space)
    proto.normalizer_spec.remove_extra_whitespaces = bool(
        get("tokenizer.ggml.remove_extra_whitespaces"))
    charsmap = get("tokenizer.ggml.precompiled_charsmap")
    if charsmap is not None:
        proto.normalizer_spec.precompiled_charsmap = bytes(charsmap)
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def rwkv(rng, path):
    """A made-up vocabulary, and the longest token at every place of the bytes."""
    tokens = {bytes([b]) for b in range(256)}
    while len(tokens) < 6000:
        text = generated.string(rng, []).encode()
        at = rng.randrange(len(text) + 1)
        piece = text[at:at + rng.randint(2, 9)]
        if piece:
            tokens.add(piece)
    tokens = [b""] + sorted(tokens)
    escaped = ["<s>"] + ["".join(f"\\x{b:02x}" for b in t) for t in tokens[1:]]
    generated.write_vocabulary(path, "rwkv", escaped, [CONTROL] + [NORMAL] * (len(tokens) - 1))
    number = {t: i for i, t in enumerate(tokens) if t}
    longest = max(map(len, number))

    def encode(text):
        data, at, ids = text.encode(), 0, []
        while at < len(data):
            n = next(n for n in range(min(longest, len(data) - at), 0, -1)
                     if data[at:at + n] in number)
            ids.append(number[data[at:at + n]])
            at += n
        return ids
    return lambda texts: [encode(t) for t in texts]


def plamo2(rng, path):
    """A made-up vocabulary with scores, and the best sum from each place to the end; of equal ones
    the longest first token."""
    pieces = {}
    while len(pieces) < 6000:
        text = generated.string(rng, [])
        at = rng.randrange(len(text) + 1)
        piece = text[at:at + rng.choice([1, 1, 2, 3, 4, 6])]
        if piece and "\0" not in piece:
            pieces.setdefault(piece, -rng.randint(1, 40) / 4 * len(piece) ** 0.5)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(pieces)
    scores = [-1000.0] * 259 + list(pieces.values())
    generated.write_vocabulary(path, "plamo2", tokens, [UNKNOWN, CONTROL, CONTROL] + [6] * 256
                               + [NORMAL] * len(pieces), scores=scores)
    number = {t: i for i, t in enumerate(tokens)}
    cost = {t: int(math.floor(abs(float(np.float32(s) * np.float32(1e4))) + 0.5))
            for t, s in pieces.items()}
    longest = max(map(len, pieces))

    def encode(text):
        text = text.removeprefix("\ufeff")
        best = [(0, 0, None)] * (len(text) + 1)
        for at in reversed(range(len(text))):
            ways = [(best[at + 1][0] + 10 ** 7, 0, at + 1, None)]
            for n in range(1, min(longest, len(text) - at) + 1):
                piece = text[at:at + n]
                if piece in cost:
                    ways.append((best[at + n][0] + cost[piece], -n, at + n, number[piece]))
            way = min(ways, key=lambda w: w[:2])
            best[at] = (way[0], way[2], way[3])
        at, ids = 0, []
        while at < len(text):
            _, to, id_ = best[at]
            ids += [id_] if id_ is not None else [3 + b for b in text[at:to].encode()]
            at = to
        return ids
    return lambda texts: [encode(t) for t in texts]


def of_tokenizers(tok):
    return lambda texts: [e.ids for e in tok.encode_batch_fast(texts, add_special_tokens=False)]


def of_gguf(path):
    """What the family is called, the special tokens to put into strings, and the reference."""
    get = metadata(path)
    model, pre = get("tokenizer.ggml.model"), get("tokenizer.ggml.pre") or "default"
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    special = [t for t, k in zip(tokens, types or []) if k in (CONTROL, USER_DEFINED) and t][:40]
    if model == "gpt2" and pre_tokenizer(pre) is not None:
        return f"BPE, {pre}", special, of_tokenizers(bpe(get, pre))
    if model == "gemma4":
        return "BPE, gemma4", special, of_tokenizers(gemma4(get))
    if model == "bert":
        return "WordPiece", special, of_tokenizers(wordpiece(get))
    if model == "llama":
        reference = spm(get, 2)
        return "SentencePiece BPE", [], lambda texts: [reference.encode(t) for t in texts]
    if model == "t5":
        reference = spm(get, 1)
        return "SentencePiece Unigram", [], lambda texts: [reference.encode(t) for t in texts]
    return f"{model}, {pre}", None, None


@functools.cache
def templates(count):
    """Strings with U+E000 where a special token belongs: drawing them is most of the work."""
    rng = random.Random(count)
    return [generated.string(rng, ["\ue000"])[:STRING_CHARS_MAX] for _ in range(count)]


def strings(count, special, seed):
    rng = random.Random(seed)
    return [re.sub("\ue000", lambda _: rng.choice(special) if special else "x", s)
            for s in templates(count)]


def tokens_of(weft, model, texts):
    data = "".join(t + "\0" for t in texts).encode()
    done = subprocess.run([weft, "tokenize", "--null", "--no-special", str(model)], input=data,
                          capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_tie(scores, found, wanted):
    return scores is not None and abs(sum(scores[i] for i in found)
                                      - sum(scores[i] for i in wanted)) < 1e-3


def compare(weft, name, model, texts, reference, scores=None):
    """One row of the table."""
    texts = [t for t in texts if t]
    found, wanted = tokens_of(weft, model, texts), reference(texts)
    unequal = [(t, f, w) for t, f, w in zip(texts, found, wanted) if f != w]
    bad = [(t, f, w) for t, f, w in unequal if not is_tie(scores, f, w)]
    return {"family": name, "tried": len(texts), "equal": len(texts) - len(unequal),
            "ties": len(unequal) - len(bad), "bad": bad}


def rows(weft, count, files, names=families.FAMILIES):
    for path in files:
        name, special, reference = of_gguf(path)
        if reference is not None:
            texts = strings(count, special, name)
            scores = metadata(path)("tokenizer.ggml.scores") if "Unigram" in name else None
            yield compare(weft, f"{name} ({pathlib.Path(path).stem})", path, texts, reference,
                          scores)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        reference = rwkv(random.Random(23), folder / "rwkv.gguf")
        yield compare(weft, "RWKV", folder / "rwkv.gguf", strings(count, [], "rwkv"), reference)
        reference = plamo2(random.Random(25), folder / "plamo2.gguf")
        yield compare(weft, "PLaMo 2", folder / "plamo2.gguf", strings(count, [], "plamo2"),
                      reference)
        for name in names:
            tok = families.family(name)
            tok.add_tokens(families.ADDED)
            tok.save(str(folder / "tokenizer.json"))
            tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
            yield compare(weft, f"tokenizer.json, {name}", folder / "tokenizer.json",
                          strings(count, families.SPELLED, name), of_tokenizers(tok))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--weft", default=str(ROOT / "build/weft"))
    parser.add_argument("--show", type=int, default=1, help="differences to show of a family")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    print(f"{'family':58} {'tried':>8} {'equal':>8} {'ties':>6}")
    has_bad = False
    for row in rows(options.weft, options.strings, options.files):
        print(f"{row['family']:58} {row['tried']:8} {row['equal']:8} {row['ties']:6}", flush=True)
        for text, found, wanted in sorted(row["bad"], key=lambda b: len(b[0]))[:options.show]:
            has_bad = True
            print(f"    {text!r}\n    {found}\n    {wanted}")
    return 1 if has_bad else 0


if __name__ == "__main__":
    sys.exit(main())
