// SPDX-License-Identifier: Apache-2.0
// What loaders check of a folder with float weights, or with native f8 ones.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

std::vector<VerifyCheck> plain_rules(const fs::path& path);

} // namespace bitlathe
