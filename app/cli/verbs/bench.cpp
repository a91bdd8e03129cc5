// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/eval/speed.h"
#include "kernels/bench.h"

#include <algorithm>
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

/// "128,512" as numbers.
Result<std::vector<std::int64_t>> numbers(const Invocation& invocation, std::string_view option,
                                          std::vector<std::int64_t> otherwise) {
  if (!invocation.has(option))
    return otherwise;
  std::vector<std::int64_t> out;
  const std::string text = invocation.text(option);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    if (part.empty() || part.size() > 9 || part.find_first_not_of("0123456789") != part.npos)
      return usage_error("--" + std::string(option) +
                         " takes numbers with commas between them, not " + text);
    out.push_back(std::stoll(part));
    begin = end + 1;
  }
  return out;
}

Result<OrderedJson> speed_of_models(Invocation& invocation, Compute& compute) {
  SpeedOptions options;
  TRY_ASSIGN(options.contexts, numbers(invocation, "contexts", options.contexts));
  TRY_ASSIGN(options.batches, numbers(invocation, "batches", options.batches));
  TRY_ASSIGN(options.repeat, invocation.integer("repeat", options.repeat, 1));
  TRY_ASSIGN(options.new_tokens, invocation.integer("max-new", options.new_tokens, 0));
  // Who names lengths or numbers wants them, however long it takes.
  const bool named = invocation.has("contexts") || invocation.has("batches");
  TRY_ASSIGN(options.seconds_per_point,
             invocation.number("limit", named ? 0 : options.seconds_per_point, 0));
  std::vector<SpeedModel> models;
  for (const std::string& path : invocation.arguments) {
    TRY_ASSIGN(auto model, open_model(path));
    models.push_back({path, std::move(model)});
  }
  TRY_ASSIGN(const SpeedReport report,
             measure_speed(models, compute, options, invocation.feedback));
  return speed_to_json(report);
}

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(Compute * compute, invocation.compute());
  if (invocation.has("no-kernels") && invocation.arguments.empty())
    return usage_error("--no-kernels leaves nothing to measure without a MODEL");
  const MachineSpeed machine = measure_machine();
  std::vector<KernelSpeed> kernels;
  if (!invocation.has("no-kernels")) {
    TRY_ASSIGN(kernels, bench_kernels(*compute, machine, invocation.text("kernel"), 0.2,
                                      &invocation.feedback));
  }
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
    TRY_ASSIGN(const OrderedJson speed, speed_of_models(invocation, *compute));
    json["speed"] = speed["models"];
    json["other_programs"] = speed["other_programs"];
  }
  return json;
}

std::string spread(const OrderedJson& json, int digits = 4) {
  if (!json.contains("median") || !json["median"].is_number())
    return "-";
  return show_number(json["median"].get<double>(), digits) + " (" +
         show_number(json["min"].get<double>(), digits) + "-" +
         show_number(json["max"].get<double>(), digits) + ")";
}

void show_speed(const OrderedJson& models, std::ostream& out) {
  for (const auto& model : models) {
    out << '\n'
        << model["path"].get<std::string>() << ": "
        << show_bytes(model["bytes"].get<std::uint64_t>()) << " of tensors, "
        << show_bytes(model["disk_bytes"].get<std::uint64_t>()) << " on disk; "
        << show_bytes(model["steady_bytes"].get<std::uint64_t>()) << " of memory when ready, "
        << show_bytes(model["peak_bytes"].get<std::uint64_t>()) << " at most; keys and values "
        << show_bytes(model["kv_bytes_per_token"].get<std::uint64_t>()) << " per token ("
        << model["kv"]["k"].get<std::string>() << ", " << model["kv"]["v"].get<std::string>()
        << ")\n";
    TextTable table({"PROMPT", "SEQUENCES", "PROMPT tok/s", "GENERATED tok/s", "FIRST TOKEN s"});
    for (const auto& point : model["points"]) {
      std::vector<std::string> row{std::to_string(point["context"].get<std::int64_t>()),
                                   std::to_string(point["batch"].get<std::int64_t>())};
      if (point.contains("problem"))
        row.push_back(point["problem"].get<std::string>());
      else
        for (const char* key :
             {"prompt_tokens_per_second", "tokens_per_second", "first_token_seconds"})
          row.push_back(spread(point[key], 3));
      row.resize(5);
      table.add(row);
    }
    table.print(out);
    for (const auto& note : model["notes"])
      out << "note: " << note.get<std::string>() << '\n';
  }
}

void show(const OrderedJson& json, std::ostream& out) {
  const auto& machine = json["machine"];
  out << machine["threads"] << " threads: memory "
      << show_number(machine["memory_gb_per_s"].get<double>(), 3) << " GB/s, "
      << show_number(machine["gflops"].get<double>(), 4) << " GFLOP/s, int8 "
      << show_number(machine["int8_gops"].get<double>(), 4) << " GOP/s\n\n";
  if (json["kernels"].empty()) {
    show_speed(json["speed"], out);
    return;
  }
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
  if (json.contains("speed"))
    show_speed(json["speed"], out);
}

constexpr VerbOption options[] = {
    {"kernel", "NAME", "Only this kernel."},
    {"no-kernels", "", "Models only."},
    {"contexts", "N,N", "Lengths of prompts in tokens (default 128,512)."},
    {"batches", "N,N", "Sequences at once (default 1,4,16)."},
    {"repeat", "N", "Timed runs after one that warms up (default 3); median and spread are given."},
    {"max-new", "N", "Tokens generated per sequence (default 32)."},
    {"limit", "SECONDS",
     "Leave out what would take longer (default 60; no limit with --contexts or --batches)."},
};

} // namespace

extern const Verb verb_bench;
const Verb verb_bench{
    "bench", "[MODEL...]", "Speed of kernels and of models beside the machine's own.",
    0,       1 << 20,      options,
    run,     show};

} // namespace bitlathe
