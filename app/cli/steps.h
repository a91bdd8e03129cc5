// SPDX-License-Identifier: GPL-3.0-or-later
// Steps that several verbs take.
#pragma once

#include "app/cli/verb.h"
#include "core/calib/sets.h"
#include "core/calib/statistics.h"
#include "core/export/doctor.h"

namespace bitlathe {

/// Error "bad-argument" that lists the known formats.
Result<const Exporter*> exporter_by_id(const std::string& id);

/// --shard-size, --for and --accept-warnings; the folder and the name are the verb's to set.
Result<ExportOptions> export_options(const Invocation& invocation);
/// The texts of these options.
inline constexpr VerbOption shard_size_option{
    "shard-size", "SIZE", "Start another file at this size, such as 5GB or 500M (default 5G)."};
VerbOption for_option();
inline constexpr VerbOption accept_warnings_option{
    "accept-warnings", "", "Write although the doctor warns; what a format refuses stays refused."};
/// [{level, module, message, runtime, format}].
OrderedJson findings_json(const std::vector<Finding>& findings, const Exporter& exporter);
/// What was checked after writing.
OrderedJson verification_json(const ExportOutcome& outcome);
/// "4.5GB" or "500M": bytes. K, M, G, T are powers of 1024, and of 1000 with a B; KiB and the like
/// are powers of 1024.
Result<std::uint64_t> parse_size(const std::string& text);

inline constexpr VerbOption memory_cap_option{
    "memory-cap", "SIZE",
    "Keep at most SIZE of weights in memory: blocks are loaded when it is their turn."};

/// "f32, f16, int8, ...": the KV schemes, for help.
std::string known_kv();
/// --kv, --activations and --memory-cap of verbs that run models: engines made with copies of the
/// options share the memory. Without a cap, most of the machine's where the CPU computes.
Result<EngineOptions> engine_options(const Invocation& invocation, const Compute& compute);
/// "weight_budget", "peak_weight_bytes" and "block_loads" of a run with a memory cap, and a note
/// when it could not be kept.
void add_residency(const EngineOptions& options, OrderedJson& json);
/// "activity" and "kv" of a report about a run: what was seen of inputs, keys and values, by module
/// and by layer, and what the cache takes.
void add_activity(const Engine& engine, const EngineOptions& options, OrderedJson& json);

/// The values of --calibration, or of another option that takes such files.
Result<std::vector<CalibrationFile>> calibration_files(const Invocation& invocation,
                                                       std::string_view option = "calibration");
inline constexpr std::string_view calibration_value =
    "FILE[:field=NAME][:weight=X][:split=PART][:seed=N]";

struct Collected {
  ActivationStatistics statistics;
  CalibrationSet set;
};
/// Draws the windows, runs them, and notes where the text came from.
Result<Collected> collect_statistics(const std::shared_ptr<const Checkpoint>& model,
                                     Compute& compute, const std::vector<CalibrationFile>& files,
                                     std::int64_t samples, std::int64_t length, std::int64_t seed,
                                     Feedback& feedback);
/// "1024 of 122997 tokens, 35.2 % of the vocabulary" of the JSON of coverage_to_json().
void show_coverage(const OrderedJson& coverage, std::ostream& out);

} // namespace bitlathe
