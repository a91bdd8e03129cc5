// SPDX-License-Identifier: Apache-2.0
#include "core/export/manifest.h"

namespace bitlathe {

fs::path manifest_name(const ExportFiles& described) {
  if (described.checkpoint == ".")
    return "bitlathe.json";
  return described.checkpoint.stem().string() + ".manifest.json";
}

OrderedJson export_manifest(const Checkpoint& model) {
  OrderedJson out;
  out["bitlathe_export"] = 1;
  out["kv"] = {{"k", model.kv_keys}, {"v", model.kv_values}};
  if (!model.kv_scales.empty())
    out["kv_scales"] = model.kv_scales;
  out["modules"] = OrderedJson::object();
  for (const auto& module : model.modules)
    if (module.weight.scheme.quantized && !module.tied_to_embedding)
      out["modules"][module.hf_name()] = {{"scheme", module.weight.scheme.id},
                                          {"activations", module.activations}};
  return out;
}

} // namespace bitlathe
