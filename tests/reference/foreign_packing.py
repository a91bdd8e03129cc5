# SPDX-License-Identifier: GPL-3.0-or-later
"""How other programs lay out quantized weights, for make_foreign.py: plain NumPy, one function per layout.

Every function takes unsigned codes (integers) and gives the words or bytes that stand in the file. Nothing of
the project is used."""
import json
import struct
import zlib

import numpy as np

MASK = (1 << 64) - 1


def hashed(name, count):
    """Whole numbers below 2^32 that depend on the name and the index only."""
    state = 0
    for byte in name.encode():
        state = (state * 0x100000001B3 + byte + 1) & MASK
    z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.int64)


def permutation(name, count):
    return np.argsort(hashed(name, count), kind="stable")


def bitstream(codes, bits):
    """Codes along the last axis as one stream of bits, lowest first, cut into words of 32 bits."""
    codes = np.asarray(codes, np.uint64)
    assert (codes < (1 << bits)).all()
    spread = (codes[..., None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    stream = spread.reshape(codes.shape[:-1] + (-1,))
    rest = -stream.shape[-1] % 32
    stream = np.concatenate([stream, np.zeros(stream.shape[:-1] + (rest,), np.uint64)], -1)
    words = stream.reshape(codes.shape[:-1] + (-1, 32)) << np.arange(32, dtype=np.uint64)
    return words.sum(-1).astype(np.uint32)


def whole_codes_per_word(codes, bits):
    """compressed-tensors before 2026: a word holds 32 // bits codes, the rest of its bits is unused."""
    codes = np.asarray(codes, np.uint64)
    per_word = 32 // bits
    rest = -codes.shape[-1] % per_word
    codes = np.concatenate([codes, np.zeros(codes.shape[:-1] + (rest,), np.uint64)], -1)
    words = codes.reshape(codes.shape[:-1] + (-1, per_word)) << (np.arange(per_word, dtype=np.uint64) * np.uint64(bits))
    return words.sum(-1).astype(np.uint32)


def along_rows(pack, codes, bits):
    """The same down the columns."""
    return np.ascontiguousarray(pack(np.asarray(codes).T, bits).T)


AWQ_ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])


def awq_words(codes):
    """Nibble k of a word holds column AWQ_ORDER[k] of its eight."""
    codes = np.asarray(codes)
    eight = codes.reshape(codes.shape[0], -1, 8)[:, :, AWQ_ORDER]
    return bitstream(eight.reshape(codes.shape), 4)


def high_nibble_first(codes):
    flat = np.asarray(codes, np.uint8).reshape(-1)
    flat = np.concatenate([flat, np.zeros(len(flat) % 2, np.uint8)])
    return (flat[0::2] << 4) | flat[1::2]


def low_nibble_first(codes):
    codes = np.asarray(codes, np.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def f32_from_hex(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32).view(np.float32)


NF4 = f32_from_hex("bf800000 bf3239b1 bf066b30 beca32a0 be91a24d be3d353f bdba7871 00000000 "
                   "3da2faff 3e24cae3 3e7c04dd 3ead033a 3ee1a4b8 3f1007ab 3f3913b3 3f800000")
FP4 = f32_from_hex("00000000 3baaaaab 3f2aaaab 3f800000 3eaaaaab 3f000000 3e2aaaab 3e800000")
FP4 = np.concatenate([FP4, -FP4])
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def dynamic_map():
    values = [0.0, 1.0]
    for i in range(7):
        edges = np.linspace(0.1, 1, 2 ** i + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - 6)
        values += list(middles) + list(-middles)
    out = np.sort(np.array(values)).astype(np.float32)
    assert len(out) == 256 and out[127] == 0 and out[255] == 1
    return out


def e4m3(codes):
    codes = np.asarray(codes, np.int64)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    assert ((codes & 127) != 127).all()  # these are not numbers
    value = np.where(exponent == 0, fraction * 2.0 ** -9, (8 + fraction) * 2.0 ** (exponent - 10.0))
    return np.where(codes & 128, -value, value)


def e8m0(codes):
    return 2.0 ** (np.asarray(codes, np.float64) - 127)


def f16(values):
    return np.asarray(values).astype(np.float16)


def bf16(values):
    """As bits: rounded to nearest even."""
    bits = np.asarray(values).astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)


def value(dtype, stored):
    if dtype == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return stored.astype(np.float64)


def of_type(dtype, values):
    return {"F16": f16, "BF16": bf16, "F32": lambda v: np.asarray(v).astype(np.float32)}[dtype](values)


def safetensors(tensors, metadata):
    """tensors: name -> (dtype, array). Ordered by the size of an element, then by name."""
    sizes = {"F8_E4M3": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2}
    header, parts, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors, key=lambda n: (-sizes.get(tensors[n][0], tensors[n][1].itemsize), n)):
        dtype, array = tensors[name]
        data = np.asarray(array, order="C").tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def compressed(data):
    """As qUncompress() takes it: the size in four bytes, highest first, then a zlib stream."""
    return np.frombuffer(struct.pack(">I", len(data)) + zlib.compress(data, 9), np.uint8)
