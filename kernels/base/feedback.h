// SPDX-License-Identifier: Apache-2.0
// The object every long function takes: a stop flag, counters that a front end samples with a
// timer, and a sink for log lines. Algorithms never see a GUI toolkit.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace bitlathe {

enum class LogLevel { info, warning, error };

class Feedback {
 public:
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> done{0};  ///< units finished, any unit (bytes, tokens, modules)
  std::atomic<std::uint64_t> total{0}; ///< units in all, 0 = unknown

  bool stopped() const { return stop.load(std::memory_order_relaxed); }
  void advance(std::uint64_t n) { done.fetch_add(n, std::memory_order_relaxed); }

  /// Called from any thread, one call at a time. Set before the work starts.
  void set_sink(std::function<void(LogLevel, const std::string&)> sink) { sink_ = std::move(sink); }
  void log(LogLevel level, const std::string& line) {
    const std::lock_guard lock(mutex_);
    if (sink_)
      sink_(level, line);
  }
  /// What is being done now ("model.layers.3.mlp.down_proj"); for a status line.
  void set_step(std::string step) {
    const std::lock_guard lock(mutex_);
    step_ = std::move(step);
  }
  std::string step() const {
    const std::lock_guard lock(mutex_);
    return step_;
  }

 private:
  mutable std::mutex mutex_;
  std::function<void(LogLevel, const std::string&)> sink_;
  std::string step_;
};

} // namespace bitlathe
