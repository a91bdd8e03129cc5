// SPDX-License-Identifier: Apache-2.0
// The manifest beside an export: what it was made from and how, with the hashes of all files, so
// that it can be made again; and what the format has no place for, for this program's own reader.
// The same export has the same manifest.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// "bitlathe.json" in a folder, "NAME.manifest.json" beside a single file or its parts.
fs::path manifest_name(const ExportFiles& described);
/// Where the manifest of a checkpoint would be.
fs::path manifest_path(const fs::path& checkpoint);

/// `hashes` are those of the described files, in their order.
Result<OrderedJson> export_manifest(const Checkpoint& model, const Exporter& exporter,
                                    const ExportOptions& options, const ExportFiles& described,
                                    const std::vector<std::string>& hashes, Feedback& feedback);

/// What a manifest says of making the export again, beside the recipe.
struct ManifestSettings {
  std::string format, name;
  std::vector<std::string> formats; ///< all that the plan was fitted to, in order
  std::uint64_t shard_limit = 0;    ///< 0: not said
  Json modules;                     ///< {name: {scheme, ...}}
  Json source_files;                ///< [{name, bytes, sha256}]
  std::string backend, instruction_set;
  bool calibrated = false; ///< calibration text was used
};
/// nullopt when the file is a plain recipe.
Result<std::optional<ManifestSettings>> read_manifest_settings(const fs::path& path);
/// How a source differs from the one of a manifest, one sentence each; empty: not at all.
Result<std::vector<std::string>> source_differences(const ManifestSettings& manifest,
                                                    const Checkpoint& source, Feedback& feedback,
                                                    ExportMemo* memo = nullptr);

/// Whether the files beside a manifest are those that were written. Check without a name: there is
/// no manifest.
Result<VerifyCheck> check_manifest(const fs::path& checkpoint, Feedback& feedback);

} // namespace bitlathe
