// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/parallel.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <string>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <thread>

namespace bitlathe {

namespace {

constexpr int most_threads = 1024;

struct Environment {
  int threads = 0; ///< 0: not set or unusable
  std::string bad; ///< the unusable text
};

/// Read once: a later change of the environment must not change a running program.
const Environment& environment() {
  static const Environment read = [] {
    Environment e;
    const char* text = std::getenv("BITLATHE_THREADS");
    if (!text || !*text)
      return e;
    const std::string value = text;
    int threads = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
    if (error != std::errc{} || end != value.data() + value.size() || threads < 1 ||
        threads > most_threads)
      e.bad = value;
    else
      e.threads = threads;
    return e;
  }();
  return read;
}

int default_threads() {
  if (environment().threads > 0)
    return environment().threads;
  return std::max(1, int(std::thread::hardware_concurrency()));
}

/// The arena in use. Loops keep it alive by a shared pointer, so that it can be replaced while one
/// runs.
struct Arena {
  explicit Arena(int n)
      : threads(n), control(tbb::global_control::max_allowed_parallelism, std::size_t(n)),
        arena(n) {}
  int threads;
  tbb::global_control control; // more workers than hardware threads only if asked for
  tbb::task_arena arena;
};

std::mutex arena_mutex;

std::shared_ptr<Arena>& arena_slot() {
  static std::shared_ptr<Arena> slot;
  return slot;
}

std::shared_ptr<Arena> current_arena() {
  const std::lock_guard lock(arena_mutex);
  auto& slot = arena_slot();
  if (!slot)
    slot = std::make_shared<Arena>(default_threads());
  return slot;
}

} // namespace

int thread_count() { return current_arena()->threads; }

void set_thread_count(int threads) {
  threads = threads <= 0 ? default_threads() : std::min(threads, most_threads);
  const std::lock_guard lock(arena_mutex);
  auto& slot = arena_slot();
  if (slot && slot->threads == threads)
    return;
  slot.reset(); // global_control takes the smallest live value: drop the old one first
  slot = std::make_shared<Arena>(threads);
}

Result<void> check_thread_environment() {
  if (environment().bad.empty())
    return {};
  return Error{"bad-argument",
               "BITLATHE_THREADS is \"" + environment().bad +
                   "\"; it must be a whole number from 1 to " + std::to_string(most_threads),
               "BITLATHE_THREADS"};
}

bool parallel_for(std::int64_t n, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body,
                  const Feedback* feedback) {
  if (n <= 0)
    return !(feedback && feedback->stopped());
  const auto arena = current_arena();
  // Several pieces per thread even out their load and make stopping quick.
  const std::int64_t wanted = std::int64_t(arena->threads) * 8;
  const std::int64_t piece = std::max(std::max<std::int64_t>(1, grain), (n + wanted - 1) / wanted);
  const std::int64_t pieces = (n + piece - 1) / piece;
  std::atomic<bool> stopped{false};
  const auto run = [&](std::int64_t i) {
    if (feedback && feedback->stopped()) {
      stopped.store(true, std::memory_order_relaxed);
      return;
    }
    body(i * piece, std::min(n, (i + 1) * piece));
  };
  if (arena->threads == 1 || pieces == 1) {
    for (std::int64_t i = 0; i < pieces; ++i)
      run(i);
  } else {
    // isolate: a thread that waits here must not pick up an outer loop's piece, whose per-thread
    // scratch it may be holding.
    arena->arena.execute([&] {
      tbb::this_task_arena::isolate(
          [&] { tbb::parallel_for(std::int64_t(0), pieces, run, tbb::simple_partitioner{}); });
    });
  }
  return !stopped.load(std::memory_order_relaxed);
}

} // namespace bitlathe
