#!/usr/bin/env python3
"""Writes tests/unit/f8_table.h: what PyTorch makes of the 256 codes of float8_e4m3fn, as float32 bits.

usage: make_f8_fixture.py > tests/unit/f8_table.h        (needs torch)
"""
import sys

import torch


def main():
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    values = codes.view(torch.float8_e4m3fn).to(torch.float32)
    bits = [v & 0xFFFFFFFF for v in values.view(torch.int32).tolist()]
    print("/* f8_table.h - made by tests/golden/make_f8_fixture.py; do not edit. */")
    print("#ifndef WEFT_TESTS_F8_TABLE_H\n#define WEFT_TESTS_F8_TABLE_H\n")
    print("#include <stdint.h>\n")
    print("static const uint32_t f8_e4m3_bits[256] = {")
    for i in range(0, 256, 8):
        print("    " + " ".join(f"0x{b:08x}," for b in bits[i : i + 8]))
    print("};\n\n#endif /* WEFT_TESTS_F8_TABLE_H */")


if __name__ == "__main__":
    sys.exit(main())
