// SPDX-License-Identifier: Apache-2.0
// Matrices that Hugging Face folders store as [in, out] (GPT-2's Conv1D), turned to the canonical
// [out, in] and back.
#pragma once

#include "core/schemes/scheme.h"

namespace bitlathe {

/// Takes a stored [in, out] matrix as [out, in], without touching its values.
void read_by_columns(QTensor& weight);

/// A weight whose values stand row by row: the tensor itself, which must stay alive, or a copy of
/// one that is stored by columns.
class ByRows {
 public:
  explicit ByRows(const QTensor& weight);
  const QTensor& operator*() const { return copy_ ? *copy_ : weight_; }
  const QTensor* operator->() const { return &**this; }
  std::unique_ptr<QTensor> release() { return std::move(copy_); } ///< null: there is no copy

 private:
  const QTensor& weight_;
  std::unique_ptr<QTensor> copy_;
};

/// Any weight decoded to a float type, with rows and columns exchanged.
std::vector<std::byte> transposed_values(const QTensor& weight, FloatType type);

} // namespace bitlathe
