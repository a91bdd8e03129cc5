// SPDX-License-Identifier: Apache-2.0
#include "core/export/phantom.h"

#include "core/io/posix.h"
#include "core/methods/method.h"
#include "core/model/assemble.h"
#include "core/schemes/activations.h"
#include "kernels/nn/kv.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <numeric>
#include <sys/mman.h>

namespace bitlathe {

namespace {

/// Pages that nobody writes to are all the same page of zeros.
class Zeros {
 public:
  static Result<std::shared_ptr<const Zeros>> map(std::uint64_t size) {
    void* base = nullptr;
    if (size > 0) {
      base = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (base == MAP_FAILED)
        return errno_error("reserve addresses", {}, errno);
    }
    return std::shared_ptr<const Zeros>(new Zeros(static_cast<const std::byte*>(base), size));
  }
  Zeros(const Zeros&) = delete;
  Zeros& operator=(const Zeros&) = delete;
  ~Zeros() {
    if (base_)
      munmap(const_cast<std::byte*>(base_), size_);
  }
  std::span<const std::byte> first(std::uint64_t bytes) const { return {base_, bytes}; }

 private:
  Zeros(const std::byte* base, std::uint64_t size) : base_(base), size_(size) {}
  const std::byte* base_;
  std::uint64_t size_;
};

SchemeFamily::Bytes bytes_of(const PlannedModule& planned) {
  return planned.scheme.family->bytes(planned.scheme, planned.rows, planned.cols);
}

bool anew(const PlannedModule& planned) {
  return (planned.quantize || planned.convert) && planned.scheme.family;
}

QTensor empty_tensor(const PlannedModule& planned, const std::shared_ptr<const Zeros>& zeros) {
  const auto bytes = bytes_of(planned);
  QTensor out;
  out.scheme = planned.scheme;
  out.rows = planned.rows;
  out.cols = planned.cols;
  out.codes = zeros->first(bytes.codes);
  out.scales = zeros->first(bytes.scales);
  out.zeros = zeros->first(bytes.zeros);
  out.nested = zeros->first(bytes.nested);
  out.keep_alive = zeros;
  if (planned.reordered) {
    std::vector<std::int32_t> order(std::size_t(planned.cols));
    std::iota(order.begin(), order.end(), 0);
    out.column_order = std::make_shared<const std::vector<std::int32_t>>(std::move(order));
  }
  return out;
}

/// What a run of the plan records of the inputs: the value is not known yet, only that there is
/// one.
void set_activations(const PlannedModule& planned, Module& module) {
  module.activations = planned.activations;
  const ActivationScheme* scheme = find_activation_scheme(planned.activations);
  if (scheme && scheme->is_static)
    module.activation_scale = 1;
  if (planned.activations == "llm-int8") {
    const Method* method = find_method(planned.method);
    module.outlier_threshold = method && method->id == "llm-int8"
                                   ? float(method_param(*method, planned.params, "threshold"))
                                   : standard_outlier_threshold;
  }
}

} // namespace

Result<std::shared_ptr<const Checkpoint>> phantom_checkpoint(const Checkpoint& model,
                                                             const Plan& plan) {
  assert(plan.modules.size() == model.modules.size());
  std::uint64_t largest = 0;
  for (const PlannedModule& planned : plan.modules)
    if (anew(planned)) {
      const auto bytes = bytes_of(planned);
      largest = std::max({largest, bytes.codes, bytes.scales, bytes.zeros, bytes.nested});
    }
  TRY_ASSIGN(const auto zeros, Zeros::map(largest));

  auto out = std::make_shared<Checkpoint>();
  out->path = model.path;
  out->name = model.name;
  out->format = "result";
  out->architecture = model.architecture;
  out->config = model.config;
  out->gguf = model.gguf;
  out->others = model.others;
  out->spec = model.spec;
  out->why_not_runnable = model.why_not_runnable;
  out->tokenizer_problem = model.tokenizer_problem;
  out->tokenizer = model.tokenizer;
  out->side_files = model.side_files;
  out->kv_keys = plan.recipe.kv_keys;
  out->kv_values = plan.recipe.kv_values;
  out->kv_scales = model.kv_scales;
  if ((kv_is_static(out->kv_keys) || kv_is_static(out->kv_values)) && model.spec)
    out->kv_scales.assign(std::size_t(model.spec->layers), {1.0f, 1.0f});

  const Module* embedding = nullptr;
  for (std::size_t i = 0; i < model.modules.size(); ++i) {
    const Module& source = model.modules[i];
    const PlannedModule& planned = plan.modules[i];
    Module module = view_of(source);
    module.activations = source.activations;
    module.activation_scale = source.activation_scale;
    module.outlier_threshold = source.outlier_threshold;
    if (anew(planned) && !source.tied_to_embedding) {
      module.weight = empty_tensor(planned, zeros);
      set_activations(planned, module);
    }
    out->modules.push_back(std::move(module));
  }
  for (const Module& module : out->modules)
    if (module.part == "embedding")
      embedding = &module;
  for (Module& head : out->modules)
    if (head.tied_to_embedding && embedding)
      head.weight = view_of(embedding->weight);
  return std::shared_ptr<const Checkpoint>(std::move(out));
}

} // namespace bitlathe
