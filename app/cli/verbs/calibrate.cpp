// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  if (!invocation.has("calibration") || !invocation.has("o"))
    return usage_error("calibrate needs --calibration FILE and -o STATS");
  const std::string format = invocation.text("format", "own");
  if (format != "own" && format != "imatrix-gguf" && format != "imatrix-dat")
    return usage_error("--format is own, imatrix-gguf or imatrix-dat");
  TRY_ASSIGN(const std::int64_t samples, invocation.integer("samples", 128, 1));
  TRY_ASSIGN(const std::int64_t length, invocation.integer("length", 256, 2));
  TRY_ASSIGN(const std::int64_t seed, invocation.integer("seed", 0, 0));
  TRY_ASSIGN(const auto files, calibration_files(invocation));
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const Collected collected, collect_statistics(model, *compute, files, samples, length,
                                                           seed, invocation.feedback));
  const ActivationStatistics& statistics = collected.statistics;
  TRY(write_statistics(invocation.text("o"), statistics, *model, format));
  OrderedJson json;
  json["output"] = invocation.text("o");
  json["format"] = format;
  json["samples"] = statistics.samples;
  json["tokens"] = statistics.tokens;
  json["length"] = statistics.length;
  json["coverage"] = coverage_to_json(collected.set);
  json["notes"] = collected.set.notes;
  if (format != "own")
    json["notes"].push_back("An importance matrix does not remember its text: judging a result on "
                            "the same text will not be noticed");
  json["modules"] = OrderedJson::array();
  for (const auto& [name, module] : statistics.modules)
    json["modules"].push_back({{"name", name},
                               {"tokens", module.tokens},
                               {"absmax", json_number(module.moments.absmax)},
                               {"mean", json_number(module.moments.mean())},
                               {"std", json_number(module.moments.stddev())},
                               {"outlier_channels", module.outlier_channels()}});
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  out << json["samples"] << " samples, " << json["tokens"] << " tokens, " << json["modules"].size()
      << " modules -> " << json["output"].get<std::string>() << '\n';
  show_coverage(json["coverage"], out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  TextTable table({"MODULE", "ABSMAX", "STD", "OUTLIER CHANNELS"});
  for (const auto& m : json["modules"])
    table.add({m["name"].get<std::string>(),
               m["absmax"].is_number() ? show_number(m["absmax"].get<double>()) : "-",
               m["std"].is_number() ? show_number(m["std"].get<double>()) : "-",
               std::to_string(m["outlier_channels"].size())});
  table.print(out);
}

constexpr VerbOption options[] = {
    {"calibration", calibration_value,
     "Text, or .jsonl of documents or chats, to run through the model; PART: calibration, "
     "selection or evaluation.",
     true},
    {"o", "STATS", "The file to write."},
    {"samples", "N", "Windows of text (default 128)."},
    {"length", "N", "Tokens per window (default 256)."},
    {"format", "F", "own (default), imatrix-gguf or imatrix-dat."},
};

} // namespace

extern const Verb verb_calibrate;
const Verb verb_calibrate{"calibrate",
                          "MODEL --calibration FILE... -o STATS",
                          "Collects activation statistics once, for many runs.",
                          1,
                          1,
                          options,
                          run,
                          show};

} // namespace bitlathe
