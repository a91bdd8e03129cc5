// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/recorded.h"

namespace bitlathe {

Recorded::Recorded(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_regular_file(folder / "bitlathe.json", failed))
    return;
  const auto json = read_json_file(folder / "bitlathe.json");
  if (!json || !json->is_object())
    return;
  const auto modules = json->find("modules");
  if (modules == json->end() || !modules->is_object())
    return;
  for (const auto& [name, entry] : modules->items()) {
    const Json stored = entry.is_object() ? entry.value("stored_name", Json()) : Json();
    modules_[stored.is_string() ? stored.get<std::string>() : name] = entry;
  }
}

bool Recorded::float_inputs(const std::string& module, const Scheme& scheme) const {
  const auto it = modules_.find(module);
  if (it == modules_.end() || !it->is_object())
    return false;
  const auto stored = parse_scheme(
      it->value("scheme", Json()).is_string() ? (*it)["scheme"].get<std::string>() : std::string());
  // Scales may have been widened for the format, and groups as long as a row are channels.
  return stored && stored->family == scheme.family && stored->bits == scheme.bits &&
         it->value("activations", Json()) == "none";
}

} // namespace bitlathe
