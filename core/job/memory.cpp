// SPDX-License-Identifier: Apache-2.0
#include "core/job/memory.h"

#include <atomic>
#include <chrono>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace bitlathe {

namespace {

std::atomic<std::uint64_t> peak_rss{0}, peak_mapped{0};

void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) {
  auto seen = peak.load(std::memory_order_relaxed);
  while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

void sample() {
  const MemoryUse use = memory_use();
  raise(peak_rss, use.rss_bytes);
  raise(peak_mapped, use.mapped_bytes);
}

} // namespace

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    std::uint64_t kib = 0;
    if (key == "RssAnon:" || key == "RssShmem:") {
      status >> kib;
      use.rss_bytes += kib * 1024;
    } else if (key == "RssFile:") {
      status >> kib;
      use.mapped_bytes = kib * 1024;
    } else {
      status.ignore(4096, '\n');
    }
  }
  return use;
}

void start_memory_watch() {
  static std::once_flag once;
  std::call_once(once, [] {
    static std::jthread watch([](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        sample();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
  });
}

std::uint64_t peak_rss_bytes() {
  sample();
  return peak_rss.load();
}

std::uint64_t peak_mapped_bytes() {
  sample();
  return peak_mapped.load();
}

} // namespace bitlathe
