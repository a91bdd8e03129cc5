#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures methods and schemes on the demo model and writes docs/results.md.

    ninja -C build/release bitlathe-cli && docs/make_results.py WORK [--samples 64] [--length 256]

WORK keeps every run, so that an interrupted or extended table goes on where it stopped. Everything
is quantized with the same calibration text and seed, and judged on text that no run has seen.
"""
import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "resources" / "demo"
CLI = ROOT / "build" / "release" / "bin" / "bitlathe-cli"

INT = ["int8-channel-sym", "int4-g128-asym", "int3-g128-asym", "int3-channel-asym", "int2-g64-asym"]
BLOCKS = ["nf4-b64", "fp4-b64", "mxfp4"]
K_TYPES = ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k"]
LEARNED = ["int4-g128-asym", "int3-g128-asym", "int2-g64-asym"]

# scheme, method, what calibrates, activations
RUNS = [(s, m, None, "none") for s in INT for m in ("rtn", "mse")]
RUNS += [(s, m, "text", "none") for s in INT for m in ("gptq", "awq")]
RUNS += [("int8-channel-sym", "rtn", None, "int8-token-dynamic"),
         ("int8-channel-sym", "smoothquant", "text", "int8-token-dynamic"),
         ("int8-channel-sym", "llm-int8", None, "llm-int8")]
RUNS += [(s, "rtn", None, "none") for s in BLOCKS + K_TYPES]
RUNS += [(s, "rtn", "imatrix", "none") for s in K_TYPES]
RUNS += [(s, "awq", "text", "none") for s in BLOCKS + ["q3_k", "q4_k"]]
RUNS += [(s, m, "text", "none") for m in ("adaround", "signround", "brecq") for s in LEARNED]


def call(*arguments):
    done = subprocess.run([CLI, *map(str, arguments), "--json"], capture_output=True, text=True)
    document = json.loads(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {document['error']['message']}")
    return document


def result_of(work, name, recipe):
    """Quantizes unless that was done before; the figures of the run."""
    folder, report = work / name, work / f"{name}.json"
    if not report.exists():
        scheme, method, calibration, activations = recipe
        options = ["--scheme", scheme, "--method", method, "--activations", activations,
                   "--format", "none", "--force"]
        if calibration == "text":
            options += ["--calibration", DEMO / "calibration.txt", "--samples", ARGS.samples,
                        "--length", ARGS.length]
        if calibration == "imatrix":
            options += ["--statistics", work / "imatrix.stats"]
        document = call("quantize", DEMO, "-o", folder, *options)
        report.write_text(json.dumps(document))
    return json.loads(report.read_text()), folder / ".bitlathe"


def main():
    work = ARGS.work
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "imatrix.stats").exists():
        call("calibrate", DEMO, "--calibration", DEMO / "calibration.txt", "--samples", ARGS.samples,
             "--length", ARGS.length, "-o", work / "imatrix.stats")
    rows = []
    for recipe in RUNS:
        scheme, method, calibration, activations = recipe
        label = method + (" + imatrix" if calibration == "imatrix" else "")
        name = f"{scheme}.{method}.{calibration}.{activations}"
        quantized, folder = result_of(work, name, recipe)
        judged = work / f"{name}.judged.json"
        if not judged.exists():
            compared = call("compare", DEMO, folder, "--text", DEMO / "evaluation.txt", "--context",
                            256, "--chunks", ARGS.chunks)
            tasks = call("evaluate", DEMO, folder, "--data", DEMO / "tasks.jsonl")
            judged.write_text(json.dumps({"compare": compared, "tasks": tasks}))
        figures = json.loads(judged.read_text())
        rows.append((scheme, label, activations, quantized, figures))
        print(name, figures["compare"]["models"][0]["kld_mean"], flush=True)
        write(rows)


def write(rows):
    source = rows[0][4]
    reference = source["compare"]["reference"]
    task = source["tasks"]["models"][0]
    lines = [
        "# Methods and schemes on the demo model", "",
        "Written by `docs/make_results.py WORK`. Calibration: "
        f"{ARGS.samples} samples of {ARGS.length} tokens of `resources/demo/calibration.txt`; judged on "
        f"{ARGS.chunks} windows of 256 tokens of `evaluation.txt` and the 128 tasks of `tasks.jsonl`, none of which any run "
        "has seen. Embedding, head and norms keep bf16. Seconds and memory are of the whole `quantize` command on the "
        "machine that ran it, and depend on what else it did.", "",
        f"The source: perplexity {reference['perplexity']:.4f}, tasks {task['right']} of {task['n']}; noise floor of KL "
        f"{source['compare']['noise_floor']:.1e}.", "",
        "| scheme | method | perplexity | KL | +/- | top-1 | bits per weight | tasks | p | seconds | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|"]
    for scheme, label, activations, quantized, figures in rows:
        m = figures["compare"]["models"][0]
        t = figures["tasks"]["models"][1]
        name = label + ("" if activations == "none" else f", {activations}")
        lines.append(
            f"| {scheme} | {name} | {m['perplexity']:.4f} | {m['kld_mean']:.5f} | {m['kld_stderr']:.5f} | "
            f"{100 * m['top1_agreement']:.1f} % | {quantized['bits_per_quantized_weight']:.3f} | {t['right']} | "
            f"{t['paired_p']:.2g} | {quantized['seconds']:.1f} | {quantized['peak_rss_bytes'] / 1e6:.0f} |")
    text = ROOT / "docs" / "results.md"
    kept = ""
    if text.exists() and "\n## " in text.read_text():
        kept = text.read_text()[text.read_text().index("\n## "):]
    text.write_text("\n".join(lines) + "\n" + kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=40)
    ARGS = parser.parse_args()
    main()
