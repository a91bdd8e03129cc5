// SPDX-License-Identifier: Apache-2.0
// What mlx-lm checks of a folder, or assumes of it.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

std::vector<VerifyCheck> mlx_rules(const fs::path& path);

} // namespace bitlathe
