// SPDX-License-Identifier: Apache-2.0
// Weights that a file stores in another form than the canonical one. Opening reserves addresses for
// their parts; they are made when somebody uses the weight and given back afterwards, so that
// memory does not grow with the model.
#pragma once

#include "core/schemes/scheme.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>

namespace bitlathe {

/// Somebody reads a weight: its parts stay where they are until this goes away.
class WeightUse {
 public:
  WeightUse() = default;
  explicit WeightUse(std::shared_ptr<DeferredParts> parts) : parts_(std::move(parts)) {}
  ~WeightUse() { reset(); }
  WeightUse(WeightUse&& other) noexcept : parts_(std::move(other.parts_)) {}
  WeightUse& operator=(WeightUse&& other) noexcept {
    if (this != &other) {
      reset();
      parts_ = std::move(other.parts_);
    }
    return *this;
  }
  void reset();
  /// The same, and the memory goes at once when nobody else uses the weight.
  void drop();
  /// Memory that the use holds, which it may share with other uses of the same weight.
  std::uint64_t bytes() const;

 private:
  std::shared_ptr<DeferredParts> parts_;
};

/// The parts of one weight, for any thread; a parallel loop does not begin the use of a weight.
class DeferredParts : public std::enable_shared_from_this<DeferredParts> {
 public:
  struct Spans {
    std::span<std::byte> codes, scales, zeros;
  };
  /// Writes every byte of the parts, which are zero before.
  using Fill = std::function<Result<void>(const Spans& parts)>;

  static Result<std::shared_ptr<DeferredParts>> create(const SchemeFamily::Bytes& sizes, Fill fill);
  ~DeferredParts();
  DeferredParts(const DeferredParts&) = delete;
  DeferredParts& operator=(const DeferredParts&) = delete;

  const Spans& spans() const { return spans_; }
  std::uint64_t bytes() const { return size_; }
  /// Makes the parts unless they are there.
  Result<WeightUse> use();
  void convert_for_good();

  /// Memory of all deferred weights that are there now.
  static std::uint64_t bytes_in_memory();

 private:
  friend class WeightUse;
  DeferredParts() = default;
  void release(bool keep_warm);
  void empty();
  void give_back();

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0; ///< of the mapping
  Spans spans_;
  Fill fill_;
  std::atomic<std::int64_t> users_{0};
  bool filled_ = false;
  std::atomic<bool> for_good_{false};
};

/// Lets parts of a weight be made by `fill` when it is used: those whose size is not 0. Errors:
/// "out-of-memory".
Result<void> defer(QTensor& weight, const SchemeFamily::Bytes& sizes, DeferredParts::Fill fill);

} // namespace bitlathe
