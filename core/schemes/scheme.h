// SPDX-License-Identifier: Apache-2.0
// Schemes: how the values of a weight are stored (element type, granularity, symmetry). A scheme
// family is one file in core/schemes/ and one word in core/CMakeLists.txt.
#pragma once

#include "kernels/base/result.h"
#include "kernels/matrix.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

struct SchemeFamily;
class DeferredParts;
class WeightUse;

/// A parsed scheme id such as "int4-g128-asym", "int8-channel-sym-sbf16", "bf16", "q4_0". Value
/// type.
struct Scheme {
  std::string id; ///< canonical spelling
  const SchemeFamily* family = nullptr;
  double bits = 32;            ///< of one code, for palettes and sorting (q4_0: 4)
  std::int64_t group = 0;      ///< columns per group; 0 = whole row (channel) or whole tensor
  std::int64_t group_rows = 1; ///< rows that share a scale (b128x128: 128)
  bool per_tensor = false;
  bool symmetric = true;
  bool nested = false;                   ///< the scales are quantized as well (-dq)
  bool quantized = false;                ///< false for f32, f16, bf16
  FloatType float_type = FloatType::f16; ///< of scales (quantized) or of the values (float)

  bool operator==(const Scheme& other) const { return id == other.id; }
};

/// A weight in canonical form: what methods make, exporters pack and the engine runs. Buffers are
/// owned or mapped (`keep_alive`). See kernels/matrix.h for the contents of codes, scales and
/// zeros.
struct QTensor {
  Scheme scheme;
  std::int64_t rows = 0, cols = 0;
  /// Float values stored column by column, as a Hugging Face folder holds some matrices: view()
  /// reads them, but codes are not rows. core/model/transpose.h has them row by row.
  bool by_columns = false;
  std::vector<std::byte> owned_codes, owned_scales, owned_zeros, owned_nested;
  /// Into the owned buffers or into `keep_alive`.
  std::span<const std::byte> codes, scales, zeros, nested;
  std::shared_ptr<const void> keep_alive;
  /// Null when row r of the weight is row r of the buffers; else the buffers' row that holds it.
  /// For weights that a file keeps in another order: view() and floats() know it, and whoever takes
  /// rows from `codes` asks stored_row().
  std::shared_ptr<const std::vector<std::int32_t>> row_order;
  /// Null when codes stand in the order of the columns; else position in a row -> column (GPTQ's
  /// act-order: groups are made of columns in that order). Integer schemes only.
  std::shared_ptr<const std::vector<std::int32_t>> column_order;
  /// Not null when the file stores the weight in another form: some of the spans then name memory
  /// that is there only while somebody uses the weight. Sizes are exact at any time.
  std::shared_ptr<DeferredParts> deferred;

  QTensor() = default;
  QTensor(const QTensor&) = delete; ///< spans point into owned buffers; move only
  QTensor& operator=(const QTensor&) = delete;
  QTensor(QTensor&&) noexcept = default;
  QTensor& operator=(QTensor&&) noexcept = default;

  /// Points the spans at the owned buffers, after these were filled.
  void own();
  /// Whoever reads the spans holds one of these as long as he does (core/schemes/deferred.h). The
  /// error of a weight that is not in order comes here. Costs nothing where nothing is deferred.
  Result<WeightUse> use() const;
  /// Without a use, a deferred weight is converted for good, and its errors are not seen.
  MatrixView view() const;
  /// The values of a float scheme.
  FloatView floats() const;
  std::int64_t stored_row(std::int64_t row) const {
    return row_order ? (*row_order)[std::size_t(row)] : row;
  }
  std::uint64_t bytes() const {
    return codes.size() + scales.size() + zeros.size() + nested.size() +
           (column_order ? column_order->size() * sizeof(std::int32_t) : 0);
  }
};

/// One family: the grammar of its ids and the sizes of its parts.
struct SchemeFamily {
  std::string_view id;      ///< "int", "float", "ggml"
  std::string_view summary; ///< one sentence for help and tooltips
  std::string_view grammar; ///< "int{2..8}-{tensor|channel|gN}-{sym|asym}[-sbf16|-sf32]"
  /// nullopt-like: an Error "bad-argument" when the id is not of this family (code "not-found") or
  /// is of it but malformed.
  Result<Scheme> (*parse)(std::string_view id);
  /// Whether a [rows][cols] weight can be held; otherwise the reason, and the scheme to fall back
  /// to (empty: keep the source type).
  struct Fit {
    bool ok = true;
    std::string reason, fallback;
  };
  Fit (*fit)(const Scheme&, std::int64_t rows, std::int64_t cols);
  /// Bytes of the parts of a tensor.
  struct Bytes {
    std::uint64_t codes = 0, scales = 0, zeros = 0, nested = 0;
    std::uint64_t total() const { return codes + scales + zeros + nested; }
  };
  Bytes (*bytes)(const Scheme&, std::int64_t rows, std::int64_t cols);
  /// Kernel layout and its parameters for buffers of this family.
  MatrixView (*view)(const QTensor&);
  /// A few ids worth offering in menus, best known first. Methods can make all of them.
  std::span<const std::string_view> examples;
};

std::span<const SchemeFamily* const> all_scheme_families();
const SchemeFamily* find_scheme_family(std::string_view id);
/// Error "bad-argument" naming the grammar when no family knows the id.
Result<Scheme> parse_scheme(std::string_view id);
/// The scheme of plain values of a float type.
Scheme float_scheme(FloatType type);

} // namespace bitlathe
