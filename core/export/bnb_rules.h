// SPDX-License-Identifier: Apache-2.0
// What transformers, bitsandbytes and vLLM check of a bitsandbytes folder.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

std::vector<VerifyCheck> bnb_rules(const fs::path& path);

} // namespace bitlathe
