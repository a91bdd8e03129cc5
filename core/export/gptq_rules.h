// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// What the loaders of GPTQ checkpoints (vLLM, GPTQModel, transformers, llama.cpp's converter)
/// check or rely on, held against the files in a folder.
std::vector<VerifyCheck> gptq_rules(const fs::path& path);

} // namespace bitlathe
