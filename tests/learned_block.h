// SPDX-License-Identifier: GPL-3.0-or-later
// A block with everything that calibrated methods ask for, made from a checkpoint and samples of
// the residual stream that enters it.
#pragma once

#include "core/methods/block.h"
#include "core/train/block.h"
#include "tests/support.h"

#include <QTest>

namespace bitlathe::test {

class TestBlock final : public CalibratedBlock {
 public:
  using Samples = std::vector<std::vector<float>>;

  TestBlock(const Checkpoint& checkpoint, const Plan& plan, int index, Samples inputs,
            Compute& compute)
      : checkpoint_(checkpoint), plan_(plan), compute_(compute), inputs_(std::move(inputs)) {
    layer = index;
    auto parameters = read_block(checkpoint, index);
    auto original = parameters ? DecoderBlock::create(*checkpoint.spec, index, *parameters)
                               : Result<DecoderBlock>(parameters.error());
    if (!original) {
      QTest::qFail(original.error().text().c_str(), __FILE__, __LINE__);
      return;
    }
    std::map<std::string, std::shared_ptr<InputStatistics>> found; // by what is read
    BlockTape tape;
    for (const auto& x : inputs_) {
      const auto tokens = std::int64_t(x.size()) / checkpoint.spec->hidden;
      if (!original->forward(x, std::vector{tokens}, tape))
        QTest::qFail("the block cannot be run", __FILE__, __LINE__);
      targets_.push_back(tape.out);
      for (const auto& [part, p] : *parameters) {
        const std::string read = source_of(part);
        if (p.rows == 1 || read != part)
          continue;
        auto& s = found[part];
        if (!s) {
          s = std::make_shared<InputStatistics>();
          s->cols = p.cols;
          s->moments.resize(std::size_t(p.cols * p.cols));
          s->absmax.resize(std::size_t(p.cols));
          s->abs_sum.resize(std::size_t(p.cols));
        }
        s->tokens += tokens;
        if (!compute.second_moments(DecoderBlock::input_of(tape, part).data(), tokens, p.cols,
                                    s->moments))
          QTest::qFail("no moments", __FILE__, __LINE__);
      }
    }
    for (std::size_t i = 0; i < checkpoint.modules.size(); ++i) {
      const Module& module = checkpoint.modules[i];
      if (module.layer != index || module.part.empty())
        continue;
      Parameter& p = parameters->at(module.part);
      if (!module.linear) {
        norms.push_back({&module, std::move(p.weight), std::move(p.bias)});
        continue;
      }
      BlockLinear linear;
      linear.module = &module;
      linear.weight = std::move(p.weight);
      linear.bias = std::move(p.bias);
      linear.planned = &plan.modules[i];
      linear.method = plan.modules[i].quantize ? find_method(plan.modules[i].method) : nullptr;
      linear.inputs = found.at(source_of(module.part));
      linears.push_back(std::move(linear));
    }
  }

  Feedback own_feedback;

  const ModelSpec& spec() const override { return *checkpoint_.spec; }
  Compute& compute() override { return compute_; }
  Feedback& feedback() override { return own_feedback; }
  const Recipe& recipe() const override { return plan_.recipe; }
  std::int64_t samples() const override { return std::int64_t(inputs_.size()); }
  Result<std::span<const float>> input(std::int64_t i) override {
    return std::span<const float>(inputs_[std::size_t(i)]);
  }
  Result<std::span<const float>> target(std::int64_t i) override {
    return std::span<const float>(targets_[std::size_t(i)]);
  }

  /// All linears coded: what `prepare` left, else each by its method.
  Result<void> code() {
    for (const BlockLinear& linear : linears)
      if (linear.method && linear.method->prepare) {
        TRY(linear.method->prepare(*this));
        break;
      }
    for (BlockLinear& linear : linears) {
      if (!linear.method || linear.output)
        continue;
      const FloatView view{FloatType::f32, linear.module->weight.rows, linear.module->weight.cols,
                           std::as_bytes(std::span(linear.weight))};
      TRY_ASSIGN(linear.output, linear.method->quantize({.weight = view,
                                                         .scheme = linear.planned->scheme,
                                                         .params = linear.planned->params,
                                                         .observer = recipe().observer,
                                                         .importance = {},
                                                         .compute = compute_,
                                                         .feedback = own_feedback,
                                                         .where = linear.module->name,
                                                         .seed = recipe().seed,
                                                         .inputs = linear.inputs.get()}));
    }
    return {};
  }
  std::vector<float> coded(const BlockLinear& linear) {
    const QTensor& t = linear.output->tensor;
    std::vector<float> out(std::size_t(t.rows * t.cols));
    if (!compute_.decode(t.view(), 0, t.rows, out))
      QTest::qFail("the codes cannot be decoded", __FILE__, __LINE__);
    return out;
  }
  /// The block with the codes that were made.
  Result<DecoderBlock> coded_block() {
    TRY_ASSIGN(auto parameters, read_block(checkpoint_, layer));
    for (const BlockLinear& linear : linears)
      if (linear.output)
        parameters.at(linear.module->part).weight = coded(linear);
    return DecoderBlock::create(spec(), layer, std::move(parameters));
  }
  /// Mean squared error of what the block puts out.
  double block_error() {
    auto block = coded_block();
    if (!block)
      return INFINITY;
    double sum = 0, count = 0;
    BlockTape tape;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const auto tokens = std::int64_t(inputs_[i].size()) / spec().hidden;
      if (!block->forward(inputs_[i], std::vector{tokens}, tape))
        return INFINITY;
      for (std::size_t j = 0; j < tape.out.size(); ++j, ++count)
        sum += std::pow(double(tape.out[j]) - double(targets_[i][j]), 2);
    }
    return sum / count;
  }

 private:
  /// The first of the parts that read the same.
  static std::string source_of(const std::string& part) {
    return part == "k" || part == "v" ? "q" : part;
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  Compute& compute_;
  Samples inputs_, targets_;
};

} // namespace bitlathe::test
