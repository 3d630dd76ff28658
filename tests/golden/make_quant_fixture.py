#!/usr/bin/env python3
"""Writes tests/unit/quant_tables.h: what the PyPI package `gguf` makes of pseudo-random blocks.

Inputs are not stored: they come from a small generator that tests/unit/test_quant.c repeats.
Of the results, one 32-bit FNV-1a hash a pair of blocks is stored, over the bytes in memory order.

usage: make_quant_fixture.py > tests/unit/quant_tables.h        (needs gguf and numpy)
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

N_BLOCKS = 64
# name, elements and bytes of a block, offsets of its f16 fields
FORMATS = [
    ("F16", 1, 2, [0]),
    ("BF16", 1, 2, [0]),
    ("Q4_0", 32, 18, [0]),
    ("Q4_1", 32, 20, [0, 2]),
    ("Q5_0", 32, 22, [0]),
    ("Q5_1", 32, 24, [0, 2]),
    ("Q8_0", 32, 34, [0]),
    ("Q4_K", 256, 144, [0, 2]),
    ("Q5_K", 256, 176, [0, 2]),
    ("Q6_K", 256, 210, [208]),
    ("Q2_K", 256, 84, [80, 82]),
    ("Q3_K", 256, 110, [108]),
    ("TQ1_0", 256, 54, [52]),
    ("TQ2_0", 256, 66, [64]),
    ("IQ4_NL", 32, 18, [0]),
    ("IQ4_XS", 256, 136, [0]),
    ("MXFP4", 32, 17, []),
    ("NVFP4", 64, 36, []),
    ("IQ2_XXS", 256, 66, [0]),
    ("IQ2_XS", 256, 74, [0]),
    ("IQ2_S", 256, 82, [0]),
    ("IQ3_XXS", 256, 98, [0]),
    ("IQ3_S", 256, 110, [0]),
    ("IQ1_S", 256, 50, [0]),
    ("IQ1_M", 256, 56, []),
]
ENCODED = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


class Generator:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        """24 random bits."""
        self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.state >> 8


def fnv(data):
    h = 0x811C9DC5
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def hash_pairs(rows):
    return [fnv(a + b) for a, b in zip(rows[::2], rows[1::2])]


def put_split(block, half):
    """IQ1_M: the scale lies in the top nibbles of its last four words."""
    for j in range(4):
        at = 49 + 2 * j
        block[at] = block[at] & 0x0F | (half >> (4 * j) & 0x0F) << 4


def make_block(g, i, name, n_bytes, fields):
    """Random bytes, but all clear in block 60 and all set in 61; finite scales, some extreme."""
    block = bytearray(g.next() >> 16 & 0xFF for _ in range(n_bytes))
    if i == 60:
        block = bytearray(n_bytes)
    if i == 61:
        block = bytearray([0xFF] * n_bytes)
    special = {1: 0x7BFF, 2: 0x0001, 3: 0xFBFF}.get(i % 8)
    if name == "IQ1_M":
        put_split(block, special or 0x2C00 + i)
    for at in fields:
        if special is None:
            block[at + 1] &= 0xBF
        else:
            block[at : at + 2] = special.to_bytes(2, "little")
    return bytes(block)


def make_floats(g, i):
    """32 values whose size depends on the block; 60 zeros, 61 equal, 62 negative, 63 halves."""
    x = (np.array([g.next() for _ in range(32)], dtype=np.float64) - 2.0**23) / 2.0**23
    x = x * 2.0 ** (i % 40 - 25)
    if i == 60:
        x = np.zeros(32)
    if i == 61:
        x = np.full(32, 0.75)
    if i == 62:
        x = -np.abs(x) - 1.0
    if i == 63:
        x = np.arange(32) * 0.5 - 8.0
    return x.astype(np.float32)


def print_table(name, rows):
    print(f"static const uint32_t {name}[][QUANT_BLOCKS / 2] = {{")
    for title, hashes in rows:
        print(f"    {{ /* {title} */")
        for i in range(0, len(hashes), 8):
            print("        " + " ".join(f"0x{h:08x}," for h in hashes[i : i + 8]))
        print("    },")
    print("};")


def main():
    decoded = []
    for name, _, n_bytes, fields in FORMATS:
        g = Generator(n_bytes)
        rows = []
        for i in range(N_BLOCKS):
            raw = np.frombuffer(make_block(g, i, name, n_bytes, fields), dtype=np.uint8)
            rows.append(quants.dequantize(raw.reshape(1, -1), T[name]).tobytes())
        decoded.append((name, hash_pairs(rows)))
    encoded = []
    for name in ENCODED:
        g = Generator(7)
        rows = []
        for i in range(N_BLOCKS):
            x = make_floats(g, i).reshape(1, 32)
            rows.append(quants.quantize(x, T[name]).tobytes())
        encoded.append((name, hash_pairs(rows)))
    print("/* quant_tables.h - made by tests/golden/make_quant_fixture.py; do not edit. */")
    print("#ifndef WEFT_TESTS_QUANT_TABLES_H\n#define WEFT_TESTS_QUANT_TABLES_H\n")
    print(f"#include <stdint.h>\n\n#define QUANT_BLOCKS {N_BLOCKS}\n")
    print_table("quant_decoded_hashes", decoded)
    print()
    print_table("quant_encoded_hashes", encoded)
    print("\n#endif /* WEFT_TESTS_QUANT_TABLES_H */")


if __name__ == "__main__":
    sys.exit(main())
