// SPDX-License-Identifier: Apache-2.0
#include "core/engine/residency.h"

#include "kernels/compute/compute.h"

#include <algorithm>
#include <cassert>
#include <unistd.h>

namespace bitlathe {

Residency::Piece::~Piece() { assert(!home_); }

Residency::Hold& Residency::Hold::operator=(Hold&& other) noexcept {
  if (this != &other) {
    reset();
    piece_ = std::exchange(other.piece_, nullptr);
  }
  return *this;
}

void Residency::Hold::reset() {
  if (Piece* piece = std::exchange(piece_, nullptr))
    --piece->users_;
}

Residency::~Residency() { assert(loaded_.empty()); }

/// Models are gone through from the first block to the last, again and again: what was used just
/// now is needed last. What was not used since the wanted piece had its last turn belongs to a
/// model that nobody runs any more, and goes before that.
Residency::Piece* Residency::next_to_go(const Piece& wanted) const {
  Piece *stale = nullptr, *newest = nullptr;
  for (Piece* piece : loaded_) {
    if (piece->users_ > 0)
      continue;
    if (piece->last_use_ < wanted.last_use_ && (!stale || piece->last_use_ < stale->last_use_))
      stale = piece;
    if (!newest || piece->last_use_ > newest->last_use_)
      newest = piece;
  }
  return stale ? stale : newest;
}

bool Residency::make_room(const Piece& wanted, std::uint64_t bytes) {
  while (budget_ > 0 && bytes_ + bytes > budget_) {
    Piece* const old = next_to_go(wanted);
    if (!old)
      return false;
    drop(*old);
  }
  return true;
}

void Residency::drop(Piece& piece) {
  loaded_.erase(std::find(loaded_.begin(), loaded_.end(), &piece));
  bytes_ -= piece.bytes_;
  piece.bytes_ = 0;
  piece.home_ = nullptr;
  piece.drop();
}

void Residency::forget(Piece& piece) {
  if (piece.home_ == this)
    drop(piece);
}

Result<Residency::Hold> Residency::hold(Piece& piece) {
  if (!piece.home_) {
    make_room(piece, piece.size());
    auto bytes = piece.load();
    // A device may have less room than the budget.
    while (!bytes && bytes.error().code == "out-of-memory") {
      piece.drop();
      Piece* const old = next_to_go(piece);
      if (!old)
        break;
      drop(*old);
      bytes = piece.load();
    }
    if (!bytes) {
      piece.drop();
      return bytes.error();
    }
    piece.bytes_ = *bytes;
    piece.home_ = this;
    bytes_ += piece.bytes_;
    loaded_.push_back(&piece);
    ++loads_;
    ++piece.users_;
    make_room(piece, 0); // it may have been larger than was known
    --piece.users_;
    most_ = std::max(most_, bytes_);
  }
  piece.last_use_ = ++now_;
  ++piece.users_;
  return Hold(&piece);
}

std::uint64_t default_weight_budget() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? std::uint64_t(pages) * std::uint64_t(size) / 10 * 6 : 0;
}

std::shared_ptr<Residency> default_residency(const Compute& compute) {
  return compute.device().backend == "cpu" ? std::make_shared<Residency>(default_weight_budget())
                                           : nullptr;
}

} // namespace bitlathe
