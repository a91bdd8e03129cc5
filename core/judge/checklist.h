// SPDX-License-Identifier: Apache-2.0
// Good practice before and after quantizing, as a list that ticks itself: every item names the
// evidence that ticked it, and says so when the evidence is of an older recipe or result.
#pragma once

#include "core/eval/eval.h"
#include "core/judge/desk.h"
#include "core/recipe/plan.h"
#include "core/session/session.h"

#include <optional>
#include <string>
#include <vector>

namespace bitlathe {

/// How many judged prompts the practice asks for.
constexpr std::int64_t prompts_to_judge = 20;

/// What is known of the work on one checkpoint. Plain facts: who has a window, a session or a
/// report fills in what there is.
struct ChecklistFacts {
  std::string model; ///< the checkpoint's name; empty: none is open
  bool planned = false;
  bool plan_reviewed = false; ///< somebody looked at the plan, or changed the recipe
  std::int64_t plan_notes = 0, kept_modules = 0, fallen_back = 0;
  std::string kept_names; ///< of embeddings and heads that keep their type
  bool needs_calibration = false;
  std::string calibration; ///< the recipe's text, or "activation statistics"; empty: none chosen
  bool calibration_by_default = false; ///< nobody chose it: the program's own text
  bool quantized = false;
  bool stale = false; ///< the recipe changed since the result was made
  std::int64_t quantize_notes = 0;
  std::string result; ///< what the result is: "int4-g128-asym rtn"
  // figures on text
  double baseline = 0, baseline_stderr = 0; ///< the original's perplexity; 0: not measured
  bool figures_of_result = false, figures_of_older = false; ///< of this result; of another only
  std::string verdict;                                      ///< on this result
  double kld = 0, kld_stderr = 0, noise_floor = 0;
  std::int64_t tokens = 0;
  // speed and memory
  bool speed_of_original = false, speed_of_result = false, speed_of_older = false;
  std::string speed; ///< "123 to 210 tok/s, 8.0 to 3.6 MiB"
  // prompts
  std::int64_t prompts_run = 0, prompts_same = 0; ///< side by side with the result
  std::int64_t judged = 0;        ///< in unsealed desks with the result, identical ones included
  std::int64_t judged_sealed = 0; ///< in desks that are not unsealed yet
  std::int64_t judged_older = 0;  ///< of other results only
  std::string votes;              ///< what the newest of these desks says
  // exports
  std::int64_t exported = 0, verified = 0, verify_failed = 0;
};

struct ChecklistItem {
  /// stale: done once, for an older recipe or result. attention: done, but look at it.
  enum class State { open, done, stale, attention } state = State::open;
  std::string id;      ///< "baseline", "calibration", "exclusions", "quantized", "remeasured",
                       ///< "logits", "speed", "judged", "exported"
  std::string title;   ///< "Baseline measured"
  std::string detail;  ///< the evidence, or what to do
  std::string stage;   ///< where it is done: "plan", "quantize", "compare", "evaluate", "export"
  bool before = false; ///< belongs to before quantizing
};
std::vector<ChecklistItem> checklist(const ChecklistFacts& facts);
/// "open", "done", "stale", "attention".
std::string_view state_name(ChecklistItem::State state);
OrderedJson checklist_to_json(const std::vector<ChecklistItem>& items);

/// What was done that nothing else in a session tells; its key "evidence".
struct EvidenceRecord {
  bool plan_reviewed = false;
  std::string result; ///< folder of the result that was exported
  struct Export {
    std::string path;
    bool verified = false; ///< it was re-opened and checked
    bool ok = false;       ///< and found good
  };
  std::vector<Export> exports;
};
OrderedJson evidence_to_json(const EvidenceRecord& record);
EvidenceRecord evidence_from_json(const Json& json);

/// What a session, or a window, has to tell. Null and empty: not there.
struct ChecklistSources {
  std::string model, checkpoint; ///< name and path
  const Plan* plan = nullptr;
  const Recipe* recipe = nullptr;
  bool statistics = false;         ///< activation statistics are at hand
  std::string default_calibration; ///< the text that is read when the recipe names none
  std::string result;              ///< folder of the current result
  const Recipe* result_recipe = nullptr;
  std::int64_t quantize_notes = 0;
  const CompareReport* compare = nullptr;
  const std::vector<SessionVariant>* variants = nullptr;
  Json speed; ///< the session's key "speed"
  const std::vector<Transcript>* transcripts = nullptr;
  const std::vector<Desk>* desks = nullptr;
  EvidenceRecord evidence;
};
ChecklistFacts checklist_facts(const ChecklistSources& sources);

} // namespace bitlathe
