// SPDX-License-Identifier: Apache-2.0
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "core/train/block.h"
#include "kernels/base/parallel.h"

#include <algorithm>

namespace bitlathe {

namespace {

Result<std::vector<float>> decoded(const QTensor& stored) {
  TRY_ASSIGN(const WeightUse use, stored.use());
  const ByRows tensor(stored);
  std::vector<float> values(std::size_t(tensor->rows * tensor->cols));
  const MatrixView view = tensor->view();
  parallel_for(view.rows, std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, view.cols)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row)
                   view.layout->decode(view, row, 0, view.cols, values.data() + row * view.cols);
               });
  return values;
}

bool is_norm(std::string_view part) {
  return part.size() > 5 && part.substr(part.size() - 5) == "_norm";
}

} // namespace

Result<BlockParameters> read_block(const Checkpoint& checkpoint, int layer) {
  BlockParameters out;
  for (const Module& module : checkpoint.modules) {
    if (module.layer != layer || module.part.empty() || module.weight.rows <= 0)
      continue;
    if (!module.weight.scheme.family || (module.bias.rows > 0 && !module.bias.scheme.family))
      return Error{"unsupported",
                   "The values of " + module.name + " are stored as " + module.weight.scheme.id +
                       ", which cannot be decoded",
                   checkpoint.path.string()};
    Parameter parameter;
    parameter.rows = module.weight.rows;
    parameter.cols = module.weight.cols;
    TRY_ASSIGN(parameter.weight, decoded(module.weight));
    if (module.bias.rows > 0) {
      TRY_ASSIGN(parameter.bias, decoded(module.bias));
    }
    if (checkpoint.spec && checkpoint.spec->norm_plus_one && is_norm(module.part))
      for (float& w : parameter.weight)
        w += 1.0f;
    out.emplace(module.part, std::move(parameter));
  }
  return out;
}

Parameter zeros_like(const Parameter& parameter) {
  return {parameter.rows, parameter.cols, std::vector<float>(parameter.weight.size()),
          std::vector<float>(parameter.bias.size())};
}

} // namespace bitlathe
