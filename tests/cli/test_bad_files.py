"""Model files that are broken, each in one way: exit 1 and one line that names what is wrong.

Every case starts from the same good file, a random llama of one layer without a tokeniser, and
changes one thing. The good file itself is read first, so that a refusal can only come from the
change. A case says which words the line must contain besides the path of the file at fault.
"""
import json
import os
import shutil
import struct
import subprocess

import gguf
import numpy as np
import pytest

N_VOCAB = 32
N_EMBD = 32
N_FF = 64
N_HEADS = 4
ARCHITECTURE = "llama"
UNKNOWN_TYPE = 77
QUERY = "blk.0.attn_q.weight"
LAST_KEY = "llama.attention.layer_norm_rms_epsilon"

SHAPES = {
    "token_embd.weight": (N_VOCAB, N_EMBD),
    "output_norm.weight": (N_EMBD,),
    "output.weight": (N_VOCAB, N_EMBD),
    "blk.0.attn_norm.weight": (N_EMBD,),
    QUERY: (N_EMBD, N_EMBD),
    "blk.0.attn_k.weight": (N_EMBD, N_EMBD),
    "blk.0.attn_v.weight": (N_EMBD, N_EMBD),
    "blk.0.attn_output.weight": (N_EMBD, N_EMBD),
    "blk.0.ffn_norm.weight": (N_EMBD,),
    "blk.0.ffn_gate.weight": (N_FF, N_EMBD),
    "blk.0.ffn_up.weight": (N_FF, N_EMBD),
    "blk.0.ffn_down.weight": (N_EMBD, N_FF),
}


def write_model(path, architecture=ARCHITECTURE, shapes=None, without_keys=(), last_key=None):
    """A GGUF file; last_key is one more (key, value) that may contradict an earlier one."""
    w = gguf.GGUFWriter(str(path), architecture)
    keys = {
        "context_length": 64, "embedding_length": N_EMBD, "block_count": 1,
        "feed_forward_length": N_FF, "attention.head_count": N_HEADS,
        "attention.head_count_kv": N_HEADS, "vocab_size": N_VOCAB,
    }
    for key, value in keys.items():
        if key not in without_keys:
            w.add_uint32(f"{architecture}.{key}", value)
    w.add_description("A description, so that the keys are not the smaller part of the file. " * 4)
    w.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    if last_key is not None:
        w.add_string(*last_key)
    random = np.random.default_rng(1)
    for name, shape in (shapes or SHAPES).items():
        w.add_tensor(name, random.standard_normal(shape).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def run(weft, *args, prefix=()):
    done = subprocess.run([*prefix, weft, *map(str, args)], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def expect_refused(weft, args, *words, prefix=()):
    """Exit 1, nothing on stdout, one line on stderr with all the words."""
    status, out, err = run(weft, *args, prefix=prefix)
    assert status == 1, f"exit {status}: {err}"
    assert out == b""
    assert err.endswith("\n") and err.count("\n") == 1, err
    for word in words:
        assert str(word) in err


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "good.gguf"
    write_model(path)
    return path


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "ids.json"
    path.write_text(json.dumps([1, 2, 3]))
    return path


@pytest.fixture(params=["info", "logits"])
def command(request, tmp_path, ids):
    """What reads a model: a function from its path to the arguments."""
    if request.param == "info":
        return lambda path: ["info", path]
    return lambda path: logits_args(path, ids, tmp_path)


def logits_args(path, ids, directory):
    return ["logits", path, "--tokens", ids, "--out", directory / "out.npy"]


def after(data, text):
    """Where the bytes behind a key or tensor name begin."""
    needle = struct.pack("<Q", len(text)) + text.encode()
    assert data.count(needle) == 1
    return data.index(needle) + len(needle)


def put(data, at, fmt, *values):
    changed = bytearray(data)
    struct.pack_into(fmt, changed, at, *values)
    return bytes(changed)


# Behind a tensor's name: n_dims u32, n_dims dimensions u64, type u32, offset u64. QUERY has two.
AT_DIMS, AT_TYPE, AT_OFFSET = 4, 20, 24


def with_query(fmt, offset, value):
    return lambda data: put(data, after(data, QUERY) + offset, fmt, value)


def twice_the_same_tensor(data):
    """attn_k becomes a second attn_q: the names are of one length."""
    return data.replace(b"blk.0.attn_k.weight", QUERY.encode())


def twice_the_same_key(data):
    return data.replace(b"llama.context_length", b"llama.context_Xength").replace(
        b"llama.context_Xength", b"general.architecture")


def array_of_2_63(data):
    """block_count (u32, 4 bytes) becomes the start of an array; what follows is its count."""
    return put(data, after(data, "llama.block_count"), "<IIQ", 9, 4, 1 << 63)


# Name of the case, the change to the good file's bytes, the words of the refusal.
CHANGES = {
    "empty": (lambda d: b"", ["truncated"]),
    "cut in the header": (lambda d: d[:20], ["truncated", "header", "20 bytes"]),
    "cut in the metadata": (lambda d: d[: after(d, LAST_KEY) + 2], ["truncated", LAST_KEY]),
    "cut to a few keys": (lambda d: d[: after(d, "llama.block_count")],
                          [f"claims {len(SHAPES)} tensors", "can hold at most"]),
    "cut in the tensor list": (lambda d: d[: after(d, QUERY) + 9], ["truncated", QUERY]),
    "cut in the tensor data": (lambda d: d[:-64], ["blk.0.ffn_down.weight", "ends at byte"]),
    "wrong magic": (lambda d: b"PK\3\4" + d[4:], ["not a GGUF file", "50 4b 03 04"]),
    "version 1": (lambda d: put(d, 4, "<I", 1), ["version 1", "want version 2 or 3"]),
    "version 9": (lambda d: put(d, 4, "<I", 9), ["version 9", "want version 2 or 3"]),
    "big-endian": (lambda d: put(d, 4, ">I", 3), ["big-endian"]),
    "2^63 tensors": (lambda d: put(d, 8, "<Q", 1 << 63), ["9223372036854775808 tensors"]),
    "2^63 keys": (lambda d: put(d, 16, "<Q", 1 << 63), ["9223372036854775808 metadata keys"]),
    "2^64 - 1 keys": (lambda d: put(d, 16, "<q", -1), ["18446744073709551615 metadata keys"]),
    "array of 2^63": (array_of_2_63, ["llama.block_count", "9223372036854775808 elements"]),
    "string of 2^63": (lambda d: put(d, after(d, "general.architecture") + 4, "<Q", 1 << 63),
                       ["general.architecture", "9223372036854775808 bytes"]),
    "unknown value type": (lambda d: put(d, after(d, "llama.block_count"), "<I", 13),
                           ["llama.block_count", "type 13"]),
    "key twice": (twice_the_same_key, ["general.architecture", "twice"]),
    "tensor twice": (twice_the_same_tensor, [QUERY, "twice"]),
    "unknown tensor type": (with_query("<I", AT_TYPE, UNKNOWN_TYPE),
                            [QUERY, f"type {UNKNOWN_TYPE}"]),
    "five dimensions": (with_query("<I", 0, 5), [QUERY, "5 dimensions"]),
    "dimensions overflow": (with_query("<Q", AT_DIMS, 1 << 63),
                            [QUERY, "times", "fewer than 2^64"]),
    "broken blocks": (with_query("<I", AT_TYPE, 12), [QUERY, "rows of 32", "Q4_K"]),
    "tensor past the end": (with_query("<Q", AT_OFFSET, 1 << 40),
                            [QUERY, "ends at byte", "the file has"]),
    "tensor past 2^64": (with_query("<q", AT_OFFSET, -32), [QUERY, "ends at byte", "the file has"]),
    "tensor out of step": (with_query("<Q", AT_OFFSET, 1), [QUERY, "offset 1", "alignment 32"]),
}


def test_good_file_is_read(weft, good, ids, tmp_path):
    status, _, err = run(weft, "info", good)
    assert status == 0, err
    status, _, err = run(weft, *logits_args(good, ids, tmp_path))
    assert status == 0, err
    assert np.load(tmp_path / "out.npy").shape == (3, N_VOCAB)


@pytest.mark.parametrize("name", CHANGES)
def test_changed_file_is_refused(weft, good, tmp_path, command, name):
    change, words = CHANGES[name]
    before = good.read_bytes()
    data = change(before)
    assert data != before
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    expect_refused(weft, command(path), path, *words)
    assert not (tmp_path / "out.npy").exists()


def test_random_bytes_are_refused(weft, tmp_path, command):
    path = tmp_path / "noise.gguf"
    path.write_bytes(np.random.default_rng(2).bytes(4096))
    expect_refused(weft, command(path), path, "not a GGUF file")


def test_absent_file_is_named(weft, tmp_path, command):
    path = tmp_path / "nothing-here.gguf"
    expect_refused(weft, command(path), path)


def test_unreadable_file_is_named(weft, good, tmp_path, command):
    path = tmp_path / "closed.gguf"
    shutil.copy(good, path)
    path.chmod(0)
    prefix = []
    if os.geteuid() == 0:  # root reads every file, unless it gives that right away first
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    expect_refused(weft, command(path), path, "ermission", prefix=prefix)


def test_directory_without_a_model_is_named(weft, tmp_path, command):
    path = tmp_path / "directory"
    path.mkdir()
    expect_refused(weft, command(path), path)


def test_alignment_off_the_rule_is_refused(weft, tmp_path, command):
    path = tmp_path / "alignment.gguf"
    write_model(path, last_key=("general.alignment", "32"))
    expect_refused(weft, command(path), path, "general.alignment", "'32'", "multiple of 8")


def test_missing_part_of_a_split_is_named(weft, tmp_path, command):
    paths = [tmp_path / f"model-{i + 1:05}-of-00003.gguf" for i in range(3)]
    for i in (0, 2):
        w = gguf.GGUFWriter(str(paths[i]), ARCHITECTURE)
        w.add_uint16("split.no", i)
        w.add_uint16("split.count", 3)
        w.add_int32("split.tensors.count", 3)
        w.add_tensor(f"part.{i}", np.ones(8, np.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
    expect_refused(weft, command(paths[2]), paths[1], "part 2 of 3")


# From here on the file is sound, but the model in it is not: info may still describe it.


@pytest.mark.parametrize("name", ["token_embd.weight", "output_norm.weight", QUERY,
                                  "blk.0.ffn_down.weight"])
def test_missing_tensor_is_named(weft, tmp_path, ids, name):
    path = tmp_path / "missing.gguf"
    write_model(path, shapes={k: v for k, v in SHAPES.items() if k != name})
    expect_refused(weft, logits_args(path, ids, tmp_path), path, name)


@pytest.mark.parametrize("name, shape", [
    (QUERY, (N_EMBD, 2 * N_EMBD)),
    ("blk.0.ffn_down.weight", (N_FF, N_EMBD)),
    ("output_norm.weight", (N_EMBD + 32,)),
])
def test_tensor_of_another_shape_is_named(weft, tmp_path, ids, name, shape):
    path = tmp_path / "shape.gguf"
    write_model(path, shapes={**SHAPES, name: shape})
    expect_refused(weft, logits_args(path, ids, tmp_path), path, name)


def test_unknown_architecture_is_named(weft, tmp_path, ids):
    path = tmp_path / "architecture.gguf"
    write_model(path, architecture="perceptron")
    expect_refused(weft, logits_args(path, ids, tmp_path), path, "perceptron")


@pytest.mark.parametrize("key", ["embedding_length", "block_count", "attention.head_count"])
def test_missing_key_is_named(weft, tmp_path, ids, key):
    path = tmp_path / "key.gguf"
    write_model(path, without_keys=[key])
    expect_refused(weft, logits_args(path, ids, tmp_path), path, f"{ARCHITECTURE}.{key}")


def test_key_of_the_wrong_type_is_named(weft, tmp_path, ids):
    path = tmp_path / "key_type.gguf"
    key = f"{ARCHITECTURE}.block_count"
    write_model(path, without_keys=["block_count"], last_key=(key, "one"))
    expect_refused(weft, logits_args(path, ids, tmp_path), path, key, "'one'")


@pytest.mark.parametrize("key, value", [("attention.head_count", 0), ("embedding_length", 0),
                                        ("block_count", 0xFFFFFFFF),
                                        ("attention.head_count_kv", 3)])
def test_impossible_geometry_is_named(weft, good, tmp_path, ids, key, value):
    data = good.read_bytes()
    path = tmp_path / "geometry.gguf"
    path.write_bytes(put(data, after(data, f"{ARCHITECTURE}.{key}") + 4, "<I", value))
    expect_refused(weft, logits_args(path, ids, tmp_path), path, key)


@pytest.mark.parametrize("text, words", [
    ("[1, 2", []),
    ('{"tokens": [1]}', []),
    ("[1, \"two\"]", []),
    (f"[1, {N_VOCAB}]", [str(N_VOCAB)]),
    ("[-1]", ["-1"]),
])
def test_bad_token_list_is_refused(weft, good, tmp_path, text, words):
    path = tmp_path / "ids.json"
    path.write_text(text)
    expect_refused(weft, logits_args(good, path, tmp_path), *words)
