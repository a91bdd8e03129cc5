// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// What the loaders of AWQ checkpoints (vLLM, transformers, AutoAWQ) check or rely on, held against
/// the files in a folder.
std::vector<VerifyCheck> awq_rules(const fs::path& path);

} // namespace bitlathe
