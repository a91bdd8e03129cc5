# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoints of make_foreign.py. A new one is a function and a line in CASES."""
import numpy as np

from foreign_packing import (E2M1, FP4, NF4, along_rows, awq_words, bitstream, dynamic_map, e4m3, e8m0,
                             high_nibble_first, low_nibble_first, of_type, permutation, value,
                             whole_codes_per_word)

I32 = np.int32


# ---- models: config.json, everything that stays float, and the linears [(name, out, in, has a bias)]

def llama(case, hidden=64, ffn=96, heads=4, kv_heads=2, layers=1, tied=True, dtype="F16", **changes):
    case.float_type = dtype
    case.rarity = 30 if layers > 1 or hidden > 64 or ffn > 200 else 14
    head = hidden // heads
    case.config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": 64, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": tied,
        "torch_dtype": {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}[dtype], **changes}
    case.facts["architecture"] = "llama"
    bias = False
    if changes.get("model_type") == "qwen2":
        case.facts["architecture"], bias = "qwen2", True
    out = []
    for layer in range(layers):
        p = f"model.layers.{layer}."
        case.norm(p + "input_layernorm", hidden)
        case.norm(p + "post_attention_layernorm", hidden)
        if changes.get("model_type") == "phi3":
            case.facts["architecture"] = "phi3"
            out += [(p + "self_attn.qkv_proj", hidden + 2 * kv_heads * head, hidden, False),
                    (p + "self_attn.o_proj", hidden, hidden, False),
                    (p + "mlp.gate_up_proj", 2 * ffn, hidden, False), (p + "mlp.down_proj", hidden, ffn, False)]
            continue
        out += [(p + "self_attn.q_proj", hidden, hidden, bias), (p + "self_attn.k_proj", kv_heads * head, hidden, bias),
                (p + "self_attn.v_proj", kv_heads * head, hidden, bias), (p + "self_attn.o_proj", hidden, hidden, False),
                (p + "mlp.gate_proj", ffn, hidden, False), (p + "mlp.up_proj", ffn, hidden, False),
                (p + "mlp.down_proj", hidden, ffn, False)]
    case.norm("model.norm", hidden)
    return out


def float_ends(case, tied=True, embedding=True):
    hidden = case.config["hidden_size"]
    if embedding:
        case.float_matrix("model.embed_tokens.weight", case.config["vocab_size"], hidden)
    if not tied:
        case.float_matrix("lm_head.weight", case.config["vocab_size"], hidden, 0.5)


def biases(case, linears):
    for name, out, _, bias in linears:
        if bias:
            case.put_float(name + ".bias", (case.hashed(name + " bias", out) % 17 - 8) / 32.0)


def plain(case, name, out, columns):
    case.float_matrix(name + ".weight", out, columns, 0.5)


# ---- GPTQ

def gptq_module(case, name, out, columns, bits, group, v2=False, symmetric=True, order=None):
    """q[in][out], scales and zeros [group][out]; `order` is the column treated at each step."""
    group = columns if group == -1 else group
    groups = -(-columns // group)
    g_idx = np.arange(columns) // group
    if order is not None:
        g_idx = np.empty(columns, np.int64)
        g_idx[order] = np.arange(columns) // group
    middle = 1 << (bits - 1)
    if symmetric:
        zeros = np.full((groups, out), middle)
    else:
        zeros = case.pick(name + " zeros", (groups, out), [0 if v2 else 1, 1, middle, middle - 1, (1 << bits) - 1])
    stored, scales = case.scales(name + " scales", (groups, out), 1 / 2 ** bits, "F16")
    codes = case.codes(name, (columns, out), bits, zeros[g_idx])
    case.put(name + ".qweight", "I32", along_rows(bitstream, codes, bits).view(I32))
    case.put(name + ".qzeros", "I32", bitstream(zeros if v2 else zeros - 1, bits).view(I32))
    case.put(name + ".scales", "F16", stored)
    case.put(name + ".g_idx", "I32", g_idx.astype(I32))
    case.expect(name, bits, (scales[g_idx] * (codes - zeros[g_idx])).T)


def gptq_config(case, bits, group, symmetric=True, ordered=False, v2=False, twice=True, **more):
    settings = {"quant_method": "gptq", "checkpoint_format": "gptq_v2" if v2 else "gptq", "bits": bits,
                "group_size": group, "sym": symmetric, "desc_act": ordered, "static_groups": False,
                "true_sequential": True, "damp_percent": 0.01, "lm_head": False, "pack_dtype": "int32",
                "meta": {"quantizer": ["other:1.0"]}, **more}
    case.config["quantization_config"] = settings
    if twice:
        import json
        case.extra_files["quantize_config.json"] = json.dumps(settings).encode()


def gptq(bits, group, v2=False, symmetric=True, ordered=False, dtype="F16", **changes):
    def make(case):
        linears = llama(case, dtype=dtype, **changes)
        for name, out, columns, _ in linears:
            order = permutation(case.name + name, columns) if ordered else None
            gptq_module(case, name, out, columns, bits, group, v2, symmetric, order)
        biases(case, linears)
        float_ends(case)
        gptq_config(case, bits, group, symmetric, ordered, v2)
    return make


def gptq_old_config(case):
    """No checkpoint_format and no quantize_config.json; floats of another type than the scales."""
    gptq(4, 64, dtype="BF16")(case)
    for key in ("checkpoint_format", "pack_dtype", "meta", "lm_head", "static_groups"):
        del case.config["quantization_config"][key]
    case.extra_files.clear()


def gptq_dynamic(case):
    """Two layers; what the first matching expression says, anchored at the start."""
    linears = llama(case, layers=2)
    overrides = {
        "+:.*\\.layers\\.(?:1)\\.self_attn\\.(?:q_proj|k_proj|v_proj|qkv_proj)$": {"bits": 8},
        "-:.*\\.layers\\.0\\.self_attn\\.o_proj$": {},
        ".*\\.mlp\\.down_proj$": {"bits": 8, "group_size": -1},
        "+:.*\\.layers\\.1\\..*": {"group_size": 64},
        "+:layers\\.0\\..*": {"bits": 2},  # matches nothing: names start with "model."
    }
    for name, out, columns, _ in linears:
        if name == "model.layers.0.self_attn.o_proj":
            plain(case, name, out, columns)
            continue
        bits, group = 4, 32
        if ".layers.1." in name and name.split(".")[-1] in ("q_proj", "k_proj", "v_proj"):
            bits = 8
        elif name.endswith("down_proj"):
            bits, group = 8, -1
        elif ".layers.1." in name:
            group = 64
        gptq_module(case, name, out, columns, bits, group)
    float_ends(case)
    gptq_config(case, 4, 32, dynamic=overrides)


def gptq_head(case):
    """A quantized head, biases, one group per column of the stored matrix."""
    linears = llama(case, tied=False, model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    for name, out, columns, _ in linears + [("lm_head", 64, 64, False)]:
        gptq_module(case, name, out, columns, 4, -1)
    biases(case, linears)
    float_ends(case)
    gptq_config(case, 4, -1, lm_head=True)


def gptq_phi3(case):
    linears = llama(case, model_type="phi3", architectures=["Phi3ForCausalLM"], pad_token_id=0)
    for name, out, columns, _ in linears:
        gptq_module(case, name, out, columns, 4, 32)
    float_ends(case)
    gptq_config(case, 4, 32)


# ---- AWQ

def awq(group, skip=None, old_keys=False, **changes):
    def make(case):
        linears = llama(case, **changes)
        for name, out, columns, _ in linears:
            if skip and any(part in name for part in skip):
                plain(case, name, out, columns)
                continue
            groups = columns // group
            stored, scales = case.scales(name + " scales", (groups, out), 1 / 16, "F16")
            zeros = case.pick(name + " zeros", (groups, out), [0, 5, 7, 8, 15])
            index = np.arange(columns) // group
            codes = case.codes(name, (columns, out), 4, zeros[index])
            case.put(name + ".qweight", "I32", awq_words(codes).view(I32))
            case.put(name + ".qzeros", "I32", awq_words(zeros).view(I32))
            case.put(name + ".scales", "F16", stored)
            case.expect(name, 4, (scales[index] * (codes - zeros[index])).T)
        biases(case, linears)
        float_ends(case)
        settings = {"quant_method": "awq", "zero_point": True, "version": "gemm"}
        settings.update({"w_bit": 4, "q_group_size": group} if old_keys else {"bits": 4, "group_size": group})
        settings["modules_to_not_convert"] = skip
        case.config["quantization_config"] = settings
    return make


# ---- bitsandbytes

def bnb_config(case, kind, nested=False, skip=None):
    four = kind != "int8"
    case.config["quantization_config"] = {
        "quant_method": "bitsandbytes", "load_in_4bit": four, "load_in_8bit": not four, "_load_in_4bit": four,
        "_load_in_8bit": not four, "bnb_4bit_quant_type": kind if four else "fp4",
        "bnb_4bit_use_double_quant": nested, "bnb_4bit_compute_dtype": "bfloat16" if four else "float32",
        "bnb_4bit_quant_storage": "uint8", "llm_int8_threshold": 6.0, "llm_int8_skip_modules": skip,
        "llm_int8_enable_fp32_cpu_offload": False, "llm_int8_has_fp16_weight": False}


def bnb4_module(case, name, out, columns, kind, block, nested):
    import json
    table = NF4 if kind == "nf4" else FP4
    count = out * columns
    blocks = -(-count // block)
    zero = 7 if kind == "nf4" else 0
    codes = case.codes(name, (count,), 4, zero)
    state = {"quant_type": kind, "blocksize": block,
             "dtype": {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}[case.float_type], "shape": [out, columns]}
    if nested:
        steps = dynamic_map()
        offset = np.float32(0.3 + case.hashed(name + " offset", 1)[0] / 2.0 ** 34)
        byte = case.pick(name + " absmax", (blocks,), [0, 3, 60, 127, 128, 190, 201, 250, 255]).astype(np.uint8)
        top, top_values = case.scales(name + " nested", (-(-blocks // 256),), 0.2, "F32", 200)
        absmax = steps[byte].astype(np.float64) * top_values[np.arange(blocks) // 256] + float(offset)
        case.put(name + ".weight.absmax", "U8", byte)
        case.put(name + ".weight.nested_absmax", "F32", top)
        case.put(name + ".weight.nested_quant_map", "F32", steps)
        state.update({"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": float(offset)})
    else:
        stored, absmax = case.scales(name + " absmax", (blocks,), 0.4, "F32")
        case.put(name + ".weight.absmax", "F32", stored)
    case.put(name + ".weight", "U8", high_nibble_first(codes).reshape(-1, 1))
    case.put(name + ".weight.quant_map", "F32", table)
    text = json.dumps(state).encode()
    case.put(name + ".weight.quant_state.bitsandbytes__" + kind, "U8", np.frombuffer(text, np.uint8))
    case.expect(name, 4, (table[codes].astype(np.float64) * absmax[np.arange(count) // block]).reshape(out, columns))


def bnb4(kind, block=64, nested=False, skip=None, dtype="BF16", **changes):
    def make(case):
        linears = llama(case, dtype=dtype, **changes)
        for name, out, columns, _ in linears:
            if skip and name in skip:
                plain(case, name, out, columns)
            else:
                bnb4_module(case, name, out, columns, kind, block, nested)
        biases(case, linears)
        float_ends(case)
        bnb_config(case, kind, nested, skip)
    return make


def bnb_gpt2(case):
    """Conv1D weights, [in][out] elsewhere, are stored as [out][in] here."""
    case.float_type, hidden = "F16", 48
    case.config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": hidden, "n_head": 4, "n_layer": 1,
                   "n_positions": 40, "n_ctx": 40, "vocab_size": 64, "n_inner": None, "activation_function": "gelu_new",
                   "layer_norm_epsilon": 1e-5, "torch_dtype": "float16"}
    case.facts["architecture"] = "gpt2"
    p = "transformer.h.0."
    for name, out, columns in [(p + "attn.c_attn", 3 * hidden, hidden), (p + "attn.c_proj", hidden, hidden),
                               (p + "mlp.c_fc", 4 * hidden, hidden), (p + "mlp.c_proj", hidden, 4 * hidden)]:
        bnb4_module(case, name, out, columns, "nf4", 64, False)
        biases(case, [(name, out, columns, True)])
    for name in (p + "ln_1", p + "ln_2", "transformer.ln_f"):
        case.norm(name, hidden)
        case.put_float(name + ".bias", (case.hashed(name + " bias", hidden) % 9 - 4) / 16.0)
    case.float_matrix("transformer.wte.weight", 64, hidden)
    case.float_matrix("transformer.wpe.weight", 40, hidden, 0.25)
    bnb_config(case, "nf4")


def bnb8(case):
    skip = ["lm_head", "model.layers.1.self_attn.o_proj"]
    linears = llama(case, layers=2, tied=False)
    for name, out, columns, _ in linears:
        if name in skip:
            plain(case, name, out, columns)
            continue
        stored, top = case.scales(name + " SCB", (out,), 0.5, "F32")
        codes = case.codes(name, (out, columns), 8, 128) - 128
        codes = np.maximum(codes, -127)
        case.put(name + ".weight", "I8", codes.astype(np.int8))
        case.put(name + ".SCB", "F32", stored)
        case.put(name + ".weight_format", "U8", np.array(0, np.uint8))
        case.expect(name, 8, codes * top[:, None] / 127)
    float_ends(case, tied=False)
    bnb_config(case, "int8", skip=skip)


# ---- compressed-tensors

def weights_settings(bits, kind="int", strategy="group", group=None, symmetric=True, order=None, block=None):
    return {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy, "group_size": group,
            "dynamic": False, "actorder": order, "block_structure": block, "observer": "minmax", "observer_kwargs": {}}


def activations_settings(bits, kind, strategy, dynamic, symmetric=True, group=None):
    return {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy, "group_size": group,
            "dynamic": dynamic, "actorder": None, "block_structure": None, "observer": "minmax" if not dynamic else None,
            "observer_kwargs": {}}


def ct_config(case, form, groups, ignore=("lm_head",), kv=None, **more):
    case.config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
        "global_compression_ratio": None, "kv_cache_scheme": kv, "ignore": list(ignore),
        "config_groups": {f"group_{i}": group for i, group in enumerate(groups)}, **more}


def ct_group(weights, inputs=None, targets=("Linear",), **more):
    return {"targets": list(targets), "weights": weights, "input_activations": inputs, "output_activations": None, **more}


def ct_scales_shape(strategy, out, columns, group, block):
    return {"group": (out, -(-columns // (group or 1))), "channel": (out, 1), "tensor": (1,),
            "block": tuple(-(-n // 128) for n in (out, columns))}[strategy]


def spread_scales(strategy, scales, out, columns, group):
    """The scale of every weight."""
    if strategy == "block":
        return scales[np.arange(out)[:, None] // 128, np.arange(columns)[None, :] // 128]
    if strategy == "group":
        return scales[:, np.arange(columns) // group]
    return np.broadcast_to(scales, (out, columns))


def ct_packed(case, name, out, columns, bits, group, symmetric=True, scale_type="BF16", old=False, order=None,
              plain_bytes=False, **more):
    """Integer weights; group None is one scale per row."""
    strategy = "group" if group else "channel"
    shape = ct_scales_shape(strategy, out, columns, group, None)
    stored, scales = case.scales(name + " scales", shape, 1 / 2 ** bits, scale_type)
    bias = 1 << (bits - 1)
    zeros = np.full(shape, bias) if symmetric else case.pick(
        name + " zeros", shape, [0, 1, bias - 1, bias, bias + 1, 2 * bias - 1])
    g_idx = np.arange(columns) // (group or columns)
    if order is not None:
        g_idx[order] = np.arange(columns) // group
        case.put(name + ".weight_g_idx", "I32", g_idx.astype(I32))
    codes = case.codes(name, (out, columns), bits, zeros[:, g_idx])
    pack = whole_codes_per_word if old else bitstream
    if plain_bytes:
        case.put(name + ".weight", "I8", (codes - bias).astype(np.int8))
    else:
        case.put(name + ".weight_packed", "I32", pack(codes, bits).view(I32))
        case.put(name + ".weight_shape", "I64", np.array([out, columns], np.int64))
    case.put(name + ".weight_scale", scale_type, stored)
    if not symmetric:
        if plain_bytes:
            case.put(name + ".weight_zero_point", "I8", (zeros - bias).astype(np.int8))
        else:
            case.put(name + ".weight_zero_point", "I32", along_rows(pack, zeros, bits).view(I32))
    case.expect(name, bits, scales[:, g_idx] * (codes - zeros[:, g_idx]), **more)


def pack_quantized(bits, group, symmetric=True, scale_type="BF16", old=False, ordered=False, form="pack-quantized"):
    def make(case):
        for name, out, columns, _ in llama(case, dtype="BF16"):
            order = permutation(case.name + name, columns) if ordered else None
            ct_packed(case, name, out, columns, bits, group, symmetric, scale_type, old, order,
                      form == "naive-quantized")
        float_ends(case)
        ct_config(case, form, [ct_group(weights_settings(
            bits, "int", "group" if group else "channel", group, symmetric, "group" if ordered else None))])
    return make


def ct_bytes(case, name, out, columns, floats, strategy, scale_type, **more):
    """Bytes of int8 or f8."""
    stored, scales = case.scales(name + " scales", ct_scales_shape(strategy, out, columns, None, None),
                                 1 / 256, scale_type)
    if floats:
        values = [0x00, 0x01, 0x07, 0x08, 0x38, 0x7E, 0xFE, 0x5D, 0xA1, 0x66, 0xE3, 0x6B, 0xF2]
        rare = case.hashed(name + " where", out * columns).reshape(out, columns) % case.rarity == 0
        codes = np.where(rare, case.pick(name, (out, columns), values), 0x80)
        case.put(name + ".weight", "F8_E4M3", codes.astype(np.uint8))
        decoded = e4m3(codes)
    else:
        codes = case.codes(name, (out, columns), 8, 128) - 128
        case.put(name + ".weight", "I8", codes.astype(np.int8))
        decoded = codes
    case.put(name + ".weight_scale", scale_type, stored)
    case.expect(name, 8, decoded * spread_scales(strategy, scales, out, columns, None), **more)


def input_scale(case, name, fact="input_scale"):
    stored, _ = case.scales(name + " input", (1,), 0.05, "F32", 100)
    case.put(name + "." + fact, "F32", stored)
    return float(stored[0])


def int_quantized(strategy, static=False, symmetric=True, scale_type="F32"):
    def make(case):
        for name, out, columns, _ in llama(case, dtype="BF16"):
            more = {"activations": "int8-token-dynamic"}
            if static:
                more = {"activations": "int8-tensor-static", "activation_scale": input_scale(case, name)}
                if not symmetric:
                    case.put(name + ".input_zero_point", "I8", np.array([-7], np.int8))
                    more = {}
            ct_bytes(case, name, out, columns, False, strategy, scale_type, **more)
        float_ends(case)
        inputs = activations_settings(8, "int", "tensor" if static else "token", not static, symmetric)
        ct_config(case, "int-quantized", [ct_group(weights_settings(8, "int", strategy), inputs)])
    return make


def float_quantized_tensor(case):
    """Static scales of inputs, and of keys and values."""
    for name, out, columns, _ in llama(case, dtype="BF16"):
        ct_bytes(case, name, out, columns, True, "tensor", "F32", activations="f8_e4m3-tensor-static",
                 activation_scale=input_scale(case, name))
    float_ends(case)
    case.facts["kv_scales"] = [[input_scale(case, "model.layers.0.self_attn", side + "_scale") for side in "kv"]]
    kv = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    ct_config(case, "float-quantized", [ct_group(weights_settings(8, "float", "tensor"),
                                                 activations_settings(8, "float", "tensor", False))], kv=kv)


def float_quantized_channel(case):
    for name, out, columns, _ in llama(case, dtype="BF16"):
        ct_bytes(case, name, out, columns, True, "channel", "BF16", activations="f8_e4m3-token-dynamic")
    float_ends(case)
    ct_config(case, "float-quantized", [ct_group(weights_settings(8, "float", "channel"),
                                                 activations_settings(8, "float", "token", True))])


def float_quantized_block(case):
    for name, out, columns, _ in llama(case, hidden=136, ffn=200, dtype="BF16"):
        ct_bytes(case, name, out, columns, True, "block", "BF16")
    float_ends(case)
    ct_config(case, "float-quantized", [ct_group(
        weights_settings(8, "float", "block", block=[128, 128]),
        activations_settings(8, "float", "group", True, group=128))])


def nvfp4(inputs):
    def make(case):
        for name, out, columns, _ in llama(case, dtype="BF16"):
            codes = case.codes(name, (out, columns), 4, 0)
            scales = case.pick(name + " scales", (out, columns // 16), [0x01, 0x38, 0x5B, 0x70, 0x77, 0x7E, 0x69, 0x6C])
            top = np.float32(2200 + case.hashed(name + " global", 1)[0] / 2.0 ** 22)
            case.put(name + ".weight_packed", "U8", low_nibble_first(codes))
            case.put(name + ".weight_scale", "F8_E4M3", scales.astype(np.uint8))
            case.put(name + ".weight_global_scale", "F32", np.array([top], np.float32))
            if inputs:
                case.put(name + ".input_global_scale", "F32", np.array([top / 3], np.float32))
            case.expect(name, 4, E2M1[codes] * np.repeat(e4m3(scales), 16, 1) / float(top))
        float_ends(case)
        settings = activations_settings(4, "float", "tensor_group", "local", group=16) if inputs else None
        ct_config(case, "nvfp4-pack-quantized", [ct_group(weights_settings(4, "float", "tensor_group", 16), settings)])
    return make


def mxfp4(case):
    for name, out, columns, _ in llama(case, dtype="BF16"):
        codes = case.codes(name, (out, columns), 4, 0)
        scales = case.pick(name + " scales", (out, columns // 32), [121, 123, 124, 125, 126])
        case.put(name + ".weight_packed", "U8", low_nibble_first(codes))
        case.put(name + ".weight_scale", "U8", scales.astype(np.uint8))
        case.expect(name, 4, E2M1[codes] * np.repeat(e8m0(scales), 32, 1))
    float_ends(case)
    ct_config(case, "mxfp4-pack-quantized", [ct_group(weights_settings(4, "float", "group", 32))])


def mixed(case):
    """Three formats, targets as expressions and as exact names, a module that is left alone."""
    linears = llama(case, layers=2, tied=False, dtype="BF16")
    exact = ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"]
    skipped = "model.layers.1.self_attn.o_proj"
    for name, out, columns, _ in linears:
        if name == skipped:
            plain(case, name, out, columns)
        elif name in exact:
            ct_bytes(case, name, out, columns, False, "channel", "F32", activations="int8-token-dynamic")
        elif ".mlp." in name:
            ct_bytes(case, name, out, columns, True, "channel", "BF16", activations="f8_e4m3-token-dynamic")
        else:
            ct_packed(case, name, out, columns, 4, 32, activations="none")
    float_ends(case, tied=False)
    ct_config(case, "mixed-precision", [
        ct_group(weights_settings(8, "float", "channel"), activations_settings(8, "float", "token", True),
                 ["re:.*layers\\.[01]\\.mlp\\.(gate|up)_proj$"], format="float-quantized"),
        ct_group(weights_settings(8, "int", "channel"), activations_settings(8, "int", "token", True), exact,
                 format="int-quantized"),
        ct_group(weights_settings(4, "int", "group", 32), None, ["re:.*self_attn.*", "Linear"], format="pack-quantized"),
    ], ignore=["lm_head", "re:.*layers\\.1\\.self_attn\\.o_proj"])


# ---- FP8 without compressed-tensors

def fp8(block):
    def make(case):
        size = {"hidden": 136, "ffn": 200} if block else {}
        linears = llama(case, dtype="BF16", tied=block, **size)
        for name, out, columns, _ in linears:
            more = {} if block else {"activations": "f8_e4m3-tensor-static", "activation_scale": input_scale(case, name)}
            if name.endswith("o_proj"):
                plain(case, name, out, columns)
                continue
            ct_bytes(case, name, out, columns, True, "block" if block else "tensor", "F32", **more)
            dtype, stored = case.tensors.pop(name + ".weight_scale")
            if block:
                case.put(name + ".weight_scale_inv", dtype, stored)
            else:
                case.put(name + ".weight_scale", dtype, stored.reshape(()))
        for name, out, columns, _ in linears:
            if name.endswith("o_proj"):
                case.tensors.pop(name + ".input_scale", None)
        float_ends(case, tied=block)
        settings = {"quant_method": "fp8", "activation_scheme": "dynamic" if block else "static"}
        if block:
            settings.update({"fmt": "e4m3", "weight_block_size": [128, 128],
                             "modules_to_not_convert": ["model.layers.0.self_attn.o_proj", "lm_head"]})
        else:
            settings["ignored_layers"] = ["model.layers.0.self_attn.o_proj", "lm_head"]
        case.config["quantization_config"] = settings
    return make


# ---- MLX

def mlx_module(case, name, out, columns, bits, group):
    groups = columns // group
    scale, scales = case.scales(name + " scales", (out, groups), 1 / 2 ** bits, case.float_type)
    flip = case.pick(name + " signs", (out, groups), [1, 1, -1])  # a negative scale is usual there
    scale = of_type(case.float_type, scales * flip)
    scales = value(case.float_type, scale)
    offset, offsets = case.scales(name + " biases", (out, groups), -0.4, case.float_type, 11)
    offset = of_type(case.float_type, offsets * flip)
    offsets = value(case.float_type, offset)
    index = np.arange(columns) // group
    codes = case.codes(name, (out, columns), bits, (1 << bits) * 2 // 5)
    case.put(name + ".weight", "U32", bitstream(codes, bits))
    case.put(name + ".scales", case.float_type, scale)
    case.put(name + ".biases", case.float_type, offset)
    case.expect(name, bits, codes * scales[:, index] + offsets[:, index])


def mlx(bits, group, dtype="BF16", overrides=None, unquantized=(), tied=False, **changes):
    def make(case):
        linears = llama(case, tied=tied, dtype=dtype, **changes)
        everything = linears + [("model.embed_tokens", 64, case.config["hidden_size"], False)]
        if not tied:
            everything.append(("lm_head", 64, case.config["hidden_size"], False))
        settings = {"group_size": group, "bits": bits, "mode": "affine"}
        for name, out, columns, _ in everything:
            short = ".".join(name.split(".")[-2:])
            if name in unquantized:
                plain(case, name, out, columns)
                settings[name] = False
                continue
            own = (overrides or {}).get(short)
            if own:
                settings[name] = {"bits": own[0], "group_size": own[1]}
            mlx_module(case, name, out, columns, *(own or (bits, group)))
        biases(case, linears)
        case.metadata = {"format": "mlx"}
        case.config["quantization"] = case.config["quantization_config"] = settings
    return make


MLX_MIX = {"self_attn.q_proj": (2, 32), "self_attn.k_proj": (3, 64), "self_attn.v_proj": (6, 32),
           "self_attn.o_proj": (5, 64), "mlp.gate_proj": (8, 64)}
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}

CASES = {
    "gptq-4": gptq(4, 32),
    "gptq-8": gptq(8, 32),
    "gptq-v2-asym": gptq(4, 32, v2=True, symmetric=False),
    "gptq-3-v2-asym": gptq(3, 32, v2=True, symmetric=False),
    "gptq-2-asym": gptq(2, 64, symmetric=False),  # the last group of 96 columns is shorter
    "gptq-order": gptq(4, 32, ordered=True),
    "gptq-8-order-asym": gptq(8, 64, v2=True, symmetric=False, ordered=True),
    "gptq-old-config": gptq_old_config,
    "gptq-dynamic": gptq_dynamic,
    "gptq-head-bias": gptq_head,
    "gptq-phi3": gptq_phi3,
    "awq-g32": awq(32),
    "awq-g64-skip": awq(64, ["layers.1.mlp", "self_attn.o_proj"], ffn=128, layers=2),
    "awq-old-keys-bias": awq(32, old_keys=True, **QWEN2),
    "bnb-nf4": bnb4("nf4", skip=["lm_head", "model.layers.0.mlp.up_proj"]),
    "bnb-nf4-nested": bnb4("nf4", nested=True, ffn=288, dtype="F16"),
    "bnb-fp4-across-rows": bnb4("fp4", hidden=48, ffn=80),
    "bnb-gpt2": bnb_gpt2,
    "bnb-int8": bnb8,
    "ct-int4": pack_quantized(4, 32),
    "ct-int4-asym": pack_quantized(4, 32, symmetric=False),
    "ct-int8-channel-asym": pack_quantized(8, None, symmetric=False, scale_type="F16"),
    "ct-int3": pack_quantized(3, 32, symmetric=False),
    "ct-int3-old": pack_quantized(3, 32, symmetric=False, old=True),
    "ct-int6-old": pack_quantized(6, 32, old=True, scale_type="F32"),
    "ct-order": pack_quantized(4, 32, ordered=True),
    "ct-naive-int4": pack_quantized(4, 32, symmetric=False, form="naive-quantized"),
    "ct-w8a8": int_quantized("channel"),
    "ct-w8a8-static": int_quantized("tensor", static=True),
    "ct-w8a8-static-asym": int_quantized("channel", static=True, symmetric=False, scale_type="BF16"),
    "ct-f8-tensor-kv": float_quantized_tensor,
    "ct-f8-channel": float_quantized_channel,
    "ct-f8-block": float_quantized_block,
    "ct-nvfp4": nvfp4(False),
    "ct-nvfp4-a4": nvfp4(True),
    "ct-mxfp4": mxfp4,
    "ct-mixed": mixed,
    "fp8-block": fp8(True),
    "fp8-static": fp8(False),
    "mlx-4": mlx(4, 32, tied=True),
    "mlx-mixed": mlx(4, 32, dtype="F16", overrides=MLX_MIX, unquantized=["lm_head"], **QWEN2),
    "mlx-8": mlx(8, 64, ffn=128),
}
