// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

namespace bitlathe {

Result<const Exporter*> exporter_by_id(const std::string& id) {
  if (const Exporter* exporter = find_exporter(id))
    return exporter;
  std::string known;
  for (const Exporter* e : all_exporters())
    known += (known.empty() ? "" : ", ") + std::string(e->id);
  return Error{"bad-argument", "Unknown format \"" + id + "\"; known: " + known, {}};
}

std::vector<CalibrationFile> calibration_files(const Invocation& invocation) {
  std::vector<CalibrationFile> files;
  for (const std::string& path : invocation.list("calibration"))
    files.push_back({path, 1.0});
  return files;
}

Result<ActivationStatistics> collect_statistics(const std::shared_ptr<const Checkpoint>& model,
                                                Compute& compute,
                                                const std::vector<CalibrationFile>& files,
                                                std::int64_t samples, std::int64_t length,
                                                std::int64_t seed, Feedback& feedback) {
  TRY_ASSIGN(const auto windows, calibration_samples(*model, files, samples, length, seed));
  TRY_ASSIGN(ActivationStatistics statistics, calibrate(model, compute, windows, feedback));
  for (const CalibrationFile& file : files)
    statistics.sources.push_back(file.path);
  return statistics;
}

} // namespace bitlathe
