// SPDX-License-Identifier: Apache-2.0
#include "core/judge/checklist.h"

#include <cstdio>

namespace bitlathe {

namespace {

using State = ChecklistItem::State;

std::string number(double value, const char* format = "%.4g") {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string count_of(std::int64_t n, const char* one, const char* more) {
  return std::to_string(n) + " " + (n == 1 ? one : more);
}

ChecklistItem item(const char* id, const char* title, const char* stage, std::string how) {
  ChecklistItem out;
  out.id = id;
  out.title = title;
  out.stage = stage;
  out.detail = std::move(how);
  return out;
}

ChecklistItem baseline(const ChecklistFacts& f) {
  auto out = item("baseline", "Baseline measured", "evaluate",
                  "Measure the original on held-out text, to know what is lost later");
  out.before = true;
  if (f.baseline > 0) {
    out.state = State::done;
    out.detail = "Perplexity of the original " + number(f.baseline);
    if (f.baseline_stderr > 0)
      out.detail += " \u00b1 " + number(f.baseline_stderr, "%.2g");
  }
  return out;
}

ChecklistItem calibration(const ChecklistFacts& f) {
  auto out = item("calibration", "Calibration chosen", "plan",
                  "The method reads text: choose some of the kind that the model is for");
  out.before = true;
  if (!f.planned) {
    out.detail = "Plan first; not every method needs text";
  } else if (!f.needs_calibration) {
    out.state = State::done;
    out.detail = "Not needed by this recipe";
    if (!f.calibration.empty() && !f.calibration_by_default)
      out.detail += "; chosen all the same: " + f.calibration;
  } else if (!f.calibration.empty() && !f.calibration_by_default) {
    out.state = State::done;
    out.detail = f.calibration;
  } else if (f.calibration_by_default) {
    out.detail = "Nobody chose a text yet; " + f.calibration + " would be read";
  }
  return out;
}

ChecklistItem exclusions(const ChecklistFacts& f) {
  auto out = item("exclusions", "Exclusions decided", "plan",
                  "Look at what keeps its type, and what every module gets");
  out.before = true;
  if (!f.planned || !f.plan_reviewed)
    return out;
  out.state = f.plan_notes > 0 || f.fallen_back > 0 ? State::attention : State::done;
  out.detail =
      f.kept_names.empty() ? "Nothing but norms keeps its type" : f.kept_names + " keep their type";
  if (f.fallen_back > 0)
    out.detail = count_of(f.fallen_back, "module falls", "modules fall") +
                 " back to another scheme; " + out.detail;
  else if (f.plan_notes > 0)
    out.detail = count_of(f.plan_notes, "warning", "warnings") + " in the plan; " + out.detail;
  return out;
}

ChecklistItem quantized(const ChecklistFacts& f) {
  auto out = item("quantized", "Quantized", "quantize", "Run the plan");
  if (!f.quantized)
    return out;
  out.state = f.stale ? State::stale : f.quantize_notes > 0 ? State::attention : State::done;
  out.detail = f.stale ? "The recipe changed since " + f.result + " was made; run it again"
               : f.quantize_notes > 0
                   ? f.result + ", with " + count_of(f.quantize_notes, "note", "notes") + " to read"
                   : f.result + ", without notes";
  return out;
}

/// What was measured of a result that the recipe has left behind, or of another one.
void age(ChecklistItem& out, const ChecklistFacts& f, bool current, bool older) {
  if (current && f.stale) {
    out.state = State::stale;
    out.detail = "The recipe changed since; before: " + out.detail;
  } else if (!current && older) {
    out.state = State::stale;
    out.detail = "Only an older result was measured; do it again";
  }
}

ChecklistItem remeasured(const ChecklistFacts& f) {
  auto out = item("remeasured", "Measured again", "evaluate",
                  "Measure the result on the same text as the original");
  if (f.figures_of_result) {
    out.state = State::done;
    out.detail = f.verdict;
  }
  age(out, f, f.figures_of_result, f.figures_of_older);
  return out;
}

ChecklistItem logits(const ChecklistFacts& f) {
  auto out = item("logits", "Logits compared", "evaluate",
                  "KL divergence shows what perplexity averages away");
  if (f.figures_of_result && f.tokens > 0) {
    out.state = State::done;
    out.detail = "KL " + number(f.kld, "%.3g") + " \u00b1 " + number(f.kld_stderr, "%.1g") +
                 " over " + count_of(f.tokens, "token", "tokens");
    if (f.noise_floor > 0)
      out.detail += "; rounding alone makes " + number(f.noise_floor, "%.2g");
  }
  age(out, f, f.figures_of_result, f.figures_of_older);
  return out;
}

ChecklistItem speed(const ChecklistFacts& f) {
  auto out = item("speed", "Memory and speed measured", "evaluate",
                  "Measure tokens per second and memory of both");
  if (f.speed_of_result && f.speed_of_original) {
    out.state = State::done;
    out.detail = f.speed;
  } else if (f.speed_of_result || (f.speed_of_original && !f.speed_of_older)) {
    out.detail = f.speed_of_result ? "Only the result was measured; the original is missing"
                                   : "Only the original was measured so far";
  }
  age(out, f, f.speed_of_result && f.speed_of_original, f.speed_of_older);
  return out;
}

ChecklistItem judged(const ChecklistFacts& f) {
  auto out = item("judged", "20 prompts judged", "compare",
                  "Run a set of prompts on both, then vote at the blind desk");
  if (f.judged >= prompts_to_judge) {
    out.state = State::done;
    out.detail = f.votes.empty() ? std::to_string(f.judged) + " judged" : f.votes;
  } else if (f.judged + f.judged_sealed >= prompts_to_judge) {
    out.state = State::attention;
    out.detail = std::to_string(f.judged + f.judged_sealed) + " judged; unseal to see the result";
  } else if (f.judged + f.judged_sealed > 0) {
    out.detail = std::to_string(f.judged + f.judged_sealed) + " of " +
                 std::to_string(prompts_to_judge) + " judged at the blind desk";
  } else if (f.prompts_run > 0) {
    out.detail = count_of(f.prompts_run, "prompt was", "prompts were") + " run, " +
                 std::to_string(f.prompts_same) + " with the same text; vote on them at the desk";
  }
  age(out, f, f.judged >= prompts_to_judge,
      f.judged + f.judged_sealed == 0 && f.judged_older >= prompts_to_judge);
  return out;
}

ChecklistItem exported(const ChecklistFacts& f) {
  auto out = item("exported", "Exported and verified", "export", "Write a format and re-open it");
  if (f.verify_failed > 0) {
    out.state = State::attention;
    out.detail = count_of(f.verify_failed, "export", "exports") + " failed verification";
  } else if (f.verified > 0) {
    out.state = State::done;
    out.detail = count_of(f.verified, "export", "exports") + " re-opened and checked";
  } else if (f.exported > 0) {
    out.detail = "Exported; not verified yet";
  }
  age(out, f, f.verified > 0 && f.verify_failed == 0, false);
  return out;
}

} // namespace

std::vector<ChecklistItem> checklist(const ChecklistFacts& facts) {
  return {baseline(facts),  calibration(facts), exclusions(facts),
          quantized(facts), remeasured(facts),  logits(facts),
          speed(facts),     judged(facts),      exported(facts)};
}

std::string_view state_name(State state) {
  switch (state) {
  case State::done:
    return "done";
  case State::stale:
    return "stale";
  case State::attention:
    return "attention";
  case State::open:
    break;
  }
  return "open";
}

OrderedJson checklist_to_json(const std::vector<ChecklistItem>& items) {
  OrderedJson out = OrderedJson::array();
  for (const ChecklistItem& each : items)
    out.push_back({{"id", each.id},
                   {"title", each.title},
                   {"state", state_name(each.state)},
                   {"detail", each.detail},
                   {"before", each.before}});
  return out;
}

} // namespace bitlathe
