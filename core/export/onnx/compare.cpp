// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/check.h"
#include "core/export/tensors.h"
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <mutex>

namespace bitlathe {

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// The value as it reads after being stored in a type of ONNX.
float rounded(float value, std::int32_t type) {
  if (type == onnx::TensorProto::FLOAT)
    return value;
  const FloatType to = type == onnx::TensorProto::FLOAT16 ? FloatType::f16 : FloatType::bf16;
  std::byte stored[4];
  store_float(to, stored, 0, value);
  return load_float(to, stored, 0);
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

struct Sums {
  double squares = 0, errors = 0;
  float largest = 0;
  std::int64_t different = 0;
  void add(const Sums& other) {
    squares += other.squares;
    errors += other.errors;
    largest = std::max(largest, other.largest);
    different += other.different;
  }
};

/// All rows, some at a time; sums are added in the order of the rows.
Result<Sums> compare_rows(const QTensor& stored, const OnnxMatrix& matrix, Feedback& feedback) {
  TRY_ASSIGN(const WeightUse use, stored.use());
  const ByRows by_rows(stored);
  const MatrixView view = by_rows->view();
  constexpr std::int64_t together = 32;
  const std::int64_t pieces = (matrix.rows + together - 1) / together, cols = matrix.cols;
  std::vector<Sums> sums(static_cast<std::size_t>(pieces));
  const bool whole = parallel_for(
      pieces, 1,
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> want(static_cast<std::size_t>(cols)),
            got(static_cast<std::size_t>(cols * together));
        for (std::int64_t piece = begin; piece < end; ++piece) {
          const std::int64_t first = piece * together;
          const std::int64_t count = std::min(together, matrix.rows - first);
          matrix.decode(first, count, got.data());
          Sums& out = sums[std::size_t(piece)];
          for (std::int64_t row = 0; row < count; ++row) {
            view.layout->decode(view, first + row, 0, cols, want.data());
            for (std::int64_t col = 0; col < cols; ++col) {
              const float a = want[std::size_t(col)];
              const float b = got[std::size_t(row * cols + col)];
              const float error = std::fabs(a - b);
              out.squares += double(a) * a;
              out.errors += double(error) * error;
              out.largest = std::max(out.largest, error);
              out.different += !same(matrix.floats ? rounded(a, matrix.type) : a, b);
            }
          }
        }
      },
      &feedback);
  if (!whole)
    return cancelled_error();
  Sums total;
  for (const Sums& some : sums)
    total.add(some);
  return total;
}

class Comparison {
 public:
  Comparison(const OnnxModel& model, const Checkpoint& against, Feedback& feedback,
             VerifyReport& report)
      : model_(model), against_(against), nodes_(model), feedback_(feedback), report_(report) {}

  Result<void> run() {
    for (const Module& module : against_.modules) {
      if (feedback_.stopped())
        return cancelled_error();
      feedback_.set_step("Comparing " + module.name);
      if (!module.tied_to_embedding && module.weight.scheme.family && module.weight.rows > 0)
        TRY(compare(module));
      if (module.bias.rows > 0)
        TRY(compare_vector(module.name + ".bias", module.hf_name() + ".bias", module.bias));
      feedback_.advance(module.bytes());
    }
    finish();
    return {};
  }

 private:
  Result<void> compare(const Module& module) {
    if (module.shape.size() < 2)
      return compare_vector(module.name, module.hf_name() + ".weight", module.weight);
    const auto found = matrix_of(module);
    if (!found) {
      (found.error().code == "not-found" ? missing_ : wrong_).push_back(found.error().message);
      return {};
    }
    const bool in_form = module.weight.scheme.quantized; // not the source of what was exported
    if (in_form && found->inputs != module.activations)
      wrong_.push_back(module.name + " has inputs of the scheme " + found->inputs + " instead of " +
                       module.activations);
    else if (in_form && module.activations == "int8-tensor-static" &&
             found->input_scale != module.activation_scale)
      wrong_.push_back(module.name + ": the scale of its inputs is " +
                       number(double(found->input_scale)) + " instead of " +
                       number(double(module.activation_scale)));
    return judge(module.name, module.weight, *found);
  }

  Result<OnnxMatrix> matrix_of(const Module& module) const {
    const QTensor& weight = module.weight;
    const auto fits = [&](const OnnxMatrix& matrix) {
      return matrix.rows == weight.rows && matrix.cols == weight.cols;
    };
    std::string why;
    for (const auto* node : nodes_.of_module(module.hf_name())) {
      auto matrix = onnx_matrix(nodes_, *node);
      if (matrix && fits(*matrix))
        return matrix;
      if (!matrix && matrix.error().code == "bad-file")
        why = matrix.error().message;
    }
    if (auto table = onnx_block_table(model_, module.hf_name(), weight.cols); table && fits(*table))
      return table;
    return Error{
        why.empty() ? "not-found" : "bad-file", module.name + (why.empty() ? "" : ": " + why), {}};
  }

  Result<void> compare_vector(const std::string& name, const std::string& stored_name,
                              const QTensor& weight) {
    const OnnxTensor* tensor = model_.find(stored_name);
    if (!tensor || !tensor->problem.empty() || !is_onnx_float(*tensor) ||
        tensor->count() != weight.cols) {
      if (tensor)
        wrong_.push_back(name + " is stored in another shape or as no floats");
      else
        missing_.push_back(name);
      return {};
    }
    OnnxMatrix matrix;
    matrix.rows = 1;
    matrix.cols = weight.cols;
    matrix.floats = true;
    matrix.type = tensor->type;
    matrix.decode = [tensor](std::int64_t, std::int64_t, float* out) {
      for (std::int64_t i = 0; i < tensor->count(); ++i)
        out[i] = onnx_float(*tensor, i);
    };
    return judge(name, weight, matrix);
  }

  Result<void> judge(const std::string& name, const QTensor& weight, const OnnxMatrix& matrix) {
    TRY_ASSIGN(const Sums sums, compare_rows(weight, matrix, feedback_));
    ++compared_;
    const double values = double(weight.rows) * double(weight.cols);
    const double snr = sums.errors > 0 ? 10 * std::log10(sums.squares / sums.errors) : INFINITY;
    report_.worst.push_back({name, sums.errors / values, snr, sums.largest});
    const bool exact = weight.scheme.quantized || matrix.floats;
    exact_ += exact;
    if (exact && sums.different > 0)
      wrong_.push_back(name + ": " + std::to_string(sums.different) + " of " +
                       std::to_string(std::int64_t(values)) + " values differ");
    else if (!exact && !(sums.errors <= 1.05 * sums.squares + 1e-30))
      wrong_.push_back(name + " is farther from the reference than zeros");
    return {};
  }

  void finish() {
    report_.checks.push_back({"same modules", missing_.empty(),
                              missing_.empty() ? "all weights of the reference"
                                               : "not found under the names that exporters use: " +
                                                     name_list(missing_)});
    std::sort(report_.worst.begin(), report_.worst.end(),
              [](const VerifyWorst& a, const VerifyWorst& b) {
                return a.sqnr_db != b.sqnr_db ? a.sqnr_db < b.sqnr_db : a.module < b.module;
              });
    std::string good = std::to_string(compared_) + " weights compared, " + std::to_string(exact_) +
                       " of them exactly equal";
    if (exact_ < compared_)
      good += "; least signal-to-noise ratio " + number(report_.worst.front().sqnr_db) + " dB (" +
              report_.worst.front().module + ")";
    if (report_.worst.size() > 10)
      report_.worst.resize(10);
    report_.checks.push_back(
        {"values", wrong_.empty(), wrong_.empty() ? good : name_list(wrong_, 5)});
  }

  const OnnxModel& model_;
  const Checkpoint& against_;
  const OnnxNodes nodes_;
  Feedback& feedback_;
  VerifyReport& report_;
  std::vector<std::string> missing_, wrong_;
  std::size_t compared_ = 0, exact_ = 0;
};

} // namespace

Result<void> compare_onnx(const OnnxModel& model, const Checkpoint& against, Feedback& feedback,
                          VerifyReport& report) {
  return Comparison(model, against, feedback, report).run();
}

Result<VerifyCheck> check_onnx_finite(const OnnxModel& model, Feedback& feedback) {
  std::vector<std::string> broken;
  std::uint64_t values = 0;
  for (const auto& tensor : model.initializers) {
    if (!is_onnx_float(tensor) || !tensor.problem.empty())
      continue;
    constexpr std::int64_t piece = 1 << 16;
    std::atomic<std::int64_t> bad{0};
    const bool whole = parallel_for((tensor.count() + piece - 1) / piece, 1,
                                    [&](std::int64_t begin, std::int64_t end) {
                                      std::int64_t here = 0;
                                      for (std::int64_t i = begin * piece;
                                           i < std::min(end * piece, tensor.count()); ++i)
                                        here += !std::isfinite(onnx_float(tensor, i));
                                      bad += here;
                                    },
                                    &feedback);
    if (!whole)
      return cancelled_error();
    values += std::uint64_t(tensor.count());
    if (bad > 0)
      broken.push_back(tensor.name + " has " + std::to_string(bad) + " values that are no numbers");
  }
  return VerifyCheck{"finite", broken.empty(),
                     broken.empty() ? std::to_string(values) + " values and scales are finite"
                                    : name_list(broken, 5)};
}

} // namespace bitlathe
