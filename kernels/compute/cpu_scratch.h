// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace bitlathe {

/// An uninitialised array aligned to cache lines: a vector would first write zeros everywhere.
template <class T> class Scratch {
 public:
  explicit Scratch(std::size_t size)
      : data_(static_cast<T*>(::operator new (size * sizeof(T) + 64, std::align_val_t{64}))),
        size_(size) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_;
};

} // namespace bitlathe
