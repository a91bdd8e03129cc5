// SPDX-License-Identifier: Apache-2.0
// The manifest beside an export: what it was made from and how, with the hashes of all files, so
// that it can be made again; and what the format has no place for, for this program's own reader.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// "bitlathe.json" in a folder, "NAME.manifest.json" beside a single file.
fs::path manifest_name(const ExportFiles& described);

OrderedJson export_manifest(const Checkpoint& model);

} // namespace bitlathe
