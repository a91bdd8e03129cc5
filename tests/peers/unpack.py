# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks our exports by the rules of the formats, in NumPy and with nothing of the project, and compares the weights
with those of the same kept result exported as plain floats, and with the errors that were reported.

    BITLATHE_BIN=build/release/bin BITLATHE_ROOT=. BITLATHE_SCRATCH=/tmp/x python3 tests/peers/unpack.py [WORD...]

With words, only the checks whose names contain one of them run."""
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import unpack_formats
from unpack_formats import NotAsDescribed, read_folder

ROOT, SCRATCH = Path(os.environ["BITLATHE_ROOT"]), Path(os.environ["BITLATHE_SCRATCH"])
CLI = str(Path(os.environ["BITLATHE_BIN"]) / "bitlathe-cli")
DEMO = ROOT / "resources" / "demo"
CALIBRATION = ["--calibration", str(DEMO / "calibration.txt"), "--samples", "4", "--length", "64"]
ORDERED = ["--method", "gptq", "--param", "gptq.act_order=1", "--param", "gptq.static_groups=0", *CALIBRATION]
MIXED = ["--set", "*.layers.1.*=int8-g128-sym", "--set", "*.down_proj=int8-channel-sym",
         "--exclude", "*.layers.2.self_attn.o_proj"]


def rtn(scheme, *more):
    return ["--scheme", scheme, "--method", "rtn", *more]


# name of the result -> (model, arguments of quantize, formats that hold it)
RESULTS = {
    "int4-g128-sym": (DEMO, rtn("int4-g128-sym"), ["gptq", "compressed-tensors", "mlx"]),
    "int4-g32-asym": (DEMO, rtn("int4-g32-asym"), ["gptq", "awq", "compressed-tensors"]),
    "int4-g128-asym": (DEMO, rtn("int4-g128-asym"), ["gptq", "awq", "compressed-tensors"]),
    "int4-g64-asym-sbf16": (DEMO, rtn("int4-g64-asym-sbf16"), ["compressed-tensors", "mlx"]),
    "int8-g128-sym": (DEMO, rtn("int8-g128-sym"), ["gptq", "compressed-tensors"]),
    "int8-channel-sym": (DEMO, rtn("int8-channel-sym"), ["gptq", "compressed-tensors", "mlx"]),
    "int8-channel-asym": (DEMO, rtn("int8-channel-asym"), ["compressed-tensors"]),
    "int8-tensor-sym": (DEMO, rtn("int8-tensor-sym"), ["compressed-tensors"]),
    "int3-g64-asym": (DEMO, rtn("int3-g64-asym"), ["gptq", "compressed-tensors", "mlx"]),
    "int2-g32-asym": (DEMO, rtn("int2-g32-asym"), ["gptq", "compressed-tensors"]),
    "int6-g32-sym": (DEMO, rtn("int6-g32-sym"), ["compressed-tensors"]),
    "int5-g128-asym": (DEMO, rtn("int5-g128-asym"), ["compressed-tensors"]),
    "bf16-4-sym": (DEMO, rtn("int4-g64-sym-sbf16"), ["mlx", "compressed-tensors"]),
    "bf16-2-asym": (DEMO, rtn("int2-g32-asym-sbf16"), ["mlx"]),
    "bf16-3-sym": (DEMO, rtn("int3-g128-sym-sbf16"), ["mlx"]),
    "bf16-5-asym": (DEMO, rtn("int5-g64-asym-sbf16"), ["mlx"]),
    "bf16-6-sym": (DEMO, rtn("int6-g32-sym-sbf16"), ["mlx"]),
    "bf16-8-sym": (DEMO, rtn("int8-g128-sym-sbf16"), ["mlx"]),
    "bf16-mixed": (DEMO, rtn("int4-g64-sym-sbf16", "--set", "*.layers.1.*=int8-g32-sym-sbf16", "--exclude", "*.layers.2.*"),
                   ["mlx"]),
    "act-order": (DEMO, ["--scheme", "int4-g64-sym", *ORDERED], ["gptq", "compressed-tensors"]),
    "act-order-asym": (DEMO, ["--scheme", "int4-g128-asym", *ORDERED], ["gptq", "compressed-tensors"]),
    "gptq": (DEMO, ["--scheme", "int4-g128-sym", "--method", "gptq", *CALIBRATION], ["gptq", "compressed-tensors"]),
    "awq": (DEMO, ["--scheme", "int4-g128-asym", "--method", "awq", *CALIBRATION], ["awq", "compressed-tensors"]),
    "mixed": (DEMO, rtn("int4-g128-sym", *MIXED), ["gptq", "compressed-tensors", "mlx"]),
    "w8a8": (DEMO, rtn("int8-channel-sym", "--activations", "int8-token-dynamic"), ["compressed-tensors"]),
    "w8a8-static": (DEMO, rtn("int8-tensor-sym", "--activations", "int8-tensor-static", *CALIBRATION),
                    ["compressed-tensors"]),
    "f8-channel": (DEMO, rtn("f8_e4m3-channel"), ["compressed-tensors", "safetensors"]),
    "f8-tensor": (DEMO, rtn("f8_e4m3-tensor-sf32", "--activations", "f8_e4m3-tensor-static", *CALIBRATION),
                  ["compressed-tensors", "safetensors"]),
    "f8-block": (DEMO, rtn("f8_e4m3-b128x128-sf32"), ["compressed-tensors", "safetensors"]),
    "nvfp4": (DEMO, rtn("nvfp4"), ["compressed-tensors"]),
    "nvfp4-factor": (DEMO, rtn("nvfp4-sf32"), ["compressed-tensors"]),
    "nvfp4-a4": (DEMO, rtn("nvfp4-sf32", "--activations", "nvfp4-tensor-static", *CALIBRATION), ["compressed-tensors"]),
    "mxfp4": (DEMO, rtn("mxfp4"), ["compressed-tensors"]),
    "mxfp4-a4": (DEMO, rtn("mxfp4", "--activations", "mxfp4"), ["compressed-tensors"]),
    "formats": (DEMO, rtn("int4-g128-sym", "--set", "*.mlp.*=f8_e4m3-channel", "--set", "*.down_proj=nvfp4"),
                ["compressed-tensors"]),
    "nf4": (DEMO, rtn("nf4-b64"), ["bnb"]),
    "nf4-nested": (DEMO, rtn("nf4-b64-dq"), ["bnb"]),
    "fp4-b128": (DEMO, rtn("fp4-b128"), ["bnb"]),
    "fp4-nested-skips": (DEMO, rtn("fp4-b64-dq", "--exclude", "*.layers.1.*"), ["bnb"]),
    "llm-int8": (DEMO, ["--scheme", "int8-channel-sym-sf32", "--method", "llm-int8"], ["bnb"]),
    "gpt2-nf4": ("gpt2", rtn("nf4-b64"), ["bnb"]),
}

failed = 0


def report(word, name, detail):
    global failed
    failed += word == "FAILED"
    print(f"{word:8}{name}" + (f": {detail}" if detail else ""), flush=True)


class Refused(Exception):
    pass


def cli(*arguments):
    done = subprocess.run([CLI, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    try:
        out = json.loads(done.stdout)
    except ValueError:
        raise Refused(f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    if done.returncode:
        raise Refused(out.get("error", {}).get("message", str(out)[:300]))
    return out


def make_gpt2():
    """Random, f32; its linears are stored [in][out]."""
    folder, random = SCRATCH / "gpt2", np.random.default_rng(1)
    folder.mkdir()
    hidden, tensors = 64, {}
    for name, shape in [("wte", (96, hidden)), ("wpe", (32, hidden)), ("h.0.attn.c_attn", (hidden, 3 * hidden)),
                        ("h.0.attn.c_proj", (hidden, hidden)), ("h.0.mlp.c_fc", (hidden, 4 * hidden)),
                        ("h.0.mlp.c_proj", (4 * hidden, hidden)), ("h.0.ln_1", (hidden,)), ("h.0.ln_2", (hidden,)),
                        ("ln_f", (hidden,))]:
        tensors[f"transformer.{name}.weight"] = random.normal(0, 0.1, shape).astype(np.float32)
        if name not in ("wte", "wpe"):
            tensors[f"transformer.{name}.bias"] = random.normal(0, 0.1, shape[-1]).astype(np.float32)
    unpack_formats.write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": hidden, "n_head": 4, "n_layer": 1,
        "n_positions": 32, "n_ctx": 32, "vocab_size": 96, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "torch_dtype": "float32"}))
    return folder


def rounded(values, dtype):
    """f64 -> f32 -> the type of the float export, as f64."""
    single = np.asarray(values, np.float64).astype(np.float32)
    if dtype == "BF16":
        bits = single.view(np.uint32).astype(np.uint64)
        bits = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return (single.astype(np.float16) if dtype == "F16" else single).astype(np.float64)


EPSILON = {"F32": 2.0 ** -23, "BF16": 2.0 ** -7, "F16": 2.0 ** -10}


def compare(ours, reference, source, reported, turned):
    """Every weight like the float export's; the same error as was reported."""
    if set(ours.weights) != set(reference.weights):
        raise NotAsDescribed("other weights: " + ", ".join(sorted(set(ours.weights) ^ set(reference.weights))[:4]))
    if not ours.quantized:
        raise NotAsDescribed("nothing is quantized")
    off = 0
    for name, values in ours.weights.items():
        want = reference.weights[name]
        if turned and name in ours.quantized:
            want = want.T
        if values.shape != want.shape:
            raise NotAsDescribed(f"{name} has shape {values.shape}, not {want.shape}")
        dtype = reference.dtypes.get(name, "F32")  # f8 stays f8 in a plain folder
        got, want = rounded(values, dtype), rounded(want, dtype)
        differing = got != want
        if name not in ours.quantized and differing.any():
            raise NotAsDescribed(f"{name} is kept, and differs")
        # One rounding to f32 more or less may move a value across the middle between two of the reference's type.
        slack = ours.slack.get(name)
        step = EPSILON[dtype] * np.abs(want) * 1.01 + 1e-45 + (0 if slack is None else slack)
        if (np.abs(got - want) > step).any() or (dtype != "F32" and slack is None and differing.mean() > 1e-3):
            at = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
            raise NotAsDescribed(f"{name}{list(at)} is {values[at]:.9g}, the float export has {want[at]:.9g} "
                                 f"({differing.sum()} of {want.size} differ)")
        off += int(differing.sum())
    worst = 0.0
    if reported:
        for module, decibels in reported.items():
            if module + ".weight" not in ours.quantized or decibels is None:
                continue
            original = source.weights[module + ".weight"]
            weights = ours.weights[module + ".weight"]
            original = original.T if turned else original
            mine = 10 * math.log10((original ** 2).sum() / ((weights - original) ** 2).sum())
            worst = max(worst, abs(mine - decibels))
            if abs(mine - decibels) > (0.05 if ours.slack else 1e-3):
                raise NotAsDescribed(f"{module}: {mine:.4f} dB from the original, reported {decibels:.4f}")
    return f"{len(ours.quantized)} quantized weights equal" + (f", {off} values a rounding apart" if off else "")


def main():
    help_text = subprocess.run([CLI, "export", "--help"], capture_output=True, text=True).stdout
    known = set(re.findall(r"[\w-]+", re.search(r"^  --format F +(.*(?:\n {20,}.*)*)", help_text, re.M).group(1)))
    accept = ["--accept-warnings"] if "--accept-warnings" in help_text else []
    made = {"gpt2": make_gpt2}
    missing = sorted({f for _, _, formats in RESULTS.values() for f in formats} - known)
    if missing:
        report("SKIPPED", "unpacking " + ", ".join(missing), "there is no exporter")
    sources = {}
    for name, (model, arguments, formats) in RESULTS.items():
        checks = {f: f"{name} as {f}: unpacked by its rules" for f in formats if f in known}
        words = sys.argv[1:]
        checks = {f: title for f, title in checks.items() if not words or any(w in title for w in words)}
        if not checks:
            continue
        base = SCRATCH / name
        try:
            if model in made:
                sources[model] = sources.get(model) or made[model]()
                model = sources[model]
            summary = cli("quantize", model, "-o", base, "--format", "none", *arguments)
            result = summary["result"]["path"]
            plain = result
            if any(m.get("activations", "none") != "none" for m in cli("info", result)["modules"]):
                # Plain floats have no place for activations; without them the codes are the same.
                arguments = [*arguments, "--activations", "none"]
                plain = cli("quantize", model, "-o", base / "plain", "--format", "none", *arguments)["result"]["path"]
            cli("export", plain, "--format", "safetensors", "-o", base / "floats", *accept)
            reference, source = read_folder(base / "floats"), read_folder(model)
        except (Refused, NotAsDescribed) as error:
            for title in checks.values():
                report("FAILED", title, f"making the result: {error}")
            continue
        # AWQ changes the weights before it rounds them: its errors are not those from the original.
        reported = {m["name"]: m["sqnr_db"] for m in summary["modules"] if m["method"] not in ("", "awq")}
        for form, title in checks.items():
            try:
                out = cli("export", result, "--format", form, "-o", base / form, *accept)
                ours = read_folder(Path(out["output"]))
                report("ok", title, compare(ours, reference, source, reported, model == sources.get("gpt2")))
            except (Refused, NotAsDescribed) as error:
                report("FAILED", title, error)
            except (KeyError, TypeError, ValueError, IndexError) as error:  # a loader would stumble likewise
                report("FAILED", title, repr(error))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
