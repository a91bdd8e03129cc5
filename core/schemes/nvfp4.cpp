// SPDX-License-Identifier: Apache-2.0
// NVFP4 in two levels: the blocks of the GGUF type nvfp4 under one f32 factor of the weight, which
// brings their E4M3 scales into range. Storage: kernels/layouts/nvfp4_scaled.cpp.
#include "core/schemes/scheme.h"

namespace bitlathe {

namespace {

constexpr std::string_view id = "nvfp4-sf32";

Result<Scheme> parse(std::string_view text) {
  if (text != id)
    return Error{"not-found", "not nvfp4 with a factor", std::string(text)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("nvfp4");
  scheme.quantized = true;
  scheme.bits = 4;
  scheme.group = 16;
  scheme.float_type = FloatType::f32;
  return scheme;
}

const Layout& blocks() { return *find_layout("nvfp4"); }

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t cols) {
  if (cols % 16 == 0)
    return {};
  return {false,
          "rows of " + std::to_string(cols) + " columns do not divide into nvfp4 groups of 16",
          "f16"};
}

SchemeFamily::Bytes bytes(const Scheme&, std::int64_t rows, std::int64_t cols) {
  const std::int64_t per_row = (cols + blocks().block - 1) / blocks().block;
  return {std::uint64_t(rows * per_row * blocks().block_bytes), sizeof(float), 0};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("nvfp4_scaled");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = 4;
  m.group = tensor.scheme.group;
  m.per_tensor = true;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  return m;
}

constexpr std::string_view examples[] = {id};

} // namespace

extern const SchemeFamily scheme_family_nvfp4;
const SchemeFamily scheme_family_nvfp4{
    "nvfp4",
    "NVFP4 in two levels: 16 values share an E4M3 scale, and one f32 factor of the weight brings "
    "these scales into range.",
    id,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
