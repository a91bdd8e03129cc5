// SPDX-License-Identifier: Apache-2.0
// What the loaders of compressed-tensors check of a folder.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

std::vector<VerifyCheck> compressed_rules(const fs::path& path);

} // namespace bitlathe
