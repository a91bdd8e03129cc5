// SPDX-License-Identifier: Apache-2.0
#include "core/export/fused.h"

#include "core/export/tensors.h"

#include <map>

namespace bitlathe {

namespace {

/// Parts that are joined, by the matrix they become; empty for all other roles.
std::string_view joined_as(std::string_view role) {
  if (role == "q_proj" || role == "k_proj" || role == "v_proj")
    return "q, k, v";
  if (role == "gate_proj" || role == "up_proj")
    return "gate, up";
  return {};
}

std::string kind_of(const ExportModule& module) {
  std::string kind = module.scheme.quantized ? module.scheme.id : "float";
  if (module.activations != "none")
    kind += " with " + module.activations;
  return module.reordered ? kind + " with act-order" : kind;
}

} // namespace

std::string joined_matrix(const Module& module) {
  const auto whole = joined_as(module.role);
  return whole.empty() ? std::string()
                       : module.name.substr(0, module.name.rfind('.')) + " " + std::string(whole);
}

void examine_fused(const std::vector<ExportModule>& modules, std::vector<Finding>& findings) {
  std::map<std::string, std::map<std::string, std::string>> kinds; ///< kind -> a role that has it
  for (const ExportModule& module : modules) {
    if (const auto whole = joined_matrix(*module.source); !whole.empty())
      kinds[whole].emplace(kind_of(module), module.source->role);
  }
  std::vector<std::string> differing;
  for (const auto& [whole, found] : kinds) {
    if (found.size() < 2)
      continue;
    std::string text = whole + " (";
    for (const auto& [kind, role] : found)
      text += (text.back() == '(' ? "" : ", ") + role + " " + kind;
    differing.push_back(text + ")");
  }
  if (!differing.empty())
    findings.push_back({Finding::Level::warning,
                        {},
                        "vLLM joins these and wants one scheme for all parts, so it will not load "
                        "the export: " +
                            name_list(differing),
                        "vllm"});
}

} // namespace bitlathe
