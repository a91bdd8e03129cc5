// SPDX-License-Identifier: Apache-2.0
// Integer codes with a scale (and a zero point when asymmetric) per tensor, channel or group of
// columns. Storage: kernels/matrix.h, layout "int".
#include "core/schemes/scheme.h"
#include "kernels/compute/compute.h"

#include <charconv>

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "int{2..8}-{tensor|channel|gN}-{sym|asym}[-sbf16|-sf32]";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Result<Scheme> parse(std::string_view id) {
  const auto parts = split(id, '-');
  if (parts[0].size() != 4 || parts[0].substr(0, 3) != "int")
    return Error{"not-found", "not an integer scheme", std::string(id)};
  const Error malformed{"bad-argument",
                        "Malformed scheme \"" + std::string(id) + "\"; the form is " +
                            std::string(grammar),
                        {}};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("int");
  scheme.quantized = true;
  scheme.bits = parts[0][3] - '0';
  if (scheme.bits < 2 || scheme.bits > 8 || parts.size() < 3 || parts.size() > 4)
    return malformed;
  if (parts[1] == "tensor") {
    scheme.per_tensor = true;
  } else if (parts[1] != "channel") {
    const auto digits = parts[1].substr(1);
    const auto [end, problem] =
        std::from_chars(digits.data(), digits.data() + digits.size(), scheme.group);
    if (parts[1][0] != 'g' || problem != std::errc{} || end != digits.data() + digits.size() ||
        digits.empty() || digits[0] == '0' || scheme.group < 1 || scheme.group > (1 << 24))
      return malformed;
  }
  if (parts[2] != "sym" && parts[2] != "asym")
    return malformed;
  scheme.symmetric = parts[2] == "sym";
  if (parts.size() == 4) {
    if (parts[3] == "sbf16")
      scheme.float_type = FloatType::bf16;
    else if (parts[3] == "sf32")
      scheme.float_type = FloatType::f32;
    else
      return malformed;
  }
  return scheme;
}

std::int64_t group_of(const Scheme& scheme, std::int64_t cols) {
  return scheme.group > 0 ? std::min(scheme.group, cols) : cols;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t group = std::max<std::int64_t>(group_of(scheme, cols), 1);
  const auto grids =
      scheme.per_tensor ? std::uint64_t(1) : std::uint64_t(rows * ((cols + group - 1) / group));
  return {std::uint64_t(rows * int_row_bytes(cols, int(scheme.bits))),
          grids * float_size(scheme.float_type), scheme.symmetric ? 0 : grids};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("int");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = group_of(tensor.scheme, tensor.cols);
  m.symmetric = tensor.scheme.symmetric;
  m.per_tensor = tensor.scheme.per_tensor;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  m.zeros = tensor.zeros;
  return m;
}

constexpr std::string_view examples[] = {"int4-g128-asym",   "int4-g128-sym",   "int4-g32-asym",
                                         "int8-channel-sym", "int8-tensor-sym", "int3-g128-asym",
                                         "int2-g64-asym",    "int5-g128-asym",  "int6-g128-asym"};

} // namespace

extern const SchemeFamily scheme_family_int;
const SchemeFamily scheme_family_int{"int",
                                     "Integer codes with a scale, and a zero point when "
                                     "asymmetric, per tensor, output channel or group of "
                                     "input columns.",
                                     grammar,
                                     parse,
                                     fit,
                                     bytes,
                                     view,
                                     examples};

} // namespace bitlathe
