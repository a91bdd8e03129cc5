// SPDX-License-Identifier: Apache-2.0
#include "core/judge/transcript_files.h"

#include "core/io/files.h"
#include "core/judge/outcome.h"
#include "core/judge/token_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bitlathe {

namespace {

std::string figure(double value, int digits = 3) {
  if (!std::isfinite(value))
    return "\xe2\x80\x93";
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

std::string fixed(double value, int decimals) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string bytes_text(std::uint64_t bytes) {
  const double mib = double(bytes) / 1048576;
  return mib >= 1024 ? fixed(mib / 1024, 2) + " GiB" : fixed(mib, 1) + " MiB";
}

std::string sampling_text(const TranscriptSampling& s) {
  std::string out =
      s.temperature > 0 ? "temperature " + figure(s.temperature) : std::string("greedy");
  if (s.temperature > 0) {
    if (s.top_k > 0)
      out += ", top-k " + std::to_string(s.top_k);
    if (s.top_p < 1)
      out += ", top-p " + figure(s.top_p);
    out += ", seed " + std::to_string(s.seed);
  }
  return out + ", at most " + std::to_string(s.max_new) + " new tokens";
}

double rate(std::int64_t tokens, double seconds) {
  return seconds > 0 ? double(tokens) / seconds : 0;
}

std::string end_text(const std::string& reason) {
  if (reason == "eos")
    return "ended by itself";
  if (reason == "length")
    return "longest length";
  if (reason == "context")
    return "context full";
  return reason;
}

/// "64 tokens, 2792 tok/s (prompt 1200 tok/s), 8.5 MiB, ended by itself".
std::string figures_of(const TranscriptSide& side) {
  std::string out = std::to_string(side.ids.size()) + " tokens, " +
                    fixed(rate(std::int64_t(side.ids.size()), side.seconds), 1) + " tok/s";
  if (side.prompt_seconds > 0)
    out += " (prompt of " + std::to_string(side.prompt_tokens) + ": " +
           fixed(rate(side.prompt_tokens, side.prompt_seconds), 0) + " tok/s)";
  if (side.peak_bytes > 0)
    out += ", " + bytes_text(side.peak_bytes);
  if (!side.stop_reason.empty())
    out += ", " + end_text(side.stop_reason);
  return out;
}

std::string outcome_line(const Outcome& outcome) {
  std::string out = outcome_text(outcome);
  if (outcome.known && outcome.parts_at >= 0)
    out += ", " + fixed(100 * outcome.shared, 0) + " % of the tokens shared";
  if (outcome.kl_tokens > 0)
    out += "; mean KL " + figure(outcome.kl_mean) + " nats along the reference's text";
  return out;
}

std::size_t most_sides(const std::vector<Transcript>& transcripts) {
  std::size_t out = 0;
  for (const Transcript& t : transcripts)
    out = std::max(out, t.sides.size());
  return out;
}

std::string title_of(const std::vector<Transcript>& transcripts, std::size_t side) {
  for (const Transcript& t : transcripts)
    if (side < t.sides.size())
      return t.sides[side].title;
  return {};
}

std::string summary_line(const SetOutcome& s) {
  std::string out = std::to_string(s.same) + " of " + std::to_string(s.prompts) +
                    " prompts with the same tokens throughout";
  if (s.prompts > 0)
    out += " (95 % interval " + fixed(100 * s.same_low, 0) + " to " + fixed(100 * s.same_high, 0) +
           " %)";
  if (s.median_parts_at >= 0)
    out += "; the others part at token " + std::to_string(s.median_parts_at + 1) + " (median)";
  if (s.kl_prompts > 0)
    out += "; mean KL along the reference's texts " + figure(s.kl_mean) +
           (s.kl_prompts > 1 ? " \xc2\xb1 " + figure(s.kl_stderr, 2) : std::string()) + " nats";
  if (s.failed > 0)
    out += "; " + std::to_string(s.failed) + " could not be run";
  return out;
}

// --- Markdown -----------------------------------------------------------------------------------

std::string fenced(const std::string& text) {
  // A fence longer than any run of backticks inside keeps the text as it is.
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fence + "text\n" + text + "\n" + fence + "\n";
}

// --- HTML ---------------------------------------------------------------------------------------

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\n')
      out += "&#10;"; // inside attributes too
    else
      out += c;
  }
  return out;
}

constexpr const char* style = R"(
:root{color-scheme:light dark;--bg:#f4f6f8;--card:#fff;--text:#1c242c;--muted:#5b6875;--line:#d8dfe5;--c0:#64748b;--c1:#0f8b8d;--c2:#7c5cd6;--c3:#c05672;--diff:#f6d9a8;--same:#e3f1ec}
@media(prefers-color-scheme:dark){:root{--bg:#14191e;--card:#1d242b;--text:#e4eaef;--muted:#98a6b3;--line:#34404b;--c0:#94a3b8;--c1:#2ec4b6;--c2:#a78bfa;--c3:#f08aa5;--diff:#6b4f1d;--same:#1d3b34}}
body{margin:0;padding:24px;background:var(--bg);color:var(--text);font:15px/1.55 system-ui,sans-serif}
main{max-width:1500px;margin:auto}h1{font-size:24px;margin:0 0 4px}h2{font-size:16px;margin:0 0 6px}
.muted{color:var(--muted);font-size:13px}section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:16px 0}
.prompt{white-space:pre-wrap;border-left:3px solid var(--line);padding:2px 0 2px 10px;color:var(--muted);max-height:14em;overflow:auto}
.sides{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));margin-top:12px}
.side{border-top:3px solid var(--c0);padding-top:6px;min-width:0}.side:nth-child(2){border-color:var(--c1)}.side:nth-child(3){border-color:var(--c2)}.side:nth-child(4){border-color:var(--c3)}
.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:8px 0}.d{background:var(--diff)}.s{background:var(--same)}.first{outline:2px solid #d08a1e;border-radius:3px}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{border-bottom:1px solid var(--line);padding:4px 8px;text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:36px}a{color:inherit}
)";

std::string token_tip(const TranscriptSide& side, std::size_t i) {
  std::string tip = "token " + std::to_string(i + 1) + ", id " + std::to_string(side.ids[i]);
  if (i < side.logprobs.size())
    tip += ", probability " + fixed(100 * std::exp(side.logprobs[i]), 1) + " %";
  if (i < side.top.size())
    for (const TranscriptTop& top : side.top[i]) {
      const auto piece = side.pieces.find(top.id);
      tip += "\n" +
             (piece == side.pieces.end() ? std::to_string(top.id)
                                         : visible_text(piece_text(piece->second))) +
             "  " + fixed(100 * std::exp(top.logprob), 1) + " %";
    }
  return tip;
}

/// The text token by token: what is shared, and the first that differs.
std::string tokens_html(const TranscriptSide& side, const std::vector<bool>& shared,
                        std::int64_t parts_at) {
  const auto texts = texts_of(side.token_pieces());
  std::string out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::string kind;
    if (i < shared.size())
      kind = shared[i] ? "s" : "d";
    if (std::int64_t(i) == parts_at)
      kind += " first";
    out += "<span class=\"" + kind + "\" title=\"" + escaped(token_tip(side, i)) + "\">" +
           escaped(texts[i]) + "</span>";
  }
  return out;
}

/// Bars of KL per token on a square-root scale, so that small ones are seen too.
std::string kl_svg(const std::vector<double>& kl, std::size_t color, std::int64_t parts_at) {
  double top = 0;
  for (const double x : kl)
    if (std::isfinite(x))
      top = std::max(top, x);
  if (kl.empty() || !(top > 0))
    return {};
  const double width = 1000.0 / double(kl.size());
  std::string out = "<svg viewBox=\"0 0 1000 36\" preserveAspectRatio=\"none\" role=\"img\" "
                    "aria-label=\"KL per token, at most " +
                    figure(top) + " nats\">";
  for (std::size_t i = 0; i < kl.size(); ++i) {
    const double height = std::isfinite(kl[i]) ? 34 * std::sqrt(std::max(0.0, kl[i]) / top) : 0;
    out += "<rect x=\"" + fixed(double(i) * width, 2) + "\" y=\"" + fixed(35 - height, 2) +
           "\" width=\"" + fixed(width * 0.85, 2) + "\" height=\"" + fixed(height + 1, 2) +
           "\" fill=\"" +
           (std::int64_t(i) == parts_at ? std::string("#d08a1e")
                                        : "var(--c" + std::to_string(color % 4) + ")") +
           "\"><title>token " + std::to_string(i + 1) + ": " + figure(kl[i]) +
           " nats</title></rect>";
  }
  return out + "</svg>";
}

std::string side_html(const Transcript& t, std::size_t i) {
  const TranscriptSide& side = t.sides[i];
  std::string out = "<div class=\"side\"><h2>" + escaped(side.title) +
                    "</h2><div class=\"muted\">" + escaped(figures_of(side)) + "</div>";
  Outcome outcome;
  std::vector<bool> shared;
  if (i > 0) {
    outcome = outcome_of(t, i);
    shared = agreement(t.sides[0].token_pieces(), side.token_pieces()).candidate;
    if (!side.failed())
      out += "<div class=\"muted\">" + escaped(outcome_line(outcome)) + "</div>";
  } else if (t.sides.size() > 1) { // the reference shows its agreement with the first candidate
    outcome = outcome_of(t, 1);
    if (outcome.known)
      shared = agreement(side.token_pieces(), t.sides[1].token_pieces()).reference;
  }
  if (side.failed())
    out += "<p><b>Could not go on:</b> " + escaped(side.problem) + "</p>";
  out += "<div class=\"text\">" + tokens_html(side, shared, outcome.parts_at) + "</div>";
  if (!side.kl.empty())
    out += "<div class=\"muted\">KL per token along the reference's text, at most " +
           figure(outcome.kl_max) + " nats</div>" + kl_svg(side.kl, i, outcome.parts_at);
  else if (!side.kl_problem.empty())
    out += "<div class=\"muted\">No divergence: " + escaped(side.kl_problem) + "</div>";
  return out + "</div>";
}

std::string prompt_label(const Transcript& t, std::size_t number) {
  return t.prompt_id.empty() ? "Prompt " + std::to_string(number) : t.prompt_id;
}

OrderedJson outcome_json(const Outcome& outcome) {
  OrderedJson json{{"parts_at", outcome.parts_at < 0 ? Json(nullptr) : Json(outcome.parts_at)},
                   {"same", outcome.parts_at < 0},
                   {"shared", outcome.shared}};
  if (outcome.kl_tokens > 0) {
    json["kl_mean"] = json_number(outcome.kl_mean);
    json["kl_mean_common"] = json_number(outcome.kl_mean_common);
    json["kl_max"] = json_number(outcome.kl_max);
  }
  return json;
}

} // namespace

OrderedJson transcripts_document(const std::vector<Transcript>& transcripts,
                                 const std::string& model) {
  OrderedJson json{{"version", 1}, {"model", display_text(model)}, {"summary", Json::array()}};
  for (std::size_t side = 1; side < most_sides(transcripts); ++side) {
    const SetOutcome s = outcome_of(transcripts, side);
    json["summary"].push_back(
        {{"title", display_text(title_of(transcripts, side))},
         {"prompts", s.prompts},
         {"same", s.same},
         {"same_low", s.same_low},
         {"same_high", s.same_high},
         {"failed", s.failed},
         {"median_parts_at", s.median_parts_at < 0 ? Json(nullptr) : Json(s.median_parts_at)},
         {"kl_mean", s.kl_prompts > 0 ? json_number(s.kl_mean) : Json(nullptr)},
         {"kl_stderr", s.kl_prompts > 1 ? json_number(s.kl_stderr) : Json(nullptr)}});
  }
  json["transcripts"] = transcripts_to_json(transcripts);
  for (std::size_t i = 0; i < transcripts.size(); ++i)
    for (std::size_t side = 1; side < transcripts[i].sides.size(); ++side)
      if (const Outcome outcome = outcome_of(transcripts[i], side); outcome.known)
        json["transcripts"][i]["sides"][side]["outcome"] = outcome_json(outcome);
  return json;
}

std::string transcripts_markdown(const std::vector<Transcript>& transcripts,
                                 const std::string& model) {
  std::string out = "# Side by side: " + model + "\n";
  if (transcripts.size() > 1)
    for (std::size_t side = 1; side < most_sides(transcripts); ++side)
      out += "\n* **" + title_of(transcripts, side) +
             "**: " + summary_line(outcome_of(transcripts, side)) + "\n";
  std::size_t number = 0;
  for (const Transcript& t : transcripts) {
    out += "\n## " + prompt_label(t, ++number) + "\n\n" + fenced(t.prompt);
    if (t.chat)
      out += "\nA message in each model's own chat template" +
             (t.system.empty() ? std::string(".\n")
                               : ", with this system prompt:\n\n" + fenced(t.system));
    out += "\n" + sampling_text(t.sampling) + ".\n";
    for (std::size_t i = 0; i < t.sides.size(); ++i) {
      const TranscriptSide& side = t.sides[i];
      out += "\n### " + side.title + "\n\n";
      if (side.failed())
        out += "Could not go on: " + side.problem + "\n\n";
      if (side.failed() && side.ids.empty())
        continue;
      out += fenced(side.text) + "\n" + figures_of(side);
      if (const Outcome outcome = outcome_of(t, i); outcome.known)
        out += "; " + outcome_line(outcome);
      out += ".\n";
    }
  }
  return out;
}

std::string transcripts_html(const std::vector<Transcript>& transcripts, const std::string& model) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
                    "name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Side "
                    "by side: " +
                    escaped(model) + "</title><style>" + style +
                    "</style></head><body><main><h1>Side by side: " + escaped(model) + "</h1>";
  const std::size_t sides = most_sides(transcripts);
  for (std::size_t side = 1; side < sides; ++side)
    out += "<div class=\"muted\"><b>" + escaped(title_of(transcripts, side)) +
           "</b>: " + escaped(summary_line(outcome_of(transcripts, side))) + "</div>";
  if (transcripts.size() > 1) {
    out += "<section><table><tr><th>Prompt</th><th>Text</th>";
    for (std::size_t side = 1; side < sides; ++side)
      out += "<th>" + escaped(title_of(transcripts, side)) + "</th><th>mean KL</th>";
    out += "</tr>";
    std::size_t number = 0;
    for (const Transcript& t : transcripts) {
      ++number;
      std::string text = Utf8Stream().push(t.prompt.substr(0, 90)); // whole characters
      std::replace(text.begin(), text.end(), '\n', ' ');
      if (text.size() < t.prompt.size())
        text = text.substr(0, text.find_last_of(' ')) + " \xe2\x80\xa6";
      out += "<tr><td><a href=\"#p" + std::to_string(number) + "\">" +
             escaped(prompt_label(t, number)) + "</a></td><td>" + escaped(display_text(text)) +
             "</td>";
      for (std::size_t side = 1; side < sides; ++side) {
        const Outcome outcome = outcome_of(t, side);
        out += "<td>" + escaped(outcome_text(outcome)) + "</td><td class=\"n\">" +
               (outcome.kl_tokens > 0 ? figure(outcome.kl_mean) : std::string("\xe2\x80\x93")) +
               "</td>";
      }
      out += "</tr>";
    }
    out += "</table></section>";
  }
  std::size_t number = 0;
  for (const Transcript& t : transcripts) {
    ++number;
    out += "<section id=\"p" + std::to_string(number) + "\"><h2>" +
           escaped(prompt_label(t, number)) + "</h2><div class=\"prompt\">" + escaped(t.prompt) +
           "</div><div class=\"muted\">" + escaped(sampling_text(t.sampling)) +
           (t.chat ? "; in each model's own chat template" : "") +
           (t.system.empty() ? std::string() : "; system prompt: " + escaped(t.system)) +
           "</div><div class=\"sides\">";
    for (std::size_t i = 0; i < t.sides.size(); ++i)
      out += side_html(t, i);
    out += "</div></section>";
  }
  return out + "</main></body></html>\n";
}

Result<std::vector<Transcript>> read_transcripts(const std::filesystem::path& path) {
  TRY_ASSIGN(const Json json, read_json_file(path));
  const Json* list = &json;
  if (json.is_object())
    if (const auto it = json.find("transcripts"); it != json.end())
      list = &*it;
  if (!list->is_array())
    return Error{"bad-file", "There are no transcripts in this file", path.string()};
  return transcripts_from_json(*list);
}

Result<void> check_transcript_path(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  for (const char* known : {".json", ".md", ".html", ".htm"})
    if (ending == known)
      return {};
  return Error{"bad-argument", "Transcripts are written as .json, .md or .html", path.string()};
}

Result<void> write_transcripts(const std::vector<Transcript>& transcripts, const std::string& model,
                               const std::filesystem::path& path) {
  TRY(check_transcript_path(path));
  const std::string ending = path.extension().string();
  if (ending == ".json")
    return write_file(path, transcripts_document(transcripts, model).dump(1) + "\n");
  if (ending == ".md")
    return write_file(path, transcripts_markdown(transcripts, model));
  return write_file(path, transcripts_html(transcripts, model));
}

} // namespace bitlathe
