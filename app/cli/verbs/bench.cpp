// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/engine/engine.h"
#include "kernels/bench.h"

#include <ostream>

namespace bitlathe {

namespace {

/// Prompt processing and generation on a model, with fixed ids so that no tokenizer is needed.
Result<OrderedJson> bench_model(const std::string& path, Compute& compute, Feedback& feedback) {
  TRY_ASSIGN(const auto model, open_model(path));
  TRY_ASSIGN(const auto engine, Engine::create(model, compute));
  GenerateOptions options;
  for (std::int32_t i = 0; i < 256; ++i)
    options.prompt.push_back(std::int32_t((i * 37 + 11) % engine->spec().vocab));
  options.max_new = 64;
  options.stop_at_eos = false;
  TRY(generate(*engine, options, feedback)); // the first run pages the weights in
  TRY_ASSIGN(const GenerateResult timed, generate(*engine, options, feedback));
  const double tokens_per_second = double(timed.tokens.size()) / timed.seconds;
  return OrderedJson{
      {"path", path},
      {"prompt_tokens_per_second", double(timed.prompt.size()) / timed.prompt_seconds},
      {"tokens_per_second", tokens_per_second},
      {"weight_gb_per_s", tokens_per_second * double(model->bytes()) / 1e9}};
}

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(Compute * compute, invocation.compute());
  const MachineSpeed machine = measure_machine();
  TRY_ASSIGN(const auto kernels, bench_kernels(*compute, machine, invocation.text("kernel"), 0.2,
                                               &invocation.feedback));
  OrderedJson json;
  json["machine"] = {{"threads", machine.threads},
                     {"memory_gb_per_s", machine.memory_gb_per_s},
                     {"gflops", machine.gflops},
                     {"int8_gops", machine.int8_gops}};
  json["kernels"] = OrderedJson::array();
  for (const KernelSpeed& k : kernels)
    json["kernels"].push_back({{"name", k.name},
                               {"backend", k.backend},
                               {"gb_per_s", k.gb_per_s},
                               {"gflops", k.gflops},
                               {"fraction_of_peak", k.fraction_of_peak}});
  if (!invocation.arguments.empty()) {
    TRY_ASSIGN(json["model"], bench_model(invocation.arguments[0], *compute, invocation.feedback));
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  const auto& machine = json["machine"];
  out << machine["threads"] << " threads: memory "
      << show_number(machine["memory_gb_per_s"].get<double>(), 3) << " GB/s, "
      << show_number(machine["gflops"].get<double>(), 4) << " GFLOP/s, int8 "
      << show_number(machine["int8_gops"].get<double>(), 4) << " GOP/s\n\n";
  TextTable table({"KERNEL", "BACKEND", "GB/s", "GFLOP/s", "OF PEAK"});
  for (const auto& k : json["kernels"])
    table.add({k["name"].get<std::string>(), k["backend"].get<std::string>(),
               show_number(k["gb_per_s"].get<double>(), 3),
               show_number(k["gflops"].get<double>(), 4),
               show_number(100 * k["fraction_of_peak"].get<double>(), 3) + " %"});
  table.print(out);
  if (json.contains("model"))
    out << "\nprompt " << show_number(json["model"]["prompt_tokens_per_second"].get<double>(), 4)
        << " tok/s, generation " << show_number(json["model"]["tokens_per_second"].get<double>(), 4)
        << " tok/s (" << show_number(json["model"]["weight_gb_per_s"].get<double>(), 3)
        << " GB/s of weights)\n";
}

constexpr VerbOption options[] = {
    {"kernel", "NAME", "Only this kernel."},
};

} // namespace

extern const Verb verb_bench;
const Verb verb_bench{
    "bench", "[MODEL]", "Speed of kernels and of a model beside the machine's own.", 0, 1, options,
    run,     show};

} // namespace bitlathe
