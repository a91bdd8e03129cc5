// SPDX-License-Identifier: Apache-2.0
// Memory that is part of a mapped file, by its address.
#pragma once

#include <cstddef>
#include <span>

namespace bitlathe {

/// Whether a range lies in a file that is mapped now.
bool is_mapped(std::span<const std::byte> range);
/// Gives back the pages of such a range, which are read from the file again when they are needed;
/// nothing for other memory.
void forget_mapped(std::span<const std::byte> range);

} // namespace bitlathe
