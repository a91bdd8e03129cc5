# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantized checkpoints decoded by the rules of their formats, for unpack.py: what a loader looks up, in plain NumPy.
Anything that a loader would not expect is an error."""
import json
import re
import struct

import numpy as np


class NotAsDescribed(Exception):
    pass


def need(condition, what):
    if not condition:
        raise NotAsDescribed(what)


# ---- containers

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "U8": "u1", "I8": "i1",
         "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8", "BOOL": "u1"}


def read_safetensors(path):
    """name -> (dtype, array), and the metadata; the checks of the reference reader."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    need(size <= 100_000_000 and 8 + size <= len(data), f"{path.name}: the header does not fit the file")

    def unique(pairs):
        need(len({key for key, _ in pairs}) == len(pairs), f"{path.name}: a key is there twice")
        return dict(pairs)

    header = json.loads(data[8:8 + size], object_pairs_hook=unique)
    metadata = header.pop("__metadata__", {})
    need(all(isinstance(v, str) for v in metadata.values()), f"{path.name}: the metadata is not made of texts")
    end, out = 0, {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        need(first == end, f"{path.name}: a hole or an overlap before {name}")
        kind = np.dtype(TYPES[entry["dtype"]])
        need(last - first == int(np.prod(entry["shape"], dtype=np.int64)) * kind.itemsize,
             f"{path.name}: {name} has another size than its shape")
        out[name] = (entry["dtype"], np.frombuffer(data, kind, offset=8 + size + first, count=(last - first) // kind.itemsize)
                     .reshape(entry["shape"]))
        end = last
    need(8 + size + end == len(data), f"{path.name}: bytes after the last tensor")
    return out, metadata


def write_safetensors(path, tensors):
    header, parts, offset = {}, [], 0
    for name, array in tensors.items():
        data = array.tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def values(stored):
    """f64 of a float tensor."""
    dtype, array = stored
    if dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    if dtype == "F8_E4M3":
        exponent, fraction = ((array >> 3) & 15).astype(np.int64), (array & 7).astype(np.int64)
        need(((array & 127) != 127).all(), "an f8 that is not a number")
        size = np.where(exponent == 0, fraction * 2.0 ** -9, (8 + fraction) * 2.0 ** (exponent - 10.0))
        return np.where(array & 128, -size, size)
    need(dtype in ("F32", "F16", "F64"), f"{dtype} where floats belong")
    return array.astype(np.float64)


def unstream(words, bits, count):
    """Codes of a dense stream of bits in words along the last axis."""
    words = np.ascontiguousarray(words).view(np.uint32)
    need(words.shape[-1] == -(-count * bits // 32), f"{words.shape[-1]} words for {count} codes of {bits} bits")
    spread = (words[..., None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    stream = spread.reshape(words.shape[:-1] + (-1,))
    need(not stream[..., count * bits:].any(), "bits are set after the last code")
    stream = stream[..., :count * bits].reshape(words.shape[:-1] + (count, bits)).astype(np.int64)
    return (stream << np.arange(bits)).sum(-1)


class Folder:
    """weights: name -> f64; quantized: those that were decoded; dtypes: as stored, of the others; slack: what a weight
    may be off because the format rounds an offset."""

    def __init__(self):
        self.weights, self.dtypes, self.quantized, self.slack = {}, {}, set(), {}


class Parts:
    """The tensors of a folder, taken one by one; what nobody takes is an error."""

    def __init__(self, folder):
        index = folder / "model.safetensors.index.json"
        self.tensors, self.metadata = {}, {}
        if index.exists():
            places = json.loads(index.read_text())["weight_map"]
            files = sorted(set(places.values()))
        else:
            places, files = None, ["model.safetensors"]
        for file in files:
            tensors, self.metadata = read_safetensors(folder / file)
            need(places is None or all(places.get(name) == file for name in tensors), f"{file}: the index says otherwise")
            self.tensors.update(tensors)
        need(places is None or set(places) == set(self.tensors), "the index names other tensors")

    def modules(self, part):
        return sorted(name[:-len(part) - 1] for name in self.tensors if name.endswith("." + part))

    def has(self, name):
        return name in self.tensors

    def take(self, name, dtype=None, shape=None):
        need(name in self.tensors, name + " is missing")
        stored = self.tensors.pop(name)
        need(dtype is None or stored[0] in (dtype if isinstance(dtype, tuple) else (dtype,)), f"{name} is {stored[0]}")
        need(shape is None or stored[1].shape == tuple(shape), f"{name} has shape {stored[1].shape}, not {shape}")
        return stored


FLOATS = ("F32", "F16", "BF16")


def read_folder(folder):
    config = json.loads((folder / "config.json").read_text())
    parts, out = Parts(folder), Folder()
    settings = config.get("quantization_config", config.get("quantization"))
    if settings:
        need("compression_config" not in config, "two quantization configurations")
        if "quantization" in config:
            method = "mlx"
            need(config["quantization"] == config.get("quantization_config"), "quantization is not repeated")
        else:
            method = settings["quant_method"]
        need(method == "mlx" or parts.metadata.get("format") == "pt", "the metadata has no format = pt")
        READERS[method](folder, config, settings, parts, out)
        for name, decoded in out.weights.items():
            need(np.isfinite(decoded).all(), name + " has values that are not finite")
            out.quantized.add(name)
    for name, stored in parts.tensors.items():
        need(stored[0] in FLOATS, f"{name} ({stored[0]}) belongs to no module")
        out.weights[name], out.dtypes[name] = values(stored), stored[0]
    if config.get("tie_word_embeddings"):
        need("lm_head.weight" not in out.weights, "lm_head is tied and stored")
    return out


# ---- GPTQ

def gptq(folder, config, settings, parts, out):
    need(json.loads((folder / "quantize_config.json").read_text()) == settings, "quantize_config.json says otherwise")
    for key in ("bits", "group_size", "desc_act", "sym"):
        need(key in settings, f"the configuration has no {key}")
    v2 = settings.get("checkpoint_format", "gptq") == "gptq_v2"
    need(v2 or settings["sym"] or any("sym" in o for o in settings.get("dynamic", {}).values()),
         "asymmetric weights need gptq_v2")
    modules = parts.modules("qweight")
    floats = [m for m in parts.modules("weight") if re.search(r"\.layers\.\d+\..*_proj$", m)]
    need(settings.get("lm_head", False) == ("lm_head" in modules), "lm_head")

    def settings_of(module):
        for pattern, own in (settings.get("dynamic") or {}).items():
            skip, pattern = pattern.startswith("-:"), re.sub(r"^[+-]:", "", pattern)
            if re.match(pattern, module):
                return None if skip else {**settings, **own}
        return settings

    for module in floats:
        need(settings_of(module) is None, f"{module} is float, but nothing skips it")
    for module in modules:
        own = settings_of(module)
        need(own is not None, f"{module} is skipped, and quantized")
        bits, group = own["bits"], own["group_size"]
        need(bits in (2, 3, 4, 8), f"{bits} bits")
        scales = values(parts.take(module + ".scales", "F16"))
        groups, rows = scales.shape
        words = parts.take(module + ".qweight", "I32")[1]
        need(words.shape[1] == rows and words.shape[0] * 32 % bits == 0, f"{module}.qweight has shape {words.shape}")
        cols = words.shape[0] * 32 // bits
        need(cols % 32 == 0 and rows % 32 == 0, f"{module}: {rows} x {cols} does not divide by 32")
        group = cols if group == -1 else group
        need(groups == -(-cols // group), f"{module}: {groups} groups")
        g_idx = parts.take(module + ".g_idx", "I32", (cols,))[1]
        if not own["desc_act"]:
            need((g_idx == np.arange(cols) // group).all(), f"{module}: columns are reordered without desc_act")
        need((np.bincount(g_idx, minlength=groups) <= group).all(), f"{module}: a group is too large")
        codes = unstream(words.T, bits, cols).T
        zeros = unstream(parts.take(module + ".qzeros", "I32", (groups, rows * bits // 32))[1], bits, rows)
        if not v2:
            zeros = zeros + 1
        if own["sym"]:
            need((zeros == 1 << (bits - 1)).all(), f"{module}: sym, but the zero points are not in the middle")
        out.weights[module + ".weight"] = (scales[g_idx] * (codes - zeros[g_idx])).T


# ---- AWQ

def awq(folder, config, settings, parts, out):
    need(settings["bits"] == 4 and settings["version"] == "gemm" and settings["zero_point"] is True, "not the GEMM layout")
    group = settings["group_size"]
    back = np.array([0, 4, 1, 5, 2, 6, 3, 7])  # column of eight -> nibble

    def unpack(words):
        codes = unstream(words, 4, words.shape[1] * 8)
        return codes.reshape(len(codes), -1, 8)[:, :, back].reshape(codes.shape)

    skips = settings.get("modules_to_not_convert") or []
    modules = parts.modules("qweight")
    for module in parts.modules("weight"):
        if re.search(r"\.layers\.\d+\..*_proj$", module):
            need(any(skip in module for skip in skips), f"{module} is float, but nothing skips it")
    for module in modules:
        need(not any(skip in module for skip in skips), f"{module} is skipped, and quantized")
        codes = unpack(parts.take(module + ".qweight", "I32")[1])
        cols, rows = codes.shape
        need(cols % group == 0, f"{module}: {cols} columns")
        zeros = unpack(parts.take(module + ".qzeros", "I32", (cols // group, rows // 8))[1])
        scales = values(parts.take(module + ".scales", "F16", (cols // group, rows)))
        index = np.arange(cols) // group
        out.weights[module + ".weight"] = (scales[index] * (codes - zeros[index])).T


# ---- bitsandbytes

NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
FP4 = [0.0, 0.0052083334885537624, 0.6666666865348816, 1.0, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25]
FP4 = FP4 + [-v for v in FP4]


def bitsandbytes(folder, config, settings, parts, out):
    need(isinstance(settings["llm_int8_threshold"], float), "llm_int8_threshold is not written as a float")
    four = settings["load_in_4bit"]
    need(settings["load_in_8bit"] is not four, "4 or 8 bits")
    skips = settings["llm_int8_skip_modules"] or []

    def skipped(module):
        return any(module == s or module.startswith(s + ".") or module.endswith("." + s) for s in skips)

    for module in parts.modules("weight"):
        linear = re.search(r"(_proj|\.c_attn|\.c_fc|^lm_head)$", module)
        if linear and parts.tensors[module + ".weight"][0] in FLOATS:
            need(skipped(module), f"{module} is float, but not on the skip list")
    if not four:
        for module in parts.modules("SCB"):
            need(not skipped(module), f"{module} is on the skip list, and quantized")
            kind = parts.take(module + ".weight_format", "U8", ())[1]
            need(int(kind) == 0, f"{module}.weight_format is {int(kind)}")
            codes = parts.take(module + ".weight", "I8")[1].astype(np.int64)
            top = values(parts.take(module + ".SCB", "F32", (codes.shape[0],)))
            out.weights[module + ".weight"] = codes * top[:, None] / 127
        return
    kind = settings["bnb_4bit_quant_type"]
    need(settings["bnb_4bit_quant_storage"] == "uint8", "another storage than uint8")
    for module in parts.modules("weight.absmax"):
        need(not skipped(module), f"{module} is on the skip list, and quantized")
        name = module + ".weight"
        state_bytes = parts.take(f"{name}.quant_state.bitsandbytes__{kind}", "U8")[1]
        state = json.loads(state_bytes.tobytes().decode())
        need(state["quant_type"] == kind and state["dtype"] in ("float16", "bfloat16", "float32"), f"{name}: {state}")
        table = values(parts.take(name + ".quant_map", "F32", (16,)))
        need((table.astype(np.float32) == np.array(NF4 if kind == "nf4" else FP4, np.float32)).all(), f"{name}: another table")
        rows, cols = state["shape"]
        count, block = rows * cols, state["blocksize"]
        blocks = -(-count // block)
        need(("nested_offset" in state) == settings["bnb_4bit_use_double_quant"], f"{name}: nested or not")
        if "nested_offset" in state:
            need(state["nested_blocksize"] == 256 and state["nested_dtype"] == "float32", f"{name}: {state}")
            steps = values(parts.take(name + ".nested_quant_map", "F32", (256,)))
            top = values(parts.take(name + ".nested_absmax", "F32", (-(-blocks // 256),)))
            byte = parts.take(name + ".absmax", "U8", (blocks,))[1]
            absmax = steps[byte] * top[np.arange(blocks) // 256] + state["nested_offset"]
        else:
            absmax = values(parts.take(name + ".absmax", "F32", (blocks,)))
        packed = parts.take(name, "U8", (-(-count // 2), 1))[1].reshape(-1)
        codes = np.stack([packed >> 4, packed & 15], -1).reshape(-1)[:count]
        out.weights[name] = (table[codes] * absmax[np.arange(count) // block]).reshape(rows, cols)


# ---- compressed-tensors

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
WEIGHT_KEYS = {"num_bits", "type", "symmetric", "group_size", "strategy", "block_structure", "dynamic", "actorder",
               "observer", "observer_kwargs"}


def compressed_tensors(folder, config, settings, parts, out):
    need(settings["quantization_status"] == "compressed", "quantization_status")
    groups = settings["config_groups"]

    def hit(entries, module):
        return (any(e == module for e in entries)
                or any(e.startswith("re:") and re.match(e[3:], module) for e in entries))

    def group_of(module):
        for group in groups.values():
            if hit(group["targets"], module):
                return group
        for group in groups.values():
            if "Linear" in group["targets"]:
                return group
        return None

    formats = set()
    quantized = sorted({n.rsplit(".", 1)[0] for n in parts.tensors if n.endswith(".weight_scale")})
    for module in parts.modules("weight"):
        if module not in quantized and re.search(r"(_proj|^lm_head)$", module):
            need(hit(settings["ignore"], module) or group_of(module) is None, f"{module} is float, but not ignored")
    for module in quantized:
        need(not hit(settings["ignore"], module), f"{module} is ignored, and quantized")
        group = group_of(module)
        need(group is not None, f"{module} is in no group")
        for side in ("weights", "input_activations"):
            need(group[side] is None or set(group[side]) <= WEIGHT_KEYS, f"unknown keys in {side}")
        form = group.get("format", settings["format"])
        formats.add(form)
        out.weights[module + ".weight"] = compressed_module(module, form, group["weights"], parts)
        inputs = group["input_activations"]
        if form == "nvfp4-pack-quantized" and inputs:
            need(values(parts.take(module + ".input_global_scale", "F32", (1,)))[0] > 0, "input_global_scale")
        elif inputs and inputs["dynamic"] is False:
            need(values(parts.take(module + ".input_scale", FLOATS, (1,)))[0] > 0, "input_scale")
        if inputs and inputs["strategy"] == "token":
            need(inputs["dynamic"] is True, "tokens have dynamic scales")
    need((settings["format"] == "mixed-precision") == (len(formats) > 1), f"format {settings['format']} for {formats}")
    if settings.get("kv_cache_scheme"):
        for name in [n for n in parts.tensors if n.endswith((".k_scale", ".v_scale"))]:
            parts.take(name, "F32", (1,))


def compressed_module(module, form, weights, parts):
    bits, strategy, symmetric = weights["num_bits"], weights["strategy"], weights["symmetric"]
    scale = parts.take(module + ".weight_scale")
    if form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
        packed = parts.take(module + ".weight_packed", "U8")[1]
        codes = np.stack([packed & 15, packed >> 4], -1).reshape(packed.shape[0], -1)
        need(bits == 4 and weights["type"] == "float", "4-bit floats")
        if form.startswith("nvfp4"):
            need(strategy == "tensor_group" and weights["group_size"] == 16 and scale[0] == "F8_E4M3", "groups of 16")
            top = values(parts.take(module + ".weight_global_scale", "F32", (1,)))[0]
            scales, size = values(scale) / top, 16
        else:
            need(strategy == "group" and weights["group_size"] == 32 and scale[0] == "U8", "groups of 32")
            scales, size = 2.0 ** (scale[1].astype(np.float64) - 127), 32
        need(scale[1].shape == (len(codes), codes.shape[1] // size), f"{module}.weight_scale has shape {scale[1].shape}")
        return E2M1[codes] * np.repeat(scales, size, 1)
    need(scale[0] in FLOATS, f"{module}.weight_scale is {scale[0]}")
    scales = values(scale)
    if form == "pack-quantized":
        rows, cols = (int(n) for n in parts.take(module + ".weight_shape", ("I64", "I32"), (2,))[1])
        codes = unstream(parts.take(module + ".weight_packed", "I32")[1], bits, cols)
        need(len(codes) == rows and weights["type"] == "int", "packed rows")
    elif form == "float-quantized":
        codes = values(parts.take(module + ".weight", "F8_E4M3"))
        need(weights["type"] == "float" and bits == 8, "8-bit floats")
    else:
        need(form in ("int-quantized", "naive-quantized"), f"format {form}")
        codes = parts.take(module + ".weight", "I8")[1].astype(np.int64) + (1 << (bits - 1))
    rows, cols = codes.shape
    index = np.zeros(cols, np.int64)
    if strategy == "group":
        size = weights["group_size"]
        need(cols % size == 0 and scales.shape == (rows, cols // size), f"{module}: scales of shape {scales.shape}")
        index = np.arange(cols) // size
        if weights["actorder"] == "group":
            index = parts.take(module + ".weight_g_idx", "I32", (cols,))[1]
            need((np.bincount(index, minlength=cols // size) == size).all(), f"{module}: groups of other sizes")
        need(weights["actorder"] in (None, "group", "weight", "static"), "actorder")
    elif strategy == "channel":
        need(scales.shape == (rows, 1), f"{module}: scales of shape {scales.shape}")
    elif strategy == "block":
        high, wide = weights["block_structure"]
        need(scales.shape == (-(-rows // high), -(-cols // wide)), f"{module}: scales of shape {scales.shape}")
        return codes * np.repeat(np.repeat(scales, high, 0)[:rows], wide, 1)[:, :cols]
    else:
        need(strategy == "tensor" and scales.shape == (1,), f"{module}: strategy {strategy}, scales of {scales.shape}")
        scales = scales.reshape(1, 1)
    if form == "float-quantized":
        return codes * scales[:, index]
    zeros = np.full(scales.shape, 1 << (bits - 1))
    if not symmetric:
        stored = parts.take(module + ".weight_zero_point")
        if form == "pack-quantized":
            need(stored[0] == "I32" and stored[1].shape[1] == scales.shape[1], f"{module}.weight_zero_point")
            zeros = unstream(stored[1].T, bits, rows).T
        else:
            zeros = stored[1].astype(np.int64).reshape(scales.shape) + (1 << (bits - 1))
    return scales[:, index] * (codes - zeros[:, index])


# ---- FP8, MLX

def fp8(folder, config, settings, parts, out):
    skips = settings.get("ignored_layers") or settings.get("modules_to_not_convert") or []
    block = settings.get("weight_block_size")
    for module in parts.modules("weight"):
        if parts.tensors[module + ".weight"][0] != "F8_E4M3":
            need(not re.search(r"(_proj|^lm_head)$", module) or module in skips, f"{module} is float, but not skipped")
            continue
        need(module not in skips, f"{module} is skipped, and quantized")
        codes = values(parts.take(module + ".weight"))
        rows, cols = codes.shape
        if block:
            scales = values(parts.take(module + ".weight_scale_inv", ("F32", "BF16"),
                                       (-(-rows // block[0]), -(-cols // block[1]))))
            scales = np.repeat(np.repeat(scales, block[0], 0)[:rows], block[1], 1)[:, :cols]
        else:
            scales = values(parts.take(module + ".weight_scale", FLOATS))
            need(scales.shape in ((), (1,), (rows, 1)), f"{module}.weight_scale has shape {scales.shape}")
        out.weights[module + ".weight"] = codes * scales
        need(settings["activation_scheme"] in ("static", "dynamic"), "activation_scheme")
        if settings["activation_scheme"] == "static":
            parts.take(module + ".input_scale", "F32")


def mlx(folder, config, settings, parts, out):
    need(parts.metadata.get("format") == "mlx", "the metadata has no format = mlx")
    modules = parts.modules("scales")
    for module in modules:
        own = settings.get(module, settings)
        need(own is not False, f"{module} is false, and quantized")
        need(own.get("mode", settings.get("mode", "affine")) == "affine", "mode")
        bits, group = own["bits"], own["group_size"]
        need(bits in (2, 3, 4, 5, 6, 8) and group in (32, 64, 128), f"{module}: {bits} bits in groups of {group}")
        scale = parts.take(module + ".scales", FLOATS)
        rows, groups = scale[1].shape
        cols = groups * group
        words = parts.take(module + ".weight", "U32", (rows, cols * bits // 32))[1]
        offsets = values(parts.take(module + ".biases", FLOATS, (rows, groups)))
        index = np.arange(cols) // group
        out.weights[module + ".weight"] = unstream(words, bits, cols) * values(scale)[:, index] + offsets[:, index]
        # The offset is -zero * scale in the type of the scales; of few bits where the zero point is in the middle.
        epsilon = {"F32": 2.0 ** -24, "BF16": 2.0 ** -8, "F16": 2.0 ** -11}[scale[0]]
        out.slack[module + ".weight"] = np.abs(offsets)[:, index] * epsilon * 1.01
    for name, own in settings.items():
        if isinstance(own, dict):
            need(name in modules, f"settings for {name}, which is not quantized")


READERS = {"gptq": gptq, "awq": awq, "bitsandbytes": bitsandbytes, "compressed-tensors": compressed_tensors, "fp8": fp8,
           "mlx": mlx}
