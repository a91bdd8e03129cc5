// SPDX-License-Identifier: Apache-2.0
#include "core/recipe/advisor.h"

#include "core/base/lenient_json.h"
#include "core/engine/kv_memory.h"
#include "core/export/doctor.h"
#include "core/methods/method.h"
#include "core/recipe/advisor_steps.h"
#include "core/recipe/mixes.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

namespace bitlathe {

namespace {

constexpr AdviceGoal goals[] = {
    {"quick", "Quick win", "Half the size or less, hardly any loss, done in minutes."},
    {"smallest", "Smallest memory", "Fit into a size, or as small as stays usable."},
    {"quality", "Best low-bit quality", "Around four bits, as close to the original as they get."},
    {"portable", "Portable on CPUs", "A file that runs on any machine, with or without a GPU."},
};
constexpr std::int64_t few_parameters = 1'500'000'000;

std::string size_text(std::uint64_t bytes) {
  char text[48];
  const double size = double(bytes);
  if (size >= 1073741824.0)
    std::snprintf(text, sizeof text, "%.2f GiB", size / 1073741824.0);
  else if (size >= 1048576.0)
    std::snprintf(text, sizeof text, "%.1f MiB", size / 1048576.0);
  else
    std::snprintf(text, sizeof text, "%.1f KiB", size / 1024.0);
  return text;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, share < 0.1 ? "%.1f %%" : "%.0f %%", 100 * share);
  return text;
}

/// "*.mlp.down_proj" for "model.layers.3.mlp.down_proj": the module of every layer.
std::string in_every_layer(const std::string& name) {
  for (std::size_t at = name.find('.'); at != std::string::npos; at = name.find('.', at + 1)) {
    const std::size_t end = name.find('.', at + 1);
    if (end == std::string::npos)
      break;
    const std::string between = name.substr(at + 1, end - at - 1);
    if (!between.empty() &&
        std::all_of(between.begin(), between.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return "*" + name.substr(end);
  }
  return name;
}

/// Whether text can be run through the model for a calibrated method, and why not.
struct Calibration {
  bool possible = false;
  std::string why; ///< a sentence, either way
};

/// Of GPTQ on the largest block: weights in f32, second moments and their factor in f64, and the
/// streams of samples that go in and come out.
std::uint64_t calibration_memory(const Checkpoint& model, const Recipe& recipe) {
  const ModelSpec& spec = *model.spec;
  std::int64_t largest = 0, widest = 0;
  for (std::int64_t layer = 0; layer < spec.layers; ++layer) {
    std::int64_t block = 0;
    for (const Module& module : model.modules)
      if (module.layer == layer) {
        block += module.weight.rows * module.weight.cols;
        if (module.linear)
          widest = std::max(widest, module.weight.cols);
      }
    largest = std::max(largest, block);
  }
  const double moments = 8.0 * (3.0 * double(widest) * double(widest) +
                                3.0 * double(spec.hidden) * double(spec.hidden));
  const double streams = 8.0 * double(recipe.samples) * double(recipe.length) * double(spec.hidden);
  return std::uint64_t(2 * 4.0 * double(largest) + moments + streams);
}

Calibration can_calibrate(const Checkpoint& model, const AdviceWish& wish) {
  if (!wish.calibrate)
    return {false, "Calibration was ruled out, so codes are chosen from the weights alone."};
  if (!model.spec)
    return {false, "The model cannot be run here (" + model.why_not_runnable +
                       "), so there is no calibration."};
  if (!model.tokenizer)
    return {false, "Text cannot be run through the model without its tokenizer (" +
                       model.tokenizer_problem + "), so there is no calibration."};
  const std::uint64_t needed = calibration_memory(model, Recipe());
  if (wish.memory > 0 && needed > wish.memory)
    return {false, "Calibration would take about " + size_text(needed) + " of memory, more than " +
                       size_text(wish.memory) + "."};
  return {true, "Text can be run through the model, block by block, in about " + size_text(needed) +
                    " of memory."};
}

/// A step on its way to becoming advice.
struct Tried {
  const AdviceStep* step = nullptr;
  const Exporter* exporter = nullptr;
  Recipe recipe;
  std::string title;
  std::string why_not; ///< empty: it works
  std::uint64_t bytes = 0;
  Plan plan;
  std::vector<Finding> findings;
  std::vector<AdviceDecision> raised; ///< modules that measured costs gave more bits
};

class Advisor {
 public:
  Advisor(const Checkpoint& model, const AdviceWish& wish)
      : model_(model), wish_(wish), calibration_(can_calibrate(model, wish)) {}

  Result<Advice> make() {
    const auto ladders =
        advice_ladders(wish_.goal, wish_.runtime, model_.parameters() < few_parameters);
    for (const bool accept_warnings : {false, true}) {
      accept_warnings_ = accept_warnings;
      for (const AdviceLadder& ladder : ladders)
        if (auto chosen = walk(ladder))
          return advice(std::move(*chosen));
      if (smallest_) // over the budget: that is what there is
        return advice(std::move(*smallest_));
    }
    return Error{"unsupported", nothing_works(), model_.path.string()};
  }

 private:
  std::string title_of(const AdviceStep& step, const std::string& method,
                       const Exporter& exporter) const {
    std::string out(step.scheme);
    if (!find_mix(step.scheme))
      out += " by " + method;
    if (!step.down.empty())
      out += " with " + std::string(step.down) + " for down projections";
    if (!step.ends.empty())
      out += " with " + std::string(step.ends) + " for embeddings and head";
    return out + " as " + std::string(exporter.id);
  }

  /// Rules by name for all modules that `which` says.
  template <class F> void add_rules(Recipe& recipe, std::string_view scheme, const F& which) const {
    std::set<std::string> patterns;
    for (const Module& module : model_.modules)
      if (which(module))
        patterns.insert(in_every_layer(module.name));
    for (const std::string& pattern : patterns)
      recipe.rules.push_back({pattern, std::string(scheme), "", Json::object()});
  }

  Tried try_step(const AdviceStep& step, const Exporter& exporter) {
    Tried out;
    out.step = &step;
    out.exporter = &exporter;
    const std::string method(calibration_.possible ? step.method : step.otherwise);
    out.title = title_of(step, method.empty() ? std::string(step.method) : method, exporter);
    if (method.empty()) {
      out.why_not = "It needs calibration. " + calibration_.why;
      return out;
    }
    out.recipe.default_scheme = std::string(step.scheme);
    out.recipe.default_method = method;
    if (step.act_order && method == "gptq")
      out.recipe.default_params["act_order"] = 1;
    if (calibration_.possible && (find_method(method)->calibrated || weighted(step)))
      out.recipe.calibration_files = wish_.calibration;
    if (!step.down.empty())
      add_rules(out.recipe, step.down,
                [](const Module& module) { return module.part == "down" && module.layer >= 0; });
    if (!step.ends.empty())
      add_rules(out.recipe, step.ends, [](const Module& module) {
        return (module.role == "embedding" || module.role == "lm_head") &&
               !module.tied_to_embedding && module.part != "positions";
      });
    examine(out);
    return out;
  }

  /// Whether importance takes part in the choice of codes: GGUF's types of few bits.
  bool weighted(const AdviceStep& step) const {
    const Mix* mix = find_mix(step.scheme);
    if (!calibration_.possible || !mix || wish_.goal == "quick")
      return false;
    const auto base = parse_scheme(mix->base);
    return base && base->quantized && base->bits < 6;
  }

  /// Plans it, has the doctor look at it, and takes the size.
  void examine(Tried& tried) const {
    auto plan = make_plan(model_, tried.recipe, false, weighted(*tried.step));
    if (!plan) {
      tried.why_not = plan.error().message + ".";
      return;
    }
    fit_plan(*plan, model_, *tried.exporter);
    tried.plan = std::move(*plan);
    if (std::none_of(
            tried.plan.modules.begin(), tried.plan.modules.end(),
            [](const PlannedModule& module) { return module.quantize || module.convert; })) {
      tried.why_not = "It would change nothing: the weights are stored so already.";
      return;
    }
    if (const std::string why = mostly_fell_back(tried.plan); !why.empty()) {
      tried.why_not = why;
      return;
    }
    ExportOptions options;
    options.name = model_.name;
    options.runtime = wish_.runtime;
    const auto predicted = predict_export(model_, tried.plan, *tried.exporter, options);
    if (!predicted) {
      tried.why_not = predicted.error().message + ".";
      return;
    }
    tried.findings = predicted->findings;
    const auto blocking = blocking_findings(predicted->findings, wish_.runtime, accept_warnings_);
    if (!blocking.empty()) {
      tried.why_not = "The format does not take it: " + finding_text(blocking.front());
      if (blocking.size() > 1)
        tried.why_not += " (and " + std::to_string(blocking.size() - 1) + " more)";
      return;
    }
    tried.bytes = predicted->bytes;
  }

  /// A scheme that fits few of the weights is not what would be made.
  static std::string mostly_fell_back(const Plan& plan) {
    std::int64_t wanted = 0, fallen = 0;
    std::string why;
    for (const PlannedModule& module : plan.modules)
      if (module.quantize || module.reason_kind == "fallback") {
        wanted += module.rows * module.cols;
        if (module.reason_kind == "fallback") {
          fallen += module.rows * module.cols;
          if (why.empty())
            why = module.reason;
        }
      }
    return 2 * fallen > wanted ? "Most weights do not fit it (" + why + ")." : std::string();
  }

  bool fits(const Tried& tried) const { return wish_.budget == 0 || tried.bytes <= wish_.budget; }

  /// The first step of a ladder that works and fits.
  std::optional<Tried> walk(const AdviceLadder& ladder) {
    const Exporter* exporter = find_exporter(ladder.format);
    if (!exporter)
      return std::nullopt;
    // "Smallest" with a budget is the best that fits; otherwise a goal says where to start.
    std::size_t at = wish_.goal == "smallest" && wish_.budget > 0 ? 0 : ladder.first;
    for (; at < ladder.steps.size(); ++at) {
      Tried tried = try_step(ladder.steps[at], *exporter);
      if (!tried.why_not.empty()) {
        reject(tried, tried.why_not);
        continue;
      }
      if (fits(tried)) {
        raise_costly(tried);
        look_below(ladder, at);
        return tried;
      }
      reject(tried, "It takes " + size_text(tried.bytes) + ", more than the " +
                        size_text(wish_.budget) + " there are.");
      if (!smallest_ || tried.bytes < smallest_->bytes)
        smallest_ = std::move(tried);
    }
    return std::nullopt;
  }

  void reject(const Tried& tried, std::string why) {
    const bool known = std::any_of(rejected_.begin(), rejected_.end(), [&](const auto& other) {
      return other.what == tried.title && other.why == why;
    });
    if (!known)
      rejected_.push_back({tried.title, std::move(why), tried.bytes});
  }

  /// The next step down, for comparison.
  void look_below(const AdviceLadder& ladder, std::size_t at) {
    if (at + 1 >= ladder.steps.size())
      return;
    const Tried below = try_step(ladder.steps[at + 1], *find_exporter(ladder.format));
    if (below.why_not.empty())
      reject(below, "It would take " + size_text(below.bytes) +
                        ", and its fewer bits lose more than is needed here.");
  }

  // --- measured costs ---

  /// The scheme with 8 bits that goes with another one; empty: none.
  static std::string with_8_bits(const Scheme& scheme) {
    if (scheme.family->id == "ggml")
      return scheme.bits < 8 ? "q8_0" : "";
    if (scheme.family->id != "int" || scheme.bits >= 8)
      return {};
    const auto dash = scheme.id.find('-');
    return dash == std::string::npos ? std::string() : "int8" + scheme.id.substr(dash);
  }

  /// Modules that loaders fuse into one and therefore want in one scheme.
  std::vector<const PlannedModule*> fused_with(const Plan& plan, const std::string& name) const {
    const Module* module = model_.find_module(name);
    std::vector<const PlannedModule*> out;
    if (!module)
      return out;
    static const std::set<std::string> attention{"q", "k", "v"}, gated{"gate", "up"};
    for (const Module& other : model_.modules) {
      const bool together = other.layer == module->layer &&
                            ((attention.count(other.part) && attention.count(module->part)) ||
                             (gated.count(other.part) && gated.count(module->part)));
      if (&other == module || (together && module->layer >= 0))
        if (const PlannedModule* planned = plan.find(other.name); planned && planned->quantize)
          out.push_back(planned);
    }
    return out;
  }

  void raise_costly(Tried& tried) const {
    if (wish_.costs.size() < 4 || (wish_.goal != "quality" && wish_.goal != "smallest"))
      return;
    auto costs = wish_.costs;
    std::sort(costs.begin(), costs.end(),
              [](const ModuleCost& a, const ModuleCost& b) { return a.cost > b.cost; });
    const double median = costs[costs.size() / 2].cost;
    double all = 0;
    for (const ModuleCost& cost : costs)
      all += std::max(0.0, cost.cost);
    std::set<std::string> done;
    std::size_t left = std::max<std::size_t>(1, costs.size() / 10);
    for (const ModuleCost& cost : costs) {
      if (left == 0 || !(cost.cost > 2 * median) || !(cost.cost > 0))
        break;
      if (done.count(cost.module))
        continue;
      Tried raised = tried;
      for (const PlannedModule* module : fused_with(tried.plan, cost.module)) {
        done.insert(module->name);
        if (const std::string scheme = with_8_bits(module->scheme); !scheme.empty())
          raised.recipe.rules.push_back({module->name, scheme, "", Json::object()});
      }
      if (raised.recipe.rules.size() == tried.recipe.rules.size())
        continue;
      examine(raised);
      if (!raised.why_not.empty() || !fits(raised))
        continue;
      raised.raised.push_back(
          {"measured costs", raised.recipe.rules.back().scheme + " for " + cost.module,
           "It alone costs " + percent(all > 0 ? cost.cost / all : 0) +
               " of what was measured over all modules; 8 bits there take " +
               size_text(raised.bytes - std::min(raised.bytes, tried.bytes)) + " more."});
      tried = std::move(raised);
      --left;
    }
  }

  // --- words ---

  std::string nothing_works() const {
    std::string out =
        wish_.runtime.empty()
            ? "No format takes what could be proposed for this model"
            : "Nothing could be proposed for this model that " + wish_.runtime + " takes";
    if (!rejected_.empty())
      out += "; first: " + rejected_.front().what + ": " + rejected_.front().why;
    return out;
  }

  AdviceDecision scheme_decision(const Tried& tried) const {
    std::string reason(tried.step->why);
    reason[0] = char(std::toupper(static_cast<unsigned char>(reason[0])));
    reason += "; it comes to " + size_text(tried.bytes) + " instead of " +
              size_text(tried.plan.bytes_before) + ".";
    if (wish_.goal == "smallest" && wish_.budget > 0 && fits(tried))
      reason += " It is the best that fits into " + size_text(wish_.budget) + ".";
    if (model_.parameters() < few_parameters && tried.plan.bits_per_quantized_weight < 5)
      reason += " Models with few parameters lose more with few bits: measure before you ship.";
    return {"scheme", std::string(tried.step->scheme), reason};
  }

  static AdviceDecision method_decision(const Tried& tried, const Calibration& calibration) {
    const Method* method = find_method(tried.recipe.default_method);
    std::string reason;
    if (method->id == "gptq")
      reason = "It spreads every column's rounding error over the columns not yet coded, by what "
               "calibration saw of the inputs: the least loss at 4 bits and below.";
    else if (method->id == "mse")
      reason = "It searches the clipping with the least squared error; nothing has to be run "
               "through the model.";
    else if (method->id == "rtn")
      reason = find_mix(tried.step->scheme)
                   ? "GGUF's types search their scales themselves; the mix says where they go."
                   : "At this precision plain rounding is as good as anything, and done at once.";
    else
      reason = std::string(method->summary);
    if (!calibration.possible && tried.step->method != tried.step->otherwise)
      reason += " " + std::string(tried.step->method) + " would be better. " + calibration.why;
    return {"method", std::string(method->id), reason};
  }

  AdviceDecision calibration_decision(const Tried& tried) const {
    const bool needs = find_method(tried.recipe.default_method)->calibrated;
    if (!needs && !weighted(*tried.step))
      return {"calibration", "none",
              calibration_.possible ? "It is not needed for this method." : calibration_.why};
    std::string files;
    for (const CalibrationFile& file : wish_.calibration)
      files += (files.empty() ? "" : ", ") + fs::path(file.path).filename().string();
    return {"calibration",
            std::to_string(tried.recipe.samples) + " samples of " +
                std::to_string(tried.recipe.length) + " tokens" +
                (files.empty() ? "" : " of " + files),
            std::string(needs ? "The method needs to see inputs"
                              : "An importance matrix tells the search which columns matter") +
                "; text of the kind that the model is for does best. " + calibration_.why};
  }

  AdviceDecision exclusions_decision(const Tried& tried) const {
    std::int64_t kept = 0;
    std::uint64_t bytes = 0;
    std::string names;
    for (const PlannedModule& module : tried.plan.modules)
      if (!module.quantize && (module.role == "embedding" || module.role == "lm_head") &&
          module.bytes_after > 0) {
        kept += module.rows * module.cols;
        bytes += module.bytes_after;
        names += (names.empty() ? "" : ", ") + module.name;
      }
    if (kept == 0)
      return {
          "exclusions", "norms",
          find_mix(tried.step->scheme)
              ? "The mix gives embeddings and output types of their own; norms stay as they are."
              : "Embeddings and head are coded too, to save their bytes; norms stay as they "
                "are."};
    return {"exclusions", names + ", norms",
            "Embeddings and head keep their type: an error there reaches every token, and many "
            "loaders expect it. They are " +
                percent(double(kept) / double(std::max<std::int64_t>(1, tried.plan.parameters))) +
                " of the parameters and " + size_text(bytes) + " of the result."};
  }

  AdviceDecision format_decision(const Tried& tried) const {
    std::string reason = std::string(tried.exporter->summary) + " Read by " +
                         std::string(tried.exporter->loaders) + ".";
    if (!wish_.runtime.empty())
      reason += " The doctor finds nothing that would stop " + wish_.runtime + ".";
    else
      reason += " The doctor finds nothing that would stop the export.";
    if (accept_warnings_)
      reason = std::string(tried.exporter->summary) +
               " The doctor warns; read the notes before exporting.";
    return {"format", std::string(tried.exporter->id), reason};
  }

  std::string budget_problem(const Tried& tried) const {
    std::uint64_t kept = 0;
    for (const PlannedModule& module : tried.plan.modules)
      if (!module.quantize)
        kept += module.bytes_after;
    return "Nothing fits into " + size_text(wish_.budget) +
           ": the smallest that can be proposed, " + tried.title + ", takes " +
           size_text(tried.bytes) + ", of which " + size_text(kept) +
           " are modules that keep their type.";
  }

  Advice advice(Tried tried) {
    Advice out;
    out.recipe = tried.recipe;
    out.title = tried.title;
    out.format = std::string(tried.exporter->id);
    out.bytes = tried.bytes;
    out.bytes_before = tried.plan.bytes_before;
    out.bits_per_weight = tried.plan.bits_per_weight;
    out.fits = fits(tried);
    if (!out.fits)
      out.problem = budget_problem(tried);
    out.decisions = {scheme_decision(tried), method_decision(tried, calibration_)};
    if (!tried.step->down.empty())
      out.decisions.push_back(
          {"rules", std::string(tried.step->down) + " for down projections",
           "Their inputs hold the largest outliers of a block, and they stand alone in every "
           "loader, so that a precision of their own costs nothing in speed."});
    for (AdviceDecision& decision : tried.raised)
      out.decisions.push_back(std::move(decision));
    out.decisions.push_back(exclusions_decision(tried));
    out.decisions.push_back(calibration_decision(tried));
    out.decisions.push_back(
        {"activations", tried.recipe.default_method == "llm-int8" ? "llm-int8" : "none",
         tried.recipe.default_method == "llm-int8"
             ? "They are coded per token as the method wants."
             : "Inputs stay in floating point: only weights take memory, and no accuracy is risked "
               "on outliers."});
    out.decisions.push_back(format_decision(tried));
    out.rejected = std::move(rejected_);
    for (const std::string& note : tried.plan.notes)
      out.notes.push_back(note);
    for (const Finding& finding : tried.findings)
      out.notes.push_back(std::string(level_name(finding.level)) + ": " + finding_text(finding));
    if (model_.spec)
      if (const auto kv = kv_bytes_per_token(*model_.spec, {"f16", "f16"}))
        out.notes.push_back("When it runs, keys and values take " + size_text(*kv * 4096) +
                            " more at 4096 tokens (f16).");
    if (wish_.costs.empty() && (wish_.goal == "quality" || wish_.goal == "smallest"))
      out.notes.push_back("No module has a measured cost in this session: \"Which layer did it?\" "
                          "would show where more bits pay.");
    return out;
  }

  const Checkpoint& model_;
  const AdviceWish& wish_;
  Calibration calibration_;
  bool accept_warnings_ = false;
  std::vector<AdviceRejected> rejected_;
  std::optional<Tried> smallest_; ///< of what works but does not fit
};

} // namespace

std::span<const AdviceGoal> advice_goals() { return goals; }

std::vector<ModuleCost> module_costs(const Json& attribution) {
  std::vector<ModuleCost> out;
  for (const Json& row : lenient::list(attribution, "modules")) {
    double cost = lenient::number(lenient::member(row, "alone"), "kld_mean");
    if (std::isnan(cost))
      cost = lenient::number(lenient::member(row, "predicted"), "kld_mean");
    const std::string name = lenient::text(row, "name");
    if (!name.empty() && std::isfinite(cost))
      out.push_back({name, cost});
  }
  return out;
}

Result<Advice> advise(const Checkpoint& checkpoint, const AdviceWish& wish) {
  const auto goal = std::find_if(std::begin(goals), std::end(goals),
                                 [&](const AdviceGoal& each) { return each.id == wish.goal; });
  if (goal == std::end(goals)) {
    std::string known;
    for (const AdviceGoal& each : goals)
      known += (known.empty() ? "" : ", ") + std::string(each.id);
    return Error{"bad-argument", "Unknown goal \"" + wish.goal + "\"; there are " + known, {}};
  }
  if (const auto runtimes = known_runtimes();
      !wish.runtime.empty() &&
      std::find(runtimes.begin(), runtimes.end(), wish.runtime) == runtimes.end()) {
    std::string known;
    for (const std::string& each : runtimes)
      known += (known.empty() ? "" : ", ") + each;
    return Error{
        "bad-argument", "Unknown runtime \"" + wish.runtime + "\"; there are " + known, {}};
  }
  if (checkpoint.quantized())
    return Error{"unsupported",
                 "The checkpoint is quantized already: coding it again would add its errors to new "
                 "ones. Open the original and ask again",
                 checkpoint.path.string()};
  if (checkpoint.parameters() == 0)
    return Error{"unsupported", "The checkpoint holds no weights", checkpoint.path.string()};
  return Advisor(checkpoint, wish).make();
}

OrderedJson advice_to_json(const Advice& advice) {
  OrderedJson json{{"title", advice.title},
                   {"fits", advice.fits},
                   {"recipe", recipe_to_json(advice.recipe)},
                   {"format", advice.format},
                   {"bytes", advice.bytes},
                   {"bytes_before", advice.bytes_before},
                   {"bits_per_weight", advice.bits_per_weight}};
  if (!advice.problem.empty())
    json["problem"] = advice.problem;
  json["decisions"] = OrderedJson::array();
  for (const AdviceDecision& decision : advice.decisions)
    json["decisions"].push_back(
        {{"topic", decision.topic}, {"choice", decision.choice}, {"reason", decision.reason}});
  json["rejected"] = OrderedJson::array();
  for (const AdviceRejected& rejected : advice.rejected)
    json["rejected"].push_back(
        {{"what", rejected.what}, {"why", rejected.why}, {"bytes", rejected.bytes}});
  json["notes"] = advice.notes;
  return json;
}

} // namespace bitlathe
