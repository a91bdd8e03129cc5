# SPDX-License-Identifier: GPL-3.0-or-later
"""What ggml itself makes of a few awkward rows, for every GGUF type, as a small safetensors file:

  python3 make_encode_golden.py LIBGGML_BASE.so OUT.safetensors

LIBGGML_BASE.so is ggml's shared library, for example libggml-base.so of the npm package
@node-llama-cpp/linux-x64. `input` F32 [6][512] and `importance` F32 [512] are made here with a fixed
seed; TYPE.plain and TYPE.weighted U8 [6][bytes of a row] are ggml's blocks."""
import ctypes
import json
import math
import random
import struct
import sys
from pathlib import Path

# type: (ggml's number, columns and bytes of a block)
TYPES = {
    "q4_0": (2, 32, 18), "q4_1": (3, 32, 20), "q5_0": (6, 32, 22), "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34), "q2_k": (10, 256, 84), "q3_k": (11, 256, 110), "q4_k": (12, 256, 144),
    "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "iq4_nl": (20, 32, 18),
    "iq4_xs": (23, 256, 136), "tq1_0": (34, 256, 54), "tq2_0": (35, 256, 66),
    "mxfp4": (39, 32, 17), "nvfp4": (40, 64, 36),
}
IGNORES_IMPORTANCE = {"q8_0", "mxfp4", "nvfp4", "tq1_0", "tq2_0"}
COLS = 512


def rows(rng):
    gauss = [rng.gauss(0, 0.03) for _ in range(COLS)]
    yield gauss
    # Outliers, groups of one sign, zeros of both signs, a constant group.
    mixed = [rng.gauss(0, 1) * (60 if i % 83 == 0 else 1) for i in range(COLS)]
    mixed[32:64] = [abs(x) + 3 for x in mixed[32:64]]
    mixed[64:96] = [-abs(x) - 3 for x in mixed[64:96]]
    mixed[96:128] = [0.0 if i % 2 else -0.0 for i in range(32)]
    mixed[128:160] = [-0.7] * 32
    yield mixed
    # Neighbouring groups of very different sizes.
    yield [rng.gauss(0, 1) * 10.0 ** (-(i // 16) % 6) for i in range(COLS)]
    # Few values, one super-block of zeros.
    yield [float(rng.choice((-1, 0, 0, 1))) if i < 256 else 0.0 for i in range(COLS)]
    # Values on and just below powers of two; large ones.
    yield [rng.choice((-1, 1)) * math.ldexp(1 - rng.choice((0, 0, 1, 2)) * 2.0 ** -24, rng.randrange(-6, 9))
           for _ in range(COLS)]
    yield [(rng.random() * 2 - 1) ** 3 * 1e4 for _ in range(COLS)]


def main():
    library = ctypes.CDLL(sys.argv[1])
    quantize = library.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                         ctypes.c_int64, ctypes.c_void_p]
    rng = random.Random(31)
    values = [x for row in rows(rng) for x in row]
    n_rows = len(values) // COLS
    importance = [math.exp(rng.gauss(0, 2)) for _ in range(COLS)]
    importance[40:50] = [0.0] * 10
    importance[200:208] = [1e4] * 8
    source = (ctypes.c_float * len(values))(*values)
    weights = (ctypes.c_float * COLS)(*importance)

    header, data = {}, b""

    def add(name, dtype, shape, content):
        nonlocal data
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content

    add("input", "F32", [n_rows, COLS], bytes(source))
    add("importance", "F32", [COLS], bytes(weights))
    for name, (number, columns, size) in TYPES.items():
        for part in ("plain", "weighted"):
            if part == "weighted" and name in IGNORES_IMPORTANCE:
                continue
            blocks = ctypes.create_string_buffer(n_rows * COLS // columns * size)
            done = quantize(number, source, blocks, 0, n_rows, COLS, weights if part == "weighted" else None)
            assert done == len(blocks), name
            add(f"{name}.{part}", "U8", [n_rows, len(blocks) // n_rows], blocks.raw)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    Path(sys.argv[2]).write_bytes(struct.pack("<Q", len(head)) + head + data)


main()
