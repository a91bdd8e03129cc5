// SPDX-License-Identifier: Apache-2.0
// The job for calibrated methods: block after block, calibration text runs through the block, its
// linears are coded, and the next block sees what the coded ones make of it (or, on request, what
// the original ones did). One block's weights are in memory at a time.
#include "core/engine/block_runner.h"
#include "core/job/coding.h"
#include "core/job/input_statistics.h"
#include "core/job/stream.h"
#include "core/model/assemble.h"
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace bitlathe {

namespace {

using Clock = std::chrono::steady_clock;

/// f32 values as a weight.
QTensor f32_weight(std::int64_t rows, std::int64_t cols, std::vector<float> values) {
  QTensor out;
  out.scheme = float_scheme(FloatType::f32);
  out.rows = rows;
  out.cols = cols;
  auto kept = std::make_shared<std::vector<float>>(std::move(values));
  out.codes = std::as_bytes(std::span(*kept));
  out.keep_alive = kept;
  return out;
}

/// All of a checkpoint that running it needs, its tensors as views.
std::unique_ptr<Checkpoint> working_copy(const Checkpoint& source) {
  auto out = std::make_unique<Checkpoint>();
  out->path = source.path;
  out->spec = source.spec;
  out->why_not_runnable = source.why_not_runnable;
  for (const Module& module : source.modules)
    out->modules.push_back(view_of(module));
  return out;
}

class CalibratedRun {
 public:
  CalibratedRun(const Checkpoint& checkpoint, const Plan& plan, Compute& compute,
                const QuantizeOptions& options, ResultWriter& writer,
                std::vector<std::string>& notes, Feedback& feedback)
      : source_(checkpoint), plan_(plan), compute_(compute), options_(options), writer_(writer),
        notes_(notes), feedback_(feedback), working_(working_copy(checkpoint)),
        results_(plan.modules.size()), coded_(plan.modules.size()) {}

  Result<std::vector<ModuleResult>> run() {
    if (!options_.samples || options_.samples->empty())
      return Error{
          "bad-argument", "The recipe has methods that calibrate: they need calibration text", {}};
    for (std::size_t i = 0; i < results_.size(); ++i)
      results_[i] = planned_result(plan_.modules[i]);
    TRY_ASSIGN(runner_, BlockRunner::create(*working_, compute_));
    TRY(outside_blocks());
    TRY(start_stream());
    for (std::int64_t layer = 0; layer < source_.spec->layers; ++layer)
      TRY(block(layer));
    TRY(head());
    for (std::size_t i = 0; i < results_.size(); ++i)
      if (!told_[i])
        tell(i);
    return std::move(results_);
  }

 private:
  class Block;
  friend class Block;

  bool wanted(std::size_t index) const {
    return plan_.modules[index].quantize || plan_.modules[index].convert;
  }
  const Method* method_of(std::size_t index) const {
    const PlannedModule& planned = plan_.modules[index];
    return planned.quantize ? find_method(planned.method) : nullptr;
  }

  void tell(std::size_t index) {
    told_[index] = true;
    if (options_.on_module)
      options_.on_module(results_[index]);
  }

  /// Embeddings and whatever else belongs to no block, by methods that do not calibrate.
  Result<void> outside_blocks() {
    for (std::size_t i = 0; i < plan_.modules.size(); ++i) {
      const Module& module = source_.modules[i];
      if (!wanted(i) || module.part == "head" || (module.layer >= 0 && !module.part.empty()))
        continue;
      if (const Method* method = method_of(i); method && method->calibrated)
        return Error{"unsupported",
                     "The method " + std::string(method->id) +
                         " needs a module's inputs, and this one has none: choose rtn",
                     module.name};
      TRY_ASSIGN(const SourceWeight weight, source_weight(module, compute_, feedback_));
      TRY_ASSIGN(MethodOutput output, code(i, weight.view, nullptr));
      TRY(store(i, weight.view, std::move(output), nullptr, Clock::now()));
      working_->modules[i].weight = view_of(coded_[i]);
    }
    TRY_ASSIGN(runner_, BlockRunner::create(*working_, compute_)); // the embedding may be coded now
    return {};
  }

  Result<void> start_stream() {
    feedback_.set_step("calibration: embedding");
    std::vector<std::int64_t> tokens;
    for (const auto& sample : *options_.samples)
      tokens.push_back(std::int64_t(sample.size()));
    TRY_ASSIGN(stream_, Stream::create(tokens, source_.spec->hidden, options_.result_folder));
    for (std::int64_t s = 0; s < stream_.samples(); ++s)
      TRY(runner_->embed((*options_.samples)[std::size_t(s)], stream_.sample(s).data()));
    return {};
  }

  /// Runs all samples through the loaded block, in place when `keep`.
  Result<void> forward(bool keep, const ActivationTap& tap) {
    std::vector<float> x;
    for (std::int64_t s = 0; s < stream_.samples(); ++s) {
      if (feedback_.stopped())
        return cancelled_error();
      const auto sample = stream_.sample(s);
      float* values = sample.data();
      if (!keep) {
        x.assign(sample.begin(), sample.end());
        values = x.data();
      }
      TRY(runner_->run(values, stream_.tokens(s), tap, &feedback_));
    }
    return {};
  }

  Result<void> block(std::int64_t layer);
  Result<void> head();
  /// Input statistics of the linears that read `input` (empty: of all).
  Result<void> collect(Block& block, std::string_view input);
  Result<void> code_linears(Block& block, std::string_view input);
  /// The block as the source has it.
  void restore(std::int64_t layer);

  Result<MethodOutput> code(std::size_t index, const FloatView& weight,
                            const InputStatistics* inputs) {
    const PlannedModule& planned = plan_.modules[index];
    feedback_.set_step(planned.name);
    if (planned.convert)
      return convert(weight, planned.scheme, planned.name);
    const Method* method = find_method(planned.method);
    std::vector<float> importance;
    if (method->uses_importance && inputs && inputs->tokens > 0)
      for (std::int64_t c = 0; c < inputs->cols; ++c)
        importance.push_back(float(inputs->moment(c, c) / double(inputs->tokens)));
    auto output = method->quantize({.weight = weight,
                                    .scheme = planned.scheme,
                                    .params = planned.params,
                                    .observer = plan_.recipe.observer,
                                    .importance = importance,
                                    .compute = compute_,
                                    .feedback = feedback_,
                                    .where = planned.name,
                                    .part = source_.modules[index].part,
                                    .seed = plan_.recipe.seed,
                                    .inputs = inputs});
    if (output || output.error().where != planned.name)
      return output;
    Error error = output.error(); // name the file too
    error.where += " of " + source_.path.string();
    return error;
  }

  /// Measures and writes; the tensor stays in coded_ until the block is done.
  Result<void> store(std::size_t index, const FloatView& weight, MethodOutput output,
                     const InputStatistics* inputs, Clock::time_point start) {
    const PlannedModule& planned = plan_.modules[index];
    ModuleResult& result = results_[index];
    TRY(measure(weight, output.tensor, compute_, feedback_, result));
    if (inputs && planned.quantize) {
      std::vector<float> decoded(std::size_t(weight.rows * weight.cols));
      TRY(compute_.decode(output.tensor.view(), 0, weight.rows, decoded, &feedback_));
      assert(weight.type == FloatType::f32);
      const std::span original(reinterpret_cast<const float*>(weight.data.data()), decoded.size());
      for (std::size_t i = 0; i < decoded.size(); ++i)
        decoded[i] = original[i] - decoded[i];
      TRY_ASSIGN(const OutputNorm norm, OutputNorm::create(*inputs, compute_));
      TRY_ASSIGN(const double error, norm.of(decoded));
      TRY_ASSIGN(const double whole, norm.of(original));
      result.output_error = whole > 0 ? error / whole : 0;
    }
    notes_.insert(notes_.end(), output.notes.begin(), output.notes.end());
    result.notes = std::move(output.notes);
    if (output.weighted)
      result.reason += "; weighted by importance";
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    TRY(writer_.add(planned, output.tensor, result));
    coded_[index] = std::move(output.tensor);
    feedback_.advance(planned.bytes_before);
    tell(index);
    return {};
  }

  /// A weight that a method changed and that is not quantized keeps the type of its source.
  Result<void> store_changed(std::size_t index, const BlockWeight& changed);

  const Checkpoint& source_;
  const Plan& plan_;
  Compute& compute_;
  const QuantizeOptions& options_;
  ResultWriter& writer_;
  std::vector<std::string>& notes_;
  Feedback& feedback_;
  std::unique_ptr<Checkpoint> working_;
  std::unique_ptr<BlockRunner> runner_;
  Stream stream_;
  std::vector<ModuleResult> results_;
  std::vector<QTensor> coded_; ///< by index of the module; of the block being run
  std::vector<bool> told_ = std::vector<bool>(results_.size());
};

/// The block being coded, as methods see it.
class CalibratedRun::Block final : public CalibratedBlock {
 public:
  Block(CalibratedRun& run, int index) : run_(run) { layer = index; }

  /// Takes the modules of the block, in their order.
  Result<void> open() {
    const auto& modules = run_.source_.modules;
    for (std::size_t i = 0; i < modules.size(); ++i) {
      const Module& module = modules[i];
      if (module.layer != layer || module.part.empty() || (layer < 0 && module.part != "head") ||
          module.tied_to_embedding)
        continue;
      if (module.linear) {
        BlockLinear& linear = linears.emplace_back();
        linear.planned = &run_.plan_.modules[i];
        linear.method = run_.method_of(i);
        TRY(fill(linear, module));
        linear_index_.push_back(i);
      } else if (module.role == "norm") {
        TRY(fill(norms.emplace_back(), module));
        if (spec().norm_plus_one)
          for (float& w : norms.back().weight)
            w += 1.0f;
        norm_index_.push_back(i);
      }
    }
    return {};
  }

  std::size_t index_of(const BlockLinear& linear) const {
    return linear_index_[std::size_t(&linear - linears.data())];
  }
  std::size_t index_of_norm(std::size_t i) const { return norm_index_[i]; }

  const ModelSpec& spec() const override { return *run_.source_.spec; }
  Compute& compute() override { return run_.compute_; }
  Feedback& feedback() override { return run_.feedback_; }
  const Recipe& recipe() const override { return run_.plan_.recipe; }
  std::int64_t samples() const override { return run_.stream_.samples(); }
  Result<std::span<const float>> input(std::int64_t sample) override {
    return std::span<const float>(run_.stream_.sample(sample));
  }
  Result<std::span<const float>> target(std::int64_t sample) override {
    const auto x = run_.stream_.sample(sample);
    target_.assign(x.begin(), x.end());
    TRY(run_.runner_->run(target_.data(), run_.stream_.tokens(sample), {}, &run_.feedback_));
    return std::span<const float>(target_);
  }

 private:
  Result<void> fill(BlockWeight& out, const Module& module) {
    out.module = &module;
    TRY_ASSIGN(out.weight, floats_of(module.weight));
    if (module.bias.rows > 0) {
      TRY_ASSIGN(out.bias, floats_of(module.bias));
    }
    return {};
  }
  Result<std::vector<float>> floats_of(const QTensor& tensor) {
    TRY_ASSIGN(const WeightUse use, tensor.use());
    std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
    const ByRows by_rows(tensor);
    TRY(run_.compute_.decode(by_rows->view(), 0, tensor.rows, out, &run_.feedback_));
    return out;
  }

  CalibratedRun& run_;
  std::vector<std::size_t> linear_index_, norm_index_; ///< in the checkpoint
  std::vector<float> target_;
};

/// Codes the linears of a block that read an input (empty: all) and puts them into the model.
Result<void> CalibratedRun::code_linears(Block& block, std::string_view input) {
  for (BlockLinear& linear : block.linears) {
    if (!input.empty() && input_of(linear.module->part) != input)
      continue;
    if (feedback_.stopped())
      return cancelled_error();
    const std::size_t index = block.index_of(linear);
    const Module& module = *linear.module;
    const auto start = Clock::now();
    const FloatView weight{FloatType::f32, module.weight.rows, module.weight.cols,
                           std::as_bytes(std::span(linear.weight))};
    if (wanted(index)) {
      if (!linear.output) {
        TRY_ASSIGN(linear.output, code(index, weight, linear.inputs.get()));
      }
      TRY(store(index, weight, std::move(*linear.output), linear.inputs.get(), start));
      working_->modules[index].weight = view_of(coded_[index]);
    }
    if (linear.changed)
      TRY(store_changed(index, linear));
    linear.weight = {};
  }
  return {};
}

Result<void> CalibratedRun::store_changed(std::size_t index, const BlockWeight& changed) {
  const Module& module = source_.modules[index];
  const PlannedModule& planned = plan_.modules[index];
  const auto in_source_type = [&](const QTensor& like,
                                  std::vector<float> values) -> Result<MethodOutput> {
    const Scheme scheme = like.scheme.quantized ? float_scheme(FloatType::f16) : like.scheme;
    const QTensor plain = f32_weight(like.rows, like.cols, std::move(values));
    return convert(plain.floats(), scheme, module.name);
  };
  if (!wanted(index)) {
    std::vector<float> values = changed.weight;
    if (module.role == "norm" && source_.spec->norm_plus_one)
      for (float& w : values)
        w -= 1.0f;
    TRY_ASSIGN(MethodOutput output, in_source_type(module.weight, std::move(values)));
    PlannedModule kept = planned;
    kept.scheme = output.tensor.scheme;
    TRY(writer_.add(kept, output.tensor, results_[index]));
    coded_[index] = std::move(output.tensor);
    working_->modules[index].weight = view_of(coded_[index]);
    results_[index].reason += "; scaled with its neighbours";
  }
  if (!changed.bias.empty()) {
    TRY_ASSIGN(MethodOutput output, in_source_type(module.bias, changed.bias));
    TRY(writer_.add_bias(planned.name, output.tensor));
    working_->modules[index].bias = std::move(output.tensor);
  }
  return {};
}

Result<void> CalibratedRun::block(std::int64_t layer) {
  Block block(*this, int(layer));
  TRY(block.open());
  std::vector<const Method*> preparing;
  std::vector<std::string_view> inputs; // in the order in which the block reads them
  for (const BlockLinear& linear : block.linears) {
    const std::string_view input = input_of(linear.module->part);
    if (std::find(inputs.begin(), inputs.end(), input) == inputs.end())
      inputs.push_back(input);
    if (linear.method && linear.method->prepare &&
        std::find(preparing.begin(), preparing.end(), linear.method) == preparing.end())
      preparing.push_back(linear.method);
  }
  const bool quantized_inputs = plan_.recipe.calibration_inputs == "quantized";
  if (quantized_inputs && preparing.empty()) {
    // Within the block, too, each linear sees what the coded ones before it make of the text.
    for (const std::string_view input : inputs) {
      TRY(collect(block, input));
      TRY(code_linears(block, input));
    }
  } else {
    TRY(collect(block, {}));
    for (const Method* method : preparing)
      TRY(method->prepare(block));
    for (std::size_t i = 0; i < block.norms.size(); ++i)
      if (block.norms[i].changed)
        TRY(store_changed(block.index_of_norm(i), block.norms[i]));
    TRY(code_linears(block, {}));
  }
  if (!quantized_inputs)
    restore(layer);
  feedback_.set_step("calibration: outputs of block " + std::to_string(layer + 1));
  TRY(runner_->load(layer));
  TRY(forward(true, {}));
  restore(layer);
  return {};
}

Result<void> CalibratedRun::collect(Block& block, std::string_view input) {
  InputCollector collector(compute_, feedback_);
  bool any = false;
  for (const BlockLinear& linear : block.linears)
    if (linear.method && (input.empty() || input_of(linear.module->part) == input)) {
      collector.want(linear.module->part, linear.module->weight.cols);
      any = true;
    }
  if (!any)
    return {};
  feedback_.set_step("calibration: block " + std::to_string(block.layer + 1) + " of " +
                     std::to_string(source_.spec->layers));
  TRY(runner_->load(block.layer));
  TRY(forward(false, [&](const Module& module, const float* x, std::int64_t tokens) {
    collector.add(module, x, tokens);
  }));
  TRY(collector.outcome());
  for (BlockLinear& linear : block.linears)
    if (collector.wants(linear.module->part))
      linear.inputs = collector.take(linear.module->part);
  return {};
}

void CalibratedRun::restore(std::int64_t layer) {
  for (std::size_t i = 0; i < source_.modules.size(); ++i)
    if (source_.modules[i].layer == layer && !source_.modules[i].part.empty()) {
      working_->modules[i].weight = view_of(source_.modules[i].weight);
      working_->modules[i].bias = view_of(source_.modules[i].bias);
      coded_[i] = {};
    }
}

Result<void> CalibratedRun::head() {
  Block block(*this, -1);
  TRY(block.open());
  if (block.linears.empty() || !wanted(block.index_of(block.linears[0])))
    return {};
  BlockLinear& linear = block.linears[0];
  if (linear.method) {
    feedback_.set_step("calibration: head");
    InputCollector collector(compute_, feedback_);
    collector.want(linear.module->part, linear.module->weight.cols);
    std::vector<float> h;
    for (std::int64_t s = 0; s < stream_.samples(); ++s) {
      if (feedback_.stopped())
        return cancelled_error();
      const auto x = stream_.sample(s);
      h.resize(x.size());
      runner_->normalize(x.data(), stream_.tokens(s), h.data());
      collector.add(*linear.module, h.data(), stream_.tokens(s));
    }
    TRY(collector.outcome());
    linear.inputs = collector.take(linear.module->part);
    if (linear.method->prepare)
      TRY(linear.method->prepare(block));
  }
  return code_linears(block, {});
}

} // namespace

Result<std::vector<ModuleResult>> run_calibrated(const Checkpoint& checkpoint, const Plan& plan,
                                                 Compute& compute, const QuantizeOptions& options,
                                                 ResultWriter& writer,
                                                 std::vector<std::string>& notes,
                                                 Feedback& feedback) {
  return CalibratedRun(checkpoint, plan, compute, options, writer, notes, feedback).run();
}

} // namespace bitlathe
