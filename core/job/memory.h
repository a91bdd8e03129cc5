// SPDX-License-Identifier: Apache-2.0
// Memory of this process as the project reports it: anonymous and shared pages (what a promise is
// about), and mapped file pages (which the system can drop at any time) apart.
#pragma once

#include <cstdint>

namespace bitlathe {

struct MemoryUse {
  std::uint64_t rss_bytes = 0;    ///< anonymous + shared memory
  std::uint64_t mapped_bytes = 0; ///< resident pages of mapped files
};
MemoryUse memory_use();

/// Starts sampling the use every 20 ms from a thread of its own, once per process; without it the
/// peaks below are those of the moments they are asked for.
void start_memory_watch();
std::uint64_t peak_rss_bytes();
std::uint64_t peak_mapped_bytes();

} // namespace bitlathe
