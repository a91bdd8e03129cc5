// SPDX-License-Identifier: Apache-2.0
// ONNX: the whole decoder as a graph for ONNX Runtime, in a folder like Optimum's. The graph
// computes in f32; float weights keep their type in the file.
#include "core/export/onnx/check.h"
#include "core/export/onnx/decoder.h"
#include "core/export/onnx/files.h"
#include "core/export/onnx/linear.h"
#include "core/export/tensors.h"

#include <algorithm>

namespace bitlathe {

namespace {

using Level = Finding::Level;

/// What of the model cannot be expressed, or runs differently.
void examine_model(const Checkpoint& model, std::vector<Finding>& out) {
  if (!model.spec) {
    out.push_back({Level::refuse,
                   {},
                   "An ONNX export is a graph of the whole model, and this one cannot be run: " +
                       (model.why_not_runnable.empty() ? "its architecture is not known"
                                                       : model.why_not_runnable)});
    return;
  }
  const ModelSpec& spec = *model.spec;
  if (!spec.rope.long_factors.empty())
    out.push_back({Level::note,
                   {},
                   "Positions are scaled for short sequences up to " +
                       std::to_string(spec.rope.original_context) +
                       " tokens and for long ones beyond: when a text grows past that, run it once "
                       "more without its cache"});
  if (model.kv_keys != "f16" || model.kv_values != "f16")
    out.push_back(
        {Level::note,
         {},
         "Keys and values are f32 in the graph, not " + model.kv_keys + " and " + model.kv_values});
  if (!model.others.empty())
    out.push_back({Level::note,
                   {},
                   std::to_string(model.others.size()) +
                       " tensors that the model does not use are left out"});
}

bool is_table(const Module& module) {
  return module.part == "embedding" || module.part == "positions";
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  examine_model(model, out);
  std::int64_t dynamic = 0, halves = 0;
  for (const auto& module : modules) {
    const Module& source = *module.source;
    if (source.tied_to_embedding || !module.scheme.family) {
      if (!source.tied_to_embedding)
        out.push_back({Level::refuse, source.name,
                       module.scheme.id + " weights cannot be decoded, so they cannot be "
                                          "rewritten"});
      continue;
    }
    const std::int64_t rows = source.weight.rows, cols = source.weight.cols;
    const bool matrix = source.shape.size() > 1;
    const auto problem =
        !matrix && module.scheme.quantized ? "Vectors are stored as floats; nearest: f16"
        : !matrix                          ? std::string()
        : is_table(source) ? onnx_table_problem(module.scheme, module.reordered, rows, cols)
                           : onnx_linear_problem(module.scheme, module.activations, rows, cols);
    if (!problem.empty())
      out.push_back({Level::refuse, source.name, problem});
    dynamic += module.scheme.quantized && module.activations == "int8-token-dynamic";
    halves += matrix && !module.scheme.quantized && module.scheme.float_type != FloatType::f32;
  }
  if (dynamic > 0)
    out.push_back({Level::note,
                   {},
                   std::to_string(dynamic) +
                       " linears run with DynamicQuantizeLinear: one unsigned scale and zero point "
                       "for all tokens of a call, where int8-token-dynamic has a signed scale per "
                       "token"});
  if (dynamic > 0)
    out.push_back({Level::note,
                   {},
                   "On x86 processors without VNNI, ONNX Runtime's products of 8 bits can "
                   "saturate in between",
                   "onnxruntime"});
  if (halves > 0)
    out.push_back({Level::note,
                   {},
                   std::to_string(halves) +
                       " matrices of 16-bit floats keep their type in the file; the graph computes "
                       "in f32, so that they take twice the memory when it is loaded"});
  examine_folder(model, out, true);
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  TRY_ASSIGN(OnnxGraph graph, make_onnx_decoder(input.model));
  TRY_ASSIGN(auto list, model_files(input, Json()));
  auto model = onnx_files(std::move(graph), {input.name, input.label}, input.shard_limit);
  std::move(model.begin(), model.end(), std::back_inserter(list)); // model.onnx comes last
  return ExportFiles{".", std::move(list)};
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  const bool is_model = fs::exists(path / "model.safetensors", failed) ||
                        fs::exists(path / "model.safetensors.index.json", failed);
  return !is_model && !find_onnx(path).empty();
}

std::vector<VerifyCheck> rules(const fs::path& path) {
  const auto model = read_onnx(find_onnx(path));
  if (!model)
    return {{"opens", false, model.error().text()}};
  return check_onnx(*model);
}

Result<VerifyReport> verify(const fs::path& path, const Checkpoint* against, Feedback& feedback) {
  VerifyReport report;
  const auto model = read_onnx(find_onnx(path));
  if (!model) {
    report.ok = false;
    report.checks.push_back({"opens", false, model.error().text()});
    return report;
  }
  report.checks.push_back({"opens", true,
                           "onnx, " + std::to_string(model->initializers.size()) + " weights, " +
                               std::to_string(model->file->bytes().size()) + " bytes of " +
                               model->path.filename().string()});
  for (auto& check : check_onnx(*model))
    report.checks.push_back(std::move(check));
  TRY_ASSIGN(auto finite, check_onnx_finite(*model, feedback));
  report.checks.push_back(std::move(finite));
  if (against) {
    TRY_ASSIGN(auto same, check_onnx_graph(*model, *against));
    report.checks.push_back(std::move(same));
    TRY(compare_onnx(*model, *against, feedback, report));
  }
  report.ok = std::all_of(report.checks.begin(), report.checks.end(),
                          [](const VerifyCheck& check) { return check.ok; });
  return report;
}

constexpr UseWith uses[] = {
    {"onnxruntime", "ONNX Runtime",
     "import onnxruntime\n"
     "session = onnxruntime.InferenceSession(\"{path}/model.onnx\")\n"
     "print([i.name for i in session.get_inputs()])"},
    {"onnxruntime", "Transformers.js",
     "import { pipeline } from '@huggingface/transformers';\n"
     "const options = { subfolder: '', dtype: 'fp32' }; // model.onnx, whatever it holds\n"
     "const generate = await pipeline('text-generation', '{path}', options);\n"
     "console.log(await generate('Once upon a time', { max_new_tokens: 50 }));"},
    {"transformers", "Optimum",
     "from optimum.onnxruntime import ORTModelForCausalLM\n"
     "from transformers import AutoTokenizer\n"
     "model = ORTModelForCausalLM.from_pretrained(\"{path}\")\n"
     "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"
     "ids = tokenizer(\"Once upon a time\", return_tensors=\"pt\")\n"
     "print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))"},
};

} // namespace

extern const Exporter exporter_onnx;
const Exporter exporter_onnx{
    "onnx",
    "ONNX",
    "The whole decoder as a graph with a KV cache; linears as f32, f16, bf16, int8, int4 or int2.",
    "ONNX Runtime, Optimum, Transformers.js",
    examine,
    files,
    nullptr,
    uses,
    rules,
    recognises,
    verify};

} // namespace bitlathe
