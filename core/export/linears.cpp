// SPDX-License-Identifier: Apache-2.0
#include "core/export/linears.h"

#include "core/export/tensors.h"

#include <algorithm>
#include <set>

namespace bitlathe {

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

std::string without_tail(const std::string& name, std::string_view tail) {
  return ends_with(name, tail) ? name.substr(0, name.size() - tail.size()) : std::string();
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (const auto n : shape)
    out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

std::vector<std::string> kept_linears(const Checkpoint& model,
                                      const std::function<bool(const Module&)>& quantized) {
  std::vector<std::string> out;
  for (const Module& module : model.modules)
    if ((module.linear || module.tied_to_embedding || module.role == "lm_head") &&
        (module.tied_to_embedding || !quantized(module)))
      out.push_back(module.hf_name());
  for (const StoredTensor& other : model.others)
    if (const auto name = without_tail(other.name, ".weight");
        !name.empty() && other.shape.size() == 2 && safetensors_dtype_bits(other.dtype) > 0)
      out.push_back(name);
  return out;
}

namespace {

struct Fusion {
  std::string_view part, whole;
};
constexpr Fusion fusions[] = {{"q_proj", "qkv_proj"},
                              {"k_proj", "qkv_proj"},
                              {"v_proj", "qkv_proj"},
                              {"gate_proj", "gate_up_proj"},
                              {"up_proj", "gate_up_proj"}};

std::string fused_name(const std::string& linear) {
  const auto dot = linear.rfind('.') + 1; // 0 without a dot
  for (const Fusion& fusion : fusions)
    if (linear.substr(dot) == fusion.part)
      return linear.substr(0, dot) + std::string(fusion.whole);
  return {};
}

} // namespace

std::vector<FusedLayer> fused_layers(const std::vector<std::string>& linears) {
  std::vector<FusedLayer> out;
  for (const std::string& linear : linears) {
    const auto name = fused_name(linear);
    if (name.empty())
      continue;
    auto it =
        std::find_if(out.begin(), out.end(), [&](const FusedLayer& f) { return f.name == name; });
    if (it == out.end())
      it = out.insert(out.end(), {name, {}});
    it->parts.push_back(linear);
  }
  return out;
}

void examine_partly_kept(const std::vector<ExportModule>& modules, std::vector<Finding>& findings) {
  std::map<std::string, std::set<bool>> kinds;
  for (const ExportModule& module : modules)
    if (const auto name = fused_name(module.source->hf_name()); !name.empty())
      kinds[name].insert(module.scheme.quantized);
  std::vector<std::string> differing;
  for (const auto& [name, all] : kinds)
    if (all.size() > 1)
      differing.push_back(name);
  if (!differing.empty())
    findings.push_back({Finding::Level::warning,
                        {},
                        "vLLM joins q, k and v, and gate and up; where only some parts are "
                        "quantized, it will not load them as written: " +
                            name_list(differing),
                        "vllm"});
}

const StoredTensor* FolderContents::find(const std::string& name) const {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : it->second;
}

Result<std::unique_ptr<FolderContents>> read_contents(const fs::path& folder) {
  auto out = std::make_unique<FolderContents>();
  TRY_ASSIGN(out->config, read_json_file(folder / "config.json"));
  if (!out->config.is_object())
    return Error{"bad-file", "config.json is not a JSON object", folder.string()};
  TRY_ASSIGN(out->file, read_safetensors_folder(folder));
  for (const StoredTensor& tensor : out->file.tensors)
    out->tensors[tensor.name] = &tensor;
  return out;
}

VerifyCheck LoaderRule::check() const {
  return {name_, broken_.empty(), broken_.empty() ? good_ : name_list(broken_, 5)};
}

} // namespace bitlathe
