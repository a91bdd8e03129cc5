// SPDX-License-Identifier: Apache-2.0
// How fast a model runs and what memory it takes: prompts and generation over lengths and numbers
// of sequences, repeated, with the spread of the runs. Several sequences are stepped together
// (Engine::step).
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

struct SpeedOptions {
  std::vector<std::int64_t> contexts{128, 512}; ///< tokens of a prompt
  std::vector<std::int64_t> batches{1, 4, 16};  ///< sequences at once
  std::int64_t new_tokens = 32;                 ///< generated per sequence
  std::int64_t repeat = 3;
  /// A point that is expected to take longer than this, warm-up and repeats together, is left out
  /// with a reason; where the first one does, it is repeated less often. 0: no limit.
  double seconds_per_point = 60;
  EngineOptions engine;
};

/// Of repeated runs.
struct Spread {
  std::vector<double> runs; ///< in the order they were made
  double median() const;    ///< NaN without runs
  double low() const;
  double high() const;
};

/// One length and number of sequences.
struct SpeedPoint {
  std::int64_t context = 0, batch = 0, new_tokens = 0;
  Spread prompt_rate;   ///< prompt tokens of all sequences per second
  Spread rate;          ///< generated tokens of all sequences per second
  Spread first_seconds; ///< until the last sequence has its first token
  std::uint64_t kv_bytes = 0;
  std::string problem; ///< why it was not measured; empty: it was
};

struct SpeedResult {
  std::string title, path;
  std::uint64_t bytes = 0;      ///< all tensors
  std::uint64_t disk_bytes = 0; ///< files of the checkpoint; 0: not known
  std::string kv_keys, kv_values;
  std::uint64_t kv_bytes_per_token = 0; ///< of one sequence
  double load_seconds = 0;
  std::uint64_t loaded_bytes = 0; ///< weights in memory beyond the mapped files
  /// Memory that the process took for the model, mapped files apart: when ready to run, and the
  /// most of all runs.
  std::uint64_t steady_bytes = 0, peak_bytes = 0;
  std::vector<SpeedPoint> points;
  std::vector<std::string> notes;
};

struct SpeedReport {
  std::string backend; ///< "cpu (avx512vnni)"
  int threads = 0;
  std::string measured; ///< ISO 8601
  /// Share of the processors' time that other programs used meanwhile, 0..1; below 0: not known.
  double others = -1;
  std::vector<SpeedResult> models;
};

struct SpeedModel {
  std::string title;
  std::shared_ptr<const Checkpoint> checkpoint;
};
/// One model after the other; one that cannot be run gets a note instead of points. feedback counts
/// tokens. `on_point` sees the running report. Errors: bad options, cancelled.
Result<SpeedReport> measure_speed(std::span<const SpeedModel> models, Compute& compute,
                                  const SpeedOptions& options, Feedback& feedback,
                                  const std::function<void(const SpeedReport&)>& on_point = {});

OrderedJson speed_result_to_json(const SpeedResult& result);
OrderedJson speed_to_json(const SpeedReport& report);
/// What is missing is 0, NaN or empty.
SpeedReport speed_from_json(const Json& json);

/// Size of a checkpoint's files: of the file, or of those in the folder that hold tensors.
std::uint64_t weight_file_bytes(const Checkpoint& checkpoint);

} // namespace bitlathe
