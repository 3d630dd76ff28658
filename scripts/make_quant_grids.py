#!/usr/bin/env python3
"""Writes src/tensor/quant_grids.inc: the codebooks of the IQ formats, from the PyPI package `gguf`.

A grid point is 8 values (4 in the IQ3 grids), each an index into a short list of magnitudes, 2 bits
(4 bits) each, first value lowest: one 16-bit word a point.

usage: make_quant_grids.py > src/tensor/quant_grids.inc      (needs gguf)
"""
import sys

from gguf import quants

GRIDS = [
    ("iq2_xxs", quants.IQ2_XXS, 256),
    ("iq2_xs", quants.IQ2_XS, 512),
    ("iq2_s", quants.IQ2_S, 1024),
    ("iq3_xxs", quants.IQ3_XXS, 256),
    ("iq3_s", quants.IQ3_S, 512),
    ("iq1", quants.IQ1_S, 2048),
]


def main():
    print("/* quant_grids.inc - made by scripts/make_quant_grids.py; do not edit.")
    print(" *")
    print(" * The codebooks of the IQ formats are fixed by the format: a trained list of points, part of")
    print(" * what a file means, so they can only be restated. quant_grids.h says how a point is packed.")
    print(" */")
    for name, quant, n_points in GRIDS:
        raw = bytes.fromhex(quant.grid_hex.decode())
        words = [raw[2 * i] | raw[2 * i + 1] << 8 for i in range(n_points)]
        assert len(raw) == 2 * n_points
        lines = [" ".join(f"X(0x{w:04x})" for w in words[i : i + 9]) for i in range(0, n_points, 9)]
        print(f"\n#define QUANT_GRID_{name.upper()}_LIST(X) \\")
        print(" \\\n".join("    " + line for line in lines))
    signs = quants.IQ2_XXS.ksigns
    assert all(s == i | (bin(i).count("1") % 2) << 7 for i, s in enumerate(signs))


if __name__ == "__main__":
    sys.exit(main())
