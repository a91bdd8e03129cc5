// SPDX-License-Identifier: Apache-2.0
#include "core/job/coding.h"

#include "core/methods/method.h"
#include "core/model/transpose.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace bitlathe {

Result<SourceWeight> source_weight(const Module& module, Compute& compute, Feedback& feedback) {
  SourceWeight source;
  TRY_ASSIGN(WeightUse use, module.weight.use());
  if (!module.weight.scheme.quantized) {
    source.turned = ByRows(module.weight).release();
    source.view = (source.turned ? *source.turned : module.weight).floats();
    source.use = std::move(use);
    return source;
  }
  source.view.rows = module.weight.rows;
  source.view.cols = module.weight.cols;
  source.decoded.resize(std::size_t(module.weight.rows * module.weight.cols));
  TRY(compute.decode(module.weight.view(), 0, module.weight.rows, source.decoded, &feedback));
  source.view.data = std::as_bytes(std::span(source.decoded));
  return source;
}

Result<MethodOutput> convert(const FloatView& weight, const Scheme& scheme,
                             const std::string& where) {
  MethodOutput output;
  output.tensor.scheme = scheme;
  output.tensor.rows = weight.rows;
  output.tensor.cols = weight.cols;
  output.tensor.owned_codes.resize(scheme.family->bytes(scheme, weight.rows, weight.cols).codes);
  std::atomic<std::int64_t> overflowed = 0;
  const std::int64_t cols = weight.cols;
  const auto row_bytes = cols * std::int64_t(float_size(scheme.float_type));
  parallel_for(weight.rows, std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, cols)),
               [&](std::int64_t begin, std::int64_t end) {
                 const cpu::Kernels& kernels = active_cpu_kernels();
                 std::vector<float> values(static_cast<std::size_t>(cols)), back(values);
                 std::int64_t lost = 0;
                 for (std::int64_t row = begin; row < end; ++row) {
                   std::byte* out = output.tensor.owned_codes.data() + row * row_bytes;
                   kernels.to_f32(int(weight.type), weight.row(row), cols, values.data());
                   kernels.from_f32(int(scheme.float_type), values.data(), cols, out);
                   kernels.to_f32(int(scheme.float_type), out, cols, back.data());
                   for (std::int64_t c = 0; c < cols; ++c)
                     lost +=
                         std::isinf(back[std::size_t(c)]) && std::isfinite(values[std::size_t(c)]);
                 }
                 overflowed += lost;
               });
  if (overflowed > 0)
    return Error{"unsupported",
                 std::to_string(overflowed.load()) + " values are too large for " + scheme.id +
                     "; keep bf16 or f32",
                 where};
  output.tensor.own();
  return output;
}

ModuleResult planned_result(const PlannedModule& planned) {
  ModuleResult result;
  result.name = planned.name;
  result.scheme = planned.scheme.id;
  result.method = planned.method;
  result.reason = planned.reason;
  result.bytes = planned.bytes_after;
  result.quantized = planned.quantize;
  return result;
}

Result<void> measure(const FloatView& weight, const QTensor& stored, Compute& compute,
                     Feedback& feedback, ModuleResult& result) {
  TRY_ASSIGN(const ErrorSums error, compute.error(weight, stored.view(), &feedback));
  result.mse = error.mse();
  result.sqnr_db = error.sqnr_db();
  result.cosine = error.cosine();
  result.max_abs_error = error.max_abs_error;
  return {};
}

} // namespace bitlathe
