// SPDX-License-Identifier: Apache-2.0
#include "core/report/comparison.h"

#include "core/report/charts.h"
#include "core/report/numbers.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::report {

namespace {

constexpr std::size_t worst_shown = 20;

std::string quoted(const std::string& text) {
  std::string out = "\xE2\x80\x9C";
  for (const char c : text)
    out += c == '\n' ? "\xE2\x86\xB5" : std::string(1, c); // a line break stays visible
  return out + "\xE2\x80\x9D";
}

std::string token_text(const Tokenizer* tokenizer, std::int32_t id) {
  return tokenizer && id >= 0 ? quoted(tokenizer->piece(id)) : "#" + std::to_string(id);
}

/// The text before a token of a window, as far as the session's text is at hand.
std::string before(const ComparisonShown& shown, const WorstToken& token) {
  constexpr std::int64_t most = 16;
  if (!shown.tokenizer || !shown.text)
    return "";
  const std::int64_t begin_of_window = token.window * shown.text->context;
  const std::int64_t end = begin_of_window + token.position;
  if (token.window < 0 || token.position < 0 || end > std::int64_t(shown.text->ids.size()))
    return "";
  const std::int64_t begin = std::max(begin_of_window, end - most);
  return quoted(shown.tokenizer->decode(
      std::span(shown.text->ids).subspan(std::size_t(begin), std::size_t(end - begin))));
}

void add_parts(std::vector<Block>& out, const ComparisonShown& shown, const std::string& title,
               std::vector<PartFigures> CompareResult::*parts) {
  DocumentTable table{{{title}, {"tokens", true}}, {}, ""};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < shown.report.models.size(); ++i) {
    for (const PartFigures& part : shown.report.models[i].*parts)
      if (std::find(names.begin(), names.end(), part.name) == names.end())
        names.push_back(part.name);
    table.columns.push_back({"KL, " + shown.names[i], true});
  }
  for (const std::string& name : names) {
    std::vector<std::string> row{name, ""};
    for (const CompareResult& model : shown.report.models) {
      const auto part = std::find_if((model.*parts).begin(), (model.*parts).end(),
                                     [&](const PartFigures& p) { return p.name == name; });
      row.push_back(part == (model.*parts).end() ? "-"
                                                 : error_text(part->kld_mean, part->kld_stderr, 3));
      if (part != (model.*parts).end())
        row[1] = std::to_string(part->tokens);
    }
    table.rows.push_back(std::move(row));
  }
  if (!table.rows.empty())
    add(out, std::move(table));
}

void add_worst(std::vector<Block>& out, const ComparisonShown& shown, std::size_t i) {
  const CompareResult& model = shown.report.models[i];
  if (model.worst.empty())
    return;
  DocumentTable table{{{"after"},
                       {"token"},
                       {"KL", true},
                       {"p, reference", true},
                       {"p, here", true},
                       {"reference says"},
                       {"this one says"}},
                      {},
                      "Worst tokens of " + shown.names[i]};
  for (std::size_t k = 0; k < std::min(model.worst.size(), worst_shown); ++k) {
    const WorstToken& worst = model.worst[k];
    table.rows.push_back({before(shown, worst), token_text(shown.tokenizer, worst.token),
                          number_text(worst.kld, 3), number_text(worst.reference_probability, 3),
                          number_text(worst.candidate_probability, 3),
                          token_text(shown.tokenizer, worst.reference_top),
                          token_text(shown.tokenizer, worst.candidate_top)});
  }
  add(out, std::move(table));
}

} // namespace

DocumentTable figures_table(const ComparisonShown& shown) {
  const CompareReport& report = shown.report;
  DocumentTable table{{{"model"},
                       {"size", true},
                       {"perplexity", true},
                       {"ratio", true},
                       {"KL(ref || model)", true},
                       {"same top token", true},
                       {"verdict"}},
                      {},
                      ""};
  table.rows.push_back({shown.reference, bytes_text(shown.reference_bytes),
                        error_text(report.reference_perplexity, report.reference_stderr, 6), "1",
                        "-", "-", "the reference"});
  for (std::size_t i = 0; i < report.models.size(); ++i) {
    const CompareResult& m = report.models[i];
    table.rows.push_back({shown.names[i], bytes_text(m.bytes),
                          error_text(m.perplexity, m.perplexity_stderr, 6),
                          error_text(m.ppl_ratio, ratio_error(m, report), 5),
                          error_text(m.kld_mean, m.kld_stderr, 4), percent_text(m.top1_agreement),
                          judge(m, report).text});
  }
  return table;
}

DocumentTable divergence_table(const ComparisonShown& shown) {
  DocumentTable table{
      {{"model"},
       {"KL median", true},
       {"p90", true},
       {"p99", true},
       {"largest", true},
       {"KL(model || ref)", true},
       {"top 5 shared", true},
       {"probability drift", true},
       {"drift, rms", true}},
      {},
      "KL divergence per token; drift: of the probability of the text's own token."};
  for (std::size_t i = 0; i < shown.report.models.size(); ++i) {
    const CompareResult& m = shown.report.models[i];
    table.rows.push_back({shown.names[i], number_text(m.kld_median, 3), number_text(m.kld_p90, 3),
                          number_text(m.kld_p99, 3), number_text(m.kld_max, 3),
                          error_text(m.kld_reverse_mean, m.kld_reverse_stderr, 4),
                          percent_text(m.top5_agreement), number_text(m.drift_mean, 2),
                          number_text(m.drift_rms, 2)});
  }
  return table;
}

void add_comparison(const ComparisonShown& shown, std::vector<Block>& out) {
  const CompareReport& report = shown.report;
  if (!shown.judged_on.empty())
    add(out, Paragraph{"Judged on " + shown.judged_on + ".", Paragraph::Kind::muted});
  add(out, figures_table(shown));
  add(out, divergence_table(shown));
  add(out,
      Paragraph{
          "Noise floor: a mean KL divergence of " + number_text(report.noise_floor, 3) +
              ", which the reference has to itself when its weights are rounded to 16 bits. A "
              "model is "
              "called indistinguishable when its divergence less two standard errors is not above "
              "that. Errors are standard errors over tokens; that of the ratio is paired.",
          Paragraph::Kind::muted});
  LineChart chart;
  chart.x_axis = "window of the text";
  chart.y_axis = "mean KL divergence";
  chart.caption = "KL divergence from the reference along the text: one value per window.";
  for (std::size_t i = 0; i < report.models.size() && i < 3; ++i)
    if (report.models[i].window_kld.size() > 1)
      chart.lines.push_back({shown.names[i], contender_color(i + 1), report.models[i].window_kld});
  if (!chart.lines.empty())
    add(out, line_figure(chart));
  add_parts(out, shown, "kind of token", &CompareResult::by_class);
  add_parts(out, shown, "position in the window", &CompareResult::by_position);
  for (std::size_t i = 0; i < report.models.size() && i < 3; ++i)
    add_worst(out, shown, i);
  for (const std::string& note : report.notes)
    add(out, Paragraph{note, Paragraph::Kind::note});
  for (std::size_t i = 0; i < report.models.size(); ++i)
    for (const std::string& note : report.models[i].notes)
      add(out, Paragraph{shown.names[i] + ": " + note, Paragraph::Kind::note});
}

} // namespace bitlathe::report
