#!/usr/bin/env python3
"""Writes a Llama of any size with random weights, for speed alone: what it says is noise.

usage: make_model.py --vocab FILE.gguf [--layers N ...] [--random-blocks TYPE] OUT.gguf

Without options it is Llama 3.2 1B's geometry in F16, which llama-quantize makes other types of.
With --random-blocks every matrix is of TYPE at once, its blocks random bits with a small scale:
for types that llama-quantize refuses without an importance matrix, or does not write. Speed depends
on no weight, as long as all are finite. Needs numpy and gguf, which are in the tests' environment.
"""
import argparse

import gguf
import numpy as np

SEED = 1
DISTINCT = 1 << 22  # random values, and bytes of blocks, are repeated after so many
SPREAD = 0.02       # standard deviation of a weight
SCALE = np.float16(0.002)
FILE_TYPE_F16 = 1

# Where a block of each type has its scale: bytes that are set to these, so that weights are small.
SCALE_BYTES = list(SCALE.tobytes())
SCALES = {
    "IQ1_S": (0, SCALE_BYTES), "IQ2_XXS": (0, SCALE_BYTES), "IQ2_XS": (0, SCALE_BYTES),
    "IQ2_S": (0, SCALE_BYTES), "IQ3_XXS": (0, SCALE_BYTES), "IQ3_S": (0, SCALE_BYTES),
    "TQ1_0": (52, SCALE_BYTES), "TQ2_0": (64, SCALE_BYTES),
    "IQ1_M": None,           # four bits in each of four words: set_iq1_m_scale
    "MXFP4": (0, [118]),     # 2^(118 - 127)
    "NVFP4": (0, [32] * 4),  # one for 16 weights, 4 bits of exponent and 3 of mantissa
}


def main():
    args = arguments()
    writer = gguf.GGUFWriter(args.out, "llama")
    n_vocab = copy_vocabulary(writer, args.vocab)
    add_geometry(writer, args, n_vocab)
    tensors = list(tensors_of(args, n_vocab))
    values = random_values() if args.random_blocks is None else random_blocks(args.random_blocks)
    for name, shape in tensors:
        add_info(writer, name, stored_shape(shape, args.random_blocks), args.random_blocks)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, shape in tensors:  # one at a time, so that memory holds one
        writer.write_tensor_data(np.ones(shape, np.float32) if len(shape) == 1 else
                                 np.resize(values, stored_shape(shape, args.random_blocks)))
    writer.close()


def arguments():
    p = argparse.ArgumentParser(description="a GGUF of random weights, for speed alone")
    p.add_argument("out", metavar="OUT.gguf")
    p.add_argument("--vocab", required=True, metavar="FILE.gguf",
                   help="a GGUF whose vocabulary it takes; one without weights will do")
    p.add_argument("--layers", type=int, default=16)
    p.add_argument("--embd", type=int, default=2048)
    p.add_argument("--ff", type=int, default=8192)
    p.add_argument("--heads", type=int, default=32)
    p.add_argument("--kv-heads", type=int, default=8)
    p.add_argument("--head-dim", type=int, default=64)
    p.add_argument("--ctx", type=int, default=8192)
    p.add_argument("--random-blocks", choices=sorted(SCALES), metavar="TYPE",
                   help=f"instead of F16: {', '.join(sorted(SCALES))}")
    return p.parse_args()


def copy_vocabulary(writer, path):
    """All of the tokeniser's metadata; returns the number of tokens."""
    n_vocab = 0
    for key, field in gguf.GGUFReader(path).fields.items():
        if key.startswith("tokenizer."):
            value = field.contents()
            element = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, value, field.types[0], element)
            n_vocab = len(value) if key == "tokenizer.ggml.tokens" else n_vocab
    if n_vocab == 0:
        raise SystemExit(f"{path}: no vocabulary")
    return n_vocab


def add_geometry(writer, args, n_vocab):
    writer.add_vocab_size(n_vocab)
    writer.add_context_length(args.ctx)
    writer.add_embedding_length(args.embd)
    writer.add_block_count(args.layers)
    writer.add_feed_forward_length(args.ff)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.kv_heads)
    writer.add_key_length(args.head_dim)
    writer.add_value_length(args.head_dim)
    writer.add_rope_dimension_count(args.head_dim)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if args.random_blocks is None:
        writer.add_file_type(FILE_TYPE_F16)


def tensors_of(args, n_vocab):
    """Names and shapes, rows first. The embedding is the output matrix too."""
    embd, q, kv = args.embd, args.heads * args.head_dim, args.kv_heads * args.head_dim
    yield "token_embd.weight", (n_vocab, embd)
    yield "output_norm.weight", (embd,)
    for i in range(args.layers):
        for name, shape in [("attn_norm", (embd,)), ("attn_q", (q, embd)), ("attn_k", (kv, embd)),
                            ("attn_v", (kv, embd)), ("attn_output", (embd, q)),
                            ("ffn_norm", (embd,)), ("ffn_gate", (args.ff, embd)),
                            ("ffn_up", (args.ff, embd)), ("ffn_down", (embd, args.ff))]:
            yield f"blk.{i}.{name}.weight", shape


def stored_shape(shape, block_type):
    """What numpy and gguf want: rows of values, or of a type's bytes."""
    if len(shape) == 1 or block_type is None:
        return shape
    block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[block_type]]
    rows, columns = shape
    if columns % block != 0:
        raise SystemExit(f"{block_type} has blocks of {block}: {columns} is no multiple")
    return rows, columns // block * block_bytes


def add_info(writer, name, stored, block_type):
    if len(stored) == 1:
        kind, raw = np.dtype(np.float32), None
    elif block_type is None:
        kind, raw = np.dtype(np.float16), None
    else:
        kind, raw = np.dtype(np.uint8), gguf.GGMLQuantizationType[block_type]
    writer.add_tensor_info(name, stored, kind, int(np.prod(stored)) * kind.itemsize, raw)


def random_values():
    values = np.random.default_rng(SEED).standard_normal(DISTINCT, np.float32)
    return (values * SPREAD).astype(np.float16)


def random_blocks(block_type):
    _, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[block_type]]
    shape = (DISTINCT // block_bytes, block_bytes)
    blocks = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    if block_type == "IQ1_M":
        set_iq1_m_scale(blocks)
    else:
        at, values = SCALES[block_type]
        blocks[:, at:at + len(values)] = values
    return blocks


def set_iq1_m_scale(blocks):
    """Word i of the four at the end has bits 4i to 4i + 3 of the scale in its highest four."""
    bits = int(SCALE.view(np.uint16))
    for i in range(4):
        high = blocks[:, 49 + 2 * i]
        high &= 0x0F
        high |= (bits >> (4 * i) & 0x0F) << 4


if __name__ == "__main__":
    main()
