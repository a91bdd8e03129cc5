// SPDX-License-Identifier: Apache-2.0
// Which linear layers an export to a Hugging Face folder leaves as they are, how vLLM joins layers,
// and a folder as its rules are checked on it.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// Stored names of everything that loaders take for a linear layer and that `quantized` says no
/// to: the head too, tied or not, and matrices that belong to no module.
std::vector<std::string> kept_linears(const Checkpoint& model,
                                      const std::function<bool(const Module&)>& quantized);

/// The layers that vLLM runs as one: "model.layers.3.self_attn.qkv_proj" and its parts.
struct FusedLayer {
  std::string name;
  std::vector<std::string> parts; ///< as in the list they were found in
};
std::vector<FusedLayer> fused_layers(const std::vector<std::string>& linears);

/// Adds a warning for vLLM about layers it joins of which only some parts are quantized.
void examine_partly_kept(const std::vector<ExportModule>& modules, std::vector<Finding>& findings);

/// A folder's configuration and tensors as they are in the files, for rules.
struct FolderContents {
  Json config;
  SafetensorsFile file;
  std::map<std::string, const StoredTensor*> tensors;

  const StoredTensor* find(const std::string& name) const;
};
Result<std::unique_ptr<FolderContents>> read_contents(const fs::path& folder);

/// Collects what breaks one rule.
class LoaderRule {
 public:
  LoaderRule(std::string name, std::string good) : name_(std::move(name)), good_(std::move(good)) {}
  void broken(std::string what) { broken_.push_back(std::move(what)); }
  void require(bool holds, const std::string& what) {
    if (!holds)
      broken(what);
  }
  VerifyCheck check() const;

 private:
  std::string name_, good_;
  std::vector<std::string> broken_;
};

/// "[64, 32]".
std::string shape_text(const std::vector<std::int64_t>& shape);
bool ends_with(std::string_view text, std::string_view tail);
/// "a.b" of "a.b.weight"; empty when the name does not end that way.
std::string without_tail(const std::string& name, std::string_view tail);

} // namespace bitlathe
