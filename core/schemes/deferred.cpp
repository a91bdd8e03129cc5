// SPDX-License-Identifier: Apache-2.0
#include "core/schemes/deferred.h"

#include <algorithm>
#include <atomic>
#include <sys/mman.h>
#include <unistd.h>

namespace bitlathe {

namespace {

std::atomic<std::uint64_t> in_memory{0};

/// Weights that nobody uses any more but that may be asked for again at once, as an exporter does
/// that writes codes, scales and zero points one after the other. The newest stays in any case.
class Warm {
 public:
  static constexpr std::uint64_t budget = 16u << 20;

  /// Nothing of a weight that is being destroyed comes back: it takes itself off first.
  std::vector<std::shared_ptr<DeferredParts>> add(std::shared_ptr<DeferredParts> parts) {
    std::vector<std::shared_ptr<DeferredParts>> out;
    const std::lock_guard lock(mutex_);
    remove(parts.get());
    parts_.push_back(parts);
    std::uint64_t sum = 0;
    for (std::size_t i = parts_.size(); i-- > 0;) {
      const auto kept = parts_[i].lock();
      sum += kept ? kept->bytes() : 0;
      if (kept && (sum <= budget || i + 1 == parts_.size()))
        continue;
      if (kept)
        out.push_back(kept);
      parts_.erase(parts_.begin() + std::ptrdiff_t(i));
    }
    return out;
  }

 private:
  void remove(const DeferredParts* parts) {
    parts_.erase(std::remove_if(parts_.begin(), parts_.end(),
                                [&](const std::weak_ptr<DeferredParts>& other) {
                                  const auto held = other.lock();
                                  return !held || held.get() == parts;
                                }),
                 parts_.end());
  }

  std::mutex mutex_;
  std::vector<std::weak_ptr<DeferredParts>> parts_; ///< newest last
};

Warm& warm() {
  static auto* const list = new Warm; // weights may outlive every static object
  return *list;
}

std::uint64_t page_size() {
  static const auto size = std::uint64_t(::sysconf(_SC_PAGESIZE));
  return size;
}

} // namespace

void WeightUse::reset() {
  if (const auto parts = std::exchange(parts_, nullptr))
    parts->release(true);
}

void WeightUse::drop() {
  if (const auto parts = std::exchange(parts_, nullptr))
    parts->release(false);
}

std::uint64_t WeightUse::bytes() const { return parts_ ? parts_->bytes() : 0; }

Result<std::shared_ptr<DeferredParts>> DeferredParts::create(const SchemeFamily::Bytes& sizes,
                                                             Fill fill) {
  std::shared_ptr<DeferredParts> out(new DeferredParts);
  const auto aligned = [](std::uint64_t n) { return (n + 63) / 64 * 64; };
  const auto page = page_size();
  const auto whole = aligned(sizes.codes) + aligned(sizes.scales) + aligned(sizes.zeros);
  out->size_ = std::max(page, (whole + page - 1) / page * page);
  void* const base =
      ::mmap(nullptr, out->size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return Error{"out-of-memory",
                 "There are no addresses for a weight of " + std::to_string(whole) + " bytes",
                 {}};
  out->base_ = static_cast<std::byte*>(base);
  const std::span all(out->base_, out->size_);
  out->spans_ = {all.subspan(0, sizes.codes), all.subspan(aligned(sizes.codes), sizes.scales),
                 all.subspan(aligned(sizes.codes) + aligned(sizes.scales), sizes.zeros)};
  out->fill_ = std::move(fill);
  return out;
}

DeferredParts::~DeferredParts() {
  if (filled_)
    in_memory -= size_;
  if (base_)
    ::munmap(base_, size_);
}

Result<WeightUse> DeferredParts::use() {
  const std::lock_guard lock(mutex_);
  if (!filled_) {
    if (::mprotect(base_, size_, PROT_READ | PROT_WRITE) != 0)
      return Error{"out-of-memory",
                   "There is no memory for a weight of " + std::to_string(size_) + " bytes",
                   {}};
    const auto done = fill_(spans_);
    if (!done) {
      if (!for_good_)
        give_back();
      return done.error();
    }
    filled_ = true;
    in_memory += size_;
  }
  ++users_;
  return WeightUse(shared_from_this());
}

void DeferredParts::convert_for_good() {
  if (users_ > 0 || for_good_)
    return;
  {
    const std::lock_guard lock(mutex_);
    for_good_ = true;
  }
  if (auto used = use(); !used) { // zeros: the caller did not want to know
    const std::lock_guard lock(mutex_);
    ::mprotect(base_, size_, PROT_READ | PROT_WRITE);
  }
}

void DeferredParts::empty() {
  const std::lock_guard lock(mutex_);
  if (users_ > 0 || !filled_ || for_good_)
    return;
  filled_ = false;
  in_memory -= size_;
  give_back();
}

void DeferredParts::release(bool keep_warm) {
  {
    const std::lock_guard lock(mutex_);
    if (--users_ > 0 || for_good_)
      return;
  }
  if (!keep_warm)
    return empty();
  for (const auto& old : warm().add(shared_from_this()))
    old->empty();
}

void DeferredParts::give_back() {
  ::madvise(base_, size_, MADV_DONTNEED);
  ::mprotect(base_, size_, PROT_NONE);
}

std::uint64_t DeferredParts::bytes_in_memory() { return in_memory; }

Result<void> defer(QTensor& weight, const SchemeFamily::Bytes& sizes, DeferredParts::Fill fill) {
  TRY_ASSIGN(weight.deferred, DeferredParts::create(sizes, std::move(fill)));
  const auto& spans = weight.deferred->spans();
  if (sizes.codes > 0)
    weight.codes = spans.codes;
  if (sizes.scales > 0)
    weight.scales = spans.scales;
  if (sizes.zeros > 0)
    weight.zeros = spans.zeros;
  return {};
}

} // namespace bitlathe
