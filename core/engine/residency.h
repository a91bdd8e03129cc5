// SPDX-License-Identifier: Apache-2.0
// Memory for weights that several engines share. A block's weights are loaded when it is its turn
// and stay until the room is needed, so that two models do not need the memory of both.
#pragma once

#include "kernels/base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace bitlathe {

class Compute;

/// Engines that share one are run by one thread at a time.
class Residency {
 public:
  /// Bytes of weights to keep at once, mapped ones that are in use included; 0: no limit.
  explicit Residency(std::uint64_t budget) : budget_(budget) {}
  ~Residency();
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  /// What is loaded and dropped as a whole: the weights of a block, a head.
  class Piece {
   public:
    virtual ~Piece();
    /// What it will take when it is loaded, as far as is known.
    virtual std::uint64_t size() const = 0;
    /// Loads it; the value is what it takes.
    virtual Result<std::uint64_t> load() = 0;
    virtual void drop() = 0;

   private:
    friend class Residency;
    Residency* home_ = nullptr; ///< set while it is loaded
    std::uint64_t bytes_ = 0, last_use_ = 0;
    int users_ = 0;
  };

  /// The piece stays while this lives.
  class Hold {
   public:
    Hold() = default;
    explicit Hold(Piece* piece) : piece_(piece) {}
    ~Hold() { reset(); }
    Hold(Hold&& other) noexcept : piece_(std::exchange(other.piece_, nullptr)) {}
    Hold& operator=(Hold&& other) noexcept;
    void reset();

   private:
    Piece* piece_ = nullptr;
  };

  /// Loads a piece unless it is there, after making room. A piece that is larger than the budget is
  /// loaded all the same, alone.
  Result<Hold> hold(Piece& piece);
  /// Drops a piece that is about to go away.
  void forget(Piece& piece);

  std::uint64_t budget() const { return budget_; }
  std::uint64_t bytes() const { return bytes_; } ///< of all that is loaded
  std::uint64_t most_bytes() const { return most_; }
  std::int64_t loads() const { return loads_; }
  /// More than the budget was needed at once: the largest piece, or what was held together.
  bool exceeded() const { return budget_ > 0 && most_ > budget_; }

 private:
  /// Which loaded piece goes first when `wanted` comes; null: none can.
  Piece* next_to_go(const Piece& wanted) const;
  bool make_room(const Piece& wanted, std::uint64_t bytes);
  void drop(Piece& piece);

  const std::uint64_t budget_;
  std::uint64_t bytes_ = 0, most_ = 0, now_ = 0;
  std::int64_t loads_ = 0;
  std::vector<Piece*> loaded_;
};

/// What is kept on this machine when nobody said otherwise: most of its memory, so that models
/// which do not fit are run from the disk instead of not at all.
std::uint64_t default_weight_budget();
/// That budget where weights lie in this machine's memory; null where a device has its own.
std::shared_ptr<Residency> default_residency(const Compute& compute);

} // namespace bitlathe
