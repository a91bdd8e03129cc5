// SPDX-License-Identifier: Apache-2.0
// Parallel loops on oneTBB, in one arena whose size is the user's.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/base/result.h"

#include <cstdint>
#include <functional>

namespace bitlathe {

/// Number of worker threads; BITLATHE_THREADS, else all hardware threads. `set_thread_count(0)`
/// restores that default.
int thread_count();
void set_thread_count(int threads);

/// Error "bad-argument" when BITLATHE_THREADS is set to something that is not a whole number from
/// 1 to 1024 (it is then ignored by the functions above, so ask before starting any work).
Result<void> check_thread_environment();

/// Calls body(begin, end) over [0, n) in pieces of at least `grain`. Stops handing out pieces once
/// `feedback->stop` is set; returns false in that case. Which piece runs where is not fixed:
/// results must not depend on it (write per-index results, then reduce in index order).
bool parallel_for(std::int64_t n, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body,
                  const Feedback* feedback = nullptr);

} // namespace bitlathe
