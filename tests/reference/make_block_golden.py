# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of every GGUF type with what ggml itself decodes them to, as a small safetensors file:

  python3 make_block_golden.py LIBGGML_BASE.so OUT.safetensors [BLOCKS_PER_TYPE]

LIBGGML_BASE.so is ggml's shared library, for example libggml-base.so of the npm package
@node-llama-cpp/linux-x64. Codes are random bytes with a fixed seed; half-precision scales are random
too, but finite. Per type: TYPE.blocks U8 [n][bytes], TYPE.values F32 [n][columns]."""
import ctypes
import json
import random
import sys
from pathlib import Path

# type: (name of the decoder, columns, bytes, offsets of half-precision scales)
TYPES = {
    "q8_0": ("q8_0", 32, 34, [0]),
    "q4_0": ("q4_0", 32, 18, [0]),
    "q4_1": ("q4_1", 32, 20, [0, 2]),
    "q5_0": ("q5_0", 32, 22, [0]),
    "q5_1": ("q5_1", 32, 24, [0, 2]),
    "q2_k": ("q2_K", 256, 84, [80, 82]),
    "q3_k": ("q3_K", 256, 110, [108]),
    "q4_k": ("q4_K", 256, 144, [0, 2]),
    "q5_k": ("q5_K", 256, 176, [0, 2]),
    "q6_k": ("q6_K", 256, 210, [208]),
    "iq4_nl": ("iq4_nl", 32, 18, [0]),
    "iq4_xs": ("iq4_xs", 256, 136, [0]),
    "mxfp4": ("mxfp4", 32, 17, []),
    "nvfp4": ("nvfp4", 64, 36, []),
    "tq1_0": ("tq1_0", 256, 54, [52]),
    "tq2_0": ("tq2_0", 256, 66, [64]),
}


# The scale bytes of the first blocks: the ends of what they can say.
SPECIAL = {"nvfp4": [[0x00, 0x7F, 0xFF, 0x80], [0x01, 0x07, 0x08, 0x7E]], "mxfp4": [[0], [1], [255]]}


def random_block(rng, name, size, halves):
    block = bytearray(rng.randrange(256) for _ in range(size))
    for at in halves:
        # Mostly sizes that weights have, now and then any finite half, subnormal ones included.
        wide = rng.random() < 0.25
        exponent = rng.randrange(31) if wide else rng.randrange(4, 16)
        half = rng.randrange(2) << 15 | exponent << 10 | rng.randrange(1024)
        block[at:at + 2] = half.to_bytes(2, "little")
    if name == "mxfp4" and rng.random() < 0.8:
        block[0] = rng.randrange(100, 140)
    return bytes(block)


def main():
    library, out = ctypes.CDLL(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    rng = random.Random(20)
    header, data = {}, b""

    def add(name, dtype, shape, content):
        nonlocal data
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content

    blocks, values = {}, {}
    for name, (symbol, columns, size, halves) in TYPES.items():
        n = count or (3 if columns == 256 else 8)
        made = [random_block(rng, name, size, halves) for _ in range(n)]
        for i, scales in enumerate(SPECIAL.get(name, [])):
            made[i] = bytes(scales) + made[i][len(scales):]
        blocks[name] = b"".join(made)
        decoded = (ctypes.c_float * (n * columns))()
        decode = getattr(library, "dequantize_row_" + symbol)
        decode.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64]
        decode.restype = None
        decode(blocks[name], decoded, n * columns)
        values[name] = bytes(decoded)
    for name, (_, columns, _, _) in TYPES.items():  # four-byte elements first, so that they stay aligned
        add(name + ".values", "F32", [len(values[name]) // 4 // columns, columns], values[name])
    for name, (_, _, size, _) in TYPES.items():
        add(name + ".blocks", "U8", [len(blocks[name]) // size, size], blocks[name])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(out).write_bytes(len(text).to_bytes(8, "little") + text + data)


main()
