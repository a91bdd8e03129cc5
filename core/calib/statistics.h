// SPDX-License-Identifier: Apache-2.0
// Activation statistics of every linear, collected by running calibration text, and their files:
// the project's own, and llama.cpp's importance matrices (GGUF and .dat).
#pragma once

#include "core/calib/record.h"
#include "core/engine/engine.h"

#include <array>
#include <map>

namespace bitlathe {

/// Of the inputs of one linear module.
struct ActivationModule {
  std::string name;
  std::uint64_t tokens = 0;
  std::vector<float> channel_min,
      channel_max;                  ///< per input column; empty when read from an imatrix
  std::vector<double> channel_sum2; ///< sum of squares per input column
  std::vector<double> channel_sum;  ///< sum per input column; empty when read from an imatrix
  Moments moments;                  ///< over all values
  /// Histogram of all values on `histogram_lo .. histogram_hi` (set by the first sample's range,
  /// doubled when a later value falls outside by merging bins pairwise).
  std::vector<std::uint64_t> histogram;
  double histogram_lo = 0, histogram_hi = 0;
  /// Moving averages of the samples' minima and maxima (a tenth of each new one), for the observer
  /// "ema"; the wrong way round when not known.
  double average_min = 0, average_max = -1;

  std::vector<float> channel_absmax() const;
  /// Mean squared activation per column: what methods take as importance.
  std::vector<float> importance() const;
  /// Columns whose absmax is more than `factor` times the median absmax of the columns.
  std::vector<std::int64_t> outlier_channels(double factor = 6.0) const;
};

struct ActivationStatistics {
  std::map<std::string, ActivationModule> modules; ///< by module name
  std::int64_t samples = 0, tokens = 0, length = 0;
  std::vector<std::string> sources;
  /// Per layer, the largest magnitudes of keys (as the cache gets them) and of values; empty when
  /// not known.
  std::vector<std::array<float, 2>> kv_absmax;
  CalibrationRecord record; ///< to know the text again; empty in importance matrices
};

/// Windows of `length` tokens drawn from the files by weight with a fixed seed: the token stream of
/// each file is cut into windows, windows are shuffled, and files contribute in proportion to their
/// weights.
Result<std::vector<std::vector<std::int32_t>>>
calibration_samples(const Checkpoint& checkpoint, const std::vector<CalibrationFile>& files,
                    std::int64_t samples, std::int64_t length, std::int64_t seed);

/// Runs the samples through the model. feedback counts samples. `options` say how it is run; the
/// tap is set here.
Result<ActivationStatistics> calibrate(std::shared_ptr<const Checkpoint> checkpoint,
                                       Compute& compute,
                                       const std::vector<std::vector<std::int32_t>>& samples,
                                       Feedback& feedback, EngineOptions options = {});

/// format: "own", "imatrix-gguf", "imatrix-dat". imatrix entries carry GGUF tensor names.
Result<void> write_statistics(const fs::path& path, const ActivationStatistics& statistics,
                              const Checkpoint& checkpoint, std::string_view format);
/// Any of the three, recognised by content. Names are mapped to the checkpoint's modules; entries
/// that fit no module are reported in `notes`.
Result<ActivationStatistics> read_statistics(const fs::path& path, const Checkpoint& checkpoint,
                                             std::vector<std::string>* notes = nullptr);

} // namespace bitlathe
