// SPDX-License-Identifier: Apache-2.0
// Speed and memory.
#include "core/eval/speed.h"

#include "core/report/numbers.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

std::string spread_text(const Spread& spread) {
  if (spread.runs.empty())
    return "-";
  return number_text(spread.median(), 3) +
         (spread.runs.size() > 1
              ? " (" + number_text(spread.low(), 3) + " to " + number_text(spread.high(), 3) + ")"
              : "");
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Json& kept = input.session.stage("speed");
  if (!kept.is_object())
    return {};
  const SpeedReport report = speed_from_json(kept);
  if (report.models.empty())
    return {};
  add(out, Paragraph{"Measured " + report.measured + " on " + report.backend + ", " +
                         std::to_string(report.threads) + " threads" +
                         (report.others >= 0
                              ? "; other programs took " + percent_text(report.others, 0) +
                                    " of the processors meanwhile"
                              : "") +
                         ". Medians of repeated runs, with their range.",
                     Paragraph::Kind::muted});
  DocumentTable sizes{{{"model"},
                       {"on disk", true},
                       {"loaded beyond the files", true},
                       {"steady memory", true},
                       {"peak memory", true},
                       {"KV per token", true}},
                      {},
                      ""};
  DocumentTable rates{{{"model"},
                       {"prompt", true},
                       {"sequences", true},
                       {"prompt tok/s", true},
                       {"generated tok/s", true},
                       {"first token, s", true}},
                      {},
                      ""};
  for (const SpeedResult& model : report.models) {
    sizes.rows.push_back({model.title, bytes_text(model.disk_bytes), bytes_text(model.loaded_bytes),
                          bytes_text(model.steady_bytes), bytes_text(model.peak_bytes),
                          bytes_text(model.kv_bytes_per_token)});
    for (const SpeedPoint& point : model.points)
      rates.rows.push_back({model.title, std::to_string(point.context), std::to_string(point.batch),
                            point.problem.empty() ? spread_text(point.prompt_rate) : point.problem,
                            spread_text(point.rate), spread_text(point.first_seconds)});
  }
  add(out, std::move(sizes));
  add(out, std::move(rates));
  for (const SpeedResult& model : report.models)
    for (const std::string& note : model.notes)
      add(out, Paragraph{model.title + ": " + note, Paragraph::Kind::note});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_speed;
const report::SectionKind report_section_speed{"speed", "Speed and memory", report::make};
} // namespace bitlathe
